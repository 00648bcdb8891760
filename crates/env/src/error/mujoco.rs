//! The errors of MuJoCo's tasks.

use std::path::PathBuf;

use thiserror::Error;

/// The reason that a MuJoCo task cannot be created here.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MujocoError {
    /// No library was found.
    #[error("MuJoCo's library was not found{}\nhint: {INSTALL}, or set `env.mujoco.library` to the library file", list(.searched))]
    NoLibrary {
        /// The places that were searched, in that order.
        searched: Vec<String>,
    },
    /// The library cannot be loaded, or is not MuJoCo.
    #[error("MuJoCo's library {} cannot be used: {reason}{}\nhint: {INSTALL}", .path.display(), set_by(*.named_by))]
    Library {
        /// The file, or its name on the loader's path.
        path: PathBuf,
        /// The key or the environment variable that named it.
        named_by: Option<&'static str>,
        /// The loader's message.
        reason: String,
    },
    /// The library is from before the state functions took their present form.
    #[error("MuJoCo {version} at {} is too old{}\nhint: version 3.1.0 or later is needed; {INSTALL}", .path.display(), set_by(*.named_by))]
    TooOld {
        /// The file, or its name on the loader's path.
        path: PathBuf,
        /// The key or the environment variable that named it.
        named_by: Option<&'static str>,
        /// The library's version.
        version: String,
    },
    /// Gymnasium's model of the task was not found.
    #[error("Gymnasium's MuJoCo model {model} was not found{}\nhint: {INSTALL}, or set `env.mujoco.assets` to its folder", list(.searched))]
    NoModel {
        /// The file.
        model: String,
        /// The places that were searched, in that order.
        searched: Vec<String>,
    },
    /// MuJoCo cannot load the model, or it is not the task's model.
    #[error("MuJoCo's model {} cannot be used: {reason}\nhint: {INSTALL}", .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// MuJoCo's message, or the difference.
        reason: String,
    },
}

/// The command that installs the library and the models.
const INSTALL: &str =
    r#"run `pip install "gymnasium[mujoco]==1.4.0" mujoco==3.17.0` in an activated virtual environment"#;

fn set_by(name: Option<&'static str>) -> String {
    name.map_or(String::new(), |name| format!(" (set by {name})"))
}

fn list(places: &[String]) -> String {
    places.iter().map(|place| format!("\n  searched: {place}")).collect()
}
