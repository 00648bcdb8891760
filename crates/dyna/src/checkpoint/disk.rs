//! File operations whose errors name the path, and operations that make files durable.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// Returns a function that converts an I/O error to ours.
pub(super) fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    move |source| CheckpointError::Io { doing, path: path.to_owned(), source }
}

/// Creates a directory and its parents, if they do not exist.
pub(super) fn create_dir_all(path: &Path) -> Result<(), CheckpointError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(at("create", path))?;
    sync_parent(path)
}

/// Creates a directory, if it does not exist. Its parent must exist: if the parent was moved away in the meantime, it is
/// not created anew.
pub(super) fn create_dir(path: &Path) -> Result<(), CheckpointError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir(path).map_err(at("create", path))?;
    sync_parent(path)
}

/// Writes a file and syncs its contents. Its name is durable only after the directory is synced.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(at("write", path))
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    fs::read(path).map_err(at("read", path))
}

/// Renames a file or directory within its parent. The new name is durable only after the parent is synced.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    fs::rename(from, to).map_err(at("rename", from))
}

/// Removes a directory and its contents, if it exists.
pub(super) fn remove_dir(path: &Path) -> Result<(), CheckpointError> {
    absent_is_fine(fs::remove_dir_all(path)).map_err(at("remove", path))
}

/// Removes a file, if it exists.
pub(super) fn remove_file(path: &Path) -> Result<(), CheckpointError> {
    absent_is_fine(fs::remove_file(path)).map_err(at("remove", path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Returns the names in a directory, sorted; empty if there is no such directory. Names that are not Unicode are ignored,
/// because they are not ours.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, CheckpointError> {
    let read = || -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(directory) {
            Err(e) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&e.kind()) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    };
    read().map_err(at("list", directory))
}

/// Returns the absolute path, which has a parent.
pub(super) fn canonical(path: &Path) -> Result<PathBuf, CheckpointError> {
    path.canonicalize().map_err(at("open", path))
}

/// Makes the names in a directory durable. Does nothing on systems other than Unix, which cannot do it.
pub(super) fn sync_dir(path: &Path) -> Result<(), CheckpointError> {
    if cfg!(unix) {
        return File::open(path).and_then(|directory| directory.sync_all()).map_err(at("sync", path));
    }
    Ok(())
}

fn sync_parent(path: &Path) -> Result<(), CheckpointError> {
    match path.parent() {
        Some(parent) if parent == Path::new("") => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}
