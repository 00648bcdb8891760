//! The check of the rows of an imagined step for numbers that no run can learn from. The pass that checks also moves
//! the rows that are still alive to the front, and adds up the rewards.

use foresee_core::Batch;

/// Largest size of an entry of an imagined state, relative to the largest entry of all real states or to 1.
///
/// A model that has left its data far behind grows the state by a factor at every step, and reaches this bound on its
/// way to infinity. Models after three gradient steps on two real rows reach 30 on the shipped tasks. A model of
/// real data stays below 10.
pub const LARGEST_GROWTH: f32 = 1e6;

/// An imagined transition that no run can learn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explosion {
    /// The step of the rollout, from 1.
    pub step: usize,
    /// The number that is not finite or too large.
    pub what: Exploded,
    /// Its value; infinite or NaN if a device reports it as a part of a sum.
    pub value: f32,
}

/// A number of an imagined transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exploded {
    /// An entry of the next state, counted from 0.
    State(usize),
    /// The reward.
    Reward,
    /// An entry of the action, counted from 0: the actor is at fault, not the model.
    Action(usize),
    /// The sum of all rewards of a call.
    Rewards,
}

/// The settings of the check of one imagined step.
pub(super) struct StepCheck {
    /// Number of entries of an observation, `O`.
    pub(super) obs_dim: usize,
    /// The step of the rollout, from 1.
    pub(super) step: usize,
    /// Whether this is the last step of the horizon.
    pub(super) last: bool,
    /// Largest size of an entry of a state that does not end its rollout.
    pub(super) largest: f32,
}

/// The outcome of a step of all rows.
pub(super) struct StepOutcome {
    /// Number of live rows.
    pub(super) alive: usize,
    /// Sum of all rewards of the call so far.
    pub(super) reward_sum: f64,
    /// The first transition that cannot be used.
    pub(super) explosion: Option<Explosion>,
}

impl StepCheck {
    /// Moves the ids and next states of live rows to the front, over those of rows that terminated. The step's
    /// transitions are in `stored` from row `start` on. Adds the step's rewards to `reward_sum`.
    pub(super) fn compact(
        &self,
        stored: &Batch,
        start: usize,
        row_ids: &mut [u32],
        obs: &mut [f32],
        mut reward_sum: f64,
    ) -> StepOutcome {
        let (mut alive, mut explosion) = (0, None);
        for row in 0..row_ids.len() {
            let at = (start + row) % stored.rows;
            let (reward, next) = (stored.reward[at], &stored.next_obs[at * self.obs_dim..][..self.obs_dim]);
            let ends = stored.not_terminated[at] == 0.0;
            // A rule may end a rollout because its state is large. The value of that state does not count.
            let largest = if ends { f32::MAX } else { self.largest };
            // A NaN fails the comparison. Without an early exit the loop is vectorized.
            let usable = next.iter().fold(reward.is_finite(), |usable, x| usable & (x.abs() <= largest));
            if !usable && explosion.is_none() {
                explosion = Some(self.explosion(stored, at, largest));
            }
            reward_sum += f64::from(reward);
            if ends {
                continue;
            }
            if !self.last {
                row_ids[alive] = row_ids[row];
                obs[alive * self.obs_dim..][..self.obs_dim].copy_from_slice(next);
            }
            alive += 1;
        }
        StepOutcome { alive, reward_sum, explosion }
    }

    /// Returns the number that makes the transition in row `at` useless.
    #[cold]
    fn explosion(&self, stored: &Batch, at: usize, largest: f32) -> Explosion {
        let row = |all: &[f32], width: usize| all[at * width..][..width].to_vec();
        let (next, action) =
            (row(&stored.next_obs, self.obs_dim), row(&stored.action, stored.action.len() / stored.rows));
        let first = |numbers: &[f32], largest: f32| {
            numbers.iter().position(|x| x.is_nan() || x.abs() > largest).map(|entry| (entry, numbers[entry]))
        };
        let (what, value) = if let Some((entry, value)) = first(&action, f32::MAX) {
            (Exploded::Action(entry), value)
        } else if let Some((entry, value)) = first(&next, largest) {
            (Exploded::State(entry), value)
        } else {
            (Exploded::Reward, stored.reward[at])
        };
        Explosion { step: self.step, what, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The explosion of a step of two rows, of which the second has this action, reward and next state.
    fn explosion(action: f32, reward: f32, next: [f32; 2], terminated: bool) -> Option<Explosion> {
        let mut stored = Batch::default();
        stored.push(&[0.0; 2], &[0.5], 1.0, &[1.0, -2.0], false);
        stored.push(&[0.0; 2], &[action], reward, &next, terminated);
        let check = StepCheck { obs_dim: 2, step: 7, last: false, largest: 1e6 };
        let (mut row_ids, mut obs) = ([4, 9], [0.0; 4]);
        let outcome = check.compact(&stored, 0, &mut row_ids, &mut obs, 0.5);
        assert_eq!(outcome.alive, if terminated { 1 } else { 2 });
        assert_eq!(outcome.reward_sum.to_bits(), (1.5 + f64::from(reward)).to_bits());
        outcome.explosion
    }

    #[test]
    fn a_transition_that_is_not_finite_or_far_outside_the_real_states_is_found_with_its_place() {
        let at = |what, value| Some(Explosion { step: 7, what, value });
        assert_eq!(explosion(0.5, -3.0, [1e6, -1e6], false), None);
        assert_eq!(explosion(0.5, 0.0, [0.0, -2e6], false), at(Exploded::State(1), -2e6));
        // A rule that ends rollouts with large states does its work. Their value does not count, unless it is no number.
        assert_eq!(explosion(0.5, 0.0, [0.0, -2e6], true), None);
        let infinity = f32::INFINITY;
        assert_eq!(explosion(0.5, 0.0, [infinity, 0.0], true), at(Exploded::State(0), infinity));
        assert_eq!(explosion(0.5, infinity, [0.0; 2], true), at(Exploded::Reward, infinity));
        // A policy that diverged is the cause of what follows.
        let found = explosion(f32::NAN, 0.0, [f32::NAN; 2], false).expect("no number");
        assert!(found.what == Exploded::Action(0) && found.value.is_nan());
    }
}
