//! The first sentences of a report, which state the claims that its numbers support.
//!
//! An order of two groups is claimed if both have at least [`LEAST_SEEDS`] seeds on every task, and ½ is not in the
//! interval of the probability of improvement.

use crate::number::{self, counted};
use crate::report::{Comparison, Report};
use crate::stats::LEAST_SEEDS;

/// Returns a sentence per group that is compared, or one sentence if nothing is.
pub(crate) fn sentences(report: &Report) -> Vec<String> {
    if report.groups.len() == 1 {
        return vec![alone(report)];
    }
    let few = report.comparisons.iter().filter(|comparison| is_small(comparison)).count();
    if few > 0 && few == report.comparisons.len() {
        let counts = || report.comparisons.iter().flat_map(|own| own.seeds.into_iter().chain(own.baseline_seeds));
        let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        return vec![format!(
            "No order can be claimed: {} a group; at least {LEAST_SEEDS} are needed.",
            if least == most { counted(least, "seed") } else { format!("{least} to {}", counted(most, "seed")) }
        )];
    }
    let mut sentences: Vec<String> = report.comparisons.iter().map(|comparison| sentence(report, comparison)).collect();
    if report.comparisons.is_empty() {
        sentences.push(format!("No order can be claimed: no group has a task in common with `{}`.", report.baseline));
    }
    sentences
}

fn is_small(comparison: &Comparison) -> bool {
    comparison.fewest_seeds() < LEAST_SEEDS
}

/// Returns the sentence of a report with one group.
fn alone(report: &Report) -> String {
    let of_task = |task: &crate::report::TaskReport| {
        let own = &task.groups[0];
        let (value, interval) = number::estimate(&own.last, own.seeds.len());
        format!(
            "{} at {} steps on {}, {}",
            format!("{value} {interval}").trim_end(),
            number::steps(task.step),
            task.name,
            counted(own.seeds.len(), "seed")
        )
    };
    let tasks: Vec<String> = report.tasks.iter().map(of_task).collect();
    format!(
        "`{}` reaches a mean return of {}. There is no other group to compare it with.",
        report.groups[0],
        tasks.join("; ")
    )
}

fn sentence(report: &Report, comparison: &Comparison) -> String {
    let (own, baseline) = (&report.groups[comparison.group], &report.baseline);
    let (ours, theirs) = (range(comparison.seeds), range(comparison.baseline_seeds));
    if is_small(comparison) {
        let (name, seeds) = if comparison.seeds[0] < LEAST_SEEDS { (own, ours) } else { (baseline, theirs) };
        return format!(
            "No order of `{own}` and `{baseline}` can be claimed: `{name}` has {seeds}; at least {LEAST_SEEDS} are needed."
        );
    }
    let seeds = if comparison.seeds == comparison.baseline_seeds {
        format!("{ours} each")
    } else {
        format!("{ours} against {}", theirs.trim_end_matches(" seeds"))
    };
    let tasks = if comparison.tasks > 1 { format!(" on {} tasks", comparison.tasks) } else { String::new() };
    let mut p = comparison.improvement;
    if comparison.above == Some(false) {
        (p.value, p.low, p.high) = (1.0 - p.value, 1.0 - p.high, 1.0 - p.low);
    }
    let (p, interval) = number::probability(&p, comparison.fewest_seeds());
    let p = format!("P = {p} {interval}");
    match comparison.above {
        Some(true) => format!("`{own}` reaches more than `{baseline}`: {p}, {seeds}{tasks}."),
        Some(false) => format!("`{baseline}` reaches more than `{own}`: {p}, {seeds}{tasks}."),
        None => format!("No difference between `{own}` and `{baseline}` is shown: {p}, {seeds}{tasks}."),
    }
}

/// Returns a smallest and largest number of seeds as text.
fn range([least, most]: [usize; 2]) -> String {
    if least == most { counted(least, "seed") } else { format!("{least} to {most} seeds") }
}
