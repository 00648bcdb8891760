//! Fixed workloads that measure the speed of the parts, and the learning of the shipped configs.
//!
//! * [`compute`]: the list of workloads, the clock, and the table.
//! * [`workloads`]: a model step, a VaGraM step, updates of SAC and DHMBPO, a real step of a whole run.
//! * [`rollout`]: imagined rollouts.
//! * [`launch`], [`kernels`]: the cost of a launch on a GPU, and the kernels that a workload launches there.
//! * [`profile`]: the parts of the time of a model step.
//! * [`learn`], [`report`]: shipped configs trained over seeds, as the tables and curves in `docs/results/`.
//! * [`imagination`]: rollouts in a run's model compared with real episodes.
//! * [`machine`]: the machine and the commit that the numbers were measured on.

mod compute;
mod imagination;
mod kernels;
mod launch;
mod learn;
mod machine;
mod profile;
mod report;
mod rollout;
mod workloads;

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Parser, Subcommand, ValueEnum};
use foresee_nn::cpu::simd::{self, Level};
use foresee_nn::device::{self, DeviceChoice};

use compute::Workload;
use learn::Method;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::missing_docs_in_private_items, reason = "a doc comment would replace the program's description")]
#[derive(Parser)]
#[command(about)]
struct Cli {
    /// The subcommand with its arguments.
    #[command(subcommand)]
    command: Command,
}

#[allow(clippy::missing_docs_in_private_items, reason = "a doc comment would replace the program's description")]
#[derive(Subcommand)]
enum Command {
    /// Time the fixed workloads
    Compute {
        /// One JSON object per line instead of a table
        #[arg(long)]
        json: bool,
        /// Workloads to time; by default all but the whole run and those for GPUs
        #[arg(long = "workload")]
        workloads: Vec<Workload>,
        /// Device of the networks: `cpu`, `wgpu`, `wgpu:<n>`, `wgpu:cpu` or `vulkan`
        #[arg(long, default_value_t)]
        device: DeviceChoice,
        /// Seconds per workload; 0 for a single iteration without warm-up
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Number of threads; by default one per core
        #[arg(long, default_value_t = 0)]
        threads: usize,
        /// Peak in GFLOP/s by which the shares are computed; a faster `sgemm` of this run replaces it
        #[arg(long)]
        peak: Option<f64>,
        /// Instruction set, instead of the best that this machine has
        #[arg(long)]
        simd: Option<Instructions>,
    },
    /// Print the graphics adapter behind a device, as JSON: first alone, then with the device's limits
    Adapter {
        /// A GPU: `wgpu`, `wgpu:<n>`, `wgpu:cpu` or `vulkan`
        #[arg(long, default_value_t = DeviceChoice::Wgpu)]
        device: DeviceChoice,
    },
    /// Observe one iteration of workloads on a GPU and print the kernels that it launches, as Markdown tables
    Kernels {
        /// Workloads to observe
        #[arg(long = "workload", required = true)]
        workloads: Vec<Workload>,
        /// A GPU: `wgpu`, `wgpu:<n>`, `wgpu:cpu` or `vulkan`
        #[arg(long, default_value_t = DeviceChoice::Wgpu)]
        device: DeviceChoice,
        /// Seconds that a workload is timed before it is observed; 0 for a single iteration without warm-up
        #[arg(long, default_value_t = 0.5)]
        seconds: f64,
    },
    /// Time the parts of the ensemble's gradient step and print them, as a Markdown table
    Profile {
        /// Seconds per part
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
    /// Play real episodes of a run's policy, imagine rollouts from their states in the run's model, and print both, as
    /// Markdown
    Imagination {
        /// The run's folder, with a checkpoint
        run: PathBuf,
        /// Number of real episodes
        #[arg(long, default_value_t = 20)]
        episodes: usize,
        /// Largest number of states to imagine from
        #[arg(long, default_value_t = 1000)]
        starts: usize,
        /// Number of imagined steps
        #[arg(long, default_value_t = 200)]
        horizon: usize,
    },
    /// Train configs over seeds and print the returns at every evaluation, as a Markdown table; finished runs are not
    /// repeated
    Learn {
        /// Config files
        #[arg(required = true)]
        configs: Vec<PathBuf>,
        /// Methods, separated by commas: `sac`, or a loss of `foresee list losses`; default: the config as it is
        #[arg(long, value_delimiter = ',')]
        methods: Vec<Method>,
        /// Seeds
        #[arg(long, value_delimiter = ',', default_value = "0,1,2")]
        seeds: Vec<u64>,
        /// Number of runs side by side, each on one thread
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Largest number of the model's gradient steps per training call, instead of the configs' own
        #[arg(long)]
        max_steps: Option<u64>,
        /// Folder of the runs' results
        #[arg(long, default_value = "results")]
        results: PathBuf,
        /// Real steps that are columns of the table; default: all
        #[arg(long, value_delimiter = ',')]
        at: Vec<u64>,
        /// SVG file for the curves
        #[arg(long)]
        plot: Option<PathBuf>,
    },
}

/// An instruction set as a command-line argument.
#[derive(Clone, Copy)]
struct Instructions(Level);

impl ValueEnum for Instructions {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Instructions; 3] =
            [Instructions(Level::Portable), Instructions(Level::Avx2), Instructions(Level::Avx512)];
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

/// Prints a table.
#[allow(clippy::print_stdout)]
fn print(table: &str) {
    print!("{table}");
}

fn main() {
    device::end_process(match run(Cli::parse().command) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            1
        }
    })
}

/// Returns the message of an error, followed by those causes that it does not contain.
fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// Runs a subcommand.
fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Compute { json, workloads, device, seconds, threads, peak, simd } => {
            if let Some(Instructions(level)) = simd {
                ensure!(
                    level.available(),
                    "this machine does not support the instruction set {}\nhint: leave `--simd` out",
                    level.name()
                );
                simd::force(Some(level));
            }
            let workloads = if workloads.is_empty() { Workload::PARTS.to_vec() } else { workloads };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
            pool.install(|| compute::run(&workloads, device, json, seconds, peak))
        }
        Command::Adapter { device } => machine::adapter(device),
        Command::Kernels { workloads, device, seconds } => kernels::run(&workloads, device, seconds),
        Command::Profile { seconds } => rayon::ThreadPoolBuilder::new().build()?.install(|| profile::run(seconds)),
        Command::Imagination { run, episodes, starts, horizon } => {
            print(&imagination::table(&run, episodes, starts, horizon)?);
            Ok(())
        }
        Command::Learn { configs, methods, seeds, jobs, max_steps, results, at, plot } => {
            let groups = learn::run(&configs, &methods, &seeds, jobs, max_steps, &results)?;
            print(&report::table(&groups, &at));
            plot.map_or(Ok(()), |file| report::plot(&groups, &file))
        }
    }
}
