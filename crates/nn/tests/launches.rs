//! The numbers of launches of the primitive and of the optimiser on a GPU.

#![cfg(feature = "wgpu")]

mod common;

use std::sync::{Arc, Mutex};

use common::Case;
use cubecl::logging::{LaunchObservation, LaunchObserver};
use foresee_core::Stream;
use foresee_nn::device::wgpu_of_test;
use foresee_nn::{Adam, AdamConfig, Parameters};

/// The names of the launched kernels.
#[derive(Default)]
struct Names(Mutex<Vec<&'static str>>);

impl LaunchObserver for Names {
    fn launched(&self, kernel: &'static str) {
        if kernel.starts_with("foresee_nn") {
            self.0.lock().expect("one thread").push(kernel);
        }
    }
}

/// Fails if `work` makes another number of launches of this crate's kernels.
#[track_caller]
fn assert_launches<R>(want: usize, work: impl FnOnce() -> R) -> R {
    let names = Arc::new(Names::default());
    let watching = LaunchObservation::new(names.clone());
    let result = work();
    drop(watching);
    let names = names.0.lock().expect("one thread");
    assert_eq!(names.len(), want, "{names:#?}");
    result
}

#[test]
fn a_pass_a_step_and_an_average_are_few_launches() {
    let Some(device) = wgpu_of_test("a_pass_a_step_and_an_average_are_few_launches") else { return };
    let mut case = Case::new(&Stream::new(84, "test/cube"), 37, &device);
    let x = case.input();
    assert_launches(1, || case.net.forward(x.clone()));
    let tracked = case.net.tracked();
    let loss = assert_launches(1, || tracked.forward(x)).sum();
    // One launch each for transposes, rows and weights.
    let mut gradients = assert_launches(3, || loss.backward());
    let gradient = tracked.gradient(&mut gradients);
    drop((tracked, gradients));
    let mut target = case.net.clone();
    let mut adam = Adam::new(AdamConfig::new(1e-3), &case.net);
    assert_launches(1, || adam.step(&mut case.net, gradient));
    assert_launches(1, || target.polyak(&case.net, 0.1));
}
