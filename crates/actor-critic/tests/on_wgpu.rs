//! Updates of the agent on a GPU against those in host memory.

mod random;

use burn::tensor::Device;
use foresee_actor_critic::{Agent, Sac, SacConfig};
use foresee_core::State;
use foresee_core::state::Data;
use foresee_nn::device::wgpu_of_test;
use random::{batch, update};

/// Relative difference of losses, and of weights and moments by their norm, over 20 updates.
const APART: f64 = 1e-4;

fn apart(got: &State, want: &State) -> (f64, String) {
    let mut worst = (0.0, String::new());
    for ((name, got), (_, want)) in got.iter().zip(want.iter()) {
        let (Data::F32(got), Data::F32(want)) = (&got.data, &want.data) else { continue };
        assert_eq!(got.len(), want.len(), "{name}");
        let by: f64 = got.iter().zip(want).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let size: f64 = want.iter().map(|b| f64::from(*b).powi(2)).sum();
        let by = if by == 0.0 { 0.0 } else { (by / size).sqrt() };
        if by > worst.0 {
            worst = (by, name.to_owned());
        }
    }
    worst
}

#[test]
fn the_first_twenty_updates_on_a_gpu_are_those_of_the_host() {
    let Some(gpu) = wgpu_of_test("the_first_twenty_updates_on_a_gpu_are_those_of_the_host") else { return };
    for (hidden, dims, rows, every) in
        [(vec![32, 32], [3, 1], 64, 1), (vec![17], [11, 3], 50, 2), (vec![64, 48, 16], [1, 1], 1, 1)]
    {
        for normalized_features in [false, true] {
            let config = SacConfig {
                hidden: hidden.clone(),
                actor_every: every,
                target_every: every,
                normalized_features,
                ..SacConfig::default()
            };
            let run = |device: &Device| {
                let mut sac = Sac::new(&config, dims, 1, device);
                let losses = (0..20).map(|step| {
                    let (batch, noise) = batch(dims, rows, step);
                    update(&mut sac, &batch, &noise)
                });
                (losses.collect::<Vec<_>>(), sac.save())
            };
            let (got, want) = (run(&gpu), run(&Device::flex()));
            for (step, (got, want)) in got.0.iter().flatten().zip(want.0.iter().flatten()).enumerate() {
                assert!((got - want).abs() <= APART * want.abs().max(0.1), "number {step}: {got}, expected {want}");
            }
            let (by, name) = apart(&got.1, &want.1);
            assert!(by <= APART, "{hidden:?}, {dims:?}: `{name}` is {by:e} apart");
        }
    }
}
