//! The errors of reports.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The reason why a report cannot be made. Every one of them is a mistake in the input.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file or folder cannot be read.
    #[error("cannot read `{}`: {source}\nhint: check the path and the permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file has another content than its form requires.
    #[error("cannot read `{}`: {why}\nhint: {hint}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault.
        why: String,
        /// The action that mends it.
        hint: String,
    },
    /// No run can be compared.
    #[error("{what}\nhint: {hint}")]
    Input {
        /// The fault.
        what: String,
        /// The action that mends it.
        hint: String,
    },
}

impl ReportError {
    /// Returns the error of an input that cannot be compared.
    pub(crate) fn input(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Input { what: what.into(), hint: hint.into() }
    }

    /// Returns the error of a file with a wrong content.
    pub(crate) fn content(path: &Path, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), why: why.into(), hint: hint.into() }
    }

    /// Returns a function that makes the error of a file that cannot be read.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
