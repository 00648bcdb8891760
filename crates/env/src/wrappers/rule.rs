//! A task with another termination rule in its spec: that of `env.termination`, for a task whose spec has none, or none
//! where the known rule does not hold. Every step stays as it is.

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
        let spec = Spec { termination: Some(rule), dropped_rule: None, ..inner.spec().clone() };
        Self { inner, spec }
    }

    /// Removes the termination rule from the task's spec, for this reason.
    pub(crate) fn without(inner: Box<dyn Environment>, reason: String) -> Self {
        let spec = Spec { termination: None, dropped_rule: Some(reason), ..inner.spec().clone() };
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

    /// Arrays: only `inner.*`.
    fn save(&self) -> State {
        let mut state = State::new();
        state.nest("inner", self.inner.save());
        state
    }

    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let inner = state.part("inner");
        state.finish().map_err(EnvError::bad_state(&self.spec.id))?;
        self.inner.restore(inner)
    }

    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        self.inner.set_physics(physics)
    }
}
