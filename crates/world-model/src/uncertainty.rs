//! Measures of an ensemble's uncertainty about one row: one number computed from the means μ_i and variances σ_i² of
//! its members.
//!
//! They are the penalties of offline model-based learning (MOPO, Yu et al. 2020; MOReL, Kidambi et al. 2020; compared
//! by Lu et al. 2022, "Revisiting design choices in offline model-based reinforcement learning") and the bonuses of
//! planners. A prediction has `C = O + 1` channels, the reward last. As in the published programs, the norm of σ and
//! the KL divergences are over all channels, and the disagreements over the observation alone. The formula of each
//! measure is in its own documentation; μ̄ is the mean over the members.

use serde::{Deserialize, Serialize};

use crate::config::Head;

/// A measure of uncertainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// max_i ‖σ_i‖₂ over all channels (MOPO): the noise that the members predict. 0 if the head is deterministic.
    MaxAleatoric,
    /// max_i ‖μ_i − μ̄‖₂ over the observation (OfflineRL-Kit).
    MaxDifferenceFromMean,
    /// max_ij ‖μ_i − μ_j‖₂ over the observation (MOReL's discrepancy).
    MaxPairwiseDifference,
    /// √ of the mean over the observation of mean_i (μ_i − μ̄)² (OfflineRL-Kit's "ensemble_std").
    EnsembleRms,
    /// Σ over the observation of mean_i (σ_i² + μ_i²) − μ̄²: the variance of the members' mixture.
    EnsembleVariance,
    /// The square root of [`Self::EnsembleVariance`], which Lu et al. recommend.
    EnsembleStandardDeviation,
    /// mean_i KL(N_i ‖ the Gaussian with the moments of the other members' mixture), over all channels.
    LeaveOneOutKlMean,
    /// max_i KL(N_i ‖ the Gaussian with the moments of the other members' mixture), over all channels.
    LeaveOneOutKlMax,
}

impl Measure {
    /// Every measure with its name in a config.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::MaxAleatoric, "max_aleatoric"),
        (Self::MaxDifferenceFromMean, "max_difference_from_mean"),
        (Self::MaxPairwiseDifference, "max_pairwise_difference"),
        (Self::EnsembleRms, "ensemble_rms"),
        (Self::EnsembleVariance, "ensemble_variance"),
        (Self::EnsembleStandardDeviation, "ensemble_standard_deviation"),
        (Self::LeaveOneOutKlMean, "leave_one_out_kl_mean"),
        (Self::LeaveOneOutKlMax, "leave_one_out_kl_max"),
    ];

    /// Returns the measure's name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(measure, _)| *measure == self).map_or("", |(_, name)| name)
    }

    fn is_kl(self) -> bool {
        matches!(self, Self::LeaveOneOutKlMean | Self::LeaveOneOutKlMax)
    }

    /// Returns a message with a hint if the measure is impossible for an ensemble of `members` members with this head.
    /// A KL divergence needs a variance and at least two members.
    #[must_use]
    pub fn problem(self, head: Head, members: usize) -> Option<String> {
        if self.is_kl() && head == Head::Deterministic {
            return Some(format!(
                "the uncertainty measure `{}` needs a variance, but the model's head is deterministic\nhint: set `model.head = \"gaussian\"` or `\"homoscedastic\"`, or choose a measure of disagreement such as `{}`",
                self.name(),
                Self::MaxPairwiseDifference.name()
            ));
        }
        (self.is_kl() && members < 2).then(|| {
            format!(
                "the uncertainty measure `{}` needs at least two members, but the model has {members}\nhint: raise `model.ensemble.members`",
                self.name()
            )
        })
    }

    /// Computes the measure for one row. `mean` and, if the head has a variance, `logvar` are `[E, C]`; `channels` is
    /// `C = O + 1`. Sums are in f64.
    ///
    /// # Panics
    /// If `mean` is empty or its length is not a multiple of `channels`, if `channels` is below 2, if `logvar` has
    /// another length, or in the cases that [`Self::problem`] reports.
    #[must_use]
    #[track_caller]
    pub fn of(self, mean: &[f32], logvar: Option<&[f32]>, channels: usize) -> f32 {
        assert!(
            channels > 1 && !mean.is_empty() && mean.len().is_multiple_of(channels),
            "means {}, channels {channels}",
            mean.len()
        );
        let logvars = logvar.map_or(mean.len(), <[f32]>::len);
        assert_eq!(logvars, mean.len(), "log-variances and means");
        let members = mean.len() / channels;
        assert!(!self.is_kl() || (logvar.is_some() && members > 1), "{} of {members} members", self.name());
        let rows = Members { mean, logvar, channels, count: members };
        let obs = channels - 1;
        let each = 0..members;
        let value = match self {
            Self::MaxAleatoric => greatest(each.map(|i| rows.aleatoric(i).sqrt())),
            Self::MaxDifferenceFromMean => greatest(each.map(|i| rows.distance_from_mean(i, obs).sqrt())),
            Self::MaxPairwiseDifference => {
                greatest(each.flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| rows.distance(i, j, obs).sqrt()))
            }
            Self::EnsembleRms => (rows.spread(obs) / obs as f64).sqrt(),
            Self::EnsembleVariance => rows.variance(obs),
            Self::EnsembleStandardDeviation => rows.variance(obs).sqrt(),
            Self::LeaveOneOutKlMean => each.map(|i| rows.divergence_from_others(i)).sum::<f64>() / members as f64,
            Self::LeaveOneOutKlMax => greatest(each.map(|i| rows.divergence_from_others(i))),
        };
        value as f32
    }
}

/// Returns the largest of non-negative values. A NaN counts as the largest, so that a broken prediction is noticed.
fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, value| if value.is_nan() || value > most { value } else { most })
}

/// The predictions of all members for one row.
#[derive(Clone, Copy)]
struct Members<'a> {
    mean: &'a [f32],
    logvar: Option<&'a [f32]>,
    channels: usize,
    count: usize,
}

impl Members<'_> {
    /// Returns μ of member i in channel c.
    fn mean(&self, i: usize, c: usize) -> f64 {
        f64::from(self.mean[i * self.channels + c])
    }

    /// Returns σ² of member i in channel c.
    fn var(&self, i: usize, c: usize) -> f64 {
        self.logvar.map_or(0.0, |logvar| f64::from(logvar[i * self.channels + c]).exp())
    }

    /// Returns μ̄ in channel c.
    fn centre(&self, c: usize) -> f64 {
        (0..self.count).map(|i| self.mean(i, c)).sum::<f64>() / self.count as f64
    }

    /// Computes ‖σ_i‖² over all channels.
    fn aleatoric(&self, i: usize) -> f64 {
        (0..self.channels).map(|c| self.var(i, c)).sum()
    }

    /// Computes ‖μ_i − μ_j‖² over the first `obs` channels.
    fn distance(&self, i: usize, j: usize, obs: usize) -> f64 {
        (0..obs).map(|c| (self.mean(i, c) - self.mean(j, c)).powi(2)).sum()
    }

    /// Computes ‖μ_i − μ̄‖² over the first `obs` channels.
    fn distance_from_mean(&self, i: usize, obs: usize) -> f64 {
        (0..obs).map(|c| (self.mean(i, c) - self.centre(c)).powi(2)).sum()
    }

    /// Computes Σ over the first `obs` channels of mean_i (μ_i − μ̄)².
    fn spread(&self, obs: usize) -> f64 {
        (0..self.count).map(|i| self.distance_from_mean(i, obs)).sum::<f64>() / self.count as f64
    }

    /// Computes Σ over the first `obs` channels of the mixture's variance, as mean_i σ_i² + mean_i (μ_i − μ̄)². A
    /// difference of squares would lose precision by cancellation.
    fn variance(&self, obs: usize) -> f64 {
        let noise: f64 = (0..self.count).map(|i| (0..obs).map(|c| self.var(i, c)).sum::<f64>()).sum();
        noise / self.count as f64 + self.spread(obs)
    }

    /// Computes KL(N_i ‖ N(m, v)) = ½ Σ_c [ln v − ln σ_i² + (σ_i² + (μ_i − m)²) / v − 1], with m and v the moments of
    /// the other members' mixture.
    fn divergence_from_others(&self, i: usize) -> f64 {
        let others = || (0..self.count).filter(move |j| *j != i);
        let count = (self.count - 1) as f64;
        (0..self.channels)
            .map(|c| {
                let m = others().map(|j| self.mean(j, c)).sum::<f64>() / count;
                let v = others().map(|j| self.var(j, c) + (self.mean(j, c) - m).powi(2)).sum::<f64>() / count;
                let var = self.var(i, c);
                0.5 * ((v / var).ln() + (var + (self.mean(i, c) - m).powi(2)) / v - 1.0)
            })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(got: f32, want: f64) {
        assert!((f64::from(got) - want).abs() <= 1e-6 * want.abs().max(1.0), "{got}, expected {want}");
    }

    #[test]
    fn equal_members_disagree_by_nothing() {
        // Two observation channels, then the reward. All members are equal, with σ = 2, 1, 2.
        let mean: Vec<f32> = [0.3, -1.7, 5.0].repeat(4);
        let logvar: Vec<f32> = [4.0f32.ln(), 0.0, 4.0f32.ln()].repeat(4);
        for (measure, name) in Measure::ALL {
            let want = match measure {
                Measure::MaxAleatoric => 3.0,
                Measure::EnsembleVariance => 5.0,
                Measure::EnsembleStandardDeviation => 5f64.sqrt(),
                _ => 0.0,
            };
            assert_close(measure.of(&mean, Some(&logvar), 3), want);
            if measure.problem(Head::Deterministic, 4).is_none() {
                assert_eq!(measure.of(&mean, None, 3), 0.0, "{name} without a variance");
            }
        }
    }

    #[test]
    fn two_members_have_their_closed_forms() {
        // The members differ by (6, 8) in the observation and by 2 in the reward. Variances are 1.
        let (mean, logvar) = ([1.0, 2.0, 0.0, 7.0, 10.0, 2.0], [0.0; 6]);
        let of = |measure: Measure| measure.of(&mean, Some(&logvar), 3);
        assert_close(of(Measure::MaxAleatoric), 3f64.sqrt());
        assert_close(of(Measure::MaxDifferenceFromMean), 5.0);
        assert_close(of(Measure::MaxPairwiseDifference), 10.0);
        assert_close(of(Measure::EnsembleRms), 12.5f64.sqrt());
        assert_close(of(Measure::EnsembleVariance), 27.0);
        assert_close(of(Measure::EnsembleStandardDeviation), 27f64.sqrt());
        // Each member is compared with the other one: half the squared distance, including the reward.
        assert_close(of(Measure::LeaveOneOutKlMean), 52.0);
        assert_close(of(Measure::LeaveOneOutKlMax), 52.0);
    }

    #[test]
    fn a_broken_prediction_is_uncertain() {
        let (mean, logvar) = ([f32::NAN, 0.0, 1.0, 0.0, 2.0, 0.0], [0.0; 6]);
        let measures = Measure::ALL.iter().filter(|(measure, _)| *measure != Measure::MaxAleatoric);
        for (measure, name) in measures {
            assert!(measure.of(&mean, Some(&logvar), 2).is_nan(), "{name}");
        }
    }

    #[test]
    fn far_from_zero_the_spread_does_not_cancel() {
        assert_close(Measure::EnsembleVariance.of(&[1e6, 0.0, 1e6 + 1.0, 0.0], None, 2), 0.25);
    }

    #[test]
    fn a_divergence_asks_for_variances_and_for_others() {
        for (measure, name) in Measure::ALL {
            assert_eq!(serde_json::to_value(measure).unwrap(), name);
            assert!(measure.problem(Head::Gaussian, 2).is_none(), "{name}");
            let kl = name.contains("_kl_");
            for problem in [measure.problem(Head::Deterministic, 7), measure.problem(Head::Gaussian, 1)] {
                assert_eq!(kl, problem.is_some_and(|m| m.contains(name) && m.contains("hint:")), "{name}");
            }
        }
    }
}
