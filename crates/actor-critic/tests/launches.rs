//! Tests of the number of kernel launches of an update on a GPU.

#![cfg(feature = "wgpu")]

mod random;

use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor};
use cubecl::logging::{LaunchObservation, LaunchObserver};
use cubecl_runtime::memory_management::MemoryScope;
use foresee_actor_critic::{Agent, BatchRef, Noise, SacConfig, TensorBatch, Update};
use foresee_nn::device::wgpu_of_test;
use random::{Case, agent, batch};

/// Normals that are already on the device, for any stream.
struct Ready(Tensor<2>);

impl Noise for Ready {
    fn normals(&self, _: &'static str, _: [usize; 2], _: &Device) -> Tensor<2> {
        self.0.clone()
    }

    fn normals_into(&self, _: &'static str, _: [usize; 2], _: &mut Vec<f32>) {
        panic!("an update on a device asks for tensors");
    }

    fn words(&self, _: &'static str, _: usize) -> Vec<u32> {
        panic!("no critic is chosen by a word");
    }
}

/// Asserts that an update sends nothing to the device: sizes and scalars of every launch, and Adam's corrections, are
/// already there.
fn assert_nothing_is_sent(case: &Case, device: &Device) {
    let mut sac = agent(case, device);
    let rows = TensorBatch::new(&batch(case.dims, case.rows, 0).0, case.dims, device);
    let noise = Ready(Tensor::ones([case.rows, case.dims[1]], device));
    let mut update =
        || sac.update(Update { batch: BatchRef::Device(&rows), noise: &noise, dynamics: None, critic_only: false });
    (0..4).for_each(|_| update());

    // The device stores new sizes and scalars in buffers. This counts the allocations of such buffers.
    let client = foresee_nn::cube::tensor::client(device);
    let allocated = || {
        device.sync().expect("a device that answers");
        let report = client.memory_report(MemoryScope::Device);
        let memories = report.streams.iter().flat_map(|stream| &stream.auxiliary).map(|memory| &memory.pools);
        let pools = memories.flat_map(|pools| pools.dynamic.iter().chain([&pools.persistent, &pools.dedicated]));
        pools.map(|pool| pool.usage.number_allocs).sum::<u64>()
    };
    let before = allocated();
    (0..40).for_each(|_| update());
    assert!(before > 0);
    assert_eq!(allocated(), before, "buffers of sizes and scalars");

    // While launches are recorded, the device refuses uploads and read-backs.
    client.graph_prepare().expect("a device that answers");
    (0..2).for_each(|_| update());
    client.start_capture().expect("a device that answers");
    (0..2).for_each(|_| update());
    client.stop_capture().expect("launches alone");
    update();
    assert!(sac.report().iter().all(|(_, value)| value.is_finite()), "{:?}", sac.report());
}

/// Names of the launched kernels.
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
    let config = SacConfig { hidden: vec![64, 64], policy_delay: 2, target_update_interval: 2, ..SacConfig::default() };
    let case = Case { config, dims: [11, 3], rows: 256 };
    let mut sac = agent(&case, &device);
    // The first update trains the actor and moves the targets; the second does neither.
    for want in [24, 10] {
        let (batch, noise) = batch(case.dims, case.rows, 0);
        let batch = TensorBatch::new(&batch, case.dims, &device);
        let names = Arc::new(Names::default());
        let watching = LaunchObservation::new(names.clone());
        sac.update(Update { batch: BatchRef::Device(&batch), noise: &noise, dynamics: None, critic_only: false });
        drop(watching);
        let names = names.0.lock().expect("one thread");
        assert_eq!(names.len(), want, "{names:#?}");
    }
    assert_nothing_is_sent(&case, &device);
    // A software driver crashes in its destructors if it is still busy when the program ends.
    device.sync().expect("a device that answers");
}
