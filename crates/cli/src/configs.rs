//! Loading of a user's configs. Notes and errors name the file or the override that contains the key in question.

use std::path::Path;

use foresee::config::Source;
use foresee::{Config, Setup};

use crate::failure::Failure;

/// Reads a config from a file and overrides. Prints a note to stderr for each word of an older version that was
/// replaced.
pub(crate) fn read(path: &Path, overrides: &[&str]) -> Result<(Source, Config), Failure> {
    let source = Source::file(path, overrides)?;
    let config = source.typed()?;
    for note in source.notes() {
        eprintln!("note: {note}");
    }
    Ok((source, config))
}

/// Checks a config and makes the parts that it selects from those that this program ships.
pub(crate) fn open(source: &Source, config: Config) -> Result<Setup, Failure> {
    Ok(config.open().map_err(|problem| source.blame(&problem))?)
}
