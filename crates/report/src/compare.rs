//! The comparison: groups the runs and computes all numbers of a report.
//!
//! On each task, runs are compared by their return at one step: the last one that all runs have reached, or the one of
//! [`Options::step`]. A run without a value at this step is left out of the comparison, with a note; its curve is shown.

use std::collections::{BTreeMap, BTreeSet};

use crate::curve;
use crate::error::ReportError;
use crate::group::{self, Group};
use crate::number;
use crate::report::{
    Comparison, Difference, Options, Overall, Paired, Profiles, Report, RunReport, TaskGroup, TaskReport,
};
use crate::run::{Run, Runs};
use crate::stats::{self, Drawn, Estimate, LEAST_SEEDS, Sample, Scores};
use crate::summary;

/// Largest number of resamples of each point of a curve or profile.
const MOST_RESAMPLES_OF_CURVES: usize = 2_000;
/// Number of thresholds of a performance profile.
const THRESHOLDS: usize = 101;
/// The default threshold: this share of the way from the first evaluations to the best group.
const SHARE_OF_THE_WAY: f64 = 0.9;

/// Compares runs.
///
/// # Errors
/// If an option names a key, group or step that does not exist.
pub fn compare(runs: &Runs, options: &Options) -> Result<Report, ReportError> {
    let mut notes = runs.notes.clone();
    let groups = group::groups(runs, options, &mut notes)?;
    let baseline = baseline(&groups, options)?;
    let tasks: BTreeSet<&str> = groups.iter().flat_map(|group| group.runs.keys().copied()).collect();
    if options.threshold.is_some() && tasks.len() > 1 {
        let names: Vec<&str> = tasks.iter().copied().collect();
        return Err(ReportError::input(
            format!("a threshold is a return of one task, but these runs have several: {}", names.join(", ")),
            "give the runs of one task, or leave out the threshold",
        ));
    }
    if options.resamples == 0 {
        return Err(ReportError::input("an interval needs at least one resample", "give a larger number"));
    }
    let maker = Maker { options, draw: Drawn::new(options.seed), groups: &groups, baseline };
    let tasks: Vec<TaskReport> =
        tasks.iter().map(|task| maker.task(task, &mut notes)).collect::<Result<_, ReportError>>()?;
    let everywhere: Vec<usize> =
        (0..groups.len()).filter(|&group| tasks.iter().all(|task| task.of(group).is_some())).collect();
    let mut report = Report {
        summary: Vec::new(),
        notes,
        resamples: options.resamples,
        groups: groups.iter().map(|group| group.name.clone()).collect(),
        baseline: groups[baseline].name.clone(),
        overall: if tasks.len() > 1 { maker.overall(&tasks, &everywhere) } else { Vec::new() },
        comparisons: maker.comparisons(&tasks),
        profiles: maker.profiles(&tasks, &everywhere),
        differences: differences(&groups),
        runs: run_reports(&groups),
        tasks,
    };
    report.summary = summary::sentences(&report);
    let compared = |group: &usize| *group == baseline || report.comparisons.iter().any(|own| own.group == *group);
    let apart: Vec<String> = (0..report.groups.len())
        .filter(|group| !compared(group))
        .map(|group| format!("`{}`", report.groups[group]))
        .collect();
    if !apart.is_empty() {
        report.notes.push(format!(
            "not compared with `{}`, because they have no task in common with it: {}",
            report.baseline,
            apart.join(", ")
        ));
    }
    Ok(report)
}

impl TaskReport {
    /// Returns the numbers of a group, if it has runs on this task.
    pub(crate) fn of(&self, group: usize) -> Option<&TaskGroup> {
        self.groups.iter().find(|own| own.group == group)
    }

    /// Returns a score as a share of the task's range. If all scores are equal, it is 1.
    fn scaled(&self, score: f64) -> f64 {
        let [low, high] = self.range;
        if high > low { (score - low) / (high - low) } else { 1.0 }
    }
}

/// Returns the place of the group with which the others are compared.
fn baseline(groups: &[Group<'_>], options: &Options) -> Result<usize, ReportError> {
    let Some(wanted) = &options.baseline else { return Ok(0) };
    groups.iter().position(|group| &group.name == wanted).ok_or_else(|| {
        let names: Vec<String> = groups.iter().map(|group| format!("`{}`", group.name)).collect();
        ReportError::input(format!("no group has the name `{wanted}`"), format!("the groups are {}", names.join(", ")))
    })
}

/// Computes the numbers of groups.
struct Maker<'a> {
    options: &'a Options,
    draw: Drawn,
    groups: &'a [Group<'a>],
    baseline: usize,
}

impl Maker<'_> {
    /// Computes the comparison on a task.
    fn task(&self, name: &str, notes: &mut Vec<String>) -> Result<TaskReport, ReportError> {
        let of_groups: Vec<(usize, &Vec<&Run>)> =
            self.groups.iter().enumerate().filter_map(|(n, group)| Some((n, group.runs.get(name)?))).collect();
        let all: Vec<&Run> = of_groups.iter().flat_map(|(_, runs)| runs.iter().copied()).collect();
        let step = self.step(name, &all, notes);
        let compared: Vec<(usize, &Vec<&Run>, Vec<&Run>)> = of_groups
            .into_iter()
            .map(|(group, runs)| {
                (group, runs, runs.iter().copied().filter(|run| run.value_at(step).is_some()).collect())
            })
            .filter(|(.., kept): &(_, _, Vec<&Run>)| !kept.is_empty())
            .collect();
        if compared.is_empty() {
            return Err(ReportError::input(
                format!("no run on {name} has an evaluation at step {step} or around it"),
                "give a smaller step, or none",
            ));
        }
        let scores = |runs: &[&Run]| runs.iter().filter_map(|run| run.value_at(step)).collect::<Vec<f64>>();
        let of_all: Vec<f64> = compared.iter().flat_map(|(.., kept)| scores(kept)).collect();
        let best = compared.iter().map(|(.., kept)| stats::mean(&scores(kept))).fold(f64::NEG_INFINITY, f64::max);
        let threshold = self.options.threshold.unwrap_or_else(|| {
            let first: Vec<f64> = all.iter().map(|run| run.points[0].value).collect();
            let first = stats::mean(&first);
            first + SHARE_OF_THE_WAY * (best - first)
        });
        let baseline = compared.iter().find(|(group, ..)| *group == self.baseline).map(|(.., kept)| kept.clone());
        let range = [
            of_all.iter().copied().fold(f64::INFINITY, f64::min),
            of_all.into_iter().fold(f64::NEG_INFINITY, f64::max),
        ];
        let group = |(group, runs, kept): &(usize, &Vec<&Run>, Vec<&Run>)| {
            let baseline = baseline.as_ref().filter(|_| *group != self.baseline);
            self.task_group(*group, runs, kept, step, threshold, baseline)
        };
        Ok(TaskReport { name: name.to_owned(), step, threshold, range, groups: compared.iter().map(group).collect() })
    }

    /// Returns the step at which the runs of a task are compared, and notes which runs decide on it.
    fn step(&self, task: &str, runs: &[&Run], notes: &mut Vec<String>) -> u64 {
        let last = |run: &&Run| run.span().1;
        let (least, most) = (runs.iter().map(last).min().unwrap_or(0), runs.iter().map(last).max().unwrap_or(0));
        let step = self.options.step.unwrap_or(least);
        let names = |runs: Vec<&&Run>| {
            let shown: Vec<String> = runs.iter().take(3).map(|run| format!("`{}`", run.path.display())).collect();
            let more = if runs.len() > 3 { format!(" and {} more", runs.len() - 3) } else { String::new() };
            format!("{}{more}", shown.join(", "))
        };
        let without: Vec<&&Run> = runs.iter().filter(|run| run.value_at(step).is_none()).collect();
        if !without.is_empty() {
            notes.push(format!(
                "{task}: left out of the comparison at step {}, because they have no evaluation there: {}",
                number::steps(step),
                names(without)
            ));
        }
        if self.options.step.is_none() && least < most {
            let short = runs.iter().filter(|run| run.span().1 == least).collect();
            notes.push(format!(
                "{task}: the runs are compared at step {}, where the shortest end; the longest end at {}. The shortest: {}",
                number::steps(least),
                number::steps(most),
                names(short)
            ));
        }
        step
    }

    /// Computes the numbers of a group on a task. `kept` are its runs with a value at `step`.
    fn task_group(
        &self,
        group: usize,
        runs: &[&Run],
        kept: &[&Run],
        step: u64,
        threshold: f64,
        baseline: Option<&Vec<&Run>>,
    ) -> TaskGroup {
        let (count, draw) = (self.options.resamples, &self.draw);
        let scores_of = |runs: &[&Run]| runs.iter().filter_map(|run| run.value_at(step)).collect::<Vec<f64>>();
        let scores = scores_of(kept);
        let own = Scores::new(std::slice::from_ref(&scores));
        let estimates = stats::bootstrap(&own, 3, count, draw, |sample: &mut Sample<'_>, out: &mut [f64]| {
            out[0] = stats::mean(sample.values());
            out[1] = stats::iqm(sample.values_mut());
            out[2] = stats::median(sample.values_mut());
        });
        let best = |run: &&Run| {
            let until = run.points.iter().filter(|point| point.step <= step);
            until.map(|point| point.value).fold(f64::NEG_INFINITY, f64::max)
        };
        let best = self.mean(kept.iter().map(best).collect());
        TaskGroup {
            group,
            seeds: kept.iter().filter_map(|run| run.seed).collect(),
            last: estimates[0],
            iqm: estimates[1],
            median: estimates[2],
            best,
            reach: curve::reach(kept, threshold, step, count.min(MOST_RESAMPLES_OF_CURVES), draw),
            improvement: baseline.map(|runs| stats::improvement(&own, &Scores::new(&[scores_of(runs)]), count, draw)),
            paired: baseline.and_then(|runs| self.paired(kept, runs, step)),
            curve: curve::curve(runs, count.min(MOST_RESAMPLES_OF_CURVES), draw),
            scores,
        }
    }

    /// Returns the mean with its interval.
    fn mean(&self, values: Vec<f64>) -> Estimate {
        stats::bootstrap(&Scores::new(&[values]), 1, self.options.resamples, &self.draw, |sample, out| {
            out[0] = stats::mean(sample.values());
        })[0]
    }

    /// Compares runs with equal seeds, if there are any.
    fn paired(&self, runs: &[&Run], baseline: &[&Run], step: u64) -> Option<Paired> {
        let theirs: BTreeMap<Option<u64>, &&Run> = baseline.iter().map(|run| (run.seed, run)).collect();
        let difference = |run: &&Run| Some(run.value_at(step)? - theirs.get(&run.seed)?.value_at(step)?);
        let differences: Vec<f64> = runs.iter().filter_map(difference).collect();
        (!differences.is_empty()).then(|| Paired {
            seeds: differences.len(),
            sign_test_p: stats::sign_test(&differences),
            difference: self.mean(differences),
        })
    }

    /// Computes the scaled scores of a group on these tasks.
    fn scaled(group: usize, tasks: &[&TaskReport]) -> Scores {
        let of = |task: &&TaskReport| {
            let own = task.of(group).expect("a group with runs on the task");
            own.scores.iter().map(|&score| task.scaled(score)).collect()
        };
        Scores::new(&tasks.iter().map(of).collect::<Vec<Vec<f64>>>())
    }

    /// Computes the statistics over all tasks of the groups that have runs on all.
    fn overall(&self, tasks: &[TaskReport], groups: &[usize]) -> Vec<Overall> {
        let tasks: Vec<&TaskReport> = tasks.iter().collect();
        let of = |&group: &usize| {
            let [mean, median, iqm, optimality_gap] =
                stats::aggregates(&Self::scaled(group, &tasks), self.options.resamples, &self.draw);
            Overall { group, mean, median, iqm, optimality_gap }
        };
        groups.iter().map(of).collect()
    }

    /// Compares every group with the baseline, over the tasks that both have.
    fn comparisons(&self, tasks: &[TaskReport]) -> Vec<Comparison> {
        let of = |group: usize| {
            let both: Vec<&TaskReport> =
                tasks.iter().filter(|task| task.of(group).is_some() && task.of(self.baseline).is_some()).collect();
            if both.is_empty() {
                return None;
            }
            let seeds = |group: usize| {
                let counts = || both.iter().filter_map(|task| Some(task.of(group)?.seeds.len()));
                [counts().min().unwrap_or(0), counts().max().unwrap_or(0)]
            };
            let (own, theirs) = (Self::scaled(group, &both), Self::scaled(self.baseline, &both));
            let improvement = stats::improvement(&own, &theirs, self.options.resamples, &self.draw);
            let (seeds, baseline_seeds) = (seeds(group), seeds(self.baseline));
            let above = match improvement {
                _ if seeds[0].min(baseline_seeds[0]) < LEAST_SEEDS => None,
                Estimate { low, .. } if low > 0.5 => Some(true),
                Estimate { high, .. } if high < 0.5 => Some(false),
                _ => None,
            };
            Some(Comparison { group, improvement, tasks: both.len(), seeds, baseline_seeds, above })
        };
        (0..self.groups.len()).filter(|&group| group != self.baseline).filter_map(of).collect()
    }

    /// Computes the performance profiles: of returns if there is one task, else of scaled scores.
    fn profiles(&self, tasks: &[TaskReport], groups: &[usize]) -> Profiles {
        let resamples = self.options.resamples.min(MOST_RESAMPLES_OF_CURVES);
        let ([low, high], of_scores): (_, &dyn Fn(usize) -> Scores) = match tasks {
            [task] => (task.range, &|group| Scores::new(&[task.of(group).expect("the task's group").scores.clone()])),
            _ => ([0.0, 1.0], &|group| Self::scaled(group, &tasks.iter().collect::<Vec<_>>())),
        };
        // The first threshold is below all scores, so that every profile begins at 1.
        let margin = if high > low { 0.02 * (high - low) } else { 1.0 };
        let at = |k: usize| low - margin + (high - low + margin) * k as f64 / (THRESHOLDS - 1) as f64;
        let thresholds: Vec<f64> = (0..THRESHOLDS).map(at).collect();
        let of = |&group: &usize| (group, stats::profile(&of_scores(group), &thresholds, resamples, &self.draw));
        Profiles { groups: groups.iter().map(of).collect(), thresholds }
    }
}

fn differences(groups: &[Group<'_>]) -> Vec<Difference> {
    group::differences(groups).into_iter().map(|(key, values)| Difference { key, values }).collect()
}

fn run_reports(groups: &[Group<'_>]) -> Vec<RunReport> {
    let mut reports = Vec::new();
    for (group, of_group) in groups.iter().enumerate() {
        for (task, runs) in &of_group.runs {
            reports.extend(runs.iter().map(|run| RunReport {
                path: run.path.clone(),
                group,
                task: (*task).to_owned(),
                seed: run.seed.expect("a run that was read has a seed"),
                evaluations: run.points.iter().map(|point| (point.step, point.value, point.seconds)).collect(),
            }));
        }
    }
    reports
}
