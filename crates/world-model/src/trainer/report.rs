//! The results of gradient steps and training calls.

use burn::tensor::Tensor;
use foresee_nn::tensors;
use thiserror::Error;

use super::{HOLDOUT_ROWS_PER_PASS, Trainer};
use crate::fit_data::FitData;

/// The training loss of one gradient step, summed over members. It is read back from a device only by
/// [`TrainLoss::read`].
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would take memory at every step")]
pub enum TrainLoss {
    /// The loss of a step in host memory.
    Host(f64),
    /// The loss of a step in tensor operations, `[1]`.
    Device(Tensor<1>),
}

impl TrainLoss {
    /// Returns the number.
    #[must_use]
    pub fn read(self) -> f64 {
        match self {
            Self::Host(loss) => loss,
            Self::Device(loss) => f64::from(tensors::to_f32(loss)),
        }
    }
}

/// The error of a fit that diverged.
#[derive(Debug, Error)]
#[error(
    "model training diverged: after {steps} gradient steps fewer members than `model.ensemble.elites` have finite weights\nhint: lower `model.fit.lr`"
)]
pub struct Diverged {
    /// Number of gradient steps taken.
    pub steps: u64,
}

/// The prediction error of one channel on the holdout, mean over rows and elites. If targets are normalised, it is in
/// units of the targets' variances; ratios do not depend on the units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelError {
    /// Mean squared error.
    pub mse: f64,
    /// Variance of the channel's targets over the holdout: the error of the best constant prediction.
    pub variance: f64,
    /// Mean square of the change of the observation entry: the error of a forecast without any change. For the reward:
    /// its mean square.
    pub no_change_mse: f64,
}

impl ChannelError {
    /// Returns 1 − mse / variance: 1 for a perfect prediction, 0 for one that is no better than a constant. `None` for
    /// a channel that does not vary.
    #[must_use]
    pub fn explained_variance(&self) -> Option<f64> {
        (self.variance > 0.0).then(|| 1.0 - self.mse / self.variance)
    }

    /// Returns mse / no_change_mse: 0 for a perfect prediction, 1 for one that is no better than the forecast without
    /// any change. `None` for a channel that never changes.
    #[must_use]
    pub fn relative_to_no_change(&self) -> Option<f64> {
        (self.no_change_mse > 0.0).then(|| self.mse / self.no_change_mse)
    }
}

/// The result of a finished training call.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Number of gradient steps taken.
    pub steps: u64,
    /// Number of epochs begun.
    pub epochs: u32,
    /// Training loss of the last gradient step, summed over members.
    pub train_loss: f64,
    /// Best holdout score by the loss's own scoring, mean over elites.
    pub holdout_score: f64,
    /// Squared error of the kept weights on the holdout, mean over channels, rows and elites. It is comparable across
    /// losses. If targets are normalised, it is in units of their variances, so 1 is the error of a constant.
    pub holdout_mse: f64,
    /// Numbers that the loss reports about the call, by metric name ([`ModelLoss::diagnostics`](crate::ModelLoss)).
    pub diagnostics: Vec<(&'static str, f64)>,
    /// The errors of all channels on the holdout, `[O + 1]`, the reward last. Empty if a model does not report them.
    pub channels: Vec<ChannelError>,
}

/// Computes the score Σ_c ½ (t − m)² / v + ½ ln v of every row, `[N]`, under the mixture of the members (4kubo/erl_lib
/// @ 024b0b5).
///
/// m is the mean of the members' means `[E, N, C]`. v is the variance of these means (ddof 1) plus the exponential of
/// the mean log-variance `[E, N, C]`. Targets t are `[1, N, C]`.
#[must_use]
pub(super) fn mixture_scores(mean: Tensor<3>, logvar: Tensor<3>, target: Tensor<3>) -> Vec<f64> {
    let members = mean.dims()[0];
    let centre = mean.clone().mean_dim(0);
    let spread = (mean - centre.clone()).square().sum_dim(0).div_scalar((members.max(2) - 1) as f32);
    let variance = spread + logvar.mean_dim(0).exp();
    let score = (target - centre).square() / variance.clone() + variance.log();
    tensors::to_vec(score.mul_scalar(0.5).sum_dim(2)).into_iter().map(f64::from).collect()
}

/// Returns a difference of numbers of size `scale`, or 0 if it is no larger than rounding errors.
fn above_rounding(difference: f64, scale: f64) -> f64 {
    if difference > 1e-12 * scale { difference } else { 0.0 }
}

impl Trainer {
    /// Computes the [`mixture_scores`] of a fit's holdout.
    pub(super) fn row_scores(&self, data: &FitData) -> Vec<f64> {
        let holdout = data.split.holdout.len();
        let part = |start: usize| {
            let (inputs, target) = data.holdout_batch(start..holdout.min(start + HOLDOUT_ROWS_PER_PASS), &self.device);
            let prediction = self.ensemble.predict(inputs);
            mixture_scores(prediction.mean, prediction.logvar.expect("a head with a variance"), target)
        };
        (0..holdout).step_by(HOLDOUT_ROWS_PER_PASS).flat_map(part).collect()
    }

    /// Computes the errors of all channels on a fit's holdout, `[O + 1]`, mean over elites.
    pub(super) fn channel_errors(&self, data: &FitData) -> Vec<ChannelError> {
        let (holdout, elites) = (&data.split.holdout, &self.ensemble.elites);
        let channels = self.ensemble.obs_dim() + 1;
        // Sums of squared errors, of targets, and of squared targets.
        let mut sums = vec![[0.0_f64; 3]; channels];
        for start in (0..holdout.len()).step_by(HOLDOUT_ROWS_PER_PASS) {
            let part = start..holdout.len().min(start + HOLDOUT_ROWS_PER_PASS);
            let (inputs, target) = data.holdout_batch(part, &self.device);
            for row in tensors::to_vec(target.clone()).chunks_exact(channels) {
                for (sums, &target) in sums.iter_mut().zip(row) {
                    sums[1] += f64::from(target);
                    sums[2] += f64::from(target).powi(2);
                }
            }
            let errors = tensors::to_vec((self.ensemble.predict(inputs).mean - target).square().sum_dim(1));
            for &elite in elites {
                let of_elite = &errors[elite * channels..(elite + 1) * channels];
                sums.iter_mut().zip(of_elite).for_each(|(sums, &error)| sums[0] += f64::from(error));
            }
        }
        let rows = holdout.len() as f64;
        let of_channel = |(channel, [error, sum, square]): (usize, [f64; 3])| {
            let (mean, square) = (sum / rows, square / rows);
            ChannelError {
                mse: error / (rows * elites.len() as f64),
                variance: above_rounding(square - mean * mean, square),
                no_change_mse: data.no_change_mse[channel],
            }
        };
        sums.into_iter().enumerate().map(of_channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_rows_score_under_the_mixture_is_that_of_the_published_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/fixtures/agents.json");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the fixtures")).expect("JSON");
        let (nets, entry) = (&file["entries"]["nets"]["inputs"], &file["entries"]["model_eval_score"]);
        let numbers = |value: &Value| -> Vec<f64> {
            value["data"].as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number")).collect()
        };
        let tensor = |all: Vec<f64>, shape: [usize; 3]| {
            tensors::from_vec(all.into_iter().map(|x| x as f32).collect(), shape, &Device::flex())
        };
        let inputs = &entry["inputs"];
        let [obs, next, reward] = ["obs", "next_obs", "reward"].map(|name| numbers(&inputs[name]));
        let [mean, std] = ["target_mean", "target_std"].map(|name| numbers(&nets[name]));
        // In the file the reward comes first.
        let target = (0..7).flat_map(|row| {
            let change = (0..3).map(move |d| row * 3 + d).map(|i| next[i] - obs[i]).collect::<Vec<_>>();
            let raw = [vec![reward[row]], change].concat();
            raw.into_iter().enumerate().map(|(c, x)| (x - mean[c]) / std[c]).collect::<Vec<_>>()
        });
        let target = tensor(target.collect(), [1, 7, 4]);
        let log_noise = numbers(&inputs["log_noise"]);
        let logvar = log_noise.chunks(4).flat_map(|member| member.repeat(7)).map(|log| 2.0 * log);
        let logvar = tensor(logvar.collect(), [4, 7, 4]);
        let outputs = &entry["outputs"];
        let got = mixture_scores(tensor(numbers(&outputs["member_means"]), [4, 7, 4]), logvar, target);
        let want = numbers(&outputs["score"]);
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() <= 1e-5 * (1.0 + want.abs()), "{got}, expected {want}");
        }
    }
}
