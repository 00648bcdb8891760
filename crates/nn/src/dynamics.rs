//! What an agent may ask of a world model: one imagined step under given actions and draws.
//!
//! The trait stands here so that the agent and the world model need not know each other: a run joins a model, and the
//! task's rule of when an episode ends, to one [`Dynamics`], and hands it to the agent's update.

use burn::tensor::Tensor;

use crate::cpu::{LANES, Tape};

/// The random draws of one imagined step, `B` rows.
#[derive(Clone, Debug)]
pub struct StepDraws {
    /// 32 random bits a row, `[B]`: which of several networks imagines.
    pub words: Vec<u32>,
    /// Standard normals `[B, W]`, `W` columns as [`Dynamics::noise_width`] says: the noise of the prediction, that of the
    /// reward last. A column of zeros takes its part of the noise away.
    pub noise: Tensor<2>,
}

/// One imagined step of `B` rows.
#[derive(Clone, Debug)]
pub struct ImaginedStep {
    /// Next observations, `[B, O]`.
    pub next_obs: Tensor<2>,
    /// Rewards, `[B]`, in the task's own unit.
    pub reward: Tensor<1>,
    /// 1 where the episode goes on and 0 where it ends at `next_obs`, `[B]`; a constant to autodiff.
    pub not_terminated: Tensor<1>,
}

/// A model of a task in which an agent can imagine.
pub trait Dynamics {
    /// Columns of the noise that a step draws, `W`; 0 where predictions have none.
    fn noise_width(&self) -> usize;

    /// One step from observations `[B, O]` under actions `[B, A]`, differentiable in both where they are tracked. The
    /// model's parameters are constants.
    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ImaginedStep;

    /// The same step on panels of rows in host memory, forward and back, where there is that form. All rows of a panel are
    /// then imagined by the network of one word.
    fn on_panels(&self) -> Option<Box<dyn PanelDynamics + '_>> {
        None
    }
}

/// One number a row of a panel.
pub type Lanes = [f32; LANES];

/// One imagined step of a panel of rows: what it gives, and what its way back needs. Panels are `[features][LANES]`
/// ([`crate::cpu::panels`]).
#[derive(Clone, Debug)]
pub struct PanelStep {
    /// The network's pass.
    pub tape: Tape,
    /// Which of several networks imagined.
    pub member: usize,
    /// Next observations, `[O]`.
    pub next_obs: Vec<f32>,
    /// Rewards, in the task's own unit.
    pub reward: Lanes,
    /// 1 where the episode goes on and 0 where it ends at `next_obs`.
    pub not_terminated: Lanes,
    /// Whatever else the way back needs.
    pub kept: Vec<f32>,
}

/// [`Dynamics`] on panels of rows in host memory.
pub trait PanelDynamics: Sync {
    /// Room for one step.
    fn room(&self) -> PanelStep;

    /// Steps from observations `[O]` under actions `[A]`. `word` chooses the network, as [`StepDraws::words`] does;
    /// `noise` is `[W]`. Every lane must be finite; `rows` of them are in use.
    fn step(&self, rows: usize, word: u32, obs: &[f32], action: &[f32], noise: &[f32], step: &mut PanelStep);

    /// From the loss's gradient at the next observations `[O]` and rewards to those at observations `[O]` and actions
    /// `[A]`, which are written. The step's tape is used up.
    fn back(&self, step: &mut PanelStep, by_next: &[f32], by_reward: &Lanes, by_obs: &mut [f32], by_action: &mut [f32]);
}
