//! Gradient steps and scores on a GPU compared with those in host memory, and a fit on the GPU that is interrupted and
//! resumed.

mod toys;

use burn::tensor::Device;
use foresee_core::state::Data;
use foresee_core::{Batch, State, Stream};
use foresee_nn::device::wgpu_of_test;
use foresee_world_model::config::{EnsembleConfig, FitConfig};
use foresee_world_model::loss::shipped;
use foresee_world_model::{FitReport, LossConfig, ModelConfig, Trainer};
use toys::Quadratic;

const DIMS: [usize; 2] = [5, 2];
/// Largest relative difference of losses over 20 steps, and of weights and moments relative to their norm.
const TOLERANCE: f64 = 1e-4;

/// Returns random rows. The changes are a tenth of the observation's size.
fn rows(count: usize) -> Batch {
    let normals = |name: &str, columns| Stream::new(6, name).normals(0, count, columns);
    let obs = normals("obs", DIMS[0]);
    let next_obs = obs.iter().zip(normals("delta", DIMS[0])).map(|(obs, delta)| obs + 0.1 * delta).collect();
    let action = Stream::new(6, "action").uniforms(0, count, DIMS[1]);
    Batch { rows: count, obs, action, reward: normals("reward", 1), next_obs, not_terminated: vec![1.0; count] }
}

/// Returns a config for every loss that the trainer treats differently. The batch size does not divide an epoch.
fn configs() -> Vec<ModelConfig> {
    let config = |loss| ModelConfig {
        ensemble: EnsembleConfig { members: 3, elites: 2, hidden: vec![33, 16], ..EnsembleConfig::default() },
        loss,
        fit: FitConfig { batch: 48, max_steps: 60, ..FitConfig::default() },
        ..ModelConfig::default()
    };
    let named = ["mle", "vagram", "itervaml", "value_weighted"].map(LossConfig::named);
    named.into_iter().chain([LossConfig::named("vagram").with("form", "unbounded")]).map(config).collect()
}

fn trainer(config: &ModelConfig, device: &Device) -> Trainer {
    let loss = config.loss.choose(&shipped()).expect("a shipped loss").0;
    Trainer::new(config, loss, DIMS, 4, device)
}

/// Returns the largest distance between two arrays of the same name, relative to the norm of `want`.
fn worst_difference(got: &State, want: &State) -> f64 {
    let f32s = |state: &State, name: &str| match &state.iter().find(|(path, _)| *path == name).expect("its name").1.data
    {
        Data::F32(values) => values.clone(),
        _ => Vec::new(),
    };
    let distance = |name: &str| {
        let (got, want) = (f32s(got, name), f32s(want, name));
        assert_eq!(got.len(), want.len(), "{name}");
        let norm = |squares: f64| squares.sqrt();
        let by: f64 = got.iter().zip(&want).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let size: f64 = want.iter().map(|b| f64::from(*b).powi(2)).sum();
        if by == 0.0 { 0.0 } else { norm(by) / norm(size) }
    };
    want.iter().map(|(name, _)| distance(name)).fold(0.0, f64::max)
}

#[test]
fn the_first_twenty_steps_on_a_gpu_are_those_of_the_host() {
    let Some(gpu) = wgpu_of_test("the_first_twenty_steps_on_a_gpu_are_those_of_the_host") else { return };
    let (rows, view) = (rows(300), Quadratic::random(4, DIMS[0]));
    for config in configs() {
        // With and without the added squared error.
        for learning_step in [0, config.loss.add_mse_until] {
            let run = |device: &Device| {
                let mut trainer = trainer(&config, device);
                let mut fit = trainer.begin(&rows, &view, 1, learning_step);
                let losses: Vec<f64> = (0..20).map(|_| trainer.gradient_step(&mut fit, &view).read()).collect();
                (losses, trainer.save())
            };
            let (got, want) = (run(&gpu), run(&Device::flex()));
            let what = format!("{:?} at {learning_step}", config.loss);
            for (step, (got, want)) in got.0.iter().zip(&want.0).enumerate() {
                let by = (got - want).abs() / want.abs();
                assert!(by <= TOLERANCE, "{what}: loss {got} at step {step}, expected {want}");
            }
            let by = worst_difference(&got.1, &want.1);
            assert!(by <= TOLERANCE, "{what}: weights or moments are {by:e} apart");
        }
    }
}

/// Runs a fit to its end. With `cut`, trainer and fit are saved after every slice and loaded into a new trainer.
fn whole(config: &ModelConfig, device: &Device, cut: bool) -> (FitReport, State) {
    let (rows, view) = (rows(300), Quadratic::random(4, DIMS[0]));
    let mut trainer = trainer(config, device);
    let mut fit = trainer.begin(&rows, &view, 0, 0);
    loop {
        if let Some(report) = trainer.advance(&mut fit, &view).expect("a finite score") {
            return (report, trainer.save());
        }
        if cut {
            let (saved_trainer, saved_fit) = (trainer.save(), fit.save());
            trainer = self::trainer(config, device);
            trainer.load(saved_trainer).expect("the same shapes");
            fit = trainer.resume(saved_fit, &rows, &view).expect("the same shapes");
        }
    }
}

#[test]
fn a_fit_on_a_gpu_is_repeatable_and_goes_on_bit_for_bit_after_a_cut() {
    let Some(gpu) = wgpu_of_test("a_fit_on_a_gpu_is_repeatable_and_goes_on_bit_for_bit_after_a_cut") else { return };
    for config in configs() {
        let want = whole(&config, &gpu, false);
        assert_eq!(whole(&config, &gpu, false), want, "{:?}", config.loss);
        assert_eq!(whole(&config, &gpu, true), want, "{:?}, cut", config.loss);
        let host = whole(&config, &Device::flex(), false).0;
        let by = (want.0.holdout_mse - host.holdout_mse).abs() / host.holdout_mse;
        assert!(by <= 1e-2, "{:?}: {:?}, on the host {host:?}", config.loss, want.0);
    }
}
