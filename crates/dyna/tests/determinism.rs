//! Tests that a run depends only on its configuration: not on periodic jobs that only observe it, nor on the number of
//! threads.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::scalar::{self, Net};
use common::{KINDS, WITH_BLOCKS, differing, finish, reported, tiny, tiny_of, whole};
use foresee_core::{State, Stream};
use foresee_dyna::{Config, Run, checkpoint, metrics};
use foresee_env::Environment;
use foresee_env::config::{EnvConfig, FamilyConfig, Range, Steps};
use foresee_nn::ValueHeads;
use foresee_world_model::LossConfig;
use serde_json::Value;

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for kind in WITH_BLOCKS {
        let config = tiny_of(kind);
        let (records, state) = whole(&config);
        let (again, state_again) = whole(&config);
        assert_eq!(again, records, "{kind:?}");
        assert_eq!(differing(&state_again, &state), [""; 0], "{kind:?}");

        let mut other = config;
        other.seed += 1;
        let (other_records, other_state) = whole(&other);
        assert_ne!(other_records, records, "{kind:?}");
        let changed = differing(&other_state, &state);
        for name in ["agent.actor.weight.0", "agent.critic.weight.0", "episode.obs", "replay.real.action"] {
            assert!(changed.iter().any(|changed| changed == name), "{kind:?}: `{name}` under another seed");
        }
    }
}

#[test]
fn clocks_that_only_look_change_nothing_but_the_evaluations() {
    for kind in WITH_BLOCKS {
        let config = tiny_of(kind);
        let (_, state) = whole(&config);
        let mut looked_at = config.clone();
        looked_at.training.eval_every = 33;
        looked_at.training.log_every = 1;
        looked_at.training.eval_episodes = 3;
        looked_at.training.checkpoint_every = 7;
        let (_, other) = whole(&looked_at);
        assert_eq!(differing(&other, &state), ["evaluations"], "{kind:?}");
    }
}

#[test]
fn evaluating_in_between_changes_nothing() {
    for kind in KINDS {
        let config = tiny(kind);
        let (records, state) = whole(&config);
        let mut run = Run::new(&config).expect("a possible configuration");
        let mut looked_at = Vec::new();
        let mut slices = 0;
        while !run.is_done() {
            run.advance(&mut looked_at).expect("a tiny run goes well");
            slices += 1;
            if run.env_step() > 192 && slices % 5 == 0 {
                let before = run.snapshot().expect("a device that answers");
                let outcome = run.evaluate(1).expect("a healthy policy");
                assert_eq!(run.evaluate(1).expect("a healthy policy"), outcome);
                assert_eq!(differing(&run.snapshot().expect("a device that answers"), &before), [""; 0]);
            }
        }
        assert_eq!(looked_at, records, "{kind:?}");
        assert_eq!(differing(&run.snapshot().expect("a device that answers"), &state), [""; 0], "{kind:?}");
    }
}

#[test]
fn an_evaluation_that_is_stopped_is_begun_anew() {
    for kind in KINDS {
        let config = tiny(kind);
        let (records, state) = whole(&config);
        let mut run = Run::new(&config).expect("a possible configuration");
        let (mut looked_at, mut stops) = (Vec::new(), 0);
        let stop = Arc::new(AtomicBool::new(false));
        run.stop_by(Arc::clone(&stop));
        while !run.is_done() {
            let (due, before) = (run.phase() == "update" && run.evaluations() == [None; 2], run.evaluations());
            stop.store(due && stops < 3, Ordering::Relaxed);
            run.advance(&mut looked_at).expect("a tiny run goes well");
            if stop.load(Ordering::Relaxed) && run.env_step() == 70 {
                stops += 1;
                assert_eq!((run.phase(), run.evaluations()), ("evaluate", before), "{kind:?}");
                // Restores the run, as after an interruption at this point.
                run = Run::restore(&config, run.snapshot().expect("a device that answers")).expect("its own state");
                run.stop_by(Arc::clone(&stop));
            }
        }
        assert_eq!(stops, 3, "{kind:?}");
        assert_eq!(looked_at, records, "{kind:?}");
        assert_eq!(differing(&run.snapshot().expect("a device that answers"), &state), [""; 0], "{kind:?}");
    }
}

#[test]
fn a_long_evaluation_takes_several_slices_and_starts_again_after_a_restore() {
    let mut config = tiny(None);
    config.env = EnvConfig::new("MountainCarContinuous-v0");
    config.training.updates_per_step = Some(1);
    (config.training.explore_steps, config.training.env_steps, config.training.eval_every) = (60, 75, 70);
    let (records, state) = whole(&config);
    let mut run = Run::new(&config).expect("a possible configuration");
    let (mut seen, mut looked_at) = (Vec::new(), Vec::new());
    while !run.is_done() {
        run.advance(&mut looked_at).expect("a tiny run goes well");
        let Some(progress) = run.evaluation_progress() else { continue };
        assert_eq!(run.phase(), "evaluate");
        seen.push((run.env_step(), progress.finished, progress.episodes, progress.step));
        if seen.len() == 2 {
            run = Run::restore(&config, run.snapshot().expect("a device that answers")).expect("its own state");
            assert_eq!((run.phase(), run.evaluation_progress()), ("update", None));
        }
    }
    // Two episodes of 999 steps side by side, 250 steps a slice.
    let slices = |env_step| [250, 500, 750].map(|step| (env_step, 0, 2, step));
    assert_eq!(seen, [&slices(70)[..2], &slices(70), &slices(75)].concat());
    assert_eq!(looked_at, records);
    assert_eq!(differing(&run.snapshot().expect("a device that answers"), &state), [""; 0]);
}

/// Computes, by a second implementation, the return of an actor's mean action from the start of episode
/// `episode` of `eval/reset`.
fn return_by_hand(config: &Config, state: &State, episode: u32) -> f64 {
    return_in(config.env.make(config.seed).expect("a possible environment"), config, state, episode)
}

/// Computes the return of an actor's mean action in `env`, from the start of episode `episode` of
/// `eval/reset`.
fn return_in(mut env: Box<dyn Environment>, config: &Config, state: &State, episode: u32) -> f64 {
    let actor = Net::new(state, "agent.actor.", 0, scalar::relu);
    let seed = Stream::new(config.seed, "eval/reset").at(0, episode).bits64();
    let mut obs = env.reset(Some(seed)).expect("a reset").obs;
    let mut total = 0.0;
    loop {
        let action = scalar::action(&actor, &obs, &[0.0])[0] as f32;
        let step = env.step(&[action]).expect("a step");
        total += step.reward;
        obs = step.obs;
        if step.terminated || step.truncated {
            return total;
        }
    }
}

#[test]
fn every_evaluation_of_every_loss_begins_at_the_same_starts() {
    let mut fresh = Vec::new();
    for kind in KINDS {
        let config = tiny(kind);
        let mut run = Run::new(&config).expect("a possible configuration");
        fresh.push(run.evaluate(3).expect("a healthy policy"));
        // No training happens before step 195, so the evaluations at 70 and 140 have equal policies and equal starts.
        let records = finish(&mut run);
        let means = reported(&records, metrics::EVAL_RETURN);
        assert_eq!(means.iter().map(|&(step, _)| step).collect::<Vec<_>>(), [70, 140, 205]);
        assert_eq!(means[0].1, means[1].1, "{kind:?}");
        assert_ne!(means[0].1, means[2].1, "{kind:?}: the policy was trained");
        // After the training the starts are still those of `eval/reset` at step 0.
        let (outcome, state) =
            (run.evaluate(3).expect("a healthy policy"), run.snapshot().expect("a device that answers"));
        for (episode, (&got, &length)) in (0..).zip(outcome.returns.iter().zip(&outcome.lengths)) {
            let want = return_by_hand(&config, &state, episode);
            assert!((got - want).abs() < 1e-3 * want.abs(), "{kind:?}, episode {episode}: {got}, expected {want}");
            assert_eq!(length, 200);
        }
        assert!((means[2].1 - (outcome.returns[0] + outcome.returns[1]) / 2.0).abs() < 1e-3 * means[2].1.abs());
    }
    assert!(fresh.iter().all(|outcome| *outcome == fresh[0]), "the same policy, the same returns: {fresh:?}");
    assert_ne!(fresh[0].returns[0], fresh[0].returns[1]);
}

#[test]
fn an_evaluation_plays_the_family_and_the_distractors_of_its_run() {
    let mut config = tiny(None);
    config.env.distractors = 4;
    config.env.family =
        FamilyConfig { mass: Range::Uniform([0.5, 2.0]), delay: Steps::Fixed(2), ..FamilyConfig::default() };
    let mut run = Run::new(&config).expect("a possible configuration");
    let (outcome, state) = (run.evaluate(3).expect("a healthy policy"), run.snapshot().expect("a device that answers"));
    for (episode, got) in (0..).zip(outcome.returns) {
        let tolerance = 1e-3 * got.abs();
        let by_hand = |env_config: &Config, seed| {
            return_in(env_config.env.make(seed).expect("a possible environment"), &config, &state, episode)
        };
        let want = by_hand(&config, config.seed);
        assert!((got - want).abs() < tolerance, "episode {episode}: {got}, expected {want}");
        let others = by_hand(&config, config.seed + 1);
        assert!((got - others).abs() > tolerance, "episode {episode}: the same under another run's distractors");
        let mut nominal = config.clone();
        nominal.env.family = FamilyConfig::default();
        assert!(
            (got - by_hand(&nominal, config.seed)).abs() > tolerance,
            "episode {episode}: the same in the task itself"
        );
    }
}

#[test]
fn heads_and_the_way_through_the_policy_matter_to_the_losses_that_ask_for_them() {
    for (kind, [heads_matter, policy_matters]) in [
        ("mse", [false, false]),
        ("vagram", [true, true]),
        ("itervaml", [true, true]),
        ("value_weighted", [true, false]),
    ] {
        let config = tiny(Some(kind));
        let (_, state) = whole(&config);
        let model_differs = |change: &dyn Fn(&mut LossConfig)| {
            let mut other = config.clone();
            change(&mut other.model.loss);
            differing(&whole(&other).1, &state).iter().any(|name| name.starts_with("model."))
        };
        assert_eq!(model_differs(&|loss| loss.heads = ValueHeads::Target), heads_matter, "{kind:?}: heads");
        assert_eq!(model_differs(&|loss| loss.through_policy = true), policy_matters, "{kind:?}: through_policy");
    }
}

/// A configuration with networks and batches for which Burn's Flex backend splits its matrix products over threads. It
/// does so from 192³ multiplications in one product, or 128³ in a batch of products (burn-flex 0.22.1,
/// `ops/matmul.rs`).
fn wide() -> Config {
    let mut config = tiny(Some("vagram"));
    config.training.explore_steps = 600;
    config.training.env_steps = 603;
    config.training.updates_per_step = Some(5);
    config.training.eval_every = 10_000;
    config.agent = common::agent(&[192, 192], 256);
    config.model.ensemble.members = 4;
    config.model.ensemble.hidden = vec![128, 128];
    config.model.fit.batch = 256;
    config.model.fit.max_steps = 30;
    config.rollout.starts_per_step = 400;
    config
}

/// The configuration of [`wide`] for a run in blocks. Its batches have three groups of panels, and the last panel is
/// not full.
fn wide_with_blocks() -> Config {
    let mut config = wide();
    let blocks = tiny_of(Some("dhmbpo vagram"));
    (config.algo, config.agent) = (blocks.algo, common::agent(&[64, 64], 300));
    config.double_horizon = blocks.double_horizon;
    config.double_horizon.pool = 400;
    config.training.updates_per_step = Some(1);
    config.training.explore_steps = 594;
    config
}

/// Rayon reads `RAYON_NUM_THREADS` once per process, so this test runs itself in separate processes.
#[test]
fn the_number_of_threads_changes_nothing() {
    const FOLDER: &str = "FORESEE_TEST_STATE_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        for (i, config) in [wide(), wide_with_blocks()].iter().enumerate() {
            let folder = Path::new(&folder).join(i.to_string());
            std::fs::create_dir(&folder).expect("a folder to write to");
            checkpoint::save(&folder, 0, &whole(config).1, &Value::Null, 1).expect("a disk with room");
        }
        return;
    }
    let states = ["1", "2", "3"].map(|threads| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let this = std::env::current_exe().expect("the path of this test");
        let mut child = Command::new(this);
        child.args(["--exact", "the_number_of_threads_changes_nothing"]);
        child.env(FOLDER, folder.path()).env("RAYON_NUM_THREADS", threads);
        let output = child.output().expect("this test runs");
        assert!(output.status.success(), "{threads} threads: {}", String::from_utf8_lossy(&output.stdout));
        ["0", "1"].map(|run| checkpoint::load(&folder.path().join(run)).expect("the child's state").state)
    });
    for (threads, own) in [2, 3].into_iter().zip(&states[1..]) {
        for (run, (state, alone)) in own.iter().zip(&states[0]).enumerate() {
            assert_eq!(differing(state, alone), [""; 0], "run {run}: {threads} threads and one");
        }
    }
}
