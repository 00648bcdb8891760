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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classic::Pendulum;

    #[test]
    fn a_state_is_restored_with_and_without_the_rule_and_from_older_versions() {
        let mut plain = Pendulum::new();
        plain.reset(Some(3)).unwrap();
        let saved = plain.save();
        let want = plain.step(&[0.5]).unwrap();
        let mut older = State::new();
        older.nest("inner", saved.clone());
        for state in [saved.clone(), older] {
            let mut ruled = WithRule::new(Box::new(Pendulum::new()), Termination::never());
            ruled.restore(state).unwrap();
            assert_eq!(ruled.step(&[0.5]).unwrap(), want);
        }
        let mut ruled = WithRule::new(Box::new(Pendulum::new()), Termination::never());
        assert!(ruled.restore(State::new()).is_err());
        ruled.restore(saved.clone()).unwrap();
        plain.restore(ruled.save()).unwrap();
        assert_eq!(plain.step(&[0.5]).unwrap(), want);
    }
}
