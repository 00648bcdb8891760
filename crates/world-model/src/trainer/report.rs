//! What gradient steps and training calls have to say.

use burn::tensor::Tensor;
use foresee_nn::tensors;
use thiserror::Error;

/// The training loss of one gradient step, summed over members. It is not read back from a device until asked.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would take memory at every step")]
pub enum TrainLoss {
    /// Where memory is the host's.
    Host(f64),
    /// Elsewhere, `[1]`.
    Device(Tensor<1>),
}

impl TrainLoss {
    /// The number.
    #[must_use]
    pub fn read(self) -> f64 {
        match self {
            Self::Host(loss) => loss,
            Self::Device(loss) => f64::from(tensors::to_f32(loss)),
        }
    }
}

/// A fit that came to nothing.
#[derive(Debug, Error)]
#[error(
    "model training diverged: after {steps} gradient steps too few members have finite weights to fill the elites\nhint: lower `model.fit.lr`"
)]
pub struct Diverged {
    /// Gradient steps taken.
    pub steps: u64,
}

/// What a finished fit has to say.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Gradient steps taken.
    pub steps: u64,
    /// Epochs begun.
    pub epochs: u32,
    /// Training loss of the last gradient step, summed over members.
    pub train_loss: f64,
    /// Best holdout score, the loss's own, mean over elites.
    pub holdout_score: f64,
    /// Squared error of the kept weights on the holdout, mean over elites: comparable across losses.
    pub holdout_mse: f64,
    /// Mean norm of the clipped value gradients, where the loss uses them.
    pub value_gradient_norm: Option<f64>,
}
