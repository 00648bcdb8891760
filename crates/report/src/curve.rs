//! Learning curves, and the steps and seconds that a group needs to reach a return.

use std::collections::BTreeSet;

use crate::report::{Curve, CurvePoint, Reach, Until};
use crate::run::Run;
use crate::stats::{self, Draw, Estimate, Sample, Scores};

/// The largest number of steps in a curve; of longer ones, steps are left out evenly.
const MOST_POINTS: usize = 200;

/// Returns the learning curve of a group: IQM and mean over the runs that have a value at a step, for every step with an
/// evaluation of one of the runs.
pub(crate) fn curve(runs: &[&Run], resamples: usize, draw: &dyn Draw) -> Curve {
    let steps: BTreeSet<u64> = runs.iter().flat_map(|run| run.points.iter().map(|point| point.step)).collect();
    let every = steps.len().div_ceil(MOST_POINTS).max(1);
    let last = steps.len() - 1;
    let kept = steps.into_iter().enumerate().filter(|(n, _)| n % every == 0 || *n == last);
    let point = |step| {
        let values: Vec<f64> = runs.iter().filter_map(|run| run.value_at(step)).collect();
        let seconds: Vec<f64> = runs.iter().filter_map(|run| run.seconds_at(step)).collect();
        let seeds = values.len();
        let estimates = stats::bootstrap(&Scores::new(&[values]), 2, resamples, draw, mean_and_iqm);
        // Seconds of some of the runs alone would jump where a run ends.
        let seconds = (seconds.len() == seeds).then(|| stats::mean(&seconds));
        CurvePoint { step, seconds, seeds, mean: estimates[0], iqm: estimates[1] }
    };
    Curve { points: kept.map(|(_, step)| point(step)).collect() }
}

/// Writes mean and IQM of a sample of one task.
fn mean_and_iqm(sample: &mut Sample<'_>, out: &mut [f64]) {
    out[0] = stats::mean(sample.values());
    out[1] = stats::iqm(sample.values_mut());
}

/// Returns how many of the runs reach a return up to a step, and the median of the steps and seconds that they need.
///
/// A run reaches the return at its first evaluation that is not below it. A run that does not reach it counts as later
/// than all others, so the median exists only if more than half of the runs reach it.
pub(crate) fn reach(runs: &[&Run], threshold: f64, step: u64, resamples: usize, draw: &dyn Draw) -> Reach {
    let first: Vec<_> =
        runs.iter().map(|run| run.points.iter().find(|point| point.step <= step && point.value >= threshold)).collect();
    let until = |numbers: Vec<f64>| {
        let median = |sample: &mut Sample<'_>, out: &mut [f64]| out[0] = stats::median(sample.values_mut());
        let Estimate { value, low, high } = stats::bootstrap(&Scores::new(&[numbers]), 1, resamples, draw, median)[0];
        let finite = |number: f64| number.is_finite().then_some(number);
        Until { median: finite(value), low: finite(low), high: finite(high) }
    };
    let steps = first.iter().map(|point| point.map_or(f64::INFINITY, |point| point.step as f64)).collect();
    let seconds: Option<Vec<f64>> =
        first.iter().map(|point| point.map_or(Some(f64::INFINITY), |point| point.seconds)).collect();
    Reach { seeds: first.iter().flatten().count(), of: runs.len(), steps: until(steps), seconds: seconds.map(until) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Point;
    use crate::stats::Drawn;

    fn run(points: &[(u64, f64)]) -> Run {
        let point = |&(step, value): &(u64, f64)| Point { step, value, seconds: Some(step as f64 / 10.0) };
        Run {
            path: "run".into(),
            label: None,
            name: "run".into(),
            task: Some("task".into()),
            seed: Some(0),
            config: None,
            by_name: true,
            fingerprint: String::new(),
            points: points.iter().map(point).collect(),
        }
    }

    #[test]
    fn a_curve_has_the_values_of_the_runs_that_have_not_ended() {
        let (short, long) = (run(&[(100, 1.0), (200, 3.0)]), run(&[(100, 5.0), (300, 9.0), (400, 2.0)]));
        let curve = curve(&[&short, &long], 500, &Drawn::new(0));
        let points: Vec<_> = curve.points.iter().map(|p| (p.step, p.seeds, p.mean.value, p.seconds)).collect();
        let want = [
            (100, 2, 3.0, Some(10.0)),
            (200, 2, 5.0, Some(20.0)),
            (300, 1, 9.0, Some(30.0)),
            (400, 1, 2.0, Some(40.0)),
        ];
        assert_eq!(points, want);
        // A resample of two values has one of them twice in half of the cases, so the interval spans both.
        assert_eq!((curve.points[0].mean.low, curve.points[0].mean.high), (1.0, 5.0));
    }

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_last_step() {
        let long = run(&(1..=1001).map(|n| (n * 10, n as f64)).collect::<Vec<_>>());
        let curve = curve(&[&long], 10, &Drawn::new(0));
        assert!(curve.points.len() <= MOST_POINTS + 1, "{}", curve.points.len());
        assert_eq!(curve.points.first().map(|p| p.step), Some(10));
        assert_eq!(curve.points.last().map(|p| p.step), Some(10010));
    }

    #[test]
    fn a_run_that_does_not_reach_the_return_counts_as_later_than_all_others() {
        let early = run(&[(100, 0.0), (200, 7.0), (300, 1.0)]);
        let late = run(&[(100, 0.0), (200, 1.0), (300, 7.0)]);
        let never = run(&[(100, 0.0), (200, 1.0), (300, 6.9)]);
        let reach = |runs: &[&Run], step| reach(runs, 7.0, step, 2_000, &Drawn::new(0));
        let two = reach(&[&never, &late, &early], 300);
        assert_eq!((two.seeds, two.of, two.steps.median), (2, 3, Some(300.0)));
        assert_eq!((two.steps.low, two.steps.high), (Some(200.0), None));
        assert_eq!(two.seconds.and_then(|seconds| seconds.median), Some(30.0));
        let one = reach(&[&never, &late, &early], 299);
        assert_eq!((one.seeds, one.of, one.steps.median), (1, 3, None));
        assert_eq!(reach(&[&early], 300).steps.median, Some(200.0));
        assert_eq!(reach(&[&never], 300).seeds, 0);
    }
}
