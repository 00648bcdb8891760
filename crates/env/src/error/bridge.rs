//! The errors of environments in Python, each with a hint for the user.

#[cfg(unix)]
use std::io;
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;

use foresee_core::shell::quoted as command;
#[cfg(unix)]
use rustix::io::Errno;
use thiserror::Error;

/// The arguments of Python that install the packages with which the tests run.
const INSTALL_GYMNASIUM: &str = "-m pip install \"gymnasium[mujoco]==1.4.0\" mujoco==3.17.0";

/// The arguments of Python that install dm_control.
const INSTALL_DM_CONTROL: &str = "-m pip install dm_control==1.0.50 mujoco==3.17.0";

/// An error of an environment in Python.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum BridgeError {
    /// The interpreter cannot be started.
    #[error(
        "`{id}` needs Python, and `{}` cannot be started: {reason}\nhint: activate a virtual environment, or set `env.gym.python`",
        .python.display()
    )]
    Interpreter {
        /// The environment.
        id: String,
        /// The interpreter that was tried.
        python: PathBuf,
        /// The operating system's message.
        reason: String,
    },
    /// The system has no resources for another process.
    #[error(
        "`{id}` runs in a process of its own, which cannot be started: {reason}\nhint: lower `env.count`, or raise {}",
        .resource.limit()
    )]
    NoProcess {
        /// The environment.
        id: String,
        /// The exhausted resource.
        resource: ExhaustedResource,
        /// The operating system's message.
        reason: String,
    },
    /// Python has no Gymnasium.
    #[error(
        "`{id}` needs Gymnasium, which `{}` cannot import: {reason}\nhint: run `{python} {INSTALL_GYMNASIUM}`, or set `env.gym.python` to an interpreter that has it",
        .python.display(),
        python = command(.python)
    )]
    NoGymnasium {
        /// The environment.
        id: String,
        /// The interpreter.
        python: PathBuf,
        /// Type and message of the import error.
        reason: String,
    },
    /// Python has no dm_control, or one that does not fit its MuJoCo.
    #[error(
        "`{id}` needs dm_control, which `{}` cannot use: {reason}\nhint: run `{python} {INSTALL_DM_CONTROL}`, or set `env.gym.python` to the interpreter of another virtual environment that has these versions",
        .python.display(),
        python = command(.python)
    )]
    NoDmControl {
        /// The environment.
        id: String,
        /// The interpreter.
        python: PathBuf,
        /// Type and message of the import error, or the versions that do not fit together.
        reason: String,
    },
    /// The suite has no such task.
    #[error(
        "`{id}` cannot be made: {reason}\nhint: the nearest ids are {nearest}; `python -c \"from dm_control import suite; print(suite.ALL_TASKS)\"` lists them all"
    )]
    NoTask {
        /// The environment.
        id: String,
        /// The message about the missing task.
        reason: String,
        /// The most similar ids.
        nearest: String,
    },
    /// Gymnasium cannot make the environment, for example because the id is unknown or a package is missing.
    #[error(
        "Gymnasium cannot make `{id}`: {reason}\nhint: if a package or a module of yours registers the environment, name it: `gym:my_module:MyEnv-v0`; `python -c \"import gymnasium; gymnasium.pprint_registry()\"` lists the ids of Gymnasium"
    )]
    Make {
        /// The environment.
        id: String,
        /// Gymnasium's own message.
        reason: String,
    },
    /// The environment imports a module that Python does not find.
    #[error(
        "Gymnasium cannot make `{id}`: {reason}\nhint: install the package that contains `{module}` with `{python} -m pip install`, or put its folder on PYTHONPATH",
        python = command(.python)
    )]
    NoModule {
        /// The environment.
        id: String,
        /// The interpreter.
        python: PathBuf,
        /// The missing module.
        module: String,
        /// Gymnasium's own message.
        reason: String,
    },
    /// The environment's spaces are not boxes of continuous numbers. The reason ends with the hint.
    #[error("`{id}` cannot be used: {reason}")]
    Space {
        /// The environment.
        id: String,
        /// The space, and the hint.
        reason: String,
    },
    /// The environment's own exception.
    #[error(
        "`{id}` failed in {call}: {error}{}\nhint: {}; the traceback shows the line",
        quoted(.traceback),
        place_of_failure(.package)
    )]
    Raised {
        /// The environment.
        id: String,
        /// `make`, `step`, `reset()`, or `reset(seed=…)` with the seed.
        call: String,
        /// Type and message of the exception.
        error: String,
        /// The end of the traceback.
        traceback: String,
        /// The installed package in which it arose and the versions that it runs with; empty if it arose in code of the
        /// user.
        package: Box<str>,
    },
    /// The answer does not follow Gymnasium's interface, for example by its shape or its number of values.
    #[error(
        "`{id}` breaks Gymnasium's interface in {call}: {reason}\nhint: run `gymnasium.utils.env_checker.check_env` on it for details"
    )]
    Interface {
        /// The environment.
        id: String,
        /// `make`, `step`, `reset()`, or `reset(seed=…)` with the seed.
        call: String,
        /// The answer, and the expected one.
        reason: String,
    },
    /// A NaN or an infinity where a number belongs.
    #[error(
        "`{id}` returned {value} as {what} in {call}\nhint: look for an overflow or a division by 0 in the environment"
    )]
    NotFinite {
        /// The environment.
        id: String,
        /// `step`, `reset()`, or `reset(seed=…)` with the seed.
        call: String,
        /// The reward, or which entry of the observation.
        what: String,
        /// The value.
        value: f64,
    },
    /// A number that f64 holds and f32 does not.
    #[error(
        "`{id}` returned {value:e} as {what} in {call}, which is beyond the range of f32 (3.4e38)\nhint: look for an overflow in the environment, or let it return this number in a larger unit"
    )]
    BeyondF32 {
        /// The environment.
        id: String,
        /// `step`, `reset()`, or `reset(seed=…)` with the seed.
        call: String,
        /// The reward, or which entry of the observation.
        what: String,
        /// The value.
        value: f64,
    },
    /// The interface of gym before 0.26, the predecessor of Gymnasium.
    #[error("`{id}` has the interface of gym before 0.26, the predecessor of Gymnasium: {reason}\nhint: {change}")]
    OlderInterface {
        /// The environment.
        id: String,
        /// The part of the interface that is older.
        reason: String,
        /// The change that makes it Gymnasium's.
        change: String,
    },
    /// The process ended.
    #[error(
        "the Python process of `{id}` ended during {call} ({status}){}\nhint: run the environment alone in Python to find the cause",
        quoted(.output)
    )]
    Died {
        /// The environment.
        id: String,
        /// `make`, `step`, `reset()`, or `reset(seed=…)` with the seed.
        call: String,
        /// Its exit status, or the signal.
        status: String,
        /// The last lines that it printed.
        output: String,
    },
    /// The process did not answer in time and was killed.
    #[error(
        "the Python process of `{id}` did not answer {call} within {seconds} s{}\nhint: if it needs more time, raise `env.gym.timeout`",
        quoted(.output)
    )]
    Hung {
        /// The environment.
        id: String,
        /// `make`, `step`, `reset()`, or `reset(seed=…)` with the seed.
        call: String,
        /// The time limit, in seconds.
        seconds: f64,
        /// The last lines that it printed.
        output: String,
    },
    /// The process does not use the protocol.
    #[error(
        "the Python process of `{id}` sent an answer to {call} that cannot be read: {reason}{}\nhint: check that `env.gym.python` is a Python interpreter; if it is, report a bug of foresee with this message",
        quoted(.output)
    )]
    Protocol {
        /// The environment.
        id: String,
        /// `make`, `step`, `reset()`, or `reset(seed=…)` with the seed.
        call: String,
        /// The mistake in the answer.
        reason: String,
        /// The last lines that it printed.
        output: String,
    },
    /// The environment is not reproducible, so its saved states cannot be restored.
    #[error(
        "`{id}` is not reproducible: {reason}\nhint: let the environment draw all random numbers from `self.np_random`; otherwise a resumed run begins a new episode, and a run whose Python process ends stops with this error{}",
        .lost.as_ref().map_or(String::new(), |lost| format!("\nits process was restarted because {lost}"))
    )]
    NotReproducible {
        /// The environment.
        id: String,
        /// The difference.
        reason: String,
        /// The reason of the restart, if the process had been restarted.
        lost: Option<Box<BridgeError>>,
    },
}

/// A resource that ran out when a process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExhaustedResource {
    /// Open files of this process, or of the system.
    Files,
    /// Processes and threads of the user, or memory.
    Processes,
}

impl ExhaustedResource {
    fn limit(self) -> &'static str {
        match self {
            Self::Files => "the limit on open files (`ulimit -n`)",
            Self::Processes => "the limits on processes (`ulimit -u`) and memory",
        }
    }

    #[cfg(unix)]
    fn from_io(error: &io::Error) -> Option<Self> {
        let errno = Errno::from_io_error(error)?;
        match errno {
            Errno::MFILE | Errno::NFILE => Some(Self::Files),
            Errno::AGAIN | Errno::NOMEM => Some(Self::Processes),
            _ => None,
        }
    }
}

impl BridgeError {
    /// Returns the error for a process that could not be started.
    #[cfg(unix)]
    pub(crate) fn start_failed(id: &str, python: &Path, error: &io::Error) -> Self {
        let (id, reason) = (id.to_owned(), error.to_string());
        match ExhaustedResource::from_io(error) {
            Some(resource) => Self::NoProcess { id, resource, reason },
            None => Self::Interpreter { id, python: python.into(), reason },
        }
    }

    /// Whether the process died or hung, so that a new one may succeed.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Died { .. } | Self::Hung { .. })
    }

    /// Whether the process can still answer after this error.
    #[cfg(unix)]
    pub(crate) fn process_survives(&self) -> bool {
        !self.is_loss() && !matches!(self, Self::Protocol { .. })
    }
}

/// Returns what to correct after an exception: the user's code, or the versions of an installed package.
fn place_of_failure(package: &str) -> String {
    let arguments = "its arguments in `env.gym.kwargs`";
    if package.is_empty() {
        return format!("correct the environment's code, or {arguments}");
    }
    format!("the exception arose in {package}; install versions that work together, or correct {arguments}")
}

/// Formats the output of the other process, set off from the program's own.
fn quoted(lines: &str) -> String {
    lines.lines().map(|line| format!("\n  | {line}")).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_happened_then_the_last_words_then_what_to_do() {
        let died = BridgeError::Died {
            id: "gym:Ant-v5".into(),
            call: "step".into(),
            status: "exit status: 3".into(),
            output: "one\ntwo".into(),
        };
        assert_eq!(
            died.to_string(),
            "the Python process of `gym:Ant-v5` ended during step (exit status: 3)\n  | one\n  | two\nhint: run the environment alone in Python to find the cause"
        );
        assert!(died.is_loss() && !died.process_survives());
    }

    #[test]
    fn what_hinders_a_start_has_the_hint_that_fits() {
        for (errno, hint) in [
            (Errno::MFILE, "lower `env.count`, or raise the limit on open files (`ulimit -n`)"),
            (Errno::NFILE, "lower `env.count`, or raise the limit on open files (`ulimit -n`)"),
            (Errno::AGAIN, "lower `env.count`, or raise the limits on processes (`ulimit -u`) and memory"),
            (Errno::NOENT, "activate a virtual environment, or set `env.gym.python`"),
            (Errno::ACCESS, "activate a virtual environment, or set `env.gym.python`"),
        ] {
            let message = BridgeError::start_failed("gym:Ant-v5", Path::new("python3"), &errno.into()).to_string();
            let found = message.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint");
            assert!(found.starts_with(hint), "{message}");
        }
    }
}
