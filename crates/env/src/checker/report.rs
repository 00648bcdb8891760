//! All tests of [`check_environment`](super::check_environment), rule by rule, for authors of environments. A broken
//! rule does not hide the others, and properties that matter to a learner are measured as well.

use std::time::Instant;

use foresee_core::Stream;
use foresee_core::limits::CONSTANT_DEVIATION;

use super::SIDE_BY_SIDE;
use super::check::{Check, CheckFailure};
use super::rules::{Checker, RESETS, Violation};
use crate::environment::{Environment, Spec, Work};
use crate::error::EnvError;
use crate::space::Abbreviated;

/// Number of steps that are played for the measurements, over the episodes that begin within them.
const STEPS: u32 = 1000;

/// The outcome of the test of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The rule was tested and holds.
    Passed,
    /// The rule is broken, with the place and the values.
    Failed(String),
    /// The rule was not fully tested, because another broken rule ended the test.
    Inconclusive,
    /// There is nothing to test, because the spec has no termination rule.
    Skipped,
}

/// Every rule with its outcome, and the measurements.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The environment's spec.
    pub spec: Spec,
    /// Every rule with its outcome, in the order of the tests.
    pub outcomes: Vec<(Check, CheckOutcome)>,
    /// Measurements under uniformly drawn actions; `None` if a step failed.
    pub measurements: Option<Measurements>,
}

/// Measurements over a thousand steps under actions drawn from the action space.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurements {
    /// Undiscounted return and length of every whole episode.
    pub episodes: Vec<(f64, u32)>,
    /// Least and largest value of each observation entry, `[O]` of `[low, high]`.
    pub ranges: Vec<[f32; 2]>,
    /// Standard deviation of each observation entry over all steps (ddof 1), `[O]`.
    pub deviations: Vec<f64>,
    /// Least and largest reward of a step.
    pub rewards: [f64; 2],
    /// Whether all of several seeds gave the same first observation.
    pub fixed_start: bool,
    /// Steps per second, including resets.
    pub steps_per_s: f64,
}

/// Tests every rule on environments from `make`, such as those of an [`EnvFactory`](crate::EnvFactory).
///
/// ```
/// use foresee_env::classic::Pendulum;
/// use foresee_env::{EnvError, check_report, wrap_task};
///
/// let found = check_report(|| wrap_task(Box::new(Pendulum::new()), None))?;
/// assert!(found.failure().is_none());
/// assert!(found.warnings()[0].starts_with("it has no time limit: "));
/// # Ok::<(), EnvError>(())
/// ```
///
/// # Errors
/// If an environment cannot be created at all.
pub fn check_report(make: impl Fn() -> Result<Box<dyn Environment>, EnvError>) -> Result<CheckReport, EnvError> {
    check_report_of(make, SIDE_BY_SIDE)
}

/// Tests every rule as [`check_report`] does, and steps `count` environments side by side, at least two.
///
/// # Errors
/// As [`check_report`].
pub fn check_report_of(
    make: impl Fn() -> Result<Box<dyn Environment>, EnvError>,
    count: usize,
) -> Result<CheckReport, EnvError> {
    let spec = make()?.spec().clone();
    let mut outcomes: Vec<(Check, CheckOutcome)> = Vec::new();
    let has_rule = spec.termination.is_some();
    let checker = Checker { make: &make, spec };
    let mut record = |checks: &[Check], result: Result<(), Violation>| {
        let violation = result.err().map(|Violation(check, detail)| (check, detail));
        for &check in checks {
            let outcome = match &violation {
                _ if check == Check::Termination && !has_rule => CheckOutcome::Skipped,
                None => CheckOutcome::Passed,
                Some((broken, detail)) if *broken == check => CheckOutcome::Failed(detail.clone()),
                Some(_) => CheckOutcome::Inconclusive,
            };
            outcomes.push((check, outcome));
        }
        if let Some((broken, detail)) = violation
            && !outcomes.iter().any(|(check, _)| *check == broken)
        {
            outcomes.push((broken, CheckOutcome::Failed(detail)));
        }
    };
    record(&[Check::Spec], checker.spec_is_consistent());
    let whole_episodes = [Check::Observations, Check::Rewards, Check::Termination, Check::TimeLimit, Check::Order];
    record(&whole_episodes, checker.episodes());
    let seeding = checker.seeding();
    let repeats = seeding.is_ok();
    record(&[Check::Seeding], seeding);
    record(&[Check::SaveRestore], checker.save_and_restore());
    record(&[Check::Actions], checker.actions());
    let side_by_side = match checker.side_by_side(count.max(SIDE_BY_SIDE)) {
        // An environment that does not repeat itself differs also when it is alone.
        Err(Violation(Check::SideBySide, _)) if !repeats => None,
        outcome => Some(outcome),
    };
    match side_by_side {
        Some(outcome) => record(&[Check::SideBySide], outcome),
        None => outcomes.push((Check::SideBySide, CheckOutcome::Inconclusive)),
    }
    let measurements = measure(make()?.as_mut()).ok();
    Ok(CheckReport { spec: checker.spec, outcomes, measurements })
}

fn measure(env: &mut dyn Environment) -> Result<Measurements, EnvError> {
    let actions = Stream::new(0, "checker/facts");
    let action_space = env.spec().action_space.clone();
    let first = env.reset(Some(0))?.obs;
    let mut fixed_start = true;
    for seed in 1..RESETS {
        fixed_start = fixed_start && env.reset(Some(seed))?.obs == first;
    }
    let began = Instant::now();
    let first = env.reset(Some(0))?.obs;
    let mut ranges: Vec<[f32; 2]> = first.iter().map(|&x| [x; 2]).collect();
    let rewards = [f64::INFINITY, f64::NEG_INFINITY];
    let mut measurements =
        Measurements { episodes: vec![], ranges: vec![], deviations: vec![], rewards, fixed_start, steps_per_s: 0.0 };
    let mut moments = Moments::new(first.len());
    let mut episode = (0.0, 0);
    for t in 0..STEPS {
        let step = env.step(&action_space.sample(&mut actions.at(u64::from(t), 0)))?;
        for (range, &x) in ranges.iter_mut().zip(&step.obs) {
            *range = [range[0].min(x), range[1].max(x)];
        }
        moments.add(&step.obs);
        measurements.rewards = [measurements.rewards[0].min(step.reward), measurements.rewards[1].max(step.reward)];
        episode = (episode.0 + step.reward, episode.1 + 1);
        if step.terminated || step.truncated {
            measurements.episodes.push(std::mem::take(&mut episode));
            env.reset(None)?;
        }
    }
    measurements.steps_per_s = f64::from(STEPS) / began.elapsed().as_secs_f64();
    measurements.ranges = ranges;
    measurements.deviations = moments.deviations();
    Ok(measurements)
}

/// Running mean, and sum of the squared deviations from it, of each entry of rows `[dim]` (Welford's algorithm).
struct Moments {
    rows: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(dim: usize) -> Self {
        Self { rows: 0.0, mean: vec![0.0; dim], squares: vec![0.0; dim] }
    }

    fn add(&mut self, row: &[f32]) {
        self.rows += 1.0;
        for ((mean, squares), &x) in self.mean.iter_mut().zip(&mut self.squares).zip(row) {
            let before = f64::from(x) - *mean;
            *mean += before / self.rows;
            *squares += before * (f64::from(x) - *mean);
        }
    }

    /// Returns the standard deviation of each entry (ddof 1).
    fn deviations(&self) -> Vec<f64> {
        self.squares.iter().map(|squares| (squares / (self.rows.max(2.0) - 1.0)).sqrt()).collect()
    }
}

impl CheckReport {
    /// Returns the first broken rule, if any.
    #[must_use]
    pub fn failure(&self) -> Option<CheckFailure> {
        self.outcomes.iter().find_map(|(check, outcome)| match outcome {
            CheckOutcome::Failed(detail) => {
                Some(CheckFailure { id: self.spec.id.clone(), check: *check, detail: detail.clone() })
            }
            CheckOutcome::Passed | CheckOutcome::Inconclusive | CheckOutcome::Skipped => None,
        })
    }

    /// Returns the properties that are allowed but may surprise a learner, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.spec.termination.is_none() {
            let dropped = self.spec.dropped_rule.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
            warnings.push(format!(
                "it has no termination rule{dropped}: set `env.termination`, or let `model.termination = \"learned\"` learn the ends; otherwise training with a model ends with an error at the first termination"
            ));
        }
        if self.spec.max_episode_steps.is_none() {
            warnings.push("it has no time limit: an evaluation stops an episode only after 100,000 steps; set a time limit (`env.gym.kwargs.max_episode_steps`, or `max_episode_steps` of the spec)".into());
        }
        let Some(measurements) = &self.measurements else { return warnings };
        if measurements.fixed_start {
            warnings.push(format!("{RESETS} seeds gave the same first observation: the start state may be fixed"));
        }
        let entries = |test: &dyn Fn(&[f32; 2], f64) -> bool| -> Vec<usize> {
            let measured = measurements.ranges.iter().zip(&measurements.deviations).enumerate();
            measured.filter(|(_, (range, deviation))| test(range, **deviation)).map(|(entry, _)| entry).collect()
        };
        let constant = entries(&|[low, high], _| low == high);
        if !constant.is_empty() {
            warnings.push(format!("observation entries {} are constant", Abbreviated(&constant)));
        }
        let small = entries(&|[low, high], deviation| low != high && deviation < CONSTANT_DEVIATION);
        if !small.is_empty() {
            warnings.push(format!(
                "observation entries {} vary with a standard deviation below 1e-5, which the model takes for constant: let the environment return them in a smaller unit, so that they are of the order of 1",
                Abbreviated(&small)
            ));
        }
        let large = entries(&|[low, high], _| low.abs().max(high.abs()) > 1e4);
        if !large.is_empty() {
            warnings.push(format!(
                "observation entries {} exceed 10,000: set `agent.normalize_observations = true` (the default of `dhmbpo`)",
                Abbreviated(&large)
            ));
        }
        let [low, high] = measurements.rewards;
        if low == high && low == 0.0 {
            warnings.push("every reward was 0 under random actions: an agent may find nothing to learn from".into());
        } else if low == high {
            warnings.push(format!("every reward was {low}"));
        } else if low.abs().max(high.abs()) > 1e3 {
            warnings.push(format!(
                "rewards range from {low:.0} to {high:.0}: set `agent.scale_rewards = true` for `sac` and `td3`"
            ));
        }
        if self.spec.work == Work::ExternalProcess && measurements.steps_per_s < 100.0 {
            warnings.push(format!(
                "{:.0} steps/s: the environment will take most of a run's time; `env.count` steps several at once",
                measurements.steps_per_s
            ));
        }
        warnings
    }
}
