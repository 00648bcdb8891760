//! One update of REDQ compared number by number with `redq_update` of `agents.json`.
//!
//! The file's actions are 0.4 times ours, so the critics' weights of actions are multiplied by 0.4 here. The first step
//! of Adam changes these weights equally in both, because its size does not depend on the size of the gradient.
//!
//! The file's actor is trained against the critics before their step, ours against the critics after it. In this
//! example the difference changes no sign of the actor's gradient, and Adam's first step depends only on the sign.

use burn::tensor::{Device, Tensor};
use foresee_core::state::{Array, Data};
use foresee_core::stream::below;
use foresee_core::{Batch, State};
use foresee_nn::tensors;
use serde_json::Value;

use super::files::{list, number};
use crate::agent::{Agent, Update};
use crate::batch::BatchRef;
use crate::critic::Reduction;
use crate::noise::Noise;
use crate::policy::Spread;
use crate::published::{assert_close, assert_stepped, entries, floats, part, stacked};
use crate::sac::{Sac, SacConfig};

const DIMS: [usize; 2] = [3, 2];
const CRITICS: usize = 5;

/// Returns the layers of each of the file's networks.
fn layers(nets: &Value) -> Vec<&[Value]> {
    list(nets).iter().map(|net| list(net)).collect()
}

/// Returns the file's actor, with its last layers of mean and log σ joined.
fn actor(policy: &Value, log_std: &Value) -> State {
    let mut state = stacked(&[list(policy)], DIMS[0], 1.0);
    for (name, key, rows) in [("weight.2", "W", 6), ("bias.2", "b", 1)] {
        let (mean, log_std) = (floats(&policy[2][key]), floats(&log_std[key]));
        let both = mean.chunks(2).zip(log_std.chunks(2)).flat_map(|(mean, log_std)| [mean, log_std].concat()).collect();
        state.take(name).expect("the mean alone");
        state.put(name, Array::new(vec![1, rows, 4], Data::F32(both)));
    }
    state
}

struct Recorded {
    /// Normals at next observations, then at observations.
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

/// Returns words that draw the given pair of critics.
fn words_of(pair: [usize; 2]) -> Vec<u32> {
    let word = |k: usize, n: usize| ((((k as u64) << 32) + (1 << 31)) / n as u64) as u32;
    let mut order: Vec<usize> = (0..CRITICS).collect();
    order.swap(0, pair[0]);
    let second = order[1..].iter().position(|&n| n == pair[1]).expect("another critic");
    let words = vec![word(pair[0], CRITICS), word(second, CRITICS - 1)];
    assert_eq!((below(words[0], CRITICS), below(words[1], CRITICS - 1)), (pair[0], second));
    words
}

#[test]
fn an_update_with_random_subsets_of_critics_is_that_of_redq() {
    let entry = &entries()["redq_update"];
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
    let nets = |value: &Value| stacked(&layers(value), DIMS[0], limit);
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
    // The file's log-probability contains ln(1 − tanh² u + 1e-6); ours is without the 1e-6, so the wanted y is
    // corrected.
    let action =
        sac.policy().sample(on_device.next_obs.clone(), noise.normals("agent/noise_next", [6, 2], &Device::flex()));
    let action = tensors::to_vec(action.action);
    let correction = |row: &[f32]| -> f64 {
        let slope = row.iter().map(|&a| 1.0 - f64::from(a).powi(2));
        slope.map(|slope| (slope + 1e-6).ln() - slope.ln()).sum()
    };
    let weight = config.discount * config.initial_temperature;
    let want: Vec<f32> = floats(&outputs["y"])
        .iter()
        .zip(action.chunks(2))
        .zip(&batch.not_terminated)
        .map(|((y, action), not_terminated)| y - (weight * f64::from(*not_terminated) * correction(action)) as f32)
        .collect();
    assert_close("y", &tensors::to_vec(sac.critic_target(&on_device, &noise)), &want, 1e-5);

    let before_step = sac.save();
    sac.update(Update { batch: BatchRef::Host(&batch), noise: &noise, dynamics: None, critic_only: false });
    let report = sac.report();
    let reported = |name: &str| report.iter().find(|(metric, _)| *metric == name).expect("a number").1 as f32;
    assert_close("critic loss", &[reported("train/critic_loss")], &[number(&outputs["loss_q_total"]) as f32], 1e-4);
    // The file's loss uses the critics before their step of 3e-4.
    assert_close("actor loss", &[reported("train/actor_loss")], &[number(&outputs["loss_pi"]) as f32], 0.05);

    let now = sac.save();
    assert_stepped("critic.", &now, &before_step, [&layers(&outputs["q_after"]), &layers(&before["q"])], DIMS[0]);
    // The targets' weights of actions are left out: they follow the critics, whose steps are equal in size although the
    // file's weights have another unit.
    let target = nets(&outputs["q_target_after"]);
    for (name, _) in target.iter() {
        let [mut got, mut want] = [part(&now, &format!("target.{name}")), part(&target, name)];
        if name == "weight.0" {
            let (rows, outputs) = (DIMS[0] + DIMS[1], 6);
            for all in [&mut got, &mut want] {
                *all = all.chunks(rows * outputs).flat_map(|member| &member[..DIMS[0] * outputs]).copied().collect();
            }
        }
        assert_close(&format!("target.{name}"), &got, &want, 1e-5);
    }
    let policy = list(&outputs["policy_after"]);
    // Compares the hidden layers alone: the file stores the last layers of mean and log σ separately.
    for (l, layer) in policy[..2].iter().enumerate() {
        for (name, key) in [("weight", "W"), ("bias", "b")] {
            let path = format!("actor.{name}.{l}");
            assert_close(&path, &part(&now, &path), &floats(&layer[key]), 1e-5);
        }
    }
    let log = |state: &State| part(state, "temperature.log_temperature")[0];
    let want = number(&outputs["log_alpha_after"]) as f32;
    assert_close("log temperature", &[log(&now) - log(&before_step)], &[want], 1e-2);
}
