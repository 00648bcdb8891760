//! Vectors of environments: the results do not depend on the threads, and errors name the environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foresee_core::{State, Stream};
use foresee_env::{
    Autoreset, EnvConfig, EnvError, EnvFactory, Environment, Reset, Spec, Step, Tasks, VectorEnvironment, VectorStep,
    Work, make,
};

const MODES: [Autoreset; 3] = [Autoreset::NextStep, Autoreset::SameStep, Autoreset::Disabled];

/// Returns the factory of a shipped task.
fn factory(id: &str, seed: u64) -> EnvFactory {
    EnvConfig::new(id).factory(&Tasks::default(), seed)
}

/// A pendulum that declares any kind of work, and fails in one of its steps.
struct Pretender {
    inner: Box<dyn Environment>,
    spec: Spec,
    steps: u64,
    dies_at: u64,
}

impl Pretender {
    fn boxed(work: Work, dies_at: u64) -> Box<dyn Environment> {
        let inner = make("Pendulum-v1").unwrap();
        let spec = Spec { work, ..inner.spec().clone() };
        Box::new(Self { inner, spec, steps: 0, dies_at })
    }
}

impl Environment for Pretender {
    fn spec(&self) -> &Spec {
        &self.spec
    }
    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.inner.reset(seed)
    }
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.steps += 1;
        if self.steps == self.dies_at { Err(EnvError::Config("it died".into())) } else { self.inner.step(action) }
    }
    fn save(&self) -> State {
        self.inner.save()
    }
    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        self.inner.restore(state)
    }
}

fn pretenders(work: Work, deaths: &[u64]) -> VectorEnvironment {
    let envs = deaths.iter().map(|&dies_at| Pretender::boxed(work, dies_at)).collect();
    VectorEnvironment::from_envs(envs, Autoreset::SameStep).unwrap()
}

/// Takes steps from time `clock` on. 200 steps or more cross the pendulum's time limit.
fn play(envs: &mut VectorEnvironment, clock: u64, steps: u64) -> Vec<Vec<VectorStep>> {
    let actions = |t| Stream::new(0, "test/action").uniforms(t, envs.count(), 1);
    let actions: Vec<_> = (clock..clock + steps).map(actions).collect();
    actions.iter().map(|actions| envs.step(actions).unwrap()).collect()
}

#[test]
fn whoever_does_the_work_the_results_are_the_same() {
    let outcome = |work, threads| {
        let mut envs = pretenders(work, &[0; 7]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let resets = envs.reset(&envs.seeds(Stream::new(5, "env/reset"))).unwrap();
            (resets, play(&mut envs, 0, 205), envs.save())
        })
    };
    let want = outcome(Work::Light, 1);
    for work in [Work::Light, Work::Heavy, Work::ExternalProcess] {
        for threads in [1, 2, 5] {
            assert!(outcome(work, threads) == want, "{work:?} on {threads} threads");
        }
    }
}

#[test]
fn an_environment_beside_others_is_the_same_as_alone() {
    let pendulums = factory("Pendulum-v1", 5);
    let of_first = |count| {
        let mut envs = VectorEnvironment::new(&pendulums, count, Autoreset::NextStep).unwrap();
        let seeds = envs.seeds(Stream::new(5, "env/reset"));
        let first = envs.reset(&seeds).unwrap().swap_remove(0);
        let steps: Vec<_> = play(&mut envs, 0, 205).into_iter().map(|mut steps| steps.swap_remove(0)).collect();
        (first, steps)
    };
    let alone = of_first(1);
    let mut env = pendulums().unwrap();
    assert_eq!(env.reset(Some(Stream::new(5, "env/reset").at(0, 0).bits64())).unwrap(), alone.0);
    for count in [2, 3, 8] {
        assert!(of_first(count) == alone, "{count} environments");
    }
}

#[test]
fn a_saved_vector_goes_on_where_it_was_in_every_mode() {
    let pendulums = factory("Pendulum-v1", 0);
    let make = |mode| VectorEnvironment::new(&pendulums, 3, mode).unwrap();
    for mode in MODES {
        // Within an episode, and at its end, where the modes differ.
        for steps in [7, 200] {
            let mut envs = make(mode);
            envs.reset(&[Some(1), Some(2), Some(3)]).unwrap();
            play(&mut envs, 0, steps);
            let saved = envs.save();
            let mut other = make(mode);
            other.restore(saved.clone()).unwrap();
            assert_eq!(other.save(), saved);
            if mode == Autoreset::Disabled && steps == 200 {
                let refused = other.step(&[0.0; 3]).unwrap_err();
                assert!(
                    refused
                        .to_string()
                        .starts_with("environment 0 of 3, counted from 0: `Pendulum-v1` was stepped outside an")
                );
                for envs in [&mut envs, &mut other] {
                    envs.reset(&[None; 3]).unwrap();
                }
            }
            let futures = [envs, other].map(|mut envs| (play(&mut envs, 300, 30), envs.save()));
            assert_eq!(futures[0], futures[1], "{mode:?}, saved after {steps} steps");
        }
    }
}

#[test]
fn a_state_of_other_environments_is_refused_and_all_need_a_reset_then() {
    let make = |id: &str, count| VectorEnvironment::new(&factory(id, 0), count, Autoreset::NextStep).unwrap();
    let mut envs = make("Pendulum-v1", 3);
    envs.reset(&[None; 3]).unwrap();
    for (mut other, message) in [
        (make("Pendulum-v1", 2), "`stand` in the saved state is [1, 1], expected 3 numbers from 0 to 2"),
        (make("Pendulum-v1", 4), "expected 3 numbers from 0 to 2"),
        (
            make("CartPoleContinuous-v0", 3),
            "environment 0 of 3, counted from 0: `Pendulum-v1` cannot restore this state: ",
        ),
    ] {
        other.reset(&vec![None; other.count()]).unwrap();
        let error = envs.restore(other.save()).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains("\nhint: "), "{error}");
    }
    let error = envs.step(&[0.0; 3]).unwrap_err().to_string();
    assert!(
        error.starts_with("environment 0 of 3, counted from 0: `Pendulum-v1` was stepped outside an episode"),
        "{error}"
    );
}

#[test]
fn an_action_that_is_not_finite_is_refused_with_the_environments_number_and_nobody_moves() {
    for work in [Work::Light, Work::Heavy, Work::ExternalProcess] {
        let mut envs = pretenders(work, &[0; 4]);
        envs.reset(&[None; 4]).unwrap();
        let before = envs.save();
        let error = envs.step(&[0.0, 0.0, f32::NAN, f32::NAN]).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "environment 2 of 4, counted from 0: `Pendulum-v1` was given an action whose entry 0 is NaN"
            )
        );
        assert_eq!(envs.save(), before, "{work:?}");
        envs.step(&[0.0; 4]).unwrap();
    }
    let mut one = pretenders(Work::Light, &[0]);
    one.reset(&[None]).unwrap();
    let error = one.step(&[f32::NAN]).unwrap_err().to_string();
    assert!(error.starts_with("`Pendulum-v1` was given"), "a single environment has no index: {error}");
}

#[test]
fn the_first_that_fails_is_named_and_all_that_were_stepped_need_a_reset() {
    for work in [Work::Light, Work::Heavy, Work::ExternalProcess] {
        let mut envs = pretenders(work, &[0, 0, 3, 3]);
        envs.reset(&[None; 4]).unwrap();
        let mask = [false, true, true, true];
        for _ in 0..2 {
            envs.step_where(&mask, &[0.0; 4]).unwrap();
        }
        assert_eq!(
            envs.step_where(&mask, &[0.0; 4]).unwrap_err().to_string(),
            "environment 2 of 4, counted from 0: it died"
        );
        let error = envs.step(&[0.0; 4]).unwrap_err().to_string();
        assert!(
            error.starts_with("environment 1 of 4, counted from 0: `Pendulum-v1` was stepped outside an episode"),
            "{error}"
        );
        envs.step_where(&[true, false, false, false], &[0.0; 4]).unwrap();
        envs.reset_where(&mask, &[None; 4]).unwrap();
        envs.step(&[0.0; 4]).unwrap();
    }
}

/// Counts the environments that are being closed. Its end waits until all of them are, or until some seconds have
/// passed.
struct Closing {
    inner: Box<dyn Environment>,
    closing: Arc<AtomicUsize>,
    most: usize,
}

impl Environment for Closing {
    fn spec(&self) -> &Spec {
        self.inner.spec()
    }
    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.inner.reset(seed)
    }
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.inner.step(action)
    }
    fn save(&self) -> State {
        self.inner.save()
    }
    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        self.inner.restore(state)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.closing.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while self.closing.load(Ordering::SeqCst) < self.most {
            if start.elapsed() > Duration::from_secs(5) {
                // The count must not become complete.
                self.closing.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn those_in_other_processes_are_all_closed_at_the_same_time_also_where_one_cannot_be_made() {
    for made in [4, 3] {
        let closing = Arc::new(AtomicUsize::new(0));
        let number = AtomicUsize::new(0);
        let counter = Arc::clone(&closing);
        let make: EnvFactory = Arc::new(move || match number.fetch_add(1, Ordering::SeqCst) {
            number if number < made => {
                let (inner, closing) = (Pretender::boxed(Work::ExternalProcess, 0), Arc::clone(&counter));
                Ok(Box::new(Closing { inner, closing, most: made }) as Box<dyn Environment>)
            }
            _ => Err(EnvError::Config("no more".into())),
        });
        let vector = VectorEnvironment::with_first(make().unwrap(), &make, 4, Autoreset::NextStep);
        assert_eq!(vector.is_ok(), made == 4);
        drop(vector);
        assert_eq!(closing.load(Ordering::SeqCst), made, "at the same time");
    }
}

#[test]
fn one_that_cannot_be_made_is_named() {
    let cannot: EnvFactory = Arc::new(|| Err(EnvError::Config("no more".into())));
    for work in [Work::Light, Work::Heavy, Work::ExternalProcess] {
        let vector = VectorEnvironment::with_first(Pretender::boxed(work, 0), &cannot, 3, Autoreset::NextStep);
        assert_eq!(vector.err().unwrap().to_string(), "environment 1 of 3, counted from 0: no more");
    }
}

#[test]
fn what_the_mask_leaves_out_stands_still() {
    let mut envs = VectorEnvironment::new(&factory("Pendulum-v1", 0), 3, Autoreset::Disabled).unwrap();
    let resets = envs.reset_where(&[true, false, true], &[Some(1), Some(2), Some(3)]).unwrap();
    assert_eq!(resets.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let before = envs.save().part("2");
    // A row that is ignored may hold anything.
    let steps = envs.step_where(&[true, false, false], &[0.5, f32::NAN, f32::NAN]).unwrap();
    assert_eq!(steps.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(envs.save().part("2"), before);
    let error = envs.step(&[0.0; 3]).unwrap_err().to_string();
    assert!(error.starts_with("environment 1 of 3, counted from 0: "), "{error}");
}

#[test]
fn environments_with_other_spaces_do_not_go_side_by_side() {
    let envs = ["Pendulum-v1", "Pendulum-v1", "CartPoleContinuous-v0"].map(|id| make(id).unwrap());
    let error = VectorEnvironment::from_envs(envs.into(), Autoreset::NextStep).err().unwrap().to_string();
    assert!(
        error.starts_with("environment 2 of 3, counted from 0: `CartPoleContinuous-v0` has observations from "),
        "{error}"
    );
}
