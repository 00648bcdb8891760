//! The outcome of gradient steps and training calls.

use burn::tensor::Tensor;
use foresee_nn::tensors;
use thiserror::Error;

use super::{Fit, ROWS_AT_ONCE, Trainer};

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

/// A fit that diverged.
#[derive(Debug, Error)]
#[error(
    "model training diverged: after {steps} gradient steps too few members have finite weights to fill the elites\nhint: lower `model.fit.lr`"
)]
pub struct Diverged {
    /// Gradient steps taken.
    pub steps: u64,
}

/// The outcome of a finished training call.
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
    /// Squared error of the kept weights on the holdout, mean over channels, rows and elites: comparable across losses. Where
    /// targets are normalised it is in units of their variances, so that 1 is the error of a constant.
    pub holdout_mse: f64,
    /// Numbers that the loss reports about the call, by metric name ([`ModelLoss::diagnostics`](crate::ModelLoss)).
    pub diagnostics: Vec<(&'static str, f64)>,
    /// Every channel's mean squared error on the holdout, `[O + 1]`, mean over elites; empty where it was not asked for.
    pub holdout_mse_by_channel: Vec<f64>,
}

impl Trainer {
    /// Every channel's mean squared error on a fit's holdout, `[O + 1]`, mean over elites. After the fit's report their mean
    /// is its `holdout_mse`.
    #[must_use]
    pub fn holdout_mse_by_channel(&self, fit: &Fit) -> Vec<f64> {
        let (holdout, elites) = (&fit.data.split.holdout, &self.ensemble.elites);
        let channels = self.ensemble.obs_dim() + 1;
        let mut sums = vec![0.0; channels];
        for start in (0..holdout.len()).step_by(ROWS_AT_ONCE) {
            let part = start..holdout.len().min(start + ROWS_AT_ONCE);
            let (inputs, target) = fit.data.of_holdout(part, &self.device);
            let errors = tensors::to_vec((self.ensemble.predict(inputs).mean - target).square().sum_dim(1));
            for &elite in elites {
                let of_elite = &errors[elite * channels..(elite + 1) * channels];
                sums.iter_mut().zip(of_elite).for_each(|(sum, &error)| *sum += f64::from(error));
            }
        }
        let count = (holdout.len() * elites.len()) as f64;
        sums.into_iter().map(|sum| sum / count).collect()
    }
}
