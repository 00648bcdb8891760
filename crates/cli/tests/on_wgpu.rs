//! A run on a GPU from the command line. It trains its model twice, with the same result in a second run, and is
//! resumed after an interruption on the GPU or on the processor. It ends with an error if the device is lost, and is
//! refused if a buffer would be too large for the device.

mod common;

use common::{Place, assert_equal_outcomes, text};
use foresee::nn::device::{largest_buffer, wgpu_of_test};

/// Overrides of the tiny run: 60 real steps, with fits after 40 and 60.
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

#[test]
fn a_run_whose_device_is_lost_says_how_to_go_on_and_does() {
    if wgpu_of_test("a_run_whose_device_is_lost_says_how_to_go_on_and_does").is_none() {
        return;
    }
    let mut place = Place::new();
    place.train("whole", SHORT);
    for step in ["1", "41", "47"] {
        let run = format!("lost-at-{step}");
        place.with("FORESEE_TEST_DEVICE_LOST_AT", step);
        let output = place.run(&[&["train", "tiny.toml", "--run-dir", &run], SHORT].concat());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(!message.contains("panicked") && !message.contains("backtrace"), "{message}");
        let saved = if step == "1" { 0 } else { 40 };
        let way_back = format!("the run is saved up to environment step {saved}\nto continue: foresee resume {run}");
        assert!(message.contains("the device `wgpu` failed: ") && message.contains(&way_back), "{message}");
        place.without(&["FORESEE_TEST_DEVICE_LOST_AT"]);
        place.succeeds(&["resume", &run]);
        assert_equal_outcomes(&place.path("whole"), &place.path(&run), "lost and resumed");
    }
}

#[test]
fn a_run_whose_buffers_would_outgrow_the_device_is_refused_with_the_key_to_lower() {
    let Some(gpu) = wgpu_of_test("a_run_whose_buffers_would_outgrow_the_device_is_refused") else { return };
    // Three numbers per state, three imagined steps at the end, two training calls per epoch.
    let fits = largest_buffer(&gpu).expect("a GPU's bound") as usize / 4 / 3 / (3 * 20 * 2);
    let place = Place::new();
    for (verb, starts) in [("check", fits + 1), ("train", fits + 1), ("train", 20 * fits)] {
        let starts = format!("rollout.starts_per_step={starts}");
        let message = place.refuses(&[verb, "tiny.toml", "device=wgpu", &starts]);
        assert!(
            message.contains("`rollout.starts_per_step`")
                && message.contains(&format!("at most {fits} with `device=wgpu`")),
            "{message}"
        );
        assert!(place.succeeds(&["check", "tiny.toml", &starts]).contains("starts_per_step"), "on the processor");
    }
    place.succeeds(&["check", "tiny.toml", "device=wgpu", &format!("rollout.starts_per_step={fits}")]);
}
