//! `foresee`: deep model-based reinforcement learning for continuous control, from the command line.
//!
//! The modules in reading order:
//! * [`cli`]: the commands and their arguments.
//! * [`verbs`]: the implementation of each command: train and resume, eval, report, check, check-env, list, study,
//!   sweep.
//! * [`configs`]: configs from files and overrides.
//! * [`run_dir`]: the folder of a run, its lock and its configs.
//! * [`manifest`]: the file about program, machine, task and status of a run.
//! * [`driver`]: the loop around [`foresee::Run`]: records, progress, checkpoints.
//! * [`signals`]: the signals that save and end a run.
//! * [`sweep`]: many runs: their configs and names, their folder, their processes.
//! * [`records`], [`event_file`], [`progress`]: the files that a run writes, and the progress that it shows.
//! * [`heartbeat`]: lines while other commands work for a long time.
//!
//! Exit codes: 0 for success, 1 for a failed run, 2 for bad input, 130 for an interrupted run. An interrupted run is
//! saved. A second signal ends the program immediately; the run can then be resumed from its newest checkpoint.
//! Progress, warnings and errors are written to stderr, results and data to stdout.

mod cli;
mod configs;
mod driver;
mod event_file;
mod failure;
mod heartbeat;
mod manifest;
mod progress;
mod records;
mod run_dir;
mod signals;
mod sweep;
mod time;
mod verbs;

use foresee::nn::device;

/// Glibc returns large blocks to the kernel at every step and requests them again at the next
/// (`docs/decisions/0006-mimalloc.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    device::failure::report_failures_once();
    device::end_process(match verbs::run(cli::Cli::of_process()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    })
}
