//! The keys of `[double_horizon]`.

use serde::{Deserialize, Serialize};

/// The section `[double_horizon]`: the blocks of `algo = "dhmbpo"`. Between two blocks agent and model do not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Whether the pool is emptied at the beginning of a block.
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

    pub(crate) fn problem(&self) -> Option<String> {
        let positive = [
            ("block", self.block),
            ("first_block", self.first_block),
            ("rollouts", self.rollouts as u64),
            ("refill_every", self.refill_every),
            ("refill", self.refill),
            ("pool", self.pool as u64),
        ];
        if let Some((key, _)) = positive.into_iter().find(|&(_, value)| value == 0) {
            return Some(format!(
                "`double_horizon.{key}` is 0\nhint: give a positive number, or remove the key to get its default"
            ));
        }
        if !(1..=1000).contains(&self.horizon) {
            return Some(format!("`double_horizon.horizon` is {}\nhint: 1 to 1000 imagined steps", self.horizon));
        }
        let most = self.rollouts as u128 * self.horizon as u128;
        if u128::from(self.refill) > 100 * most {
            return Some(format!(
                "`double_horizon.refill` is {}, and `rollouts` of `horizon` steps bring at most {most} states at a time\nhint: at most a hundred times as many",
                self.refill
            ));
        }
        if self.pool < self.rollouts {
            return Some(format!(
                "`double_horizon.pool` is {}, fewer than the {} states of one step of `rollouts`\nhint: raise it, or lower `double_horizon.rollouts`",
                self.pool, self.rollouts
            ));
        }
        (self.pool as u128 >= 1 << 32)
            .then(|| format!("`double_horizon.pool` is {}\nhint: fewer than {} states", self.pool, 1_u64 << 32))
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
