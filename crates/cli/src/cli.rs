//! The verbs and their arguments.

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
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train an agent
    Train {
        /// A config, such as configs/pendulum-vagram.toml
        config: PathBuf,
        /// Overrides, such as model.loss.kind=mle seed=3
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// The run's folder [default: runs/ENV/NAME/SEED-TIME]
        #[arg(long, value_name = "DIR")]
        run_dir: Option<PathBuf>,
    },
    /// Go on with a run from its newest checkpoint
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
        /// Episodes [default: training.eval_episodes of the run]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        episodes: Option<u32>,
    },
    /// Check a config and print it with all defaults
    Check {
        /// A config
        config: PathBuf,
        /// Overrides
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// Check that an environment keeps what training relies on
    CheckEnv {
        /// An id: of `foresee list envs`, or gym:ID, or gym:MODULE:ID
        id: String,
        /// Keys of [env], such as env.gym.timeout=5
        #[arg(value_name = "KEY=VALUE")]
        overrides: Vec<String>,
    },
    /// List what can be chosen
    List {
        /// Of what
        what: Listed,
    },
}

/// What can be listed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Listed {
    /// Environments
    Envs,
    /// Model losses
    Losses,
    /// Models
    Models,
    /// Agents
    Agents,
    /// Algorithms: where an agent's transitions come from
    Algos,
    /// Devices, and what stands behind each on this machine
    Devices,
}
