//! Tests of runs on a task with distractors and with a family of dynamics.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use common::{KINDS, array, assert_cuts_change_nothing, finish, reported, tiny, whole};
use foresee_dyna::{Config, Run, RunError, metrics};
use foresee_env::config::{FamilyConfig, Range, Steps};

const DISTRACTORS: usize = 10;
/// Number of channels of Pendulum-v1: three observation entries, and the reward.
const TASK_CHANNELS: f64 = 4.0;

fn distracted(loss: Option<&'static str>) -> Config {
    let mut config = tiny(loss);
    config.env.distractors = DISTRACTORS;
    config
}

#[test]
fn a_run_with_distractors_reports_the_models_error_on_them_and_on_the_task_apart() {
    for kind in KINDS {
        let (records, state) = whole(&distracted(kind));
        assert_eq!(array(&state, "replay.real.obs").shape, [205, 3 + DISTRACTORS]);
        let [all, task, distracting] =
            [metrics::MODEL_HOLDOUT_MSE, metrics::MODEL_HOLDOUT_MSE_TASK, metrics::MODEL_HOLDOUT_MSE_DISTRACTORS]
                .map(|metric| reported(&records, metric));
        assert_eq!([all.len(), task.len(), distracting.len()], [if kind.is_some() { 4 } else { 0 }; 3], "{kind:?}");
        for ((all, task), distracting) in all.into_iter().zip(task).zip(distracting) {
            let (n, error) = (DISTRACTORS as f64, |(_, error): (u64, f64)| error);
            let mean = (TASK_CHANNELS * error(task) + n * error(distracting)) / (TASK_CHANNELS + n);
            assert!((mean - error(all)).abs() < 1e-4 * mean, "{kind:?}: {mean}, {all:?}");
            // A tiny model cannot predict the distractors, which jump between numbers up to 20.
            assert!(error(distracting) > error(task), "{kind:?}: {task:?}, {distracting:?}");
        }
    }
}

#[test]
fn a_run_without_distractors_reports_one_error() {
    let (records, _) = whole(&tiny(Some("mse")));
    for metric in [metrics::MODEL_HOLDOUT_MSE_TASK, metrics::MODEL_HOLDOUT_MSE_DISTRACTORS] {
        assert!(reported(&records, metric).is_empty(), "{metric}");
    }
}

#[test]
fn a_wrapped_run_cut_after_every_slice_ends_bit_for_bit_like_an_uninterrupted_one() {
    for kind in [None, Some("vagram")] {
        let mut config = distracted(kind);
        let wide = Range::Uniform([0.5, 2.0]);
        config.env.family =
            FamilyConfig { mass: wide, length: wide, gravity: wide, delay: Steps::Uniform([1, 3]), sensor_noise: wide };
        let (records, state) = whole(&config);
        assert_cuts_change_nothing(&config, &records, &state, &format!("{kind:?}"));
    }
}

#[test]
fn a_state_of_a_run_around_which_something_else_was_laid_is_refused_with_a_hint() {
    let config = distracted(None);
    let mut run = Run::new(&config).expect("a possible configuration");
    run.advance(&mut Vec::new()).expect("a tiny run goes well");
    let state = run.snapshot().expect("a device that answers");
    let refusal = |change: &dyn Fn(&mut Config)| {
        let mut config = config.clone();
        change(&mut config);
        Run::restore(&config, state.clone()).err().expect("a refusal")
    };
    let noisy = FamilyConfig { sensor_noise: Range::Fixed(0.1), ..FamilyConfig::default() };
    for error in [refusal(&|c| c.env.distractors = 9), refusal(&|c| c.env.family = noisy)] {
        assert!(matches!(error, RunError::State(_) | RunError::OtherPart { .. } | RunError::Config(_)), "{error:?}");
        assert!(error.to_string().contains("\nhint: "), "{error}");
    }
    finish(&mut Run::restore(&config, state).expect("its own state"));
}
