//! The stratified bootstrap.
//!
//! A resample draws, for every task by itself, as many of the task's runs as there are, with replacement. A statistic is
//! computed on each resample. The ends of the interval are the percentiles 2.5 and 97.5 of these numbers, with linear
//! interpolation between neighbours.

use foresee_core::stream::Stream;

use super::{Estimate, LEVEL, Scores};

/// A source of resamples.
pub trait Draw {
    /// Writes the runs of resample number `resample`: `positions[k]` is the position of the k-th value of the resample
    /// among all values. `ends` are the ends of the tasks; positions before an end, and not before the end of the
    /// previous task, belong to the task.
    fn draw(&self, resample: usize, ends: &[usize], positions: &mut [u32]);
}

/// Resamples from a random stream: equal seeds give equal resamples.
#[derive(Clone, Copy, Debug)]
pub struct Drawn(Stream);

impl Drawn {
    /// Returns the resamples of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Stream::new(seed, "report/bootstrap"))
    }
}

impl Draw for Drawn {
    fn draw(&self, resample: usize, ends: &[usize], positions: &mut [u32]) {
        let mut draws = self.0.at(resample as u64, 0);
        let mut start = 0;
        for &end in ends {
            for position in &mut positions[start..end] {
                *position = (start + draws.below(end - start)) as u32;
            }
            start = end;
        }
    }
}

/// The scores of a resample.
#[derive(Debug)]
pub struct Sample<'a> {
    values: &'a mut [f64],
    ends: &'a [usize],
}

impl Sample<'_> {
    /// Returns the scores of all tasks.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        self.values
    }

    /// Returns the scores of all tasks, for a statistic that reorders them. After that, [`Sample::task`] has no meaning.
    #[must_use]
    pub fn values_mut(&mut self) -> &mut [f64] {
        self.values
    }

    /// Returns the scores of a task.
    #[must_use]
    pub fn task(&self, task: usize) -> &[f64] {
        let start = task.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[start..self.ends[task]]
    }

    /// Returns the scores of each task.
    pub fn tasks(&self) -> impl Iterator<Item = &[f64]> {
        (0..self.ends.len()).map(|task| self.task(task))
    }
}

/// Returns `count` statistics with their intervals. `statistic` writes the statistics of a sample. The loop over
/// resamples does not allocate.
pub fn bootstrap(
    scores: &Scores,
    count: usize,
    resamples: usize,
    draw: &dyn Draw,
    mut statistic: impl FnMut(&mut Sample<'_>, &mut [f64]),
) -> Vec<Estimate> {
    let ends = &scores.ends;
    let mut values = scores.values.clone();
    let mut out = vec![0.0; count];
    statistic(&mut Sample { values: &mut values, ends }, &mut out);
    let points = out.clone();

    let mut positions = vec![0; values.len()];
    let mut of_resamples = vec![0.0; count * resamples];
    for resample in 0..resamples {
        draw.draw(resample, ends, &mut positions);
        for (value, &position) in values.iter_mut().zip(&positions) {
            *value = scores.values[position as usize];
        }
        statistic(&mut Sample { values: &mut values, ends }, &mut out);
        for (k, &number) in out.iter().enumerate() {
            of_resamples[k * resamples + resample] = number;
        }
    }

    let tail = (1.0 - LEVEL) / 2.0;
    points
        .iter()
        .enumerate()
        .map(|(k, &value)| {
            let numbers = &mut of_resamples[k * resamples..(k + 1) * resamples];
            Estimate { value, low: percentile(numbers, tail), high: percentile(numbers, 1.0 - tail) }
        })
        .collect()
}

/// Returns the value below which a share of the values lies, with linear interpolation between neighbours, as numpy's
/// `percentile` does. Infinite values are allowed. The values are reordered.
///
/// # Panics
/// If there are no values.
#[track_caller]
#[must_use]
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    assert!(!values.is_empty(), "a percentile needs values");
    let place = share * (values.len() - 1) as f64;
    let (_, &mut lower, above) = values.select_nth_unstable_by(place.floor() as usize, f64::total_cmp);
    let fraction = place.fract();
    match above.iter().copied().min_by(f64::total_cmp) {
        Some(upper) if fraction > 0.0 && upper != lower => lower + fraction * (upper - lower),
        _ => lower,
    }
}
