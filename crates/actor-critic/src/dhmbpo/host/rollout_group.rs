//! Some panels of rows, with the forward and the backward pass of their rollouts.
//!
//! Panels are `[features][PANEL_ROWS]`; the `C` panels of a group are stored one after another.

use std::ops::Range;
use std::sync::Arc;

use foresee_nn::cpu::{self, Layout, PANEL_ROWS, Scratch, Tape, panels};
use foresee_nn::{PanelDynamics, PanelStep};

use super::Pass;
use crate::panels::{Net, of_panel, of_panel_mut};
use crate::policy::lanes::{Row, Sample, gradient, row, row_mut};

/// The policy's tape and actions at one step of the rollout.
#[derive(Clone, Debug)]
struct Acted {
    tape: Tape,
    /// s_k, `[C, O, PANEL_ROWS]`.
    obs: Vec<f32>,
    /// a_k, `[C, A, PANEL_ROWS]`.
    action: Vec<f32>,
    /// l_k, `[C, PANEL_ROWS]`.
    log_prob: Vec<f32>,
    /// m_k, `[C, PANEL_ROWS]`; 0 in lanes beyond the last row.
    mask: Vec<f32>,
}

/// Some panels of batch rows, and the buffers of their rollouts.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// The group's rows in the batch.
    pub(super) rows: Range<usize>,
    /// The policy's steps, `[H + 1]`.
    acted: Vec<Acted>,
    /// The model's steps, `[H, C]`.
    imagined: Vec<PanelStep>,
    /// Minimum of the chosen target critics at (s_H, a_H) before scaling by the bounds, `[C, PANEL_ROWS]`.
    lowest: Vec<f32>,
    /// mean_n Q_n(s_H, a_H), `[C, PANEL_ROWS]`.
    values: Vec<f32>,
    /// The critics' inputs: normalised s_H, and a_H, `[C, O + A, PANEL_ROWS]`.
    pairs: Vec<f32>,
    /// The loss's gradient at the states of a step, `[C, O, PANEL_ROWS]`.
    by_obs: Vec<f32>,
    /// The loss's gradient at the actions of a step, `[C, A, PANEL_ROWS]`.
    by_action: Vec<f32>,
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
    for (lane, row) in rows.enumerate() {
        let numbers = &all[row * total + from..];
        for (column, &x) in panel.chunks_exact_mut(PANEL_ROWS).zip(numbers) {
            column[lane] = x;
        }
    }
}

/// Normalises states `[O, PANEL_ROWS]` for the networks.
fn seen(pass: &Pass<'_>, obs: &[f32], to: &mut [f32]) {
    let Some(scale) = pass.scale else { return to.copy_from_slice(obs) };
    let all = to.chunks_exact_mut(PANEL_ROWS).zip(obs.chunks_exact(PANEL_ROWS));
    for ((to, obs), (mean, std)) in all.zip(scale.mean.iter().zip(&scale.std)) {
        to.iter_mut().zip(obs).for_each(|(to, x)| *to = (x - mean) / std);
    }
}

/// Converts a gradient at normalised states, `[O, PANEL_ROWS]`, to one at the states, and adds it to `by_obs`.
fn add_seen(pass: &Pass<'_>, by_seen: &[f32], by_obs: &mut [f32]) {
    let all = by_obs.chunks_exact_mut(PANEL_ROWS).zip(by_seen.chunks_exact(PANEL_ROWS));
    for (d, (to, from)) in all.enumerate() {
        let std = pass.scale.map_or(1.0, |scale| scale.std[d]);
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from / std);
    }
}

/// Returns the sum over the first `rows` lanes of the norm of a gradient at states, `[O, PANEL_ROWS]`, in standard
/// deviations of the observations.
fn sum_of_norms(pass: &Pass<'_>, by_obs: &[f32], rows: usize) -> f64 {
    let mut squares = [0.0_f32; PANEL_ROWS];
    for (d, of_entry) in by_obs.chunks_exact(PANEL_ROWS).enumerate() {
        let std = pass.scale.map_or(1.0, |scale| scale.std[d]);
        squares.iter_mut().zip(of_entry).for_each(|(square, g)| *square += (g * std).powi(2));
    }
    squares[..rows].iter().map(|&square| f64::from(square.sqrt())).sum()
}

impl Group {
    /// Number of panels, `C`.
    fn count(&self) -> usize {
        panels::count(self.rows.len())
    }

    /// Returns the batch rows of one panel.
    fn rows_of(&self, panel: usize) -> Range<usize> {
        let start = self.rows.start + panel * PANEL_ROWS;
        start..(start + PANEL_ROWS).min(self.rows.end)
    }

    fn fit(&mut self, pass: &Pass<'_>, policy: &Arc<Layout>, dynamics: &dyn PanelDynamics) {
        let (count, rows) = (self.count(), self.rows.len());
        let (obs, sizes) = (pass.obs_dim, pass.sizes);
        let new = || Acted { tape: Tape::new(policy, 0), obs: vec![], action: vec![], log_prob: vec![], mask: vec![] };
        self.acted.resize_with(sizes.horizon + 1, new);
        for acted in &mut self.acted {
            acted.tape.resize(rows);
            acted.obs.resize(count * obs * PANEL_ROWS, 0.0);
            acted.action.resize(count * sizes.action_dim * PANEL_ROWS, 0.0);
            acted.log_prob.resize(count * PANEL_ROWS, 0.0);
            acted.mask.resize(count * PANEL_ROWS, 0.0);
        }
        if self.imagined.len() != sizes.horizon * count {
            let room = dynamics.new_step();
            self.imagined.resize_with(sizes.horizon * count, || room.clone());
        }
        self.lowest.resize(count * PANEL_ROWS, 0.0);
        self.values.resize(count * PANEL_ROWS, 0.0);
        self.pairs.resize(count * (obs + sizes.action_dim) * PANEL_ROWS, 0.0);
        self.by_obs.resize(count * obs * PANEL_ROWS, 0.0);
        self.by_action.resize(count * sizes.action_dim * PANEL_ROWS, 0.0);
        self.noise.resize(sizes.action_dim.max(sizes.noise_width).max(obs) * PANEL_ROWS, 0.0);
    }

    /// Makes the rollout: s_0 … s_H with actions, log-probabilities, rewards and masks.
    pub(super) fn roll_out(
        &mut self,
        pass: &Pass<'_>,
        layout: &Arc<Layout>,
        policy: Net<'_>,
        dynamics: &dyn PanelDynamics,
    ) {
        self.fit(pass, layout, dynamics);
        let (obs, sizes, count) = (pass.obs_dim, pass.sizes, self.count());
        let (actions, width) = (sizes.action_dim, sizes.noise_width);
        for panel in 0..count {
            let rows = self.rows_of(panel);
            let Acted { obs: states, mask, .. } = &mut self.acted[0];
            panels::pack(&pass.starts[rows.start * obs..rows.end * obs], obs, of_panel_mut(states, panel, obs));
            let mask = row_mut(mask, panel);
            (0..PANEL_ROWS).for_each(|j| mask[j] = if j < rows.len() { 1.0 } else { 0.0 });
        }
        for k in 0..=sizes.horizon {
            let (before, after) = self.acted.split_at_mut(k + 1);
            let Acted { tape, obs: states, action, log_prob, mask } = &mut before[k];
            for panel in 0..count {
                seen(pass, of_panel(states, panel, obs), tape.input_mut(panel));
            }
            tape.forward(policy.member(0));
            for panel in 0..count {
                let start = self.rows.start + panel * PANEL_ROWS;
                let rows = start..(start + PANEL_ROWS).min(self.rows.end);
                let noise = &mut self.noise[..actions * PANEL_ROWS];
                columns(&pass.draws.action, (sizes.horizon + 1) * actions, rows.clone(), k * actions, noise);
                let (heads, kept) = tape.output_gradient_mut(panel);
                let action = of_panel_mut(action, panel, actions);
                let log_prob = row_mut(log_prob, panel);
                Sample { spread: pass.spread, heads, noise, action, log_prob, kept: Some(kept) }.fill();
                let Some(next) = after.first_mut() else { continue };
                let noise = &mut self.noise[..width * PANEL_ROWS];
                columns(&pass.draws.model, sizes.horizon * width, rows.clone(), k * width, noise);
                let step = &mut self.imagined[k * count + panel];
                let word = pass.draws.words[k * sizes.rows + rows.start];
                dynamics.step(
                    rows.len(),
                    word,
                    of_panel(states, panel, obs),
                    of_panel(action, 0, actions),
                    noise,
                    step,
                );
                of_panel_mut(&mut next.obs, panel, obs).copy_from_slice(&step.next_obs);
                let (mask, next) = (row(mask, panel), row_mut(&mut next.mask, panel));
                (0..PANEL_ROWS).for_each(|j| next[j] = mask[j] * step.not_terminated[j]);
            }
        }
    }

    /// Computes the minimum of the chosen target critics at the end of the rollout.
    pub(super) fn continue_by(&mut self, pass: &Pass<'_>, target: Net<'_>) {
        let (obs, actions, count) = (pass.obs_dim, pass.sizes.action_dim, self.count());
        let last = &self.acted[pass.sizes.horizon];
        for panel in 0..count {
            let (state, action) = of_panel_mut(&mut self.pairs, panel, obs + actions).split_at_mut(obs * PANEL_ROWS);
            seen(pass, of_panel(&last.obs, panel, obs), state);
            action.copy_from_slice(of_panel(&last.action, panel, actions));
        }
        for (i, &n) in pass.draws.subset.iter().enumerate() {
            cpu::infer(target.layout, target.member(n), &self.pairs, &mut self.values, &mut self.scratch);
            if i == 0 {
                self.lowest.copy_from_slice(&self.values);
            } else {
                self.lowest.iter_mut().zip(&self.values).for_each(|(low, &q)| *low = if q < *low { q } else { *low });
            }
        }
    }

    /// Returns r_k − α l_k of one panel at one step.
    fn soft_reward(&self, pass: &Pass<'_>, k: usize, panel: usize) -> Row {
        let (step, log_prob) = (&self.imagined[k * self.count() + panel], row(&self.acted[k].log_prob, panel));
        std::array::from_fn(|j| step.reward[j] - pass.alpha * log_prob[j])
    }

    /// Appends r_k − α l_k of all rows and steps.
    pub(super) fn soft_rewards(&self, pass: &Pass<'_>, values: &mut Vec<f32>) {
        for k in 0..pass.sizes.horizon {
            for panel in 0..self.count() {
                values.extend_from_slice(&self.soft_reward(pass, k, panel)[..self.rows_of(panel).len()]);
            }
        }
    }

    /// Returns Σ_k γᵏ m_k (r_k − α l_k) + γᴴ m_H (value − α l_H) of one panel. The entropy of k = 0 is included only if
    /// `first_entropy` is true.
    fn soft_return(&self, pass: &Pass<'_>, panel: usize, value: &Row, first_entropy: bool) -> Row {
        let horizon = pass.sizes.horizon;
        let mut sum = [0.0; PANEL_ROWS];
        for k in 0..horizon {
            let (values, mask, weight) =
                (self.soft_reward(pass, k, panel), row(&self.acted[k].mask, panel), pass.weight(k));
            (0..PANEL_ROWS).for_each(|j| sum[j] += weight * mask[j] * values[j]);
        }
        let Acted { log_prob, mask, .. } = &self.acted[horizon];
        let (log_prob, mask, weight) = (row(log_prob, panel), row(mask, panel), pass.weight(horizon));
        (0..PANEL_ROWS).for_each(|j| sum[j] += weight * mask[j] * (value[j] - pass.alpha * log_prob[j]));
        if !first_entropy {
            let log_prob = row(&self.acted[0].log_prob, panel);
            (0..PANEL_ROWS).for_each(|j| sum[j] += pass.alpha * log_prob[j]);
        }
        sum
    }

    /// Appends y, `[C, PANEL_ROWS]`. Critics' outputs are multiplied by `width`, shifted by `centre`, and clipped to `low`
    /// and `high`.
    pub(super) fn targets(
        &self,
        pass: &Pass<'_>,
        [low, high]: [f32; 2],
        [width, centre]: [f32; 2],
        targets: &mut Vec<f32>,
    ) {
        for panel in 0..self.count() {
            let net = row(&self.lowest, panel);
            let value = std::array::from_fn(|j| (width * net[j] + centre).min(high).max(low));
            targets.extend_from_slice(&self.soft_return(pass, panel, &value, false));
        }
    }

    /// Writes the critics' inputs of one panel, normalised s_0 and a_0, `[O + A, PANEL_ROWS]`.
    pub(super) fn first_pair(&self, panel: usize, pass: &Pass<'_>, input: &mut [f32]) {
        let (state, action) = input.split_at_mut(pass.obs_dim * PANEL_ROWS);
        seen(pass, of_panel(&self.acted[0].obs, panel, pass.obs_dim), state);
        action.copy_from_slice(of_panel(&self.acted[0].action, panel, pass.sizes.action_dim));
    }

    /// Computes mean_n Q_n(s_H, a_H), and the gradient of its part of the loss at s_H and a_H. That part is mean_n Q_n
    /// times −γᴴ m_H / B. `critic(n)` returns the weights of critic n.
    pub(super) fn critics_at_the_end<'w>(
        &mut self,
        pass: &Pass<'_>,
        layout: &Arc<Layout>,
        critic: impl Fn(usize) -> &'w [f32],
        [width, centre]: [f32; 2],
    ) {
        let (obs, actions, count) = (pass.obs_dim, pass.sizes.action_dim, self.count());
        let critics = pass.sizes.critics as f32;
        let share = -pass.weight(pass.sizes.horizon) / pass.sizes.rows as f32;
        self.by_obs.fill(0.0);
        self.by_action.fill(0.0);
        self.values.fill(centre);
        let tape = self.critic.get_or_insert_with(|| Tape::new(layout, 0));
        tape.resize(self.rows.len());
        for n in 0..pass.sizes.critics {
            for panel in 0..count {
                tape.input_mut(panel).copy_from_slice(of_panel(&self.pairs, panel, obs + actions));
            }
            tape.forward(critic(n));
            for panel in 0..count {
                let mask = row(&self.acted[pass.sizes.horizon].mask, panel);
                let (net, gradient) = tape.output_gradient_mut(panel);
                let values = row_mut(&mut self.values, panel);
                for j in 0..PANEL_ROWS {
                    values[j] += width * net[j] / critics;
                    gradient[j] = share * mask[j] * width / critics;
                }
            }
            tape.backward_to_input(critic(n));
            for panel in 0..count {
                let (by_seen, by_action) = tape.input_gradient(panel).split_at(obs * PANEL_ROWS);
                add_seen(pass, by_seen, of_panel_mut(&mut self.by_obs, panel, obs));
                let to = of_panel_mut(&mut self.by_action, panel, actions);
                to.iter_mut().zip(by_action).for_each(|(to, from)| *to += from);
            }
        }
    }

    /// Propagates the gradient at s_H and a_H back to s_0, through policy and model. The policy's tapes then hold the
    /// data for the actor's weight gradients.
    pub(super) fn back(&mut self, pass: &Pass<'_>, policy: Net<'_>, dynamics: &dyn PanelDynamics) {
        let (obs, actions, count) = (pass.obs_dim, pass.sizes.action_dim, self.count());
        let share = 1.0 / pass.sizes.rows as f32;
        let in_panels: Vec<usize> = (0..count).map(|panel| self.rows_of(panel).len()).collect();
        let Self { acted, imagined, by_obs, by_action, norms, noise, .. } = self;
        norms.clear();
        norms.resize(pass.sizes.horizon, 0.0);
        for k in (0..=pass.sizes.horizon).rev() {
            let Acted { tape, action, mask, .. } = &mut acted[k];
            let weight = pass.weight(k) * share;
            for panel in 0..count {
                let mask = row(mask, panel);
                let to_action = of_panel_mut(by_action, panel, actions);
                if k < pass.sizes.horizon {
                    let by_reward = std::array::from_fn(|j| -weight * mask[j]);
                    let (by_next, to_obs) = (&mut noise[..obs * PANEL_ROWS], of_panel_mut(by_obs, panel, obs));
                    by_next.copy_from_slice(to_obs);
                    dynamics.backward(&mut imagined[k * count + panel], by_next, &by_reward, to_obs, to_action);
                }
                let by_log_prob = std::array::from_fn(|j| weight * pass.alpha * mask[j]);
                let (_, kept) = tape.output_gradient_mut(panel);
                gradient(kept, of_panel(action, panel, actions), to_action, &by_log_prob);
            }
            if k == 0 {
                tape.backward(policy.member(0));
                continue;
            }
            tape.backward_to_input(policy.member(0));
            for (panel, &rows) in in_panels.iter().enumerate() {
                let by_obs = of_panel_mut(by_obs, panel, obs);
                add_seen(pass, tape.input_gradient(panel), by_obs);
                norms[k - 1] += sum_of_norms(pass, by_obs, rows);
            }
        }
    }

    /// Returns the sum over rows of the actor's objective.
    pub(super) fn objective(&self, pass: &Pass<'_>) -> f64 {
        let of_panel = |panel: usize| {
            let sums = self.soft_return(pass, panel, row(&self.values, panel), true);
            sums[..self.rows_of(panel).len()].iter().map(|&x| f64::from(x)).sum::<f64>()
        };
        (0..self.count()).map(of_panel).sum()
    }

    /// Returns the sums over rows of m_H, of all rewards, and of l_0.
    pub(super) fn sums(&self, pass: &Pass<'_>) -> [f64; 3] {
        let horizon = pass.sizes.horizon;
        let mut sums = [0.0; 3];
        for panel in 0..self.count() {
            let rows = self.rows_of(panel).len();
            let total = |lanes: &[f32]| lanes[..rows].iter().map(|&x| f64::from(x)).sum::<f64>();
            sums[0] += total(row(&self.acted[horizon].mask, panel));
            for k in 0..horizon {
                sums[1] += total(&self.imagined[k * self.count() + panel].reward);
            }
            sums[2] += total(row(&self.acted[0].log_prob, panel));
        }
        sums
    }

    /// The policy's tape of one step.
    pub(super) fn policy_tape(&self, step: usize) -> &Tape {
        &self.acted[step].tape
    }
}
