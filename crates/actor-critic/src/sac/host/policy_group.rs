//! A group: some rows of a batch, and the policy's work on them.

use std::ops::Range;

use foresee_nn::Mlp;
use foresee_nn::cpu::panels::{self, pack};
use foresee_nn::cpu::{self, PANEL_ROWS, Scratch, Tape};

use super::Pass;
use super::cell::Cell;
use crate::panels::{Net, of_panel, of_panel_mut};
use crate::policy::lanes::{Row, Sample, gradient, row, row_mut};
use crate::sac::lanes::{ActorLoss, total};

/// Some panels of batch rows, and the policy's buffers for them. `C` is the number of panels.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The group's rows in the batch.
    pub(super) rows: Range<usize>,
    pub(super) policy: Tape,
    /// Next observations, `[C, O, PANEL_ROWS]`.
    pub(super) next: Vec<f32>,
    /// Next observations with their actions, `[C, O + A, PANEL_ROWS]`.
    pub(super) pairs: Vec<f32>,
    /// The policy's output (mu, raw) at next observations, `[C, 2A, PANEL_ROWS]`.
    pub(super) heads: Vec<f32>,
    /// log π of the actions at next observations, `[C, PANEL_ROWS]`.
    pub(super) next_log_prob: Vec<f32>,
    /// Actions at observations, `[C, A, PANEL_ROWS]`.
    pub(super) actions: Vec<f32>,
    /// log π of the actions at observations, `[C, PANEL_ROWS]`.
    pub(super) log_prob: Vec<f32>,
    /// Noise of one panel, later overwritten by ∂L/∂a, `[A, PANEL_ROWS]`.
    pub(super) noise: Vec<f32>,
    /// Sums over the rows of each panel: the actor's loss, and log π.
    pub(super) sums: Vec<[f64; 2]>,
    pub(super) scratch: Scratch,
}

impl Group {
    pub(super) fn new(policy: &Mlp) -> Self {
        Self {
            rows: 0..0,
            policy: Tape::new(policy.layout(), 0),
            next: vec![],
            pairs: vec![],
            heads: vec![],
            next_log_prob: vec![],
            actions: vec![],
            log_prob: vec![],
            noise: vec![],
            sums: vec![],
            scratch: Scratch::default(),
        }
    }

    pub(super) fn fit(&mut self, rows: Range<usize>) {
        if self.rows == rows {
            return;
        }
        let (length, count) = (rows.len(), panels::count(rows.len()));
        self.rows = rows;
        self.policy.resize(length);
        let shape = self.policy.layout().shape();
        let [obs, action] = [shape.inputs, shape.outputs / 2];
        self.next.resize(count * obs * PANEL_ROWS, 0.0);
        self.pairs.resize(count * (obs + action) * PANEL_ROWS, 0.0);
        self.heads.resize(count * 2 * action * PANEL_ROWS, 0.0);
        self.next_log_prob.resize(count * PANEL_ROWS, 0.0);
        self.actions.resize(count * action * PANEL_ROWS, 0.0);
        self.log_prob.resize(count * PANEL_ROWS, 0.0);
        self.noise.resize(action * PANEL_ROWS, 0.0);
        self.sums.resize(count, [0.0; 2]);
    }

    /// Returns the batch rows of one panel.
    pub(super) fn rows(&self, panel: usize) -> Range<usize> {
        let start = self.rows.start + panel * PANEL_ROWS;
        start..(start + PANEL_ROWS).min(self.rows.end)
    }

    /// Samples actions at next observations, and computes their log π.
    pub(super) fn next_actions(&mut self, pass: &Pass<'_>, policy: Net<'_>) {
        let Pass { batch, noise_next: noise, dims: [obs, actions], .. } = *pass;
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&batch.next_obs[start * obs..end * obs], obs, of_panel_mut(&mut self.next, panel, obs));
        }
        cpu::infer(policy.layout, policy.member(0), &self.next, &mut self.heads, &mut self.scratch);
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&noise[start * actions..end * actions], actions, &mut self.noise);
            let (state, action) = of_panel_mut(&mut self.pairs, panel, obs + actions).split_at_mut(obs * PANEL_ROWS);
            state.copy_from_slice(of_panel(&self.next, panel, obs));
            let heads = of_panel(&self.heads, panel, 2 * actions);
            let log_prob = row_mut(&mut self.next_log_prob, panel);
            Sample { spread: pass.spread, heads, noise: &self.noise, action, log_prob, kept: None }.fill();
        }
    }

    /// Samples actions at observations on the tape, and computes their log π. Does nothing if the actor is not updated.
    pub(super) fn own_actions(&mut self, pass: &Pass<'_>, policy: Net<'_>) {
        let Pass { batch, noise: Some(noise), dims: [obs, actions], .. } = *pass else { return };
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&batch.obs[start * obs..end * obs], obs, self.policy.input_mut(panel));
        }
        self.policy.forward(policy.member(0));
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&noise[start * actions..end * actions], actions, &mut self.noise);
            let (heads, kept) = self.policy.output_gradient_mut(panel);
            let action = of_panel_mut(&mut self.actions, panel, actions);
            let log_prob = row_mut(&mut self.log_prob, panel);
            Sample { spread: pass.spread, heads, noise: &self.noise, action, log_prob, kept: Some(kept) }.fill();
        }
    }

    /// Computes the actor's loss and its gradient on the tape, from the gradients in the group's cells.
    pub(super) fn actor<'c>(
        &mut self,
        pass: &Pass<'_>,
        cells: impl Iterator<Item = &'c Cell> + Clone,
        q: &[f32],
        stride: usize,
        policy: &[f32],
    ) {
        let Pass { dims: [obs, actions], alpha, .. } = *pass;
        for panel in 0..self.sums.len() {
            let rows = self.rows(panel);
            let (q, log_prob) = (&q[self.rows.start + panel * PANEL_ROWS..], row(&self.log_prob, panel));
            let mut loss: Row = [0.0; PANEL_ROWS];
            ActorLoss { q, stride, log_prob, alpha, loss: &mut loss }.fill();
            self.sums[panel] = [total(&loss, rows.len()), total(log_prob, rows.len())];
            let by_action = &mut self.noise;
            by_action.fill(0.0);
            for cell in cells.clone() {
                let of_one = &cell.tape.input_gradient(panel)[obs * PANEL_ROWS..];
                by_action.iter_mut().zip(of_one).for_each(|(sum, g)| *sum += g);
            }
            let action = of_panel(&self.actions, panel, actions);
            let (_, kept) = self.policy.output_gradient_mut(panel);
            gradient(kept, action, by_action, &[alpha * pass.share(); PANEL_ROWS]);
        }
        self.policy.backward(policy);
    }
}
