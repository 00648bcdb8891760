//! The keys of `[rollout]`.

use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// The section `[rollout]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// Number of imagined rollouts per real step. They start together after every training call of the model.
    pub starts_per_step: usize,
    /// Number of imagined steps of a rollout: a number, or `[from, to, start, end]` over real steps.
    pub horizon: Schedule,
    /// Share of real rows in every batch: a number, or `[from, to, start, end]` over real steps.
    pub real_ratio: Schedule,
    /// Number of epochs whose imagined transitions fit in the buffer.
    pub retain_epochs: usize,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self { starts_per_step: 400, horizon: Schedule::Constant(1.0), real_ratio: Schedule::Constant(0.05), retain_epochs: 1 }
    }
}

impl RolloutConfig {
    pub(crate) fn problem(&self) -> Option<String> {
        if self.starts_per_step == 0 || self.retain_epochs == 0 {
            return Some(
                "`rollout.starts_per_step` and `rollout.retain_epochs` must be positive\nhint: use `algo = \"model_free\"` to train without imagination"
                    .into(),
            );
        }
        if let Some(bad) = self.horizon.ends().into_iter().find(|h| !(1.0..=1000.0).contains(h)) {
            return Some(format!("`rollout.horizon` reaches {bad}\nhint: 1 to 1000 imagined steps"));
        }
        if let Some(bad) = self.real_ratio.ends().into_iter().find(|r| !(0.0..=1.0).contains(r)) {
            return Some(format!("`rollout.real_ratio` reaches {bad}\nhint: a share of the batch, 0 to 1"));
        }
        for (key, schedule) in [("horizon", &self.horizon), ("real_ratio", &self.real_ratio)] {
            if let Schedule::Linear([_, _, start, end]) = schedule
                && !(start.is_finite() && end.is_finite() && start <= end)
            {
                return Some(format!(
                    "`rollout.{key}` runs from step {start} to step {end}\nhint: [from, to, start, end] with start before end"
                ));
            }
        }
        None
    }

    /// Capacity of the imagined buffer at a real step, in rows, counted as MBPO does.
    #[must_use]
    pub fn capacity(&self, step: u64, fit_every: u64, epoch_length: u64) -> usize {
        let calls = epoch_length.div_ceil(fit_every) as usize;
        self.horizon.floor(step) * self.starts_per_step * fit_every as usize * calls * self.retain_epochs
    }
}
