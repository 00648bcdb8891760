//! The implementation of each command.

mod check_env;
mod eval;
mod list;
mod report;
mod study;
mod sweep;
mod train;

use std::io::{ErrorKind, Write};
use std::path::Path;

use foresee::checkpoint::Loaded;
use foresee::config::{Source, reference};
use foresee::nn::device::{self, DeviceChoice};
use foresee::{Config, Parts, Setup, memory};

use crate::cli::{Cli, Verb};
use crate::configs;
use crate::failure::Failure;
use crate::run_dir::{self, Resumption};

/// The exit code of a command that succeeded.
const DONE: u8 = 0;

/// Runs the command and returns the exit code.
pub(crate) fn run(cli: Cli) -> Result<u8, Failure> {
    match cli.verb {
        Verb::Train { config, overrides, run_dir, resume_if_exists } => {
            let overrides = texts(&overrides);
            let resumed = |path: &&Path| resume_if_exists && run_dir::holds_run(path) && !run_dir::is_unstarted(path);
            match run_dir.as_deref().filter(resumed) {
                Some(path) => train::resume(path, &Resumption::Config(&config, &overrides)),
                None => train::train(&config, &overrides, run_dir, resume_if_exists),
            }
        }
        Verb::Resume { run, overrides } => train::resume(&run, &Resumption::Overrides(&texts(&overrides))),
        Verb::Eval { run, episodes } => eval::eval(&run, episodes),
        Verb::Report(arguments) => report::report(&arguments),
        Verb::Check { explain, config, overrides } => check(&config, &texts(&overrides), explain),
        Verb::CheckEnv { id, overrides } => check_env::check_env(&id, &texts(&overrides)),
        Verb::List { what, markdown } => list::list(what, markdown),
        Verb::Study { verb } => study::study(verb),
        Verb::Sweep(arguments) => sweep::sweep(&arguments),
    }
}

fn texts(overrides: &[String]) -> Vec<&str> {
    overrides.iter().map(String::as_str).collect()
}

/// Loads and checks the config of a new run, and makes the parts that it selects. Prints a warning for each setting that
/// is most likely a mistake.
fn load(path: &Path, overrides: &[&str]) -> Result<(Source, Setup), Failure> {
    load_telling(path, overrides, &mut |message| eprintln!("{message}"))
}

/// Does the same as [`load`], but passes each note and each warning to `tell`.
fn load_telling(path: &Path, overrides: &[&str], tell: &mut dyn FnMut(String)) -> Result<(Source, Setup), Failure> {
    let (source, config) = configs::read(path, overrides)?;
    source.notes().iter().for_each(|note| tell(format!("note: {note}")));
    let setup = configs::open(&source, config)?;
    if let Some(problem) = setup.config.problem_of_length() {
        return Err(source.blame(&problem.into()).into());
    }
    setup.config.warnings().into_iter().for_each(|warning| tell(format!("warning: {warning}")));
    Ok((source, setup))
}

/// Prints a warning if the device is not what its name promises.
fn warn_of_adapter(device: DeviceChoice) {
    if let Some(warning) = device::adapter(device).and_then(|adapter| adapter.warning(device)) {
        eprintln!("warning: {warning}");
    }
}

/// Prints a warning for each damaged checkpoint that is newer than the loaded one.
fn warn_of_skipped(loaded: &Loaded) {
    for (path, why) in &loaded.skipped {
        eprintln!("warning: skipped the checkpoint `{}`: {why}", path.display());
    }
}

fn check(path: &Path, overrides: &[&str], explain: bool) -> Result<u8, Failure> {
    let (_, setup) = load(path, overrides)?;
    if let Err(problem) = setup.check_memory(&memory::limits()) {
        eprintln!("warning: on this machine `train` refuses this config: {problem}");
    }
    let config = setup.config;
    let text = if explain {
        reference::explained(&config, &Parts::default())
    } else {
        toml::to_string_pretty(&config).expect("a config that came from TOML goes back to TOML")
    };
    print_line(text.trim_end())?;
    Ok(DONE)
}

/// Prints a line of data to stdout. A reader that has closed the pipe is not an error.
fn print_line(line: impl std::fmt::Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Returns a count with its noun: `1 episode`, `20 episodes`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Sets the number of CPU threads that the config requests. It must be called before any computation.
fn set_threads(config: &Config) {
    // Fails only if the process already has a thread pool, as in a second run of one process.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(config.threads).build_global();
}
