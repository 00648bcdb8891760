//! Numbers that change with the real steps, and the test whether something periodic is due.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A constant, or a line between two steps that is constant before the first and after the second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number, or four numbers [from, to, start, end]")]
pub enum Schedule {
    /// A constant.
    Constant(f64),
    /// `[from, to, start, end]`: `from` up to real step `start`, `to` from real step `end` on.
    Linear([f64; 4]),
}

impl Schedule {
    /// Returns the value at a real step (mbrl-lib's `truncated_linear`).
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        match *self {
            Self::Constant(value) => value,
            Self::Linear([from, to, start, end]) => truncated_linear([start, end, from, to], step as f64),
        }
    }

    /// Returns the value at a real step, rounded down to a count.
    #[must_use]
    pub fn floor(&self, step: u64) -> usize {
        self.at(step) as usize
    }

    /// Returns the values at both ends.
    #[must_use]
    pub fn ends(&self) -> [f64; 2] {
        match *self {
            Self::Constant(value) => [value; 2],
            Self::Linear([from, to, ..]) => [from, to],
        }
    }
}

/// Returns mbrl-lib's schedule at `x`: `y0` up to `x0`, `y1` from `x1`, and linear between them. The arguments
/// `[x0, x1, y0, y1]` have the order of mbrl-lib. If `x1` is not above `x0`, the schedule is `y1` everywhere.
#[must_use]
pub fn truncated_linear([x0, x1, y0, y1]: [f64; 4], x: f64) -> f64 {
    if x1 - x0 < 1e-10 {
        y1
    } else if x <= x0 {
        y0
    } else {
        y0 + ((x - x0) / (x1 - x0)).min(1.0) * (y1 - y0)
    }
}

/// Whether the last `count` real steps up to `step` reached or crossed a multiple of `every`, so that a periodic job is
/// due.
#[must_use]
pub fn crossed_multiple(every: u64, step: u64, count: u64) -> bool {
    step / every > step.saturating_sub(count) / every
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_written_as_a_number_or_as_four() {
        let read = serde_json::from_str::<Schedule>;
        assert_eq!(read("3").unwrap(), Schedule::Constant(3.0));
        assert_eq!(read("[1, 0.05, 0, 2000]").unwrap(), Schedule::Linear([1.0, 0.05, 0.0, 2000.0]));
        assert!(read("[1, 2]").unwrap_err().to_string().contains("four numbers [from, to, start, end]"));
    }

    #[test]
    fn a_line_is_flat_outside_its_interval_and_may_fall() {
        let line = Schedule::Linear([1.0, 0.5, 100.0, 200.0]);
        for (step, want) in [(0, 1.0), (100, 1.0), (150, 0.75), (200, 0.5), (u64::MAX, 0.5)] {
            assert_eq!(line.at(step), want, "at {step}");
        }
        assert_eq!(Schedule::Linear([1.0, 2.0, 7.0, 7.0]).at(0), 2.0, "an empty interval is over before it begins");
    }

    #[test]
    fn a_clock_rings_at_multiples_and_where_one_is_crossed_once() {
        let due_steps = |every, count: u64| {
            (1..=20).map(|i| i * count).filter(|&step| crossed_multiple(every, step, count)).take(4).collect::<Vec<_>>()
        };
        for every in 1..=5 {
            assert_eq!(due_steps(every, 1), [every, 2 * every, 3 * every, 4 * every]);
        }
        assert_eq!(due_steps(10, 3), [12, 21, 30, 42]);
        assert_eq!(due_steps(6, 3), [6, 12, 18, 24]);
        assert_eq!(due_steps(2, 5), [5, 10, 15, 20], "two multiples at once are one ring");
    }
}
