//! MuJoCo's tasks, with Gymnasium's ids and numbers. The library and the models are found at run time; the build needs
//! neither.
//!
//! * [`error`]: why a task cannot be had here.
//! * `search`: where the library and the models are looked for.
//! * [`library`]: MuJoCo's C functions, bound at run time.
//! * [`model`], [`simulation`]: a model, and its data, as safe Rust.
//! * [`rules`]: when the tasks terminate, for imagined states; no library needed.
//! * [`task`]: what the tasks share; a new one is a model file and its equations.
//! * [`of_test`]: for tests that need the library.
//! * [`inverted_pendulum`], [`reacher`], [`swimmer`], [`hopper`], [`walker2d`], [`half_cheetah`]: the tasks, the fourth
//!   and the fifth with `upright` in common.

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

/// The file of one of Gymnasium's models, such as `hopper.xml`.
///
/// # Errors
/// If it is not found, or the library beside whose package it may be is not.
pub fn model_file(config: &MujocoConfig, name: &str) -> Result<PathBuf, MujocoError> {
    search::model(name, config.assets.as_deref(), &library::open(config.library.as_deref())?.path)
}
