//! Signals: a run that was interrupted or killed at any moment goes on as if nothing had been.
#![cfg(unix)]

mod common;

use std::time::Duration;

use common::{Place, VARIANTS, assert_equal_outcomes, text};

/// Updates that take long enough for a signal to come in the middle.
const SLOW: &str = "training.updates_per_step=40";

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
        let newest = common::checkpoints(&place.path("cut")).pop().unwrap();
        assert!(newest.to_str().unwrap().contains(&format!("step-{:012}", step.parse::<u64>().unwrap())));
        place.succeeds(&["resume", "cut"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("cut"), signal);
    }
}
