//! Which reset an episode began with: the last seed that a reset was given, and how many resets there were since.
//!
//! It is to a wrapper's draws what the generator is to a task's: a seed begins anew, no seed goes on, and a fresh
//! environment is one whose seed is 0. Streams are keyed by it, so two numbers are all there is to save.

use foresee_core::{Draws, State, StateError, Stream};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resets {
    /// The last seed that a reset was given.
    pub(super) seed: u64,
    /// Resets since, that one included.
    count: u64,
}

impl Resets {
    /// After one more reset.
    pub(super) fn next(self, seed: Option<u64>) -> Self {
        let before = seed.map_or(self, |seed| Self { seed, count: 0 });
        Self { count: before.count + 1, ..before }
    }

    /// What this reset draws from the stream of this name.
    pub(super) fn draws(self, name: &str) -> Draws {
        Stream::new(self.seed, name).at(self.count, 0)
    }

    /// `resets` u64 `[2]`: the seed, and the resets since.
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
        let fresh = Resets::default().next(None);
        assert_eq!(fresh, Resets::default().next(Some(0)));
        assert_eq!(fresh.next(None).next(Some(7)), Resets::default().next(Some(7)));
        let word = |resets: Resets| resets.draws("test/resets").bits64();
        let words = [fresh, fresh.next(None), fresh.next(Some(7)), fresh.next(Some(7)).next(None)].map(word);
        for (i, word) in words.iter().enumerate() {
            assert!(!words[..i].contains(word), "{words:?}");
        }
    }
}
