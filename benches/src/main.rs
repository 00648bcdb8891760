//! Fixed workloads: how fast the parts are, and how well the shipped configs learn.
//!
//! * [`compute`]: one model step, one SAC update, one VaGraM step, timed.
//! * [`learn`]: shipped configs over seeds, as the table that `docs/results/` holds.
//! * [`machine`]: what the numbers were measured on.

mod compute;
mod learn;
mod machine;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Time the fixed workloads
    Compute {
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
        /// Seconds a workload
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Train configs over seeds and print the returns at every evaluation, as a Markdown table
    Learn {
        /// Configs
        #[arg(required = true)]
        configs: Vec<PathBuf>,
        /// Seeds
        #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
        seeds: Vec<u64>,
        /// Runs side by side, each on one thread
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Gradient steps of the model a training call, at most, instead of the configs' own
        #[arg(long)]
        max_steps: Option<u64>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Compute { json, seconds } => compute::run(json, seconds),
        What::Learn { configs, seeds, jobs, max_steps } => learn::run(&configs, &seeds, jobs, max_steps),
    }
}
