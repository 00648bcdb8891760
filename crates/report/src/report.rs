//! The numbers of a report.

use std::path::PathBuf;

use serde::Serialize;

use crate::stats::Estimate;

/// The groups, the step and the statistics of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Config keys whose values form the groups; without one, all keys that differ.
    pub group_by: Vec<String>,
    /// Name of the group with which the others are compared; by default the first one.
    pub baseline: Option<String>,
    /// The return to which steps and seconds are counted, if there is one task; by default nine tenths of the way from
    /// the first evaluations to the best group.
    pub threshold: Option<f64>,
    /// The step at which runs are compared; by default the last one that all runs of a task have reached.
    pub step: Option<u64>,
    /// Number of bootstrap resamples. Curves and profiles use at most 2,000.
    pub resamples: usize,
    /// Seed of the resamples.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { group_by: Vec::new(), baseline: None, threshold: None, step: None, resamples: 50_000, seed: 0 }
    }
}

/// A comparison of groups of runs.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The claims that the numbers support, in sentences. Names are in backticks.
    pub summary: Vec<String>,
    /// Remarks on runs that were left out, and on assumptions.
    pub notes: Vec<String>,
    /// Number of bootstrap resamples.
    pub resamples: usize,
    /// Names of the groups.
    pub groups: Vec<String>,
    /// Name of the group with which the others are compared.
    pub baseline: String,
    /// The comparison on each task.
    pub tasks: Vec<TaskReport>,
    /// The comparison over all tasks, of groups that have runs on all of them; empty for one task.
    pub overall: Vec<Overall>,
    /// Every group against the baseline, over the tasks that both have.
    pub comparisons: Vec<Comparison>,
    /// The performance profiles of the groups that have runs on all tasks.
    pub profiles: Profiles,
    /// The config keys that differ between groups.
    pub differences: Vec<Difference>,
    /// All runs with their evaluations.
    pub runs: Vec<RunReport>,
}

/// The comparison on one task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    /// Name of the task.
    pub name: String,
    /// The step at which runs are compared.
    pub step: u64,
    /// The return to which steps and seconds are counted.
    pub threshold: f64,
    /// The scores that count as 0 and 1 in statistics over tasks: the lowest and highest return at `step`.
    pub range: [f64; 2],
    /// The groups that have runs on this task.
    pub groups: Vec<TaskGroup>,
}

/// The runs of a group on one task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskGroup {
    /// Place of the group in [`Report::groups`].
    pub group: usize,
    /// Seeds of the runs that have a value at the compared step.
    pub seeds: Vec<u64>,
    /// Returns of these runs at the compared step.
    pub scores: Vec<f64>,
    /// Mean over seeds of the return at the compared step.
    pub last: Estimate,
    /// Interquartile mean over seeds of the return at the compared step.
    pub iqm: Estimate,
    /// Median over seeds of the return at the compared step.
    pub median: Estimate,
    /// Mean over seeds of the best evaluation up to the compared step.
    pub best: Estimate,
    /// Steps and seconds to the threshold.
    pub reach: Reach,
    /// Probability that a run of the group has a higher return than a run of the baseline.
    pub improvement: Option<Estimate>,
    /// The differences to the baseline's runs with equal seeds.
    pub paired: Option<Paired>,
    /// The learning curve.
    pub curve: Curve,
}

/// Differences between runs of two groups with equal seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Paired {
    /// Number of seeds that both groups have.
    pub seeds: usize,
    /// Mean over seeds of the return minus that of the baseline.
    pub difference: Estimate,
    /// Two-sided p-value of the exact sign test.
    pub sign_test_p: f64,
}

/// The runs of a group that reach a return.
#[derive(Clone, Debug, Serialize)]
pub struct Reach {
    /// Number of runs that reach it.
    pub seeds: usize,
    /// Number of all runs.
    pub of: usize,
    /// Steps to it.
    pub steps: Until,
    /// Seconds to it, if they are known for every run that reaches it.
    pub seconds: Option<Until>,
}

/// A median over seeds with its interval. None: later than the compared step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Until {
    /// The median.
    pub median: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

/// A learning curve.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// The points in the order of their steps.
    pub points: Vec<CurvePoint>,
}

/// A point of a learning curve.
#[derive(Clone, Debug, Serialize)]
pub struct CurvePoint {
    /// Number of real environment steps.
    pub step: u64,
    /// Mean over seeds of the seconds up to this step, if they are known.
    pub seconds: Option<f64>,
    /// Number of runs with a value at this step.
    pub seeds: usize,
    /// Mean over these runs.
    pub mean: Estimate,
    /// Interquartile mean over these runs.
    pub iqm: Estimate,
}

/// Statistics of a group over all tasks. Scores are scaled by each task's [`TaskReport::range`].
#[derive(Clone, Debug, Serialize)]
pub struct Overall {
    /// Place of the group in [`Report::groups`].
    pub group: usize,
    /// Mean over tasks of the mean over seeds.
    pub mean: Estimate,
    /// Median over tasks of the mean over seeds.
    pub median: Estimate,
    /// Interquartile mean over all runs.
    pub iqm: Estimate,
    /// Mean over all runs of the distance from the score to 1.
    pub optimality_gap: Estimate,
}

/// A group against the baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Place of the group in [`Report::groups`].
    pub group: usize,
    /// Probability that a run of the group has a higher return than a run of the baseline, averaged over tasks.
    pub improvement: Estimate,
    /// Number of tasks.
    pub tasks: usize,
    /// Smallest and largest number of seeds of the group.
    pub seeds: [usize; 2],
    /// Smallest and largest number of seeds of the baseline.
    pub baseline_seeds: [usize; 2],
    /// Whether the group is claimed to be above (`true`) or below (`false`) the baseline; none without a claim.
    pub above: Option<bool>,
}

impl Comparison {
    /// Returns the smallest number of seeds of either group on any task.
    pub(crate) fn fewest_seeds(&self) -> usize {
        self.seeds[0].min(self.baseline_seeds[0])
    }
}

/// Performance profiles.
#[derive(Clone, Debug, Serialize)]
pub struct Profiles {
    /// The thresholds: returns if there is one task, else scaled scores.
    pub thresholds: Vec<f64>,
    /// For each group, its place in [`Report::groups`] and the share of runs above each threshold.
    pub groups: Vec<(usize, Vec<Estimate>)>,
}

/// A config key that differs between groups.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The dotted key.
    pub key: String,
    /// Its value in each group of [`Report::groups`]; `–` if the group has no config, `unset` if the key is missing.
    pub values: Vec<String>,
}

/// A run of a report.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The folder or file.
    pub path: PathBuf,
    /// Place of the group in [`Report::groups`].
    pub group: usize,
    /// Name of the task.
    pub task: String,
    /// The seed.
    pub seed: u64,
    /// Evaluations: step, return, and seconds since the start of the run if they are known.
    pub evaluations: Vec<(u64, f64, Option<f64>)>,
}

impl Report {
    /// Returns the place of the baseline in [`Report::groups`].
    pub(crate) fn baseline_group(&self) -> usize {
        self.groups.iter().position(|name| name == &self.baseline).expect("the baseline is a group")
    }

    /// Returns the smallest number of seeds of a group on a task on which it has runs.
    pub(crate) fn least_seeds(&self, group: usize) -> usize {
        self.tasks.iter().filter_map(|task| Some(task.of(group)?.seeds.len())).min().unwrap_or(0)
    }

    /// Returns all numbers as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has string keys")
    }

    /// Returns all evaluations in the interchange columns `exp_name,env_name,seed,metric,env_step,value`.
    #[must_use]
    pub fn csv(&self) -> String {
        crate::columns::csv(self)
    }

    /// Returns the table for a terminal of this width.
    #[must_use]
    pub fn terminal(&self, width: usize) -> String {
        crate::terminal::table(self, width)
    }

    /// Returns the page: HTML with drawings inside, without scripts and references to other files.
    #[must_use]
    pub fn html(&self) -> String {
        crate::page::html(self)
    }
}
