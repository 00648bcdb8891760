//! Actors: maps from observations to actions.

use burn::tensor::{Device, Tensor};
use foresee_nn::tensors;

use crate::policy::Policy;

/// A map from observations to actions in [-1, 1].
pub trait Actor: Send + Sync {
    /// Entries of an action, `A`.
    fn action_dim(&self) -> usize;

    /// Exploring actions `[B, A]` at states `[B, O]` from standard normals `[B, A]`; differentiable in the states.
    fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Tensor<2>;

    /// The action that is evaluated, `[B, O] -> [B, A]`; differentiable in the states.
    fn mean(&self, obs: Tensor<2>) -> Tensor<2>;

    /// Actions `[N, A]` at `rows` = `N` observations `[N, O]` of the host: [sampled](Actor::sample) ones from standard normals
    /// `[N, A]`, or without them the [evaluated](Actor::mean) ones. An actor may compute them in fewer steps.
    ///
    /// # Panics
    /// If the numbers do not fill their rows.
    #[track_caller]
    fn act(&self, obs: &[f32], rows: usize, noise: Option<&[f32]>, device: &Device) -> Vec<f32> {
        by_tensors(self, obs, rows, noise, device)
    }

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

    #[cfg(feature = "wgpu")]
    fn act(&self, obs: &[f32], rows: usize, noise: Option<&[f32]>, device: &Device) -> Vec<f32> {
        if foresee_nn::cube::is_cube(device) && self.net.is_fused() && self.is_plain() {
            return crate::policy::device::act(self, obs, rows, noise, device);
        }
        by_tensors(self, obs, rows, noise, device)
    }

    fn policy(&self) -> Option<&Policy> {
        Some(self)
    }
}

/// [`Actor::act`] in tensor operations, of any actor on any device: the specification.
#[track_caller]
pub fn by_tensors(
    actor: &(impl Actor + ?Sized),
    obs: &[f32],
    rows: usize,
    noise: Option<&[f32]>,
    device: &Device,
) -> Vec<f32> {
    let send = |all: &[f32], columns| tensors::from_vec(all.to_vec(), [rows, columns], device);
    let obs = send(obs, obs.len() / rows.max(1));
    tensors::to_vec(match noise {
        Some(noise) => actor.sample(obs, send(noise, actor.action_dim())),
        None => actor.mean(obs),
    })
}
