//! The gradients of the agent of `algo = "dhmbpo"` compared with finite differences of a second implementation in f64.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::f64::consts::PI;

use common::double_horizon::{Case, floats};
use foresee_actor_critic::dhmbpo::DhmbpoDraws;
use foresee_actor_critic::policy::MIN_STD;
use foresee_actor_critic::{Agent, BatchRef, DhmbpoConfig, StreamNoise, Update};
use foresee_core::State;
use foresee_core::stream::below;
use foresee_dyna::rollout::tensors::TaskDynamics;
use foresee_nn::cpu::scalar;
use foresee_nn::{Mlp, Parameters, tensors};
use foresee_world_model::Head;
use foresee_world_model::config::Predicted;

/// Returns one network's output for one input, from parameters `[E, P]`.
fn forward(net: &Mlp, all: &[f32], member: usize, x: &[f64]) -> Vec<f64> {
    scalar::forward(net.layout(), net.layout().member(all, member), x)
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The inputs of the second implementation.
struct Second<'a> {
    case: &'a Case,
    draws: DhmbpoDraws,
    starts: Vec<f32>,
    alpha: f64,
    /// Mean and standard deviation of the normalisation of observations.
    scale: Option<(Vec<f64>, Vec<f64>)>,
    weights: Vec<f32>,
    bounds: Vec<f32>,
    /// A perturbation of the state that a step reaches, in all rows: (k, entry, by), where the first step is 1.
    moved: Option<(usize, usize, f64)>,
}

/// A rollout of one row: the masked sum of discounted soft rewards, log-probabilities of the first and last action, the
/// critics' input at the end with its mask, and the first action.
struct Rolled {
    gain: f64,
    first_log_prob: f64,
    last: Vec<f64>,
    last_log_prob: f64,
    mask: f64,
    first: Vec<f64>,
}

impl Second<'_> {
    fn seen(&self, obs: &[f64]) -> Vec<f64> {
        match &self.scale {
            Some((mean, std)) => {
                obs.iter().zip(mean.iter().zip(std)).map(|(x, (mean, std))| (x - mean) / std).collect()
            }
            None => obs.to_vec(),
        }
    }

    fn act(&self, policy: &[f32], row: usize, k: usize, obs: &[f64]) -> (Vec<f64>, f64) {
        let actor_output = forward(self.case.agent.policy().net(), policy, 0, &self.seen(obs));
        let (actions, steps) = (self.case.dims[1], self.case.config.horizon + 1);
        let mut log_prob = 0.0;
        let action = (0..actions).map(|d| {
            let noise = f64::from(self.draws.action[(row * steps + k) * actions + d]);
            let std = softplus(actor_output[actions + d]) + MIN_STD;
            let u = actor_output[d] + std * noise;
            log_prob += -0.5 * noise * noise - std.ln() - 0.5 * (2.0 * PI).ln();
            log_prob -= 2.0 * (std::f64::consts::LN_2 - u - softplus(-2.0 * u));
            u.tanh()
        });
        (action.collect(), log_prob)
    }

    fn roll(&self, policy: &[f32], row: usize) -> Rolled {
        let Case { model, termination, config, dims: [obs_dim, _], rows, .. } = self.case;
        let ensemble = &model.ensemble;
        let channels = obs_dim + 1;
        let width = ensemble.noise_width();
        let [means, stds] = ensemble.normalizer.moments();
        let mut obs: Vec<f64> = self.starts[row * obs_dim..][..*obs_dim].iter().map(|&x| f64::from(x)).collect();
        let (mut gain, mut mask, mut first) = (0.0, 1.0, None);
        for k in 0..config.horizon {
            let before: Vec<f32> = obs.iter().map(|&x| x as f32).collect();
            let (action, log_prob) = self.act(policy, row, k, &obs);
            let pair = [obs.clone(), action.clone()].concat();
            let input: Vec<f64> = pair
                .iter()
                .zip(means.iter().zip(stds))
                .map(|(x, (&mean, &std))| (x - f64::from(mean)) / f64::from(std))
                .collect();
            let member = ensemble.elites[below(self.draws.words[k * rows + row], ensemble.elites.len())];
            let mut change = forward(&ensemble.net, &self.weights, member, &input);
            if width > 0 {
                let raw = change.split_off(channels);
                for (c, raw) in raw.into_iter().enumerate() {
                    let (low, high) = (f64::from(self.bounds[c]), f64::from(self.bounds[channels + c]));
                    let logvar = low + softplus(high - softplus(high - raw) - low);
                    let noise = f64::from(self.draws.model[(row * config.horizon + k) * width + c]);
                    change[c] += (0.5 * logvar).exp() * noise;
                }
            }
            gain += config.discount.powi(k as i32) * mask * (change[channels - 1] - self.alpha * log_prob);
            match ensemble.predicted() {
                Predicted::Change => obs.iter_mut().zip(&change).for_each(|(x, change)| *x += change),
                Predicted::NextObs => obs = change[..*obs_dim].to_vec(),
            }
            if let Some((_, entry, by)) = self.moved.filter(|moved| moved.0 == k + 1) {
                obs[entry] += by;
            }
            let rounded: Vec<f32> = obs.iter().map(|&x| x as f32).collect();
            mask *= if termination.terminated(&before, &rounded) { 0.0 } else { 1.0 };
            first.get_or_insert((action, log_prob));
        }
        let (action, last_log_prob) = self.act(policy, row, config.horizon, &obs);
        let (first, first_log_prob) = first.expect("at least one step");
        Rolled { gain, first_log_prob, last: [self.seen(&obs), action].concat(), last_log_prob, mask, first }
    }

    /// Returns the value of one critic from the critics' parameters, with scale and shift of the bounds.
    fn value(&self, critics: &[f32], n: usize, pair: &[f64], [scale, shift]: [f64; 2]) -> f64 {
        scale * forward(self.case.agent.critic().net(), critics, n, pair)[0] + shift
    }

    /// Returns the actor's objective in a row, under the critics after their step.
    fn objective(&self, policy: &[f32], critics: &[f32], bounds: [f64; 2], row: usize) -> f64 {
        let config = &self.case.config;
        let Rolled { gain, last, last_log_prob, mask, .. } = self.roll(policy, row);
        let values = (0..config.critics).map(|n| self.value(critics, n, &last, bounds));
        let value = values.sum::<f64>() / config.critics as f64;
        gain + config.discount.powi(config.horizon as i32) * mask * (value - self.alpha * last_log_prob)
    }

    /// Returns the actor's loss as a function of the actor's parameters.
    fn actor_loss(&self, policy: &[f32], critics: &[f32], bounds: [f64; 2]) -> f64 {
        let objectives = (0..self.case.rows).map(|row| self.objective(policy, critics, bounds, row));
        -objectives.sum::<f64>() / self.case.rows as f64
    }

    /// Returns the norm of the objective's gradient at the state that step `k` reaches, in standard deviations of the
    /// observations, as a mean over rows.
    fn norm_at(&self, k: usize, policy: &[f32], critics: &[f32], bounds: [f64; 2]) -> f64 {
        let by = 1e-5;
        let slope = |row: usize, entry: usize| {
            let [up, down] = [by, -by].map(|by| {
                let moved = Second {
                    moved: Some((k, entry, by)),
                    draws: self.draws.clone(),
                    starts: self.starts.clone(),
                    scale: self.scale.clone(),
                    weights: self.weights.clone(),
                    bounds: self.bounds.clone(),
                    ..*self
                };
                moved.objective(policy, critics, bounds, row)
            });
            let std = self.scale.as_ref().map_or(1.0, |(_, std)| std[entry]);
            (up - down) / (2.0 * by) * std
        };
        let norm = |row| (0..self.case.dims[0]).map(|entry| slope(row, entry).powi(2)).sum::<f64>().sqrt();
        (0..self.case.rows).map(norm).sum::<f64>() / self.case.rows as f64
    }

    /// Returns the regression targets of the critics.
    fn targets(&self, policy: &[f32], targets: &[f32], bounds: [f64; 2]) -> Vec<f64> {
        let config = &self.case.config;
        let [low, high] = [bounds[1] - bounds[0], bounds[1] + bounds[0]];
        let of_row = |row| {
            let Rolled { gain, first_log_prob, last, last_log_prob, mask, .. } = self.roll(policy, row);
            let values = self.draws.subset.iter().map(|&n| self.value(targets, n, &last, bounds));
            let value = values.fold(f64::INFINITY, f64::min).min(high).max(low);
            let tail = config.discount.powi(config.horizon as i32) * mask * (value - self.alpha * last_log_prob);
            gain + self.alpha * first_log_prob + tail
        };
        (0..self.case.rows).map(of_row).collect()
    }

    /// Returns the critics' loss as a function of the critics' parameters.
    fn critic_loss(&self, critics: &[f32], policy: &[f32], targets: &[f64], bounds: [f64; 2]) -> f64 {
        let obs_dim = self.case.dims[0];
        let of_row = |row: usize| {
            let obs: Vec<f64> = self.starts[row * obs_dim..][..obs_dim].iter().map(|&x| f64::from(x)).collect();
            let pair = [self.seen(&obs), self.roll(policy, row).first].concat();
            let errors = (0..self.case.config.critics).map(|n| self.value(critics, n, &pair, bounds) - targets[row]);
            errors.map(|error| error * error).sum::<f64>()
        };
        (0..self.case.rows).map(of_row).sum::<f64>() / self.case.rows as f64
    }
}

/// Returns central differences of a function for every `every`-th of its parameters.
fn differences(parameters: &[f32], every: usize, f: impl Fn(&[f32]) -> f64) -> Vec<(usize, f64)> {
    let mut moved = parameters.to_vec();
    let mut found = Vec::new();
    for i in (0..parameters.len()).step_by(every) {
        let [up, down] = [1.0, -1.0].map(|sign| {
            moved[i] = parameters[i] + sign * 2.0_f32.powi(-11);
            (f(&moved), f64::from(moved[i]))
        });
        moved[i] = parameters[i];
        found.push((i, (up.0 - down.0) / (up.1 - down.1)));
    }
    found
}

/// Returns a saved network's numbers `[E, P]`, from its arrays `{path}.{part}{suffix}`.
fn saved(state: &State, path: &str, net: &Mlp, suffix: &str) -> Vec<f32> {
    let (members, width) = (net.members(), net.layout().parameters());
    let mut all = vec![0.0; members * width];
    for part in net.parts() {
        let name = format!("{path}.{}{suffix}", part.name);
        let array = state.iter().find(|(path, _)| *path == name).expect("an array a part").1;
        let size = part.shape[0] * part.shape[1];
        for (e, values) in floats(array).chunks(size).enumerate() {
            all[e * width + part.offset..][..size].copy_from_slice(values);
        }
    }
    all
}

/// Returns the gradient of Adam's first step, `[E, P]`: ten times Adam's first moment.
fn gradient(state: &State, adam: &str, net: &Mlp) -> Vec<f32> {
    saved(state, adam, net, ".moment_1").into_iter().map(|moment| 10.0 * moment).collect()
}

#[test]
fn gradients_through_one_to_five_model_steps_are_finite_differences_in_f64() {
    for horizon in 1..=5 {
        for (head, normalize) in [(Head::Gaussian, true), (Head::Deterministic, false)] {
            let config =
                DhmbpoConfig { horizon, critics: 3, normalize_observations: normalize, ..DhmbpoConfig::default() };
            let case = Case::new(horizon as u64, head, [3, 2], [&[6, 5], &[7, 6]], 6, config);
            let before = case.agent.clone();
            let (batch, noise) = (case.batch(0), StreamNoise { seed: 2, update: 0 });
            let dynamics = TaskDynamics { model: &case.model, termination: (&case.termination).into() };
            let mut after = case.agent.clone();
            after.update(Update {
                batch: BatchRef::Host(&batch),
                noise: &noise,
                dynamics: Some(&dynamics),
                critic_only: false,
            });

            let parameters = |net: &Mlp| tensors::to_vec(net.slot().get().clone());
            let mut draws = DhmbpoDraws::default();
            draws.fill(&noise, case.sizes());
            let f64s = |all: &[f32]| all.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
            let ensemble = &case.model.ensemble;
            let second = Second {
                case: &case,
                draws,
                starts: batch.obs.clone(),
                alpha: case.config.initial_temperature,
                scale: before.policy().scale().map(|scale| (f64s(&scale.mean), f64s(&scale.std))),
                weights: parameters(&ensemble.net),
                bounds: ensemble.bounds.as_ref().map_or(vec![], |b| tensors::to_vec(b.slot().get().clone())),
                moved: None,
            };
            let (policy, critics) = (parameters(before.policy().net()), parameters(before.critic().net()));
            let bounds = after.bounds().scale_and_shift();
            let alive = (0..case.rows).filter(|&row| second.roll(&policy, row).mask > 0.0).count();
            assert!(alive > 0 && (horizon < 4 || alive < case.rows), "{alive} rows reach the horizon");

            let what = format!("H = {horizon}, {head:?}");
            let state = after.save();
            let check = |name: &str, got: &[f32], want: &[(usize, f64)]| {
                let largest = want.iter().fold(0.0_f64, |most, (_, g)| most.max(g.abs()));
                for &(i, want) in want {
                    let got = f64::from(got[i]);
                    assert!(
                        (got - want).abs() <= 2e-4 * largest,
                        "{what}: {name}[{i}] is {got}, expected {want}, largest {largest}"
                    );
                }
            };
            let updated = parameters(after.critic().net());
            let want = differences(&policy, 1, |policy| second.actor_loss(policy, &updated, bounds));
            check("actor", &gradient(&state, "actor_adam", before.policy().net()), &want);
            let norms: Vec<(usize, f64)> =
                (0..horizon).map(|k| (k, second.norm_at(k + 1, &policy, &updated, bounds))).collect();
            let report = after.report();
            let reported: Vec<f32> = report
                .iter()
                .filter(|(name, _)| name.starts_with("train/horizon_gradient/"))
                .map(|&(_, norm)| norm as f32)
                .collect();
            assert_eq!(reported.len(), horizon);
            check("gradient at the states", &reported, &norms);

            let target = saved(&before.save(), "target", before.critic().net(), "");
            let targets = second.targets(&policy, &target, bounds);
            let mean = targets.iter().sum::<f64>() / case.rows as f64;
            let reported = after.report().iter().find(|(name, _)| *name == "train/target_value").unwrap().1;
            assert!((reported - mean).abs() < 1e-4 * (1.0 + mean.abs()), "{what}: target {reported}, expected {mean}");
            let want = differences(&critics, 3, |critics| second.critic_loss(critics, &policy, &targets, bounds));
            check("critic", &gradient(&state, "critic_adam", before.critic().net()), &want);
        }
    }
}
