//! `foresee`: deep model-based reinforcement learning for continuous control, from the command line.
//!
//! In the order a reader needs it:
//! * [`cli`]: the verbs and their arguments.
//! * [`verbs`]: what each does: train and resume, eval, check, check-env, list.
//! * [`configs`]: configs from files and overrides.
//! * [`run_dir`]: a run's folder, its lock and its manifest.
//! * [`driver`]: the loop around [`foresee::Run`]: records, progress, checkpoints, signals.
//! * [`records`], [`event_file`], [`progress`]: what is written down and what is shown.
//!
//! Exit codes: 0 done, 1 a failed run, 2 bad input, 130 interrupted (and saved; a second signal ends at once, as of the
//! newest checkpoint). Progress, warnings and errors go to stderr, outcomes and data to stdout.

mod cli;
mod configs;
mod driver;
mod event_file;
mod failure;
mod progress;
mod records;
mod run_dir;
mod verbs;

use clap::Parser;
use foresee::nn::device;

/// Glibc gives large blocks back to the kernel at every step and asks for them again at the next
/// (`docs/decisions/0006-mimalloc.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    device::failure::report_failures_once();
    device::end_process(match verbs::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    })
}
