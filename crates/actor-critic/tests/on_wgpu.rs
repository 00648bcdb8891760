//! Updates of the agent on a GPU compared with those in host memory.

mod random;

use burn::tensor::Device;
use foresee_actor_critic::{Agent, Sac, SacConfig, actor};
use foresee_core::state::Data;
use foresee_core::{State, Stream};
use foresee_nn::device::wgpu_of_test;
use foresee_nn::{ValueHeads, tensors};
use random::{batch, update};

/// Largest relative difference after 20 updates: of losses, and of the norm of weights and of moments.
const TOLERANCE: f64 = 1e-4;

fn worst_norm_difference(got: &State, want: &State) -> (f64, String) {
    let mut worst = (0.0, String::new());
    for ((name, got), (_, want)) in got.iter().zip(want.iter()) {
        let (Data::F32(got), Data::F32(want)) = (&got.data, &want.data) else { continue };
        assert_eq!(got.len(), want.len(), "{name}");
        let by: f64 = got.iter().zip(want).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let size: f64 = want.iter().map(|b| f64::from(*b).powi(2)).sum();
        let by = if by == 0.0 { 0.0 } else { (by / size).sqrt() };
        assert!(!by.is_nan(), "{name}");
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
                policy_delay: every,
                target_update_interval: every,
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
                assert!((got - want).abs() <= TOLERANCE * want.abs().max(0.1), "number {step}: {got}, expected {want}");
            }
            let (by, name) = worst_norm_difference(&got.1, &want.1);
            assert!(by <= TOLERANCE, "{hidden:?}, {dims:?}: `{name}` differs by {by:e}");
        }
    }
}

#[test]
fn acting_in_kernels_is_acting_in_tensors() {
    let Some(gpu) = wgpu_of_test("acting_in_kernels_is_acting_in_tensors") else { return };
    for (dims, hidden) in [([3, 1], vec![16, 16]), ([17, 6], vec![33]), ([1, 5], vec![64, 64])] {
        let sac = Sac::new(&SacConfig { hidden, ..SacConfig::default() }, dims, 3, &gpu);
        for rows in [0, 1, 3, 300] {
            let [obs, noise] = [("obs", dims[0]), ("noise", dims[1])]
                .map(|(name, columns)| Stream::new(9, name).normals(0, rows, columns));
            for noise in [Some(noise.as_slice()), None] {
                let got = sac.actor().act(&obs, rows, noise, &gpu);
                assert_eq!(got.len(), rows * dims[1]);
                if rows == 0 {
                    continue;
                }
                let want = actor::by_tensors(sac.actor(), &obs, rows, noise, &gpu);
                for (got, want) in got.iter().zip(want) {
                    assert!((got - want).abs() <= 2e-6, "{dims:?}, {rows} rows: {got}, expected {want}");
                }
            }
        }
    }
}

#[test]
fn value_gradients_are_taken_whose_tape_is_no_buffer_of_the_device() {
    let Some(gpu) = wgpu_of_test("value_gradients_are_taken_whose_tape_is_no_buffer_of_the_device") else { return };
    // A tape of all rows and heads would take 148 MB; software drivers limit a buffer to 128 MiB.
    let (dims, rows) = ([3, 1], 130_000);
    let config = SacConfig { hidden: vec![16, 16], ..SacConfig::default() };
    let states = Stream::new(9, "states").normals(0, rows, dims[0]);
    for through_policy in [false, true] {
        let [got, want] = [&gpu, &Device::flex()].map(|device| {
            let sac = Sac::new(&config, dims, 3, device);
            let view = sac.values(ValueHeads::All, through_policy);
            tensors::to_vec(view.value_gradients(tensors::from_vec(states.clone(), [rows, dims[0]], device)))
        });
        assert_eq!(got.len(), 4 * rows * dims[0]);
        assert!(got.iter().all(|x| x.is_finite()));
        let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let worst = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-4 * largest, "the largest error is {worst:e}, the largest gradient {largest}");
    }
}
