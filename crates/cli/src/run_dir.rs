//! The folder of a run.
//!
//! ```text
//! runs/<env>/<name>/<seed>-<time>/
//!   config.toml             the config of the new run, with all defaults; never changed
//!   config.resume-K.toml    the config since the K-th resume that changed it
//!   manifest.json           program, machine, status and starts of the run
//!   metrics.jsonl …         the records
//!   checkpoints/
//! ```
//!
//! A process that trains in a folder holds a lock on its `run.lock`. The operating system releases the lock when the
//! process ends.

mod unstarted;

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use foresee::checkpoint::CheckpointError;
use foresee::config::Source;
use foresee::config::changes::{Change, changes, refusal};
use foresee::shell::quoted;
use foresee::{Config, Parts, Run, Setup};

use crate::configs;
use crate::failure::Failure;
use crate::manifest::{self, Recorded};
use crate::time;

pub(crate) use unstarted::is_unstarted;

/// The name of the config of a new run.
const FIRST_CONFIG: &str = "config.toml";
/// End of the name of a config file that is being written.
const TEMPORARY: &str = ".tmp";
const LOCK: &str = "run.lock";
/// The hint if a file in the folder of a run cannot be written.
const CHECK_FOLDER: &str = "check the permissions of the folder and the free disk space";
/// First line of the config files written since `model.loss.add_mse_until` counts from the end of exploration.
const FORMAT: &str = "# foresee config, format 2";

/// An open and locked folder.
pub(crate) struct RunDir {
    path: PathBuf,
    /// The text of the newest config file.
    config: String,
    /// The segments of the manifest.
    segments: Vec<serde_json::Value>,
    /// The folder itself, by which [`is_in_place`](Self::is_in_place) knows it again.
    #[cfg(unix)]
    folder: File,
    _lock: File,
}

/// The config under which a run is resumed.
pub(crate) enum Resumption<'a> {
    /// The newest config of the run, changed by these overrides.
    Overrides(&'a [&'a str]),
    /// The config in this file, changed by these overrides.
    Config(&'a Path, &'a [&'a str]),
}

/// A run that is about to be resumed.
pub(crate) struct RunToResume {
    /// The run's folder.
    pub dir: RunDir,
    /// The checked config under which the run continues.
    pub setup: Setup,
    /// The changes of this config from the one that the run had when it was last started.
    pub changes: Vec<Change>,
    /// True if the newest config file has an older format. The caller then writes the current config to a new file.
    pub outdated: bool,
    /// The run's manifest.
    pub recorded: Recorded,
}

impl RunDir {
    /// Makes the folder of a new run. With `again`, a run there [that ended before its first checkpoint](is_unstarted)
    /// gives way to the new one.
    ///
    /// All other checks of the input must be done before, so that bad input leaves no files behind.
    pub(crate) fn create(path: Option<PathBuf>, config: &Config, again: bool) -> Result<Self, Failure> {
        let again = |path: &Path| again && is_unstarted(path);
        let path = match path {
            Some(path) => {
                // Checked before anything is written, and again under the lock.
                if !again(&path) {
                    refuse_if_used(&path)?;
                }
                fs::create_dir_all(&path).map_err(|error| cannot_write(&path, &error))?;
                path
            }
            None => create_default(config)?,
        };
        let lock = lock(&path)?;
        if again(&path) {
            let shown = path.display();
            eprintln!("note: the run in `{shown}` ended before its first checkpoint, so it starts again");
            unstarted::clear(&path).map_err(|error| cannot_write(&path, &error))?;
        } else {
            refuse_if_used(&path)?;
        }
        let config = config_text(config);
        write_durably(&path.join(FIRST_CONFIG), &config).map_err(|error| cannot_write(&path, &error))?;
        Self::locked(path, config, Vec::new(), lock)
    }

    /// Opens the folder of a run to resume it. Edits of the newest config file since the last start are noticed, and
    /// count as overrides.
    pub(crate) fn open(path: &Path, resumption: &Resumption<'_>) -> Result<RunToResume, Failure> {
        let newest = Newest::read(path)?;
        let (source, mut config) = match resumption {
            Resumption::Overrides(overrides) => configs::read(&newest.file, overrides)?,
            Resumption::Config(file, overrides) => configs::read(file, overrides)?,
        };
        configs::print_notes(&source);
        if let Resumption::Overrides(overrides) = resumption
            && newest.outdated
            && !overrides.iter().any(|text| sets_add_mse_until(text))
        {
            count_from_exploration(&mut config);
        }
        newest.refuse_kept(&config, resumption)?;
        if let (Resumption::Overrides(_), Some(edits)) = (resumption, newest.edits()) {
            eprintln!("note: {edits}");
        }
        let parts = Parts::default();
        let asked = changes(&newest.before, &config, &parts);
        let setup = configs::open(&source, config)?;
        // The checked config has values that the given one leaves to the task, which are no changes.
        let mut changes = changes(&newest.before, &setup.config, &parts);
        changes.retain(|change| asked.iter().any(|asked| asked.key == change.key));

        let checkpoints = path.join("checkpoints");
        if is_unstarted(path) && !is_locked(path) {
            let (shown, run, config) = (path.display(), quoted(path), quoted(&newest.file));
            return Err(Failure::Input(format!(
                "the run in `{shown}` ended before its first checkpoint\nhint: start it again with `foresee train {config} --run-dir {run} --resume-if-exists`"
            )));
        }
        if !checkpoints.is_dir() {
            return Err(CheckpointError::NoCheckpoint(checkpoints).into());
        }
        let lock = lock(path)?;
        let Newest { text, mut recorded, outdated, .. } = newest;
        let segments = std::mem::take(&mut recorded.segments);
        let dir = Self::locked(path.to_owned(), text, segments, lock)?;
        Ok(RunToResume { dir, setup, changes, outdated, recorded })
    }

    fn locked(path: PathBuf, config: String, segments: Vec<serde_json::Value>, lock: File) -> Result<Self, Failure> {
        #[cfg(unix)]
        let folder = File::open(&path).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self {
            path,
            config,
            segments,
            #[cfg(unix)]
            folder,
            _lock: lock,
        })
    }

    /// Writes a changed config as the newest one of the run. It must be called only after the run has accepted the
    /// config, because a refused config would block every later resume.
    pub(crate) fn write_changed_config(&mut self, config: &Config) -> Result<(), Failure> {
        let next = self.path.join(format!("config.resume-{}.toml", newest_config(&self.path)?.1 + 1));
        self.config = config_text(config);
        write_durably(&next, &self.config).map_err(|error| cannot_write_because(&self.path, &error, CHECK_FOLDER))
    }

    /// Adds the segment of this start of the program, which changes these keys, to the manifest that is written next.
    pub(crate) fn begin_segment(&mut self, run: &Run, changes: &[Change]) {
        self.segments.push(manifest::segment(run, changes));
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of the checkpoints.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Returns true if the folder is where it was when it was locked. If it was moved or removed, its path may lead to
    /// another folder, in which nothing may be written.
    pub(crate) fn is_in_place(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;

            match (self.folder.metadata(), fs::metadata(&self.path)) {
                (Ok(locked), Ok(found)) => (locked.dev(), locked.ino()) == (found.dev(), found.ino()),
                (_, Err(error)) => error.kind() != ErrorKind::NotFound,
                (Err(_), Ok(_)) => true,
            }
        }
        // Other systems refuse to move a folder in which a file is open.
        #[cfg(not(unix))]
        true
    }

    /// Returns an error if the folder is [no longer in its place](Self::is_in_place).
    pub(crate) fn check_place(&self) -> Result<(), Failure> {
        if self.is_in_place() {
            return Ok(());
        }
        Err(Failure::Run(format!(
            "the run folder `{}` was moved or removed during the training\nhint: move the folder of a run only while no process trains in it",
            self.path.display()
        )))
    }

    /// Writes `manifest.json`.
    pub(crate) fn write_manifest(&self, run: &Run, status: &str) -> Result<(), Failure> {
        self.check_place()?;
        manifest::write(&self.path, run, status, &self.config, &self.segments).map_err(|error| {
            let path = self.path.join("manifest.json");
            Failure::Run(format!("cannot write `{}`: {error}\nhint: {CHECK_FOLDER}", path.display()))
        })
    }
}

/// The newest config file of a run, and the manifest beside it.
struct Newest {
    file: PathBuf,
    /// The file's text.
    text: String,
    /// The file's config. Its keys have their current meaning, also in a file of an older format.
    config: Config,
    /// True if the file has an older format.
    outdated: bool,
    /// The config that the run had when it was last started; the file's, if the manifest is of an older version.
    before: Config,
    recorded: Recorded,
}

impl Newest {
    fn read(path: &Path) -> Result<Self, Failure> {
        let (file, _) = newest_config(path)?;
        let (_, mut config) = configs::read(&file, &[])?;
        let text = fs::read_to_string(&file).unwrap_or_default();
        let outdated = !text.starts_with(FORMAT);
        if outdated {
            count_from_exploration(&mut config);
        }
        let recorded = Recorded::read(path);
        let known = recorded.config.as_ref().filter(|known| **known != text);
        let before = known.and_then(|known| Source::text(known, &[]).ok()?.typed().ok());
        let before = before.unwrap_or_else(|| config.clone());
        Ok(Self { file, text, config, outdated, before, recorded })
    }

    /// Returns the edits of the file since the run was last started in words, if there are any.
    fn edits(&self) -> Option<String> {
        let edits = changes(&self.before, &self.config, &Parts::default());
        let edits: Vec<String> = edits.iter().map(Change::to_string).collect();
        let file = self.file.display();
        (!edits.is_empty()).then(|| format!("`{file}` was edited since the run was last started: {}", edits.join("; ")))
    }

    /// Refuses a config that changes keys which a run keeps.
    fn refuse_kept(&self, config: &Config, resumption: &Resumption<'_>) -> Result<(), Failure> {
        let parts = Parts::default();
        let Some(refused) = refusal(&self.before, config, &parts) else { return Ok(()) };
        let (keys, what) = (refused.keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>(), refused.what);
        let (all, them) = (keys.join(" and "), if keys.len() == 1 { "it" } else { "them" });
        let in_file = refusal(&self.before, &self.config, &parts).is_some_and(|in_file| in_file.keys == refused.keys);
        let hint = match resumption {
            Resumption::Config(..) => format!("change {all} back, or give another --run-dir"),
            Resumption::Overrides(_) if in_file => {
                format!("change {all} back in `{}`, or start a new run with {them}", self.file.display())
            }
            Resumption::Overrides(_) => format!("leave {all} out, or start a new run with {them}"),
        };
        Err(Failure::Input(format!("{what}\nhint: {hint}")))
    }
}

/// Converts a config of the first format, in which `model.loss.add_mse_until` counts from the start of the run.
fn count_from_exploration(config: &mut Config) {
    let until = &mut config.model.loss.add_mse_until;
    *until = until.saturating_sub(config.training.explore_steps);
}

/// Returns true if the folder contains a run.
pub(crate) fn holds_run(path: &Path) -> bool {
    path.join(FIRST_CONFIG).is_file()
}

/// Returns the file with the config that a run began with.
pub(crate) fn first_config(path: &Path) -> PathBuf {
    path.join(FIRST_CONFIG)
}

/// Reads the current config of a run and its manifest without locking its folder, and without notes on old names.
pub(crate) fn read_config(path: &Path) -> Result<(Source, Config, Recorded), Failure> {
    let newest = Newest::read(path)?;
    newest.refuse_kept(&newest.config, &Resumption::Overrides(&[]))?;
    let (source, config) = configs::read(&newest.file, &[])?;
    Ok((source, config, newest.recorded))
}

/// Returns the newest config file of a run, and the number of resumes that changed the config.
fn newest_config(path: &Path) -> Result<(PathBuf, u32), Failure> {
    let first = path.join(FIRST_CONFIG);
    if !first.is_file() {
        return Err(no_run(path));
    }
    if Recorded::read(path).config.is_some() && fs::metadata(&first).is_ok_and(|file| file.len() == 0) {
        let (file, path) = (first.display(), path.display());
        return Err(Failure::Input(format!("`{file}` is empty\nhint: {}", restore_config(&path))));
    }
    let resumed =
        (1..).map(|k| (path.join(format!("config.resume-{k}.toml")), k)).take_while(|(file, _)| file.is_file());
    Ok(resumed.last().unwrap_or((first, 0)))
}

/// Returns the failure to find a run in a path, with the run that is most likely meant.
fn no_run(path: &Path) -> Failure {
    let shown = path.display();
    let here = |parent| if parent == Path::new("") { Path::new(".") } else { parent };
    let parent = path.parent().map(here).filter(|parent| holds_run(parent)).map(quoted);
    let (what, hint) = match parent {
        Some(parent) => ("it is a part of one", format!("give the folder `{parent}`")),
        None if Recorded::read(path).config.is_some() => ("it has no config.toml", restore_config(&shown)),
        None => {
            let what = if path.is_dir() {
                "it has no config.toml"
            } else if path.exists() {
                "it is a file"
            } else {
                "it does not exist"
            };
            (what, "give a folder with a config.toml, such as runs/ENV/NAME/SEED-TIME".into())
        }
    };
    Failure::Input(format!("`{shown}` is not a run folder: {what}\nhint: {hint}"))
}

/// The hint if the config file of a run is lost, but its manifest is there.
fn restore_config(run: &impl Display) -> String {
    format!("`{run}/manifest.json` holds the text of the newest config under `config`; write it to `{run}/config.toml`")
}

/// Writes a file that is complete as soon as it has its name, also after a failure of the machine.
fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Returns true if a process trains in the folder.
pub(crate) fn is_locked(path: &Path) -> bool {
    File::open(path.join(LOCK)).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Refuses a folder that contains anything but a lock.
fn refuse_if_used(path: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| cannot_use(path, &error))?,
    };
    let is_run = holds_run(path);
    let in_use = is_locked(path);
    for entry in entries {
        if entry.map_err(|error| cannot_use(path, &error))?.file_name() != LOCK {
            let (word, path) = (quoted(path), path.display());
            return Err(Failure::Input(if in_use {
                format!("the run folder `{path}` is in use: another process trains in it\nhint: give another --run-dir")
            } else if is_run {
                format!(
                    "`{path}` already holds a run\nhint: continue it with `foresee resume {word}`, or give another --run-dir"
                )
            } else {
                format!("`{path}` is not empty, and holds no run\nhint: give another --run-dir")
            }));
        }
    }
    Ok(())
}

fn cannot_use(path: &Path, error: &io::Error) -> Failure {
    Failure::Input(format!("cannot use `{}` as a run folder: {error}\nhint: give another --run-dir", path.display()))
}

/// Makes the default folder. Two runs of one seed may start within the same second, so a name is taken only if creating
/// its folder succeeds.
fn create_default(config: &Config) -> Result<PathBuf, Failure> {
    let parent = Path::new("runs").join(folder_of(&config.env.id)).join(config.name());
    fs::create_dir_all(&parent).map_err(|error| cannot_write(&parent, &error))?;
    let name = format!("{}-{}", config.seed, time::utc_compact(time::unix_seconds()));
    for n in 0.. {
        let path = parent.join(if n == 0 { name.clone() } else { format!("{name}-{n}") });
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot_write(&path, &error)),
        }
    }
    unreachable!("some name is free")
}

/// Converts an environment's id to the name of a folder: `gym:module:Name-v0` becomes `gym-module-Name-v0`.
fn folder_of(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}

fn lock(path: &Path) -> Result<File, Failure> {
    let failed = |error: &io::Error| cannot_write_because(path, error, CHECK_FOLDER);
    let file = File::create(path.join(LOCK)).map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Input(format!(
            "the run folder `{}` is in use: another process trains in it\nhint: wait for it to end, or stop it",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(&error)),
    }
}

/// The failure to write to the folder of a new run.
fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    cannot_write_because(path, error, "give another --run-dir")
}

/// The failure to write to the folder of a run, with a hint.
fn cannot_write_because(path: &Path, error: &io::Error, hint: &str) -> Failure {
    Failure::Input(format!("cannot write to the run folder `{}`: {error}\nhint: {hint}", path.display()))
}

fn config_text(config: &Config) -> String {
    let text = toml::to_string_pretty(config).expect("a config that came from TOML goes back to TOML");
    format!("{FORMAT}\n{text}")
}

/// Returns true if an override sets `model.loss.add_mse_until`, or a table that contains it.
fn sets_add_mse_until(text: &str) -> bool {
    let key = text.split('=').next().unwrap_or_default().trim();
    ["model", "model.loss", "model.loss.add_mse_until"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_of_a_key_or_of_its_table_sets_it() {
        let sets = ["model.loss.add_mse_until=3", "model.loss={kind='mse'}", "model = {}"];
        assert!(sets.iter().all(|text| sets_add_mse_until(text)));
        assert!(!["model.loss.kind=mse", "training.env_steps=3"].iter().any(|text| sets_add_mse_until(text)));
    }

    #[test]
    fn an_id_names_one_folder() {
        for (id, folder) in [
            ("Pendulum-v1", "Pendulum-v1"),
            ("gym:my_module:ns/Env-v0", "gym-my_module-ns-Env-v0"),
            ("dmc:walker-run", "dmc-walker-run"),
        ] {
            assert_eq!(folder_of(id), folder);
        }
    }
}
