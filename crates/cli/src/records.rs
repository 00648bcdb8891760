//! The files that a run writes while it trains.
//!
//! | file | contents | on resume |
//! |---|---|---|
//! | `metrics.jsonl` | every record as a line of JSON, without wall-clock values: equal runs give equal files | cut |
//! | `timing.jsonl` | values that depend on the clock: seconds since the start of the run, speeds | cut |
//! | `results.csv` | one line per evaluation: mbrl-lib's columns and three more, `frames` if actions repeat | cut |
//! | `events.out.tfevents.*` | the contents of all files for TensorBoard | a new file |
//!
//! Numbers are written with the fewest digits that are read back as the same `f64`. Numbers that are not finite are
//! written as the strings `"NaN"`, `"inf"` and `"-inf"`, because JSON has no such numbers. A line is written as a whole
//! when its record arrives, so a killed process loses at most its last line. A checkpoint stores the lengths of the
//! files ([`Positions`]). A resumed run truncates the files to these lengths, including partial lines. The files of an
//! interrupted run therefore equal those of an uninterrupted one.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use foresee::Record;
use foresee::metrics;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::event_file::EventFile;

/// The columns of `results.csv` after `env_step`: name and metric. A record gives a line if it has the first metric.
const RESULTS: [(&str, &str); 4] = [
    ("episode_reward", metrics::EVAL_RETURN),
    ("episode_reward_std", metrics::EVAL_RETURN_STD),
    ("episode_length", metrics::EVAL_LENGTH),
    ("episodes", metrics::EVAL_EPISODES),
];

/// The additional column if a step has several frames.
const FRAMES: (&str, &str) = ("frames", metrics::FRAMES);

/// The errors of record files.
#[derive(Debug, Error)]
pub(crate) enum RecordsError {
    /// The disk or the operating system reported an error.
    #[error("cannot {doing} `{}`: {source}\nhint: check the free disk space and the permissions", path.display())]
    Io {
        /// The operation that failed.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file does not match the checkpoint.
    #[error("cannot resume: `{}` {why}\nhint: restore this file from a copy of the run folder, or start a new run", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The mismatch.
        why: String,
    },
}

/// Lengths of the record files in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Positions {
    /// Length of `metrics.jsonl`.
    pub metrics: u64,
    /// Length of `timing.jsonl`.
    pub timing: u64,
    /// Length of `results.csv`.
    pub results: u64,
}

/// The open record files of a run.
#[derive(Debug)]
pub(crate) struct Records {
    metrics: Lines,
    timing: Lines,
    results: Lines,
    events: EventFile,
    /// Number of frames per environment step.
    action_repeat: u32,
}

impl Records {
    /// Opens the files of a new run with `action_repeat` frames per step. Existing records are never overwritten.
    ///
    /// # Errors
    /// If the folder already contains records, or the disk reports an error.
    pub(crate) fn create(directory: &Path, action_repeat: u32) -> Result<Self, RecordsError> {
        fs::create_dir_all(directory).map_err(at("create", directory))?;
        let mut records = Self {
            metrics: Lines::create(directory.join("metrics.jsonl"))?,
            timing: Lines::create(directory.join("timing.jsonl"))?,
            results: Lines::create(directory.join("results.csv"))?,
            events: EventFile::create(directory, now()).map_err(at("create an event file in", directory))?,
            action_repeat,
        };
        let columns = columns(action_repeat).map(|(column, _)| column).collect::<Vec<_>>().join(",");
        records.results.append(&format!("env_step,{columns}\n"))?;
        Ok(records)
    }

    /// Opens the files of a run that continues after `step`, truncated to their lengths at its checkpoint.
    ///
    /// # Errors
    /// If a file is missing, shorter than at the checkpoint, or has no end of a line there. In these cases no file is
    /// changed.
    pub(crate) fn resume(
        directory: &Path,
        positions: &Positions,
        step: u64,
        action_repeat: u32,
    ) -> Result<Self, RecordsError> {
        let mut metrics = Lines::open(directory.join("metrics.jsonl"), positions.metrics)?;
        let mut timing = Lines::open(directory.join("timing.jsonl"), positions.timing)?;
        let mut results = Lines::open(directory.join("results.csv"), positions.results)?;
        for lines in [&mut metrics, &mut timing, &mut results] {
            lines.cut()?;
        }
        let mut events = EventFile::create(directory, now()).map_err(at("create an event file in", directory))?;
        events.restarted(step).map_err(at("write", events.path()))?;
        Ok(Self { metrics, timing, results, events, action_repeat })
    }

    /// Writes a record. If it contains an evaluation, also writes a line of `results.csv`.
    ///
    /// # Errors
    /// If the disk reports an error.
    pub(crate) fn write(&mut self, record: &Record) -> Result<(), RecordsError> {
        let mut values = record.values.clone();
        if self.action_repeat > 1 {
            values.insert(0, (metrics::FRAMES, (record.env_step * u64::from(self.action_repeat)) as f64));
        }
        self.metrics.append(&json_line(record.env_step, None, values.iter().copied()))?;
        if let Some(line) = results_line(record.env_step, &values, self.action_repeat) {
            self.results.append(&line)?;
        }
        self.show(record.env_step, &values)
    }

    /// Writes values that depend on the clock. `wall_s` is the number of seconds since the start of the run.
    ///
    /// # Errors
    /// If the disk reports an error.
    pub(crate) fn write_timing(
        &mut self,
        env_step: u64,
        wall_s: f64,
        values: &[(&str, f64)],
    ) -> Result<(), RecordsError> {
        self.timing.append(&json_line(env_step, Some(wall_s), values.iter().copied()))?;
        self.show(env_step, values)
    }

    /// Writes a text, such as the config, for TensorBoard.
    ///
    /// # Errors
    /// If the disk reports an error.
    pub(crate) fn write_text(&mut self, env_step: u64, tag: &str, text: &str) -> Result<(), RecordsError> {
        self.events.text(env_step, tag, text).map_err(at("write", self.events.path()))
    }

    /// Returns the lengths of the files, for a checkpoint.
    #[must_use]
    pub(crate) fn positions(&self) -> Positions {
        Positions { metrics: self.metrics.length, timing: self.timing.length, results: self.results.length }
    }

    /// Flushes everything that was written to the disk, as `fsync` does. It must be called before a checkpoint stores
    /// the positions.
    ///
    /// # Errors
    /// If the disk reports an error.
    pub(crate) fn sync(&mut self) -> Result<(), RecordsError> {
        for lines in [&self.metrics, &self.timing, &self.results] {
            lines.file.sync_all().map_err(at("sync", &lines.path))?;
        }
        self.events.sync().map_err(at("sync", self.events.path()))
    }

    fn show(&mut self, env_step: u64, values: &[(&str, f64)]) -> Result<(), RecordsError> {
        self.events.scalars(env_step, now(), values).map_err(at("write", self.events.path()))
    }
}

/// A file that grows by whole lines.
#[derive(Debug)]
struct Lines {
    file: File,
    path: PathBuf,
    /// Number of bytes written, or to be kept.
    length: u64,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self, RecordsError> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(at("create", &path))?;
        Ok(Self { file, path, length: 0 })
    }

    /// Opens a file whose first `length` bytes will be kept. Nothing is changed yet.
    fn open(path: PathBuf, length: u64) -> Result<Self, RecordsError> {
        let foreign = |why: String| RecordsError::Foreign { path: path.clone(), why };
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(foreign("is missing".into())),
            opened => opened.map_err(at("open", &path))?,
        };
        let there = file.metadata().map_err(at("read", &path))?.len();
        if there < length {
            return Err(foreign(format!("has {there} bytes, fewer than the {length} it had at the checkpoint")));
        }
        if let Some(last) = length.checked_sub(1) {
            let mut byte = [0];
            file.seek(SeekFrom::Start(last)).and_then(|_| file.read_exact(&mut byte)).map_err(at("read", &path))?;
            if byte != *b"\n" {
                return Err(foreign(format!("differs from the checkpoint: no line ends at byte {length}")));
            }
        }
        Ok(Self { file, path, length })
    }

    fn cut(&mut self) -> Result<(), RecordsError> {
        let result = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
        result.map(|_| ()).map_err(at("truncate", &self.path))
    }

    /// Writes a line in one call.
    fn append(&mut self, line: &str) -> Result<(), RecordsError> {
        self.file.write_all(line.as_bytes()).map_err(at("write", &self.path))?;
        self.length += line.len() as u64;
        Ok(())
    }
}

fn json_line<'a>(env_step: u64, wall_s: Option<f64>, values: impl Iterator<Item = (&'a str, f64)>) -> String {
    let mut line = format!("{{\"env_step\":{env_step}");
    for (name, value) in wall_s.map(|seconds| ("wall_s", seconds)).into_iter().chain(values) {
        let name = serde_json::Value::from(name);
        let written = if value.is_finite() { number(value) } else { format!("\"{}\"", number(value)) };
        write!(line, ",{name}:{written}").expect("strings grow");
    }
    line.push_str("}\n");
    line
}

/// Returns the columns of `results.csv` after `env_step`, for `action_repeat` frames per step.
fn columns(action_repeat: u32) -> impl Iterator<Item = (&'static str, &'static str)> {
    RESULTS.into_iter().chain((action_repeat > 1).then_some(FRAMES))
}

/// Returns the line of a record that contains an evaluation. Missing values are empty.
fn results_line(env_step: u64, values: &[(&str, f64)], action_repeat: u32) -> Option<String> {
    let value = |metric: &str| values.iter().find(|(name, _)| *name == metric).map(|(_, value)| number(*value));
    value(RESULTS[0].1)?;
    let cells = columns(action_repeat).map(|(_, metric)| value(metric).unwrap_or_default());
    Some(format!("{env_step},{}\n", cells.collect::<Vec<_>>().join(",")))
}

/// Returns the shortest text that is read back as this number.
fn number(value: f64) -> String {
    if value.is_finite() { serde_json::Value::from(value).to_string() } else { value.to_string() }
}

fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordsError + use<> {
    let path = path.to_owned();
    move |source| RecordsError::Io { doing, path, source }
}

/// Returns the seconds since 1970. They are used only in TensorBoard's events, which require them.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests;
