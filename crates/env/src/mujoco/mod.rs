//! MuJoCo's tasks, with Gymnasium's ids and numbers. The library and the models are found at run time; the build needs
//! neither.
//!
//! * [`error`]: the reasons that a task cannot be created here.
//! * `search`: the places where the library and the models are searched for.
//! * [`library`]: MuJoCo's C functions, bound at run time.
//! * [`model`], [`simulation`]: a model and its data as safe Rust.
//! * [`rules`]: the termination rules of the tasks, for imagined states. They need no library.
//! * [`task`]: the parts that the tasks share. A task is a model file and its equations.
//! * [`of_test`]: helpers for tests that need the library.
//! * [`inverted_pendulum`], [`reacher`], [`swimmer`], [`hopper`], [`walker2d`], [`half_cheetah`]: the tasks. `hopper`
//!   and `walker2d` share `upright`.

pub mod error;
pub mod half_cheetah;
pub mod hopper;
pub mod inverted_pendulum;
pub mod library;
pub mod model;
pub mod of_test;
pub mod reacher;
pub mod rules;
mod search;
pub mod simulation;
pub mod swimmer;
pub mod task;
mod upright;
pub mod walker2d;

use std::path::PathBuf;

use crate::config::MujocoConfig;

pub use error::MujocoError;
pub use half_cheetah::HalfCheetah;
pub use hopper::Hopper;
pub use inverted_pendulum::InvertedPendulum;
pub use reacher::Reacher;
pub use swimmer::Swimmer;
pub use task::Mujoco;
pub use walker2d::Walker2d;

/// Returns the path of one of Gymnasium's model files, such as `hopper.xml`.
///
/// # Errors
/// If the file or the library is not found. The places that are searched include the folder next to the library's
/// package.
pub fn model_file(config: &MujocoConfig, name: &str) -> Result<PathBuf, MujocoError> {
    search::model(name, config.assets.as_deref(), &library::open(config.library.as_deref())?.path)
}
