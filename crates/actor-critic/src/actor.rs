//! Actors: maps from observations to actions.

use burn::tensor::{Device, Tensor};
use foresee_nn::tensors;

use crate::policy::Policy;

/// A map from observations to actions in [-1, 1].
pub trait Actor: Send + Sync {
    /// Entries of an action, `A`.
    fn action_dim(&self) -> usize;

    /// Returns exploring actions `[B, A]` at states `[B, O]`, from standard normals `[B, A]`; differentiable in the
    /// states.
    fn sample(&self, obs: Tensor<2>, noise: Tensor<2>) -> Tensor<2>;

    /// Returns the actions used in evaluation, `[B, O] -> [B, A]`; differentiable in the states.
    fn mean(&self, obs: Tensor<2>) -> Tensor<2>;

    /// Returns actions `[N, A]` at `N` = `rows` observations `[N, O]` in host memory: [sampled](Actor::sample) from
    /// standard normals `[N, A]` if `noise` is given, else the [evaluation](Actor::mean) actions. An actor may override
    /// this with a faster form.
    ///
    /// # Panics
    /// If `obs` or `noise` does not hold `N` rows.
    #[track_caller]
    fn act(&self, obs: &[f32], rows: usize, noise: Option<&[f32]>, device: &Device) -> Vec<f32> {
        by_tensors(self, obs, rows, noise, device)
    }

    /// The squashed Gaussian policy of this actor. If there is one, fused rollouts and value gradients use it
    /// directly, without [`Actor::sample`] and [`Actor::mean`]. An actor that modifies its policy's actions returns `None`.
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
        if foresee_nn::cube::is_cube(device) && self.net.is_fused() && self.has_kernel_form() {
            return crate::policy::device::act(self, obs, rows, noise, device);
        }
        by_tensors(self, obs, rows, noise, device)
    }

    fn policy(&self) -> Option<&Policy> {
        Some(self)
    }
}

/// Computes [`Actor::act`] in tensor operations, for any actor on any device: the specification of the faster forms.
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
