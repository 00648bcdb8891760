//! What can go wrong between an id and its first step.

use std::path::PathBuf;

use thiserror::Error;

/// Why a task of MuJoCo cannot be had here.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MujocoError {
    /// Nowhere a library.
    #[error("MuJoCo's library was not found{}\nhint: {INSTALL}, or name it by `env.mujoco.library`", list(.searched))]
    NoLibrary {
        /// Where it was looked for, in that order.
        searched: Vec<String>,
    },
    /// A library that cannot be loaded, or is not MuJoCo.
    #[error("MuJoCo's library {} cannot be used: {reason}{}\nhint: {INSTALL}", .path.display(), by(*.named_by))]
    Library {
        /// The file, or its name on the loader's path.
        path: PathBuf,
        /// The key or the environment variable that named it.
        named_by: Option<&'static str>,
        /// The loader's words.
        reason: String,
    },
    /// A library from before the state functions took their present form.
    #[error("MuJoCo {version} of {} is too old{}\nhint: 3.1.0 or later; {INSTALL}", .path.display(), by(*.named_by))]
    TooOld {
        /// The file, or its name on the loader's path.
        path: PathBuf,
        /// The key or the environment variable that named it.
        named_by: Option<&'static str>,
        /// Its version.
        version: String,
    },
    /// Nowhere Gymnasium's model of the task.
    #[error("Gymnasium's MuJoCo model {model} was not found{}\nhint: {INSTALL}, or name its folder by `env.mujoco.assets`", list(.searched))]
    NoModel {
        /// The file.
        model: String,
        /// Where it was looked for, in that order.
        searched: Vec<String>,
    },
    /// A model that MuJoCo cannot load, or that is not the task's.
    #[error("MuJoCo's model {} cannot be used: {reason}\nhint: {INSTALL}", .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// MuJoCo's words, or what differs.
        reason: String,
    },
}

/// How the library and the models are had.
const INSTALL: &str = r#"in a virtual environment, `pip install "gymnasium[mujoco]==1.4.0" mujoco==3.17.0`"#;

fn by(name: Option<&'static str>) -> String {
    name.map_or(String::new(), |name| format!(" (it is named by {name})"))
}

fn list(places: &[String]) -> String {
    places.iter().map(|place| format!("\n  searched: {place}")).collect()
}
