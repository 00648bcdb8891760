//! Actors: maps from observations to actions.

use burn::tensor::Tensor;

use crate::policy::Policy;

/// A map from observations to actions in [-1, 1].
pub trait Actor: Send + Sync {
    /// Entries of an action, `A`.
    fn action_dim(&self) -> usize;

    /// Exploring actions `[B, A]` at states `[B, O]` from standard normals `[B, A]`; differentiable in the states.
    fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Tensor<2>;

    /// The action that is evaluated, `[B, O] -> [B, A]`; differentiable in the states.
    fn mean(&self, obs: Tensor<2>) -> Tensor<2>;

    /// The squashed Gaussian behind it: opens the fused rollouts and value gradients, which sample it without
    /// [`Actor::sample`]. An actor that changes its actions returns `None`.
    fn policy(&self) -> Option<&Policy> {
        None
    }
}

impl Actor for Policy {
    fn action_dim(&self) -> usize {
        Self::action_dim(self)
    }

    fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Tensor<2> {
        Self::sample(self, obs, noise).action
    }

    fn mean(&self, obs: Tensor<2>) -> Tensor<2> {
        self.mean_action(obs)
    }

    fn policy(&self) -> Option<&Policy> {
        Some(self)
    }
}
