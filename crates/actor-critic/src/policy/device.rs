//! The policy on a GPU: actions in two kernel launches, and device functions shared with the agents' kernels.

#![allow(unsafe_code, reason = "kernels are launched without bound checks, each launch with its argument")]

use burn::tensor::Device;
use cubecl::prelude::*;
use foresee_nn::cube::{elementwise, infer, math, tensor, upload};
use foresee_nn::tensors;

use super::Policy;
use super::panel::{LOG_STD_HALF_RANGE, LOG_STD_LOW};

/// Returns log σ for the network's raw output.
#[cube]
pub(crate) fn log_std(raw: f32) -> f32 {
    LOG_STD_HALF_RANGE * (math::tanh(raw) + 1.0f32) + LOG_STD_LOW
}

/// Returns u = mu + σ ε for action entry `d` of a row; `output` is the network's output (mu, raw), `[B, 2A]`.
#[cube]
pub(crate) fn before_tanh(output: &[f32], noise: &[f32], row: usize, d: usize, #[comptime] actions: usize) -> f32 {
    let mu = output[row * comptime!(2 * actions) + d];
    let raw = output[row * comptime!(2 * actions) + actions + d];
    mu + log_std(raw).exp() * noise[row * actions + d]
}

/// Computes one action entry per thread: tanh u if `explore`, else tanh mu.
#[cube(launch_unchecked)]
fn squash(output: &[f32], noise: &[f32], action: &mut [f32], #[comptime] actions: usize, #[comptime] explore: bool) {
    let i = ABSOLUTE_POS;
    if i < action.len() {
        let row = i / actions;
        let d = i % actions;
        if explore {
            action[i] = math::tanh(before_tanh(output, noise, row, d, actions));
        } else {
            action[i] = math::tanh(output[row * comptime!(2 * actions) + d]);
        }
    }
}

/// Returns actions `[N, A]` at `rows` observations in host memory, exploring if `noise` `[N, A]` is given. Takes one
/// upload, two launches and one read-back.
pub(crate) fn act(policy: &Policy, obs: &[f32], rows: usize, noise: Option<&[f32]>, device: &Device) -> Vec<f32> {
    let (inputs, actions) = (policy.net.inputs(), policy.action_dim());
    assert_eq!(obs.len(), rows * inputs, "numbers of {rows} observations");
    assert!(noise.is_none_or(|noise| noise.len() == rows * actions), "noise of {rows} rows");
    if rows == 0 {
        return Vec::new();
    }
    let given = noise.unwrap_or(&[0.0]);
    let [obs, draws] = upload([(obs, &[1, rows, inputs]), (given, &[given.len()])], device);
    let output = infer(&policy.net, obs);
    let action = foresee_nn::cube::empty(&output, &[rows, actions]);
    let (client, (cubes, threads)) = (output.client.clone(), elementwise(rows * actions));
    // SAFETY: a thread whose index is not below the length of `action`, N A, does nothing. For all others the row is
    // below N and the entry below A, so the reads lie within `output`, `[1, N, 2A]` by the network's shape, and within
    // the noise, whose length N A is asserted; the kernel that does not explore reads no noise. Every thread writes its
    // own entry of `action`, which no other buffer shares.
    unsafe {
        squash::launch_unchecked(
            &client,
            cubes,
            threads,
            output.into_buffer_arg(),
            draws.into_buffer_arg(),
            action.clone().into_buffer_arg(),
            actions,
            noise.is_some(),
        );
    }
    tensors::to_vec(tensor::<2>(action))
}
