//! Termination rules as data: bounds on observation entries.
//!
//! An imagined state has no simulator behind it that could say whether the task ended, so the rule has to be known.
//! As data it can be evaluated row by row on the CPU and packed for a kernel alike.

use serde::{Deserialize, Serialize};

/// A closed or open interval that one entry of the observation must stay inside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Which entry of the observation.
    pub index: usize,
    /// Lower end, in the entry's unit; `-inf` for none.
    pub low: f32,
    /// Upper end, in the entry's unit; `inf` for none.
    pub high: f32,
    /// Whether the ends themselves are inside.
    pub closed: bool,
}

/// When an episode ends by itself: the task goes on while every bound holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Termination {
    /// Bounds on single entries.
    pub bounds: Vec<Bound>,
    /// Whether a NaN or an infinity in any entry ends the episode.
    pub finite: bool,
}

impl Termination {
    /// A task that never ends by itself.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// A rule from bounds, with non-finite observations ending the episode.
    #[must_use]
    pub fn outside(bounds: Vec<Bound>) -> Self {
        Self { bounds, finite: true }
    }

    /// Whether a state with this observation `[O]` has terminated. A NaN is inside no bound.
    #[must_use]
    pub fn terminated(&self, obs: &[f32]) -> bool {
        let finite = !self.finite || obs.iter().all(|x| x.is_finite());
        let inside = self.bounds.iter().all(|bound| {
            let x = obs[bound.index];
            if bound.closed { bound.low <= x && x <= bound.high } else { bound.low < x && x < bound.high }
        });
        !(finite && inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_and_closed_ends_differ_exactly_at_the_bound() {
        let rule =
            |closed| Termination { bounds: vec![Bound { index: 1, low: -1.0, high: 2.0, closed }], finite: false };
        for (x, open, closed) in [(-1.0, true, false), (2.0, true, false), (0.0, false, false), (2.1, true, true)] {
            assert_eq!(rule(false).terminated(&[9.0, x]), open, "open, x = {x}");
            assert_eq!(rule(true).terminated(&[9.0, x]), closed, "closed, x = {x}");
        }
    }

    #[test]
    fn a_nan_ends_a_bounded_task_and_never_ends_a_boundless_one() {
        assert!(!Termination::never().terminated(&[f32::NAN]));
        assert!(Termination::outside(vec![]).terminated(&[0.0, f32::INFINITY]));
        let bound = Bound { index: 0, low: f32::NEG_INFINITY, high: f32::INFINITY, closed: true };
        assert!(Termination { bounds: vec![bound], finite: false }.terminated(&[f32::NAN]));
    }
}
