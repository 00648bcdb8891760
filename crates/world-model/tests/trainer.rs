//! The whole trainer on a linear system that a small ensemble can learn.

mod toys;

use burn::tensor::Device;
use foresee_core::state::Data;
use foresee_core::{Batch, State, Stream};
use foresee_world_model::config::{EnsembleConfig, FitConfig, Head, Snapshot, Stopping};
use foresee_world_model::loss::{shipped, vagram};
use foresee_world_model::{FitReport, LossConfig, ModelConfig, Trainer};
use toys::Quadratic;

const DIMS: [usize; 2] = [3, 1];
const KINDS: [&str; 5] = ["mle", "mse", "vagram", "itervaml", "value_weighted"];

/// Returns rows of next_obs = obs + A (obs, action), reward = Σ obs − action, with normal obs and uniform action.
fn linear_system(rows: usize) -> Batch {
    let (obs, action) =
        (Stream::new(2, "obs").normals(0, rows, DIMS[0]), Stream::new(2, "action").uniforms(0, rows, DIMS[1]));
    let matrix = Stream::new(2, "matrix").normals(0, DIMS[0], DIMS[0] + DIMS[1]);
    let mut batch = Batch::with_capacity(rows, DIMS[0], DIMS[1]);
    for (obs, action) in obs.chunks_exact(DIMS[0]).zip(action.chunks_exact(DIMS[1])) {
        let delta = |row: &[f32]| -> f32 { row.iter().zip(obs.iter().chain(action)).map(|(a, x)| a * x).sum() };
        let next_obs: Vec<f32> = obs.iter().zip(matrix.chunks_exact(4)).map(|(s, row)| s + 0.3 * delta(row)).collect();
        batch.push(obs, action, obs.iter().sum::<f32>() - action[0], &next_obs, false);
    }
    batch
}

fn config(kind: &str, snapshot: Snapshot, max_steps: u64) -> ModelConfig {
    ModelConfig {
        ensemble: EnsembleConfig { members: 3, elites: 2, hidden: vec![32, 32], ..EnsembleConfig::default() },
        loss: LossConfig::named(kind),
        fit: FitConfig { batch: 64, lr: 3e-3, max_steps, snapshot, ..FitConfig::default() },
        ..ModelConfig::default()
    }
}

fn trainer(config: &ModelConfig) -> Trainer {
    of_dims(config, DIMS)
}

fn of_dims(config: &ModelConfig, dims: [usize; 2]) -> Trainer {
    let loss = config.loss.choose(&shipped()).expect("a shipped loss").0;
    Trainer::new(config, loss, dims, 4, &Device::flex())
}

/// Runs one training call. In call 0 the squared error is added to value-aware losses, in later calls it is not. With
/// `cut`, trainer and fit are saved after every slice and loaded into a new trainer.
fn fit(trainer: &mut Trainer, config: &ModelConfig, call: u64, cut: bool) -> FitReport {
    let (rows, view) = (linear_system(300), Quadratic::random(4, DIMS[0]));
    let mut fit = trainer.begin(&rows, &view, call, LossConfig::default().add_mse_until * call);
    loop {
        if let Some(report) = trainer.advance(&mut fit, &view).expect("a finite score") {
            return report;
        }
        if cut {
            let (saved_trainer, saved_fit): (State, State) = (trainer.save(), fit.save());
            *trainer = self::trainer(config);
            trainer.load(saved_trainer).expect("the same shapes");
            fit = trainer.resume(saved_fit, &rows, &view).expect("the same shapes");
        }
    }
}

#[test]
fn a_fit_learns_a_linear_system_under_every_loss() {
    for kind in KINDS {
        let errors = |max_steps| {
            let config = config(kind, Snapshot::Member, max_steps);
            let report = fit(&mut trainer(&config), &config, 1, false);
            assert!(report.steps <= max_steps && report.holdout_score.is_finite(), "{report:?}");
            let norm = report.diagnostics.iter().any(|&(name, norm)| name == vagram::GRADIENT_NORM && norm > 0.0);
            assert_eq!(norm, kind == "vagram");
            [("score", report.holdout_score), ("squared error", report.holdout_mse)]
        };
        for ((what, before), (_, after)) in errors(1).into_iter().zip(errors(600)) {
            // Measured: 0.4e-4 to 1.7e-4 of the error before. The rest is margin for another machine's rounding.
            assert!(after < before / 1000.0, "{kind:?}: {what} {after} after the fit, {before} after one step");
        }
    }
}

/// The channels are one observation entry that a model can learn, one that no model can learn, and the reward.
#[test]
fn the_holdout_error_by_channel_tells_what_is_learnt_from_what_is_not_and_its_mean_is_the_reports() {
    let (rows, deviation) = (2000, 0.7_f32);
    let stream = |name: &str, columns| Stream::new(6, name).normals(0, rows, columns);
    let (obs, noise, action) = (stream("obs", 2), stream("noise", 1), stream("action", 1));
    let mut batch = Batch::with_capacity(rows, 2, 1);
    for ((obs, noise), action) in obs.chunks_exact(2).zip(noise).zip(action) {
        let next_obs = [obs[0] + 0.3 * action, obs[1] + deviation * noise];
        batch.push(obs, &[action], obs[0] - obs[1], &next_obs, false);
    }
    for kind in KINDS {
        let config = config(kind, Snapshot::Member, 400);
        let mut trainer = of_dims(&config, [2, 1]);
        let view = Quadratic::random(4, 2);
        let mut fit = trainer.begin(&batch, &view, 1, 10_000);
        let report = loop {
            if let Some(report) = trainer.advance(&mut fit, &view).expect("a finite score") {
                break report;
            }
        };
        let errors: Vec<f64> = report.channels.iter().map(|channel| channel.mse).collect();
        let mean = errors.iter().sum::<f64>() / 3.0;
        assert_eq!(errors.len(), 3);
        assert!((mean - report.holdout_mse).abs() < 1e-5 * mean, "{kind:?}: {errors:?}, {}", report.holdout_mse);
        // The best possible error of this entry is the variance of the noise; the margin is five standard errors of it
        // over 400 holdout rows.
        let variance = f64::from(deviation * deviation);
        let least = variance * (1.0 - 5.0 * (2.0 / 400.0_f64).sqrt());
        assert!(errors[1] > least && errors[1] < 2.0 * variance, "{kind:?}: {errors:?}");
        assert!(errors[0] < 0.05 * variance && errors[2] < 0.05 * variance, "{kind:?}: {errors:?}");
    }
}

#[test]
fn a_fit_cut_after_every_slice_ends_bit_for_bit_like_an_uninterrupted_one() {
    for kind in KINDS {
        for snapshot in [Snapshot::Member, Snapshot::Shared] {
            let mut config = config(kind, snapshot, 130);
            if (kind, snapshot) == ("mle", Snapshot::Shared) {
                // The model of DHMBPO.
                config.head = Some(Head::Homoscedastic);
                config.fit.stopping = Stopping::Paired;
                config.ensemble = EnsembleConfig { normalize_targets: true, layer_norm: true, ..config.ensemble };
            }
            let run = |cut: bool| {
                let mut trainer = trainer(&config);
                // Two calls, so that the second one starts from carried-over weights and moments.
                let reports = [0, 1].map(|call| fit(&mut trainer, &config, call, cut));
                (reports, trainer.ensemble.elites.clone(), trainer.save())
            };
            let (reports, elites, weights) = run(false);
            assert!(reports[0].steps > 25, "{kind:?}, {snapshot:?}: a fit of one slice is never cut");
            assert_eq!(run(true), (reports, elites, weights), "{kind:?}, {snapshot:?}");
        }
    }
}

/// A paired test keeps the whole ensemble as it was at one of the scores. These weights must be better than the initial
/// ones.
#[test]
fn a_fit_that_stops_by_a_paired_test_learns_and_ends_by_itself() {
    let mut config = config("mle", Snapshot::Member, 20_000);
    config.head = Some(Head::Homoscedastic);
    config.ensemble.normalize_targets = true;
    config.fit = FitConfig { stopping: Stopping::Paired, patience: 5, ..config.fit };
    assert!(config.problem(&foresee_world_model::loss::mle::Mle {}).is_none());
    let mut trainer = trainer(&config);
    let report = fit(&mut trainer, &config, 0, false);
    assert!(report.steps < 20_000 && report.steps > 100, "{report:?}");
    assert!(report.holdout_mse < 0.01, "of normalised targets, 1 is a constant's: {report:?}");
    config.head = Some(Head::Deterministic);
    let problem = config.problem(&foresee_world_model::loss::mse::Mse {}).expect("no variance");
    assert!(problem.starts_with("`model.fit.stopping` is `paired`, which needs a head with a variance"), "{problem}");
}

#[test]
fn a_member_that_dies_of_a_nan_goes_back_to_sound_weights_and_learns_again() {
    let config = config("mse", Snapshot::Member, 200);
    let mut trainer = trainer(&config);
    fit(&mut trainer, &config, 0, false);

    // Member 0's moments hold a NaN, so its next step makes its weights NaN.
    let mut poisoned = State::new();
    for (name, array) in trainer.save().iter() {
        let mut array = array.clone();
        if let ("net_adam.weight.0.moment_1", Data::F32(values)) = (name, &mut array.data) {
            values[0] = f32::NAN;
        }
        poisoned.put(name, array);
    }
    trainer.load(poisoned).unwrap();

    fit(&mut trainer, &config, 1, false);
    assert!(!trainer.ensemble.elites.contains(&0), "a dead member imagines: {:?}", trainer.ensemble.elites);
    assert!(trainer.save().iter().all(|(_, array)| array.is_finite()));

    let before = trainer.ensemble.save().f32s("net.weight.0").unwrap().1;
    fit(&mut trainer, &config, 2, false);
    let after = trainer.ensemble.save().f32s("net.weight.0").unwrap().1;
    assert!(trainer.save().iter().all(|(_, array)| array.is_finite()));
    assert_ne!(before[..8], after[..8], "member 0 learns again");
}
