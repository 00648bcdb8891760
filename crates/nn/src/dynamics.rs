//! What an agent may ask of a world model: one imagined step under given actions and draws.
//!
//! The trait stands here so that the agent and the world model need not know each other: a run joins a model, and the
//! task's rule of when an episode ends, to one [`Dynamics`], and hands it to the agent's update.

use burn::tensor::Tensor;

/// The random draws of one imagined step, `B` rows.
#[derive(Clone, Debug)]
pub struct StepDraws {
    /// 32 random bits a row, `[B]`: which of several networks imagines.
    pub words: Vec<u32>,
    /// Standard normals `[B, W]`, `W` columns as [`Dynamics::noise_width`] says: the noise of the prediction.
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
}
