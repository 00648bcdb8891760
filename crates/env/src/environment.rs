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

use foresee_core::{State, StateError, Termination};
use thiserror::Error;

use crate::gym::BridgeError;
use crate::mujoco::MujocoError;
use crate::space::BoxSpace;

/// A task, one copy of it.
pub trait Environment: Send {
    /// What there is to know before the first step. It never changes.
    fn spec(&self) -> &Spec;

    /// Begins an episode. A seed restarts the environment's own generator; `None` goes on with it.
    ///
    /// A fresh environment's generator is that of seed 0: nothing here asks the operating system for randomness.
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
            termination: Some(termination),
            work: Work::Light,
            versions: BTreeMap::new(),
        }
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

/// What can go wrong with an environment.
#[derive(Debug, Error, PartialEq)]
pub enum EnvError {
    /// No environment has this id.
    #[error("unknown environment `{id}`\nhint: the nearest known ids are `{}`", .nearest.join("`, `"))]
    UnknownId {
        /// What was asked for.
        id: String,
        /// Known ids, nearest first.
        nearest: Vec<String>,
    },
    /// An action with the wrong number of entries.
    #[error("`{id}` was given an action of length {found}\nhint: its actions have {expected} entries")]
    ActionLength {
        /// The environment.
        id: String,
        /// The action's length.
        found: usize,
        /// The length of its action space.
        expected: usize,
    },
    /// An action with a NaN or an infinity.
    #[error(
        "`{id}` was given an action whose entry {index} is {value}\nhint: look for the NaN upstream, in the policy"
    )]
    NonFiniteAction {
        /// The environment.
        id: String,
        /// Which entry.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A step before the first reset, or after the end of an episode.
    #[error(
        "`{id}` was stepped without an episode\nhint: call `reset` first, and again after `terminated` or `truncated`"
    )]
    NeedsReset {
        /// The environment.
        id: String,
    },
    /// What one of several environments side by side says.
    #[error("environment {index} of {count}: {error}")]
    OneOf {
        /// Which, from 0.
        index: usize,
        /// Of how many.
        count: usize,
        /// What it says.
        error: Box<EnvError>,
    },
    /// An action space that cannot be mapped to [-1, 1].
    #[error("entry {index} of the actions of `{id}` lies in [{low}, {high}]\nhint: rescaling needs finite bounds")]
    UnboundedActions {
        /// The environment.
        id: String,
        /// Which entry.
        index: usize,
        /// Its lower end.
        low: f32,
        /// Its upper end.
        high: f32,
    },
    /// A physical parameter that the task does not have, or a factor that makes no sense.
    #[error(
        "`{id}` cannot have {factor} times its {parameter}\nhint: factors are positive, and this task has the parameters [{known}]"
    )]
    Physics {
        /// The environment.
        id: String,
        /// The parameter.
        parameter: &'static str,
        /// The factor on it.
        factor: f64,
        /// The parameters that the task has.
        known: String,
    },
    /// A task of MuJoCo that cannot be had here.
    #[error(transparent)]
    Mujoco(#[from] MujocoError),
    /// Keys of `[env]` that ask for something impossible: the whole message, with its hint.
    #[error("{0}")]
    Config(String),
    /// An environment in Python that cannot go on.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// A saved state that does not fit.
    #[error("`{id}` cannot go back to this state: {source}\nhint: was it saved by this environment and version?")]
    BadState {
        /// The environment.
        id: String,
        /// What is wrong with it.
        source: StateError,
    },
}

impl EnvError {
    /// The same error as one of several environments says it; of a single one nothing is added.
    #[must_use]
    pub fn of_environment(self, index: usize, count: usize) -> Self {
        if count == 1 { self } else { Self::OneOf { index, count, error: Box::new(self) } }
    }

    /// Whether an environment did not lead where it led before, so that no state of it can be brought back.
    #[must_use]
    pub fn is_not_repeatable(&self) -> bool {
        matches!(self, Self::Bridge(BridgeError::NotRepeatable { .. }))
    }

    /// For `map_err`: a [`StateError`] met while restoring `id`.
    pub(crate) fn bad_state(id: &str) -> impl Fn(StateError) -> Self + '_ {
        move |source| Self::BadState { id: id.into(), source }
    }
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

    #[test]
    fn a_bad_state_names_the_environment_and_the_array() {
        let error = EnvError::bad_state("Test-v0")(StateError::Missing("physics".into()));
        assert!(
            error.to_string().starts_with("`Test-v0` cannot go back to this state: the saved state has no `physics`")
        );
    }
}
