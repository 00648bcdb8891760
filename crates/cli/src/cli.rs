//! The commands and their arguments.
//!
//! * `help`: the texts at the end of the help.
//! * `tip`: the tip about an unknown option that is a key of a config.

mod help;
mod tip;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use tip::with_override_tip;

/// Deep model-based reinforcement learning for continuous control.
#[derive(Debug, Parser)]
#[command(
    name = "foresee",
    version,
    about = "Deep model-based reinforcement learning for continuous control",
    propagate_version = true,
    after_help = help::OF_PROGRAM
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
    #[command(after_help = help::ON_TRAIN)]
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
    #[command(after_help = help::ON_RESUME)]
    Resume {
        /// The run's folder
        #[arg(value_name = "DIR")]
        run: PathBuf,
        /// Overrides, such as training.env_steps=5000
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Evaluate the newest checkpoint's policy without exploration, from the start states of the run's evaluations
    #[command(after_help = help::ON_EVAL)]
    Eval {
        /// The run's folder
        #[arg(value_name = "DIR")]
        run: PathBuf,
        /// Number of evaluation episodes [default: training.eval_episodes of the run]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        episodes: Option<u32>,
    },
    /// Compare runs over their seeds, with intervals
    #[command(after_help = help::ON_REPORT)]
    Report(ReportArguments),
    /// Validate a config, and print it with all defaults except options that are switched off
    #[command(after_help = help::ON_CHECK)]
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
    #[command(after_help = help::ON_CHECK_ENV)]
    CheckEnv {
        /// Environment id: one from `foresee list envs`, gym:ID, gym:MODULE:ID (MODULE is imported first), or
        /// dmc:DOMAIN-TASK
        id: String,
        /// Overrides, such as env.gym.timeout=5; only keys that start with `env.`
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// List the choices for a key of a config, all keys, or all metrics
    #[command(after_help = help::choices())]
    List {
        /// The list to print
        #[arg(value_name = "WHAT", hide_possible_values = true)]
        what: Listed,
        /// Print keys or metrics as a page in Markdown: docs/config.md or docs/metrics.md
        #[arg(long)]
        markdown: bool,
    },
    /// Test claims about learned models on problems whose answers are known exactly
    #[command(after_help = help::ON_STUDY)]
    Study {
        /// The command to run.
        #[command(subcommand)]
        verb: StudyVerb,
    },
    /// Train every combination of configs, values and seeds, several runs at once
    #[command(after_help = help::ON_SWEEP)]
    Sweep(SweepArguments),
}

/// The commands of `study`.
#[derive(Debug, Subcommand)]
pub(crate) enum StudyVerb {
    /// List the studies with their claims and parameters
    List,
    /// Run one study or all, and write verdict.json and figure.svg
    #[command(after_help = help::ON_STUDY_RUN)]
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

/// The arguments of `sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    /// A sweep file, such as configs/sweeps/pendulum-losses.toml, or the config of a run
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Choices, such as model.loss.kind=mle,vagram seed=0..9 (both ends belong to a range), and overrides of every run
    #[arg(value_name = "KEY=VALUES")]
    pub choices: Vec<String>,
    /// Number of runs at once [default: the number of cores divided by the threads of a run]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// The name of the sweep [default: that in the sweep file, or the name of FILE]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The sweep's folder [default: sweeps/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Check the runs and print their names and overrides, without training
    #[arg(long)]
    pub dry_run: bool,
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
    /// Report steps and seconds to this return [default: 90 % of the way from the first evaluations to the best group]
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
        for verb in ["", "train", "resume", "eval", "report", "check", "check-env", "list", "study", "sweep"] {
            let help = |flag: &str| {
                let words = ["foresee", verb, flag].into_iter().filter(|word| !word.is_empty());
                Cli::try_parse_from(words).expect_err("help is an early end").to_string()
            };
            assert_eq!(help("-h"), help("--help"), "{verb}");
        }
    }
}
