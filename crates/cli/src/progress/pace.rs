//! The speed of a run.

use std::collections::VecDeque;
use std::time::Duration;

/// Time span of the mean speeds. It is longer than one model fit, so the estimated time left does not jump with the
/// phase.
const WINDOW: Duration = Duration::from_mins(2);

/// The speed of the run, measured over the last [`WINDOW`].
#[derive(Default)]
pub(super) struct Pace {
    /// Time and environment steps of the first sample.
    first: Option<(Duration, u64)>,
    /// Time, environment steps and imagined steps of each sample.
    samples: VecDeque<(Duration, u64, u64)>,
}

impl Pace {
    /// Adds a sample.
    pub(super) fn observe(&mut self, now: Duration, env_step: u64, imagined_steps: u64) {
        // About a hundred samples are enough: the newest sample replaces the one before it until that one is far enough
        // from its predecessor.
        self.first.get_or_insert((now, env_step));
        let length = self.samples.len();
        if length > 1 && now.saturating_sub(self.samples[length - 2].0) < WINDOW / 100 {
            self.samples.pop_back();
        }
        self.samples.push_back((now, env_step, imagined_steps));
        while self.samples.len() > 2 && now.saturating_sub(self.samples[0].0) > WINDOW {
            self.samples.pop_front();
        }
    }

    /// Returns the environment step of the last sample.
    pub(super) fn last_step(&self) -> Option<u64> {
        self.samples.back().map(|sample| sample.1)
    }

    /// Returns environment steps and imagined steps per second; `None` before one second has been measured.
    pub(super) fn rates(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        (seconds >= 1.0).then(|| (rate(first.1, last.1), rate(first.2, last.2)))
    }

    /// Returns environment steps per second since the first sample, with the time of evaluations; `None` before one
    /// second has been measured.
    pub(super) fn mean(&self) -> Option<f64> {
        let ((began, from), (now, to, _)) = (self.first?, *self.samples.back()?);
        let seconds = now.saturating_sub(began).as_secs_f64();
        (seconds >= 1.0).then(|| to.saturating_sub(from) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_minutes() {
        let mut pace = Pace::default();
        for tenth in 0..20_000_u64 {
            // 100 steps per second for 1,000 s, then 10 per second.
            let env_step = if tenth < 10_000 { 10 * tenth } else { 90_000 + tenth };
            pace.observe(Duration::from_millis(100 * tenth), env_step, 0);
        }
        let (real, imagined) = pace.rates().unwrap();
        assert!((real - 10.0).abs() < 1e-9, "{real}");
        assert!(imagined.abs() < 1e-9);
        assert!(pace.samples.len() <= 200, "{}", pace.samples.len());
    }
}
