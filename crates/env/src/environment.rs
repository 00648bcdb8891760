//! The [`Environment`] trait. `reset` and `step` mean what they mean in Gymnasium 1.4.0; `save` and `restore` cover the
//! full state of an environment.
//!
//! Every environment keeps these rules, and [`check_environment`](crate::check_environment) tests them:
//! * `terminated` is the task's own end. It is true exactly when the termination rule of the spec holds for the new
//!   observation.
//! * `truncated` is the end by the time limit. It is true exactly at step `max_episode_steps`. Both flags may be true
//!   in the same step.
//! * An action outside the action space acts as the nearest one inside, as in Gymnasium's Pendulum.
//! * An error leaves the environment unchanged.
//! * After `restore` the environment continues bit for bit: physics, generator, elapsed steps, and whether a reset is
//!   needed.
//!
//! The termination rule has two limits:
//! * Some tasks decide termination on a state with more precision than the observation
//!   ([`mujoco`](crate::mujoco::rules)). Within a rounding error of a bound, the rule may give another answer than the
//!   task, about once in 1e5 ends.
//! * With sensor noise ([`Family`](crate::wrappers::Family)), the rule holds for the observation before the noise.
//!   There the checker works only for tasks that never terminate, and a caller that applies the rule to the noisy
//!   observation, as an imagined rollout does, gets an approximation.

use std::collections::BTreeMap;

use foresee_core::{State, Termination};

use crate::error::EnvError;
use crate::space::BoxSpace;

/// One instance of a task.
///
/// An implementation leaves the time limit, the order of calls and the range of actions to the layers around it
/// ([`Tasks::add`](crate::Tasks::add), [`wrap_task`](crate::wrap_task)):
///
/// ```
/// use foresee_core::termination::Bound;
/// use foresee_core::{State, StateError, Termination};
/// use foresee_env::numpy_random::NumpyRng;
/// use foresee_env::{BoxSpace, EnvError, Environment, Info, Reset, Spec, Step, check_environment, wrap_task};
///
/// /// A point on a line. An action moves it by up to 0.5 m; the episode ends where it is 5 m or more from the middle.
/// struct Point {
///     spec: Spec,
///     rng: NumpyRng,
///     /// In m; `None` before the first reset.
///     x: Option<f32>,
/// }
///
/// impl Point {
///     fn new() -> Self {
///         let [line, moves] = [f32::INFINITY, 0.5].map(|bound| BoxSpace::symmetric(&[bound]));
///         let on_line = Bound { quantity: 0.into(), low: -5.0, high: 5.0, closed: false };
///         let spec = Spec::new("Point-v0", line, moves, Termination::outside(vec![on_line]));
///         Self { spec, rng: NumpyRng::from_seed(0), x: None }
///     }
///
///     fn read(mut state: State) -> Result<(NumpyRng, Option<f32>), StateError> {
///         let rng = NumpyRng::restored(state.part("rng"))?;
///         let x = state.f32s("x")?.1.first().copied();
///         state.finish()?;
///         Ok((rng, x))
///     }
/// }
///
/// impl Environment for Point {
///     fn spec(&self) -> &Spec {
///         &self.spec
///     }
///
///     fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
///         if let Some(seed) = seed {
///             self.rng = NumpyRng::from_seed(seed);
///         }
///         let x = self.rng.uniform(-1.0, 1.0) as f32;
///         self.x = Some(x);
///         Ok(Reset { obs: vec![x], info: Info::new() })
///     }
///
///     fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
///         self.spec.check_action(action)?;
///         let before = self.x.ok_or_else(|| EnvError::NeedsReset { id: self.spec.id.clone() })?;
///         let x = before + self.spec.action_space.clamp(action)[0];
///         self.x = Some(x);
///         let terminated = self.spec.terminates(&[before], &[x]);
///         Ok(Step { obs: vec![x], reward: -f64::from(x * x), terminated, truncated: false, info: Info::new() })
///     }
///
///     fn save(&self) -> State {
///         let mut state = State::new();
///         state.put("x", Vec::from_iter(self.x));
///         state.nest("rng", self.rng.save());
///         state
///     }
///
///     fn restore(&mut self, state: State) -> Result<(), EnvError> {
///         let bad_state = |source| EnvError::BadState { id: self.spec.id.clone(), source };
///         (self.rng, self.x) = Self::read(state).map_err(bad_state)?;
///         Ok(())
///     }
/// }
///
/// check_environment(|| wrap_task(Box::new(Point::new()), Some(100)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Environment: Send {
    /// Returns the constant description of the environment, known before the first step.
    fn spec(&self) -> &Spec;

    /// Begins an episode. A seed restarts the environment's own generator; with `None` the generator continues.
    ///
    /// A new environment's generator has seed 0: nothing here asks the operating system for randomness. Every 64-bit
    /// seed is accepted. An environment that can use fewer bits, such as one in Python, takes the lowest bits.
    ///
    /// # Errors
    /// Only where something outside the process can fail, as in an environment in Python.
    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError>;

    /// Takes one step under an action `[A]`.
    ///
    /// # Errors
    /// If the action has another length or is not finite, or if a reset is needed.
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError>;

    /// Returns everything that determines the environment's future.
    fn save(&self) -> State;

    /// Restores a saved state of this environment or of another one with the same id.
    ///
    /// # Errors
    /// If an array is missing, unknown, or not of the form that `save` writes.
    fn restore(&mut self, state: State) -> Result<(), EnvError>;

    /// Sets factors on the task's physical parameters, which act immediately. The factors are not part of
    /// [`Environment::save`]: the caller sets them again before a restore.
    ///
    /// # Errors
    /// If a factor is not positive and finite, or is not 1 where the task has no such parameter.
    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        physics.check(&self.spec().id, &[])
    }
}

/// Factors on a task's physical parameters. All factors are 1 in the task that an id names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Physics {
    /// Factor on every mass.
    pub mass: f64,
    /// Factor on every length.
    pub length: f64,
    /// Factor on the acceleration of gravity.
    pub gravity: f64,
}

impl Default for Physics {
    fn default() -> Self {
        Self { mass: 1.0, length: 1.0, gravity: 1.0 }
    }
}

impl Physics {
    /// Checks the factors for a task whose parameters are `known`, a subset of `mass`, `length` and `gravity`.
    ///
    /// # Errors
    /// If a factor is not positive and finite, or is not 1 for a parameter that is not known.
    pub fn check(&self, id: &str, known: &[&str]) -> Result<(), EnvError> {
        for (parameter, factor) in [("mass", self.mass), ("length", self.length), ("gravity", self.gravity)] {
            let possible = factor > 0.0 && factor.is_finite();
            if !possible || (factor != 1.0 && !known.contains(&parameter)) {
                let known = known.join(", ");
                return Err(EnvError::Physics { id: id.into(), parameter, factor, known });
            }
        }
        Ok(())
    }
}

/// The constant description of an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The environment's id: `Name-vN`.
    pub id: String,
    /// The space of observations, `[O]`.
    pub observation_space: BoxSpace,
    /// The space of actions, `[A]`.
    pub action_space: BoxSpace,
    /// The task's own range of actions, in its own units, `[A]`, if the actions of `action_space` are mapped to it.
    pub rescaled_to: Option<BoxSpace>,
    /// Number of steps after which an episode is truncated; `None` for no limit.
    pub max_episode_steps: Option<u32>,
    /// Number of frames (steps of the task itself) in one step of this environment: 1, or `env.action_repeat`. The last
    /// step of an episode may have fewer frames.
    pub action_repeat: u32,
    /// The termination rule: a condition on the observations after and before the step, without sensor noise. `None`
    /// where the rule is not known, as can be for environments in Python.
    pub termination: Option<Termination>,
    /// If there is no termination rule because the known one does not hold under the settings of the environment: the
    /// reason, as part of a sentence.
    pub dropped_rule: Option<String>,
    /// Where the work of a step is done.
    pub work: Work,
    /// Software outside this program that the environment depends on, by name, with its version. A run's manifest
    /// records it.
    pub versions: BTreeMap<String, String>,
}

/// Where the work of a step is done. A vector of environments chooses its threads by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// On the calling thread, in about a microsecond. Using another thread would cost more.
    Light,
    /// On the calling thread, in tens of microseconds or more.
    Heavy,
    /// In another process, for which the calling thread waits.
    ExternalProcess,
}

impl Spec {
    /// A light task without a time limit and without outside software.
    #[must_use]
    pub fn new(id: &str, observation_space: BoxSpace, action_space: BoxSpace, termination: Termination) -> Self {
        Self {
            id: id.into(),
            observation_space,
            action_space,
            rescaled_to: None,
            max_episode_steps: None,
            action_repeat: 1,
            termination: Some(termination),
            dropped_rule: None,
            work: Work::Light,
            versions: BTreeMap::new(),
        }
    }

    /// Returns the first inconsistency of the spec, if any, and a hint.
    pub(crate) fn problem(&self) -> Option<[String; 2]> {
        for (name, space) in [("observation", &self.observation_space), ("action", &self.action_space)] {
            let valid = !space.low.is_empty()
                && space.low.len() == space.high.len()
                && space.low.iter().zip(&space.high).all(|(low, high)| low <= high);
            if !valid {
                let hint = "a space needs at least one entry, and low <= high in every entry";
                return Some([format!("its {name} space, {space}, is not valid"), hint.into()]);
            }
        }
        let dim = self.observation_space.dim();
        if let Some((bound, _)) = self.termination.as_ref().and_then(|rule| rule.beyond(dim)) {
            let problem = format!("its termination rule has the bound `{bound}`, but observations have {dim} entries");
            return Some([problem, format!("{} must be below {dim}", bound.quantity.keys_of_entries())]);
        }
        if let Some([problem, hint]) = self.termination.as_ref().and_then(Termination::problem) {
            return Some([format!("its termination rule is not valid: {problem}"), hint]);
        }
        let hint = "a limit is at least 1 step, or `None` for no limit";
        (self.max_episode_steps == Some(0)).then(|| ["its time limit is 0 steps".into(), hint.into()])
    }

    /// Returns the task's own range of actions, in its own units, `[A]`.
    #[must_use]
    pub fn task_actions(&self) -> &BoxSpace {
        self.rescaled_to.as_ref().unwrap_or(&self.action_space)
    }

    /// Returns the number of frames in `steps` steps, each step counted as a whole one. The literature calls it
    /// environment frames.
    #[must_use]
    pub fn frames(&self, steps: u64) -> u64 {
        steps * u64::from(self.action_repeat)
    }

    /// Whether a step from the observation `obs` `[O]` to `next_obs` `[O]` terminates the episode; `false` if there is
    /// no termination rule.
    #[must_use]
    pub fn terminates(&self, obs: &[f32], next_obs: &[f32]) -> bool {
        self.termination.as_ref().is_some_and(|rule| rule.terminated(obs, next_obs))
    }

    /// Checks that an action `[A]` is valid for `step`.
    ///
    /// # Errors
    /// If its length differs from that of the action space, or an entry is not finite.
    pub fn check_action(&self, action: &[f32]) -> Result<(), EnvError> {
        let (found, expected) = (action.len(), self.action_space.dim());
        if found != expected {
            return Err(EnvError::ActionLength { id: self.id.clone(), found, expected });
        }
        match action.iter().position(|x| !x.is_finite()) {
            Some(index) => Err(EnvError::NonFiniteAction { id: self.id.clone(), index, value: action[index] }),
            None => Ok(()),
        }
    }
}

/// Additional scalars by name, such as parts of a reward or positions. Training does not use them.
pub type Info = BTreeMap<String, f64>;

/// The result of a reset.
#[derive(Clone, Debug, PartialEq)]
pub struct Reset {
    /// The first observation, `[O]`.
    pub obs: Vec<f32>,
    /// Additional scalars.
    pub info: Info,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The observation after the step and before any reset, `[O]`.
    pub obs: Vec<f32>,
    /// The reward, in the task's own unit.
    pub reward: f64,
    /// Whether the task ended in this step. The value of `obs` is zero then.
    pub terminated: bool,
    /// Whether the time limit cut the episode in this step. The value of `obs` still counts then.
    pub truncated: bool,
    /// Additional scalars.
    pub info: Info,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        let space = |dim| BoxSpace::symmetric(&vec![1.0; dim]);
        Spec::new("Test-v0", space(1), space(2), Termination::never())
    }

    #[test]
    fn an_action_outside_the_space_is_allowed_and_one_of_another_length_or_with_a_nan_is_not() {
        assert_eq!(spec().check_action(&[5.0, -5.0]), Ok(()));
        let message = |action: &[f32]| spec().check_action(action).unwrap_err().to_string();
        assert_eq!(
            message(&[0.0]),
            "`Test-v0` was given an action of length 1, expected 2\nhint: an action has one number per entry of the action space"
        );
        assert!(message(&[0.0, f32::NAN]).contains("entry 1 is NaN"));
        assert!(message(&[f32::NEG_INFINITY, 0.0]).contains("entry 0 is -inf"));
    }
}
