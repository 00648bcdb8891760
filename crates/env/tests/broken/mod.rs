//! A pendulum that can be broken in any of its methods, and some ways to break it.

use foresee_core::termination::Bound;
use foresee_core::{State, Termination};
use foresee_env::{EnvError, Environment, Reset, Spec, Step, make};

/// A pendulum with a fault in one of its methods.
pub(crate) struct Broken<F: Fault> {
    inner: Box<dyn Environment>,
    spec: Spec,
    fault: F,
    /// Number of steps in this episode; deliberately not saved.
    steps: u32,
}

/// A fault. Every method is correct unless an implementation replaces it.
pub(crate) trait Fault: Default + Send {
    fn spec(_: &mut Spec) {}
    fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
        env.reset(seed)
    }
    fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
        env.step(action)
    }
    fn alter(_steps: u32, _: &mut Step) {}
    fn restore(env: &mut dyn Environment, state: State) -> Result<(), EnvError> {
        env.restore(state)
    }
}

impl<F: Fault> Environment for Broken<F> {
    fn spec(&self) -> &Spec {
        &self.spec
    }
    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.steps = 0;
        self.fault.reset(self.inner.as_mut(), seed)
    }
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let mut step = self.fault.step(self.inner.as_mut(), action)?;
        self.steps += 1;
        F::alter(self.steps, &mut step);
        Ok(step)
    }
    fn save(&self) -> State {
        self.inner.save()
    }
    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        F::restore(self.inner.as_mut(), state)
    }
}

pub(crate) fn broken<F: Fault + 'static>() -> Result<Box<dyn Environment>, EnvError> {
    let inner = make("Pendulum-v1")?;
    let mut spec = inner.spec().clone();
    F::spec(&mut spec);
    Ok(Box::new(Broken { inner, spec, fault: F::default(), steps: 0 }))
}

/// Returns the rule that the episode continues while an entry of the observation is above a bound.
pub(crate) fn cosine_above(index: usize, low: f32) -> Termination {
    Termination::outside(vec![Bound { quantity: index.into(), low, high: f32::INFINITY, closed: false }])
}

/// Steps the environment. If a reset is needed and `anyway` is true, it resets first instead of failing.
pub(crate) fn stepped_anyway(env: &mut dyn Environment, action: &[f32], anyway: bool) -> Result<Step, EnvError> {
    match env.step(action) {
        Err(EnvError::NeedsReset { .. }) if anyway => {
            env.reset(None)?;
            env.step(action)
        }
        outcome => outcome,
    }
}

/// Restores all arrays except the one whose path ends in `name`.
pub(crate) fn forgetting(name: &str, env: &mut dyn Environment, state: State) -> Result<(), EnvError> {
    let kept = env.save();
    let state = state.iter().map(|(path, array)| {
        let kept = kept.iter().find(|(other, _)| *other == path && path.ends_with(name));
        (path.to_owned(), kept.map_or(array, |(_, array)| array).clone())
    });
    env.restore(state.collect())
}
