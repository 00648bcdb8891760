//! How many kernels are launched for what an agent update reads, and for a transition that is stored.

#![cfg(feature = "wgpu")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cubecl::logging::{LaunchObservation, LaunchObserver};
use foresee_core::Transition;
use foresee_dyna::replay::{self, ImaginedBuffer, RealBuffer};
use foresee_nn::device::wgpu_of_test;

#[derive(Default)]
struct Count(AtomicUsize);

impl LaunchObserver for Count {
    fn launched(&self, _: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kernels launched meanwhile.
fn launches(work: impl FnOnce()) -> usize {
    let count = Arc::new(Count::default());
    let watching = LaunchObservation::new(count.clone());
    work();
    drop(watching);
    count.0.load(Ordering::Relaxed)
}

// The observer sees all launches of the process: one test a file.
#[test]
fn a_batch_is_two_launches_and_a_transition_one() {
    let Some(gpu) = wgpu_of_test("a_batch_is_two_launches_and_a_transition_one") else { return };
    let dims = [3, 1];
    let (mut real, mut imagined) = (RealBuffer::new(dims, &gpu), ImaginedBuffer::on(500, dims, &gpu));
    let row = Transition {
        obs: vec![1.0; 3],
        action: vec![0.5],
        reward: 1.0,
        next_obs: vec![2.0; 3],
        terminated: false,
        truncated: false,
    };
    for _ in 0..3 {
        assert_eq!(launches(|| real.push(&row)), 1);
    }
    let rows = real.rows().clone();
    assert_eq!(launches(|| imagined.extend(&rows)), 1);
    for (shares, want) in [([13, 243], 2), ([256, 0], 1), ([0, 1000], 1)] {
        let drawn = launches(|| drop(replay::draw(&real, &imagined, shares, [0, 1])));
        assert_eq!(drawn, want, "{shares:?}");
    }
}
