//! A world model as an agent sees it: one imagined step under given actions and draws.
//!
//! The trait is defined in this crate so that the agent and the world model do not depend on each other. A run combines
//! a model and the task's termination rule into one [`Dynamics`], and passes it to the agent's update.

use burn::tensor::Tensor;

use crate::cpu::Tape;
use crate::cpu::panels::PerRow;

/// The random draws of one imagined step, `B` rows.
#[derive(Clone, Debug)]
pub struct StepDraws {
    /// 32 random bits per row, `[B]`, which select the network that predicts the row.
    pub words: Vec<u32>,
    /// Standard normals `[B, W]` for the noise of the prediction, where `W` is [`Dynamics::noise_width`]. The reward's
    /// column is the last. A column of zeros removes its part of the noise.
    pub noise: Tensor<2>,
}

/// The result of one imagined step of `B` rows.
#[derive(Clone, Debug)]
pub struct ImaginedStep {
    /// Next observations, `[B, O]`.
    pub next_obs: Tensor<2>,
    /// Rewards, `[B]`, in the task's own unit.
    pub reward: Tensor<1>,
    /// 0 where the episode terminates at `next_obs` and 1 elsewhere, `[B]`; a constant to autodiff.
    pub not_terminated: Tensor<1>,
}

/// A model of a task, in which an agent can imagine steps.
pub trait Dynamics {
    /// Number of noise columns that a step draws, `W`; 0 if predictions have no noise.
    fn noise_width(&self) -> usize;

    /// Imagines one step from observations `[B, O]` under actions `[B, A]`, differentiable in both if they are tracked.
    /// The model's parameters are constants.
    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ImaginedStep;

    /// The form of [`Dynamics::step`] for panels of rows in host memory, with a backward pass, if the model has one. In
    /// that form, one word selects the network for all rows of a panel.
    fn on_panels(&self) -> Option<Box<dyn PanelDynamics + '_>> {
        None
    }
}

/// The result of one imagined step of a panel of rows, and the data that its backward pass needs. Panels are
/// `[features][PANEL_ROWS]` ([`crate::cpu::panels`]).
#[derive(Clone, Debug)]
pub struct PanelStep {
    /// The forward pass of the network.
    pub tape: Tape,
    /// Index of the network that predicted the panel.
    pub member: usize,
    /// Next observations, `[O]`.
    pub next_obs: Vec<f32>,
    /// Rewards, in the task's own unit.
    pub reward: PerRow,
    /// 0 where the episode terminates at `next_obs` and 1 elsewhere.
    pub not_terminated: PerRow,
    /// Further data that the backward pass needs.
    pub saved: Vec<f32>,
}

/// [`Dynamics`] on panels of rows in host memory.
pub trait PanelDynamics: Sync {
    /// Allocates the buffers for one step.
    fn new_step(&self) -> PanelStep;

    /// Imagines one step from observations `[O]` under actions `[A]`. `word` selects the network, as
    /// [`StepDraws::words`] does; `noise` is `[W]`. The first `rows` rows of the panel are in use, but all of them must
    /// be finite.
    fn step(&self, rows: usize, word: u32, obs: &[f32], action: &[f32], noise: &[f32], step: &mut PanelStep);

    /// Computes the loss's gradient at the observations, `[O]`, and at the actions, `[A]`, from its gradient at the
    /// next observations, `[O]`, and rewards. It overwrites the step's tape, so a step has one backward pass.
    fn backward(
        &self,
        step: &mut PanelStep,
        grad_next_obs: &[f32],
        grad_reward: &PerRow,
        grad_obs: &mut [f32],
        grad_action: &mut [f32],
    );
}
