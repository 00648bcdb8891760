//! Runs that ended before their first checkpoint, as after a kill in the first moments.
//!
//! The first checkpoint is saved before the first step, so such a run has learnt nothing and has no records. It is told
//! from a run whose checkpoints were removed by its records: theirs are not empty.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{FIRST_CONFIG, TEMPORARY};

/// Files that a run writes before its first checkpoint, without the event file. `checkpoints` then has no checkpoint.
const FILES: [&str; 6] =
    [FIRST_CONFIG, "manifest.json", "manifest.json.tmp", "metrics.jsonl", "timing.jsonl", "results.csv"];
/// Start of the names of the event files.
const EVENTS: &str = "events.out.tfevents.";

/// Returns true if the folder contains the start of a run that ended before its first checkpoint.
pub(crate) fn is_unstarted(run: &Path) -> bool {
    let begun = [run.join(FIRST_CONFIG), temporary_config(run)].iter().any(|file| file.is_file());
    begun && !has_checkpoint(run) && lines(&run.join("metrics.jsonl")) == 0 && lines(&run.join("results.csv")) <= 1
}

/// Removes the files of a run [that ended before its first checkpoint](is_unstarted). Other files in its folder stay.
pub(super) fn clear(run: &Path) -> io::Result<()> {
    let events = fs::read_dir(run)?.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(EVENTS));
    let mut files: Vec<PathBuf> = events.map(|entry| entry.path()).collect();
    // The config goes last, so that the rest is found again after a kill in the middle.
    files.extend(FILES.iter().rev().map(|name| run.join(name)));
    absent_is_fine(fs::remove_dir_all(run.join("checkpoints")))?;
    files.push(temporary_config(run));
    files.iter().try_for_each(|file| absent_is_fine(fs::remove_file(file)))
}

fn temporary_config(run: &Path) -> PathBuf {
    run.join(format!("{FIRST_CONFIG}{TEMPORARY}"))
}

/// Returns true if a checkpoint is there, also a damaged one. A folder that cannot be read counts as one with a
/// checkpoint.
fn has_checkpoint(run: &Path) -> bool {
    match fs::read_dir(run.join("checkpoints")) {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        // An unfinished save and the segments of the large arrays are no checkpoint.
        Ok(mut entries) => entries.any(|entry| {
            entry.map_or(true, |entry| {
                let name = entry.file_name();
                !(name.to_string_lossy().starts_with(".tmp-") || name == "segments")
            })
        }),
    }
}

/// Returns the number of lines in a file, 0 for a missing one.
fn lines(file: &Path) -> usize {
    fs::read(file).map_or(0, |text| text.split_inclusive(|&byte| byte == b'\n').count())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
