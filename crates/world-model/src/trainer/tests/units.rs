//! Normalised targets: losses in the task's own units and their gradients.

use super::*;
use foresee_nn::StepDraws;

/// Rows whose entries change by amounts of very different size, with a large reward.
pub(super) fn of_several_scales(n: usize) -> Batch {
    let mut rows = rows(n, 4);
    let sizes = [0.02, 0.3, 1.0, 5.0];
    for (i, (next, obs)) in rows.next_obs.iter_mut().zip(&rows.obs).enumerate() {
        *next = obs + sizes[i % 4] * (*next - 0.4);
    }
    rows.reward.iter_mut().for_each(|r| *r = 7.0 * *r + 20.0);
    rows
}

fn normalizing(loss: &LossConfig, head: Head) -> ModelConfig {
    let mut config = config(loss, head, 33);
    config.ensemble.normalize_targets = true;
    config
}

fn value_aware() -> Vec<LossConfig> {
    let named = LossConfig::named;
    vec![named("vagram"), named("vagram").with("form", "unbounded"), named("itervaml"), named("value_weighted")]
}

#[test]
fn a_value_aware_loss_is_the_same_number_in_whatever_unit_the_model_predicts() {
    let rows = of_several_scales(80);
    for loss in value_aware() {
        let mut normalized = trainer(&normalizing(&loss, Head::Deterministic), false);
        let fit = normalized.begin(&rows, &Sines, 0, 10);
        let got = normalized.holdout_scores(&fit.data, &Sines);
        let mut plain = trainer(&config(&loss, Head::Deterministic, 33), false);
        plain.ensemble = normalized.ensemble.in_units_of(normalized.target_normalizer.as_ref().unwrap());
        let fit = plain.begin(&rows, &Sines, 0, 10);
        let want = plain.holdout_scores(&fit.data, &Sines);
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() <= 1e-4 * want, "{loss:?}: {got}, in the task's units {want}");
        }
    }
}

#[test]
fn gradients_of_value_aware_losses_through_both_normalisers_are_finite_differences() {
    let rows = of_several_scales(80);
    for loss in value_aware() {
        for tensors in [false, true] {
            let mut before = trainer(&normalizing(&loss, Head::Deterministic), tensors);
            let fit = before.begin(&rows, &Sines, 0, 10);
            let replay: Vec<u32> = (0..3).flat_map(|member| (0..33).map(move |i| member + 2 * i)).collect();
            let net = before.ensemble.net.clone();
            let parts = net.parts();
            let bias = parts.iter().find(|part| part.name == "bias.2").expect("the last layer's");
            let mut after = before.clone();
            step(&mut after, &fit, &replay);
            let moments = after.net_adam.save(&net).f32s("bias.2.moment_1").unwrap().1;
            for (i, &moment) in moments.iter().enumerate() {
                let (member, channel) = (i / 5, i % 5);
                let at = member * net.layout().parameters() + bias.offset + channel;
                let h = 2.0_f32.powi(-6);
                let [up, down] = [h, -h].map(|h| {
                    let mut moved = before.clone();
                    moved.ensemble.net.slot_mut().lend(|all| all[at] += h);
                    step(&mut moved, &fit, &replay)
                });
                let (got, want) = (10.0 * f64::from(moment), (up - down) / (2.0 * f64::from(h)));
                let scale = up.abs().max(1.0);
                assert!((got - want).abs() <= 2e-3 * scale, "{loss:?}, tensors {tensors}, {i}: {got}, expected {want}");
            }
        }
    }
}

#[test]
fn what_imagines_is_the_fitted_model_in_the_tasks_own_units() {
    let rows = of_several_scales(80);
    for (loss, head) in [("mle", Head::Gaussian), ("mse", Head::Deterministic)] {
        let mut trainer = trainer(&normalizing(&LossConfig::named(loss), head), false);
        trainer.config.fit.max_steps = 30;
        let mut fit = trainer.begin(&rows, &Sines, 0, 0);
        while trainer.advance(&mut fit, &Sines).expect("a sound fit").is_none() {}
        let (target_normalizer, ensemble) = (trainer.target_normalizer.clone().unwrap(), &trainer.ensemble);
        let [mean, std] = target_normalizer.moments();
        // One row computed by hand: the prediction of one elite, scaled.
        let device = Device::flex();
        let (obs, action) = (rows.obs[..4].to_vec(), rows.action[..2].to_vec());
        let mut input = [obs.clone(), action.clone()].concat();
        ensemble.normalizer.apply_rows(&mut input);
        let prediction = ensemble.predict(tensors::from_vec(input, [1, 1, 6], &device));
        let elite = ensemble.elites[0];
        let of_elite = |all: Tensor<3>| tensors::to_vec(all.narrow(0, elite, 1));
        let own_mean = of_elite(prediction.mean);
        let spread: Vec<f32> = prediction.logvar.map_or(vec![0.0; 5], |lv| of_elite(lv.mul_scalar(0.5).exp()));
        let noise = [0.5, -1.0, 0.0, 2.0, -0.3];
        let step = trainer.rollout_model().step(
            tensors::from_vec(obs.clone(), [1, 4], &device),
            tensors::from_vec(action, [1, 2], &device),
            &StepDraws { words: vec![0], noise: tensors::from_vec(noise.to_vec(), [1, 5], &device) },
        );
        let got = [tensors::to_vec(step.next_obs), tensors::to_vec(step.reward)].concat();
        for c in 0..5 {
            let change = (own_mean[c] + spread[c] * noise[c]) * std[c] + mean[c];
            let want = if c < 4 { obs[c] + change } else { change };
            assert!((got[c] - want).abs() <= 1e-4 * (1.0 + want.abs()), "{loss}, channel {c}: {}, {want}", got[c]);
        }
        // A trainer that was saved and loaded imagines the same.
        let mut again = trainer.clone();
        again.rollout_model = None;
        again.load(trainer.save()).expect("its own state");
        assert_eq!(again.rollout_model().save(), trainer.rollout_model().save());
    }
}

#[test]
fn channels_are_told_beside_a_constant_and_beside_no_change_in_any_unit() {
    let rows = of_several_scales(200);
    for (normalize_targets, predict, tensors) in [
        (false, Predicted::Change, false),
        (true, Predicted::Change, false),
        (false, Predicted::NextObs, true),
        (true, Predicted::NextObs, false),
    ] {
        let mut config = config(&LossConfig::named("mse"), Head::Deterministic, 32);
        config.ensemble = EnsembleConfig { normalize_targets, predict, ..config.ensemble };
        let mut trainer = trainer(&config, tensors);
        let fit = trainer.begin(&rows, &Sines, 0, 0);
        let got = trainer.channel_errors(&fit.data);
        let holdout: Vec<usize> = fit.data.split.holdout.iter().map(|&row| row as usize).collect();
        for c in 0..5 {
            let std = trainer.target_normalizer.as_ref().map_or(1.0, |targets| f64::from(targets.moments()[1][c]));
            let next = |row: usize| f64::from(rows.next_obs[row * 4 + c]);
            let change = |row: usize| match c {
                4 => f64::from(rows.reward[row]),
                _ => next(row) - f64::from(rows.obs[row * 4 + c]),
            };
            let target = |row: usize| if predict == Predicted::NextObs && c < 4 { next(row) } else { change(row) };
            let mean = |of: &dyn Fn(usize) -> f64| {
                holdout.iter().map(|&row| of(row)).sum::<f64>() / holdout.len() as f64 / std / std
            };
            let centre = mean(&target) * std * std;
            let variance = mean(&|row| (target(row) - centre).powi(2));
            let no_change_mse = mean(&|row| change(row).powi(2));
            let what = format!("{normalize_targets} {predict:?} {c}");
            let near =
                |got: f64, want: f64| assert!((got - want).abs() <= 1e-4 * want, "{what}: {got}, expected {want}");
            near(got[c].variance, variance);
            near(got[c].no_change_mse, no_change_mse);
            // Mean over elites of each elite's error.
            let of_elite = |elite: usize| {
                let part = 0..holdout.len();
                let (inputs, targets) = fit.data.holdout_batch(part, &trainer.device);
                let mean = trainer.ensemble.predict(inputs).mean.narrow(0, elite, 1).narrow(2, c, 1);
                f64::from(tensors::to_f32((mean - targets.narrow(2, c, 1)).square().mean()))
            };
            let elites = &trainer.ensemble.elites;
            near(got[c].mse, elites.iter().map(|&elite| of_elite(elite)).sum::<f64>() / elites.len() as f64);
            assert_eq!(got[c].explained_variance(), Some(1.0 - got[c].mse / got[c].variance));
            assert_eq!(got[c].relative_to_no_change(), Some(got[c].mse / got[c].no_change_mse));
        }
    }
    let still = ChannelError { mse: 1.0, variance: 0.0, no_change_mse: 0.0 };
    assert_eq!((still.explained_variance(), still.relative_to_no_change()), (None, None));
}
