//! The folder of a sweep, its lock, and `sweep.json`: the runs with their configs and overrides.
//!
//! A process that runs a sweep holds a lock on its `sweep.lock`. The operating system releases the lock when the
//! process ends.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use foresee::config::changes::{Change, changes};
use foresee::{Config, Parts};
use serde::{Deserialize, Serialize};

use super::members::Member;
use crate::configs;
use crate::failure::Failure;
use crate::run_dir;
use crate::time;
use crate::verbs::counted;

/// The name of the file about the sweep.
const FILE: &str = "sweep.json";
const LOCK: &str = "sweep.lock";
/// Number of differences that a message shows.
const SHOWN: usize = 4;
/// The key that may differ between two calls, because no number depends on it.
const FREE: &str = "threads";

/// An open and locked folder.
pub(crate) struct SweepDir {
    path: PathBuf,
    _lock: File,
}

/// `sweep.json`.
#[derive(Serialize, Deserialize)]
struct Manifest {
    program: String,
    version: String,
    /// The name of the sweep.
    name: String,
    /// The command that runs the sweep, and continues it.
    command: String,
    /// The working directory of the command.
    folder: String,
    /// The start of the newest call.
    started: String,
    runs: Vec<Member>,
}

impl SweepDir {
    /// Opens or makes the folder of a sweep with these runs, each with its checked config, and writes `sweep.json`.
    /// Runs that the folder does not have yet extend the sweep.
    ///
    /// # Errors
    /// If the folder holds something else, a sweep with other runs, or a sweep that another process runs. Then nothing
    /// is changed.
    pub(crate) fn open(path: &Path, name: &str, command: &str, runs: &[(Member, Config)]) -> Result<Self, Failure> {
        refuse_if_foreign(path)?;
        fs::create_dir_all(path).map_err(|error| cannot_write(path, &error))?;
        let lock = lock(path)?;
        refuse_another(path, runs)?;
        let manifest = Manifest {
            program: "foresee".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            name: name.into(),
            command: command.into(),
            folder: std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned(),
            started: time::utc_iso(time::unix_seconds()),
            runs: runs.iter().map(|(member, _)| member.clone()).collect(),
        };
        let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain data");
        write_durably(&path.join(FILE), &format!("{text}\n")).map_err(|error| cannot_write(path, &error))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Returns the folder of a run.
    pub(crate) fn of_run(&self, member: &Member) -> PathBuf {
        self.path.join(&member.name)
    }

    /// Returns the file with what a run printed.
    pub(crate) fn log_of(&self, member: &Member) -> PathBuf {
        self.path.join(format!("{}.log", member.name))
    }
}

/// Refuses a path that is not a folder, and a folder with files that is not that of a sweep.
fn refuse_if_foreign(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let mut entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::Input(format!(
                "cannot use `{shown}` as the folder of a sweep: {error}\nhint: give another --out"
            )));
        }
        Ok(entries) => entries,
    };
    // A killed process may leave the lock alone, or beside a manifest that is not complete.
    let is_own = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("sweep.");
    if path.join(FILE).is_file() || entries.all(|entry| entry.is_ok_and(|entry| is_own(&entry.file_name()))) {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "`{shown}` is not empty, and holds no sweep: it has no {FILE}\nhint: give another --name or --out"
    )))
}

/// Refuses runs that are not those of the folder: one of its runs is missing among them, or has another config.
fn refuse_another(path: &Path, runs: &[(Member, Config)]) -> Result<(), Failure> {
    let file = path.join(FILE);
    let before = match fs::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| error.to_string()),
    };
    let before = before.and_then(|text| serde_json::from_slice::<Manifest>(&text).map_err(|error| error.to_string()));
    let before = before.map_err(|error| {
        let (file, path) = (file.display(), path.display());
        Failure::Input(format!(
            "`{file}` cannot be read: {error}\nhint: remove the file; the runs in `{path}` are kept, and continue if their configs are the same"
        ))
    })?;
    let missing: Vec<String> = before
        .runs
        .iter()
        .filter(|run| !runs.iter().any(|(member, _)| member.name == run.name))
        .map(|run| format!("`{}` is not among the runs now", run.name))
        .collect();
    let differences = runs.iter().flat_map(|(member, config)| differences(&path.join(&member.name), member, config));
    let all: Vec<String> = missing.into_iter().chain(differences).collect();
    if all.is_empty() {
        return Ok(());
    }
    let more = all.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!("\n  and {}", counted(more, "further difference")) };
    let (shown, list) = (path.display(), all[..all.len().min(SHOWN)].join("\n  "));
    Err(Failure::Input(format!(
        "`{shown}` holds another sweep:\n  {list}{more}\nhint: give another --name or --out; the same runs continue the sweep, and further values of its keys extend it"
    )))
}

/// Returns the differences of a config from the one that a run began with, in words. A run that has not begun has none.
fn differences(folder: &Path, member: &Member, config: &Config) -> Vec<String> {
    if !run_dir::holds_run(folder) || run_dir::is_unstarted(folder) {
        return Vec::new();
    }
    let Ok((_, before)) = configs::read(&run_dir::first_config(folder), &[]) else { return Vec::new() };
    let changes = changes(&before, config, &Parts::default());
    let changes = changes.iter().filter(|change: &&Change| change.key != FREE);
    changes.map(|change| format!("`{}`: {change}", member.name)).collect()
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = File::create(path.join(LOCK)).map_err(|error| cannot_write(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Input(format!(
            "the sweep in `{}` is in use: another process runs it\nhint: wait for it to end, or stop it",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(cannot_write(path, &error)),
    }
}

/// Writes a file that is complete as soon as it has its name, also after a failure of the machine.
fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("json.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Input(format!(
        "cannot write to the folder `{}` of the sweep: {error}\nhint: give another --out",
        path.display()
    ))
}
