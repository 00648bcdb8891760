//! The commands and their arguments.

use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use foresee::config::suggestions;

/// The end of the help of the whole program.
const NOTES: &str = "\
Examples:
  foresee train configs/pendulum-vagram.toml
  foresee train configs/pendulum-vagram.toml model.loss.kind=mle seed=3
  foresee check configs/mujoco/hopper.toml rollout.horizon=5
  foresee check-env gym:Ant-v5
  foresee resume DIR training.env_steps=5000
  foresee eval DIR --episodes 100
  foresee report runs/Pendulum-v1 --out report

A config file needs only the keys that differ from their defaults. An argument KEY=VALUE overrides
it; VALUE is TOML, and a bare word is a string. Quote values with brackets, quotes or spaces:
\"rollout.horizon=[1, 5, 0, 10000]\", 'env.gym.kwargs={mode = \"hard\"}'.

The folder DIR of a run may be moved and renamed while no process trains in it.

Exit codes:
  0    success
  1    a run failed, or an environment breaks a rule
  2    the input is refused: arguments, config, environment, run folder or checkpoint
  130  a signal ended the run, which is saved (after a second signal: up to the newest checkpoint only)

Environment variables:
  VIRTUAL_ENV  the virtual environment whose Python, Gymnasium, dm_control and MuJoCo are used
  MUJOCO_LIB   MuJoCo's library file, instead of the one of VIRTUAL_ENV or of the system";

/// The end of the help of `train`.
const NOTES_ON_TRAIN: &str = "\
Examples:
  foresee train configs/pendulum-vagram.toml
  foresee train configs/pendulum-vagram.toml model.loss.kind=mle seed=3
  foresee train configs/pendulum-sac.toml env.id=gym:my_module:MyEnv-v0 --run-dir runs/mine

Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 save the run and end it with exit code 130, and
`foresee resume DIR` continues it. A second signal ends the program at once. A signal that is ignored
when the program starts stays ignored: a run that is started with `nohup` outlives its terminal. The
folder DIR may be moved and renamed while no process trains in it.

In a script that is started again and again until the run is complete, such as a job of a scheduler:
  foresee train CONFIG --run-dir DIR --resume-if-exists
The first call starts the run. Each later call resumes it under CONFIG and its overrides: every
difference from the config of the run counts as an override of a resume, and is refused where
`foresee resume` refuses it. A run that ended before its first checkpoint starts again. When the run is complete, the call says so with exit code 0.";

/// The end of the help of `resume`.
const NOTES_ON_RESUME: &str = "\
Examples:
  foresee resume runs/mine
  foresee resume runs/mine training.env_steps=5000    extend the run

A run keeps its seed, task, number of environments, action repeat, algorithm and networks. Changed
keys are written to config.resume-1.toml, config.resume-2.toml and so on, and later resumes keep them.
If the newest of these files was edited since the run was last started, the edits count as overrides.
The folder may have been moved.";

/// The end of the help of `eval`.
const NOTES_ON_EVAL: &str = "\
Examples:
  foresee eval runs/mine
  foresee eval runs/mine --episodes 100

Nothing is written. The folder may have been moved.";

/// The end of the help of `report`.
const NOTES_ON_REPORT: &str = "\
Examples:
  foresee report runs/Pendulum-v1
  foresee report runs/Pendulum-v1 --out report
  foresee report runs/Hopper-v5 MBPO=theirs/results.csv --threshold 3000

RUN is a run folder, a file with the columns exp_name,env_name,seed,metric,env_step,value, a results.csv of
mbrl-lib, or a folder that contains some of these. Runs whose configs differ in nothing but the seed form a
group; all runs of NAME=RUN form the group NAME. --out writes report.html, report.json and report.csv.";

/// The end of the help of `check`.
const NOTES_ON_CHECK: &str = "\
Examples:
  foresee check configs/pendulum-vagram.toml
  foresee check configs/pendulum-vagram.toml --explain
  foresee check configs/pendulum-vagram.toml model.loss.kind=mle > mine.toml

The output is itself a config that gives the same run, also with --explain.";

/// The end of the help of `check-env`.
const NOTES_ON_CHECK_ENV: &str = "\
Examples:
  foresee check-env Pendulum-v1
  foresee check-env gym:Ant-v5 env.first_entries=27
  foresee check-env gym:shimmy:dm_control/cartpole-swingup-v0
  foresee check-env dmc:walker-run env.gym.python=dmc/bin/python

Environments in Python run under `env.gym.python`, else under the Python of VIRTUAL_ENV, else under
`python3`. Native MuJoCo tasks load the library file that MUJOCO_LIB names. The exit code is 1 if a rule is broken.";

/// The end of the help of `study`.
const NOTES_ON_STUDY: &str = "\
Examples:
  foresee study list
  foresee study run simulation-lemma --tier smoke
  foresee study run vaml-walk groups=4 gamma=0.9 --out studies/coarse
  foresee study run --all --tier smoke

A study tests a claim about learned models on problems whose answers are known exactly. It writes
verdict.json and figure.svg into the folder DIR/NAME.";

/// The end of the help of `study run`.
const NOTES_ON_STUDY_RUN: &str = "\
Examples:
  foresee study run simulation-lemma --tier smoke
  foresee study run vaml-walk groups=4 gamma=0.9 --out studies/coarse
  foresee study run --all --tier smoke

The tier `report` keeps finished seeds in DIR/NAME/seeds, and a further run adds the missing ones.
The exit code does not depend on the verdict.";

/// Deep model-based reinforcement learning for continuous control.
#[derive(Debug, Parser)]
#[command(
    name = "foresee",
    version,
    about = "Deep model-based reinforcement learning for continuous control",
    propagate_version = true,
    after_help = NOTES
)]
pub(crate) struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The commands of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Train an agent
    #[command(after_help = NOTES_ON_TRAIN)]
    Train {
        /// A config file, such as configs/pendulum-vagram.toml
        config: PathBuf,
        /// Overrides, such as model.loss.kind=mle seed=3
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// The run's folder [default: runs/ENV/NAME/SEED-TIME]
        #[arg(long, value_name = "DIR")]
        run_dir: Option<PathBuf>,
        /// Resume the run in DIR, if there is one, under this config
        #[arg(long, requires = "run_dir")]
        resume_if_exists: bool,
    },
    /// Resume a run from its newest checkpoint
    #[command(after_help = NOTES_ON_RESUME)]
    Resume {
        /// The run's folder
        #[arg(value_name = "DIR")]
        run: PathBuf,
        /// Overrides, such as training.env_steps=5000
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Evaluate the newest checkpoint's policy without exploration, from the start states of the run's evaluations
    #[command(after_help = NOTES_ON_EVAL)]
    Eval {
        /// The run's folder
        #[arg(value_name = "DIR")]
        run: PathBuf,
        /// Number of evaluation episodes [default: training.eval_episodes of the run]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        episodes: Option<u32>,
    },
    /// Compare runs over their seeds, with intervals
    #[command(after_help = NOTES_ON_REPORT)]
    Report(ReportArguments),
    /// Validate a config, and print it with all defaults except options that are switched off
    #[command(after_help = NOTES_ON_CHECK)]
    Check {
        /// Print every key with its meaning, its values and its default
        #[arg(long)]
        explain: bool,
        /// A config file, such as configs/pendulum-vagram.toml
        config: PathBuf,
        /// Overrides, such as model.loss.kind=mle seed=3
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Test whether an environment meets the requirements of training
    #[command(after_help = NOTES_ON_CHECK_ENV)]
    CheckEnv {
        /// Environment id: one from `foresee list envs`, gym:ID, gym:MODULE:ID (MODULE is imported first), or
        /// dmc:DOMAIN-TASK
        id: String,
        /// Overrides, such as env.gym.timeout=5; only keys that start with `env.`
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// List the choices for a key of a config, all keys, or all metrics
    #[command(after_help = choices())]
    List {
        /// What to list
        #[arg(value_name = "WHAT", hide_possible_values = true)]
        what: Listed,
        /// Print keys or metrics as a page in Markdown: docs/config.md or docs/metrics.md
        #[arg(long)]
        markdown: bool,
    },
    /// Test claims about learned models on problems whose answers are known exactly
    #[command(after_help = NOTES_ON_STUDY)]
    Study {
        /// The command to run.
        #[command(subcommand)]
        verb: StudyVerb,
    },
}

/// The commands of `study`.
#[derive(Debug, Subcommand)]
pub(crate) enum StudyVerb {
    /// List the studies with their claims and parameters
    List,
    /// Run one study or all, and write verdict.json and figure.svg
    #[command(after_help = NOTES_ON_STUDY_RUN)]
    Run {
        /// A study from `foresee study list`
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        name: Option<String>,
        /// Parameters of the study, such as gamma=0.9
        #[arg(value_name = "NAME=VALUE")]
        parameters: Vec<String>,
        /// Run all studies with their default parameters
        #[arg(long)]
        all: bool,
        /// The number of seeds: smoke, quick or report
        #[arg(long, value_name = "TIER", default_value = "quick")]
        tier: String,
        /// The folder that has a folder for each study
        #[arg(long, value_name = "DIR", default_value = "studies")]
        out: PathBuf,
    },
}

/// The arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Runs to compare: folders and files
    #[arg(value_name = "[NAME=]RUN", required = true)]
    pub runs: Vec<String>,
    /// Write the page and all numbers into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print all numbers as JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print all evaluations in the columns exp_name,env_name,seed,metric,env_step,value
    #[arg(long)]
    pub csv: bool,
    /// Group runs by the values of this config key, such as model.loss.kind; can be repeated
    #[arg(long, value_name = "KEY")]
    pub group_by: Vec<String>,
    /// Compare the other groups with this one [default: the first group]
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Report steps and seconds to this return [default: nine tenths of the way to the best group]
    #[arg(long, value_name = "RETURN", allow_negative_numbers = true)]
    pub threshold: Option<f64>,
    /// Compare the returns at this step [default: the last step that all runs have reached]
    #[arg(long, value_name = "STEP")]
    pub at: Option<u64>,
}

/// The kinds of choices that can be listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Listed {
    /// Environments: env.id
    Envs,
    /// Losses of the world model: model.loss.kind
    Losses,
    /// World models: model.kind
    Models,
    /// Agents: agent.kind
    Agents,
    /// Training algorithms: algo
    Algos,
    /// Devices, and the hardware behind each on this machine: device
    Devices,
    /// All keys of a config, with their values and defaults
    Keys,
    /// All metrics that a run records, with their units
    Metrics,
}

/// Returns the end of the help of `list`: the kinds of choices, a line each.
fn choices() -> String {
    let values = Listed::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let line = |value: clap::builder::PossibleValue| {
        let help = value.get_help().map(StyledStr::to_string).unwrap_or_default();
        format!("  {:<8} {help}", value.get_name())
    };
    ["WHAT is one of:".to_owned()].into_iter().chain(values.map(line)).collect::<Vec<_>>().join("\n")
}

impl Cli {
    /// Parses the arguments of the process. If they are malformed, or ask for help, prints clap's message and ends the
    /// process.
    pub(crate) fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            // `std::env::args` panics if an argument is not Unicode.
            let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
            let arguments: Vec<String> = arguments.collect();
            with_override_tip(error, &arguments).exit()
        })
    }
}

/// Replaces clap's tip about an unknown option, which is to pass it as a value, by the override that was probably meant.
fn with_override_tip(mut error: clap::Error, arguments: &[String]) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => option.clone(),
        _ => return error,
    };
    error.remove(ContextKind::Suggested);
    let tip = override_tip(&option, arguments).filter(|_| error.get(ContextKind::SuggestedArg).is_none());
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Returns the tip about an unknown option, such as `write seed=3` for `--seed 3`, if the command takes overrides.
fn override_tip(option: &str, arguments: &[String]) -> Option<String> {
    let command = arguments.first()?.as_str();
    if !["train", "resume", "check", "check-env"].contains(&command) {
        return None;
    }
    let mut keys = suggestions(option.trim_start_matches('-'));
    if command == "check-env" {
        keys.retain(|key| key.starts_with("env."));
    }
    let after = |at: usize| arguments.get(at + 1).filter(|next| !next.starts_with('-') && !next.contains('='));
    let value = arguments.iter().enumerate().find_map(|(at, argument)| match argument.strip_prefix(option)? {
        "" => after(at).map(String::as_str),
        rest => rest.strip_prefix('='),
    });
    let value = value.unwrap_or("VALUE");
    let overrides: Vec<String> = keys.iter().map(|key| format!("{key}={value}")).collect();
    Some(if overrides.is_empty() {
        "set keys of the config by KEY=VALUE, without dashes; `foresee list keys` prints the keys".into()
    } else {
        format!("write {}", overrides.join(" or "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn short_and_long_help_are_the_same() {
        for verb in ["", "train", "resume", "eval", "report", "check", "check-env", "list", "study"] {
            let help = |flag: &str| {
                let words = ["foresee", verb, flag].into_iter().filter(|word| !word.is_empty());
                Cli::try_parse_from(words).expect_err("help is an early end").to_string()
            };
            assert_eq!(help("-h"), help("--help"), "{verb}");
        }
    }

    #[test]
    fn an_option_that_is_a_key_is_answered_with_its_override() {
        let message = |arguments: &[&str]| {
            let error = Cli::try_parse_from([&["foresee"][..], arguments].concat()).expect_err("an unknown option");
            let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
            with_override_tip(error, &arguments).to_string()
        };
        for (arguments, tip) in [
            (&["train", "a.toml", "--seed", "3"][..], "write seed=3"),
            (&["train", "a.toml", "--seed=3"], "write seed=3"),
            (&["resume", "run", "--env-steps", "5000"], "write training.env_steps=5000"),
            (&["check", "a.toml", "--gamma", "--seed"], "write agent.discount=VALUE"),
            (&["train", "a.toml", "--batch", "64"], "write agent.batch=64 or model.fit.batch=64"),
            (&["check-env", "Pendulum-v1", "--num-envs", "2"], "write env.count=2"),
            (
                &["check-env", "Pendulum-v1", "--seed", "2"],
                "set keys of the config by KEY=VALUE, without dashes; `foresee list keys` prints the keys",
            ),
            (
                &["train", "a.toml", "--fast"],
                "set keys of the config by KEY=VALUE, without dashes; `foresee list keys` prints the keys",
            ),
        ] {
            let message = message(arguments);
            assert!(message.contains(&format!("tip: {tip}\n")), "{arguments:?}: {message}");
            assert_eq!(message.matches("tip: ").count(), 1, "{message}");
        }
        let message = message(&["eval", "run", "--seed", "3"]);
        assert!(message.contains("'--seed'") && !message.contains("tip: "), "{message}");
    }
}
