//! Tests that a run that is cut anywhere and restored continues bit for bit, and that a state of another configuration
//! is refused.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{KINDS, WITH_BLOCKS, differing, finish, numbers, tiny, tiny_of, whole};
use foresee_core::{State, Stream};
use foresee_dyna::{Algo, Config, Record, Run, RunError, checkpoint, metrics};
use foresee_world_model::LossConfig;
use serde_json::Value;

/// Makes a whole run that is cut before each slice for which `cut`, given the number of slices done, returns true. A
/// cut saves and restores the run, through a checkpoint in `disk` if it is given. Also returns the number of slices,
/// and the phases in which the run was cut.
fn with_cuts(
    config: &Config,
    disk: Option<&Path>,
    cut: impl Fn(u64) -> bool,
) -> (Vec<Record>, State, u64, BTreeSet<&'static str>) {
    let mut run = Run::new(config).expect("a possible configuration");
    let (mut records, mut slices, mut phases) = (Vec::new(), 0, BTreeSet::new());
    while !run.is_done() {
        if cut(slices) {
            phases.insert(run.phase());
            let mut state = run.snapshot().expect("a device that answers");
            // A save waits for the disk, so only every 29th cut is saved there. The number is coprime to the cycle of
            // the phases.
            if let Some(root) = disk.filter(|_| slices.is_multiple_of(29)) {
                checkpoint::save(root, slices, &state, &Value::Null, 1).expect("a disk with room");
                state = checkpoint::load(root).expect("what was just saved").state;
            }
            run = Run::restore(config, state).expect("its own state");
        }
        run.advance(&mut records).expect("a tiny run goes well");
        slices += 1;
    }
    (records, run.snapshot().expect("a device that answers"), slices, phases)
}

#[test]
fn a_run_cut_after_every_slice_ends_bit_for_bit_like_an_uninterrupted_one() {
    for kind in WITH_BLOCKS {
        let config = tiny_of(kind);
        let (records, state) = whole(&config);
        let disk = tempfile::tempdir().expect("a temporary folder");
        let (cut_records, cut_state, _, phases) = with_cuts(&config, Some(disk.path()), |_| true);
        assert_eq!(cut_records, records, "{kind:?}");
        assert_eq!(differing(&cut_state, &state), [""; 0], "{kind:?}");
        let expected: &[&str] =
            if kind.is_some() { &["act", "fit model", "imagine", "update"] } else { &["act", "update"] };
        assert_eq!(phases.into_iter().collect::<Vec<_>>(), expected, "{kind:?}");
    }
}

#[test]
fn a_run_cut_at_two_random_slices_ends_bit_for_bit_like_an_uninterrupted_one() {
    for (substream, kind) in (0..).zip(WITH_BLOCKS) {
        let config = tiny_of(kind);
        let (records, state, slices, _) = with_cuts(&config, None, |_| false);
        for pair in 0..3 {
            // Training is at the end of the run, so one of the cuts is placed there.
            let mut draws = Stream::new(0, "test/cuts").at(pair, substream);
            let cuts = [draws.below(slices as usize), slices as usize - 1 - draws.below(slices as usize / 8)];
            let (cut_records, cut_state, ..) = with_cuts(&config, None, |done| cuts.contains(&(done as usize)));
            assert_eq!(cut_records, records, "{kind:?}, cut at {cuts:?} of {slices}");
            assert_eq!(differing(&cut_state, &state), [""; 0], "{kind:?}, cut at {cuts:?} of {slices}");
        }
    }
}

/// Returns the state before the first slice of a phase at which at least `env_step` real steps were taken.
fn state_in(config: &Config, phase: &str, env_step: u64) -> State {
    let mut run = Run::new(config).expect("a possible configuration");
    while run.phase() != phase || run.env_step() < env_step {
        run.advance(&mut Vec::new()).expect("a tiny run goes well");
    }
    run.snapshot().expect("a device that answers")
}

#[test]
fn a_state_of_another_configuration_is_refused_with_a_hint() {
    let vagram = tiny(Some("vagram"));
    let changed = |change: &dyn Fn(&mut Config)| {
        let mut config = vagram.clone();
        change(&mut config);
        config
    };
    let others = [
        ("the agent's width", changed(&|c| c.agent = common::agent(&[9], 8))),
        ("the agent's depth", changed(&|c| c.agent = common::agent(&[8, 8], 8))),
        ("the model's width", changed(&|c| c.model.ensemble.hidden = vec![8, 7])),
        ("the model's depth", changed(&|c| c.model.ensemble.hidden = vec![8])),
        ("more members", changed(&|c| c.model.ensemble.members = 4)),
        ("another head", changed(&|c| c.model.loss.kind = "mle".into())),
        ("another algorithm", changed(&|c| c.algo = Algo::ModelFree)),
    ];
    for phase in ["act", "fit model", "imagine", "update"] {
        let state = state_in(&vagram, phase, 198);
        for (what, config) in &others {
            let error = Run::restore(config, state.clone()).err().unwrap_or_else(|| panic!("{what}, in {phase}"));
            let fits = match *what {
                "another algorithm" => {
                    error.to_string().starts_with("`algo` is `model_free`, but the run began with `mbpo`")
                }
                agent if agent.contains("agent") => matches!(error, RunError::OtherPart { section: "agent", .. }),
                _ => matches!(error, RunError::OtherPart { section: "model", .. }),
            };
            assert!(fits, "{what}, in {phase}: {error:?}");
            assert!(error.to_string().contains("\nhint: "), "{error}");
        }
    }
    for kind in [Some("mle"), None] {
        let state = state_in(&tiny(kind), "update", 198);
        let error = Run::restore(&vagram, state).err().expect("a refusal");
        assert!(matches!(error, RunError::OtherPart { .. } | RunError::Config(_)), "from {kind:?}: {error:?}");
    }
}

#[test]
fn a_half_done_fit_is_not_continued_under_another_model_section() {
    let vagram = tiny(Some("vagram"));
    let changes: [&dyn Fn(&mut Config); 4] =
        [&|c| c.model.fit.batch *= 4, &|c| c.model.fit.holdout = 0.4, &|c| c.model.loss.kind = "mse".into(), &|c| {
            c.model.loss = LossConfig { add_mse_until: 5, ..LossConfig::named("vagram").with("clip_quantile", 0.5) }
        }];
    for change in changes {
        let mut config = vagram.clone();
        change(&mut config);
        let state = state_in(&vagram, "fit model", 198);
        let error = Run::restore(&config, state.clone()).err().expect("a refusal").to_string();
        assert!(
            error.starts_with("this checkpoint was saved during a fit of the model, so `[model]` cannot change"),
            "{error}"
        );
        // The way that the hint shows.
        let mut shorter = vagram.clone();
        shorter.training.env_steps = numbers(&state, "counters.env_step")[0] as u64;
        assert!(error.contains(&format!("training.env_steps={}`", shorter.training.env_steps)), "{error}");
        let mut run = Run::restore(&shorter, state).expect("the run's own model");
        finish(&mut run);
        finish(
            &mut Run::restore(&config, run.snapshot().expect("a device that answers")).expect("no fit is under way"),
        );
        finish(&mut Run::restore(&config, state_in(&vagram, "update", 198)).expect("no fit is under way"));
    }
}

#[test]
fn a_run_keeps_its_seed() {
    let config = tiny(None);
    let other = Config { seed: config.seed + 1, ..config.clone() };
    let error = Run::restore(&other, state_in(&config, "act", 198)).err().expect("a refusal");
    assert!(error.to_string().starts_with(&format!("`seed` is {}, but the run began with", other.seed)), "{error}");
}

#[test]
fn a_state_with_any_one_array_missing_is_refused() {
    for phase in ["fit model", "imagine", "update"] {
        let config = tiny(Some("mle"));
        let whole = state_in(&config, phase, 198);
        for (name, _) in whole.iter() {
            let mut state = whole.clone();
            state.take(name).expect("its own array");
            assert!(Run::restore(&config, state).is_err(), "without `{name}`, in {phase}");
        }
    }
}

#[test]
fn a_run_that_is_extended_is_the_long_run_except_for_the_evaluation_at_its_first_end() {
    for kind in KINDS {
        let long = tiny(kind);
        // The first end is before, at and after the first fit, and before and after the time limit.
        for end in [100, 195, 202] {
            let mut short = long.clone();
            short.training.env_steps = end;
            let (mut records, state) = whole(&short);
            let evaluation = records.pop().expect("a run ends with an evaluation");
            assert_eq!((evaluation.env_step, evaluation.values[0].0), (end, metrics::EVAL_RETURN));

            let mut run = Run::restore(&long, state).expect("the same run, longer");
            assert!(!run.is_done());
            records.extend(finish(&mut run));
            let (long_records, long_state) = whole(&long);
            assert_eq!(records, long_records, "{kind:?}, extended at {end}");
            let (state, first) = (run.snapshot().expect("a device that answers"), evaluation.values[0].1);
            let only: Vec<String> = differing(&state, &long_state);
            assert!(only.is_empty() || only == ["evaluations"], "{kind:?}, extended at {end}: {only:?}");
            let [got, want] = [&state, &long_state].map(|state| numbers(state, "evaluations"));
            assert_eq!(got, [want[0], want[1].max(first)], "{kind:?}, extended at {end}");
        }
    }
}
