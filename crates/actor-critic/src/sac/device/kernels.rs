//! Kernels of SAC's losses and of the policy's distribution, with one thread per number or per row. The derivatives are
//! those of [`policy::panel`](crate::policy::panel).

use cubecl::prelude::*;
use foresee_nn::cube::math;

use crate::policy::device::{before_tanh, log_std};
use crate::policy::panel::{LN_ROOT_2_PI, LOG_STD_HALF_RANGE, LOG_STD_LOW};

/// Number of threads of the cube that computes means.
pub(super) const THREADS: usize = 256;

/// Returns log π of one row's action.
#[cube]
fn log_prob_of(policy_output: &[f32], noise: &[f32], row: usize, #[comptime] actions: usize) -> f32 {
    let mut sum = 0.0f32;
    for d in 0..actions {
        let u = before_tanh(policy_output, noise, row, d, actions);
        let raw = policy_output[row * comptime!(2 * actions) + actions + d];
        let z = noise[row * actions + d];
        let gaussian = -0.5f32 * z * z - log_std(raw) - LN_ROOT_2_PI;
        let squash = u + math::softplus(-2.0f32 * u) - comptime!(std::f32::consts::LN_2);
        sum += 2.0f32 * squash + gaussian;
    }
    sum
}

/// Writes entry `i` of (s, ã), `[B, O + A]`, with sampled actions ã. The thread of a row's first entry also writes log
/// π.
#[cube]
fn draw(
    i: usize,
    policy_output: &[f32],
    noise: &[f32],
    obs: &[f32],
    critic_input: &mut [f32],
    log_prob: &mut [f32],
    #[comptime] dims: [usize; 2],
) {
    let width = comptime!(dims[0] + dims[1]);
    let row = i / width;
    let column = i % width;
    if column < comptime!(dims[0]) {
        critic_input[i] = obs[row * comptime!(dims[0]) + column];
    } else {
        let u = before_tanh(policy_output, noise, row, column - comptime!(dims[0]), comptime!(dims[1]));
        critic_input[i] = math::tanh(u);
    }
    if column == 0 {
        log_prob[row] = log_prob_of(policy_output, noise, row, comptime!(dims[1]));
    }
}

/// Computes (s, ã) and log π(ã|s) for sampled actions ã.
#[cube(launch_unchecked)]
pub(super) fn current_actions(
    policy_output: &[f32],
    noise: &[f32],
    obs: &[f32],
    critic_input: &mut [f32],
    log_prob: &mut [f32],
    #[comptime] dims: [usize; 2],
) {
    let i = ABSOLUTE_POS;
    if i < critic_input.len() {
        draw(i, policy_output, noise, obs, critic_input, log_prob, dims);
    }
}

/// Computes (s', a') and log π(a'|s') for sampled actions a', and joins the batch's (s, a).
#[cube(launch_unchecked)]
pub(super) fn next_actions(
    policy_output: &[f32],
    noise: &[f32],
    next_obs: &[f32],
    obs: &[f32],
    action: &[f32],
    next_critic_input: &mut [f32],
    log_prob: &mut [f32],
    critic_input: &mut [f32],
    #[comptime] dims: [usize; 2],
) {
    let i = ABSOLUTE_POS;
    if i < critic_input.len() {
        draw(i, policy_output, noise, next_obs, next_critic_input, log_prob, dims);
        let width = comptime!(dims[0] + dims[1]);
        let row = i / width;
        let column = i % width;
        if column < comptime!(dims[0]) {
            critic_input[i] = obs[row * comptime!(dims[0]) + column];
        } else {
            critic_input[i] = action[row * comptime!(dims[1]) + column - comptime!(dims[0])];
        }
    }
}

/// Returns the minimum of a row's `N` values in `q`, `[N, B]`. A NaN counts as the lowest value.
#[cube]
fn lowest(q: &[f32], row: usize, rows: usize, #[comptime] critics: usize) -> f32 {
    let mut least = q[row];
    #[unroll]
    for n in 1..critics {
        let value = q[n * rows + row];
        least = select(value < least || value.is_nan(), value, least);
    }
    least
}

/// Computes y = r + γ not_terminated (min_n Q̄_n − α log π), Σ_n (Q_n − y)², and the gradient of the critics' loss with
/// respect to Q, `[N, B]`.
#[cube(launch_unchecked)]
pub(super) fn critic_loss(
    target_q: &[f32],
    q: &[f32],
    reward: &[f32],
    not_terminated: &[f32],
    log_prob: &[f32],
    log_temperature: &[f32],
    y: &mut [f32],
    squares: &mut [f32],
    gradient: &mut [f32],
    discount: f32,
    #[comptime] critics: usize,
) {
    let row = ABSOLUTE_POS;
    let rows = y.len();
    if row < rows {
        let value = lowest(target_q, row, rows, critics) - log_temperature[0].exp() * log_prob[row];
        let target = not_terminated[row] * (discount * value) + reward[row];
        let scale = 2.0f32 / f32::cast_from(rows);
        let mut sum = 0.0f32;
        #[unroll]
        for n in 0..critics {
            let error = q[n * rows + row] - target;
            sum += error * error;
            gradient[n * rows + row] = scale * error;
        }
        y[row] = target;
        squares[row] = sum;
    }
}

/// Computes α log π − min_n Q_n, and the gradient of its mean with respect to Q, `[N, B]`. Of equally low critics only
/// the first one gets a gradient.
#[cube(launch_unchecked)]
pub(super) fn actor_loss(
    q: &[f32],
    log_prob: &[f32],
    log_temperature: &[f32],
    loss: &mut [f32],
    gradient: &mut [f32],
    #[comptime] critics: usize,
) {
    let row = ABSOLUTE_POS;
    let rows = loss.len();
    if row < rows {
        let mut least = q[row];
        let mut which = 0usize;
        #[unroll]
        for n in 1..critics {
            let value = q[n * rows + row];
            if value < least || value.is_nan() {
                least = value;
                which = n.runtime();
            }
        }
        let scale = 1.0f32 / f32::cast_from(rows);
        #[unroll]
        for n in 0..critics {
            gradient[n * rows + row] = select(which == n, -scale, 0.0f32);
        }
        loss[row] = log_temperature[0].exp() * log_prob[row] - least;
    }
}

/// The backward pass of the squashed Gaussian. From the loss's gradient at the critic's input (state, action),
/// `[B, O + A]`, it computes the gradient at the policy's output (mu, raw), `[B, 2A]`. One thread computes one action
/// entry.
#[cube(launch_unchecked)]
pub(super) fn grad_policy_output(
    policy_output: &[f32],
    noise: &[f32],
    critic_input: &[f32],
    grad_critic_input: &[f32],
    log_temperature: &[f32],
    gradient: &mut [f32],
    #[comptime] dims: [usize; 2],
) {
    let i = ABSOLUTE_POS;
    let actions = comptime!(dims[1]);
    if i < noise.len() {
        let row = i / actions;
        let d = i % actions;
        let rows = noise.len() / actions;
        let at = row * comptime!(dims[0] + dims[1]) + comptime!(dims[0]) + d;
        let grad_log_prob = log_temperature[0].exp() / f32::cast_from(rows);
        let a = critic_input[at];
        let raw = policy_output[row * comptime!(2 * actions) + actions + d];
        let t = math::tanh(raw);
        let scaled_noise = (LOG_STD_HALF_RANGE * (t + 1.0f32) + LOG_STD_LOW).exp() * noise[i];
        let grad_mu = grad_critic_input[at] * (1.0f32 - a * a) + 2.0f32 * grad_log_prob * a;
        gradient[row * comptime!(2 * actions) + d] = grad_mu;
        gradient[row * comptime!(2 * actions) + actions + d] =
            (grad_mu * scaled_noise - grad_log_prob) * (LOG_STD_HALF_RANGE * (1.0f32 - t * t));
    }
}

/// Returns the mean of all numbers, computed by one cube.
#[cube]
fn mean(values: &[f32], parts: &mut Shared<[f32]>) -> f32 {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < values.len() {
        sum += values[i];
        i += THREADS;
    }
    parts[UNIT_POS as usize] = sum;
    sync_cube();
    let mut all = 0.0f32;
    if UNIT_POS == 0 {
        for i in 0..THREADS {
            all += parts[i];
        }
    }
    sync_cube();
    all / f32::cast_from(values.len())
}

/// Writes the means of the critics' squared errors and of y to entries 0 and 1. Runs as one cube.
#[cube(launch_unchecked)]
pub(super) fn critic_means(squares: &[f32], y: &[f32], means: &mut [f32]) {
    let mut parts = Shared::<[f32]>::new_slice(THREADS);
    let loss = mean(squares, &mut parts);
    let target = mean(y, &mut parts);
    if UNIT_POS == 0 {
        means[0] = loss;
        means[1] = target;
    }
}

/// Writes the means of the critics' squared errors, of y, of the actor's loss and of −log π to entries 0 to 3. Runs as
/// one cube.
///
/// Also writes the gradient of the temperature's loss with respect to log α. It equals the loss itself: α (entropy −
/// H̄).
#[cube(launch_unchecked)]
pub(super) fn all_means(
    squares: &[f32],
    y: &[f32],
    loss: &[f32],
    log_prob: &[f32],
    log_temperature: &[f32],
    means: &mut [f32],
    grad_log_temperature: &mut [f32],
    target_entropy: f32,
) {
    let mut parts = Shared::<[f32]>::new_slice(THREADS);
    let critic_loss = mean(squares, &mut parts);
    let target = mean(y, &mut parts);
    let actor_loss = mean(loss, &mut parts);
    let entropy = -mean(log_prob, &mut parts);
    if UNIT_POS == 0 {
        means[0] = critic_loss;
        means[1] = target;
        means[2] = actor_loss;
        means[3] = entropy;
        grad_log_temperature[0] = log_temperature[0].exp() * (entropy - target_entropy);
    }
}
