//! Waits with a time limit that counts only the time in which this program runs.

use std::time::{Duration, Instant};

/// Longest part of the wait for an answer, and smallest number of parts.
const MAX_ANSWER_SLICE: Duration = Duration::from_millis(250);
const MIN_ANSWER_SLICES: u32 = 8;

/// A wait with a time limit, in slices. A slice counts with at most its own length, however much later it ends. A
/// stopped program (Ctrl-Z), a frozen job or a sleeping machine therefore adds at most one slice to the time waited.
pub(super) struct Wait {
    left: Duration,
    slice: Duration,
}

impl Wait {
    /// A wait of at most `limit`, in parts of at most `slice`.
    pub(super) fn new(limit: Duration, slice: Duration) -> Self {
        Self { left: limit, slice }
    }

    /// Waits for an answer of a process.
    pub(super) fn for_answer(limit: Duration) -> Self {
        Self::new(limit, (limit / MIN_ANSWER_SLICES).min(MAX_ANSWER_SLICE))
    }

    /// Returns the length of the next slice, or `None` after the time limit.
    pub(super) fn next_slice(&self) -> Option<Duration> {
        // A socket takes times in microseconds, and 0 as no limit.
        (self.left >= Duration::from_micros(1)).then(|| self.slice.min(self.left))
    }

    /// Counts the time since the start of a slice.
    pub(super) fn count(&mut self, slice: Duration, since: Instant) {
        self.left -= since.elapsed().min(slice);
    }
}
