//! Termination rules against the numbers of `protocol.json`, exactly. The folder is `FORESEE_FIXTURES`, or else
//! `assets/fixtures`, whose README describes the origin of the file.

#[allow(dead_code)] // Every test file uses its own part of it.
#[path = "../../core/tests/support/fixtures.rs"]
mod files;

use files::fixture;
use foresee_core::Termination;
use foresee_env::make;
use foresee_env::mujoco::rules;
use serde_json::Value;

fn rules_of_protocol() -> Value {
    fixture("protocol.json")["termination"].take()
}

#[track_caller]
fn list(value: &Value) -> &[Value] {
    value.as_array().filter(|items| !items.is_empty()).unwrap_or_else(|| panic!("a list expected, got {value}"))
}

/// Reads a number. JSON has no infinities and no NaN, so the file has them as strings.
fn number(value: &Value) -> f32 {
    let number = match value.as_str() {
        Some(word) => word.parse().unwrap_or_else(|_| panic!("`{word}` is no number")),
        None => value.as_f64().unwrap_or_else(|| panic!("a number expected, got {value}")),
    };
    number as f32
}

/// Returns the reference's rule, which lacks the lower bounds on the state.
fn one_sided_hopper() -> Termination {
    let mut rule = rules::hopper();
    for bound in &mut rule.bounds {
        if bound.low == -100.0 {
            bound.low = f32::NEG_INFINITY;
        }
    }
    rule
}

#[test]
fn termination_rules_as_data_are_those_of_the_fixtures() {
    let cart_pole = make("CartPoleContinuous-v0").unwrap().spec().termination.clone().unwrap();
    let rules = [
        ("hopper", "done", one_sided_hopper()),
        ("hopper", "done_two_sided", rules::hopper()),
        ("walker2d", "done", rules::walker2d()),
        ("ant", "done", rules::ant()),
        ("humanoid", "done", rules::humanoid()),
        ("inverted_pendulum", "done", rules::inverted_pendulum()),
        ("cartpole", "done", cart_pole),
        ("no_termination", "done", Termination::never()),
    ];
    let fixture = rules_of_protocol();
    for name in fixture.as_object().expect("rules by name").keys() {
        assert!(rules.iter().any(|(known, ..)| known == name), "`{name}` has no rule here");
    }
    for (name, key, rule) in rules {
        let (states, done) = (list(&fixture[name]["next_obs"]), list(&fixture[name][key]));
        assert_eq!(states.len(), done.len());
        for (i, (state, done)) in states.iter().zip(done).enumerate() {
            let obs: Vec<f32> = list(state).iter().map(number).collect();
            assert_eq!(Some(rule.terminated(&[], &obs)), done.as_bool(), "{name}, {key}, row {i}: {state}");
        }
    }
}
