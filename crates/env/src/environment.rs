//! The trait: five methods with the meaning that Gymnasium 1.4.0 gives them, and a full save and restore.
//!
//! What every environment keeps, and [`check_environment`](crate::check_environment) tests:
//! * `terminated` is the task's own end, exactly when the rule in its spec says so of the new observation;
//!   `truncated` is the time limit's, exactly at `max_episode_steps`. Both may be true at once.
//!   A task whose state is finer than the observation decides on the state ([`mujoco`](crate::mujoco::rules)): within a
//!   rounding of a bound the rule may differ, once in about 1e5 ends.
//!   Behind noisy sensors ([`Family`](crate::wrappers::Family)) the rule is one of the observation before the noise:
//!   there the checker can be asked only of a task that never terminates, and who applies the rule to what is observed,
//!   as an imagined rollout does, approximates it.
//! * An action outside the action space acts as the nearest one inside, as in Gymnasium's Pendulum.
//! * An error leaves the environment as it was.
//! * After `restore` everything goes on bit for bit: physics, generator, elapsed steps, whether a reset is needed.

use std::collections::BTreeMap;

use foresee_core::{State, Termination};

use crate::error::EnvError;
use crate::space::BoxSpace;

/// A task, one copy of it.
///
/// A task of one's own leaves time limit, order of calls and range of actions to the layers around it
/// ([`Tasks::add`](crate::Tasks::add), [`dress`](crate::dress)):
///
/// ```
/// use foresee_core::termination::Bound;
/// use foresee_core::{State, StateError, Termination};
/// use foresee_env::numpy_random::NumpyRng;
/// use foresee_env::{BoxSpace, EnvError, Environment, Info, Reset, Spec, Step, check_environment, dress};
///
/// /// A point on a line that an action moves by up to 0.5 m; it falls off 5 m from the middle.
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
///         let on_line = Bound { index: 0, low: -5.0, high: 5.0, closed: false };
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
///         let x = self.x.ok_or_else(|| EnvError::NeedsReset { id: self.spec.id.clone() })?;
///         let x = x + self.spec.action_space.clamp(action)[0];
///         self.x = Some(x);
///         let terminated = self.spec.terminates(&[x]);
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
///         let unfit = |source| EnvError::BadState { id: self.spec.id.clone(), source };
///         (self.rng, self.x) = Self::read(state).map_err(unfit)?;
///         Ok(())
///     }
/// }
///
/// check_environment(|| dress(Box::new(Point::new()), Some(100)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Environment: Send {
    /// What there is to know before the first step. It never changes.
    fn spec(&self) -> &Spec;

    /// Begins an episode. A seed restarts the environment's own generator; `None` goes on with it.
    ///
    /// A fresh environment's generator is that of seed 0: nothing here asks the operating system for randomness. Every
    /// seed is taken, those of a run have 64 bits; what can use fewer, as Python, takes the lowest of them.
    ///
    /// # Errors
    /// Only where something outside the process can fail, as in a bridge.
    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError>;

    /// One step under an action `[A]`.
    ///
    /// # Errors
    /// If the action has another length or is not finite, or if a reset is due.
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError>;

    /// Everything that the future depends on.
    fn save(&self) -> State;

    /// Goes back to a saved state, of this environment or of another one with the same id.
    ///
    /// # Errors
    /// If an array is missing, unknown, or not what `save` would write.
    fn restore(&mut self, state: State) -> Result<(), EnvError>;

    /// Puts factors on the task's physical parameters, at once. They are no part of [`Environment::save`]: whoever sets
    /// them sets them again before a restore.
    ///
    /// # Errors
    /// If a factor is not positive and finite, or is not 1 where the task has no such parameter.
    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        physics.check(&self.spec().id, &[])
    }
}

/// Factors on a task's physical parameters; all are 1 in the task that an id names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Physics {
    /// On every mass.
    pub mass: f64,
    /// On every length.
    pub length: f64,
    /// On the acceleration of gravity.
    pub gravity: f64,
}

impl Default for Physics {
    fn default() -> Self {
        Self { mass: 1.0, length: 1.0, gravity: 1.0 }
    }
}

impl Physics {
    /// Checks that a task with the parameters `known`, of `mass`, `length` and `gravity`, can have these factors.
    ///
    /// # Errors
    /// If one is not positive and finite, or not 1 and not of a known parameter.
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

/// What an environment tells about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its id: `Name-vN`.
    pub id: String,
    /// Where observations lie, `[O]`.
    pub observation_space: BoxSpace,
    /// Where actions lie, `[A]`.
    pub action_space: BoxSpace,
    /// After how many steps an episode is truncated; `None` for never.
    pub max_episode_steps: Option<u32>,
    /// How many frames, steps of the task itself, one step here has: 1, or `env.action_repeat`. An episode's last step may
    /// have fewer.
    pub action_repeat: u32,
    /// When an episode terminates, as a rule on the observation after the step, before any sensor noise; `None` where
    /// nobody has said, as of a bridged environment.
    pub termination: Option<Termination>,
    /// Where a step's work is done.
    pub work: Work,
    /// What outside this program it runs on, by name, with the version: what a run's manifest should say.
    pub versions: BTreeMap<String, String>,
}

/// Where a step's work is done: what a vector of environments shares out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// On the calling thread, in about a microsecond: another thread would cost more.
    Light,
    /// On the calling thread, in tens of microseconds or more.
    Heavy,
    /// In another process, for which the calling thread waits.
    Outside,
}

impl Spec {
    /// A light task without a time limit that needs nothing from outside.
    #[must_use]
    pub fn new(id: &str, observation_space: BoxSpace, action_space: BoxSpace, termination: Termination) -> Self {
        Self {
            id: id.into(),
            observation_space,
            action_space,
            max_episode_steps: None,
            action_repeat: 1,
            termination: Some(termination),
            work: Work::Light,
            versions: BTreeMap::new(),
        }
    }

    /// What about the spec makes no sense by itself, if anything, and a hint.
    pub(crate) fn problem(&self) -> Option<[String; 2]> {
        for (name, space) in [("observation", &self.observation_space), ("action", &self.action_space)] {
            let sound = !space.low.is_empty()
                && space.low.len() == space.high.len()
                && space.low.iter().zip(&space.high).all(|(low, high)| low <= high);
            if !sound {
                let hint = "a space has one entry or more, and no lower end above its upper end";
                return Some([format!("the {name} space goes {space}"), hint.into()]);
            }
        }
        let dim = self.observation_space.dim();
        let mut bounds = self.termination.iter().flat_map(|rule| rule.bounds.iter().chain(&rule.goal));
        if let Some(bound) = bounds.find(|bound| bound.index >= dim) {
            let hint = "the first entry is 0";
            return Some([format!("its rule has a bound on {bound}, on an observation of {dim} entries"), hint.into()]);
        }
        if let Some(problem) = self.termination.as_ref().and_then(Termination::problem) {
            let hint = "`low` is below `high`; a rule that never ends an episode is `Termination::never()`";
            return Some([format!("{problem} of its rule"), hint.into()]);
        }
        let hint = "1 or more steps, or `None` for no limit";
        (self.max_episode_steps == Some(0)).then(|| ["a time limit of no steps".into(), hint.into()])
    }

    /// The frames of so many steps, each counted whole: what the field calls environment frames.
    #[must_use]
    pub fn frames(&self, steps: u64) -> u64 {
        steps * u64::from(self.action_repeat)
    }

    /// Whether an episode has terminated at this observation `[O]`; `false` where there is no rule.
    #[must_use]
    pub fn terminates(&self, obs: &[f32]) -> bool {
        self.termination.as_ref().is_some_and(|rule| rule.terminated(obs))
    }

    /// Checks that an action `[A]` may be given to `step`.
    ///
    /// # Errors
    /// If it has another length than the action space, or an entry is not finite.
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

/// Scalars on the side, by name: parts of a reward, positions. Nothing in training depends on them.
pub type Info = BTreeMap<String, f64>;

/// What a reset gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Reset {
    /// The first observation, `[O]`.
    pub obs: Vec<f32>,
    /// Scalars on the side.
    pub info: Info,
}

/// What a step gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The observation after the step and before any reset, `[O]`.
    pub obs: Vec<f32>,
    /// The reward, in the task's own unit.
    pub reward: f64,
    /// The task ended here: the value of `obs` is zero.
    pub terminated: bool,
    /// The episode was cut here by the time limit: the value goes on.
    pub truncated: bool,
    /// Scalars on the side.
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
        assert_eq!(message(&[0.0]), "`Test-v0` was given an action of length 1\nhint: its actions have 2 entries");
        assert!(message(&[0.0, f32::NAN]).contains("entry 1 is NaN"));
        assert!(message(&[f32::NEG_INFINITY, 0.0]).contains("entry 0 is -inf"));
    }
}
