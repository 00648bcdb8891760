//! The policy's work on some rows of a batch.

use std::ops::Range;

use foresee_nn::Mlp;
use foresee_nn::cpu::panels::{self, PerRow, feature, feature_mut, pack};
use foresee_nn::cpu::{self, PANEL_ROWS, Scratch, Tape};

use super::SacInputs;
use super::critic_group::CriticGroup;
use crate::panels::{Net, panel_at, panel_at_mut};
use crate::policy::panel::{Sample, gradient};
use crate::sac::panel::{ActorLoss, total};

/// Some panels of batch rows, and the policy's buffers for them. `C` is the number of panels.
#[derive(Clone, Debug)]
pub(super) struct PolicyGroup {
    /// The group's rows in the batch.
    pub(super) rows: Range<usize>,
    /// The policy's passes at observations.
    pub(super) tape: Tape,
    /// Next observations, `[C, O, PANEL_ROWS]`.
    pub(super) next_obs: Vec<f32>,
    /// The critics' inputs: next observations and the actions there, `[C, O + A, PANEL_ROWS]`.
    pub(super) next_critic_inputs: Vec<f32>,
    /// The policy's output (mu, raw) at next observations, `[C, 2A, PANEL_ROWS]`.
    pub(super) output: Vec<f32>,
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
    scratch: Scratch,
}

impl PolicyGroup {
    pub(super) fn new(policy: &Mlp) -> Self {
        Self {
            rows: 0..0,
            tape: Tape::new(policy.layout(), 0),
            next_obs: vec![],
            next_critic_inputs: vec![],
            output: vec![],
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
        self.tape.resize(length);
        let shape = self.tape.layout().shape();
        let [obs, action] = [shape.inputs, shape.outputs / 2];
        self.next_obs.resize(count * obs * PANEL_ROWS, 0.0);
        self.next_critic_inputs.resize(count * (obs + action) * PANEL_ROWS, 0.0);
        self.output.resize(count * 2 * action * PANEL_ROWS, 0.0);
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
    pub(super) fn next_actions(&mut self, inputs: &SacInputs<'_>, policy: Net<'_>) {
        let SacInputs { batch, noise_next: noise, dims: [obs, actions], .. } = *inputs;
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&batch.next_obs[start * obs..end * obs], obs, panel_at_mut(&mut self.next_obs, panel, obs));
        }
        cpu::infer(policy.layout, policy.member(0), &self.next_obs, &mut self.output, &mut self.scratch);
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&noise[start * actions..end * actions], actions, &mut self.noise);
            let (state, action) =
                panel_at_mut(&mut self.next_critic_inputs, panel, obs + actions).split_at_mut(obs * PANEL_ROWS);
            state.copy_from_slice(panel_at(&self.next_obs, panel, obs));
            let output = panel_at(&self.output, panel, 2 * actions);
            let log_prob = feature_mut(&mut self.next_log_prob, panel);
            Sample { spread: inputs.spread, output, noise: &self.noise, action, log_prob, saved: None }.fill();
        }
    }

    /// Samples actions at observations on the tape, and computes their log π. Does nothing if the actor is not updated.
    pub(super) fn current_actions(&mut self, inputs: &SacInputs<'_>, policy: Net<'_>) {
        let SacInputs { batch, noise: Some(noise), dims: [obs, actions], .. } = *inputs else { return };
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&batch.obs[start * obs..end * obs], obs, self.tape.input_mut(panel));
        }
        self.tape.forward(policy.member(0));
        for panel in 0..self.sums.len() {
            let Range { start, end } = self.rows(panel);
            pack(&noise[start * actions..end * actions], actions, &mut self.noise);
            let (output, saved) = self.tape.output_gradient_mut(panel);
            let action = panel_at_mut(&mut self.actions, panel, actions);
            let log_prob = feature_mut(&mut self.log_prob, panel);
            Sample { spread: inputs.spread, output, noise: &self.noise, action, log_prob, saved: Some(saved) }.fill();
        }
    }

    /// Computes the actor's loss and its gradient on the tape, from the gradients on the critics' tapes of this
    /// group.
    pub(super) fn actor<'c>(
        &mut self,
        inputs: &SacInputs<'_>,
        critics: impl Iterator<Item = &'c CriticGroup> + Clone,
        q: &[f32],
        stride: usize,
        policy: &[f32],
    ) {
        let SacInputs { dims: [obs, actions], alpha, .. } = *inputs;
        for panel in 0..self.sums.len() {
            let rows = self.rows(panel);
            let (q, log_prob) = (&q[self.rows.start + panel * PANEL_ROWS..], feature(&self.log_prob, panel));
            let mut loss: PerRow = [0.0; PANEL_ROWS];
            ActorLoss { q, stride, log_prob, alpha, loss: &mut loss }.fill();
            self.sums[panel] = [total(&loss, rows.len()), total(log_prob, rows.len())];
            let grad_action = &mut self.noise;
            grad_action.fill(0.0);
            for critic in critics.clone() {
                let grad_of_critic = &critic.tape.input_gradient(panel)[obs * PANEL_ROWS..];
                grad_action.iter_mut().zip(grad_of_critic).for_each(|(sum, g)| *sum += g);
            }
            let action = panel_at(&self.actions, panel, actions);
            let (_, saved) = self.tape.output_gradient_mut(panel);
            gradient(saved, action, grad_action, &[alpha * inputs.share(); PANEL_ROWS]);
        }
        self.tape.backward(policy);
    }
}
