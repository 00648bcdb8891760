//! A run on a GPU from the command line: it trains its model twice, twice the same, and goes on after a cut, there or on
//! the processor.

mod common;

use common::{Place, assert_equal_outcomes};
use foresee::nn::device::wgpu_of_test;

/// Of the tiny run: 60 real steps, with fits after 40 and 60.
const SHORT: &[&str] = &["device=wgpu", "training.env_steps=60", "model.fit.max_steps=20", "model.loss.kind=vagram"];

#[test]
fn a_run_on_a_gpu_trains_repeats_itself_and_is_resumed() {
    if wgpu_of_test("a_run_on_a_gpu_trains_repeats_itself_and_is_resumed").is_none() {
        return;
    }
    let place = Place::new();
    for run in ["one", "other"] {
        place.train(run, SHORT);
    }
    assert_equal_outcomes(&place.path("one"), &place.path("other"), "the same seed");
    let metrics = place.read("one/metrics.jsonl");
    assert_eq!(metrics.matches("model/holdout_score").count(), 2, "{metrics}");

    for run in ["there", "elsewhere"] {
        place.train(run, &[SHORT, &["training.env_steps=40"]].concat());
    }
    place.succeeds(&["resume", "there", "training.env_steps=60"]);
    assert_equal_outcomes(&place.path("one"), &place.path("there"), "cut and resumed");
    place.succeeds(&["resume", "elsewhere", "training.env_steps=60", "device=cpu"]);
}
