//! Truncation after a number of steps, as in Gymnasium's `TimeLimit`. The task itself does not count steps, so its
//! values do not end at the limit.
//!
//! `truncated` is true from the step at which the count reaches the limit, whether or not `terminated` is true.

use foresee_core::State;

use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;

/// A task with a time limit.
pub struct TimeLimit {
    inner: Box<dyn Environment>,
    spec: Spec,
    limit: u32,
    /// Steps since the last reset.
    elapsed: u64,
}

impl TimeLimit {
    /// Wraps an environment so that its episodes are truncated after `limit` steps.
    #[track_caller]
    #[must_use]
    pub fn new(inner: Box<dyn Environment>, limit: u32) -> Self {
        assert!(limit > 0, "a time limit of no steps");
        let spec = Spec { max_episode_steps: Some(limit), ..inner.spec().clone() };
        Self { inner, spec, limit, elapsed: 0 }
    }
}

impl Environment for TimeLimit {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        let reset = self.inner.reset(seed)?;
        self.elapsed = 0;
        Ok(reset)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let step = self.inner.step(action)?;
        self.elapsed += 1;
        let truncated = step.truncated || self.elapsed >= u64::from(self.limit);
        Ok(Step { truncated, ..step })
    }

    /// Arrays: `elapsed` u64, steps; `inner.*`.
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("elapsed", self.elapsed);
        state.nest("inner", self.inner.save());
        state
    }

    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let inner = state.part("inner");
        let elapsed = state.u64("elapsed").map_err(EnvError::bad_state(&self.spec.id))?;
        state.finish().map_err(EnvError::bad_state(&self.spec.id))?;
        self.inner.restore(inner)?;
        self.elapsed = elapsed;
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

    #[test]
    fn it_truncates_exactly_at_the_limit_and_counts_anew_after_a_reset() {
        let mut env = TimeLimit::new(Box::new(Pendulum::new()), 3);
        for _ in 0..2 {
            env.reset(Some(0)).unwrap();
            let flags: Vec<_> = (0..3).map(|_| env.step(&[0.0]).unwrap().truncated).collect();
            assert_eq!(flags, [false, false, true]);
        }
    }

    #[test]
    fn a_step_that_fails_does_not_count() {
        let mut env = TimeLimit::new(Box::new(Pendulum::new()), 3);
        env.reset(Some(0)).unwrap();
        env.step(&[f32::NAN]).unwrap_err();
        assert_eq!(env.save().u64("elapsed"), Ok(0));
    }

    #[test]
    fn the_count_is_part_of_the_state() {
        let mut env = TimeLimit::new(Box::new(Pendulum::new()), 2);
        env.reset(Some(0)).unwrap();
        env.step(&[0.0]).unwrap();
        let mut other = TimeLimit::new(Box::new(Pendulum::new()), 2);
        other.restore(env.save()).unwrap();
        assert!(other.step(&[0.0]).unwrap().truncated);
    }
}
