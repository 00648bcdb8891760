//! Statistics of the scores of several seeds on one or several tasks.
//!
//! A score is one number per run: in this crate the return at the compared step. `n_t` is the number of runs on task
//! `t` of `T` tasks, `x_ti` the score of run `i` on task `t`.
//!
//! | statistic | definition |
//! |---|---|
//! | mean | `1/T Σ_t 1/n_t Σ_i x_ti` |
//! | median | median over tasks of `1/n_t Σ_i x_ti` |
//! | interquartile mean (IQM) | mean of all `n = Σ_t n_t` scores without the `⌊n/4⌋` smallest and the `⌊n/4⌋` largest |
//! | optimality gap | `γ − 1/n Σ_t Σ_i min(x_ti, γ)`, with `γ = 1` |
//! | probability of improvement `P(X > Y)` | `1/T Σ_t 1/(n_t m_t) Σ_i Σ_j S(x_ti, y_tj)`; `S(a, b)` is 1 if `a > b`, ½ if `a = b`, else 0 |
//! | performance profile at `τ` | share of all scores above `τ` |
//!
//! Intervals are percentiles of a stratified bootstrap (module `bootstrap`). The sums of `S` are
//! Mann-Whitney's U.
//!
//! Source: Agarwal, Schwarzer, Castro, Courville, Bellemare, "Deep Reinforcement Learning at the Edge of the
//! Statistical Precipice", NeurIPS 2021, and its program rliable. The tests compare with numbers recorded from rliable
//! (`assets/fixtures/rliable.json`).

mod bootstrap;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde::Serialize;

pub use bootstrap::{Draw, Drawn, Sample, bootstrap, percentile};

/// The share of resamples inside an interval.
pub const LEVEL: f64 = 0.95;
/// The smallest number of seeds for which an order of two groups is claimed.
pub const LEAST_SEEDS: usize = 5;

/// A statistic with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The statistic of the scores themselves.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The scores of each task.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    values: Vec<f64>,
    /// End of each task's scores in `values`.
    ends: Vec<usize>,
}

impl Scores {
    /// Returns the scores of these tasks.
    ///
    /// # Panics
    /// If there is no task, or a task without scores.
    #[track_caller]
    #[must_use]
    pub fn new(tasks: &[Vec<f64>]) -> Self {
        assert!(!tasks.is_empty() && tasks.iter().all(|task| !task.is_empty()), "every task has scores: {tasks:?}");
        let mut ends = Vec::with_capacity(tasks.len());
        let mut values = Vec::new();
        for task in tasks {
            values.extend_from_slice(task);
            ends.push(values.len());
        }
        Self { values, ends }
    }

    /// Returns the two groups' scores in one, `x` first, for statistics of two groups.
    #[must_use]
    pub fn joined(x: &Self, y: &Self) -> Self {
        let ends = x.ends.iter().copied().chain(y.ends.iter().map(|end| x.values.len() + end)).collect();
        Self { values: [&x.values[..], &y.values].concat(), ends }
    }
}

/// Returns mean, median, IQM and optimality gap (`γ = 1`) of a group.
#[must_use]
pub fn aggregates(scores: &Scores, resamples: usize, draw: &dyn Draw) -> [Estimate; 4] {
    let mut of_tasks = Vec::with_capacity(scores.ends.len());
    let estimates = bootstrap(scores, 4, resamples, draw, |sample, out| {
        of_tasks.clear();
        of_tasks.extend(sample.tasks().map(mean));
        out[0] = mean(&of_tasks);
        out[1] = median(&mut of_tasks);
        out[3] = optimality_gap(sample.values(), 1.0);
        out[2] = iqm(sample.values_mut());
    });
    [estimates[0], estimates[1], estimates[2], estimates[3]]
}

/// Returns `P(X > Y)`, averaged over tasks. Both groups are resampled independently of each other.
///
/// # Panics
/// If the groups have different numbers of tasks.
#[track_caller]
#[must_use]
pub fn improvement(x: &Scores, y: &Scores, resamples: usize, draw: &dyn Draw) -> Estimate {
    let tasks = x.ends.len();
    assert_eq!(tasks, y.ends.len(), "both groups have the same tasks");
    bootstrap(&Scores::joined(x, y), 1, resamples, draw, |sample, out| {
        let pairs = (0..tasks).map(|task| probability_above(sample.task(task), sample.task(tasks + task)));
        out[0] = pairs.sum::<f64>() / tasks as f64;
    })[0]
}

/// Returns the performance profile: for each threshold, in ascending order, the share of scores above it.
#[must_use]
pub fn profile(scores: &Scores, thresholds: &[f64], resamples: usize, draw: &dyn Draw) -> Vec<Estimate> {
    bootstrap(scores, thresholds.len(), resamples, draw, |sample, out| {
        let values = sample.values_mut();
        values.sort_unstable_by(f64::total_cmp);
        for (share, threshold) in out.iter_mut().zip(thresholds) {
            let above = values.len() - values.partition_point(|value| value <= threshold);
            *share = above as f64 / values.len() as f64;
        }
    })
}

/// Returns the mean.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the interquartile mean: `scipy.stats.trim_mean(values, 0.25)`. The values are reordered.
#[must_use]
pub fn iqm(values: &mut [f64]) -> f64 {
    let (all, cut) = (values.len(), values.len() / 4);
    let mut kept = &mut values[..];
    if cut > 0 {
        kept.select_nth_unstable_by(cut, f64::total_cmp);
        kept = &mut kept[cut..];
        kept.select_nth_unstable_by(all - 2 * cut - 1, f64::total_cmp);
        kept = &mut kept[..all - 2 * cut];
    }
    mean(kept)
}

/// Returns the median; of an even number of values, the mean of the middle two. The values are reordered.
#[must_use]
pub fn median(values: &mut [f64]) -> f64 {
    let (even, middle) = (values.len().is_multiple_of(2), values.len() / 2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if !even {
        return upper;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    (lower + upper) / 2.0
}

/// Returns `γ` minus the mean of the scores, of which those above `γ` count as `γ`.
#[must_use]
pub fn optimality_gap(values: &[f64], gamma: f64) -> f64 {
    gamma - values.iter().map(|value| value.min(gamma)).sum::<f64>() / values.len() as f64
}

/// Returns the share of pairs in which `x` is above `y`. Equal values count one half.
#[must_use]
pub fn probability_above(x: &[f64], y: &[f64]) -> f64 {
    let mut halves = 0_usize;
    for a in x {
        for b in y {
            halves += usize::from(a > b) + usize::from(a >= b);
        }
    }
    halves as f64 / (2 * x.len() * y.len()) as f64
}

/// Returns the two-sided p-value of the exact sign test: the probability, if both signs are equally likely, of a split
/// as uneven as that of these differences. Zeros are left out.
#[must_use]
pub fn sign_test(differences: &[f64]) -> f64 {
    let count = |wanted| differences.iter().filter(|&value| value.partial_cmp(&0.0) == Some(wanted)).count();
    let (above, below) = (count(Ordering::Greater), count(Ordering::Less));
    let (all, fewer) = (above + below, above.min(below));
    // The binomial probabilities of 0, 1, … signs, each from the one before.
    let mut term = 0.5_f64.powi(all as i32);
    let mut tail = 0.0;
    for k in 0..=fewer {
        tail += term;
        term *= (all - k) as f64 / (k + 1) as f64;
    }
    (2.0 * tail).min(1.0)
}
