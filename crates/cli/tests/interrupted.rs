//! Signals: a run that was interrupted or killed at any moment goes on as if nothing had been.
#![cfg(unix)]

mod common;

use std::fs;
use std::time::Duration;

use common::{Place, VARIANTS, arrays, assert_equal_outcomes, checkpoints, text};

/// Updates that take long enough for a signal to come in the middle.
const SLOW: &str = "training.updates_per_step=240";

/// The uninterrupted run of a variant, in the folder `whole`.
fn whole(overrides: &[&str]) -> Place {
    let place = Place::new();
    place.train("whole", &[overrides, &[SLOW]].concat());
    place
}

#[test]
fn a_killed_run_is_resumed_to_the_same_bytes() {
    for (i, overrides) in VARIANTS.iter().enumerate() {
        let place = whole(overrides);
        let training = place.started("cut", &[overrides, &[SLOW][..]].concat());
        // The moments differ from variant to variant and, by the machine's load, from time to time.
        std::thread::sleep(Duration::from_millis(37 * i as u64));
        assert_eq!(training.signal("KILL").status.code(), None);
        place.succeeds(&["resume", "cut"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("cut"), &format!("{overrides:?}"));
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_comes_to_the_same_bytes() {
    let overrides = VARIANTS[3];
    let place = whole(overrides);
    place.started("cut", &[overrides, &[SLOW]].concat()).signal("KILL");
    for kills in 0..4 {
        let resumed = place.spawn(&["resume", "cut"]);
        std::thread::sleep(Duration::from_millis(60 + 45 * kills));
        resumed.signal("KILL");
    }
    place.succeeds(&["resume", "cut"]);
    assert_equal_outcomes(&place.path("whole"), &place.path("cut"), "killed five times");
}

#[test]
fn an_interrupted_run_is_saved_and_says_how_to_go_on() {
    for (signal, overrides) in [("INT", VARIANTS[3]), ("TERM", VARIANTS[0])] {
        let place = whole(overrides);
        let output = place.started("cut", &[overrides, &[SLOW]].concat()).signal(signal);
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let (what, how) = said.trim_end().split_once('\n').unwrap();
        let step = what.strip_prefix("interrupted at environment step ").unwrap().strip_suffix(" and saved").unwrap();
        assert_eq!(how, "go on: foresee resume cut");
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
fn a_run_interrupted_in_the_middle_of_a_fit_or_a_rollout_goes_on_there() {
    const FIT: u64 = 1;
    const IMAGINE: u64 = 2;
    for (phase, slow) in [
        (FIT, ["model.fit.max_steps=3000", "model.fit.patience=1000000", "training.env_steps=80"]),
        (IMAGINE, ["rollout.horizon=600", "rollout.starts_per_step=30", "training.env_steps=80"]),
    ] {
        let place = Place::new();
        place.train("whole", &slow);
        let mut training = place.started("cut", &slow);
        let mut attempts = 0;
        loop {
            std::thread::sleep(Duration::from_millis(40));
            training.signal("INT");
            let newest = checkpoints(&place.path("cut")).pop().unwrap();
            let state = arrays(&fs::read(newest.join("state.safetensors")).unwrap());
            if state["phase.kind"].1 == phase.to_le_bytes() {
                break;
            }
            attempts += 1;
            assert!(attempts < 100, "no interrupt came in phase {phase}");
            training = place.spawn(&["resume", "cut"]);
        }
        place.succeeds(&["resume", "cut"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("cut"), slow[0]);
    }
}
