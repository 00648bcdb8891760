//! `check-env`: checks, rule by rule, whether an environment has the properties that training relies on, in the spirit
//! of Gymnasium's `check_env`.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};

use foresee::config::{Problem, Source};
use foresee::env::checker::Measurements;
use foresee::env::{BoxSpace, CheckOutcome, EnvConfig, EnvError, Spec, check_report_of};
use serde::Deserialize;
use toml::Table;

use super::{DONE, counted, print_line};
use crate::failure::Failure;
use crate::heartbeat;

/// Number of entries of a space that are printed.
const PRINTED_ENTRIES: usize = 6;

/// The name of the command's id in messages.
const NAME: &str = "check-env";

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
    let source = Source::tree(NAME, tree, overrides)?;
    let EnvOnly { env } = source.typed()?;
    let env = env.with_absolute_paths();
    let made = AtomicUsize::new(0);
    let make = || {
        made.fetch_add(1, Ordering::Relaxed);
        env.make_unscaled(0)
    };
    let activity = || format!("checking, environment {}", made.load(Ordering::Relaxed));
    let report = heartbeat::during(activity, || check_report_of(make, env.count));
    let report = report.map_err(|error| refused(&source, &error))?;

    print_spec(&report.spec)?;
    print_line("")?;
    for (check, outcome) in &report.outcomes {
        print_line(match outcome {
            CheckOutcome::Passed => format!("ok       {check}"),
            CheckOutcome::Failed(detail) => {
                format!("BROKEN   {check}\n         {}", detail.replace('\n', "\n         "))
            }
            CheckOutcome::Inconclusive => format!("untested {check} (a broken rule ended the test)"),
            CheckOutcome::Skipped => format!(
                "skipped  {check} (the environment has no termination rule; `train` with `algo = \"mbpo\"` or `\"dhmbpo\"` needs one where the task first terminates)"
            ),
        })?;
    }
    if let Some(measurements) = &report.measurements {
        print_line("")?;
        print_measurements(measurements)?;
    }
    for warning in report.warnings() {
        print_line(format!("warning: {warning}"))?;
    }
    let broken = report.outcomes.iter().filter(|(_, outcome)| matches!(outcome, CheckOutcome::Failed(_))).count();
    if broken > 0 {
        return Err(Failure::Run(format!("`{}` breaks {broken} of {} rules", env.id, report.outcomes.len())));
    }
    Ok(DONE)
}

/// Returns the failure of an environment that cannot be made. It names the override that set the key at fault, if there
/// is one.
fn refused(source: &Source, error: &EnvError) -> Failure {
    let problem = Problem::from(error.to_string());
    let blamed = source.blame(&problem);
    Failure::Input(if blamed.origin == NAME { problem.to_string() } else { blamed.to_string() })
}

fn print_spec(spec: &Spec) -> Result<(), Failure> {
    let row = |name: &str, value: &dyn Display| print_line(format!("{name:<14}{value}"));
    row("environment", &spec.id)?;
    row("observations", &space(&spec.observation_space))?;
    row("actions", &space(&spec.action_space))?;
    row("step limit", &spec.max_episode_steps.map_or("none".into(), |steps| steps.to_string()))?;
    if spec.action_repeat > 1 {
        row("frames/step", &spec.action_repeat)?;
    }
    let rule = spec.termination.as_ref().map(ToString::to_string);
    row(
        "terminates",
        &rule.unwrap_or_else(|| {
            "rule unknown (training with a model needs `env.termination` or `model.termination=learned`)".into()
        }),
    )?;
    spec.versions.iter().try_for_each(|(name, version)| row(name, version))
}

/// Formats a space as `3 numbers, [-1, 1] [-1, 1] [-8, 8]`, shortened after [`PRINTED_ENTRIES`] entries.
fn space(space: &BoxSpace) -> String {
    let ends = space.low.iter().zip(&space.high).take(PRINTED_ENTRIES).map(|(low, high)| format!("[{low}, {high}]"));
    let more = if space.dim() > PRINTED_ENTRIES { " …" } else { "" };
    let numbers = if space.dim() == 1 { "number" } else { "numbers" };
    format!("{} {numbers}, {}{more}", space.dim(), ends.collect::<Vec<_>>().join(" "))
}

fn print_measurements(measured: &Measurements) -> Result<(), Failure> {
    let returns: Vec<f64> = measured.episodes.iter().map(|episode| episode.0).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    if returns.is_empty() {
        print_line("random actions: no episode ended")?;
    } else {
        let lengths: Vec<f64> = measured.episodes.iter().map(|episode| f64::from(episode.1)).collect();
        print_line(format!(
            "random actions: mean return {:.2}, mean length {:.1} over {}, rewards {:.3} to {:.3}",
            mean(&returns),
            mean(&lengths),
            counted(returns.len(), "episode"),
            measured.rewards[0],
            measured.rewards[1]
        ))?;
    }
    print_line(format!("speed: {:.0} steps/s", measured.steps_per_s))
}
