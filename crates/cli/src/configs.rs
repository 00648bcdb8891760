//! Configs as a user gives them: notes and errors name the file or the override that wrote what they are about.

use std::path::Path;

use foresee::config::Source;
use foresee::{Config, Setup};

use crate::failure::Failure;

/// Reads a config from a file and overrides; says on stderr which words of an older version it understood.
pub fn read(path: &Path, overrides: &[&str]) -> Result<(Source, Config), Failure> {
    let source = Source::file(path, overrides)?;
    let config = source.typed()?;
    for note in source.notes() {
        eprintln!("note: {note}");
    }
    Ok((source, config))
}

/// Checks a config and opens what it chose, of what this program ships.
pub fn open(source: &Source, config: Config) -> Result<Setup, Failure> {
    Ok(config.open().map_err(|problem| source.blame(&problem))?)
}
