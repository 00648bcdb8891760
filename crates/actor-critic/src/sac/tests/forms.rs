//! The update in host memory compared with the update in tensors, whose gradients come from autodiff; and tests of what
//! must not influence the result.

use burn::tensor::Device;
use foresee_core::{Batch, State};
use foresee_nn::device::DeviceChoice;

use super::random::{Case, Recorded, agent, assert_agree, batch, cases, losses, update};
use crate::agent::{Agent, Update};
use crate::batch::{BatchRef, TensorBatch};
use crate::critic::Reduction;
use crate::policy::Spread;
use crate::sac::{SacConfig, UpdateForm};

/// Largest difference of a weight or moment, relative to the largest number of its array. The measured maximum is 6e-6,
/// in weights whose gradient is near Adam's ε. The tolerance also covers a backend with other matrix products.
const STATE: f64 = 3e-5;

/// Another CPU backend, if the build includes one.
fn second_backend() -> Option<Device> {
    DeviceChoice::NdArray.open().ok()
}

/// Asserts that six updates in host memory agree with six updates in tensors.
fn assert_forms_agree(case: &Case) {
    let mut host = agent(case, &Device::flex());
    assert_eq!(host.form, UpdateForm::Host, "{case:?}");
    for i in 0..6 {
        // Both start every update with equal weights and moments, so that only this update's rounding shows.
        let mut other = agent(case, &Device::flex());
        other.form = UpdateForm::Tensors;
        other.load(host.save()).expect("a state of the same shapes");
        let (batch, noise) = batch(case.dims, case.rows, i);
        let [want, got] = [&mut other, &mut host].map(|sac| update(sac, &batch, &noise));
        assert_agree(&format!("update {i} of {case:?}"), (&host, got), (&other, want), STATE);
    }
}

#[test]
fn an_update_agrees_with_the_update_through_tensors() {
    cases().iter().for_each(assert_forms_agree);
}

#[test]
fn the_forms_agree_on_any_number_of_critics_on_normalised_layers_and_on_every_deviation() {
    for (critics, layer_norm, actor_layer_norm, spread) in [
        (1, false, false, Spread::Clipped),
        (3, false, true, Spread::Bounded),
        (2, true, false, Spread::Softplus),
        (5, true, true, Spread::Clipped),
    ] {
        for mut case in cases().into_iter().skip(critics).step_by(9) {
            case.config = SacConfig { critics, layer_norm, actor_layer_norm, spread, ..case.config };
            assert_forms_agree(&case);
        }
    }
}

#[test]
fn what_the_fused_forms_do_not_know_goes_through_tensors() {
    let [min, mean] = [Reduction::Min, Reduction::Mean];
    for (critics, target_subset, target_reduction, actor_reduction, want) in [
        (2, None, min, min, UpdateForm::Host),
        (10, None, min, min, UpdateForm::Host),
        // A subset of all critics counts as no subset.
        (10, Some(10), min, min, UpdateForm::Host),
        (10, Some(2), min, min, UpdateForm::Tensors),
        (2, None, mean, min, UpdateForm::Tensors),
        (2, None, min, mean, UpdateForm::Tensors),
    ] {
        let config = SacConfig { critics, target_subset, target_reduction, actor_reduction, ..SacConfig::default() };
        let config = SacConfig { hidden: vec![8], ..config };
        let case = Case { config, dims: [3, 2], rows: 4 };
        assert_eq!(agent(&case, &Device::flex()).form, want, "{case:?}");
    }
}

#[test]
fn a_batch_is_the_same_wherever_it_lives() {
    let case = &cases()[3];
    let (rows, noise) = batch(case.dims, case.rows, 0);
    let sent = TensorBatch::new(&rows, case.dims, &Device::flex());
    for form in [UpdateForm::Host, UpdateForm::Tensors] {
        let [host, device] = [BatchRef::Host(&rows), BatchRef::Device(&sent)].map(|batch| {
            let mut sac = agent(case, &Device::flex());
            sac.form = form;
            sac.update(Update { batch, noise: &noise, dynamics: None, critic_only: false });
            (losses(&sac), sac.save())
        });
        assert!(host == device, "{form:?}");
    }
}

/// Makes a few updates in a thread pool; returns all weights, moments and metrics.
fn run(case: &Case, threads: usize) -> (State, Vec<Vec<f64>>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        let mut sac = agent(case, &Device::flex());
        let step = |i| {
            let (batch, noise) = batch(case.dims, case.rows, i);
            update(&mut sac, &batch, &noise)
        };
        let metrics = (0..4).map(step).collect();
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
    let mut original = agent(case, &Device::flex());
    for (i, rows) in [256, 1, 0, 77, 256, 33, 32].into_iter().enumerate() {
        // This agent's buffers are new.
        let mut fresh = agent(case, &Device::flex());
        fresh.load(original.save()).expect("a state of the same shapes");
        let (batch, noise) = batch(case.dims, rows, i as u64);
        let both = [&mut original, &mut fresh].map(|sac| update(sac, &batch, &noise));
        assert_eq!(both[0], both[1], "{rows} rows");
        assert!(original.save() == fresh.save(), "{rows} rows");
    }
}

#[test]
fn a_batch_without_rows_moves_nothing() {
    let case = &cases()[0];
    for device in [Some(Device::flex()), second_backend()].into_iter().flatten() {
        let mut sac = agent(case, &device);
        let mut before = sac.save();
        assert!(sac.report().is_empty(), "before the first update");
        assert_eq!(update(&mut sac, &Batch::default(), &Recorded([vec![], vec![]])), [0.0, 0.0]);
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
            let (batch, noise) = batch(case.dims, case.rows, i);
            let [got, want] = [&mut host, &mut other].map(|sac| update(sac, &batch, &noise));
            assert_agree(&format!("update {i} of {case:?}"), (&host, got), (&other, want), STATE);
        }
    }
}
