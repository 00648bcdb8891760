//! Environments of Python's Gymnasium and tasks of dm_control's suite, run in a child process: `gym:Ant-v5`,
//! `gym:my_module:MyEnv-v0`, `dmc:cartpole-swingup`.
//!
//! * [`environment`]: the [`Environment`] that a run uses, with restarts, saving and restoring.
//! * `process`: the child process, its time limit and its last output.
//! * `protocol`: the messages on the socket between the two processes. Its other end is `child.py`, with `suite.py` for
//!   dm_control.
//! * `known`: the termination rules of Gymnasium's own tasks and of the suite's tasks, for imagined states.
//!
//! The form of the ids, the keyword arguments and the errors are in [`config`](crate::config) and
//! [`error`](crate::error), which import nothing from here.
//!
//! Python stays outside this program: nothing links to it, a crash in Python is an error here, and the interpreter is
//! that of the user's virtual environment.

#[cfg(unix)]
pub mod environment;
#[cfg(unix)]
mod known;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod protocol;

pub use crate::config::python_id::is_python;
#[cfg(unix)]
pub use environment::GymEnvironment;

use crate::config::EnvConfig;
use crate::environment::Environment;
use crate::error::EnvError;

/// Creates the environment in Python that `env.id` names; the id must be one [of Python](is_python). Its actions stay
/// in its own range, not in [-1, 1]. Gymnasium's wrappers, including its time limit, are inside.
///
/// # Errors
/// If it cannot be started, or does not have box observations and continuous actions.
#[cfg(unix)]
pub fn make(config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
    Ok(Box::new(GymEnvironment::new(config)?))
}

/// Returns an error, because the bridge to Python needs Unix sockets.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn make(config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
    let id = &config.id;
    Err(EnvError::Config(format!("`{id}` needs Unix sockets\nhint: environments in Python run on Linux and macOS")))
}
