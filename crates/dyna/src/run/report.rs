//! Reports of a run that need some computation.

use super::{Run, RunError};
use crate::config::Algo;
use crate::metrics;
use crate::record::Record;

impl Run {
    /// Returns the record of the agent's metrics at its last update.
    pub(super) fn training_record(&self) -> Result<Record, RunError> {
        let mut values = self.agent.report();
        let env_step = self.clock.now;
        if self.model.is_some() && self.checks_terminations {
            values.push((metrics::TERMINATION_MISMATCH, self.counters.mismatches as f64 / env_step as f64));
            values.extend(self.counters.ends.shares());
        }
        if self.config.algo != Algo::Dhmbpo {
            values.extend(self.values_against_returns());
        }
        match values.iter().find(|(_, value)| !value.is_finite()) {
            Some(&(metric, value)) => Err(RunError::Agent { env_step, metric, value }),
            None => Ok(Record { env_step, values }),
        }
    }
}

/// Splits the squared errors `[O + 1]` of a model's channels into two means: over the task's own channels, which are
/// its observation entries and the reward, and over the distractors, which are the last observation entries.
pub(super) fn split_holdout_mse(channels: &[f64], distractors: usize) -> [(&'static str, f64); 2] {
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let mut task = channels.to_vec();
    let reward = channels.len() - 1;
    let distracting: Vec<f64> = task.drain(reward - distractors..reward).collect();
    [(metrics::MODEL_HOLDOUT_MSE_TASK, mean(&task)), (metrics::MODEL_HOLDOUT_MSE_DISTRACTORS, mean(&distracting))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reward_counts_with_the_task_and_the_last_entries_are_the_distractors() {
        let channels = [1.0, 2.0, 10.0, 20.0, 60.0, 6.0];
        let want = [(metrics::MODEL_HOLDOUT_MSE_TASK, 3.0), (metrics::MODEL_HOLDOUT_MSE_DISTRACTORS, 30.0)];
        assert_eq!(split_holdout_mse(&channels, 3), want);
    }
}
