//! Loading of a user's configs. Notes and errors name the file or the override that contains the key in question.

use std::path::Path;

use foresee::config::Source;
use foresee::shell::quoted;
use foresee::{Config, Setup};

use crate::failure::Failure;
use crate::sweep::plan::is_sweep_file;

/// Reads a config from a file and overrides.
pub(crate) fn read(path: &Path, overrides: &[&str]) -> Result<(Source, Config), Failure> {
    let source = Source::file(path, overrides)?;
    let config = source.typed().map_err(|error| match is_sweep_file(path) {
        true => Failure::Input(format!(
            "{}: this is a sweep file, not the config of a run\nhint: run it with `foresee sweep {}`",
            path.display(),
            quoted(path)
        )),
        false => error.into(),
    })?;
    Ok((source, config))
}

/// Prints a note to stderr for each file or override with names of an older version.
pub(crate) fn print_notes(source: &Source) {
    for note in source.notes() {
        eprintln!("note: {note}");
    }
}

/// Checks a config, and that its device is available and large enough. Makes the parts that the config selects from
/// those that this program ships.
pub(crate) fn open(source: &Source, config: Config) -> Result<Setup, Failure> {
    let setup = config.open().map_err(|problem| source.blame(&problem))?;
    let device = setup.config.device.open().map_err(|error| source.blame_key("device", &error))?;
    setup.check_buffers(&device).map_err(|problem| source.blame(&problem))?;
    Ok(setup)
}
