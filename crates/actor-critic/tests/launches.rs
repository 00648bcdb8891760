//! How many launches an update on a GPU is.

#![cfg(feature = "wgpu")]

mod random;

use std::sync::{Arc, Mutex};

use cubecl::logging::{LaunchObservation, LaunchObserver};
use foresee_actor_critic::{Agent, BatchRef, SacConfig, TensorBatch, Update};
use foresee_nn::device::wgpu_of_test;
use random::{Case, agent, batch};

/// The names of the kernels launched.
#[derive(Default)]
struct Names(Mutex<Vec<&'static str>>);

impl LaunchObserver for Names {
    fn launched(&self, kernel: &'static str) {
        self.0.lock().expect("one thread").push(kernel);
    }
}

#[test]
fn an_update_is_two_dozen_launches() {
    let Some(device) = wgpu_of_test("an_update_is_two_dozen_launches") else { return };
    let config = SacConfig { hidden: vec![64, 64], actor_every: 2, target_every: 2, ..SacConfig::default() };
    let case = Case { config, dims: [11, 3], rows: 256 };
    let mut sac = agent(&case, &device);
    // With the actor and the targets, and without them.
    for want in [24, 10] {
        let (batch, noise) = batch(case.dims, case.rows, 0);
        let batch = TensorBatch::new(&batch, case.dims, &device);
        let names = Arc::new(Names::default());
        let watching = LaunchObservation::new(names.clone());
        sac.update(Update { batch: BatchRef::Device(&batch), noise: &noise, dynamics: None });
        drop(watching);
        let names = names.0.lock().expect("one thread");
        assert_eq!(names.len(), want, "{names:#?}");
    }
    // A software driver that is still at work when the program ends crashes in its destructors.
    device.sync().expect("a device that answers");
}
