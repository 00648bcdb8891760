//! The configs that are shipped with the program: each fits on a screen, passes `check`, and trains.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Place;
use foresee::env::test_support::mujoco_available;

/// Returns the paths of all configs, sorted.
fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let files = |folder: &Path| -> Vec<PathBuf> {
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
    };
    let mut paths = [files(&folder), files(&folder.join("mujoco"))].concat();
    paths.sort();
    assert!(paths.len() > 20, "{paths:?}");
    paths
}

/// Returns the configs that can be used on this machine: all, or all but MuJoCo's if MuJoCo is missing.
fn usable(test: &str) -> impl Iterator<Item = PathBuf> {
    let there = mujoco_available(&format!("{test}, of MuJoCo's tasks"));
    shipped().into_iter().filter(move |path| there || !path.components().any(|part| part.as_os_str() == "mujoco"))
}

#[test]
fn every_config_fits_on_a_screen() {
    for path in shipped() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 50, "{}: {} lines", path.display(), text.lines().count());
        assert!(text.starts_with("# "), "{} does not say what it is", path.display());
    }
}

/// The critic counts as young for at least one epoch after exploration.
#[test]
fn every_config_with_values_in_its_loss_adds_the_squared_error_for_an_epoch() {
    let mut with_values = 0;
    for path in shipped() {
        let config: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let Some(model) = config.get("model") else { continue };
        let number = |value: Option<&toml::Value>, default| value.map_or(default, |value| value.as_integer().unwrap());
        let until = number(model.get("loss").and_then(|loss| loss.get("add_mse_until")), 1000);
        let epoch = number(config["training"].get("epoch_length"), 1000);
        assert!(until >= epoch, "{}: {until} steps of {epoch}", path.display());
        with_values += 1;
    }
    assert!(with_values > 20, "{with_values}");
}

#[test]
fn every_config_passes_check_as_it_is_and_as_it_is_printed() {
    for path in usable("every_config_passes_check") {
        let place = Place::new();
        let printed = place.succeeds(&["check", path.to_str().unwrap()]);
        place.write("printed.toml", &printed);
        assert_eq!(place.succeeds(&["check", "printed.toml"]), printed, "{}", path.display());
    }
}

/// Two real steps. After the second one a model is fitted and used for imagination.
#[test]
fn every_config_trains() {
    for path in usable("every_config_trains") {
        let place = Place::new();
        place.succeeds(&[
            "train",
            path.to_str().unwrap(),
            "--run-dir",
            "run",
            "threads=1",
            "training.env_steps=2",
            "training.explore_steps=1",
            "training.eval_episodes=1",
            "training.log_every=1",
            "model.fit.every=2",
            "model.fit.max_steps=3",
            "model.fit.first_max_steps=3",
            "model.fit.min_steps=0",
            "double_horizon.block=2",
            "double_horizon.critic_updates=1",
        ]);
        assert_eq!(place.read("run/results.csv").lines().count(), 2, "{}", path.display());
        let metrics = place.read("run/metrics.jsonl");
        let imagines = !place.read("run/config.toml").contains("algo = \"model_free\"");
        assert_eq!(metrics.contains("imagination/steps"), imagines, "{}: {metrics}", path.display());
        assert!(metrics.contains("train/critic_loss"), "{}: {metrics}", path.display());
    }
}
