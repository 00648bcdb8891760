//! Transitions: the record of one environment step, and batches of such records.
//!
//! `terminated` and `truncated` are different facts. Only `terminated` sets the value of the next state to zero. A
//! truncated transition bootstraps from `next_obs`, the last observation before the reset.

/// One step of one environment. Actions are in [-1, 1]; the environment layer rescales them.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Observation before the step, `[O]`.
    pub obs: Vec<f32>,
    /// Action, `[A]`, in [-1, 1].
    pub action: Vec<f32>,
    /// Reward, in the task's own unit.
    pub reward: f32,
    /// Observation after the step and before any reset, `[O]`.
    pub next_obs: Vec<f32>,
    /// Whether the task ended at this step: then the value of `next_obs` is zero.
    pub terminated: bool,
    /// Whether a time limit cut the episode at this step: then the value of `next_obs` still counts.
    pub truncated: bool,
}

/// Several transitions, with one row-major array per field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Number of rows, `B`.
    pub rows: usize,
    /// Observations, `[B, O]`.
    pub obs: Vec<f32>,
    /// Actions, `[B, A]`.
    pub action: Vec<f32>,
    /// Rewards, `[B]`.
    pub reward: Vec<f32>,
    /// Next observations, `[B, O]`.
    pub next_obs: Vec<f32>,
    /// 0 where the task terminated and 1 elsewhere, `[B]`: the factor of the bootstrapped value.
    pub not_terminated: Vec<f32>,
}

impl Batch {
    /// Creates an empty batch with capacity for `rows` rows.
    #[must_use]
    pub fn with_capacity(rows: usize, obs_dim: usize, action_dim: usize) -> Self {
        Self {
            rows: 0,
            obs: Vec::with_capacity(rows * obs_dim),
            action: Vec::with_capacity(rows * action_dim),
            reward: Vec::with_capacity(rows),
            next_obs: Vec::with_capacity(rows * obs_dim),
            not_terminated: Vec::with_capacity(rows),
        }
    }

    /// Removes all rows and keeps the allocated memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        for column in [&mut self.obs, &mut self.action, &mut self.reward, &mut self.next_obs, &mut self.not_terminated]
        {
            column.clear();
        }
    }

    /// The minimum and maximum of each entry over all observations, before and after a step, `[O]`; empty without rows.
    #[must_use]
    pub fn range(&self) -> Vec<[f32; 2]> {
        let width = self.obs.len().checked_div(self.rows).unwrap_or(0);
        let mut range = vec![[f32::INFINITY, f32::NEG_INFINITY]; width];
        for state in self.obs.chunks_exact(width.max(1)).chain(self.next_obs.chunks_exact(width.max(1))) {
            for ([low, high], &x) in range.iter_mut().zip(state) {
                (*low, *high) = (low.min(x), high.max(x));
            }
        }
        range
    }

    /// Appends one row.
    pub fn push(&mut self, obs: &[f32], action: &[f32], reward: f32, next_obs: &[f32], terminated: bool) {
        self.rows += 1;
        self.obs.extend_from_slice(obs);
        self.action.extend_from_slice(action);
        self.reward.push(reward);
        self.next_obs.extend_from_slice(next_obs);
        self.not_terminated.push(if terminated { 0.0 } else { 1.0 });
    }
}
