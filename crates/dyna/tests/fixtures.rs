//! Schedules, the imagined ring and its capacity compared exactly with the numbers of `protocol.json`.
//!
//! The file is in the folder `FORESEE_FIXTURES`, by default `assets/fixtures`, whose README describes how it was made.

#[allow(dead_code)] // Every test file uses its own part of it.
#[path = "../../core/tests/support/fixtures.rs"]
mod files;

use files::fixture;
use foresee_dyna::config::RolloutConfig;
use foresee_dyna::replay::ImaginedBuffer;
use foresee_dyna::schedule::{Schedule, truncated_linear};
use serde_json::Value;

#[track_caller]
fn list(value: &Value) -> &[Value] {
    value.as_array().filter(|items| !items.is_empty()).unwrap_or_else(|| panic!("a list expected, got {value}"))
}

#[track_caller]
fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a count expected, got {value}"))
}

/// Reads a number. JSON has no infinities and no NaN, so the file contains them as strings.
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some(word) => word.parse().unwrap_or_else(|_| panic!("`{word}` is no number")),
        None => value.as_f64().unwrap_or_else(|| panic!("a number expected, got {value}")),
    }
}

fn floats(value: &Value) -> Vec<f32> {
    list(value).iter().map(|x| number(x) as f32).collect()
}

/// Returns `[x0, x1, y0, y1]`, in the reference's order.
fn ends(value: &Value) -> [f64; 4] {
    let ends: Vec<f64> = list(value).iter().map(number).collect();
    ends.try_into().expect("four numbers")
}

#[test]
fn schedules_are_those_of_the_fixtures() {
    for case in list(&fixture("protocol.json")["truncated_linear"]) {
        let [x0, x1, y0, y1] = ends(&case["schedule"]);
        let schedule = Schedule::Linear([y0, y1, x0, x1]);
        for ((x, y), y_int) in list(&case["x"]).iter().zip(list(&case["y"])).zip(list(&case["y_int"])) {
            let place = format!("{} at {x}", case["schedule"]);
            assert_eq!(truncated_linear([x0, x1, y0, y1], number(x)), number(y), "{place}");
            assert_eq!(schedule.at(count(x)), number(y), "{place}");
            assert_eq!(schedule.floor(count(x)) as u64, count(y_int), "{place}");
        }
        assert_eq!(schedule.ends(), [y0, y1]);
    }
}

/// The file stores one number per row. Here all fields of two-dimensional observations and actions are derived from it.
#[test]
fn the_imagined_ring_fills_and_wraps_as_in_the_fixtures() {
    let fixture = &fixture("protocol.json")["sac_ring_buffer"];
    let capacity = count(&fixture["capacity"]) as usize;
    let mut ring = ImaginedBuffer::new(capacity, 2, 1);
    // The file has a row's `not_done` only in the stored content, so it is looked up in the content of the row's own
    // step.
    for step in list(&fixture["steps"]) {
        let (content, not_done) = (floats(&step["content"]), floats(&step["not_done"]));
        for x in floats(&step["added"]) {
            let at = content.iter().position(|&stored| stored == x).expect("a step's rows outlive it");
            ring.push(&[x, -x], &[x / 32.0], 0.5 * x, &[x + 1.0, x + 2.0], not_done[at] == 0.0);
        }
        assert_eq!(ring.len() as u64, count(&step["len"]));
        assert_eq!(ring.len() == capacity, step["full"].as_bool().expect("a flag"));
        assert_eq!(ring.position() as u64, count(&step["idx"]));
        let rows = ring.rows();
        assert_eq!(rows.not_terminated, not_done);
        let each = |of: &dyn Fn(f32) -> Vec<f32>| content.iter().flat_map(|&x| of(x)).collect::<Vec<_>>();
        assert_eq!(rows.obs, each(&|x| vec![x, -x]));
        assert_eq!(rows.action, each(&|x| vec![x / 32.0]));
        assert_eq!(rows.reward, each(&|x| vec![0.5 * x]));
        assert_eq!(rows.next_obs, each(&|x| vec![x + 1.0, x + 2.0]));
    }
}

/// The reference counts epochs from 0, and evaluates its schedule, whose ends are epochs, at epoch + 1. Here schedules
/// count real steps. The ends of its schedule are therefore multiplied by the length of an epoch, and its epoch e is
/// the real step (e + 1) · length.
#[test]
fn the_imagined_capacity_is_that_of_the_fixtures() {
    for case in list(&fixture("protocol.json")["sac_buffer_capacity"]) {
        let epoch_length = count(&case["epoch_length"]);
        let [x0, x1, y0, y1] = ends(&case["rollout_schedule"]);
        let rollout = RolloutConfig {
            starts_per_step: count(&case["rollouts_per_step"]) as usize,
            horizon: Schedule::Linear([y0, y1, x0 * epoch_length as f64, x1 * epoch_length as f64]),
            retain_epochs: count(&case["retain"]) as usize,
            ..RolloutConfig::default()
        };
        let expected = list(&case["rollout_length"]).iter().zip(list(&case["capacity"]));
        for (epoch, (horizon, capacity)) in list(&case["epoch"]).iter().zip(expected) {
            let step = (count(epoch) + 1) * epoch_length;
            assert_eq!(rollout.horizon.floor(step) as u64, count(horizon), "{case}, epoch {epoch}");
            let got = rollout.capacity(step, count(&case["freq_train_model"]), epoch_length);
            assert_eq!(got as u64, count(capacity), "{case}, epoch {epoch}");
        }
    }
}
