//! Helpers for tests of environments in Python.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use foresee_core::Stream;
use foresee_env::{EnvConfig, EnvError, Environment, Step, make_unscaled};
use serde_json::{Value, json};

pub(crate) const FAULTY: &str = "gym:tests.gym_envs.faults:Faulty-v0";
pub(crate) const CHATTY: &str = "gym:tests.gym_envs.faults:Chatty-v0";

/// Whether Python has the packages that `id` needs. If not, it prints a line and the test passes, unless
/// FORESEE_REQUIRE_MUJOCO=1.
pub(crate) fn python_runs(test: &str, id: &str) -> bool {
    static KNOWN: Mutex<BTreeMap<String, Option<String>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let why_not = || make_unscaled(id).err().map(|error| error.to_string().replace('\n', "; "));
    let Some(why) = known.entry(id.into()).or_insert_with(why_not) else { return true };
    let required = std::env::var_os("FORESEE_REQUIRE_MUJOCO").is_some_and(|value| value == "1");
    assert!(!required, "{test} needs Python, and FORESEE_REQUIRE_MUJOCO=1: {why}");
    // Written to stderr directly, because the test harness hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
    false
}

/// Configures a faulty environment with `kwargs` as JSON.
pub(crate) fn faulty(kwargs: Value) -> EnvConfig {
    with_kwargs(FAULTY, kwargs)
}

pub(crate) fn with_kwargs(id: &str, kwargs: Value) -> EnvConfig {
    let mut config = EnvConfig::new(id);
    config.gym.kwargs = serde_json::from_value(kwargs).expect("keyword arguments");
    config
}

pub(crate) fn built(config: &EnvConfig) -> Box<dyn Environment> {
    config.make(0).unwrap_or_else(|error| panic!("{config:?}: {error}"))
}

/// Returns an action in [-1, 1] for step `t`.
pub(crate) fn action(env: &dyn Environment, t: u64) -> Vec<f32> {
    env.spec().action_space.sample(&mut Stream::new(7, "test/action").at(t, 0))
}

/// Takes steps with the actions from `first` on, and resets without a seed after each end. The count of restarts is
/// removed from the results.
pub(crate) fn play(env: &mut dyn Environment, first: u64, steps: u64) -> Vec<Step> {
    let mut played = Vec::new();
    for t in first..first + steps {
        let mut step = env.step(&action(env, t)).unwrap_or_else(|error| panic!("step {t}: {error}"));
        let over = step.terminated || step.truncated;
        step.info.remove("restarts");
        played.push(step);
        if over {
            let obs = env.reset(None).unwrap().obs;
            played.push(Step { obs, reward: 0.0, terminated: false, truncated: false, info: [].into() });
        }
    }
    played
}

/// Returns the error of a reset with seed 0 and some steps.
pub(crate) fn failure(config: &EnvConfig) -> EnvError {
    let mut env = match config.make(0) {
        Ok(env) => env,
        Err(error) => return error,
    };
    if let Err(error) = env.reset(Some(0)) {
        return error;
    }
    let error = (0..10).find_map(|t| env.step(&action(env.as_ref(), t)).err());
    error.unwrap_or_else(|| panic!("{config:?} does nothing wrong"))
}

/// Returns a path in a folder that only this test process uses.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("gym-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Writes a shell script that takes the place of the interpreter.
pub(crate) fn script(name: &str, text: &str) -> PathBuf {
    let path = scratch(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Returns keyword arguments with a marker file, which makes the fault happen only once.
pub(crate) fn once(fault: &str, marker: &str) -> Value {
    let marker = scratch(marker);
    let _ = std::fs::remove_file(&marker);
    json!({ "fault": fault, "marker": marker })
}
