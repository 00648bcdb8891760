//! What a run writes down while it trains.
//!
//! | file | holds | on resume |
//! |---|---|---|
//! | `metrics.jsonl` | every record, one JSON object a line; no wall-clock values, so that equal runs give equal files | cut |
//! | `timing.jsonl` | what depends on the clock: seconds since the start of the run, speeds | cut |
//! | `results.csv` | one line an evaluation, in mbrl-lib's columns and three more | cut |
//! | `events.out.tfevents.*` | all of it for TensorBoard | a new file |
//!
//! Numbers are written with the fewest digits that read back as the same `f64`; JSON has no others, so those that are
//! not finite become the strings `"NaN"`, `"inf"` and `"-inf"`. A line is written whole when its record comes: a killed
//! process loses at most its last line. A checkpoint stores [`Positions`], and a resumed run cuts the files there, half
//! lines included, so that the files of a run that was interrupted equal those of one that was not.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use foresee_dyna::metrics;
use foresee_dyna::record::Record;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::event_file::EventFile;

/// The columns of `results.csv` after `env_step`: their name and the metric they hold. The first makes the line.
const RESULTS: [(&str, &str); 4] = [
    ("episode_reward", metrics::EVAL_RETURN),
    ("episode_reward_std", metrics::EVAL_RETURN_STD),
    ("episode_length", metrics::EVAL_LENGTH),
    ("episodes", metrics::EVAL_EPISODES),
];

/// What can go wrong with record files.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// The disk or the operating system refused.
    #[error("{doing} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// A file is not what the checkpoint was saved beside.
    #[error("cannot resume: `{}` {why}\nhint: put back the file that belongs to the checkpoint, or start a new run", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// How far the record files go, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// Length of `metrics.jsonl`.
    pub metrics: u64,
    /// Length of `timing.jsonl`.
    pub timing: u64,
    /// Length of `results.csv`.
    pub results: u64,
}

/// The open record files of a run.
#[derive(Debug)]
pub struct Records {
    metrics: Lines,
    timing: Lines,
    results: Lines,
    events: EventFile,
}

impl Records {
    /// Opens the files of a new run. A run's folder is never written over.
    ///
    /// # Errors
    /// If the folder already holds records, or the disk refuses.
    pub fn create(directory: &Path) -> Result<Self, RecordsError> {
        fs::create_dir_all(directory).map_err(at("creating", directory))?;
        let mut records = Self {
            metrics: Lines::create(directory.join("metrics.jsonl"))?,
            timing: Lines::create(directory.join("timing.jsonl"))?,
            results: Lines::create(directory.join("results.csv"))?,
            events: EventFile::create(directory, now()).map_err(at("creating an event file in", directory))?,
        };
        let columns = RESULTS.map(|(column, _)| column).join(",");
        records.results.append(&format!("env_step,{columns}\n"))?;
        Ok(records)
    }

    /// Opens the files of a run that goes on after `step`, cut to where they were at its checkpoint.
    ///
    /// # Errors
    /// If a file is missing, shorter than that, or not cut at the end of a line there; then none is changed.
    pub fn resume(directory: &Path, positions: &Positions, step: u64) -> Result<Self, RecordsError> {
        let mut metrics = Lines::open(directory.join("metrics.jsonl"), positions.metrics)?;
        let mut timing = Lines::open(directory.join("timing.jsonl"), positions.timing)?;
        let mut results = Lines::open(directory.join("results.csv"), positions.results)?;
        for lines in [&mut metrics, &mut timing, &mut results] {
            lines.cut()?;
        }
        let mut events = EventFile::create(directory, now()).map_err(at("creating an event file in", directory))?;
        events.restarted(step).map_err(at("writing", events.path()))?;
        Ok(Self { metrics, timing, results, events })
    }

    /// Writes a record, and its evaluation, if it holds one, to `results.csv`.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write(&mut self, record: &Record) -> Result<(), RecordsError> {
        let values = record.values.iter().map(|&(name, value)| (name, value));
        self.metrics.append(&json_line(record.env_step, None, values))?;
        if let Some(line) = results_line(record) {
            self.results.append(&line)?;
        }
        self.show(record.env_step, &record.values)
    }

    /// Writes what depends on the clock; `wall_s` counts seconds since the start of the run.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_timing(&mut self, env_step: u64, wall_s: f64, values: &[(&str, f64)]) -> Result<(), RecordsError> {
        self.timing.append(&json_line(env_step, Some(wall_s), values.iter().copied()))?;
        self.show(env_step, values)
    }

    /// Shows a text, such as the config, in TensorBoard.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_text(&mut self, tag: &str, text: &str) -> Result<(), RecordsError> {
        self.events.text(tag, text).map_err(at("writing", self.events.path()))
    }

    /// How far the files go, for a checkpoint to store.
    #[must_use]
    pub fn positions(&self) -> Positions {
        Positions { metrics: self.metrics.length, timing: self.timing.length, results: self.results.length }
    }

    /// Makes all that was written last on the disk; to be called before a checkpoint stores the positions.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync(&mut self) -> Result<(), RecordsError> {
        for lines in [&self.metrics, &self.timing, &self.results] {
            lines.file.sync_all().map_err(at("syncing", &lines.path))?;
        }
        self.events.sync().map_err(at("syncing", self.events.path()))
    }

    fn show(&mut self, env_step: u64, values: &[(&str, f64)]) -> Result<(), RecordsError> {
        self.events.scalars(env_step, now(), values).map_err(at("writing", self.events.path()))
    }
}

/// A file that grows by whole lines.
#[derive(Debug)]
struct Lines {
    file: File,
    path: PathBuf,
    /// Bytes written, or to be kept.
    length: u64,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self, RecordsError> {
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(at("creating", &path))?;
        Ok(Self { file, path, length: 0 })
    }

    /// Opens a file of which the first `length` bytes will be kept; changes nothing yet.
    fn open(path: PathBuf, length: u64) -> Result<Self, RecordsError> {
        let foreign = |why: String| RecordsError::Foreign { path: path.clone(), why };
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(foreign("is missing".into())),
            opened => opened.map_err(at("opening", &path))?,
        };
        let there = file.metadata().map_err(at("reading", &path))?.len();
        if there < length {
            return Err(foreign(format!("has {there} bytes, fewer than the {length} it had at the checkpoint")));
        }
        if let Some(last) = length.checked_sub(1) {
            let mut byte = [0];
            file.seek(SeekFrom::Start(last)).and_then(|_| file.read_exact(&mut byte)).map_err(at("reading", &path))?;
            if byte != *b"\n" {
                return Err(foreign(format!("has no line that ends at byte {length}, as it did at the checkpoint")));
            }
        }
        Ok(Self { file, path, length })
    }

    fn cut(&mut self) -> Result<(), RecordsError> {
        let result = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
        result.map(|_| ()).map_err(at("cutting", &self.path))
    }

    /// Writes a line at once.
    fn append(&mut self, line: &str) -> Result<(), RecordsError> {
        self.file.write_all(line.as_bytes()).map_err(at("writing", &self.path))?;
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

/// The line of a record that holds an evaluation; what the record lacks stays empty.
fn results_line(record: &Record) -> Option<String> {
    let value = |metric: &str| record.values.iter().find(|(name, _)| *name == metric).map(|(_, value)| number(*value));
    value(RESULTS[0].1)?;
    let cells = RESULTS.map(|(_, metric)| value(metric).unwrap_or_default());
    Some(format!("{},{}\n", record.env_step, cells.join(",")))
}

/// The shortest text that reads back as this number.
fn number(value: f64) -> String {
    if value.is_finite() { serde_json::Value::from(value).to_string() } else { value.to_string() }
}

fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordsError + use<> {
    let path = path.to_owned();
    move |source| RecordsError::Io { doing, path, source }
}

/// Seconds since 1970: TensorBoard wants them with every event. They go nowhere else.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_file;

    const FILES: [&str; 3] = ["metrics.jsonl", "timing.jsonl", "results.csv"];

    fn record(env_step: u64) -> Record {
        let mut values = vec![("rollout/ep_rew_mean", -1204.5 / env_step as f64), ("model/loss", 0.1)];
        if env_step.is_multiple_of(400) {
            values.extend([("eval/mean_reward", -300.25), ("eval/std_reward", 12.0), ("eval/episodes", 20.0)]);
        }
        Record { env_step, values }
    }

    fn advance(records: &mut Records, steps: impl Iterator<Item = u64>) {
        for step in steps {
            records.write(&record(step)).unwrap();
            records.write_timing(step, step as f64 / 7.0, &[("time/fps", 7.0)]).unwrap();
        }
    }

    fn contents(directory: &Path) -> [String; 3] {
        FILES.map(|file| fs::read_to_string(directory.join(file)).unwrap())
    }

    /// The metric values of all event files, a file at a time.
    fn events(directory: &Path) -> Vec<Vec<(i64, String, f32)>> {
        let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("events"));
        paths.sort();
        let values = |path: &PathBuf| {
            let events = event_file::tests::read(path);
            let values = events.iter().flat_map(|event| {
                let values = event.get_summary().get_value().iter();
                values.map(|value| (event.get_step(), value.get_tag().to_owned(), value.get_simple_value()))
            });
            values.collect()
        };
        paths.iter().map(values).collect()
    }

    #[test]
    fn the_files_read_as_documented() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("runs/a");
        let mut records = Records::create(&run).unwrap();
        let values =
            vec![("b", -1204.5), ("a", f64::NAN), ("c", f64::INFINITY), ("d", f64::NEG_INFINITY), ("e", 1e-300)];
        records.write(&Record { env_step: 200, values }).unwrap();
        let values = vec![("eval/mean_ep_length", 200.0), ("x", 0.1), ("eval/mean_reward", f64::NAN)];
        records.write(&Record { env_step: 400, values }).unwrap();
        records.write_timing(400, 2.5, &[("time/fps", 160.0)]).unwrap();
        let [metrics, timing, results] = contents(&run);
        assert_eq!(
            metrics,
            "{\"env_step\":200,\"b\":-1204.5,\"a\":\"NaN\",\"c\":\"inf\",\"d\":\"-inf\",\"e\":1e-300}\n\
             {\"env_step\":400,\"eval/mean_ep_length\":200.0,\"x\":0.1,\"eval/mean_reward\":\"NaN\"}\n"
        );
        assert_eq!(timing, "{\"env_step\":400,\"wall_s\":2.5,\"time/fps\":160.0}\n");
        assert_eq!(
            results,
            "env_step,episode_reward,episode_reward_std,episode_length,episodes\n\
             400,NaN,,200.0,\n"
        );
        let events = events(&run).concat();
        let tags: Vec<_> = events.iter().map(|(step, tag, _)| (*step, tag.as_str())).collect();
        let first = [(200, "b"), (200, "a"), (200, "c"), (200, "d"), (200, "e")];
        let second = [(400, metrics::EVAL_LENGTH), (400, "x"), (400, metrics::EVAL_RETURN), (400, "time/fps")];
        assert_eq!(tags, [&first[..], &second[..]].concat());
    }

    #[test]
    fn every_number_reads_back_as_itself() {
        for bits in (0..20_000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            let value = f64::from_bits(bits);
            let line = json_line(1, None, core::iter::once(("x", value)));
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            let back = match &json["x"] {
                serde_json::Value::String(text) => text.parse().unwrap(),
                number => number.as_f64().unwrap(),
            };
            assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()), "{value:?} became {back:?}");
        }
    }

    #[test]
    fn a_run_cut_and_resumed_has_the_files_of_one_that_was_not() {
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        advance(&mut Records::create(whole.path()).unwrap(), (200..=2000).step_by(200));
        let mut records = Records::create(cut.path()).unwrap();
        advance(&mut records, (200..=800).step_by(200));
        records.sync().unwrap();
        let positions = records.positions();
        let json = serde_json::to_string(&positions).unwrap();
        advance(&mut records, (1000..=1400).step_by(200));
        drop(records);
        // The process was killed in the middle of its last lines.
        for file in FILES {
            let half = b"{\"env_step\":1600,\"rollo";
            OpenOptions::new().append(true).open(cut.path().join(file)).unwrap().write_all(half).unwrap();
        }
        let mut records = Records::resume(cut.path(), &serde_json::from_str(&json).unwrap(), 800).unwrap();
        assert_eq!(records.positions(), positions);
        advance(&mut records, (1000..=2000).step_by(200));
        assert_eq!(contents(cut.path()), contents(whole.path()));
        let [first, second] = &events(cut.path())[..] else { panic!("expected two event files") };
        assert_eq!(first.last().unwrap().0, 1400);
        let kept = first.iter().filter(|(step, ..)| *step <= 800).chain(second).cloned().collect::<Vec<_>>();
        assert_eq!(kept, events(whole.path()).concat());
    }

    #[test]
    fn a_run_killed_at_once_resumes_from_its_header() {
        let directory = tempfile::tempdir().unwrap();
        let positions = Records::create(directory.path()).unwrap().positions();
        assert_eq!((positions.metrics, positions.timing), (0, 0));
        let before = contents(directory.path());
        drop(Records::resume(directory.path(), &positions, 0).unwrap());
        assert_eq!(contents(directory.path()), before);
    }

    #[test]
    fn files_that_do_not_fit_the_checkpoint_are_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut records = Records::create(directory.path()).unwrap();
        advance(&mut records, (200..=800).step_by(200));
        let positions = records.positions();
        let before = contents(directory.path());
        let results = directory.path().join("results.csv");
        let refusal = |positions| Records::resume(directory.path(), &positions, 800).unwrap_err().to_string();
        assert_eq!(
            refusal(Positions { metrics: 0, results: positions.results + 1, ..positions }),
            format!(
                "cannot resume: `{}` has {} bytes, fewer than the {} it had at the checkpoint\n\
                 hint: put back the file that belongs to the checkpoint, or start a new run",
                results.display(),
                positions.results,
                positions.results + 1,
            )
        );
        let inside = refusal(Positions { metrics: 0, results: positions.results - 1, ..positions });
        assert!(inside.contains("has no line that ends at byte"), "{inside}");
        assert_eq!(contents(directory.path()), before);
        fs::remove_file(&results).unwrap();
        assert!(refusal(positions).starts_with(&format!("cannot resume: `{}` is missing", results.display())));
    }

    #[test]
    fn a_folder_with_records_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        advance(&mut Records::create(directory.path()).unwrap(), 200..201);
        let before = contents(directory.path());
        assert!(Records::create(directory.path()).unwrap_err().to_string().starts_with("creating `"));
        assert_eq!(contents(directory.path()), before);
    }
}
