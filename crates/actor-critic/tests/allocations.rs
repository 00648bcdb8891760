//! An update in host memory takes no memory, nor do the values of a panel.

mod random;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use foresee_actor_critic::{AgentConfig, Sac};
use foresee_nn::ValueView;
use foresee_nn::cpu::LANES;

/// The system's allocator, counting.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// Safety: every call is handed on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(p, layout, size) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn after_some_calls_neither_an_update_nor_a_panel_of_values_allocates() {
    let dims = [11, 3];
    let config = AgentConfig { hidden: vec![64, 64], normalized_features: true, ..AgentConfig::default() };
    let mut sac = Sac::new(&config, dims, 0, &Device::flex());
    let (batch, [noise_next, noise]) = random::batch(dims, 200, 0);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    // A thread grows its own buffers at the first task it happens to get, which may come late: what counts is that
    // there are twenty updates in a row without an allocation, soon.
    let counts: Vec<usize> = pool.install(|| {
        let mut twenty = || {
            let before = COUNT.load(Ordering::Relaxed);
            for _ in 0..20 {
                sac.update_batch(&batch, &noise_next, &noise);
            }
            COUNT.load(Ordering::Relaxed) - before
        };
        (0..10).map(|_| twenty()).collect()
    });
    assert!(counts[1..].contains(&0), "allocations in twenty updates, again and again: {counts:?}");

    let states = vec![0.5; dims[0] * LANES];
    let (mut values, mut gradients) = (vec![0.0; 4 * LANES], vec![0.0; 4 * states.len()]);
    for through_policy in [false, true] {
        let view = sac.values().through_policy(through_policy);
        view.of_panel(&states, &mut values, Some(&mut gradients));
        let before = COUNT.load(Ordering::Relaxed);
        view.of_panel(&states, &mut values, Some(&mut gradients));
        view.of_panel(&states, &mut values, None);
        assert_eq!(COUNT.load(Ordering::Relaxed), before, "through_policy: {through_policy}");
    }
}
