//! The update on a GPU compared with the update in host memory.

mod random;

use burn::tensor::Device;
use foresee_actor_critic::{Agent, Sac, SacConfig};
use foresee_core::Batch;
use foresee_nn::device::wgpu_of_test;
use random::{Case, Recorded, agent, assert_agree, batch, cases, update, worst_difference};

/// Largest difference of a weight or moment after one update, relative to the largest number of its array. It is not
/// smaller because Adam makes a full step for a gradient near its ε, however the gradient was rounded.
const STATE: f64 = 1e-4;

/// Asserts that two updates on a GPU agree with two updates in host memory.
fn assert_agrees(case: &Case, device: &Device) {
    let [mut gpu, mut host] = [device, &Device::flex()].map(|device| agent(case, device));
    for i in 0..2 {
        // Both start every update with equal weights and moments, so that only this update's rounding shows.
        gpu.load(host.save()).expect("a state of the same shapes");
        let (batch, noise) = batch(case.dims, case.rows, i);
        let [got, want] = [&mut gpu, &mut host].map(|sac| update(sac, &batch, &noise));
        assert_agree(&format!("update {i} of {case:?}"), (&gpu, got), (&host, want), STATE);
    }
}

#[test]
fn an_update_agrees_with_the_update_in_host_memory() {
    let Some(device) = wgpu_of_test("an_update_agrees_with_the_update_in_host_memory") else { return };
    cases().iter().step_by(3).for_each(|case| assert_agrees(case, &device));
}

#[test]
fn any_number_of_critics_and_normalised_layers_agree_too() {
    let Some(device) = wgpu_of_test("any_number_of_critics_and_normalised_layers_agree_too") else { return };
    for (critics, layer_norm) in [(1, false), (3, true)] {
        for mut case in cases().into_iter().skip(critics).step_by(15) {
            case.config = SacConfig { critics, layer_norm, ..case.config };
            assert_agrees(&case, &device);
        }
    }
}

/// Returns an agent after `updates` updates.
fn run(case: &Case, device: &Device, updates: u64) -> Sac {
    let mut sac = agent(case, device);
    for i in 0..updates {
        let (batch, noise) = batch(case.dims, case.rows, i);
        update(&mut sac, &batch, &noise);
    }
    sac
}

#[test]
fn twenty_updates_stay_together_and_two_runs_have_the_same_bits() {
    let Some(device) = wgpu_of_test("twenty_updates_stay_together_and_two_runs_have_the_same_bits") else { return };
    let config = SacConfig { hidden: vec![64, 64], ..SacConfig::default() };
    let case = Case { config, dims: [11, 3], rows: 256 };
    let [gpu, again, host] = [&device, &device, &Device::flex()].map(|device| run(&case, device, 20).save());
    assert!(gpu == again, "two runs");
    let (worst, name) = worst_difference(&gpu, &host);
    assert!(worst <= 1e-4, "{name} is {worst:e} off");
}

#[test]
fn a_batch_without_rows_moves_nothing() {
    let Some(device) = wgpu_of_test("a_batch_without_rows_moves_nothing") else { return };
    let case = &cases()[0];
    let mut sac = agent(case, &device);
    let mut before = sac.save();
    assert_eq!(update(&mut sac, &Batch::default(), &Recorded([vec![], vec![]])), [0.0, 0.0]);
    let mut after = sac.save();
    assert_eq!([&mut before, &mut after].map(|state| state.u64("updates").expect("a count")), [0, 1]);
    assert!(after == before);
}
