//! The reset that an episode began with, identified by two numbers: the last seed that a reset was given, and the
//! number of resets since then.
//!
//! A wrapper draws from streams that are keyed by these two numbers, so they are all that it has to save. They play the
//! part that the generator has in a task: a seed restarts the draws, a reset without a seed continues them, and a new
//! environment has seed 0.

use foresee_core::{Draws, State, StateError, Stream};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ResetCounter {
    /// The last seed that a reset was given.
    pub(super) seed: u64,
    /// Number of resets since the last seed, including the seeded one.
    count: u64,
}

impl ResetCounter {
    /// Returns the numbers after one more reset.
    pub(super) fn next(self, seed: Option<u64>) -> Self {
        let before = seed.map_or(self, |seed| Self { seed, count: 0 });
        Self { count: before.count + 1, ..before }
    }

    /// Returns the draws of this reset from the stream of this name.
    pub(super) fn draws(self, name: &str) -> Draws {
        Stream::new(self.seed, name).at(self.count, 0)
    }

    /// Array: `resets` u64 `[2]`, the last seed and the number of resets since then.
    pub(super) fn save(self, state: &mut State) {
        state.put("resets", vec![self.seed, self.count]);
    }

    pub(super) fn restored(state: &mut State) -> Result<Self, StateError> {
        match state.u64s("resets")?.1[..] {
            [seed, count] => Ok(Self { seed, count }),
            ref found => Err(StateError::Mismatch {
                path: "resets".into(),
                found: format!("{found:?}"),
                expected: "a seed and a count".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_begins_anew_and_none_goes_on_from_seed_0() {
        let fresh = ResetCounter::default().next(None);
        assert_eq!(fresh, ResetCounter::default().next(Some(0)));
        assert_eq!(fresh.next(None).next(Some(7)), ResetCounter::default().next(Some(7)));
        let word = |resets: ResetCounter| resets.draws("test/resets").bits64();
        let words = [fresh, fresh.next(None), fresh.next(Some(7)), fresh.next(Some(7)).next(None)].map(word);
        for (i, word) in words.iter().enumerate() {
            assert!(!words[..i].contains(word), "{words:?}");
        }
    }
}
