//! One update of REDQ, number by number: `redq_update` of `agents.json`.
//!
//! The file's actions are 0.4 times ours, so the critics' weights of actions are 0.4 times as large here, and what they move by
//! is the same: a first step of Adam has the size of its step size whatever the gradient's. Its actor climbs the critics before
//! their step; ours climbs them after it, which turns no sign of its gradient there.

use burn::tensor::{Device, Tensor};
use foresee_core::state::{Array, Data};
use foresee_core::stream::below;
use foresee_core::{Batch, State};
use foresee_nn::tensors;
use serde_json::Value;

use super::files::{fixture, number};
use crate::agent::{Agent, Update};
use crate::batch::BatchRef;
use crate::critic::Reduction;
use crate::noise::Noise;
use crate::policy::Spread;
use crate::sac::{Sac, SacConfig};

const DIMS: [usize; 2] = [3, 2];
const CRITICS: usize = 5;

fn floats(value: &Value) -> Vec<f32> {
    value["data"].as_array().expect("numbers").iter().map(|x| number(x) as f32).collect()
}

/// Layers `W` `[I, O]` and `b` `[O]` of several networks as the members of one, weights of actions in a first layer times a
/// factor.
fn stacked(nets: &[&Value], of_actions: f32) -> State {
    let mut state = State::new();
    for l in 0..3 {
        let of = |key: &str| -> Vec<f32> { nets.iter().flat_map(|net| floats(&net[l][key])).collect() };
        let (mut weight, bias) = (of("W"), of("b"));
        let outputs = bias.len() / nets.len();
        let inputs = weight.len() / nets.len() / outputs;
        if l == 0 && inputs == DIMS[0] + DIMS[1] {
            let of_actions_only = |(i, _): &(usize, &mut f32)| i / outputs % inputs >= DIMS[0];
            weight.iter_mut().enumerate().filter(of_actions_only).for_each(|(_, w)| *w *= of_actions);
        }
        state.put(&format!("weight.{l}"), Array::new(vec![nets.len(), inputs, outputs], Data::F32(weight)));
        state.put(&format!("bias.{l}"), Array::new(vec![nets.len(), 1, outputs], Data::F32(bias)));
    }
    state
}

/// The file's actor: its last layers of mean and log σ beside each other.
fn actor(policy: &Value, log_std: &Value) -> State {
    let mut state = stacked(&[policy], 1.0);
    for (name, key, rows) in [("weight.2", "W", 6), ("bias.2", "b", 1)] {
        let (mean, log_std) = (floats(&policy[2][key]), floats(&log_std[key]));
        let both = mean.chunks(2).zip(log_std.chunks(2)).flat_map(|(mean, log_std)| [mean, log_std].concat()).collect();
        state.take(name).expect("the mean alone");
        state.put(name, Array::new(vec![1, rows, 4], Data::F32(both)));
    }
    state
}

struct Recorded {
    /// At next observations, then at observations.
    normals: [Vec<f32>; 2],
    words: Vec<u32>,
}

impl Noise for Recorded {
    fn normals(&self, name: &'static str, shape: [usize; 2], device: &Device) -> Tensor<2> {
        tensors::from_vec(self.normals[usize::from(name == "agent/noise")].clone(), shape, device)
    }

    fn normals_into(&self, _: &'static str, _: [usize; 2], _: &mut Vec<f32>) {
        unreachable!("subsets of critics are in tensors")
    }

    fn words(&self, _: &'static str, _: usize) -> Vec<u32> {
        self.words.clone()
    }
}

/// Words by which this pair is drawn.
fn words_of(pair: [usize; 2]) -> Vec<u32> {
    let word = |k: usize, n: usize| ((((k as u64) << 32) + (1 << 31)) / n as u64) as u32;
    let mut order: Vec<usize> = (0..CRITICS).collect();
    order.swap(0, pair[0]);
    let second = order[1..].iter().position(|&n| n == pair[1]).expect("another critic");
    let words = vec![word(pair[0], CRITICS), word(second, CRITICS - 1)];
    assert_eq!((below(words[0], CRITICS), below(words[1], CRITICS - 1)), (pair[0], second));
    words
}

#[track_caller]
fn close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * largest, "{what}[{i}]: {got}, expected {want}");
    }
}

#[test]
fn an_update_with_random_subsets_of_critics_is_that_of_redq() {
    let file = fixture("agents.json");
    let entry = &file["entries"]["redq_update"];
    let (inputs, outputs, before) = (&entry["inputs"], &entry["outputs"], &entry["inputs"]["before"]);
    let (limit, lr) = (number(&inputs["act_limit"]) as f32, number(&inputs["lr"]));
    let config = SacConfig {
        hidden: vec![6, 6],
        discount: number(&inputs["gamma"]),
        tau: 1.0 - number(&inputs["polyak"]),
        critic_lr: lr,
        actor_lr: lr,
        temperature_lr: lr,
        initial_temperature: number(&inputs["alpha"]),
        target_entropy: Some(number(&inputs["target_entropy"])),
        critics: CRITICS,
        target_subset: Some(2),
        actor_reduction: Reduction::Mean,
        spread: Spread::Clipped,
        ..SacConfig::default()
    };
    let nets =
        |value: &'_ Value| -> State { stacked(&value.as_array().expect("critics").iter().collect::<Vec<_>>(), limit) };
    let mut sac = Sac::new(&config, DIMS, 0, &Device::flex());
    let mut state = sac.save();
    for (name, part) in [
        ("actor", actor(&before["policy"], &before["log_std_head"])),
        ("critic", nets(&before["q"])),
        ("target", nets(&before["q_target"])),
    ] {
        let _ = state.part(name);
        state.nest(name, part);
    }
    sac.load(state).expect("the file's shapes");
    let batch = Batch {
        rows: 6,
        obs: floats(&inputs["obs"]),
        action: floats(&inputs["action"]).iter().map(|a| a / limit).collect(),
        reward: floats(&inputs["reward"]),
        next_obs: floats(&inputs["next_obs"]),
        not_terminated: floats(&inputs["done"]).iter().map(|done| 1.0 - done).collect(),
    };
    let normals = floats(&inputs["eps"]);
    let (next, now) = normals.split_at(12);
    let pair: Vec<usize> = floats(&inputs["pair"]).iter().map(|&n| n as usize).collect();
    let noise = Recorded { normals: [next.to_vec(), now.to_vec()], words: words_of([pair[0], pair[1]]) };
    let on_device = BatchRef::Host(&batch).tensors(DIMS, &Device::flex());
    // The file has ln(1 − tanh² u + 1e-6) in its log-probability, this is without the 1e-6.
    let action =
        sac.policy().sample(on_device.next_obs.clone(), noise.normals("agent/noise_next", [6, 2], &Device::flex()));
    let action = tensors::to_vec(action.action);
    let apart = |row: &[f32]| -> f64 {
        let slope = row.iter().map(|&a| 1.0 - f64::from(a).powi(2));
        slope.map(|slope| (slope + 1e-6).ln() - slope.ln()).sum()
    };
    let weight = config.discount * config.initial_temperature;
    let want: Vec<f32> = floats(&outputs["y"])
        .iter()
        .zip(action.chunks(2))
        .zip(&batch.not_terminated)
        .map(|((y, action), goes_on)| y - (weight * f64::from(*goes_on) * apart(action)) as f32)
        .collect();
    close("y", &tensors::to_vec(sac.critic_target(&on_device, &noise)), &want, 1e-5);

    let was = sac.save();
    sac.update(Update { batch: BatchRef::Host(&batch), noise: &noise, dynamics: None, critic_only: false });
    let report = sac.report();
    let reported = |name: &str| report.iter().find(|(metric, _)| *metric == name).expect("a number").1 as f32;
    close("critic loss", &[reported("train/critic_loss")], &[number(&outputs["loss_q_total"]) as f32], 1e-4);
    // By the critics before their step, of 3e-4.
    close("actor loss", &[reported("train/actor_loss")], &[number(&outputs["loss_pi"]) as f32], 0.05);

    let of = |state: &State, path: &str| -> Vec<f32> { state.clone().f32s(path).expect("a part").1 };
    let now = sac.save();
    for (name, file) in [("critic", "q_after"), ("target", "q_target_after")] {
        let want = nets(&outputs[file]);
        for (part, _) in want.iter() {
            let (got, path) = (of(&now, &format!("{name}.{part}")), format!("{name}.{part}"));
            if part != "weight.0" {
                close(&path, &got, &of(&want, part), 1e-5);
                continue;
            }
            let file = stacked(&outputs[file].as_array().expect("critics").iter().collect::<Vec<_>>(), 1.0);
            let file_was = stacked(
                &before[if name == "critic" { "q" } else { "q_target" }]
                    .as_array()
                    .expect("critics")
                    .iter()
                    .collect::<Vec<_>>(),
                1.0,
            );
            let steps =
                |new: Vec<f32>, old: Vec<f32>| new.iter().zip(&old).map(|(new, old)| new - old).collect::<Vec<_>>();
            let (got, want) = (steps(got, of(&was, &path)), steps(of(&file, part), of(&file_was, part)));
            if name == "critic" {
                // A step of 3e-4 beside weights of 1: rounding of the weights.
                close(&path, &got, &want, 2e-3);
            }
        }
    }
    let log_std = &outputs["policy_after"];
    let names = ["weight.0", "bias.0", "weight.1", "bias.1"];
    let want = stacked(&[&before["policy"]], 1.0);
    assert!(log_std.as_array().is_some_and(|layers| layers.len() == 3), "mean layers alone: {}", want.iter().count());
    for (l, names) in names.chunks(2).enumerate() {
        for (name, key) in names.iter().zip(["W", "b"]) {
            close(&format!("actor.{name}"), &of(&now, &format!("actor.{name}")), &floats(&log_std[l][key]), 1e-5);
        }
    }
    let moved = of(&now, "temperature.log_temperature")[0] - of(&was, "temperature.log_temperature")[0];
    close("log temperature", &[moved], &[number(&outputs["log_alpha_after"]) as f32], 1e-2);
}
