//! The keys of `[double_horizon]`.

use foresee_core::limits::refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limit on the states of the pool, which kernels number by 32 bits.
const MAX_POOL: u64 = 1 << 32;

/// The section `[double_horizon]` of `algo = "dhmbpo"`: the lengths of the alternating blocks of acting and training,
/// the ordinary rollouts, and the pool of states that they fill. Agent and model do not change while the agent acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DoubleHorizonConfig {
    /// Number of real steps between two blocks of training. A block begins with a training call of the model.
    pub block: u64,
    /// Number of updates of the first block, relative to a later block.
    pub first_block: u64,
    /// Number of updates at the beginning of a block that train the critics alone.
    pub critic_updates: u64,
    /// Number of ordinary rollouts that start together from real states.
    pub rollouts: usize,
    /// Number of imagined steps of an ordinary rollout.
    pub horizon: usize,
    /// Number of updates between two refills of the pool by ordinary rollouts.
    pub refill_every: u64,
    /// Smallest number of states that a refill adds: rollouts are repeated until it is reached.
    pub refill: u64,
    /// Capacity of the pool of states from ordinary rollouts; the newest are kept.
    pub pool: usize,
    /// If true, the pool is emptied at the beginning of a block, so that it holds only states of the current policy and
    /// model.
    pub empty_pool: bool,
    /// Whether the moments of all the agent's optimisers are set to 0 at the beginning of a block.
    pub fresh_moments: bool,
}

impl Default for DoubleHorizonConfig {
    /// The values of the published code (4kubo/erl_lib @ 024b0b5) on tasks of 1,000 steps.
    ///
    /// That code asks for 5,120 of at most 5,376 states per refill, and counts the last state of each rollout. Here
    /// only states in which the policy acted count, at most 5,120; a refill of 4,876 is the same share of them.
    fn default() -> Self {
        Self {
            block: 1000,
            first_block: 5,
            critic_updates: 250,
            rollouts: 256,
            horizon: 20,
            refill_every: 20,
            refill: 4876,
            pool: 51_200,
            empty_pool: true,
            fresh_moments: true,
        }
    }
}

impl DoubleHorizonConfig {
    /// Whether all keys have their defaults; then the section is not written to a config file.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of updates in a block at which the next refill is due, after `done` updates.
    pub(crate) fn next_refill(&self, done: u64) -> u64 {
        let (first, every) = (self.critic_updates, self.refill_every);
        if done < first { first } else { first + ((done - first) / every + 1) * every }
    }

    /// Whether the pool is refilled after `done` updates of a block.
    pub(crate) fn refills_at(&self, done: u64) -> bool {
        done >= self.critic_updates && (done - self.critic_updates).is_multiple_of(self.refill_every)
    }

    /// Returns an error message with a hint about the first key whose value is not allowed.
    pub(crate) fn problem(&self) -> Option<String> {
        let default = Self::default();
        let refused = |key: &str, value: u128, allowed: &str, default: u64| {
            Some(refusal(&format!("double_horizon.{key}"), value, allowed, default))
        };
        let positive = [
            ("block", self.block, default.block),
            ("first_block", self.first_block, default.first_block),
            ("rollouts", self.rollouts as u64, default.rollouts as u64),
            ("refill_every", self.refill_every, default.refill_every),
            ("refill", self.refill, default.refill),
            ("pool", self.pool as u64, default.pool as u64),
        ];
        if let Some((key, value, default)) = positive.into_iter().find(|&(_, value, _)| value == 0) {
            return refused(key, value.into(), "positive", default);
        }
        if !(1..=1000).contains(&self.horizon) {
            return refused("horizon", self.horizon as u128, "1 to 1000 imagined steps", default.horizon as u64);
        }
        let most = 100 * self.rollouts as u128 * self.horizon as u128;
        if u128::from(self.refill) > most {
            let allowed = format!("at most {most} = 100 × `rollouts` × `horizon`");
            return Some(format!(
                "`double_horizon.refill` is {}; it must be {allowed}\nhint: lower it, or raise `double_horizon.rollouts` or `double_horizon.horizon`",
                self.refill
            ));
        }
        if self.pool < self.rollouts {
            let allowed = format!("at least {}, the value of `double_horizon.rollouts`", self.rollouts);
            return Some(format!(
                "`double_horizon.pool` is {}; it must be {allowed}\nhint: raise it, or lower `double_horizon.rollouts`",
                self.pool
            ));
        }
        if self.pool as u64 >= MAX_POOL {
            return refused("pool", self.pool as u128, &format!("below {MAX_POOL}"), default.pool as u64);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_refilled_after_the_critics_own_updates_and_then_at_intervals() {
        let blocks = DoubleHorizonConfig { critic_updates: 4, refill_every: 5, ..DoubleHorizonConfig::default() };
        let found: Vec<u64> = (0..20).filter(|&done| blocks.refills_at(done)).collect();
        assert_eq!(found, [4, 9, 14, 19]);
        for done in 0..19 {
            assert_eq!(Some(&blocks.next_refill(done)), found.iter().find(|&&at| at > done), "{done}");
        }
    }
}
