//! How many launches an update on a GPU is.

#![cfg(feature = "wgpu")]

mod random;

use std::sync::{Arc, Mutex};

use cubecl::logging::{LaunchObservation, LaunchObserver};
use foresee_actor_critic::AgentConfig;
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
    let config = AgentConfig { hidden: vec![64, 64], actor_every: 2, target_every: 2, ..AgentConfig::default() };
    let case = Case { config, dims: [11, 3], rows: 256 };
    let mut sac = agent(&case, &device);
    // With the actor and the targets, and without them.
    for want in [24, 10] {
        let (batch, [noise_next, noise]) = batch(case.dims, case.rows, 0);
        let names = Arc::new(Names::default());
        let watching = LaunchObservation::new(names.clone());
        sac.update_batch(&batch, &noise_next, &noise);
        drop(watching);
        let names = names.0.lock().expect("one thread");
        assert_eq!(names.len(), want, "{names:#?}");
    }
    // A software driver that is still at work when the program ends crashes in its destructors.
    device.sync().expect("a device that answers");
}
