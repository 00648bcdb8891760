//! One imagined step through Burn tensors: correct on every backend, and no faster than its operations.

use burn::tensor::Tensor;
use foresee_core::Stream;
use foresee_nn::tensors;
use foresee_world_model::ensemble::predict;

use super::{Imagination, Imagined};

/// Rows that pass through the networks at once: bounds the memory of one step.
const ROWS_AT_ONCE: usize = 16_384;

/// One step of the rows at `lanes`, in states `obs` `[B, O]`; `clock` addresses their draws.
pub(super) fn step(imagination: &Imagination<'_>, clock: u64, lanes: &[u32], obs: &[f32]) -> Imagined {
    let obs_dim = imagination.ensemble.obs_dim();
    let mut all = Imagined { action: vec![], reward: vec![], next_obs: vec![], terminated: vec![], member: vec![] };
    for (lanes, obs) in lanes.chunks(ROWS_AT_ONCE).zip(obs.chunks(ROWS_AT_ONCE * obs_dim)) {
        let part = step_chunk(imagination, clock, lanes, obs);
        all.action.extend(part.action);
        all.reward.extend(part.reward);
        all.next_obs.extend(part.next_obs);
        all.terminated.extend(part.terminated);
        all.member.extend(part.member);
    }
    all
}

fn step_chunk(imagination: &Imagination<'_>, clock: u64, lanes: &[u32], obs: &[f32]) -> Imagined {
    let Imagination { ensemble, policy, termination, seed, device } = *imagination;
    let (rows, obs_dim) = (lanes.len(), ensemble.obs_dim());
    let channels = obs_dim + 1;
    let normals = |name: &str, columns: usize| -> Vec<f32> {
        let stream = Stream::new(seed, name);
        let draw = |&lane: &u32| {
            let mut draws = stream.at(clock, lane);
            (0..columns).map(move |_| draws.normal())
        };
        lanes.iter().flat_map(draw).collect()
    };

    // Action.
    let action_dim = ensemble.net.inputs() - obs_dim;
    let states = tensors::from_vec(obs.to_vec(), [rows, obs_dim], device);
    let noise = tensors::from_vec(normals("rollout/action", action_dim), [rows, action_dim], device);
    let action = tensors::to_vec(policy.sample(states, noise).action);

    // Each row's own elite.
    let elite = Stream::new(seed, "rollout/elite");
    let member: Vec<usize> =
        lanes.iter().map(|&lane| ensemble.elites[elite.at(clock, lane).below(ensemble.elites.len())]).collect();

    // Prediction, member by member.
    let mut inputs: Vec<f32> = Vec::with_capacity(rows * (obs_dim + action_dim));
    for (obs, action) in obs.chunks_exact(obs_dim).zip(action.chunks_exact(action_dim)) {
        inputs.extend_from_slice(obs);
        inputs.extend_from_slice(action);
    }
    ensemble.normalizer.apply_rows(&mut inputs);
    let noise = ensemble.bounds.is_some().then(|| normals("rollout/noise", channels));
    let mut delta = vec![0.0; rows * channels];
    for &elite in &ensemble.elites {
        let mine: Vec<usize> = (0..rows).filter(|&row| member[row] == elite).collect();
        if mine.is_empty() {
            continue;
        }
        let width = obs_dim + action_dim;
        let own = mine.iter().flat_map(|&row| &inputs[row * width..(row + 1) * width]).copied().collect();
        let own: Tensor<3> = tensors::from_vec(own, [1, mine.len(), width], device);
        let prediction = predict(&ensemble.net.member(elite), ensemble.bounds.as_ref(), own, channels);
        let mean = tensors::to_vec(prediction.mean);
        let std = prediction.logvar.map(|logvar| tensors::to_vec(logvar.mul_scalar(0.5).exp()));
        for (k, &row) in mine.iter().enumerate() {
            for c in 0..channels {
                let noise = match (&std, &noise) {
                    (Some(std), Some(noise)) => std[k * channels + c] * noise[row * channels + c],
                    _ => 0.0,
                };
                delta[row * channels + c] = mean[k * channels + c] + noise;
            }
        }
    }

    // Next state, reward, termination.
    let mut next_obs = Vec::with_capacity(rows * obs_dim);
    for (obs, delta) in obs.chunks_exact(obs_dim).zip(delta.chunks_exact(channels)) {
        next_obs.extend(obs.iter().zip(delta).map(|(x, d)| x + d));
    }
    Imagined {
        action,
        reward: delta.chunks_exact(channels).map(|delta| delta[obs_dim]).collect(),
        terminated: next_obs.chunks_exact(obs_dim).map(|next| termination.terminated(next)).collect(),
        next_obs,
        member,
    }
}
