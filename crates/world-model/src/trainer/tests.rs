//! Comparison of gradient steps and scores on panels with those in tensor operations.

use super::*;
use crate::config::{EnsembleConfig, FitConfig, Head, LossConfig, Predicted};
use crate::gather::numbers;
use crate::loss::mse::Mse;
use crate::loss::panel::{Panel, Row};
use crate::loss::{LossInput, TensorsOnly, shipped};
use foresee_core::{Batch, State, Stream};
use foresee_nn::NoValues;
use foresee_nn::cpu::simd::Simd;

mod row_weights;
mod units;

/// A value view whose values and gradients differ from row to row: V_n(s) = Σ_d sin(n + 1 + s_d).
struct Sines;

impl ValueView for Sines {
    fn heads(&self) -> usize {
        3
    }

    fn values(&self, states: Tensor<2>) -> Tensor<2> {
        Tensor::cat(
            (0..3).map(|n| states.clone().add_scalar(f64::from(n) + 1.0).sin().sum_dim(1).transpose()).collect(),
            0,
        )
    }

    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3> {
        let head = |n| states.clone().add_scalar(f64::from(n) + 1.0).cos().unsqueeze_dim(0);
        Tensor::cat((0..3).map(head).collect(), 0)
    }
}

fn rows(n: usize, obs_dim: usize) -> Batch {
    let normals = |name: &str, columns| Stream::new(3, name).normals(0, n, columns);
    let (obs, next_obs) = (normals("obs", obs_dim), normals("next_obs", obs_dim));
    let (action, reward) = (normals("action", 2), normals("reward", 1));
    Batch { rows: n, obs, action, reward, next_obs, not_terminated: vec![1.0; n] }
}

/// Returns all shipped losses, VaGraM in both forms, each with every head that it can have.
fn cases() -> Vec<(LossConfig, Head)> {
    let names: Vec<&str> = shipped().iter().map(foresee_core::Kind::name).collect();
    let losses =
        names.into_iter().map(LossConfig::named).chain([LossConfig::named("vagram").with("form", "unbounded")]);
    losses.flat_map(|loss| heads(&loss).into_iter().map(move |head| (loss.clone(), head))).collect()
}

/// Returns the heads that a loss can have.
fn heads(loss: &LossConfig) -> Vec<Head> {
    let fits_variance = built(loss).fits_variance();
    let all = [Head::Deterministic, Head::Gaussian, Head::Homoscedastic];
    all.into_iter().skip(usize::from(fits_variance)).collect()
}

fn built(loss: &LossConfig) -> Arc<dyn ModelLoss> {
    loss.choose(&shipped()).expect("a shipped loss").0
}

fn config(loss: &LossConfig, head: Head, batch: usize) -> ModelConfig {
    ModelConfig {
        head: Some(head),
        ensemble: EnsembleConfig { members: 3, elites: 2, hidden: vec![17, 9], ..EnsembleConfig::default() },
        loss: LossConfig { add_mse_until: 10, ..loss.clone() },
        fit: FitConfig { batch, lr: 1e-2, ..FitConfig::default() },
        ..ModelConfig::default()
    }
}

/// Returns a trainer in host memory that takes its steps on panels or in tensor operations.
fn trainer(config: &ModelConfig, tensors: bool) -> Trainer {
    let loss = built(&config.loss);
    let loss = if tensors { Arc::new(TensorsOnly(loss)) } else { loss };
    let trainer = Trainer::new(config, loss, [4, 2], 5, &Device::flex());
    assert_eq!(matches!(trainer.form, StepForm::Tensors), tensors, "{:?} has a panel form", config.loss.kind);
    trainer
}

/// Takes one gradient step on replay rows `[E, B]` and returns the loss before it.
fn step(trainer: &mut Trainer, fit: &Fit, replay: &[u32]) -> f64 {
    let data = match &fit.data.store {
        FitRows::Host(data) => return trainer.step(data, replay, &Sines),
        FitRows::Tensors(data) => data,
    };
    let members = trainer.ensemble.members();
    let rows = numbers(replay, &trainer.device).reshape([members, replay.len() / members]);
    f64::from(tensors::to_f32(trainer.step_in_tensors(data, &rows, &Sines)))
}

fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    let scale = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * scale, "{what}[{i}]: {got}, expected {want}, scale {scale}");
    }
}

/// Asserts that the panel form of a shipped loss agrees with its tensor form: losses, scores, first moments of every
/// gradient.
pub(crate) fn assert_forms_agree(loss: &LossConfig) {
    for head in heads(loss) {
        let [change, direct] = [Predicted::Change, Predicted::NextObs];
        for (batch, learning_step, normalize_targets, predict, layer_norm) in [
            (1, 0, false, change, false),
            (33, 0, false, change, false),
            (33, 10, false, change, false),
            (70, 10, false, change, false),
            (33, 0, true, change, false),
            (70, 10, true, change, true),
            (33, 10, true, direct, false),
            (33, 0, false, direct, true),
        ] {
            let mut config = config(loss, head, batch);
            config.ensemble = EnsembleConfig { normalize_targets, predict, layer_norm, ..config.ensemble };
            let rows = if normalize_targets { units::of_several_scales(80) } else { rows(80, 4) };
            let run = |tensors: bool| {
                let mut trainer = trainer(&config, tensors);
                let fit = trainer.begin(&rows, &Sines, 0, learning_step);
                let mut replay = Vec::new();
                fit.data.split.batch(&fit.order, 0, batch, &mut replay);
                let losses: Vec<f64> = (0..4).map(|_| step(&mut trainer, &fit, &replay)).collect();
                let scores = trainer.holdout_scores(&fit.data, &Sines);
                let moments = trainer.net_adam.save(&trainer.ensemble.net);
                (losses, scores, trainer.ensemble.save(), moments)
            };
            let (host, tensor) = (run(false), run(true));
            let what = format!("{loss:?}, {head:?}, batch {batch}, normalised {normalize_targets}, {predict:?}");
            for (got, want) in host.0.iter().chain(&host.1).zip(tensor.0.iter().chain(&tensor.1)) {
                assert!((got - want).abs() <= 1e-5 * (1.0 + want.abs()), "{what}: {got}, expected {want}");
            }
            // First moments are averages of gradients.
            for (name, array) in tensor.3.iter().filter(|(name, _)| name.ends_with("moment_1")) {
                let (mut got, mut want) = (host.3.clone(), tensor.3.clone());
                let (got, want) = (got.f32s(name).unwrap().1, want.f32s(name).unwrap().1);
                assert_eq!(array.shape.iter().product::<usize>(), want.len());
                assert_close(&format!("{what}: {name}"), &got, &want, 2e-4);
            }
            for (name, _) in tensor.2.iter().filter(|(name, _)| name.contains("logvar")) {
                let (mut got, mut want) = (host.2.clone(), tensor.2.clone());
                assert_close(&format!("{what}: {name}"), &got.f32s(name).unwrap().1, &want.f32s(name).unwrap().1, 1e-5);
            }
        }
    }
}

/// A value-aware loss whose holdout is scored by the squared error.
#[derive(Debug)]
struct ScoredBySquares;

impl ModelLoss for ScoredBySquares {
    fn needs(&self) -> loss::Needs {
        loss::Needs::NextStates
    }

    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        Mse {}.per_row(input).mul_scalar(3.0)
    }

    fn score(&self) -> Option<&dyn ModelLoss> {
        Some(&Mse {})
    }

    fn panel(&self) -> Option<&dyn loss::PanelLoss> {
        Some(self)
    }
}

impl loss::ChannelLoss for ScoredBySquares {
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row) {
        for _ in 0..3 {
            Mse {}.channel::<S>(panel, c, loss, slope);
        }
    }
}

#[test]
fn a_scoring_loss_is_given_no_squared_error_that_the_training_loss_is_given() {
    let config = config(&LossConfig::named("mse"), Head::Deterministic, 32);
    let rows = rows(80, 4);
    let scores = |loss: Arc<dyn ModelLoss>| {
        let mut trainer = Trainer::new(&config, loss, [4, 2], 5, &Device::flex());
        let fit = trainer.begin(&rows, &Sines, 0, 0);
        let scores = trainer.holdout_scores(&fit.data, &Sines);
        let channels = trainer.channel_errors(&fit.data);
        let squares = channels.iter().map(|channel| channel.mse).sum::<f64>() / channels.len() as f64;
        let elites = &trainer.ensemble.elites;
        let of_elites = elites.iter().map(|&elite| scores[elite]).sum::<f64>() / elites.len() as f64;
        (scores, of_elites, squares)
    };
    let own: Arc<dyn ModelLoss> = Arc::new(ScoredBySquares);
    let (panels, of_elites, squares) = scores(Arc::clone(&own));
    assert!((of_elites - squares).abs() <= 1e-6 * squares, "{of_elites}, of squared errors {squares}");
    let (tensors, ..) = scores(Arc::new(TensorsOnly(own)));
    for (panels, tensors) in panels.iter().zip(&tensors) {
        assert!((panels - tensors).abs() <= 1e-5 * tensors, "{panels}, in tensors {tensors}");
    }
}

/// One observation entry has noise with a standard deviation of 0.5, another of 0.05. The best single log-variance of a
/// channel is the logarithm of the mean squared error.
#[test]
fn one_learned_noise_a_channel_is_the_errors_own_and_does_not_depend_on_the_input() {
    let n = 600;
    let stream = |name: &str, columns| Stream::new(4, name).normals(0, n, columns);
    let (obs, noise, action) = (stream("obs", 2), stream("noise", 2), stream("action", 1));
    let mut batch = Batch::with_capacity(n, 2, 1);
    for ((obs, noise), action) in obs.chunks_exact(2).zip(noise.chunks_exact(2)).zip(action) {
        let next_obs = [obs[0] + 0.5 * noise[0], obs[1] + 0.3 * action + 0.05 * noise[1]];
        batch.push(obs, &[action], obs[0], &next_obs, false);
    }
    let mut config = config(&LossConfig::named("mle"), Head::Homoscedastic, 128);
    config.ensemble.normalize_targets = true;
    config.fit = FitConfig { max_steps: 800, min_steps: 800, ..config.fit };
    let first_steps = [false, true].map(|tensors| {
        let loss: Arc<dyn ModelLoss> = Arc::new(loss::mle::Mle {});
        let loss = if tensors { Arc::new(TensorsOnly(loss)) } else { loss };
        let mut trainer = Trainer::new(&config, loss, [2, 1], 5, &Device::flex());
        let mut fit = trainer.begin(&batch, &NoValues, 0, 0);
        let mut steps = |trainer: &mut Trainer, count: usize| {
            (0..count).for_each(|_| drop(trainer.gradient_step(&mut fit, &NoValues)));
        };
        steps(&mut trainer, 5);
        let first = trainer.ensemble.save();
        steps(&mut trainer, 795);
        // These are training rows, because the learned noise follows the errors on them.
        let holdout = &fit.data.split.holdout;
        fit.data.split.holdout = (0..n as u32).filter(|row| !holdout.contains(row)).collect();
        if let FitRows::Tensors(data) = &mut fit.data.store {
            data.hold_out(&fit.data.split.holdout.clone());
        }
        let (inputs, targets) = fit.data.holdout_batch(0..fit.data.split.holdout.len(), &trainer.device);
        let prediction = trainer.ensemble.predict(inputs);
        let logvar = prediction.logvar.expect("a variance");
        let [members, rows, channels] = logvar.dims();
        let all = tensors::to_vec(logvar);
        let errors = tensors::to_vec((prediction.mean - targets).square().mean_dim(1));
        for member in 0..members {
            for c in 0..2 {
                let of_row = |row: usize| all[(member * rows + row) * channels + c];
                assert!((0..rows).all(|row| of_row(row) == of_row(0)), "member {member}, channel {c}");
                let (got, want) = (of_row(0), errors[member * channels + c].ln());
                assert!(
                    (got - want).abs() < 0.25,
                    "member {member}, channel {c}: ln variance {got}, of the errors {want}"
                );
            }
        }
        first
    });
    let [mut host, mut in_tensors] = first_steps;
    for name in ["net.weight.2", "net.bias.2"] {
        let [host, in_tensors] = [&mut host, &mut in_tensors].map(|state| state.f32s(name).expect("a part").1);
        assert_close(name, &host, &in_tensors, 1e-4);
        if name.contains("weight") {
            assert!(host.chunks_exact(6).all(|row| row[..3] != [0.0; 3] && row[3..] == [0.0; 3]), "{host:?}");
        } else {
            // Five steps of 1e-2, multiplied by ten.
            let moved = host.chunks_exact(6).flat_map(|row| &row[3..]).all(|x| (0.3..0.51).contains(&x.abs()));
            assert!(moved, "{host:?}");
        }
    }
}
