//! A whole update, its target and its bounds, compared number by number with the published code. Tolerances of 1e-5 are
//! relative to the largest number of an array.

use burn::tensor::{Device, Tensor};
use foresee_core::State;
use foresee_core::state::{Array, Data};
use foresee_core::stream::below;
use foresee_nn::{Activation, Dynamics, ImaginedStep, Init, Mlp, Parameters, Shape, StepDraws, tensors};
use serde_json::Value;

use crate::dhmbpo::by_tensors::{SoftReturn, lowest_of};
use crate::dhmbpo::{Dhmbpo, DhmbpoConfig, DhmbpoDraws, ValueBounds};
use crate::observations::{RunningMoments, Scale};
use crate::published::{entries, floats, numbers};

const RELATIVE: f64 = 1e-5;

fn shape(value: &Value) -> Vec<usize> {
    value["shape"].as_array().expect("a shape").iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

/// Asserts that numbers differ by at most [`RELATIVE`] times the largest wanted number.
#[track_caller]
fn assert_close(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: numbers");
    let largest = want.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= RELATIVE * largest, "{what}[{i}]: {got}, expected {want}, largest {largest}");
    }
}

/// Converts layers with `W` `[E, I, O]` and `b` `[E, O]`, or layers of a single network, to saved arrays whose names
/// end in `suffix`.
fn layers(net: &Value, suffix: &str) -> State {
    let mut state = State::new();
    for (i, layer) in net.as_array().expect("layers").iter().enumerate() {
        for (name, key, inner) in [("weight", "W", 2), ("bias", "b", 1)] {
            let mut shape = shape(&layer[key]);
            if shape.len() == inner {
                shape.insert(0, 1);
            }
            if inner == 1 {
                shape.insert(1, 1);
            }
            state.put(&format!("{name}.{i}{suffix}"), Array::new(shape, Data::F32(floats(&layer[key]))));
        }
    }
    state
}

/// Asserts that the wanted arrays equal those of `got` times `factor`, up to the tolerance.
#[track_caller]
fn assert_layers(what: &str, mut got: State, factor: f64, want: &State) {
    for (name, array) in want.iter() {
        let Data::F32(want) = &array.data else { panic!("{name} is not f32") };
        let (shape, got) = got.f32s(name).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(shape, array.shape, "{what}: {name}");
        let got: Vec<f64> = got.iter().map(|&x| factor * f64::from(x)).collect();
        let want: Vec<f64> = want.iter().map(|&x| f64::from(x)).collect();
        assert_close(&format!("{what}: {name}"), &got, &want);
    }
}

/// The file's model: an ensemble with layer norms before its linear maps, one noise scale per channel, and normalised
/// targets; the reward is the first output.
struct Model<'a> {
    nets: &'a Value,
    net: Mlp,
    threshold: f64,
}

impl<'a> Model<'a> {
    fn new(nets: &'a Value, threshold: f64) -> Self {
        let shape = Shape {
            members: 4,
            inputs: 5,
            hidden: vec![6, 6, 6],
            outputs: 4,
            activation: Activation::Silu,
            layer_norm: false,
            normalized_features: false,
            hidden_norms: vec![0, -1, -2],
        };
        let mut net = Mlp::new(shape, Init::Kaiming, &foresee_core::Stream::new(0, "test"), &Device::flex());
        net.load(layers(&nets["model_layers"], "")).unwrap();
        Self { nets, net, threshold }
    }

    fn row(&self, name: &str) -> Tensor<2> {
        let all = floats(&self.nets[name]);
        tensors::from_vec(all.clone(), [1, all.len()], &Device::flex())
    }
}

impl Dynamics for Model<'_> {
    fn noise_width(&self) -> usize {
        4
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ImaginedStep {
        let seen = (obs.clone() - self.row("obs_mean")) / self.row("obs_std");
        let input = Tensor::cat(vec![seen, action], 1);
        let all = self.net.forward(input.unsqueeze_dim(0));
        let noise = floats(&self.nets["model_log_noise"]);
        let rows = draws.words.iter().enumerate().map(|(row, &word)| {
            let member = below(word, 4);
            let mean: Tensor<2> = all.clone().narrow(0, member, 1).narrow(1, row, 1).squeeze_dim(0);
            let log_noise = noise[member * 4 + 1..member * 4 + 4].to_vec();
            let spread = tensors::from_vec::<2>(log_noise, [1, 3], &Device::flex()).exp();
            let noise = spread * draws.noise.clone().narrow(0, row, 1).narrow(1, 0, 3);
            Tensor::cat(vec![mean.clone().narrow(1, 0, 1), mean.narrow(1, 1, 3) + noise], 1)
        });
        let out = Tensor::cat(rows.collect(), 0) * self.row("target_std") + self.row("target_mean");
        let next_obs = obs + out.clone().narrow(1, 1, 3);
        let alive = next_obs.clone().inner().narrow(1, 0, 1).lower_equal_elem(self.threshold);
        let not_terminated: Tensor<1> = alive.float().squeeze_dim(1);
        ImaginedStep { next_obs, reward: out.narrow(1, 0, 1).squeeze_dim(1), not_terminated }
    }
}

/// A linear model: next = obs F + a G + c, r = obs·wr + a·ur − |a|²/2, on normalised observations.
struct Linear<'a> {
    nets: &'a Value,
    entry: &'a Value,
}

impl Dynamics for Linear<'_> {
    fn noise_width(&self) -> usize {
        0
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, _: &StepDraws) -> ImaginedStep {
        let matrix = |value: &Value, shape: [usize; 2]| tensors::from_vec::<2>(floats(value), shape, &Device::flex());
        let [mean, std] = ["obs_mean", "obs_std"].map(|name| matrix(&self.nets[name], [1, 3]));
        let seen = (obs - mean.clone()) / std.clone();
        let of = |name: &str, shape| matrix(&self.entry[name], shape);
        let next = seen.clone().matmul(of("F", [3, 3])) + action.clone().matmul(of("G", [2, 3])) + of("c", [1, 3]);
        let linear = seen.matmul(of("wr", [3, 1])) + action.clone().matmul(of("ur", [2, 1]));
        let reward = linear.squeeze_dim::<1>(1) - action.square().sum_dim(1).squeeze_dim::<1>(1).mul_scalar(0.5);
        let rows = reward.dims()[0];
        ImaginedStep { next_obs: next * std + mean, reward, not_terminated: Tensor::ones([rows], &Device::flex()) }
    }
}

/// Returns the agent of an entry, before its update.
fn agent(nets: &Value, entry: &Value) -> Dhmbpo {
    let number = |name: &str| entry[name].as_f64().unwrap();
    let lr = number("lr");
    let config = DhmbpoConfig {
        hidden: vec![6, 6, 6],
        horizon: number("H") as usize,
        discount: number("gamma"),
        tau: number("tau"),
        critic_lr: lr,
        actor_lr: lr,
        temperature_lr: lr,
        initial_temperature: number("alpha"),
        target_entropy: Some(number("target_entropy")),
        bound_rate: number("bound_rate"),
        ..DhmbpoConfig::default()
    };
    let mut agent = Dhmbpo::new(&config, [3, 2], 0, &Device::flex());
    agent.policy.load(layers(&nets["actor"], "")).unwrap();
    agent.critic.load(layers(&nets["critic"], "")).unwrap();
    agent.target.load(layers(&nets["critic_target"], "")).unwrap();
    agent.bounds = ValueBounds::known(number("q_lb_before"), number("q_ub_before"));
    agent.policy.scale =
        Some(std::sync::Arc::new(Scale { mean: floats(&nets["obs_mean"]), std: floats(&nets["obs_std"]) }));
    agent
}

/// Reorders `[K, B, C]` to `[B, K W]`, with zeros in columns beyond `C`.
fn by_row(value: &Value, width: usize) -> Vec<f32> {
    let [steps, rows, columns] = shape(value)[..] else { panic!("three axes") };
    let all = floats(value);
    let mut out = vec![0.0; rows * steps * width];
    for k in 0..steps {
        for row in 0..rows {
            let from = &all[(k * rows + row) * columns..][..columns];
            out[row * steps * width + k * width..][..columns].copy_from_slice(from);
        }
    }
    out
}

/// Returns the entry's states in the task's units.
fn starts(nets: &Value, entry: &Value) -> Tensor<2> {
    let (mean, std) = (numbers(&nets["obs_mean"]), numbers(&nets["obs_std"]));
    let raw = numbers(&entry["obs0"]).iter().enumerate().map(|(i, x)| (x * std[i % 3] + mean[i % 3]) as f32).collect();
    tensors::from_vec(raw, [8, 3], &Device::flex())
}

fn draws(entry: &Value) -> DhmbpoDraws {
    let words = match entry.get("member_of_row") {
        Some(members) => numbers(members).iter().map(|&member| (member as u32) << 30).collect(),
        None => vec![0; 40],
    };
    DhmbpoDraws {
        action: by_row(&entry["eps_action"], 2),
        model: entry.get("eps_model").map(|eps| by_row(eps, 4)).unwrap_or_default(),
        words,
        subset: numbers(&entry["critic_pair"]).iter().map(|&n| n as usize).collect(),
    }
}

#[test]
fn a_whole_update_is_that_of_the_published_code() {
    let entries = entries();
    let (nets, entry) = (&entries["nets"]["inputs"], &entries["dhmbpo_update"]);
    let (given, want) = (&entry["inputs"], &entry["outputs"]);
    let mut agent = agent(nets, given);
    let model = Model::new(nets, given["term_threshold"].as_f64().unwrap());
    let losses = agent.update_tensors(starts(nets, given), &draws(given), &model, false);
    let number = |name: &str| numbers(&want[name]);
    assert_close("bounds", &agent.bounds.ends(), &[number("q_lb"), number("q_ub")].concat());
    let target = number("target");
    assert_close("mean target", &[losses.target_mean], &[target.iter().sum::<f64>() / 8.0]);
    assert_close("critic loss", &[losses.critic_loss], &number("critic_loss"));
    assert_close("entropy", &[losses.entropy], &number("entropy"));
    assert_close("actor loss", &[losses.actor_loss.unwrap()], &number("actor_loss"));
    let alive = number("alive");
    assert_close("alive", &[losses.alive], &[alive[40..].iter().sum::<f64>() / 8.0]);
    // After Adam's first step, its first moment is a tenth of the gradient.
    for (what, adam, net, of) in [
        ("critic gradient", &agent.critic_adam, agent.critic.net(), "critic_grad"),
        ("actor gradient", &agent.actor_adam, agent.policy.net(), "actor_grad"),
    ] {
        assert_layers(what, adam.save(net), 10.0, &layers(&want[of], ".moment_1"));
    }
    assert_layers("critic", agent.critic.save(), 1.0, &layers(&want["critic_after"], ""));
    assert_layers("target", agent.target.save(), 1.0, &layers(&want["critic_target_after"], ""));
    assert_layers("actor", agent.policy.save(), 1.0, &layers(&want["actor_after"], ""));
    let log_alpha = tensors::to_vec(agent.log_temperature.0.get().clone());
    assert_close("log α", &[f64::from(log_alpha[0])], &number("raw_alpha_after"));
}

#[test]
fn the_gradient_through_a_linear_model_is_that_of_the_published_code() {
    let entries = entries();
    let (nets, entry) = (&entries["nets"]["inputs"], &entries["dhmbpo_linear_model"]);
    let (given, want) = (&entry["inputs"], &entry["outputs"]);
    let mut agent = agent(nets, given);
    let losses = agent.update_tensors(starts(nets, given), &draws(given), &Linear { nets, entry: given }, false);
    let number = |name: &str| numbers(&want[name]);
    assert_close("bounds", &agent.bounds.ends(), &[number("q_lb"), number("q_ub")].concat());
    assert_close("critic loss", &[losses.critic_loss], &number("critic_loss"));
    assert_close("mean target", &[losses.target_mean], &[number("target").iter().sum::<f64>() / 8.0]);
    assert_layers("actor", agent.actor_adam.save(agent.policy.net()), 10.0, &layers(&want["actor_grad"], ".moment_1"));
}

#[test]
fn targets_and_objectives_of_given_values_are_those_of_the_published_code() {
    let entries = entries();
    let (given, want) = (&entries["dhmbpo_target"]["inputs"], &entries["dhmbpo_target"]["outputs"]);
    let number = |name: &str| given[name].as_f64().unwrap();
    let (rows, critics, horizon, device) = (8, 5, 5, Device::flex());
    let row = |name: &str, k: usize| {
        tensors::from_vec::<1>(floats(&given[name])[k * rows..(k + 1) * rows].to_vec(), [rows], &device)
    };
    let mut soft_return = SoftReturn::new(rows, number("gamma"), number("alpha"), &device);
    for k in 0..horizon {
        // The file's mask of step k + 1 is 0 for all rows that terminated before it.
        soft_return.add(row("rewards", k), row("log_pi", k), row("alive", k + 1));
    }
    let raw = tensors::from_vec::<2>(floats(&given["q_raw"]), [rows, critics], &device).transpose();
    let values = raw.mul_scalar(number("q_width")).add_scalar(number("q_center"));
    let subset: Vec<usize> = numbers(&given["critic_pair"]).iter().map(|&n| n as usize).collect();
    let lowest = lowest_of(values.clone(), &subset, [number("q_lb"), number("q_ub")]);
    let last = row("log_pi", horizon);
    let target = soft_return.clone().with_value(lowest, last.clone()) + row("log_pi", 0).mul_scalar(number("alpha"));
    let objective = soft_return.with_value(values.mean_dim(0).squeeze_dim(0), last);
    for (what, got) in [("target", target), ("actor_objective", objective)] {
        let got: Vec<f64> = tensors::to_vec(got).into_iter().map(f64::from).collect();
        assert_close(what, &got, &numbers(&want[what]));
    }
}

#[test]
fn bounds_follow_the_quantiles_as_published() {
    let entries = entries();
    let entry = &entries["q_bounds"];
    let number = |name: &str| entry["inputs"][name].as_f64().unwrap();
    let mut bounds = ValueBounds::default();
    let calls = entry["inputs"]["calls"].as_array().unwrap().iter().zip(entry["outputs"]["calls"].as_array().unwrap());
    for (call, want) in calls {
        let (rewards, log_pi) = (numbers(&call["rewards"]), numbers(&call["log_pi"]));
        let mut values: Vec<f32> = rewards.iter().zip(&log_pi).map(|(r, l)| (r - number("alpha") * l) as f32).collect();
        bounds.follow(&mut values, [0.01, 0.99], number("rate"), number("gamma"));
        let want = |name: &str| want[name].as_f64().unwrap();
        assert_close("ends", &bounds.ends(), &[want("q_lb"), want("q_ub")]);
        assert_close("scale and shift", &bounds.scale_and_shift(), &[want("width"), want("center")]);
    }
}

#[test]
fn running_moments_are_those_of_the_published_normalisers() {
    let entries = entries();
    // The file's rows are not exact in f32.
    let close = |what: &str, got: &[f64], want: &[f64]| {
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 2e-7 * (1.0 + want.abs()), "{what}: {got}, expected {want}");
        }
    };
    let entry = &entries["normalizer"];
    let mut moments = RunningMoments::new(3);
    let chunks = entry["inputs"]["chunks"].as_array().unwrap().iter();
    for (chunk, want) in chunks.zip(entry["outputs"]["after"].as_array().unwrap()) {
        moments.observe(&floats(chunk));
        let [mean, variance] = moments.moments();
        close("mean", &mean, &numbers(&want["mean"]));
        close("variance", &variance, &numbers(&want["var"]));
    }
    let entry = &entries["rsnorm"];
    let mut moments = RunningMoments::with_prior(3, 1e-4);
    let stream = entry["inputs"]["stream"].as_array().unwrap().iter();
    for (row, want) in stream.zip(entry["outputs"]["after"].as_array().unwrap()) {
        moments.observe(&floats(row));
        let [mean, variance] = moments.moments();
        close("mean with a prior", &mean, &numbers(&want["mean"]));
        close("variance with a prior", &variance, &numbers(&want["var"]));
    }
    let mut query = floats(&entry["inputs"]["query"]);
    moments.scale().apply_rows(&mut query);
    let want = numbers(&entry["outputs"]["query_normalised"]);
    for (got, want) in query.iter().zip(&want) {
        assert!((f64::from(*got) - want).abs() <= 1e-5 * (1.0 + want.abs()), "{got}, expected {want}");
    }
}
