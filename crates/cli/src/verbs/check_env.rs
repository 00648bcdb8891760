//! `check-env`: checks, rule by rule, whether an environment has the properties that training relies on, in the spirit
//! of Gymnasium's `check_env`.

use std::fmt::Display;

use foresee::config::Source;
use foresee::env::checker::Facts;
use foresee::env::{BoxSpace, EnvConfig, Outcome, Spec, examine};
use serde::Deserialize;
use toml::Table;

use super::{DONE, say};
use crate::failure::Failure;

/// Number of entries of a space that are printed.
const SHOWN: usize = 6;

/// The keys that overrides may change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvOnly {
    env: EnvConfig,
}

/// Checks every rule on the environment that `[env]` describes, in the environment's own action range, and prints the
/// results.
pub(super) fn check_env(id: &str, overrides: &[&str]) -> Result<u8, Failure> {
    let section = Table::from_iter([("id".into(), toml::Value::from(id))]);
    let tree = Table::from_iter([("env".into(), toml::Value::from(section))]);
    let EnvOnly { env } = Source::tree("check-env", tree, overrides)?.typed()?;
    let found = examine(|| env.make_unscaled(0)).map_err(|error| Failure::Input(error.to_string()))?;

    describe(&found.spec)?;
    say("")?;
    for (check, outcome) in &found.outcomes {
        say(match outcome {
            Outcome::Kept => format!("ok       {check}"),
            Outcome::Broken(detail) => format!("BROKEN   {check}\n         {}", detail.replace('\n', "\n         ")),
            Outcome::Unclear => format!("unclear  {check}"),
        })?;
    }
    if let Some(facts) = &found.facts {
        say("")?;
        tell(facts)?;
    }
    for warning in found.warnings() {
        say(format!("warning: {warning}"))?;
    }
    let broken = found.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Broken(_))).count();
    if broken > 0 {
        return Err(Failure::Run(format!("`{}` breaks {broken} of {} rules", env.id, found.outcomes.len())));
    }
    Ok(DONE)
}

fn describe(spec: &Spec) -> Result<(), Failure> {
    let row = |name: &str, value: &dyn Display| say(format!("{name:<14}{value}"));
    row("environment", &spec.id)?;
    row("observations", &space(&spec.observation_space))?;
    row("actions", &space(&spec.action_space))?;
    row("step limit", &spec.max_episode_steps.map_or("none".into(), |steps| steps.to_string()))?;
    if spec.action_repeat > 1 {
        row("frames a step", &spec.action_repeat)?;
    }
    let rule = spec.termination.as_ref().map(ToString::to_string);
    row("terminates", &rule.unwrap_or_else(|| "by no rule that is known here".into()))?;
    spec.versions.iter().try_for_each(|(name, version)| row(name, version))
}

/// Formats a space as `3 numbers, [-1, 1] [-1, 1] [-8, 8]`, shortened after [`SHOWN`] entries.
fn space(space: &BoxSpace) -> String {
    let ends = space.low.iter().zip(&space.high).take(SHOWN).map(|(low, high)| format!("[{low}, {high}]"));
    let more = if space.dim() > SHOWN { " …" } else { "" };
    let numbers = if space.dim() == 1 { "number" } else { "numbers" };
    format!("{} {numbers}, {}{more}", space.dim(), ends.collect::<Vec<_>>().join(" "))
}

fn tell(facts: &Facts) -> Result<(), Failure> {
    let returns: Vec<f64> = facts.episodes.iter().map(|episode| episode.0).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    if returns.is_empty() {
        say("random actions: no episode came to its end")?;
    } else {
        let lengths: Vec<f64> = facts.episodes.iter().map(|episode| f64::from(episode.1)).collect();
        say(format!(
            "random actions: mean return {:.2}, mean length {:.1} over {} episodes, rewards {:.3} to {:.3}",
            mean(&returns),
            mean(&lengths),
            returns.len(),
            facts.rewards[0],
            facts.rewards[1]
        ))?;
    }
    say(format!("speed: {:.0} steps/s", facts.steps_per_s))
}
