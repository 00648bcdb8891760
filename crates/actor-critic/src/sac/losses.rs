//! The losses and estimates of an update, reported as metrics.

use burn::tensor::Tensor;
use foresee_nn::tensors;

/// Losses of one update, computed before its optimiser steps. They stay on the device until [`SacLosses::read`].
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would take memory at every update")]
pub(super) enum SacLosses {
    Host {
        critic_loss: f64,
        target_mean: f64,
        /// The actor's loss and the mean entropy, nats; `None` if the actor was not updated.
        actor: Option<[f64; 2]>,
    },
    Tensors {
        critic_loss: Tensor<1>,
        target_mean: Tensor<1>,
        actor: Option<[Tensor<1>; 2]>,
    },
    /// `[4]`: critic loss, mean target, and, if the actor was updated, its loss and the mean entropy.
    #[cfg(feature = "wgpu")]
    Means {
        all: Tensor<1>,
        actor: bool,
    },
}

impl SacLosses {
    /// Losses of a batch without rows.
    pub(super) const NONE: Self = Self::Host { critic_loss: 0.0, target_mean: 0.0, actor: None };

    /// Returns the sum of all critics' losses, the mean of the targets y, and α; and, if the actor was updated, its
    /// loss and the mean entropy. `temperature` is α, `[1]`. The device is read once.
    pub(super) fn read(&self, temperature: Tensor<1>) -> ([f64; 3], Option<[f64; 2]>) {
        let read = |mut all: Vec<Tensor<1>>| {
            all.push(temperature.clone());
            tensors::to_vec(Tensor::cat(all, 0)).into_iter().map(f64::from).collect::<Vec<_>>()
        };
        match self {
            Self::Host { critic_loss, target_mean, actor } => {
                ([*critic_loss, *target_mean, f64::from(tensors::to_f32(temperature))], *actor)
            }
            Self::Tensors { critic_loss, target_mean, actor } => {
                let mut all = vec![critic_loss.clone(), target_mean.clone()];
                all.extend(actor.iter().flatten().cloned());
                let all = read(all);
                ([all[0], all[1], all[all.len() - 1]], actor.as_ref().map(|_| [all[2], all[3]]))
            }
            #[cfg(feature = "wgpu")]
            Self::Means { all, actor } => {
                let all = read(vec![all.clone()]);
                ([all[0], all[1], all[4]], actor.then(|| [all[2], all[3]]))
            }
        }
    }
}
