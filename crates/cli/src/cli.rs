//! The commands and their arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Deep model-based reinforcement learning for continuous control.
#[derive(Debug, Parser)]
#[command(
    name = "foresee",
    version,
    about = "Deep model-based reinforcement learning for continuous control",
    propagate_version = true
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
    Train {
        /// A config file, such as configs/pendulum-vagram.toml
        config: PathBuf,
        /// Overrides, such as model.loss.kind=mle seed=3
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// The run's folder [default: runs/ENV/NAME/SEED-TIME]
        #[arg(long, value_name = "DIR")]
        run_dir: Option<PathBuf>,
    },
    /// Resume a run from its newest checkpoint
    Resume {
        /// The run's folder
        run: PathBuf,
        /// Overrides, such as training.env_steps=5000
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Evaluate a run's policy
    Eval {
        /// The run's folder
        run: PathBuf,
        /// Number of evaluation episodes [default: training.eval_episodes of the run]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        episodes: Option<u32>,
    },
    /// Check a config and print it with all defaults
    Check {
        /// A config file, such as configs/pendulum-vagram.toml
        config: PathBuf,
        /// Overrides, such as model.loss.kind=mle seed=3
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Check that an environment follows the rules that training relies on
    CheckEnv {
        /// An environment id: one that `foresee list envs` prints, gym:ID or gym:MODULE:ID
        id: String,
        /// Keys of [env], such as env.gym.timeout=5
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// List the choices for a key of a config
    List {
        /// The kind of choice
        what: Listed,
    },
}

/// The kinds of choices that can be listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Listed {
    /// Environments
    Envs,
    /// Model losses
    Losses,
    /// Models
    Models,
    /// Agents
    Agents,
    /// Algorithms: the sources of an agent's transitions
    Algos,
    /// Devices, and the hardware behind each on this machine
    Devices,
}
