//! The order of calls. A step is allowed only within an episode, so a reset is needed first and after every end.
//!
//! Gymnasium's `OrderEnforcing` refuses only the step before the first reset and allows a step after the end. Here both
//! are errors, because a transition across the end of an episode would silently corrupt a replay buffer.

use foresee_core::State;

use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;

/// A task that can be stepped only within an episode.
pub struct EnforceOrder {
    inner: Box<dyn Environment>,
    needs_reset: bool,
}

impl EnforceOrder {
    /// Wraps an environment. The time limit must be inside, because this wrapper has to see its truncation.
    #[must_use]
    pub fn new(inner: Box<dyn Environment>) -> Self {
        Self { inner, needs_reset: true }
    }
}

impl Environment for EnforceOrder {
    fn spec(&self) -> &Spec {
        self.inner.spec()
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        let reset = self.inner.reset(seed)?;
        self.needs_reset = false;
        Ok(reset)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        if self.needs_reset {
            return Err(EnvError::NeedsReset { id: self.spec().id.clone() });
        }
        let step = self.inner.step(action)?;
        self.needs_reset = step.terminated || step.truncated;
        Ok(step)
    }

    /// Arrays: `needs_reset` u8, 0 or 1; `inner.*`.
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("needs_reset", u8::from(self.needs_reset));
        state.nest("inner", self.inner.save());
        state
    }

    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let inner = state.part("inner");
        let needs_reset = state.u8("needs_reset").map_err(EnvError::bad_state(&self.spec().id))? != 0;
        state.finish().map_err(EnvError::bad_state(&self.spec().id))?;
        self.inner.restore(inner)?;
        self.needs_reset = needs_reset;
        Ok(())
    }

    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        self.inner.set_physics(physics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classic::Pendulum;
    use crate::wrappers::TimeLimit;

    #[test]
    fn a_step_is_refused_before_the_reset_and_after_the_end_and_allowed_between() {
        let mut env = EnforceOrder::new(Box::new(TimeLimit::new(Box::new(Pendulum::new()), 2)));
        let needs_reset = Err(EnvError::NeedsReset { id: "Pendulum-v1".into() });
        for _ in 0..2 {
            assert_eq!(env.step(&[0.0]), needs_reset);
            env.reset(None).unwrap();
            env.step(&[0.0]).unwrap();
            env.step(&[0.0]).unwrap();
        }
        let mut other = EnforceOrder::new(Box::new(TimeLimit::new(Box::new(Pendulum::new()), 2)));
        other.reset(None).unwrap();
        other.restore(env.save()).unwrap();
        assert_eq!(other.step(&[0.0]), needs_reset);
    }
}
