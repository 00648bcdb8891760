//! One imagined step of the ensemble on panels of rows in host memory, forward, and backward to observations and
//! actions.
//!
//! Forward, with x = (s, a) normalised, (mean, raw) = net(x), lv = clamp(raw) and noise ε:
//!
//! (s' − s, r) = mean + exp(lv / 2) ε, or (s', r) on the left side if the model predicts s' itself.
//!
//! Backward, with g the loss's gradient with respect to (s', r):
//!
//! * ∂L/∂mean = g
//! * ∂L/∂raw = g ε exp(lv / 2) / 2 · ∂lv/∂raw
//! * ∂L/∂x by the network's backward pass
//! * ∂L/∂s = g over the state + ∂L/∂x / std, without g if the model predicts s'
//! * ∂L/∂a = ∂L/∂x / std
//!
//! [`Ensemble::step`] is the specification; `tests/step.rs` compares both.

use foresee_core::stream::below;
use foresee_nn::cpu::panels::PerRow;
use foresee_nn::cpu::simd::{self, Simd, Task};
use foresee_nn::cpu::{PANEL_ROWS, Tape, math};
use foresee_nn::host::HostTensor;
use foresee_nn::{PanelDynamics, PanelStep, Parameters};

use crate::config::Predicted;
use crate::ensemble::Ensemble;
use crate::loss::panel::softplus_and_slope;

/// An ensemble with its parameters and bounds as arrays in host memory.
#[derive(Debug)]
pub struct EnsemblePanels<'a> {
    ensemble: &'a Ensemble,
    /// The parameters of all members, `[E, P]`.
    weights: HostTensor,
    /// Bounds of the log-variance, low then high, `[2 (O + 1)]`, if the head has a variance.
    bounds: Option<HostTensor>,
}

impl<'a> EnsemblePanels<'a> {
    /// Returns the panel form of an ensemble in host memory.
    #[must_use]
    pub fn new(ensemble: &'a Ensemble) -> Self {
        let weights = HostTensor::of(ensemble.net.slot().get().clone());
        let bounds = ensemble.bounds.as_ref().map(|bounds| HostTensor::of(bounds.slot().get().clone()));
        Self { ensemble, weights, bounds }
    }

    fn member(&self, member: usize) -> &[f32] {
        self.ensemble.net.layout().member(self.weights.get(), member)
    }
}

impl PanelDynamics for EnsemblePanels<'_> {
    fn new_step(&self) -> PanelStep {
        let (obs, channels) = (self.ensemble.obs_dim(), self.ensemble.obs_dim() + 1);
        PanelStep {
            tape: Tape::new(self.ensemble.net.layout(), PANEL_ROWS),
            member: 0,
            next_obs: vec![0.0; obs * PANEL_ROWS],
            reward: [0.0; PANEL_ROWS],
            not_terminated: [1.0; PANEL_ROWS],
            saved: vec![0.0; if self.bounds.is_some() { channels * PANEL_ROWS } else { 0 }],
        }
    }

    fn step(&self, rows: usize, word: u32, obs: &[f32], action: &[f32], noise: &[f32], step: &mut PanelStep) {
        let elites = &self.ensemble.elites;
        step.member = elites[below(word, elites.len())];
        step.tape.resize(rows);
        self.ensemble.normalizer.apply_panel([obs, action], step.tape.input_mut(0));
        step.tape.forward(self.member(step.member));
        simd::dispatch(StepOutput { bounds: self.bounds.as_ref().map(HostTensor::get), noise, step });
        if self.ensemble.predicted() == Predicted::Change {
            step.next_obs.iter_mut().zip(obs).for_each(|(change, x)| *change += x);
        }
    }

    fn backward(
        &self,
        step: &mut PanelStep,
        grad_next_obs: &[f32],
        grad_reward: &PerRow,
        grad_obs: &mut [f32],
        grad_action: &mut [f32],
    ) {
        let PanelStep { tape, member, saved, .. } = step;
        let obs = grad_next_obs.len();
        let (_, gradient) = tape.output_gradient_mut(0);
        gradient[..obs].copy_from_slice(grad_next_obs);
        gradient[obs..obs + PANEL_ROWS].copy_from_slice(grad_reward);
        if !saved.is_empty() {
            let (grad_mean, grad_raw) = gradient.split_at_mut(obs + PANEL_ROWS);
            for ((grad_raw, grad_mean), saved) in grad_raw.iter_mut().zip(grad_mean).zip(saved) {
                *grad_raw = *grad_mean * *saved;
            }
        }
        tape.backward_to_input(self.member(*member));
        let [_, stds] = self.ensemble.normalizer.moments();
        let (input_grad_obs, input_grad_action) = tape.input_gradient(0).split_at(obs);
        let scaled = |to: &mut [f32], from: &[f32], std: f32| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from / std);
        };
        match self.ensemble.predicted() {
            Predicted::Change => grad_obs.copy_from_slice(grad_next_obs),
            Predicted::NextObs => grad_obs.fill(0.0),
        }
        grad_action.fill(0.0);
        let columns = grad_obs.chunks_exact_mut(PANEL_ROWS).chain(grad_action.chunks_exact_mut(PANEL_ROWS));
        let gradients = input_grad_obs.chunks_exact(PANEL_ROWS).chain(input_grad_action.chunks_exact(PANEL_ROWS));
        for ((to, from), &std) in columns.zip(gradients).zip(stds) {
            scaled(to, from, std);
        }
    }
}

/// The step from the network's output to the predicted observation part and the reward. It also stores ∂/∂raw of every
/// channel in `saved` for the backward pass.
struct StepOutput<'a> {
    bounds: Option<&'a [f32]>,
    noise: &'a [f32],
    step: &'a mut PanelStep,
}

impl Task for StepOutput<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { bounds, noise, step: PanelStep { tape, next_obs, reward, saved, .. } } = self;
        let output = tape.output(0);
        let channels = next_obs.len() / PANEL_ROWS + 1;
        for c in 0..channels {
            let mean = &output[c * PANEL_ROWS..][..PANEL_ROWS];
            let mut change = [0.0; PANEL_ROWS];
            change.copy_from_slice(mean);
            if let Some(bounds) = bounds {
                let (low, high) = (bounds[c], bounds[channels + c]);
                let raw = &output[(channels + c) * PANEL_ROWS..][..PANEL_ROWS];
                let (noise, saved) =
                    (&noise[c * PANEL_ROWS..][..PANEL_ROWS], &mut saved[c * PANEL_ROWS..][..PANEL_ROWS]);
                for j in 0..PANEL_ROWS {
                    let (from_high, of_high) = softplus_and_slope::<S>(high - raw[j]);
                    let (above_low, of_low) = softplus_and_slope::<S>(high - from_high - low);
                    let spread = math::exp::<S>(0.5 * (low + above_low)) * noise[j];
                    change[j] += spread;
                    saved[j] = 0.5 * spread * of_high * of_low;
                }
            }
            let to = if c + 1 == channels { &mut reward[..] } else { &mut next_obs[c * PANEL_ROWS..][..PANEL_ROWS] };
            to.copy_from_slice(&change);
        }
    }
}
