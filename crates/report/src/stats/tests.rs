//! Statistics against rliable's recorded numbers, closed forms, and the time limit.

use std::path::PathBuf;
use std::time::Instant;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    inputs: Inputs,
    outputs: Outputs,
}

/// Matrices have a row per run and a column per task.
#[derive(Deserialize)]
struct Inputs {
    x: Vec<Vec<f64>>,
    y: Vec<Vec<f64>>,
    resamples_of_x: Vec<Vec<Vec<usize>>>,
    resamples_of_y: Vec<Vec<Vec<usize>>>,
    thresholds: Vec<f64>,
}

#[derive(Deserialize)]
struct Outputs {
    mean_median_iqm_gap: Vec<f64>,
    mean_median_iqm_gap_intervals: Vec<[f64; 2]>,
    improvement: [f64; 1],
    improvement_interval: [[f64; 2]; 1],
    profile: Vec<f64>,
    profile_intervals: Vec<[f64; 2]>,
}

fn fixture() -> Fixture {
    let folder = std::env::var_os("FORESEE_FIXTURES")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/fixtures")), PathBuf::from);
    let text = std::fs::read_to_string(folder.join("rliable.json")).expect("assets/fixtures/rliable.json");
    serde_json::from_str(&text).expect("the fixture's form")
}

fn scores(rows: &[Vec<f64>]) -> Scores {
    let tasks: Vec<Vec<f64>> = (0..rows[0].len()).map(|task| rows.iter().map(|row| row[task]).collect()).collect();
    Scores::new(&tasks)
}

/// The recorded resamples of one or two groups: per resample and group, the run of each row and task.
struct Recorded<'a>(Vec<&'a [Vec<Vec<usize>>]>);

impl Draw for Recorded<'_> {
    fn draw(&self, resample: usize, ends: &[usize], positions: &mut [u32]) {
        let (mut start, mut next) = (0, 0);
        for group in &self.0 {
            let rows = &group[resample];
            for task in 0..rows[0].len() {
                assert_eq!(ends[next] - start, rows.len());
                for (position, row) in positions[start..].iter_mut().zip(rows) {
                    *position = (start + row[task]) as u32;
                }
                start = ends[next];
                next += 1;
            }
        }
    }
}

#[track_caller]
fn assert_equal(name: &str, ours: &[Estimate], values: &[f64], intervals: &[[f64; 2]]) {
    assert!(ours.len() == values.len() && values.len() == intervals.len() && !ours.is_empty());
    for ((ours, value), [low, high]) in ours.iter().zip(values).zip(intervals) {
        for (ours, theirs) in [(ours.value, value), (ours.low, low), (ours.high, high)] {
            assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} here, {theirs} by rliable");
        }
    }
}

#[test]
fn all_statistics_equal_those_of_rliable_on_the_same_resamples() {
    let fixture = fixture();
    assert_eq!(fixture.cases.len(), 22);
    for Case { inputs, outputs } in &fixture.cases {
        let (x, y) = (scores(&inputs.x), scores(&inputs.y));
        let of_x = Recorded(vec![&inputs.resamples_of_x]);
        let of_both = Recorded(vec![&inputs.resamples_of_x, &inputs.resamples_of_y]);
        let count = inputs.resamples_of_x.len();
        let ours = aggregates(&x, count, &of_x);
        assert_equal("aggregates", &ours, &outputs.mean_median_iqm_gap, &outputs.mean_median_iqm_gap_intervals);
        let ours = improvement(&x, &y, count, &of_both);
        assert_equal("improvement", &[ours], &outputs.improvement, &outputs.improvement_interval);
        let ours = profile(&x, &inputs.thresholds, count, &of_x);
        assert_equal("profile", &ours, &outputs.profile, &outputs.profile_intervals);
    }
}

#[test]
fn a_resample_draws_from_each_task_its_own_runs() {
    let ends = [3, 10, 11];
    let mut seen = [[0_u32; 11]; 11];
    let mut positions = [0; 11];
    for resample in 0..2_000 {
        Drawn::new(7).draw(resample, &ends, &mut positions);
        for (k, &position) in positions.iter().enumerate() {
            seen[k][position as usize] += 1;
        }
    }
    let task = |k: usize| ends.iter().position(|&end| k < end);
    let sizes = [3.0, 7.0, 1.0];
    for (k, seen) in seen.iter().enumerate() {
        for (position, &got) in seen.iter().enumerate() {
            let want = if task(k) == task(position) { 2_000.0 / sizes[task(k).unwrap()] } else { 0.0 };
            // Five standard deviations of a count are below 5 √want.
            let got = f64::from(got);
            assert!((got - want).abs() <= 5.0 * f64::sqrt(want), "value {k}, position {position}: {got}, not {want}");
        }
    }
    let (mut first, mut second) = ([0; 11], [0; 11]);
    Drawn::new(7).draw(5, &ends, &mut first);
    Drawn::new(8).draw(5, &ends, &mut second);
    assert_ne!(first, second);
}

#[test]
fn the_interval_of_a_mean_has_the_width_of_the_central_limit() {
    // The variance of a resample's mean is the variance of the values (with divisor n) divided by n.
    let values: Vec<f64> = (0..40).map(|i| f64::from((i * 17) % 40)).collect();
    let deviation = ((1600.0 - 1.0) / 12.0_f64 / 40.0).sqrt();
    let [mean, ..] = aggregates(&Scores::new(&[values]), 50_000, &Drawn::new(0));
    assert_eq!(mean.value, 19.5);
    for (end, want) in [(mean.low, 19.5 - 1.96 * deviation), (mean.high, 19.5 + 1.96 * deviation)] {
        assert!((end - want).abs() < 0.03 * deviation * 1.96, "{end}, not {want}");
    }
}

#[test]
fn percentiles_are_numpys() {
    // numpy.percentile([3, 1, 2, 10], [0, 2.5, 50, 97.5, 100])
    for (share, want) in [(0.0, 1.0), (0.025, 1.075), (0.5, 2.5), (0.975, 9.475), (1.0, 10.0)] {
        assert!((percentile(&mut [3.0, 1.0, 2.0, 10.0], share) - want).abs() < 1e-12);
    }
    let infinite = f64::INFINITY;
    assert_eq!(percentile(&mut [1.0, infinite], 0.5), infinite);
    assert_eq!(percentile(&mut [infinite, infinite], 0.5), infinite);
    assert_eq!(percentile(&mut [1.0, infinite], 0.0), 1.0);
}

#[test]
fn medians_are_the_middle_values() {
    assert_eq!(median(&mut [4.0]), 4.0);
    assert_eq!(median(&mut [4.0, 1.0]), 2.5);
    assert_eq!(median(&mut [4.0, 1.0, 9.0]), 4.0);
    assert_eq!(median(&mut [4.0, 1.0, 9.0, 6.0]), 5.0);
    assert_eq!(median(&mut [4.0, f64::INFINITY, f64::INFINITY]), f64::INFINITY);
}

#[test]
fn the_sign_test_is_the_exact_binomial_test() {
    // scipy.stats.binomtest(k, n, 0.5).pvalue
    let split = |above: usize, below: usize| [vec![1.0; above], vec![-2.0; below], vec![0.0; 3]].concat();
    for (above, below, want) in
        [(10, 0, 0.001953125), (0, 5, 0.0625), (8, 2, 0.109375), (5, 5, 1.0), (3, 4, 1.0), (0, 0, 1.0)]
    {
        let p = sign_test(&split(above, below));
        assert!((p - want).abs() < 1e-12, "{above} against {below}: {p}, not {want}");
    }
}

/// Returns the seconds that this thread has used a processor, which other programs do not lengthen; on systems other than
/// Linux, the seconds since `started`.
fn processor_seconds(started: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: Option<f64> = text.split(' ').next().and_then(|number| number.parse().ok());
    nanoseconds.map_or_else(|| started.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

#[test]
fn a_bootstrap_of_50_000_resamples_over_5_tasks_and_10_seeds_takes_under_a_second() {
    let tasks: Vec<Vec<f64>> =
        (0..5).map(|task| (0..10).map(|seed| f64::from(task * 31 + seed * seed)).collect()).collect();
    let scores = Scores::new(&tasks);
    let started = Instant::now();
    let first = processor_seconds(started);
    let [_, _, iqm, _] = aggregates(&scores, 50_000, &Drawn::new(0));
    let second = processor_seconds(started);
    let p = improvement(&scores, &scores, 50_000, &Drawn::new(0));
    let third = processor_seconds(started);
    let (of_aggregates, of_p) = (second - first, third - second);
    eprintln!("four aggregates: {of_aggregates:.3} s; P(X > Y): {of_p:.3} s");
    assert!(iqm.low < iqm.value && iqm.value < iqm.high);
    assert!((p.value - 0.5).abs() < 1e-12);
    if !cfg!(debug_assertions) {
        assert!(of_aggregates < 1.0 && of_p < 1.0, "{of_aggregates} s and {of_p} s");
    }
}
