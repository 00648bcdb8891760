//! Runs in folders and files.
//!
//! | form | recognised by | module |
//! |---|---|---|
//! | run folder of this program | `config.toml` and `results.csv` | `folder` |
//! | result file, as in `docs/results/runs` | columns `env_step,mean_return`; a first line `# …` | `result_file` |
//! | interchange columns | columns `exp_name,env_name,seed,metric,env_step,value` | `table` |
//! | mbrl-lib's `results.csv` | columns `env_step,episode_reward` | `table` |
//!
//! A folder of another form is searched with its subfolders; files of other forms in it are ignored. A file that is
//! given by its own path has to have one of these forms.

mod folder;
mod result_file;
mod table;

pub(crate) use table::{COLUMNS, RETURN, SECONDS};

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use foresee_core::literal::shortened;

use crate::error::ReportError;
use crate::run::{Point, Run, Runs};

/// The deepest level of subfolders that is searched.
const DEEPEST: usize = 12;
/// The task of runs whose task is not known.
const UNKNOWN_TASK: &str = "unknown task";
/// The end of messages about a path without runs.
const FORMS: &str = "give run folders, folders that contain them, files with the columns \
                     exp_name,env_name,seed,metric,env_step,value, or results.csv of mbrl-lib";

/// A path with runs, and the name that its runs get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Name of the group that all runs of the path form; by default they are grouped by their configs.
    pub label: Option<String>,
    /// The run folder, file, or folder of them.
    pub path: PathBuf,
}

impl Input {
    /// Reads `PATH` or `NAME=PATH`. A text that is the path of an existing file or folder is a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((label, path)) if !label.is_empty() && !label.contains('/') && !Path::new(text).exists() => {
                Self { label: Some(label.into()), path: path.into() }
            }
            _ => Self { label: None, path: text.into() },
        }
    }
}

/// Reads all runs of these paths.
///
/// # Errors
/// If a path does not exist, a file is malformed, or there is no run with an evaluation.
pub fn read(inputs: &[Input]) -> Result<Runs, ReportError> {
    let (mut found, mut seen) = (Found::default(), BTreeSet::new());
    for input in inputs {
        let before = found.files;
        found.search(&input.path, 0, &mut seen)?;
        if found.files == before {
            return Err(ReportError::input(format!("`{}` contains no run", input.path.display()), FORMS));
        }
        found.runs.iter_mut().for_each(|run| run.label.clone_from(&input.label));
        found.finished.append(&mut found.runs);
    }
    let mut runs = Runs { runs: found.finished, notes: found.notes };
    leave_out_empty(&mut runs);
    if runs.runs.is_empty() {
        return Err(ReportError::input(
            "none of these runs has an evaluation yet, so there is nothing to compare",
            "wait for the first evaluation (training.eval_every), or give other runs",
        ));
    }
    complete_tasks(&mut runs);
    complete_seeds(&mut runs);
    Ok(runs)
}

/// The runs found so far.
#[derive(Default)]
struct Found {
    /// Runs of the current path.
    runs: Vec<Run>,
    /// Runs of the paths before.
    finished: Vec<Run>,
    notes: Vec<String>,
    /// Number of run folders and files, including those that were given before.
    files: usize,
}

impl Found {
    /// Adds the runs of a path. `seen` are the paths that were read before.
    fn search(&mut self, path: &Path, depth: usize, seen: &mut BTreeSet<PathBuf>) -> Result<(), ReportError> {
        let own = path.canonicalize().map_err(ReportError::io(path))?;
        let (is_folder, given) = (path.is_dir(), depth == 0);
        if !is_folder {
            let Some(form) = FileForm::of(path, given)? else { return Ok(()) };
            self.files += 1;
            return if seen.insert(own) { self.add(form, path) } else { Ok(()) };
        }
        if path.join("config.toml").is_file() && (path.join("results.csv").is_file() || given) {
            self.files += 1;
            if seen.insert(own) {
                self.runs.push(folder::read(path, &mut self.notes)?);
            }
            return Ok(());
        }
        if depth == DEEPEST {
            return Ok(());
        }
        let entries = fs::read_dir(path).map_err(ReportError::io(path))?;
        let mut inside = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ReportError::io(path))?;
        inside.sort();
        for entry in inside {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            let is_csv = name.ends_with(".csv");
            if !name.starts_with('.') && name != "checkpoints" && (entry.is_dir() || (is_csv && entry.is_file())) {
                self.search(&entry, depth + 1, seen)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, form: FileForm, path: &Path) -> Result<(), ReportError> {
        match form {
            FileForm::ResultFile => self.runs.push(result_file::read(path, &mut self.notes)?),
            FileForm::Interchange => self.runs.append(&mut table::interchange(path, &mut self.notes)?),
            FileForm::MbrlLib => self.runs.push(table::mbrl_lib(path, &mut self.notes)?),
        }
        Ok(())
    }
}

/// The forms of files.
#[derive(Clone, Copy, Debug, PartialEq)]
enum FileForm {
    ResultFile,
    Interchange,
    MbrlLib,
}

impl FileForm {
    /// Returns the form of a file by its first lines. A file of another form is an error if it was `given`.
    fn of(path: &Path, given: bool) -> Result<Option<Self>, ReportError> {
        let mut start = vec![0; 4096];
        let mut file = File::open(path).map_err(ReportError::io(path))?;
        let length = file.read(&mut start).map_err(ReportError::io(path))?;
        let start = String::from_utf8_lossy(&start[..length]).into_owned();
        let header = start.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
        let columns: Vec<&str> = header.split(',').map(|name| name.trim().trim_matches('"')).collect();
        let has = |wanted: &[&str]| wanted.iter().all(|name| columns.contains(name));
        let form = if has(&COLUMNS) {
            Some(Self::Interchange)
        } else if has(&["env_step", "mean_return"]) {
            Some(Self::ResultFile)
        } else if has(&["env_step", "episode_reward"]) {
            Some(Self::MbrlLib)
        } else {
            None
        };
        if form.is_none() && given {
            let why = format!("the columns `{}` are not those of results", shortened(header));
            return Err(ReportError::content(path, why, FORMS));
        }
        Ok(form)
    }
}

/// The cells of a file with a header, and the place of each in messages.
struct Cells<'a> {
    path: &'a Path,
    line: u64,
    record: csv::StringRecord,
    names: &'a csv::StringRecord,
}

impl Cells<'_> {
    /// Returns the text in a column; empty if there is no such column.
    fn text(&self, column: &str) -> &str {
        let place = self.names.iter().position(|name| name.trim() == column);
        place.and_then(|place| self.record.get(place)).unwrap_or_default().trim()
    }

    /// Returns the number in a column. `NaN` and `inf` are numbers.
    fn number(&self, column: &str) -> Result<f64, ReportError> {
        let text = self.text(column);
        text.parse().map_err(|_| self.refused(column, "is not a number"))
    }

    /// Returns the whole number in a column, which may be written as `500.0`.
    fn whole(&self, column: &str) -> Result<u64, ReportError> {
        let number = self.number(column)?;
        if number.fract() == 0.0 && (0.0..=9e15).contains(&number) {
            Ok(number as u64)
        } else {
            Err(self.refused(column, "is not a whole number from 0 on"))
        }
    }

    fn refused(&self, column: &str, fault: &str) -> ReportError {
        let why = format!("line {}: `{}` in the column `{column}` {fault}", self.line, self.text(column));
        ReportError::content(self.path, why, "correct the file, or leave it out")
    }
}

/// Calls `each` with every row of a text with a header.
fn rows(
    path: &Path,
    text: &str,
    mut each: impl FnMut(&Cells<'_>) -> Result<(), ReportError>,
) -> Result<(), ReportError> {
    let failed = |error: csv::Error| ReportError::content(path, error.to_string(), "correct the file, or leave it out");
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).flexible(false).from_reader(text.as_bytes());
    let names = reader.headers().map_err(failed)?.clone();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        let line = record.position().map_or(0, csv::Position::line);
        each(&Cells { path, line, record, names: &names })?;
    }
    Ok(())
}

/// Returns the finite points in the order of their steps. Of two points at one step, the later one counts.
fn ordered(path: &Path, points: Vec<Point>, notes: &mut Vec<String>) -> Vec<Point> {
    let before = points.len();
    let mut points: Vec<Point> = points.into_iter().filter(|point| point.value.is_finite()).collect();
    if points.len() < before {
        let count = before - points.len();
        notes.push(format!(
            "`{}` has {count} evaluation{} whose return is not a finite number; left out",
            path.display(),
            if count == 1 { "" } else { "s" }
        ));
    }
    points.reverse();
    points.sort_by_key(|point| point.step);
    points.dedup_by_key(|point| point.step);
    points
}

/// Reads a file as text.
fn text_of(path: &Path) -> Result<String, ReportError> {
    fs::read_to_string(path).map_err(ReportError::io(path))
}

/// Returns the seed in a name such as `seed-3`, `seed_3`, `seed=3`, `s3` or `3`.
fn seed_in(name: &str) -> Option<u64> {
    let lower = name.to_ascii_lowercase();
    let after = lower.rsplit_once("seed").map_or_else(|| lower.trim_start_matches('s'), |(_, after)| after);
    let digits = after.trim_start_matches(['-', '_', '=']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    // A bare number has to be the whole name: `3-20260101-120000` is read by the caller.
    (lower.contains("seed") || end == digits.len()).then(|| digits[..end].parse().ok()).flatten()
}

fn leave_out_empty(runs: &mut Runs) {
    let notes = &mut runs.notes;
    runs.runs.retain(|run| {
        let kept = !run.points.is_empty();
        if !kept {
            notes.push(format!("`{}` has no evaluation yet; left out", run.path.display()));
        }
        kept
    });
}

/// Gives runs without a task the task of all other runs, if there is only one.
fn complete_tasks(runs: &mut Runs) {
    let tasks: BTreeSet<String> = runs.runs.iter().filter_map(|run| run.task.clone()).collect();
    let task = match tasks.first() {
        Some(task) if tasks.len() == 1 => task.clone(),
        _ => UNKNOWN_TASK.into(),
    };
    for run in runs.runs.iter_mut().filter(|run| run.task.is_none()) {
        runs.notes.push(format!("`{}` does not state its task; taken as {task}", run.path.display()));
        run.task = Some(task.clone());
    }
}

/// Numbers the runs without a seed, by label, name and task.
fn complete_seeds(runs: &mut Runs) {
    let mut used: BTreeSet<(Option<String>, String, Option<String>, u64)> = BTreeSet::new();
    let key = |run: &Run, seed| (run.label.clone(), run.name.clone(), run.task.clone(), seed);
    used.extend(runs.runs.iter().filter_map(|run| Some(key(run, run.seed?))));
    for run in runs.runs.iter_mut().filter(|run| run.seed.is_none()) {
        let seed = (0..).find(|&seed| used.insert(key(run, seed))).expect("some number is free");
        run.seed = Some(seed);
        runs.notes.push(format!("`{}` does not state its seed; numbered {seed}", run.path.display()));
    }
}
