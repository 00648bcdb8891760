//! Tests of runs whose environment fails: they can be saved where they stopped, and go on once the environment works.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{differing, finish, tiny};
use foresee_core::{State, Termination};
use foresee_dyna::{Config, Parts, Run, RunError, RunState};
use foresee_env::classic::Pendulum;
use foresee_env::{EnvError, Environment, Reset, Spec, Step};
use foresee_world_model::config::TerminationSource;

/// The pendulum under another name. An instance that is broken fails in every step.
struct Fragile {
    inner: Pendulum,
    spec: Spec,
    broken: Arc<AtomicBool>,
    /// Number of steps in the episode.
    steps: u64,
    /// Number of steps after which the task terminates.
    terminates_at: Option<u64>,
}

impl Environment for Fragile {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.steps = 0;
        self.inner.reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        if self.broken.load(Ordering::Relaxed) {
            let [problem, hint] = ["it is broken", "mend it"].map(str::to_owned);
            return Err(EnvError::Task { id: self.spec.id.clone(), problem, hint });
        }
        self.steps += 1;
        let step = self.inner.step(action)?;
        Ok(Step { terminated: Some(self.steps) == self.terminates_at, ..step })
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.nest("inner", self.inner.save());
        state.put("steps", self.steps);
        state
    }

    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        self.steps = state.u64("steps").map_err(|source| EnvError::BadState { id: self.spec.id.clone(), source })?;
        self.inner.restore(state.part("inner"))
    }
}

/// A task of fragile pendulums, and the switches that break them: one for the first environment, one for all others.
struct Task {
    parts: Parts,
    first: Arc<AtomicBool>,
    others: Arc<AtomicBool>,
}

impl Task {
    fn new(terminates_at: Option<u64>) -> Self {
        let (first, others) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (made, switches) = (AtomicUsize::new(0), [Arc::clone(&first), Arc::clone(&others)]);
        let mut parts = Parts::default();
        parts.tasks.add("Fragile-v0", Some(20), move || {
            let (inner, number) = (Pendulum::new(), made.fetch_add(1, Ordering::Relaxed));
            let mut spec = Spec { id: "Fragile-v0".into(), ..inner.spec().clone() };
            if terminates_at.is_some() {
                spec.termination = None;
            }
            let broken = Arc::clone(&switches[number.min(1)]);
            Ok(Box::new(Fragile { inner, spec, broken, steps: 0, terminates_at }))
        });
        Self { parts, first, others }
    }

    fn begin(&self, config: &Config) -> Run {
        Run::begin(config.clone().open_with(&self.parts).expect("a possible configuration")).expect("a run")
    }

    fn resume(&self, config: &Config, state: RunState) -> Result<Run, RunError> {
        Run::resume(config.clone().open_with(&self.parts).expect("a possible configuration"), state)
    }
}

fn config(count: usize) -> Config {
    let mut config = tiny(Some("mse"));
    config.env.id = "Fragile-v0".into();
    config.env.count = count;
    config.training.env_steps = 206;
    config
}

fn snapshot(run: &Run) -> State {
    run.snapshot().expect("a device that answers")
}

/// Advances a run to its first error.
fn until_error(run: &mut Run) -> RunError {
    loop {
        if let Err(error) = run.advance(&mut Vec::new()) {
            return error;
        }
        assert!(!run.is_done(), "no error came");
    }
}

/// Returns the arrays of a state that are not the environments' own.
fn but_for_environments(state: &State) -> State {
    let arrays = state.iter().filter(|(name, _)| !name.starts_with("env."));
    arrays.map(|(name, array)| (name.to_owned(), array.clone())).collect()
}

#[test]
fn a_run_whose_step_failed_is_as_before_the_step_and_goes_on_with_new_episodes() {
    for count in [1, 2] {
        let (task, config) = (Task::new(None), config(count));
        let mut run = task.begin(&config);
        while run.env_step() < 202 || run.phase() != "act" {
            run.advance(&mut Vec::new()).expect("a tiny run goes well");
        }
        let before = snapshot(&run);
        task.first.store(true, Ordering::Relaxed);
        let error = run.advance(&mut Vec::new()).expect_err("a broken environment");
        assert!(matches!(error, RunError::Env { env_step: 202, .. }) && error.keeps_run(), "{error}");
        let saved = snapshot(&run);
        assert_eq!(differing(&but_for_environments(&saved), &but_for_environments(&before)), [""; 0]);

        let mut run = task.resume(&config, saved).expect("its own state");
        let lost: Vec<String> = run.lost().iter().map(ToString::to_string).collect();
        let cut = "the last episode of `Fragile-v0` was cut by an error of an environment";
        if count == 1 {
            assert_eq!(lost, [cut]);
        } else {
            assert_eq!(lost, [0, 1].map(|i| format!("environment {i} of 2, counted from 0: {cut}")));
        }
        finish(&mut run);
        let (real, of) = (&run.replay().real, |rows: &[f32], row: usize| rows[row * 3..(row + 1) * 3].to_vec());
        assert_eq!((run.env_step(), real.rows().rows), (206, 206));
        let goes_on = |&row: &usize| real.episodes()[row] == real.episodes()[row + count];
        assert!(!(202 - count..202).any(|row| goes_on(&row)), "the old episodes end before the new ones");
        for row in (0..206 - count).filter(goes_on) {
            let rows = real.rows();
            assert_eq!(of(&rows.next_obs, row), of(&rows.obs, row + count), "row {row}");
        }
    }
}

#[test]
fn a_run_whose_evaluation_failed_evaluates_again_and_ends_like_one_that_did_not_fail() {
    let (task, config) = (Task::new(None), config(1));
    let mut whole = Task::new(None).begin(&config);
    let records = finish(&mut whole);

    let (mut run, mut found) = (task.begin(&config), Vec::new());
    task.others.store(true, Ordering::Relaxed);
    let error = loop {
        if let Err(error) = run.advance(&mut found) {
            break error;
        }
    };
    assert!(matches!(error, RunError::Env { env_step: 70, .. }) && error.keeps_run(), "{error}");
    task.others.store(false, Ordering::Relaxed);
    let mut run = task.resume(&config, snapshot(&run)).expect("its own state");
    found.extend(finish(&mut run));
    assert_eq!(found, records);
    assert_eq!(differing(&snapshot(&run), &snapshot(&whole)), [""; 0]);
}

#[test]
fn a_run_that_learns_where_episodes_end_needs_no_rule_from_the_start_or_from_its_first_end_on() {
    let (task, mut config) = (Task::new(Some(7)), config(1));
    let mut stopped = task.begin(&config);
    let error = until_error(&mut stopped);
    assert!(matches!(error, RunError::NoTerminationRule { .. }), "{error}");
    assert!(
        error.to_string().ends_with("and `model.termination=learned` learns the ends from the real ones"),
        "{error}"
    );

    config.model.termination = TerminationSource::Learned;
    let mut whole = Task::new(Some(7)).begin(&config);
    finish(&mut whole);
    let mut run = task.resume(&config, snapshot(&stopped)).expect("a state without a classifier");
    finish(&mut run);
    assert_eq!(differing(&snapshot(&run), &snapshot(&whole)), [""; 0]);
}

#[test]
fn a_termination_without_a_rule_is_kept_and_the_run_goes_on_once_there_is_a_rule() {
    for count in [1, 2] {
        let (task, mut config) = (Task::new(Some(7)), config(count));
        let mut run = task.begin(&config);
        let error = until_error(&mut run);
        assert!(matches!(error, RunError::NoTerminationRule { .. }) && error.keeps_run(), "{error}");
        let steps = 7 * count;
        let begins = format!("at environment step {}: `Fragile-v0` terminated at [", steps - count + 1);
        assert!(error.to_string().starts_with(&begins), "{error}");
        let rows = run.replay().real.rows();
        assert_eq!((run.env_step(), rows.rows), (steps as u64, steps));
        assert!(rows.not_terminated[steps - count..].iter().all(|&alive| alive == 0.0));
        assert!(rows.not_terminated[..steps - count].iter().all(|&alive| alive == 1.0));

        let saved = snapshot(&run);
        let error = task.resume(&config, saved.clone()).err().expect("there is still no rule");
        assert!(error.to_string().starts_with(&format!("at environment step {steps}: `Fragile-v0` terminated at [")));

        config.env.termination = Some(Termination::never());
        let mut run = task.resume(&config, saved).expect("its own state");
        assert!(run.lost().is_empty());
        finish(&mut run);
        let mut whole = Task::new(Some(7)).begin(&config);
        finish(&mut whole);
        let but_for_counts = |state: State| -> State {
            let arrays = state.iter().filter(|(name, _)| !["counters.mismatches", "counters.ends"].contains(name));
            arrays.map(|(name, array)| (name.to_owned(), array.clone())).collect()
        };
        let [found, want] = [run, whole].map(|run| but_for_counts(snapshot(&run)));
        assert_eq!(differing(&found, &want), [""; 0]);
    }
}
