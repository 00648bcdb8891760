//! Signals: a run that is interrupted or killed at any moment is resumed without a difference in its result.
#![cfg(unix)]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Place, VARIANTS, arrays, assert_equal_outcomes, checkpoints, newest_step, text};

/// Updates that take long enough for a signal to arrive during them.
const SLOW: &str = "training.updates_per_step=240";

/// Returns an uninterrupted run in the folder `whole`, and the time from its first checkpoint to its end.
fn whole(overrides: &[&str]) -> (Place, Duration) {
    let place = Place::new();
    let training = place.started("whole", overrides);
    let since = Instant::now();
    let output = training.wait();
    assert!(output.status.success(), "{overrides:?}: {}", text(&output.stderr));
    (place, since.elapsed())
}

#[test]
fn a_killed_run_is_resumed_to_the_same_bytes() {
    for (i, variant) in (0..).zip(VARIANTS) {
        let overrides = [variant, &[SLOW]].concat();
        let (place, duration) = whole(&overrides);
        // The moments are distributed over the whole run, and differ a little from one test to the next.
        let output = place.cut("cut", &overrides, "KILL", duration * i / VARIANTS.len() as u32);
        assert_eq!(output.status.code(), None, "{variant:?}: {}", text(&output.stderr));
        place.succeeds(&["resume", "cut"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("cut"), &format!("{variant:?}"));
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_comes_to_the_same_bytes() {
    let overrides = [VARIANTS[3], &[SLOW]].concat();
    let (place, duration) = whole(&overrides);
    place.cut("cut", &overrides, "KILL", Duration::ZERO);
    for _ in 0..4 {
        let resumed = place.spawn(&["resume", "cut"]);
        std::thread::sleep(duration / 6);
        resumed.signal("KILL");
    }
    place.succeeds(&["resume", "cut"]);
    assert_equal_outcomes(&place.path("whole"), &place.path("cut"), "killed five times");
}

#[test]
fn an_interrupted_run_is_saved_and_says_how_to_go_on() {
    for (signal, variant) in [
        ("INT", VARIANTS[3]),
        ("TERM", VARIANTS[0]),
        ("HUP", VARIANTS[0]),
        ("USR1", VARIANTS[0]),
        ("USR2", VARIANTS[0]),
    ] {
        let overrides = [variant, &[SLOW]].concat();
        let (place, _) = whole(&overrides);
        let output = place.cut("cut", &overrides, signal, Duration::ZERO);
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        let stdout = text(&output.stdout);
        let (what, how) = stdout.trim_end().split_once('\n').unwrap();
        let step = what.strip_prefix("interrupted at environment step ").unwrap().strip_suffix(" and saved").unwrap();
        assert_eq!(how, "to continue: foresee resume cut");
        assert!(!text(&output.stderr).contains("error"), "{}", text(&output.stderr));
        let manifest: serde_json::Value = serde_json::from_str(&place.read("cut/manifest.json")).unwrap();
        assert_eq!(
            (manifest["status"].as_str(), manifest["env_step"].to_string().as_str()),
            (Some("interrupted"), step)
        );
        let newest = checkpoints(&place.path("cut")).pop().unwrap();
        assert!(newest.to_str().unwrap().contains(&format!("step-{:012}", step.parse::<u64>().unwrap())));
        place.succeeds(&["resume", "cut"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("cut"), signal);
    }
}

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let place = Place::new();
    for signal in ["HUP", "INT", "USR1"] {
        let endless = ["training.env_steps=1000000", "training.explore_steps=1000000", "training.checkpoint_every=20"];
        let start = [&["train", "tiny.toml", "--run-dir", signal][..], &endless].concat();
        let training = place.spawn_ignoring(signal, &start);
        place.await_checkpoint(signal, 0);
        training.send(signal);
        let then = newest_step(&place.path(signal)).unwrap();
        place.await_checkpoint(signal, then + 200);
        // Any other signal still saves and ends the run.
        let output = training.signal("TERM");
        assert_eq!(output.status.code(), Some(130), "{signal}: {}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("interrupted at environment step "), "{:?}", text(&output.stdout));
    }
}

#[test]
fn a_run_interrupted_in_the_middle_of_a_fit_or_a_rollout_goes_on_there() {
    const FIT: u64 = 1;
    const IMAGINE: u64 = 2;
    // Each set of keys makes its phase take most of a run.
    for (phase, slow) in [
        (FIT, ["model.fit.max_steps=3000", "model.fit.patience=1000000", "training.env_steps=80"]),
        (IMAGINE, ["rollout.horizon=600", "rollout.starts_per_step=30", "training.env_steps=80"]),
    ] {
        let (place, duration) = whole(&slow);
        let during = |moment: u32| {
            place.cut("cut", &slow, "INT", duration * moment / 20);
            let newest = checkpoints(&place.path("cut")).pop().unwrap();
            let state = arrays(&fs::read(newest.join("state.safetensors")).unwrap());
            state["phase.kind"].1 == phase.to_le_bytes()
        };
        let found = (1..20).cycle().take(100).any(|moment| {
            let found = during(moment);
            if !found {
                fs::remove_dir_all(place.path("cut")).unwrap();
            }
            found
        });
        assert!(found, "no interrupt came in phase {phase}");
        place.succeeds(&["resume", "cut"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("cut"), slow[0]);
    }
}
