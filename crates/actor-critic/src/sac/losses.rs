//! The losses and estimates of an update, for the metrics.

use burn::tensor::Tensor;
use foresee_nn::tensors;

/// Losses of one update, before its steps. Nothing is read back from a device until asked.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would take memory at every update")]
pub(super) enum Losses {
    Host {
        critic_loss: f64,
        target_mean: f64,
        /// The actor's loss and the mean entropy, nats; absent where the actor was not updated.
        actor: Option<[f64; 2]>,
    },
    Tensors {
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

impl Losses {
    /// Of a batch without rows.
    pub(super) const NONE: Self = Self::Host { critic_loss: 0.0, target_mean: 0.0, actor: None };

    /// Sum of all critics' losses, mean of the targets y, and if the actor was updated its loss and the mean entropy.
    pub(super) fn read(&self) -> (f64, f64, Option<[f64; 2]>) {
        match self {
            Self::Host { critic_loss, target_mean, actor } => (*critic_loss, *target_mean, *actor),
            Self::Tensors { critic_loss, target_mean, actor } => {
                let actor = actor.as_ref().map(|both| both.each_ref().map(number));
                (number(critic_loss), number(target_mean), actor)
            }
            #[cfg(feature = "wgpu")]
            Self::Means { all, actor } => {
                let all = tensors::to_vec(all.clone());
                let entry = |i: usize| f64::from(all[i]);
                (entry(0), entry(1), actor.then(|| [2, 3].map(entry)))
            }
        }
    }
}

fn number(tensor: &Tensor<1>) -> f64 {
    f64::from(tensors::to_f32(tensor.clone()))
}
