//! A MuJoCo of another version than the recordings. It is in a separate virtual environment with Gymnasium, whose
//! folder is in FORESEE_TEST_MUJOCO_4. It gives other numbers, so the oracle is Gymnasium with the same library.

use std::path::{Path, PathBuf};

use foresee_core::Stream;
use foresee_env::test_support::mujoco_available;
use foresee_env::{EnvConfig, Environment, Step, check_environment};

use crate::IDS;

/// The environment variable with the folder of the virtual environment.
const FOLDER: &str = "FORESEE_TEST_MUJOCO_4";

/// Returns the virtual environment. Without it, the test of this name prints that it is skipped, or fails if MuJoCo is
/// required.
fn folder(test: &str) -> Option<PathBuf> {
    use std::io::Write as _;
    let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let required = std::env::var_os("FORESEE_REQUIRE_MUJOCO").is_some_and(|value| value == "1");
    assert!(folder.is_some() || !required, "{test} needs {FOLDER}, and FORESEE_REQUIRE_MUJOCO=1");
    if folder.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped {test}: {FOLDER} is not set");
    }
    folder
}

/// Returns the library in a virtual environment, `libmujoco.so.4.0.0` or similar.
fn library(folder: &Path) -> PathBuf {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let sites = entries(&folder.join("lib")).into_iter().map(|python| python.join("site-packages/mujoco"));
    let is_library =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libmujoco"));
    sites.flat_map(|site| entries(&site)).find(is_library).expect("a library of MuJoCo")
}

/// Resets, and takes steps under actions that depend only on the step.
fn play(env: &mut dyn Environment) -> Vec<Step> {
    let begin = |env: &mut dyn Environment, seed| {
        let obs = env.reset(seed).unwrap().obs;
        Step { obs, reward: 0.0, terminated: false, truncated: false, info: [].into() }
    };
    let mut played = vec![begin(env, Some(3))];
    for t in 0..300 {
        let action = env.spec().action_space.sample(&mut Stream::new(0, "test/action").at(t, 0));
        played.push(env.step(&action).unwrap());
        if played.last().is_some_and(|step| step.terminated || step.truncated) {
            played.push(begin(env, None));
        }
    }
    played
}

#[test]
fn under_mujoco_4_native_tasks_are_gymnasiums_and_keep_what_an_environment_promises() {
    let test = "under_mujoco_4_native_tasks_are_gymnasiums";
    let Some(folder) = folder(test) else { return };
    for id in IDS {
        let mut config = EnvConfig::new(id);
        config.mujoco.library = Some(library(&folder));
        let mut native = config.make_unscaled(0).unwrap();
        let mut python = EnvConfig::new(&format!("gym:{id}"));
        python.gym.python = Some(folder.join("bin/python"));
        let mut theirs = python.make_unscaled(0).unwrap();

        let version = native.spec().versions["mujoco"].clone();
        assert!(version.starts_with("4."), "{version}");
        assert_eq!(theirs.spec().versions["mujoco"], version);
        for (t, (got, want)) in play(native.as_mut()).into_iter().zip(play(theirs.as_mut())).enumerate() {
            assert_eq!(
                (got.obs, got.terminated, got.truncated),
                (want.obs, want.terminated, want.truncated),
                "{id}, {t}"
            );
            // numpy's norm, in Reacher's reward, rounds differently on different processors.
            let rounding = if id == "Reacher-v5" { 1e-15 } else { 0.0 };
            assert!((got.reward - want.reward).abs() <= rounding, "{id}, {t}: {} and {}", got.reward, want.reward);
        }
        check_environment(|| config.make(0)).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn two_versions_live_in_one_process_each_with_its_own_numbers() {
    let test = "two_versions_live_in_one_process";
    let Some(folder) = folder(test).filter(|_| mujoco_available(test)) else { return };
    let mut other = EnvConfig::new("Hopper-v5");
    other.mujoco.library = Some(library(&folder));
    let [mut old, mut new] = [EnvConfig::new("Hopper-v5"), other].map(|config| config.make(0).unwrap());
    assert_ne!(old.spec().versions, new.spec().versions);
    let alone = [play(old.as_mut()), play(new.as_mut())];
    assert_eq!([play(old.as_mut()), play(new.as_mut())], alone);
    // The start of an episode depends only on numpy and the model.
    assert_eq!(alone[0][0], alone[1][0]);
}
