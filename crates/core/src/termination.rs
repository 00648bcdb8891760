//! Termination rules as data: bounds on observation entries.
//!
//! terminated(o) = some bound is broken, or all bounds of the goal hold (if there is a goal), or some entry is not
//! finite (if the rule includes that check).
//!
//! An imagined state has no simulator that could report whether the task ended, so the rule has to be known. As data,
//! the rule can be evaluated row by row on the CPU, and it can also be packed for a kernel.

use core::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A closed or open interval that one entry of the observation has to stay inside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Index of the observation entry.
    pub index: usize,
    /// Lower end, in the entry's unit; `-inf` for none.
    #[serde(default = "below_all")]
    pub low: f32,
    /// Upper end, in the entry's unit; `inf` for none.
    #[serde(default = "above_all")]
    pub high: f32,
    /// Whether the ends themselves are inside the interval.
    #[serde(default)]
    pub closed: bool,
}

fn below_all() -> f32 {
    f32::NEG_INFINITY
}

fn above_all() -> f32 {
    f32::INFINITY
}

impl Bound {
    /// Whether the entry of the observation `[O]` is inside. A NaN is not.
    fn holds(&self, obs: &[f32]) -> bool {
        let x = obs[self.index];
        if self.closed { self.low <= x && x <= self.high } else { self.low < x && x < self.high }
    }

    /// The interval in brackets.
    fn interval(&self) -> String {
        let [before, after] = if self.closed { ["[", "]"] } else { ["(", ")"] };
        format!("{before}{}, {}{after}", self.low, self.high)
    }
}

/// The rule that ends an episode in the task itself: the task continues while every bound holds and the goal is not
/// reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Termination {
    /// Bounds on single entries: the episode ends outside any of them. A bound is a table: `index` is the number of the
    /// entry, `low` and `high` are the ends of its interval (`-inf` and `inf` if they are not given), and `closed = true`
    /// counts the ends as inside.
    pub bounds: Vec<Bound>,
    /// Bounds of the goal, tables as in `bounds`: the episode ends where all of them hold together. Empty for a task
    /// without a goal.
    pub goal: Vec<Bound>,
    /// Whether a NaN or an infinity in any entry ends the episode.
    pub finite: bool,
}

impl Termination {
    /// The rule of a task that never terminates.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Whether no state terminates an episode.
    #[must_use]
    pub fn is_never(&self) -> bool {
        *self == Self::never()
    }

    /// A rule from bounds. Observations that are not finite end the episode too.
    #[must_use]
    pub fn outside(bounds: Vec<Bound>) -> Self {
        Self { bounds, finite: true, ..Self::default() }
    }

    /// A rule from a goal. Observations that are not finite end the episode too.
    #[must_use]
    pub fn inside(goal: Vec<Bound>) -> Self {
        Self { goal, finite: true, ..Self::default() }
    }

    /// The reason why the rule is invalid, or `None`: a bound that contains no number.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let holds_some = |bound: &Bound| bound.low < bound.high || (bound.closed && bound.low == bound.high);
        let bound = self.bounds.iter().chain(&self.goal).find(|bound| !holds_some(bound))?;
        Some(format!("the bound `{bound}` contains no number"))
    }

    /// Returns the largest index of an observation entry that has a bound.
    #[must_use]
    pub fn last_entry(&self) -> Option<usize> {
        self.bounds.iter().chain(&self.goal).map(|bound| bound.index).max()
    }

    /// Whether a state with this observation `[O]` has terminated. A NaN is inside no bound.
    #[must_use]
    pub fn terminated(&self, obs: &[f32]) -> bool {
        let finite = !self.finite || obs.iter().all(|x| x.is_finite());
        let inside = self.bounds.iter().all(|bound| bound.holds(obs));
        let reached = !self.goal.is_empty() && self.goal.iter().all(|bound| bound.holds(obs));
        !(finite && inside) || reached
    }
}

/// For example `obs[0] in (0.7, inf)`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "obs[{}] in {}", self.index, self.interval())
    }
}

/// One line, such as `when obs[0] leaves (0.7, inf) or obs[1] leaves (-0.2, 0.2)`, or `never`.
impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |bounds: &[Bound], verb: &str, conjunction: &str| {
            let clauses = bounds.iter().map(|bound| format!("obs[{}] {verb} {}", bound.index, bound.interval()));
            (!bounds.is_empty()).then(|| format!("when {}", clauses.collect::<Vec<_>>().join(conjunction)))
        };
        let parts = [
            list(&self.bounds, "leaves", " or "),
            list(&self.goal, "is in", " and "),
            self.finite.then(|| "when any entry is NaN or infinite".into()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&if parts.is_empty() { "never".into() } else { parts.join(", or ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_and_closed_ends_differ_exactly_at_the_bound() {
        let rule = |closed| Termination {
            bounds: vec![Bound { index: 1, low: -1.0, high: 2.0, closed }],
            ..Termination::never()
        };
        for (x, open, closed) in [(-1.0, true, false), (2.0, true, false), (0.0, false, false), (2.1, true, true)] {
            assert_eq!(rule(false).terminated(&[9.0, x]), open, "open, x = {x}");
            assert_eq!(rule(true).terminated(&[9.0, x]), closed, "closed, x = {x}");
        }
    }

    #[test]
    fn a_bound_that_nothing_is_inside_is_a_problem() {
        let rule = |low, high, closed| Termination::inside(vec![Bound { index: 3, low, high, closed }]);
        assert_eq!(rule(1.0, 1.0, true).problem(), None);
        assert_eq!(rule(f32::NEG_INFINITY, f32::INFINITY, false).problem(), None);
        for (low, high, closed) in [
            (1.0, 1.0, false),
            (5.0, -5.0, true),
            (f32::NAN, 1.0, true),
            (0.0, f32::NAN, false),
            (f32::INFINITY, f32::INFINITY, false),
        ] {
            assert!(rule(low, high, closed).problem().is_some(), "{low} {high} {closed}");
        }
        assert_eq!(rule(5.0, -5.0, false).problem().unwrap(), "the bound `obs[3] in (5, -5)` contains no number");
    }

    #[test]
    fn a_nan_ends_a_bounded_task_and_never_ends_a_boundless_one() {
        assert!(!Termination::never().terminated(&[f32::NAN]));
        assert!(Termination::outside(vec![]).terminated(&[0.0, f32::INFINITY]));
        let bound = Bound { index: 0, low: f32::NEG_INFINITY, high: f32::INFINITY, closed: true };
        assert!(Termination { bounds: vec![bound], ..Termination::never() }.terminated(&[f32::NAN]));
    }

    #[test]
    fn a_goal_is_reached_where_all_of_its_bounds_hold_at_once() {
        let above = |index, low| Bound { index, low, high: f32::INFINITY, closed: true };
        let rule = Termination::inside(vec![above(0, 0.5), above(1, 0.0)]);
        for (obs, ends) in
            [([0.5, 0.0], true), ([0.4, 1.0], false), ([0.6, -0.1], false), ([-9.0, -9.0], false), ([9.0, 9.0], true)]
        {
            assert_eq!(rule.terminated(&obs), ends, "{obs:?}");
        }
    }

    #[test]
    fn bounds_and_a_goal_end_an_episode_each_by_itself() {
        let between = |low, high| Bound { index: 0, low, high, closed: true };
        let rule = Termination { bounds: vec![between(-1.0, 1.0)], ..Termination::inside(vec![between(0.5, 0.7)]) };
        for (x, ends) in [(0.0, false), (0.6, true), (0.8, false), (1.1, true), (-1.1, true)] {
            assert_eq!(rule.terminated(&[x]), ends, "{x}");
        }
    }

    #[test]
    fn a_rule_reads_as_a_line() {
        let hop = |index, low, high, closed| Bound { index, low, high, closed };
        let rule = Termination {
            goal: vec![hop(2, 0.0, 1.0, true)],
            ..Termination::outside(vec![hop(0, 0.7, f32::INFINITY, false), hop(1, -0.2, 0.2, false)])
        };
        let line = "when obs[0] leaves (0.7, inf) or obs[1] leaves (-0.2, 0.2), or when obs[2] is in [0, 1], or when any entry is NaN or infinite";
        assert_eq!((rule.to_string(), Termination::never().to_string()), (line.into(), "never".into()));
    }

    #[test]
    fn a_nan_reaches_no_goal_but_is_an_end_where_entries_must_be_finite() {
        let goal = vec![Bound { index: 0, low: 0.0, high: 1.0, closed: true }];
        assert!(Termination::inside(goal.clone()).terminated(&[f32::NAN]));
        assert!(!Termination { goal, ..Termination::never() }.terminated(&[f32::NAN]));
    }
}
