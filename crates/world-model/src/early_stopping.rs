//! Early stopping: decides when a fit stops, which weights it keeps, and which members are elites. The decisions use
//! holdout scores only; a lower score is better.
//!
//! A member improves if (best − score) / |best| exceeds the threshold.
//!
//! `shared` reproduces mbrl-lib. The score before the first epoch is the first best score. An improvement of one member
//! keeps the weights of all members. If nothing improves, the last weights stay.
//!
//! `member` keeps the best weights of each member, as MBPO does. Only scores of the current call count: earlier calls
//! trained the initial weights on rows that are now in the holdout, so the initial score says nothing.

use foresee_core::{State, StateError};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::config::Snapshot;

/// The trainer's tasks after a round of scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Members whose current weights are to be kept.
    pub keep: Vec<usize>,
    /// True if patience is exhausted: the trainer then ends the fit.
    pub stop: bool,
}

/// The best scores so far, and the number of rounds without improvement.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlyStopping {
    snapshot: Snapshot,
    patience: u32,
    threshold: f64,
    best: Vec<f64>,
    waited: u32,
}

impl EarlyStopping {
    /// Starts from the scores to beat, `[E]`: the scores before the first epoch, or infinities, against which every
    /// finite score counts.
    #[must_use]
    pub fn new(snapshot: Snapshot, patience: u32, threshold: f64, to_beat: Vec<f64>) -> Self {
        Self { snapshot, patience, threshold, best: to_beat, waited: 0 }
    }

    /// Compares a round of scores `[E]` with the best ones. A NaN never counts as an improvement.
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
            let keeps = match self.snapshot {
                Snapshot::Member => improved,
                Snapshot::Shared => any,
            };
            if keeps {
                self.best[member] = self.best[member].min(scores[member]);
                keep.push(member);
            }
        }
        self.waited = if any { 0 } else { self.waited + 1 };
        Verdict { keep, stop: self.waited >= self.patience }
    }

    /// Returns the best scores, `[E]`.
    #[must_use]
    pub fn best(&self) -> &[f64] {
        &self.best
    }

    /// Returns the `count` members with the lowest best scores, best first.
    #[must_use]
    pub fn elites(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.best.len()).collect();
        order.sort_by(|&a, &b| self.best[a].total_cmp(&self.best[b]));
        order.truncate(count);
        order
    }

    /// Replaces the best scores by `scores`, `[E]`. The paired test uses it for the weights that it keeps.
    pub fn set_best(&mut self, scores: &[f64]) {
        self.best = scores.to_vec();
    }

    /// Returns the best scores and the rounds without improvement as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        save(&self.best, self.waited)
    }

    /// Restores the best scores and the rounds without improvement.
    ///
    /// # Errors
    /// If an array is missing or left over.
    pub fn load(&mut self, state: State) -> Result<(), StateError> {
        (self.best, self.waited) = load(state)?;
        Ok(())
    }
}

/// Returns the best scores and the rounds without improvement as arrays.
fn save(best: &[f64], waited: u32) -> State {
    let mut state = State::new();
    state.put("best", best.to_vec());
    state.put("waited", u64::from(waited));
    state
}

fn load(mut state: State) -> Result<(Vec<f64>, u32), StateError> {
    let (best, waited) = (state.f64s("best")?.1, state.u64("waited")? as u32);
    state.finish()?;
    Ok((best, waited))
}

/// Number of rows from which on the t distribution is replaced by the normal distribution.
const MANY_ROWS: usize = 1000;
/// Weights are kept if the p-value is below `KEEPS_WEIGHTS`. Patience is not spent if it is below `RESETS_PATIENCE`.
const KEEPS_WEIGHTS: f64 = 0.1;
const RESETS_PATIENCE: f64 = 0.5;

/// Early stopping by a paired test of the holdout rows' scores (4kubo/erl_lib @ 024b0b5).
///
/// `p` is the one-sided p-value of the test: the probability of a mean difference at least this low if the new scores
/// were as good as the best ones. If `p` is below 0.1, the weights are kept and their scores become the best ones. If
/// `p` is below 0.5, the count of rounds without improvement starts again from 0. Otherwise it grows by one.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedTest {
    patience: u32,
    /// The score of every holdout row under the kept weights, `[rows]`.
    best: Vec<f64>,
    waited: u32,
}

impl PairedTest {
    /// Starts from the rows' scores before the first gradient step, `[rows]`.
    #[must_use]
    pub fn new(patience: u32, before: Vec<f64>) -> Self {
        Self { patience, best: before, waited: 0 }
    }

    /// Compares a round of scores `[rows]` with the best ones. Returns whether the weights are to be kept, and whether
    /// patience is exhausted. A NaN never counts as an improvement.
    #[track_caller]
    pub fn update(&mut self, scores: &[f64]) -> (bool, bool) {
        let p = probability(scores, &self.best);
        let keep = p < KEEPS_WEIGHTS;
        if keep {
            self.best = scores.to_vec();
        }
        self.waited = if p < RESETS_PATIENCE { 0 } else { self.waited + 1 };
        (keep, self.waited > self.patience)
    }

    /// Returns the best scores and the rounds without improvement as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        save(&self.best, self.waited)
    }

    /// Restores the best scores and the rounds without improvement.
    ///
    /// # Errors
    /// If an array is missing or left over.
    pub fn load(&mut self, state: State) -> Result<(), StateError> {
        (self.best, self.waited) = load(state)?;
        Ok(())
    }
}

/// Returns the one-sided p-value of a paired test that `scores` are lower than `best`. If the test statistic is not
/// finite, the result is 0 for a negative mean difference and 1 otherwise.
#[track_caller]
fn probability(scores: &[f64], best: &[f64]) -> f64 {
    assert_eq!(scores.len(), best.len(), "one score a row");
    let n = scores.len() as f64;
    let differences: Vec<f64> = scores.iter().zip(best).map(|(score, best)| score - best).collect();
    let mean = differences.iter().sum::<f64>() / n;
    let variance = differences.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = mean / (variance / n).sqrt();
    if !t.is_finite() || scores.len() < 2 {
        // All rows differ by the same number, there is only one row, or a score is not a number.
        return if mean < 0.0 { 0.0 } else { 1.0 };
    }
    if scores.len() < MANY_ROWS {
        StudentsT::new(0.0, 1.0, n - 1.0).expect("two rows or more").cdf(t)
    } else {
        Normal::standard().cdf(t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paired_test_decides_as_the_published_code_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/fixtures/agents.json");
        let file: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("the fixtures")).expect("JSON");
        let entry = &file["entries"]["early_stop"];
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let shifts: Vec<f64> = entry["inputs"]["c"].as_array().expect("shifts").iter().map(number).collect();
        for case in entry["outputs"]["cases"].as_array().expect("cases") {
            let n = case["n"].as_u64().expect("a count") as usize;
            let scores = |k: usize| -> Vec<f64> {
                let row = |i: usize| {
                    let (i, k) = (i as f64, k as f64);
                    (0.7 * i).sin()
                        + 0.8 * (1.3 * i * (1.0 + 0.37 * k)).cos()
                        + shifts[k as usize] * (40.0 / n as f64).sqrt()
                };
                (0..n).map(row).collect()
            };
            let mut test = PairedTest::new(entry["inputs"]["patience"].as_u64().expect("a count") as u32, scores(0));
            let (mut best_round, mut stopped) = (0, false);
            for (k, want) in (1..).zip(case["steps"].as_array().expect("steps")) {
                assert!(!stopped, "n {n}, round {k}: after the end");
                let p = probability(&scores(k), &test.best);
                assert!((p - number(&want["p"])).abs() < 1e-9, "n {n}, round {k}: {p}, expected {}", want["p"]);
                let (keep, stop) = test.update(&scores(k));
                best_round = if keep { k } else { best_round };
                let got = (best_round as u64, stop, u64::from(test.waited));
                let want = (want["best_epoch"].as_u64(), want["stop"].as_bool(), want["wait"].as_u64());
                assert_eq!((Some(got.0), Some(got.1), Some(got.2)), want, "n {n}, round {k}");
                stopped = stop;
            }
        }
        assert_eq!(probability(&[1.0, f64::NAN], &[2.0, 2.0]), 1.0);
        assert_eq!((probability(&[1.0], &[2.0]), probability(&[3.0], &[2.0]), probability(&[], &[])), (0.0, 1.0, 1.0));
        assert_eq!((probability(&[1.0, 1.0], &[2.0, 2.0]), probability(&[2.0, 2.0], &[2.0, 2.0])), (0.0, 1.0));
    }

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
