//! The folder of a run.
//!
//! ```text
//! runs/<env>/<name>/<seed>-<time>/
//!   config.toml             the config of the new run, with all defaults; never changed
//!   config.resume-K.toml    the config since the K-th resume that changed it
//!   manifest.json           program, machine, status of the run
//!   metrics.jsonl …         the records
//!   checkpoints/
//! ```
//!
//! A process that trains in a folder holds a lock on its `run.lock`. The operating system releases the lock when the
//! process ends.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use foresee::checkpoint::CheckpointError;
use foresee::config::Source;
use foresee::shell::quoted;
use foresee::{Config, Run, Setup};
use serde_json::json;

use crate::configs;
use crate::failure::Failure;

const LOCK: &str = "run.lock";
/// The hint if a file in the folder of a run cannot be written.
const CHECK_FOLDER: &str = "check the permissions of the folder and the free disk space";
/// First line of the config files written since `model.loss.add_mse_until` counts from the end of exploration.
const FORMAT: &str = "# foresee config, format 2";

/// An open and locked folder.
pub(crate) struct RunDir {
    path: PathBuf,
    /// Whether the newest config file has an older format.
    outdated: bool,
    _lock: File,
}

impl RunDir {
    /// Makes the folder of a new run.
    ///
    /// All other checks of the input must be done before, so that bad input leaves no files behind.
    pub(crate) fn create(path: Option<PathBuf>, config: &Config) -> Result<Self, Failure> {
        let path = match path {
            Some(path) => {
                // Checked before anything is written, and again under the lock.
                refuse_if_used(&path)?;
                fs::create_dir_all(&path).map_err(|error| cannot_write(&path, &error))?;
                path
            }
            None => create_default(config)?,
        };
        let lock = lock(&path)?;
        refuse_if_used(&path)?;
        fs::write(path.join("config.toml"), config_text(config)).map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { path, outdated: false, _lock: lock })
    }

    /// Opens the folder of a run to resume it. Returns it with the current config: the newest one on disk, changed by
    /// `overrides`.
    pub(crate) fn open(path: &Path, overrides: &[&str]) -> Result<(Self, Setup), Failure> {
        let (file, _) = newest_config(path)?;
        let (source, mut config) = configs::read(&file, overrides)?;
        configs::print_notes(&source);
        let text = fs::read_to_string(&file).unwrap_or_default();
        refuse_other_frames(&text, &config)?;
        let outdated = !text.starts_with(FORMAT);
        if outdated && !overrides.iter().any(|text| sets_add_mse_until(text)) {
            let until = &mut config.model.loss.add_mse_until;
            *until = until.saturating_sub(config.training.explore_steps);
        }
        let setup = configs::open(&source, config)?;
        let checkpoints = path.join("checkpoints");
        if !checkpoints.is_dir() {
            return Err(CheckpointError::NoCheckpoint(checkpoints).into());
        }
        let lock = lock(path)?;
        Ok((Self { path: path.to_owned(), outdated, _lock: lock }, setup))
    }

    /// Returns true if the newest config file has an older format. The caller then writes the current config to a new
    /// file.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// Writes a changed config as the newest one of the run. It must be called only after the run has accepted the
    /// config, because a refused config would block every later resume.
    pub(crate) fn write_changed_config(&self, config: &Config) -> Result<(), Failure> {
        let next = self.path.join(format!("config.resume-{}.toml", newest_config(&self.path)?.1 + 1));
        fs::write(&next, config_text(config)).map_err(|error| cannot_write_because(&self.path, &error, CHECK_FOLDER))
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of the checkpoints.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Writes `manifest.json`: the program, the machine, and the status of the run.
    pub(crate) fn write_manifest(&self, run: &Run, status: &str) -> Result<(), Failure> {
        let config = run.config();
        let mut manifest = json!({
            "program": "foresee",
            "version": env!("CARGO_PKG_VERSION"),
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "device": config.device.to_string(),
            "threads": rayon::current_num_threads(),
            "env": config.env.id,
            "env_versions": run.spec().versions,
            "algo": config.algo,
            "loss": config.loss_name(),
            "seed": config.seed,
            "status": status,
            "env_step": run.env_step(),
            "written_unix_s": unix_seconds(),
        });
        if run.spec().action_repeat > 1 {
            manifest["frames"] = run.spec().frames(run.env_step()).into();
        }
        let text = format!("{manifest:#}\n");
        let (temporary, path) = (self.path.join("manifest.json.tmp"), self.path.join("manifest.json"));
        fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path)).map_err(|error| {
            let path = path.display();
            Failure::Run(format!("cannot write `{path}`: {error}\nhint: {CHECK_FOLDER}"))
        })
    }
}

/// Refuses to resume a run with another number of frames per step than the number in the config before: all transitions
/// of a run have the same number of frames.
fn refuse_other_frames(before: &str, config: &Config) -> Result<(), Failure> {
    let before: toml::Table = before.parse().unwrap_or_default();
    let before = before.get("env").and_then(|env| env.get("action_repeat")?.as_integer()).unwrap_or(1);
    let now = config.env.action_repeat;
    if before == i64::from(now) {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "`env.action_repeat` is {now}, but the run began with {before}\nhint: leave the key out, or start a new run: a run keeps its number of frames per step"
    )))
}

/// Versions of the software behind an environment, by name.
pub(crate) type Versions = BTreeMap<String, String>;

/// Returns the versions of the software behind the environment in the run's manifest; empty if there are none.
pub(crate) fn env_versions(path: &Path) -> Versions {
    let manifest = fs::read(path.join("manifest.json")).ok();
    let manifest: Option<serde_json::Value> = manifest.and_then(|text| serde_json::from_slice(&text).ok());
    manifest.and_then(|manifest| serde_json::from_value(manifest["env_versions"].clone()).ok()).unwrap_or_default()
}

/// Reads the current config of a run without locking its folder, and without notes on old names.
pub(crate) fn read_config(path: &Path) -> Result<(Source, Config), Failure> {
    configs::read(&newest_config(path)?.0, &[])
}

/// Returns the newest config file of a run, and the number of resumes that changed the config.
fn newest_config(path: &Path) -> Result<(PathBuf, u32), Failure> {
    let first = path.join("config.toml");
    if !first.is_file() {
        return Err(Failure::Input(format!(
            "`{}` is not a run folder: it has no config.toml\nhint: give a folder with a config.toml, such as runs/ENV/NAME/SEED-TIME",
            path.display()
        )));
    }
    let resumed =
        (1..).map(|k| (path.join(format!("config.resume-{k}.toml")), k)).take_while(|(file, _)| file.is_file());
    Ok(resumed.last().unwrap_or((first, 0)))
}

/// Refuses a folder that contains anything but a lock.
fn refuse_if_used(path: &Path) -> Result<(), Failure> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| cannot_use(path, &error))?,
    };
    let is_run = path.join("config.toml").is_file();
    let in_use = File::open(path.join(LOCK)).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
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
    let name = format!("{}-{}", config.seed, utc_compact(unix_seconds()));
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

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Formats seconds since 1970 as `YYYYMMDD-HHMMSS` in UTC. The conversion of days to civil dates follows Howard
/// Hinnant.
fn utc_compact(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
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

    #[test]
    fn times_are_civil_dates_in_utc() {
        // `date -u -d @N +%Y%m%d-%H%M%S`
        for (seconds, want) in [
            (0, "19700101-000000"),
            (951_782_400, "20000229-000000"),
            (1_704_067_199, "20231231-235959"),
            (4_102_444_800, "21000101-000000"),
        ] {
            assert_eq!(utc_compact(seconds), want);
        }
    }
}
