//! Some panels of rows, with the forward and the backward pass of their rollouts.
//!
//! Panels are `[features][PANEL_ROWS]`; the `C` panels of a group are stored one after another.

use std::ops::Range;
use std::sync::Arc;

use foresee_nn::cpu::panels::{PerRow, feature, feature_mut};
use foresee_nn::cpu::{self, Layout, PANEL_ROWS, Scratch, Tape, panels};
use foresee_nn::{PanelDynamics, PanelStep};

use super::DhmbpoInputs;
use crate::panels::{Net, panel_at, panel_at_mut};
use crate::policy::panel::{Sample, gradient};

/// The policy's tape and actions at one step of the rollout.
#[derive(Clone, Debug)]
struct PolicyStep {
    tape: Tape,
    /// s_k, `[C, O, PANEL_ROWS]`.
    obs: Vec<f32>,
    /// a_k, `[C, A, PANEL_ROWS]`.
    action: Vec<f32>,
    /// l_k, `[C, PANEL_ROWS]`.
    log_prob: Vec<f32>,
    /// m_k, `[C, PANEL_ROWS]`; 0 beyond the last row.
    mask: Vec<f32>,
}

/// Some panels of batch rows, and the buffers of their rollouts.
#[derive(Clone, Debug, Default)]
pub(super) struct RolloutGroup {
    /// The group's rows in the batch.
    pub(super) rows: Range<usize>,
    /// The policy's steps, `[H + 1]`.
    policy_steps: Vec<PolicyStep>,
    /// The model's steps, `[H, C]`.
    model_steps: Vec<PanelStep>,
    /// Minimum of the chosen target critics at (s_H, a_H) before scaling by the bounds, `[C, PANEL_ROWS]`.
    lowest: Vec<f32>,
    /// mean_n Q_n(s_H, a_H), `[C, PANEL_ROWS]`.
    values: Vec<f32>,
    /// The critics' inputs: normalised s_H, and a_H, `[C, O + A, PANEL_ROWS]`.
    critic_inputs: Vec<f32>,
    /// The loss's gradient at the states of a step, `[C, O, PANEL_ROWS]`.
    grad_obs: Vec<f32>,
    /// The loss's gradient at the actions of a step, `[C, A, PANEL_ROWS]`.
    grad_action: Vec<f32>,
    /// Σ over rows of the norm of the loss's gradient at s_1 … s_H, in standard deviations of the observations, `[H]`.
    pub(super) norms: Vec<f64>,
    /// Noise of one panel, or the gradient at its states.
    noise: Vec<f32>,
    critic: Option<Tape>,
    scratch: Scratch,
}

/// Copies the columns from `from` on of the rows `rows` of `all`, `[B, total]`, to a panel `[width][PANEL_ROWS]`.
fn columns(all: &[f32], total: usize, rows: Range<usize>, from: usize, panel: &mut [f32]) {
    if rows.len() < PANEL_ROWS {
        panel.fill(0.0);
    }
    for (j, row) in rows.enumerate() {
        let numbers = &all[row * total + from..];
        for (column, &x) in panel.chunks_exact_mut(PANEL_ROWS).zip(numbers) {
            column[j] = x;
        }
    }
}

/// Normalises states `[O, PANEL_ROWS]` for the networks.
fn normalize_obs(inputs: &DhmbpoInputs<'_>, obs: &[f32], to: &mut [f32]) {
    let Some(scale) = inputs.scale else { return to.copy_from_slice(obs) };
    let all = to.chunks_exact_mut(PANEL_ROWS).zip(obs.chunks_exact(PANEL_ROWS));
    for ((to, obs), (mean, std)) in all.zip(scale.mean.iter().zip(&scale.std)) {
        to.iter_mut().zip(obs).for_each(|(to, x)| *to = (x - mean) / std);
    }
}

/// Converts a gradient at normalised states, `[O, PANEL_ROWS]`, to one at the states, and adds it to `grad_obs`.
fn add_obs_gradient(inputs: &DhmbpoInputs<'_>, grad_normalized: &[f32], grad_obs: &mut [f32]) {
    let all = grad_obs.chunks_exact_mut(PANEL_ROWS).zip(grad_normalized.chunks_exact(PANEL_ROWS));
    for (d, (to, from)) in all.enumerate() {
        let std = inputs.scale.map_or(1.0, |scale| scale.std[d]);
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from / std);
    }
}

/// Returns the sum over the first `rows` rows of the norm of a gradient at states, `[O, PANEL_ROWS]`, in standard
/// deviations of the observations.
fn sum_of_norms(inputs: &DhmbpoInputs<'_>, grad_obs: &[f32], rows: usize) -> f64 {
    let mut squares = [0.0_f32; PANEL_ROWS];
    for (d, of_entry) in grad_obs.chunks_exact(PANEL_ROWS).enumerate() {
        let std = inputs.scale.map_or(1.0, |scale| scale.std[d]);
        squares.iter_mut().zip(of_entry).for_each(|(square, g)| *square += (g * std).powi(2));
    }
    squares[..rows].iter().map(|&square| f64::from(square.sqrt())).sum()
}

impl RolloutGroup {
    /// Number of panels, `C`.
    fn count(&self) -> usize {
        panels::count(self.rows.len())
    }

    /// Returns the batch rows of one panel.
    fn rows_of(&self, panel: usize) -> Range<usize> {
        let start = self.rows.start + panel * PANEL_ROWS;
        start..(start + PANEL_ROWS).min(self.rows.end)
    }

    fn fit(&mut self, inputs: &DhmbpoInputs<'_>, policy: &Arc<Layout>, dynamics: &dyn PanelDynamics) {
        let (count, rows) = (self.count(), self.rows.len());
        let (obs, sizes) = (inputs.obs_dim, inputs.sizes);
        let new =
            || PolicyStep { tape: Tape::new(policy, 0), obs: vec![], action: vec![], log_prob: vec![], mask: vec![] };
        self.policy_steps.resize_with(sizes.horizon + 1, new);
        for step in &mut self.policy_steps {
            step.tape.resize(rows);
            step.obs.resize(count * obs * PANEL_ROWS, 0.0);
            step.action.resize(count * sizes.action_dim * PANEL_ROWS, 0.0);
            step.log_prob.resize(count * PANEL_ROWS, 0.0);
            step.mask.resize(count * PANEL_ROWS, 0.0);
        }
        if self.model_steps.len() != sizes.horizon * count {
            let empty_step = dynamics.new_step();
            self.model_steps.resize_with(sizes.horizon * count, || empty_step.clone());
        }
        self.lowest.resize(count * PANEL_ROWS, 0.0);
        self.values.resize(count * PANEL_ROWS, 0.0);
        self.critic_inputs.resize(count * (obs + sizes.action_dim) * PANEL_ROWS, 0.0);
        self.grad_obs.resize(count * obs * PANEL_ROWS, 0.0);
        self.grad_action.resize(count * sizes.action_dim * PANEL_ROWS, 0.0);
        self.noise.resize(sizes.action_dim.max(sizes.noise_width).max(obs) * PANEL_ROWS, 0.0);
    }

    /// Makes the rollout: s_0 … s_H with actions, log-probabilities, rewards and masks.
    pub(super) fn roll_out(
        &mut self,
        inputs: &DhmbpoInputs<'_>,
        layout: &Arc<Layout>,
        policy: Net<'_>,
        dynamics: &dyn PanelDynamics,
    ) {
        self.fit(inputs, layout, dynamics);
        let (obs, sizes, count) = (inputs.obs_dim, inputs.sizes, self.count());
        let (actions, width) = (sizes.action_dim, sizes.noise_width);
        for panel in 0..count {
            let rows = self.rows_of(panel);
            let PolicyStep { obs: states, mask, .. } = &mut self.policy_steps[0];
            panels::pack(&inputs.starts[rows.start * obs..rows.end * obs], obs, panel_at_mut(states, panel, obs));
            let mask = feature_mut(mask, panel);
            (0..PANEL_ROWS).for_each(|j| mask[j] = if j < rows.len() { 1.0 } else { 0.0 });
        }
        for k in 0..=sizes.horizon {
            let (before, after) = self.policy_steps.split_at_mut(k + 1);
            let PolicyStep { tape, obs: states, action, log_prob, mask } = &mut before[k];
            for panel in 0..count {
                normalize_obs(inputs, panel_at(states, panel, obs), tape.input_mut(panel));
            }
            tape.forward(policy.member(0));
            for panel in 0..count {
                let start = self.rows.start + panel * PANEL_ROWS;
                let rows = start..(start + PANEL_ROWS).min(self.rows.end);
                let noise = &mut self.noise[..actions * PANEL_ROWS];
                columns(&inputs.draws.action, (sizes.horizon + 1) * actions, rows.clone(), k * actions, noise);
                let (output, saved) = tape.output_gradient_mut(panel);
                let action = panel_at_mut(action, panel, actions);
                let log_prob = feature_mut(log_prob, panel);
                Sample { spread: inputs.spread, output, noise, action, log_prob, saved: Some(saved) }.fill();
                let Some(next) = after.first_mut() else { continue };
                let noise = &mut self.noise[..width * PANEL_ROWS];
                columns(&inputs.draws.model, sizes.horizon * width, rows.clone(), k * width, noise);
                let step = &mut self.model_steps[k * count + panel];
                let word = inputs.draws.words[k * sizes.rows + rows.start];
                dynamics.step(
                    rows.len(),
                    word,
                    panel_at(states, panel, obs),
                    panel_at(action, 0, actions),
                    noise,
                    step,
                );
                panel_at_mut(&mut next.obs, panel, obs).copy_from_slice(&step.next_obs);
                let (mask, next) = (feature(mask, panel), feature_mut(&mut next.mask, panel));
                (0..PANEL_ROWS).for_each(|j| next[j] = mask[j] * step.not_terminated[j]);
            }
        }
    }

    /// Computes the minimum of the chosen target critics at the end of the rollout.
    pub(super) fn final_target_values(&mut self, inputs: &DhmbpoInputs<'_>, target: Net<'_>) {
        let (obs, actions, count) = (inputs.obs_dim, inputs.sizes.action_dim, self.count());
        let last = &self.policy_steps[inputs.sizes.horizon];
        for panel in 0..count {
            let (state, action) =
                panel_at_mut(&mut self.critic_inputs, panel, obs + actions).split_at_mut(obs * PANEL_ROWS);
            normalize_obs(inputs, panel_at(&last.obs, panel, obs), state);
            action.copy_from_slice(panel_at(&last.action, panel, actions));
        }
        for (i, &n) in inputs.draws.subset.iter().enumerate() {
            cpu::infer(target.layout, target.member(n), &self.critic_inputs, &mut self.values, &mut self.scratch);
            if i == 0 {
                self.lowest.copy_from_slice(&self.values);
            } else {
                self.lowest.iter_mut().zip(&self.values).for_each(|(low, &q)| *low = if q < *low { q } else { *low });
            }
        }
    }

    /// Returns r_k − α l_k of one panel at one step.
    fn soft_reward(&self, inputs: &DhmbpoInputs<'_>, k: usize, panel: usize) -> PerRow {
        let (step, log_prob) =
            (&self.model_steps[k * self.count() + panel], feature(&self.policy_steps[k].log_prob, panel));
        std::array::from_fn(|j| step.reward[j] - inputs.alpha * log_prob[j])
    }

    /// Appends r_k − α l_k of all rows and steps.
    pub(super) fn soft_rewards(&self, inputs: &DhmbpoInputs<'_>, values: &mut Vec<f32>) {
        for k in 0..inputs.sizes.horizon {
            for panel in 0..self.count() {
                values.extend_from_slice(&self.soft_reward(inputs, k, panel)[..self.rows_of(panel).len()]);
            }
        }
    }

    /// Returns Σ_k γᵏ m_k (r_k − α l_k) + γᴴ m_H (value − α l_H) of one panel. The entropy of k = 0 is included only if
    /// `first_entropy` is true.
    fn soft_return(&self, inputs: &DhmbpoInputs<'_>, panel: usize, value: &PerRow, first_entropy: bool) -> PerRow {
        let horizon = inputs.sizes.horizon;
        let mut sum = [0.0; PANEL_ROWS];
        for k in 0..horizon {
            let (values, mask, weight) =
                (self.soft_reward(inputs, k, panel), feature(&self.policy_steps[k].mask, panel), inputs.weight(k));
            (0..PANEL_ROWS).for_each(|j| sum[j] += weight * mask[j] * values[j]);
        }
        let PolicyStep { log_prob, mask, .. } = &self.policy_steps[horizon];
        let (log_prob, mask, weight) = (feature(log_prob, panel), feature(mask, panel), inputs.weight(horizon));
        (0..PANEL_ROWS).for_each(|j| sum[j] += weight * mask[j] * (value[j] - inputs.alpha * log_prob[j]));
        if !first_entropy {
            let log_prob = feature(&self.policy_steps[0].log_prob, panel);
            (0..PANEL_ROWS).for_each(|j| sum[j] += inputs.alpha * log_prob[j]);
        }
        sum
    }

    /// Appends y, `[C, PANEL_ROWS]`. Critics' outputs are multiplied by `width`, shifted by `centre`, and clipped to
    /// `low` and `high`.
    pub(super) fn targets(
        &self,
        inputs: &DhmbpoInputs<'_>,
        [low, high]: [f32; 2],
        [width, centre]: [f32; 2],
        targets: &mut Vec<f32>,
    ) {
        for panel in 0..self.count() {
            let net = feature(&self.lowest, panel);
            let value = std::array::from_fn(|j| (width * net[j] + centre).min(high).max(low));
            targets.extend_from_slice(&self.soft_return(inputs, panel, &value, false));
        }
    }

    /// Writes the critics' inputs of one panel, normalised s_0 and a_0, `[O + A, PANEL_ROWS]`.
    pub(super) fn first_critic_input(&self, panel: usize, inputs: &DhmbpoInputs<'_>, input: &mut [f32]) {
        let (state, action) = input.split_at_mut(inputs.obs_dim * PANEL_ROWS);
        normalize_obs(inputs, panel_at(&self.policy_steps[0].obs, panel, inputs.obs_dim), state);
        action.copy_from_slice(panel_at(&self.policy_steps[0].action, panel, inputs.sizes.action_dim));
    }

    /// Computes mean_n Q_n(s_H, a_H), and the gradient of its part of the loss at s_H and a_H. That part is mean_n Q_n
    /// times −γᴴ m_H / B. `critic(n)` returns the weights of critic n.
    pub(super) fn final_values<'w>(
        &mut self,
        inputs: &DhmbpoInputs<'_>,
        layout: &Arc<Layout>,
        critic: impl Fn(usize) -> &'w [f32],
        [width, centre]: [f32; 2],
    ) {
        let (obs, actions, count) = (inputs.obs_dim, inputs.sizes.action_dim, self.count());
        let critics = inputs.sizes.critics as f32;
        let share = -inputs.weight(inputs.sizes.horizon) / inputs.sizes.rows as f32;
        self.grad_obs.fill(0.0);
        self.grad_action.fill(0.0);
        self.values.fill(centre);
        let tape = self.critic.get_or_insert_with(|| Tape::new(layout, 0));
        tape.resize(self.rows.len());
        for n in 0..inputs.sizes.critics {
            for panel in 0..count {
                tape.input_mut(panel).copy_from_slice(panel_at(&self.critic_inputs, panel, obs + actions));
            }
            tape.forward(critic(n));
            for panel in 0..count {
                let mask = feature(&self.policy_steps[inputs.sizes.horizon].mask, panel);
                let (net, gradient) = tape.output_gradient_mut(panel);
                let values = feature_mut(&mut self.values, panel);
                for j in 0..PANEL_ROWS {
                    values[j] += width * net[j] / critics;
                    gradient[j] = share * mask[j] * width / critics;
                }
            }
            tape.backward_to_input(critic(n));
            for panel in 0..count {
                let (grad_normalized, grad_action) = tape.input_gradient(panel).split_at(obs * PANEL_ROWS);
                add_obs_gradient(inputs, grad_normalized, panel_at_mut(&mut self.grad_obs, panel, obs));
                let to = panel_at_mut(&mut self.grad_action, panel, actions);
                to.iter_mut().zip(grad_action).for_each(|(to, from)| *to += from);
            }
        }
    }

    /// Propagates the gradient at s_H and a_H back to s_0, through policy and model. The policy's tapes then hold the
    /// data for the actor's weight gradients.
    pub(super) fn backward(&mut self, inputs: &DhmbpoInputs<'_>, policy: Net<'_>, dynamics: &dyn PanelDynamics) {
        let (obs, actions, count) = (inputs.obs_dim, inputs.sizes.action_dim, self.count());
        let share = 1.0 / inputs.sizes.rows as f32;
        let in_panels: Vec<usize> = (0..count).map(|panel| self.rows_of(panel).len()).collect();
        let Self { policy_steps, model_steps, grad_obs, grad_action, norms, noise, .. } = self;
        norms.clear();
        norms.resize(inputs.sizes.horizon, 0.0);
        for k in (0..=inputs.sizes.horizon).rev() {
            let PolicyStep { tape, action, mask, .. } = &mut policy_steps[k];
            let weight = inputs.weight(k) * share;
            for panel in 0..count {
                let mask = feature(mask, panel);
                let panel_grad_action = panel_at_mut(grad_action, panel, actions);
                if k < inputs.sizes.horizon {
                    let grad_reward = std::array::from_fn(|j| -weight * mask[j]);
                    let (grad_next_obs, panel_grad_obs) =
                        (&mut noise[..obs * PANEL_ROWS], panel_at_mut(grad_obs, panel, obs));
                    grad_next_obs.copy_from_slice(panel_grad_obs);
                    dynamics.backward(
                        &mut model_steps[k * count + panel],
                        grad_next_obs,
                        &grad_reward,
                        panel_grad_obs,
                        panel_grad_action,
                    );
                }
                let grad_log_prob = std::array::from_fn(|j| weight * inputs.alpha * mask[j]);
                let (_, saved) = tape.output_gradient_mut(panel);
                gradient(saved, panel_at(action, panel, actions), panel_grad_action, &grad_log_prob);
            }
            if k == 0 {
                tape.backward(policy.member(0));
                continue;
            }
            tape.backward_to_input(policy.member(0));
            for (panel, &rows) in in_panels.iter().enumerate() {
                let grad_obs = panel_at_mut(grad_obs, panel, obs);
                add_obs_gradient(inputs, tape.input_gradient(panel), grad_obs);
                norms[k - 1] += sum_of_norms(inputs, grad_obs, rows);
            }
        }
    }

    /// Returns the sum over rows of the actor's objective.
    pub(super) fn objective(&self, inputs: &DhmbpoInputs<'_>) -> f64 {
        let sum = |panel: usize| {
            let sums = self.soft_return(inputs, panel, feature(&self.values, panel), true);
            sums[..self.rows_of(panel).len()].iter().map(|&x| f64::from(x)).sum::<f64>()
        };
        (0..self.count()).map(sum).sum()
    }

    /// Returns the sums over rows of m_H, of all rewards, and of l_0.
    pub(super) fn sums(&self, inputs: &DhmbpoInputs<'_>) -> [f64; 3] {
        let horizon = inputs.sizes.horizon;
        let mut sums = [0.0; 3];
        for panel in 0..self.count() {
            let rows = self.rows_of(panel).len();
            let total = |values: &[f32]| values[..rows].iter().map(|&x| f64::from(x)).sum::<f64>();
            sums[0] += total(feature(&self.policy_steps[horizon].mask, panel));
            for k in 0..horizon {
                sums[1] += total(&self.model_steps[k * self.count() + panel].reward);
            }
            sums[2] += total(feature(&self.policy_steps[0].log_prob, panel));
        }
        sums
    }

    /// The policy's tape of one step.
    pub(super) fn policy_tape(&self, step: usize) -> &Tape {
        &self.policy_steps[step].tape
    }
}
