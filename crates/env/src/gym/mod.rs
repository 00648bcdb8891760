//! Any environment of Python's Gymnasium, and the tasks of dm_control's suite, played in a child process: `gym:Ant-v5`,
//! `gym:my_module:MyEnv-v0`, `dmc:cartpole-swingup`.
//!
//! * [`environment`]: the [`Environment`] that a run sees; restarts, saving and restoring.
//! * `process`: the child process, its time limit and its last words.
//! * `protocol`: what goes over the socket between the two; its other end is `child.py`, with `suite.py` for dm_control.
//! * [`kwargs`]: the arguments it is made with.
//! * `id`: the form of its id.
//! * `known`: when imagined states of Gymnasium's own tasks and of the suite's have terminated.
//! * [`error`]: what can go wrong.
//!
//! Python stays outside this program: nothing links to it, a crash there is an error here, and the interpreter is the
//! one of the user's virtual environment.

#[cfg(unix)]
pub mod environment;
pub mod error;
pub(crate) mod id;
#[cfg(unix)]
mod known;
pub mod kwargs;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod protocol;

#[cfg(unix)]
pub use environment::GymEnvironment;
pub use error::BridgeError;
pub use id::is_python;
pub use kwargs::Kwargs;

use crate::config::EnvConfig;
use crate::environment::Environment;
use crate::error::EnvError;

/// The task of `[env]`, whose id [is Python's](is_python), with actions in its own range. Gymnasium's wrappers, its time
/// limit among them, are inside.
///
/// # Errors
/// If it cannot be started, or is none with boxes of observations and continuous actions.
#[cfg(unix)]
pub fn make(config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
    Ok(Box::new(GymEnvironment::new(config)?))
}

/// The bridge stands on Unix sockets.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn make(config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
    let id = &config.id;
    Err(EnvError::Config(format!("`{id}` needs Unix sockets\nhint: environments in Python run on Linux and macOS")))
}
