//! The keys of `[rollout]`.

use foresee_core::limits::refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// The section `[rollout]` of `algo = "mbpo"`: the imagined rollouts, and their share of the agent's batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
        Self {
            starts_per_step: 400,
            horizon: Schedule::Constant(1.0),
            real_ratio: Schedule::Constant(0.05),
            retain_epochs: 1,
        }
    }
}

impl RolloutConfig {
    /// Returns an error message with a hint about the first key whose value is not allowed.
    pub(crate) fn problem(&self) -> Option<String> {
        let default = Self::default();
        let positive = [
            ("rollout.starts_per_step", self.starts_per_step, default.starts_per_step),
            ("rollout.retain_epochs", self.retain_epochs, default.retain_epochs),
        ];
        if let Some((key, value, default)) = positive.into_iter().find(|&(_, value, _)| value == 0) {
            let default = format!("{default}; `algo = \"model_free\"` trains without imagined transitions");
            return Some(refusal(key, value, "positive", default));
        }
        let schedules = [
            ("rollout.horizon", &self.horizon, 1.0..=1000.0, "1 to 1000 imagined steps", default.horizon),
            ("rollout.real_ratio", &self.real_ratio, 0.0..=1.0, "0 to 1, a share of the batch", default.real_ratio),
        ];
        for (key, schedule, range, allowed, default) in schedules {
            let [from, to] = schedule.ends();
            let value = match schedule {
                Schedule::Constant(value) if !range.contains(value) => value.to_string(),
                Schedule::Linear(_) if !range.contains(&from) => format!("{from} at its start"),
                Schedule::Linear(_) if !range.contains(&to) => format!("{to} at its end"),
                _ => continue,
            };
            return Some(refusal(key, value, allowed, default.ends()[0]));
        }
        for (key, schedule) in [("rollout.horizon", &self.horizon), ("rollout.real_ratio", &self.real_ratio)] {
            if let Schedule::Linear([_, _, start, end]) = schedule
                && !(start.is_finite() && end.is_finite() && start <= end)
            {
                return Some(format!(
                    "`{key}` changes from step {start} to step {end}; both must be finite, and the second not below the first\nhint: the four numbers are [from, to, start, end]"
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
