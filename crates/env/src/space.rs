//! Boxes: a closed interval for each entry of an observation or of an action.
//!
//! The sampling rule is that of `gymnasium.spaces.Box.sample` (1.4.0). An entry with two finite bounds is uniform; with
//! one bound, its distance from the bound is standard exponential; with none, it is standard normal. The random bits
//! come from this program's streams, not from numpy.

use core::fmt;

use foresee_core::Draws;

/// A box in `dim()` dimensions. An infinite end means no bound.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxSpace {
    /// Lower ends, in each entry's own unit. They belong to the box.
    pub low: Vec<f32>,
    /// Upper ends, in each entry's own unit. They belong to the box.
    pub high: Vec<f32>,
}

impl BoxSpace {
    /// The box between two corners.
    #[track_caller]
    #[must_use]
    pub fn new(low: Vec<f32>, high: Vec<f32>) -> Self {
        assert_eq!(low.len(), high.len(), "corners {} and {}", Abbreviated(&low), Abbreviated(&high));
        assert!(
            low.iter().zip(&high).all(|(low, high)| low <= high),
            "a box from {} to {}",
            Abbreviated(&low),
            Abbreviated(&high)
        );
        Self { low, high }
    }

    /// The box [-bound, bound] in every entry.
    #[track_caller]
    #[must_use]
    pub fn symmetric(bounds: &[f32]) -> Self {
        Self::new(bounds.iter().map(|bound| -bound).collect(), bounds.to_vec())
    }

    /// The number of entries.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.low.len()
    }

    /// Whether a point has the right length and is inside. A point with a NaN is never inside.
    #[must_use]
    pub fn contains(&self, point: &[f32]) -> bool {
        point.len() == self.dim() && self.ends().zip(point).all(|((low, high), x)| low <= x && x <= high)
    }

    /// Whether every entry has two finite ends.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.low.iter().chain(&self.high).all(|end| end.is_finite())
    }

    /// Returns the first entry that has a finite end in `ends`, `[low, high]` of the box in f64, and an infinite end in
    /// f32.
    pub(crate) fn narrowed_to_infinity(ends: &[Vec<f64>; 2]) -> Option<(usize, f64)> {
        let [low, high] = ends;
        let beyond = |end: &f64| end.is_finite() && !(*end as f32).is_finite();
        let entries = low.iter().zip(high).enumerate();
        entries.flat_map(|(index, (low, high))| [(index, *low), (index, *high)]).find(|(_, end)| beyond(end))
    }

    /// Returns the nearest point of the box, `[dim]`.
    #[track_caller]
    #[must_use]
    pub fn clamp(&self, point: &[f32]) -> Vec<f32> {
        assert_eq!(point.len(), self.dim(), "a point of {} entries for a box of {}", point.len(), self.dim());
        self.ends().zip(point).map(|((&low, &high), x)| x.clamp(low, high)).collect()
    }

    /// Draws a random point, `[dim]`. Each entry takes one word of the draws.
    #[must_use]
    pub fn sample(&self, draws: &mut Draws) -> Vec<f32> {
        self.ends().map(|(&low, &high)| sample_entry(low, high, draws)).collect()
    }

    fn ends(&self) -> impl Iterator<Item = (&f32, &f32)> {
        self.low.iter().zip(&self.high)
    }
}

impl fmt::Display for BoxSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", Abbreviated(&self.low), Abbreviated(&self.high))
    }
}

/// Formats a list for messages: its first entries, and the total number if there are more.
pub(crate) struct Abbreviated<'a, T>(pub(crate) &'a [T]);

/// Number of entries that a message shows.
pub(crate) const MAX_SHOWN: usize = 6;

impl<T: fmt::Debug> fmt::Display for Abbreviated<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(entries) = self;
        if entries.len() <= MAX_SHOWN {
            return write!(f, "{entries:?}");
        }
        let shown: Vec<String> = entries[..MAX_SHOWN].iter().map(|entry| format!("{entry:?}")).collect();
        write!(f, "[{}, … {} in all]", shown.join(", "), entries.len())
    }
}

fn sample_entry(low: f32, high: f32, draws: &mut Draws) -> f32 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => {
            // In f64, because high - low may exceed the largest f32.
            let (low, high) = (f64::from(low), f64::from(high));
            (low + (high - low) * f64::from(draws.uniform())) as f32
        }
        (true, false) => low + exponential(draws),
        (false, true) => high - exponential(draws),
        (false, false) => draws.normal(),
    }
}

/// Draws from the standard exponential distribution by inverting its distribution function. The uniform has 24 bits, so
/// no draw exceeds 16.7.
fn exponential(draws: &mut Draws) -> f32 {
    -(1.0 - draws.uniform()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use foresee_core::Stream;

    const INF: f32 = f32::INFINITY;

    #[test]
    fn a_box_contains_its_ends_and_nothing_beyond_them() {
        let space = BoxSpace::new(vec![-1.0, 0.0], vec![1.0, INF]);
        assert!(space.contains(&[-1.0, 0.0]) && space.contains(&[1.0, INF]));
        for outside in [&[1.1, 0.0][..], &[0.0, -0.1], &[f32::NAN, 0.0], &[0.0], &[0.0, 0.0, 0.0]] {
            assert!(!space.contains(outside), "{outside:?}");
        }
        assert!(!space.is_bounded() && BoxSpace::symmetric(&[2.0]).is_bounded());
        assert_eq!(space.clamp(&[-3.0, 7.0]), [-1.0, 7.0]);
    }

    #[test]
    fn a_long_list_is_told_by_its_first_entries() {
        assert_eq!(Abbreviated(&[1.0, -0.0, f32::MAX]).to_string(), "[1.0, -0.0, 3.4028235e38]");
        assert_eq!(Abbreviated(&[1; 6]).to_string(), "[1, 1, 1, 1, 1, 1]");
        assert_eq!(Abbreviated(&[1; 7]).to_string(), "[1, 1, 1, 1, 1, 1, … 7 in all]");
        let space = BoxSpace::symmetric(&[1.0; 100_000]);
        let end = |x: &str| format!("[{}… 100000 in all]", format!("{x}, ").repeat(6));
        assert_eq!(space.to_string(), format!("from {} to {}", end("-1.0"), end("1.0")));
    }

    #[test]
    fn samples_follow_the_distribution_that_the_bounds_choose() {
        // (low, high, mean, variance): uniform, exponential above 3, exponential below 3, normal.
        let cases = [(-2.0, 4.0, 1.0, 3.0), (3.0, INF, 4.0, 1.0), (-INF, 3.0, 2.0, 1.0), (-INF, INF, 0.0, 1.0)];
        let space = BoxSpace::new(cases.iter().map(|c| c.0).collect(), cases.iter().map(|c| c.1).collect());
        let stream = Stream::new(0, "test/space");
        let rows = 100_000_u32;
        let points: Vec<_> = (0..rows).map(|row| space.sample(&mut stream.at(0, row))).collect();
        assert!(points.iter().all(|point| space.contains(point)));
        for (i, (low, high, mean, variance)) in cases.into_iter().enumerate() {
            let moment =
                |p: i32| points.iter().map(|x| (f64::from(x[i]) - mean).powi(p)).sum::<f64>() / f64::from(rows);
            // Five standard errors. The largest kurtosis here is 9, the fourth central moment of an exponential.
            assert!(moment(1).abs() < 5.0 * (variance / f64::from(rows)).sqrt(), "[{low}, {high}]: mean {}", moment(1));
            let bound = 5.0 * variance * (8.0 / f64::from(rows)).sqrt();
            assert!((moment(2) - variance).abs() < bound, "[{low}, {high}]: variance {}", moment(2));
        }
    }

    #[test]
    fn the_widest_finite_box_gives_finite_samples() {
        let space = BoxSpace::symmetric(&[f32::MAX]);
        let mut draws = Stream::new(0, "test/space").at(0, 0);
        assert!((0..1000).all(|_| space.sample(&mut draws)[0].is_finite()));
    }

    #[test]
    #[should_panic(expected = "a box from [1.0] to [0.0]")]
    fn an_inside_out_box_is_refused() {
        let _ = BoxSpace::new(vec![1.0], vec![0.0]);
    }
}
