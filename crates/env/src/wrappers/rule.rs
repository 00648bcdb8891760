//! The termination rule of `env.termination`, for a task whose spec has none. It changes the spec and leaves every step
//! as it is.

use foresee_core::{State, Termination};

use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;

/// A task with another termination rule in its spec.
pub struct WithRule {
    inner: Box<dyn Environment>,
    spec: Spec,
}

impl WithRule {
    /// Sets the termination rule in the task's spec.
    #[must_use]
    pub fn new(inner: Box<dyn Environment>, rule: Termination) -> Self {
        let spec = Spec { termination: Some(rule), ..inner.spec().clone() };
        Self { inner, spec }
    }
}

impl Environment for WithRule {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.inner.reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.inner.step(action)
    }

    /// Arrays: those of the inner environment, so that a run can be resumed with a rule that it did not have.
    fn save(&self) -> State {
        self.inner.save()
    }

    /// Also restores the arrays `inner.*` of older versions.
    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        let older = state.clone().part("inner");
        let outcome = self.inner.restore(state);
        if outcome.is_err() && !older.is_empty() { self.inner.restore(older) } else { outcome }
    }

    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        self.inner.set_physics(physics)
    }
}
