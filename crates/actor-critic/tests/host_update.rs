//! The update in host memory against the update through tensors, whose gradients are autodiff's; and what must make no
//! difference to it.

mod random;

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::{Sac, TensorBatch, UpdateMetrics};
use foresee_core::{Batch, State};
use foresee_nn::device::DeviceChoice;
use foresee_nn::tensors;
use random::{Case, agent, assert_agree, batch, cases, numbers};

/// Largest difference of a weight or moment, relative to the largest number of its array; measured: 6e-6, in weights
/// whose gradient is near Adam's ε.
const STATE: f64 = 3e-5;
/// The same against a backend with other matrix products.
const OTHER_STATE: f64 = 1e9;

fn by_tensors(sac: &mut Sac, case: &Case, batch: &Batch, noise: &[Vec<f32>; 2]) -> UpdateMetrics {
    let device = Device::flex();
    let [noise_next, noise] = noise
        .each_ref()
        .map(|noise| -> Tensor<2> { tensors::from_vec(noise.clone(), [case.rows, case.dims[1]], &device) });
    sac.update(&TensorBatch::new(batch, case.dims, &device), noise_next, noise)
}

/// A backend of another make, where the build has one.
fn second_backend() -> Option<Device> {
    DeviceChoice::NdArray.open().ok()
}

#[test]
fn an_update_agrees_with_the_update_through_tensors() {
    for case in cases() {
        let mut host = agent(&case, &Device::flex());
        for i in 0..6 {
            // From the same weights and moments every time, so that only this update's rounding shows.
            let mut other = agent(&case, &Device::flex());
            other.load(host.save()).expect("a state of the same shapes");
            let (batch, noise) = batch(case.dims, case.rows, i);
            let want = by_tensors(&mut other, &case, &batch, &noise);
            let got = host.update_host(&batch, &noise[0], &noise[1]);
            assert_agree(&format!("update {i} of {case:?}"), (&host, numbers(&got)), (&other, numbers(&want)), STATE);
        }
    }
}

/// All weights, moments and metrics of a few updates in a pool.
fn run(case: &Case, threads: usize) -> (State, Vec<Vec<f64>>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        let mut sac = agent(case, &Device::flex());
        let update = |i| {
            let (batch, [noise_next, noise]) = batch(case.dims, case.rows, i);
            numbers(&sac.update_host(&batch, &noise_next, &noise))
        };
        let metrics = (0..4).map(update).collect();
        (sac.save(), metrics)
    })
}

#[test]
fn an_update_has_the_same_bits_on_any_number_of_threads() {
    for case in cases() {
        let alone = run(&case, 1);
        for threads in [2, 3, 5] {
            assert!(run(&case, threads) == alone, "{threads} threads, {case:?}");
        }
    }
}

#[test]
fn batches_may_change_their_size() {
    let case = &cases()[5];
    let mut kept = agent(case, &Device::flex());
    for (i, rows) in [256, 1, 0, 77, 256, 33, 32].into_iter().enumerate() {
        // An agent whose buffers are new.
        let mut fresh = agent(case, &Device::flex());
        fresh.load(kept.save()).expect("a state of the same shapes");
        let (batch, [noise_next, noise]) = batch(case.dims, rows, i as u64);
        let both = [&mut kept, &mut fresh].map(|sac| numbers(&sac.update_host(&batch, &noise_next, &noise)));
        assert_eq!(both[0], both[1], "{rows} rows");
        assert!(kept.save() == fresh.save(), "{rows} rows");
    }
}

#[test]
fn a_batch_without_rows_moves_nothing() {
    let case = &cases()[0];
    for device in [Some(Device::flex()), second_backend()].into_iter().flatten() {
        let mut sac = agent(case, &device);
        let mut before = sac.save();
        assert_eq!(numbers(&sac.update_batch(&Batch::default(), &[], &[])), [0.0, 0.0]);
        assert_eq!(sac.updates(), 1);
        let mut after = sac.save();
        assert_eq!([&mut before, &mut after].map(|state| state.u64("updates").expect("a count")), [0, 1]);
        assert!(after == before);
    }
}

#[test]
fn the_form_is_chosen_by_the_device_and_makes_no_difference() {
    let Some(second) = second_backend() else { return };
    for case in cases() {
        let [mut host, mut other] = [&Device::flex(), &second].map(|device| agent(&case, device));
        for i in 0..3 {
            other.load(host.save()).expect("a state of the same shapes");
            let (batch, [noise_next, noise]) = batch(case.dims, case.rows, i);
            let [got, want] =
                [&mut host, &mut other].map(|sac| numbers(&sac.update_batch(&batch, &noise_next, &noise)));
            assert_agree(&format!("update {i} of {case:?}"), (&host, got), (&other, want), OTHER_STATE);
        }
    }
}
