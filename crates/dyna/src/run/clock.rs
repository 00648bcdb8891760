//! The clock of a run.
//!
//! With live environments it counts real steps, `env.count` at a time; with a data set it counts updates of the agent.
//! All schedules, intervals and reports use the clock, so no other code distinguishes the two cases.

use crate::schedule::crossed_multiple;

/// A counter that advances in equal turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Number of ticks so far.
    pub(super) now: u64,
    /// Number of ticks per turn.
    pub(super) turn: u64,
}

impl Clock {
    /// Returns a clock at 0.
    pub(super) fn new(turn: u64) -> Self {
        Self { now: 0, turn }
    }

    /// Advances by one turn.
    pub(super) fn advance(&mut self) {
        self.now += self.turn;
    }

    /// Whether the last turn reached or crossed a multiple of `every`.
    pub(super) fn is_due(&self, every: u64) -> bool {
        crossed_multiple(every, self.now, self.turn)
    }

    /// Number of ticks of the last turn that are `start` or later.
    pub(super) fn since(&self, start: u64) -> u64 {
        self.turn.min((self.now + 1).saturating_sub(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ticks_from_the_start_on_count_and_the_starting_tick_is_the_first() {
        let mut clock = Clock::new(3);
        let counted: Vec<u64> = (0..4)
            .map(|_| {
                clock.advance();
                clock.since(5)
            })
            .collect();
        // Turns 1-3, 4-6, 7-9, 10-12.
        assert_eq!(counted, [0, 2, 3, 3]);
        assert_eq!(clock.now, 12);
    }
}
