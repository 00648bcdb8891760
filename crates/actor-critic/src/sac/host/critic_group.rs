//! One critic on the rows of one group.

use std::ops::Range;

use foresee_nn::Mlp;
use foresee_nn::cpu::panels::{self, feature, feature_mut, pack};
use foresee_nn::cpu::{self, PANEL_ROWS, Scratch, Tape};

use super::SacInputs;
use super::policy_group::PolicyGroup;
use crate::panels::{Net, panel_at};
use crate::sac::panel::{ActorLossGradient, CriticTarget, squared_error, total};

/// One critic on the rows of one group, with its tape.
#[derive(Clone, Debug)]
pub(super) struct CriticGroup {
    /// Index of the critic.
    pub(super) critic: usize,
    /// Index of the group.
    pub(super) group: usize,
    /// The critic's passes on the group's rows.
    pub(super) tape: Tape,
    /// Sums over the rows of each panel: (Q − y)², and y.
    pub(super) sums: Vec<[f64; 2]>,
    scratch: Scratch,
}

impl CriticGroup {
    pub(super) fn new(critic: &Mlp) -> Self {
        let tape = Tape::new(critic.layout(), 0);
        Self { critic: 0, group: 0, tape, sums: vec![], scratch: Scratch::default() }
    }

    pub(super) fn fit(&mut self, critic: usize, group: usize, rows: usize) {
        (self.critic, self.group) = (critic, group);
        if self.tape.rows() != rows {
            self.tape.resize(rows);
            self.sums.resize(panels::count(rows), [0.0; 2]);
        }
    }

    /// Computes the target critic's values at next observations and the actions there, `[C, PANEL_ROWS]`.
    pub(super) fn target_values(&mut self, target: Net<'_>, group: &PolicyGroup, q: &mut [f32]) {
        cpu::infer(target.layout, target.member(self.critic), &group.next_critic_inputs, q, &mut self.scratch);
    }

    /// Computes the critic's loss and its gradient on the tape, from the target critics' values.
    pub(super) fn critic_loss(
        &mut self,
        inputs: &SacInputs<'_>,
        group: &PolicyGroup,
        q: &[f32],
        stride: usize,
        critic: &[f32],
    ) {
        let SacInputs { batch, dims: [obs, actions], alpha, discount, .. } = *inputs;
        for panel in 0..self.sums.len() {
            let Range { start, end } = group.rows(panel);
            let (state, action) = self.tape.input_mut(panel).split_at_mut(obs * PANEL_ROWS);
            pack(&batch.obs[start * obs..end * obs], obs, state);
            pack(&batch.action[start * actions..end * actions], actions, action);
        }
        self.tape.forward(critic);
        for panel in 0..self.sums.len() {
            let rows = group.rows(panel);
            let [reward, not_terminated] = &[&batch.reward, &batch.not_terminated].map(|all| {
                let mut padded = [0.0; PANEL_ROWS];
                padded[..rows.len()].copy_from_slice(&all[rows.clone()]);
                padded
            });
            let (log_prob, mut y) = (feature(&group.next_log_prob, panel), [0.0; PANEL_ROWS]);
            let q = &q[rows.start..];
            CriticTarget { q, stride, reward, not_terminated, discount, alpha, log_prob, y: &mut y }.fill();
            let (q, gradient) = self.tape.output_gradient_mut(panel);
            let mut squares = [0.0; PANEL_ROWS];
            squared_error(q, &y, inputs.share(), gradient, &mut squares);
            self.sums[panel] = [total(&squares, rows.len()), total(&y, rows.len())];
        }
        self.tape.backward(critic);
    }

    /// Computes the critic's values at the actor's actions. The tape already holds the observations.
    pub(super) fn values_at_actions(
        &mut self,
        inputs: &SacInputs<'_>,
        group: &PolicyGroup,
        q: &mut [f32],
        critic: &[f32],
    ) {
        let [obs, actions] = inputs.dims;
        for panel in 0..self.sums.len() {
            self.tape.input_mut(panel)[obs * PANEL_ROWS..].copy_from_slice(panel_at(&group.actions, panel, actions));
        }
        self.tape.forward(critic);
        for panel in 0..self.sums.len() {
            *feature_mut(q, panel) = *feature(self.tape.output(panel), 0);
        }
    }

    /// Computes the gradient of the actor's loss with respect to this critic's inputs, on the tape.
    pub(super) fn input_gradients(
        &mut self,
        inputs: &SacInputs<'_>,
        group: &PolicyGroup,
        q: &[f32],
        stride: usize,
        critic: &[f32],
    ) {
        for panel in 0..self.sums.len() {
            let q = &q[group.rows(panel).start..];
            let gradient = feature_mut(self.tape.output_gradient_mut(panel).1, 0);
            ActorLossGradient { q, stride, critic: self.critic, scale: inputs.share(), gradient }.fill();
        }
        self.tape.backward_to_input(critic);
    }
}
