//! All tests of [`check_environment`](super::check_environment), rule by rule, for authors of environments. A broken
//! rule does not hide the others, and properties that matter to a learner are measured as well.

use std::time::Instant;

use foresee_core::Stream;

use super::promises::{Broken, Checker, RESETS};
use super::{Check, CheckFailure};
use crate::environment::{Environment, Spec, Work};
use crate::error::EnvError;
use crate::space::Few;

/// Number of steps that are played to measure the facts, over the episodes that begin within them.
const STEPS: u32 = 1000;

/// The outcome of the test of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rule was tested and holds.
    Kept,
    /// The rule is broken, with the place and the values.
    Broken(String),
    /// The rule was not fully tested, because another broken rule ended the test.
    Unclear,
}

/// Every rule with its outcome, and measured facts.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The environment's spec.
    pub spec: Spec,
    /// Every rule with its outcome, in the order of the tests.
    pub outcomes: Vec<(Check, Outcome)>,
    /// Measurements under uniformly drawn actions; `None` if a step failed.
    pub facts: Option<Facts>,
}

/// Measurements over a thousand steps under actions drawn from the action space.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Undiscounted return and length of every whole episode.
    pub episodes: Vec<(f64, u32)>,
    /// Least and largest value of each observation entry, `[O]` of `[low, high]`.
    pub ranges: Vec<[f32; 2]>,
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
/// use foresee_env::{EnvError, dress, examine};
///
/// let found = examine(|| dress(Box::new(Pendulum::new()), None))?;
/// assert!(found.failure().is_none());
/// assert_eq!(found.warnings(), ["it has no step limit: an evaluation may never end"]);
/// # Ok::<(), EnvError>(())
/// ```
///
/// # Errors
/// If an environment cannot be created at all.
pub fn examine(make: impl Fn() -> Result<Box<dyn Environment>, EnvError>) -> Result<Examination, EnvError> {
    let spec = make()?.spec().clone();
    let checker = Checker { make: &make, spec };
    let mut outcomes: Vec<(Check, Outcome)> = Vec::new();
    let mut record = |checks: &[Check], result: Result<(), Broken>| {
        let broken = result.err().map(|Broken(check, detail)| (check, detail));
        for &check in checks {
            let outcome = match &broken {
                None => Outcome::Kept,
                Some((found, detail)) if *found == check => Outcome::Broken(detail.clone()),
                Some(_) => Outcome::Unclear,
            };
            outcomes.push((check, outcome));
        }
        if let Some((found, detail)) = broken
            && !outcomes.iter().any(|(check, _)| *check == found)
        {
            outcomes.push((found, Outcome::Broken(detail)));
        }
    };
    record(&[Check::Spec], checker.spec_makes_sense());
    let whole_episodes = [Check::Observations, Check::Rewards, Check::Termination, Check::TimeLimit, Check::Order];
    record(&whole_episodes, checker.episodes());
    record(&[Check::Seeding], checker.seeding());
    record(&[Check::SaveRestore], checker.save_and_restore());
    record(&[Check::Actions], checker.actions());
    let facts = play(make()?.as_mut()).ok();
    Ok(Examination { spec: checker.spec, outcomes, facts })
}

fn play(env: &mut dyn Environment) -> Result<Facts, EnvError> {
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
    let mut facts = Facts { episodes: vec![], ranges: vec![], rewards, fixed_start, steps_per_s: 0.0 };
    let mut episode = (0.0, 0);
    for t in 0..STEPS {
        let step = env.step(&action_space.sample(&mut actions.at(u64::from(t), 0)))?;
        for (range, &x) in ranges.iter_mut().zip(&step.obs) {
            *range = [range[0].min(x), range[1].max(x)];
        }
        facts.rewards = [facts.rewards[0].min(step.reward), facts.rewards[1].max(step.reward)];
        episode = (episode.0 + step.reward, episode.1 + 1);
        if step.terminated || step.truncated {
            facts.episodes.push(std::mem::take(&mut episode));
            env.reset(None)?;
        }
    }
    facts.steps_per_s = f64::from(STEPS) / began.elapsed().as_secs_f64();
    facts.ranges = ranges;
    Ok(facts)
}

impl Examination {
    /// Returns the first broken rule, if any.
    #[must_use]
    pub fn failure(&self) -> Option<CheckFailure> {
        self.outcomes.iter().find_map(|(check, outcome)| match outcome {
            Outcome::Broken(detail) => {
                Some(CheckFailure { id: self.spec.id.clone(), check: *check, detail: detail.clone() })
            }
            Outcome::Kept | Outcome::Unclear => None,
        })
    }

    /// Returns the properties that are allowed but may surprise a learner, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.spec.termination.is_none() {
            warnings.push(
                "no rule says when it terminates: `algo = \"mbpo\"` imagines episodes without an end; give `env.termination`"
                    .into(),
            );
        }
        if self.spec.max_episode_steps.is_none() {
            warnings.push("it has no step limit: an evaluation may never end".into());
        }
        if !self.spec.action_space.is_bounded() {
            warnings.push("its action space has no finite bounds: training needs them".into());
        }
        let Some(facts) = &self.facts else { return warnings };
        if facts.fixed_start {
            warnings.push(format!("{RESETS} seeds gave the same first observation: every episode may begin alike"));
        }
        let entries = |test: &dyn Fn(&[f32; 2]) -> bool| -> Vec<usize> {
            facts.ranges.iter().enumerate().filter(|(_, range)| test(range)).map(|(entry, _)| entry).collect()
        };
        let constant = entries(&|[low, high]| low == high);
        if !constant.is_empty() {
            warnings.push(format!("observation entries {} never changed", Few(&constant)));
        }
        let large = entries(&|[low, high]| low.abs().max(high.abs()) > 1e4);
        if !large.is_empty() {
            warnings.push(format!(
                "observation entries {} go beyond 10,000: policy and critics see them as they are",
                Few(&large)
            ));
        }
        let [low, high] = facts.rewards;
        if low == high {
            warnings.push(format!("every reward was {low}"));
        } else if low.abs().max(high.abs()) > 1e3 {
            warnings.push(format!("rewards go from {low:.0} to {high:.0}: SAC's temperature expects them near 1"));
        }
        if self.spec.work == Work::Outside && facts.steps_per_s < 100.0 {
            warnings.push(format!("{:.0} steps/s: the environment will take most of a run's time", facts.steps_per_s));
        }
        warnings
    }
}
