//! Tests of runs whose environments are Python processes, side by side.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::io::Write as _;
use std::sync::Arc;

use common::{differing, finish, reported, tiny, whole};
use foresee_core::{State, Termination};
use foresee_dyna::{Algo, Config, Parts, Record, Run, RunError, metrics};
use foresee_env::{EnvConfig, EnvError, EnvFactory, Environment, Reset, Spec, Step, make};

/// Whether Python has the environment `id`. If it does not, a line reports that the test is skipped, unless
/// FORESEE_REQUIRE_MUJOCO=1 is set, which makes the test fail.
fn python_runs(test: &str, id: &str) -> bool {
    let Some(error) = EnvConfig::new(id).make(0).err() else { return true };
    let why = error.to_string().replace('\n', "; ");
    let required = std::env::var_os("FORESEE_REQUIRE_MUJOCO").is_some_and(|value| value == "1");
    assert!(!required, "{test} needs Python, and FORESEE_REQUIRE_MUJOCO=1: {why}");
    // Written directly to stderr, because the test harness hides the output of passing tests.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
    false
}

fn three(id: &str, loss: Option<&'static str>) -> Config {
    let mut config = tiny(loss);
    config.env = EnvConfig { count: 3, ..EnvConfig::new(id) };
    config.training.env_steps = 207;
    config
}

/// Returns the records without the one metric that only environments in other processes have.
fn native(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.values.retain(|(name, _)| *name != metrics::TERMINATION_MISMATCH);
    }
    records
}

/// A native task that receives seeds as Python does: their lowest 31 bits.
struct LowBits(Box<dyn Environment>);

impl Environment for LowBits {
    fn spec(&self) -> &Spec {
        self.0.spec()
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.0.reset(seed.map(|seed| seed % (1 << 31)))
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.0.step(action)
    }

    fn save(&self) -> State {
        self.0.save()
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        self.0.restore(state)
    }
}

/// Makes a whole run on the native task of this id, with Python's seeds.
fn whole_with_low_bits(id: &'static str) -> (Vec<Record>, State) {
    let factory: EnvFactory = Arc::new(move || Ok(Box::new(LowBits(make(id)?))));
    let parts = Parts { env: Some(factory), ..Parts::default() };
    let setup = three(id, Some("vagram")).open_with(&parts).expect("a possible configuration");
    let mut run = Run::begin(setup).expect("a run");
    (finish(&mut run), run.snapshot().expect("a device that answers"))
}

/// Returns the state without the environments' id and own state, which differ in Python.
fn but_for_environments(state: &State) -> State {
    let arrays = state.iter().filter(|(name, _)| !name.starts_with("env.") && *name != "env_id");
    arrays.map(|(name, array)| (name.to_owned(), array.clone())).collect()
}

#[test]
fn processes_side_by_side_train_the_run_of_the_native_environments_cut_or_not() {
    if !python_runs("processes_side_by_side_train_the_run_of_the_native_environments", "gym:Pendulum-v1") {
        return;
    }
    let config = three("gym:Pendulum-v1", Some("vagram"));
    let (records, state) = whole(&config);
    let shares = reported(&records, metrics::TERMINATION_MISMATCH);
    assert!(shares.len() == 3 && shares.iter().all(|&(_, share)| share == 0.0), "{shares:?}");
    // Gymnasium's pendulum and the native one agree to the last bit on platforms with an identical `sin`.
    if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        let (want, want_state) = whole_with_low_bits("Pendulum-v1");
        assert_eq!(native(records.clone()), native(want));
        assert_eq!(differing(&but_for_environments(&state), &but_for_environments(&want_state)), [""; 0]);
    }

    let mut run = Run::new(&config).expect("a possible configuration");
    let (mut cut_records, mut slices) = (Vec::new(), 0);
    while !run.is_done() {
        if slices % 60 == 31 {
            run = Run::restore(&config, run.snapshot().expect("a device that answers")).expect("its own state");
        }
        run.advance(&mut cut_records).expect("a tiny run goes well");
        slices += 1;
    }
    assert_eq!(cut_records, records);
    assert_eq!(differing(&run.snapshot().expect("a device that answers"), &state), [""; 0]);
}

#[test]
fn the_bridge_and_a_native_task_of_mujoco_are_one_task() {
    if !python_runs("the_bridge_and_a_native_task_of_mujoco_are_one_task", "gym:Hopper-v5") {
        return;
    }
    let (records, state) = whole(&three("gym:Hopper-v5", Some("vagram")));
    let (want, want_state) = whole_with_low_bits("Hopper-v5");
    assert_eq!(records, want);
    assert_eq!(differing(&but_for_environments(&state), &but_for_environments(&want_state)), [""; 0]);
}

#[test]
fn without_a_rule_a_run_ends_at_the_first_real_end_and_with_one_it_says_how_often_it_is_wrong() {
    let id = "gym:InvertedDoublePendulum-v5";
    if !python_runs("without_a_rule_a_run_ends_at_the_first_real_end", id) {
        return;
    }
    let mut config = three(id, Some("mse"));
    config.env.count = 1;
    (config.training.explore_steps, config.training.env_steps, config.training.eval_every) = (60, 63, 1000);
    let mut run = Run::new(&config).expect("a possible configuration");
    let error = loop {
        if let Err(error) = run.advance(&mut Vec::new()) {
            break error;
        }
        assert!(!run.is_done(), "the pendulum never fell");
    };
    assert!(matches!(error, RunError::NoTerminationRule { .. }), "{error}");
    let begins = format!("at environment step {}: `{id}` terminated at [", run.env_step());
    assert!(error.to_string().starts_with(&begins), "{error}");

    config.env.termination = Some(Termination::never());
    let mut run = Run::new(&config).expect("a possible configuration");
    let shares = reported(&finish(&mut run), metrics::TERMINATION_MISMATCH);
    let ends = common::numbers(&run.snapshot().expect("a device that answers"), "replay.real.not_terminated")[..60]
        .iter()
        .filter(|x| **x == 0.0)
        .count();
    assert!(ends > 0);
    assert_eq!(shares, [(60, ends as f64 / 60.0)]);

    config.env.termination = None;
    config.algo = Algo::ModelFree;
    finish(&mut Run::new(&config).expect("a possible configuration"));
}
