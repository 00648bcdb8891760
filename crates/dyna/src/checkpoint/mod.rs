//! Checkpoints on disk: directories that are either complete and verified, or not used.
//!
//! ```text
//! <root>/step-000000001000/manifest.json       lengths and hashes of everything, and the caller's own `extra`
//!                         /state.safetensors   the small arrays, under their paths
//!       /step-000000002000-1/…                 step 2,000 saved a second time
//!       /segments/<blake3>                     segments of the big arrays, shared between checkpoints
//!       /.tmp-…                                a save that did not finish
//! ```
//!
//! A save writes all files to a temporary directory, syncs them to the disk (fsync), and only then renames the
//! directory. So there is a complete checkpoint at every moment, even when a step is saved twice: the second save gets
//! another name, and the first is removed afterwards. Only one process at a time may write to a root; any number may
//! read.
//!
//! * [`save`] writes a checkpoint and removes old ones.
//! * [`load`] reads the newest that verifies; [`load_dir`] reads a named one.

mod disk;
mod encoding;
mod manifest;
mod names;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use foresee_core::State;
use serde_json::Value;
use thiserror::Error;

use self::manifest::{BigArray, FileEntry, Manifest};
use self::names::Name;

/// Name of the file with the small arrays.
const STATE_FILE: &str = "state.safetensors";

/// Arrays of at least this many bytes are split into segments.
const BIG: usize = 4 << 20;

/// Errors of saving and loading checkpoints.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The disk or the operating system returned an error.
    #[error("cannot {doing} `{}`: {source}\nhint: check the free disk space and the permissions", path.display())]
    Io {
        /// The attempted operation.
        doing: &'static str,
        /// The path of the operation.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The state cannot be encoded.
    #[error("the checkpoint cannot be encoded: {0}")]
    Unstorable(String),
    /// The folder contains no checkpoint.
    #[error("there is no checkpoint in `{}`\nhint: copy the run's folder `checkpoints` here, or start a new run", .0.display())]
    NoCheckpoint(PathBuf),
    /// A checkpoint does not verify.
    #[error("the checkpoint `{}` cannot be used: {why}\nhint: `checkpoint::load` on the folder above loads the newest checkpoint that is intact", path.display())]
    Damaged {
        /// Directory of the checkpoint.
        path: PathBuf,
        /// Description of the damage.
        why: String,
    },
    /// There are checkpoints, but none verifies.
    #[error("every checkpoint in `{}` is damaged:{}\nhint: restore the folder from a copy, or start a new run", root.display(), list(skipped))]
    AllDamaged {
        /// Folder of the checkpoints.
        root: PathBuf,
        /// Directory and damage of each checkpoint, newest first.
        skipped: Vec<(PathBuf, String)>,
    },
}

/// Returns the message of an error without its hint, as a part of another message.
fn without_hint(error: &CheckpointError) -> String {
    error.to_string().split("\nhint: ").next().unwrap_or_default().to_owned()
}

fn list(skipped: &[(PathBuf, String)]) -> String {
    skipped.iter().map(|(path, why)| format!("\n  `{}`: {why}", path.display())).collect()
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Loaded {
    /// The step under which the checkpoint was saved.
    pub step: u64,
    /// Directory of the checkpoint.
    pub path: PathBuf,
    /// The arrays.
    pub state: State,
    /// Data that the caller stored with the arrays.
    pub extra: Value,
    /// Newer checkpoints that do not verify, and unfinished saves: paths and reasons.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Saves a checkpoint and returns its directory.
///
/// Afterwards the newest `keep` (at least one, this one) of the checkpoints up to `step` remain. Later checkpoints
/// belong to a run that was set back; they stay until the run has passed their steps again.
///
/// # Errors
/// If the disk returns an error. The last good checkpoint is then still there. If only the removal of old checkpoints
/// failed, the new one is there too.
pub fn save(root: &Path, step: u64, state: &State, extra: &Value, keep: usize) -> Result<PathBuf, CheckpointError> {
    disk::create_dir_all(root)?;
    let name = Name::free(root, step)?;
    let temporary = root.join(format!("{}{name}", names::TEMPORARY));
    let path = root.join(name.to_string());
    disk::remove_dir(&temporary)?;
    let written = write(root, &temporary, step, state, extra).and_then(|()| disk::rename(&temporary, &path));
    if let Err(error) = written {
        // The first error is the one to report.
        let _ = disk::remove_dir(&temporary);
        return Err(error);
    }
    disk::sync_dir(root)?;
    tidy(root, name, keep)?;
    Ok(path)
}

/// Writes all files to `directory`, the manifest last.
fn write(root: &Path, directory: &Path, step: u64, state: &State, extra: &Value) -> Result<(), CheckpointError> {
    let mut manifest = Manifest::new(step, extra.clone());
    let mut small = Vec::new();
    for (name, array) in state.iter() {
        assert_ne!(name, "__metadata__", "safetensors keeps this name for itself");
        if encoding::byte_length(&array.data) < BIG {
            small.push((name, array));
        } else {
            manifest.arrays.insert(name.to_owned(), BigArray::new(array, segments::write(root, &array.data)?));
        }
    }
    let bytes = encoding::to_safetensors(small).map_err(|e| CheckpointError::Unstorable(e.to_string()))?;
    disk::create_dir(directory)?;
    disk::write(&directory.join(STATE_FILE), &bytes)?;
    manifest.files.insert(STATE_FILE.to_owned(), FileEntry::of(&bytes));
    disk::write(&directory.join(manifest::FILE), manifest.to_text().as_bytes())?;
    disk::sync_dir(directory)
}

/// Removes everything that `saved` supersedes: earlier checkpoints beyond `keep`, unfinished saves, unused segments.
fn tidy(root: &Path, saved: Name, keep: usize) -> Result<(), CheckpointError> {
    let mut kept_steps = BTreeSet::new();
    for name in Name::all(root)? {
        // Newest first, so the first name of a step is its latest save.
        let earlier = name.step <= saved.step;
        let room = kept_steps.len() < keep.max(1);
        if earlier && !(room && kept_steps.insert(name.step)) {
            let path = root.join(name.to_string());
            let doomed = root.join(format!("{}old-{name}", names::TEMPORARY));
            // Renamed before the removal, so that no reader finds a half-removed checkpoint.
            disk::remove_dir(&doomed)?;
            disk::rename(&path, &doomed)?;
        }
    }
    disk::sync_dir(root)?;
    for unfinished in names::unfinished(root)? {
        disk::remove_dir(&unfinished)?;
    }
    let mut used = BTreeSet::new();
    for name in Name::all(root)? {
        match Manifest::read(&root.join(name.to_string())) {
            Ok(manifest) => used.extend(manifest.arrays.into_values().flat_map(|array| array.segments)),
            // A damaged checkpoint cannot be used, so its segments are not kept.
            Err(CheckpointError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    segments::retain(root, &used)
}

/// Reads the newest checkpoint that verifies.
///
/// # Errors
/// If there is none, or all are damaged.
pub fn load(root: &Path) -> Result<Loaded, CheckpointError> {
    let unfinished = "an unfinished save; the next save removes it";
    let mut skipped: Vec<_> = names::unfinished(root)?.into_iter().map(|path| (path, unfinished.to_owned())).collect();
    for name in Name::all(root)? {
        match read(root, &root.join(name.to_string())) {
            Ok(loaded) => return Ok(Loaded { skipped, ..loaded }),
            Err(CheckpointError::Damaged { path, why }) => skipped.push((path, why)),
            Err(error) => skipped.push((root.join(name.to_string()), without_hint(&error))),
        }
    }
    if skipped.is_empty() {
        return Err(CheckpointError::NoCheckpoint(root.to_owned()));
    }
    Err(CheckpointError::AllDamaged { root: root.to_owned(), skipped })
}

/// Reads the checkpoint in a directory. Segments of its big arrays are expected in `segments` beside the directory.
///
/// # Errors
/// If the checkpoint does not verify.
pub fn load_dir(path: &Path) -> Result<Loaded, CheckpointError> {
    let whole = disk::canonical(path)?;
    read(whole.parent().unwrap_or(&whole), &whole)
}

fn read(root: &Path, path: &Path) -> Result<Loaded, CheckpointError> {
    let damaged = |why: String| CheckpointError::Damaged { path: path.to_owned(), why };
    let manifest = Manifest::read(path)?;
    let entry = manifest.files.get(STATE_FILE).ok_or_else(|| damaged(format!("the manifest lists no {STATE_FILE}")))?;
    let bytes = disk::read(&path.join(STATE_FILE)).map_err(|e| damaged(without_hint(&e)))?;
    entry.check(&bytes).map_err(|why| damaged(format!("{STATE_FILE} {why}")))?;
    let mut state = encoding::from_safetensors(&bytes).map_err(|why| damaged(format!("{STATE_FILE}: {why}")))?;
    for (name, array) in &manifest.arrays {
        let bytes = segments::read(root, &array.segments).map_err(|why| damaged(format!("`{name}`: {why}")))?;
        let array = encoding::array(&array.kind, &array.shape, &bytes);
        state.put(name, array.map_err(|why| damaged(format!("`{name}`: {why}")))?);
    }
    Ok(Loaded { step: manifest.step, path: path.to_owned(), state, extra: manifest.extra, skipped: Vec::new() })
}
