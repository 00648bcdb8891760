//! `manifest.json` in the folder of a run: program, machine, task and status of the run, its config, and a segment for
//! each start of the program on the run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use foresee::Run;
use foresee::config::changes::Change;
use foresee::env::{BoxSpace, Spec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::time;
use crate::verbs::counted;

/// The name of the file.
const FILE: &str = "manifest.json";
/// Number of entries of a space that a message shows.
const SHOWN_ENTRIES: usize = 6;

/// The parts of a run's manifest that a later start of the program reads. A part that an older version did not write is
/// empty.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The text of the config file that the run had when it was last started.
    pub config: Option<String>,
    /// The segments so far.
    pub segments: Vec<Value>,
    versions: BTreeMap<String, String>,
    task: Option<Task>,
}

/// The spaces and the time limit of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    observations: Space,
    actions: Space,
    /// In steps; `None` for no limit.
    time_limit: Option<u32>,
}

/// A box: the number of its entries, and their ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Space {
    entries: usize,
    low: Ends,
    high: Ends,
}

/// The ends of the entries of a box on one side; `None` for an infinite end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Ends {
    /// All entries have this end.
    Same(Option<f32>),
    Each(Vec<Option<f32>>),
}

/// The use that a start of the program makes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Training continues.
    Resume,
    /// The policy is evaluated.
    Evaluate,
}

impl Recorded {
    /// Reads the manifest in the folder of a run.
    pub(crate) fn read(folder: &Path) -> Self {
        let manifest = fs::read(folder.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let manifest: Value = manifest.unwrap_or_default();
        Self {
            config: part(&manifest, "config"),
            segments: part(&manifest, "segments").unwrap_or_default(),
            versions: part(&manifest, "env_versions").unwrap_or_default(),
            task: part(&manifest, "task"),
        }
    }

    /// Compares the task with the one that the run began with. Returns a warning for each kind of difference: of bounds
    /// and the time limit, and of the software behind the task.
    ///
    /// # Errors
    /// If the number of observation or action entries differs.
    pub(crate) fn compare(&self, spec: &Spec, purpose: Use) -> Result<Vec<String>, Failure> {
        let mut warnings = Vec::new();
        if let Some(before) = &self.task {
            let now = Task::of(spec);
            for (name, before, now) in [
                ("observation", before.observations.entries, now.observations.entries),
                ("action", before.actions.entries, now.actions.entries),
            ] {
                if before != now {
                    let (id, entries) = (&spec.id, if now == 1 { "entry" } else { "entries" });
                    return Err(Failure::Input(format!(
                        "`{id}` has {now} {name} {entries} now, and the run began with {before}\nhint: restore the environment that the run began with, its code and its arguments, or start a new run"
                    )));
                }
            }
            let differences = before.differences(&now);
            if !differences.is_empty() {
                let [before, now] = [0, 1].map(|side| {
                    differences.iter().map(|difference| difference[side].as_str()).collect::<Vec<_>>().join(" and ")
                });
                let id = &spec.id;
                warnings.push(format!(
                    "the run began with {before}; `{id}` now has {now}\nhint: what the run has learnt may not hold for the changed task; for the same task, restore its code and its arguments"
                ));
            }
        }
        for (name, version) in &spec.versions {
            let Some(before) = self.versions.get(name).filter(|before| *before != version) else { continue };
            warnings.push(match purpose {
                Use::Resume => format!(
                    "the run began with {name} {before} and continues with {version}; from here it may differ from an uninterrupted run\nhint: to continue bit for bit, install {name} {before}"
                ),
                Use::Evaluate => format!(
                    "the run was trained with {name} {before} and is evaluated with {version}; the returns may differ from those of the run\nhint: to repeat the run's numbers, install {name} {before}"
                ),
            });
        }
        Ok(warnings)
    }
}

/// Returns true if the manifest in the folder of a run says that the run is complete after at least this number of steps.
pub(crate) fn is_complete(folder: &Path, steps: u64) -> bool {
    let manifest = fs::read(folder.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let manifest: Value = manifest.unwrap_or_default();
    manifest["status"] == "finished" && manifest["env_step"].as_u64().is_some_and(|step| step >= steps)
}

/// Returns an entry of the manifest, if it is there and has the right form.
fn part<T: DeserializeOwned>(manifest: &Value, name: &str) -> Option<T> {
    manifest.get(name).and_then(|value| serde_json::from_value(value.clone()).ok())
}

impl Task {
    fn of(spec: &Spec) -> Self {
        let [observations, actions] = [&spec.observation_space, spec.task_actions()].map(Space::of);
        Self { observations, actions, time_limit: spec.max_episode_steps }
    }

    /// Returns the parts that differ in words: before and now.
    fn differences(&self, now: &Self) -> Vec<[String; 2]> {
        let limit = |task: &Self| {
            let of = |limit| format!("a time limit of {}", counted(limit as usize, "step"));
            task.time_limit.map_or("no time limit".into(), of)
        };
        let observations = |task: &Self| format!("observations in {}", task.observations.intervals());
        let actions = |task: &Self| format!("actions in {}", task.actions.intervals());
        let both = |text: &dyn Fn(&Self) -> String| [self, now].map(text);
        let differing = [
            (self.observations != now.observations).then(|| both(&observations)),
            (self.actions != now.actions).then(|| both(&actions)),
            (self.time_limit != now.time_limit).then(|| both(&limit)),
        ];
        differing.into_iter().flatten().collect()
    }
}

impl Space {
    fn of(space: &BoxSpace) -> Self {
        Self { entries: space.dim(), low: Ends::of(&space.low), high: Ends::of(&space.high) }
    }

    /// Returns the intervals of the entries: one if all are equal, else the first ones.
    fn intervals(&self) -> String {
        let interval = |entry: usize| {
            let low = self.low.at(entry).unwrap_or(f32::NEG_INFINITY);
            format!("[{low}, {}]", self.high.at(entry).unwrap_or(f32::INFINITY))
        };
        if let (Ends::Same(_), Ends::Same(_)) = (&self.low, &self.high) {
            return interval(0);
        }
        let mut text = (0..self.entries.min(SHOWN_ENTRIES)).map(interval).collect::<Vec<_>>().join(" ");
        if self.entries > SHOWN_ENTRIES {
            _ = write!(text, " … {} entries", self.entries);
        }
        text
    }
}

impl Ends {
    fn of(ends: &[f32]) -> Self {
        let finite = |end: &f32| end.is_finite().then_some(*end);
        match ends {
            [first, rest @ ..] if rest.iter().all(|end| end == first) => Self::Same(finite(first)),
            ends => Self::Each(ends.iter().map(finite).collect()),
        }
    }

    fn at(&self, entry: usize) -> Option<f32> {
        match self {
            Self::Same(end) => *end,
            Self::Each(ends) => ends.get(entry).copied().flatten(),
        }
    }
}

/// Returns the segment of a start of the program on a run: where it begins, which keys changed, and the program and the
/// machine.
pub(crate) fn segment(run: &Run, changes: &[Change]) -> Value {
    let changes = changes.iter().map(|change| {
        let [before, now] = change.texts();
        json!({ "key": change.key, "before": before, "now": now })
    });
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let mut segment = json!({
        "env_step": run.env_step(),
        "changes": changes.collect::<Vec<_>>(),
        "version": env!("CARGO_PKG_VERSION"),
        "arguments": arguments.collect::<Vec<_>>(),
        "folder": std::env::current_dir().unwrap_or_default().to_string_lossy(),
        "host": gethostname::gethostname().to_string_lossy(),
        "started": time::utc_iso(time::unix_seconds()),
        "device": run.config().device.to_string(),
        "threads": rayon::current_num_threads(),
    });
    if let Some(commit) = option_env!("FORESEE_COMMIT") {
        segment["commit"] = commit.into();
    }
    segment
}

/// Writes the manifest of a run whose newest config file is `config` and that has these segments.
pub(crate) fn write(folder: &Path, run: &Run, status: &str, config: &str, segments: &[Value]) -> io::Result<()> {
    let of_run = run.config();
    let mut manifest = json!({
        "program": "foresee",
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "device": of_run.device.to_string(),
        "threads": rayon::current_num_threads(),
        "env": of_run.env.id,
        "env_versions": run.spec().versions,
        "task": Task::of(run.spec()),
        "algo": of_run.algo,
        "loss": of_run.loss_name(),
        "seed": of_run.seed,
        "status": status,
        "env_step": run.env_step(),
        "written_unix_s": time::unix_seconds(),
        "segments": segments,
        "config": config,
    });
    if run.spec().action_repeat > 1 {
        manifest["frames"] = run.spec().frames(run.env_step()).into();
    }
    let (temporary, path) = (folder.join(format!("{FILE}.tmp")), folder.join(FILE));
    fs::write(&temporary, format!("{manifest:#}\n")).and_then(|()| fs::rename(&temporary, &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foresee::Termination;

    fn spec(observations: BoxSpace, actions: BoxSpace, limit: Option<u32>) -> Spec {
        Spec { max_episode_steps: limit, ..Spec::new("Test-v0", observations, actions, Termination::never()) }
    }

    fn compared(before: &Spec, now: &Spec) -> Result<Vec<String>, String> {
        // As the manifest stores it.
        let stored = serde_json::to_string(&Task::of(before)).unwrap();
        let recorded = Recorded { task: serde_json::from_str(&stored).unwrap(), ..Recorded::default() };
        recorded.compare(now, Use::Evaluate).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_task_that_changed_is_told_by_what_differs() {
        let [anywhere, unit] = [f32::INFINITY, 1.0].map(|bound| BoxSpace::symmetric(&[bound; 3]));
        let before = spec(anywhere.clone(), unit.clone(), Some(50));
        assert_eq!(compared(&before, &before), Ok(vec![]));
        let now = spec(anywhere.clone(), BoxSpace::symmetric(&[1.0, 1.0, 2.5]), None);
        let warnings = compared(&before, &now).unwrap();
        assert_eq!(warnings.len(), 1);
        let what = "the run began with actions in [-1, 1] and a time limit of 50 steps; \
                    `Test-v0` now has actions in [-1, 1] [-1, 1] [-2.5, 2.5] and no time limit\nhint: ";
        assert!(warnings[0].starts_with(what), "{}", warnings[0]);
        let warnings = compared(&before, &spec(unit.clone(), unit.clone(), Some(50))).unwrap();
        let what = "the run began with observations in [-inf, inf]; `Test-v0` now has observations in [-1, 1]\nhint: ";
        assert!(warnings[0].starts_with(what), "{}", warnings[0]);
    }

    #[test]
    fn a_task_with_another_number_of_entries_is_refused() {
        let [one, three] = [1, 3].map(|entries| BoxSpace::symmetric(&vec![1.0; entries]));
        for (before, now, what) in [
            ([&one, &one], [&three, &one], "`Test-v0` has 3 observation entries now, and the run began with 1\nhint: "),
            ([&one, &three], [&one, &one], "`Test-v0` has 1 action entry now, and the run began with 3\nhint: "),
        ] {
            let [before, now] =
                [before, now].map(|[observations, actions]| spec(observations.clone(), actions.clone(), Some(50)));
            let message = compared(&before, &now).unwrap_err();
            assert!(message.starts_with(what), "{message}");
        }
    }
}
