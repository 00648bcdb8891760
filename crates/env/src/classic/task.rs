//! The parts that the classic tasks share: a state of `N` numbers in f64, numpy's generator for the resets, one action,
//! and factors on the physics. A task gives its equations as plain functions ([`ClassicTask`]), and
//! [`ClassicEnvironment`] makes an environment of them.

use core::marker::PhantomData;

use foresee_core::{State, StateError};

use crate::environment::{Environment, Info, Physics, Reset, Spec, Step};
use crate::error::EnvError;
use crate::numpy_random::NumpyRng;

/// The equations of a task with a state of `N` numbers and one action.
pub trait ClassicTask<const N: usize>: Send {
    /// The physical parameters of the task, a subset of `mass`, `length` and `gravity`.
    const PARAMETERS: &'static [&'static str];

    /// Returns the task's spec, without a time limit.
    fn spec() -> Spec;

    /// Draws the first state of an episode.
    fn begin(rng: &mut NumpyRng) -> [f64; N];

    /// Returns the state one step later, and the reward of the step. The action is inside the action space. Factors of
    /// 1 do not change any bit of the result.
    fn advance(state: [f64; N], action: f32, factors: Physics) -> ([f64; N], f64);

    /// Returns the observation `[O]` of a state.
    fn observe(state: [f64; N]) -> Vec<f32>;
}

/// A classic task as an environment, without its time limit. It terminates by the termination rule of its spec.
#[derive(Debug)]
pub struct ClassicEnvironment<T, const N: usize> {
    spec: Spec,
    rng: NumpyRng,
    /// The task's state; `None` before the first reset.
    physics: Option<[f64; N]>,
    factors: Physics,
    task: PhantomData<T>,
}

impl<T: ClassicTask<N>, const N: usize> ClassicEnvironment<T, N> {
    /// Creates an environment, which needs a reset before the first step.
    #[must_use]
    pub fn new() -> Self {
        let rng = NumpyRng::from_seed(0);
        Self { spec: T::spec(), rng, physics: None, factors: Physics::default(), task: PhantomData }
    }
}

impl<T: ClassicTask<N>, const N: usize> Default for ClassicEnvironment<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ClassicTask<N>, const N: usize> Environment for ClassicEnvironment<T, N> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        if let Some(seed) = seed {
            self.rng = NumpyRng::from_seed(seed);
        }
        let physics = T::begin(&mut self.rng);
        self.physics = Some(physics);
        Ok(Reset { obs: T::observe(physics), info: Info::new() })
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        let Some(physics) = self.physics else { return Err(EnvError::NeedsReset { id: self.spec.id.clone() }) };
        let before = T::observe(physics);
        let (physics, reward) = T::advance(physics, self.spec.action_space.clamp(action)[0], self.factors);
        self.physics = Some(physics);
        let obs = T::observe(physics);
        let terminated = self.spec.terminates(&before, &obs);
        Ok(Step { obs, reward, terminated, truncated: false, info: Info::new() })
    }

    /// Arrays: `physics` f64 `[N]`, or `[0]` before the first reset; `rng.*` of [`NumpyRng::save`].
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("physics", self.physics.map_or(Vec::new(), Vec::from));
        state.nest("rng", self.rng.save());
        state
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        (self.physics, self.rng) = read(state).map_err(EnvError::bad_state(&self.spec.id))?;
        Ok(())
    }

    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        physics.check(&self.spec.id, T::PARAMETERS)?;
        self.factors = physics;
        Ok(())
    }
}

/// Reads the arrays that [`ClassicEnvironment::save`] wrote.
fn read<const N: usize>(mut state: State) -> Result<(Option<[f64; N]>, NumpyRng), StateError> {
    let found = state.f64s("physics")?.1;
    let physics = <[f64; N]>::try_from(&found[..]).ok().filter(|physics| physics.iter().all(|x| x.is_finite()));
    if physics.is_none() && !found.is_empty() {
        let expected = format!("{N} finite numbers, or none");
        return Err(StateError::Mismatch { path: "physics".into(), found: format!("{found:?}"), expected });
    }
    let rng = NumpyRng::restored(state.part("rng"))?;
    state.finish()?;
    Ok((physics, rng))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classic::Pendulum;

    #[test]
    fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
        let mut env = Pendulum::new();
        env.reset(Some(3)).unwrap();
        let saved = env.save();
        for physics in [vec![1.0], vec![f64::NAN, 0.0], vec![0.0; 3]] {
            let mut state = env.save();
            state.take("physics").unwrap();
            state.put("physics", physics);
            assert!(env.restore(state).unwrap_err().to_string().contains("expected 2 finite numbers, or none"));
        }
        assert_eq!(env.save(), saved);
    }
}
