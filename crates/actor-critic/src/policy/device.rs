//! The policy on a GPU: actions in two launches, and what the agents' kernels share with them.

#![allow(unsafe_code, reason = "kernels are launched without bound checks, each launch with its argument")]

use burn::tensor::Device;
use cubecl::prelude::*;
use foresee_nn::cube::{elementwise, infer, math, send, tensor};
use foresee_nn::tensors;

use super::Policy;
use super::lanes::{HALF, LOW};

/// log σ of the network's raw output.
#[cube]
pub(crate) fn log_std(raw: f32) -> f32 {
    HALF * (math::tanh(raw) + 1.0f32) + LOW
}

/// u = mu + σ ε of action entry `d` of a row; heads are `[B, 2A]`.
#[cube]
pub(crate) fn before_tanh(heads: &[f32], noise: &[f32], row: usize, d: usize, #[comptime] actions: usize) -> f32 {
    let mu = heads[row * comptime!(2 * actions) + d];
    let raw = heads[row * comptime!(2 * actions) + actions + d];
    mu + log_std(raw).exp() * noise[row * actions + d]
}

/// tanh u, or without exploring tanh mu, of one action entry a thread.
#[cube(launch_unchecked)]
fn squash(heads: &[f32], noise: &[f32], action: &mut [f32], #[comptime] actions: usize, #[comptime] explore: bool) {
    let i = ABSOLUTE_POS;
    if i < action.len() {
        let row = i / actions;
        let d = i % actions;
        if explore {
            action[i] = math::tanh(before_tanh(heads, noise, row, d, actions));
        } else {
            action[i] = math::tanh(heads[row * comptime!(2 * actions) + d]);
        }
    }
}

/// Actions `[N, A]` at `rows` observations of the host, exploring ones under noise `[N, A]`: one upload, two launches, one
/// reading.
pub(crate) fn act(policy: &Policy, obs: &[f32], rows: usize, noise: Option<&[f32]>, device: &Device) -> Vec<f32> {
    let (inputs, actions) = (policy.net.inputs(), policy.action_dim());
    assert_eq!(obs.len(), rows * inputs, "numbers of {rows} observations");
    assert!(noise.is_none_or(|noise| noise.len() == rows * actions), "noise of {rows} rows");
    if rows == 0 {
        return Vec::new();
    }
    let given = noise.unwrap_or(&[0.0]);
    let [obs, draws] = send([(obs, &[1, rows, inputs]), (given, &[given.len()])], device);
    let heads = infer(&policy.net, obs);
    let action = foresee_nn::cube::empty(&heads, &[rows, actions]);
    let (client, (cubes, threads)) = (heads.client.clone(), elementwise(rows * actions));
    // SAFETY: a thread beyond the last entry does nothing, heads are [1, N, 2A], and noise was asserted where it is read.
    unsafe {
        squash::launch_unchecked(
            &client,
            cubes,
            threads,
            heads.into_buffer_arg(),
            draws.into_buffer_arg(),
            action.clone().into_buffer_arg(),
            actions,
            noise.is_some(),
        );
    }
    tensors::to_vec(tensor::<2>(action))
}
