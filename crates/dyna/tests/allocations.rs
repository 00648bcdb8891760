//! Tests that an imagined step in host memory allocates nothing.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;
#[path = "../../core/tests/support/counting.rs"]
mod counting;

use burn::tensor::Device;
use common::worlds;
use counting::allocations;
use foresee_core::Termination;
use foresee_dyna::replay::ImaginedBuffer;
use foresee_dyna::rollout::{HostContext, Rollout};

#[test]
fn after_some_steps_an_imagined_step_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    let sizes = [([4, 2], vec![40, 40], vec![50, 50])];
    for i in 0..6 {
        let mut world = worlds::random(i, &sizes, &Device::flex());
        (world.starts, world.horizon, world.termination) = (1000, 400, Termination::never());
        // The ring wraps once every few steps.
        let mut buffer = ImaginedBuffer::new(2700, 4, 2);
        let counts: Vec<usize> = pool.install(|| {
            let context = world.context();
            let host = HostContext::new(&context);
            let mut rollout = Rollout::new(&world.real, world.starts, world.horizon, world.seed, world.call);
            // A thread grows its buffers at its first tile, which may come late. So the test requires only that some
            // twenty successive steps allocate nothing.
            let mut twenty = || {
                let before = allocations();
                (0..20).for_each(|_| _ = rollout.step(&host, &mut buffer));
                allocations() - before
            };
            (0..20).map(|_| twenty()).collect()
        });
        assert!(counts.contains(&0), "world {i}: allocations in every twenty steps: {counts:?}");
    }
}
