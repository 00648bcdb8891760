//! What an update leaves to look at.

use burn::tensor::Tensor;
use foresee_nn::tensors;

/// Losses of one update, before its steps. Nothing is read back from a device until asked.
#[derive(Clone, Debug)]
pub struct UpdateMetrics(Source);

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would take memory at every update")]
enum Source {
    Host {
        critic_loss: f64,
        target_mean: f64,
        actor: Option<[f64; 2]>,
    },
    Device {
        critic_loss: Tensor<1>,
        target_mean: Tensor<1>,
        actor: Option<[Tensor<1>; 2]>,
    },
    /// `[4]`: critic loss, target mean, and if the actor was updated its loss and the mean entropy.
    #[cfg(feature = "wgpu")]
    Means {
        all: Tensor<1>,
        actor: bool,
    },
}

impl UpdateMetrics {
    pub(super) fn host(critic_loss: f64, target_mean: f64, actor: Option<[f64; 2]>) -> Self {
        Self(Source::Host { critic_loss, target_mean, actor })
    }

    pub(super) fn device(critic_loss: Tensor<1>, target_mean: Tensor<1>, actor: Option<[Tensor<1>; 2]>) -> Self {
        Self(Source::Device { critic_loss, target_mean, actor })
    }

    #[cfg(feature = "wgpu")]
    pub(super) fn means(all: Tensor<1>, actor: bool) -> Self {
        Self(Source::Means { all, actor })
    }

    /// Sum of all critics' losses.
    #[must_use]
    pub fn critic_loss(&self) -> f64 {
        match &self.0 {
            Source::Host { critic_loss, .. } => *critic_loss,
            Source::Device { critic_loss, .. } => number(critic_loss),
            #[cfg(feature = "wgpu")]
            Source::Means { all, .. } => entry(all, 0),
        }
    }

    /// Mean of the targets y.
    #[must_use]
    pub fn target_mean(&self) -> f64 {
        match &self.0 {
            Source::Host { target_mean, .. } => *target_mean,
            Source::Device { target_mean, .. } => number(target_mean),
            #[cfg(feature = "wgpu")]
            Source::Means { all, .. } => entry(all, 1),
        }
    }

    /// The actor's loss and the mean entropy, nats; absent where the actor was not updated.
    #[must_use]
    pub fn actor(&self) -> Option<[f64; 2]> {
        match &self.0 {
            Source::Host { actor, .. } => *actor,
            Source::Device { actor, .. } => actor.as_ref().map(|both| both.each_ref().map(number)),
            #[cfg(feature = "wgpu")]
            Source::Means { all, actor } => actor.then(|| [2, 3].map(|i| entry(all, i))),
        }
    }
}

fn number(tensor: &Tensor<1>) -> f64 {
    f64::from(tensors::to_f32(tensor.clone()))
}

#[cfg(feature = "wgpu")]
fn entry(tensor: &Tensor<1>, i: usize) -> f64 {
    f64::from(tensors::to_vec(tensor.clone())[i])
}
