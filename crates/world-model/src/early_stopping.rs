//! When a fit stops, which weights it keeps, and who is elite. Pure bookkeeping on holdout scores; lower is better.
//!
//! A member improves when (best − score) / |best| exceeds the threshold. `shared` reproduces mbrl-lib: the score before the first epoch is the first best, one member's improvement keeps everybody's weights, and if
//! nothing improved the last weights stay. `member`, as in MBPO, keeps each member's own best, counted from the first
//! epoch on: what a warm start scores on rows that it was trained on says nothing.

use foresee_core::{State, StateError};

use crate::config::Snapshot;

/// What a round of scores asks of the trainer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Members whose weights are to be kept now.
    pub keep: Vec<usize>,
    /// Whether patience has run out.
    pub stop: bool,
}

/// The running best scores.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStopping {
    snapshot: Snapshot,
    patience: u32,
    threshold: f64,
    best: Vec<f64>,
    waited: u32,
}

impl EarlyStopping {
    /// Starts from the scores to beat, `[E]`: those before the first epoch, or infinities for any finite score to count.
    #[must_use]
    pub fn new(snapshot: Snapshot, patience: u32, threshold: f64, to_beat: Vec<f64>) -> Self {
        Self { snapshot, patience, threshold, best: to_beat, waited: 0 }
    }

    /// Takes the scores `[E]` of a round. A NaN never improves.
    #[track_caller]
    pub fn update(&mut self, scores: &[f64]) -> Verdict {
        assert_eq!(scores.len(), self.best.len(), "one score a member");
        let improves = |(&best, &score): (&f64, &f64)| {
            if best.is_infinite() { score.is_finite() } else { (best - score) / best.abs() > self.threshold }
        };
        let improved: Vec<bool> = self.best.iter().zip(scores).map(improves).collect();
        let any = improved.contains(&true);
        let mut keep = Vec::new();
        for (member, improved) in improved.into_iter().enumerate() {
            let kept = match self.snapshot {
                Snapshot::Member => improved,
                Snapshot::Shared => any,
            };
            if kept {
                self.best[member] = self.best[member].min(scores[member]);
                keep.push(member);
            }
        }
        self.waited = if any { 0 } else { self.waited + 1 };
        Verdict { keep, stop: self.waited >= self.patience }
    }

    /// The best scores, `[E]`.
    #[must_use]
    pub fn best(&self) -> &[f64] {
        &self.best
    }

    /// The `count` members with the lowest best scores, best first.
    #[must_use]
    pub fn elites(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.best.len()).collect();
        order.sort_by(|&a, &b| self.best[a].total_cmp(&self.best[b]));
        order.truncate(count);
        order
    }

    /// As arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("best", self.best.clone());
        state.put("waited", u64::from(self.waited));
        state
    }

    /// Reads the running part back.
    ///
    /// # Errors
    /// If an array is missing or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.best = state.f64s("best")?.1;
        self.waited = state.u64("waited")? as u32;
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_keeps_its_own_best_and_only_that() {
        let mut stopping = EarlyStopping::new(Snapshot::Member, 2, 0.01, vec![f64::INFINITY; 2]);
        assert_eq!(stopping.update(&[1.0, 2.0]), Verdict { keep: vec![0, 1], stop: false });
        assert_eq!(stopping.update(&[1.5, 1.0]), Verdict { keep: vec![1], stop: false });
        assert_eq!(stopping.update(&[0.999, 1.1]), Verdict { keep: vec![], stop: false });
        assert_eq!(stopping.update(&[1.0, 1.0]), Verdict { keep: vec![], stop: true });
        assert_eq!((stopping.best(), stopping.elites(1)), (&[1.0, 1.0][..], vec![0]));
    }

    #[test]
    fn a_nan_score_never_wins() {
        for snapshot in [Snapshot::Member, Snapshot::Shared] {
            let mut stopping = EarlyStopping::new(snapshot, 1, 0.01, vec![1.0, 1.0]);
            let verdict = stopping.update(&[f64::NAN, 0.5]);
            assert!(snapshot == Snapshot::Shared || verdict.keep == [1]);
            assert_eq!(stopping.elites(1), [1]);
            assert!(!stopping.best().iter().any(|b| b.is_nan()));
        }
    }
}
