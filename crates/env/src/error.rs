//! The errors of environments, each with a hint for the user.
//!
//! * [`bridge`]: the errors of environments in Python.
//! * [`mujoco`]: the errors of MuJoCo's tasks.
//!
//! These modules import no other module of the crate, so that every other module can return [`EnvError`].

pub mod bridge;
pub mod mujoco;

use foresee_core::StateError;
use thiserror::Error;

pub use bridge::BridgeError;
pub use mujoco::MujocoError;

/// An error of an environment.
#[derive(Debug, Error, PartialEq)]
pub enum EnvError {
    /// No environment has this id.
    #[error(
        "unknown environment `{id}`\nhint: the nearest known ids are `{}`; `foresee list envs` shows all; an environment of Gymnasium has the id `gym:ID`",
        .nearest.join("`, `")
    )]
    UnknownId {
        /// The requested id.
        id: String,
        /// Known ids, nearest first.
        nearest: Vec<String>,
    },
    /// An action with the wrong number of entries.
    #[error(
        "`{id}` was given an action of length {found}, expected {expected}\nhint: an action has one number per entry of the action space"
    )]
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
        "`{id}` was given an action whose entry {index} is {value}\nhint: correct the policy or the controller that chose this action"
    )]
    NonFiniteAction {
        /// The environment.
        id: String,
        /// The index of the entry.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A step before the first reset, or after the end of an episode.
    #[error(
        "`{id}` was stepped outside an episode\nhint: call `reset` first, and again after `terminated` or `truncated`"
    )]
    NeedsReset {
        /// The environment.
        id: String,
    },
    /// An episode that an error cut before it was saved.
    #[error("the last episode of `{id}` was cut by an error of an environment")]
    Cut {
        /// The environment.
        id: String,
    },
    /// An error of one of several environments that are stepped together.
    #[error("environment {index} of {count}, counted from 0: {error}")]
    OneOf {
        /// The index of the environment, from 0.
        index: usize,
        /// The number of environments.
        count: usize,
        /// Its error.
        error: Box<EnvError>,
    },
    /// An action space that cannot be mapped to [-1, 1].
    #[error(
        "entry {index} of the action space of `{id}` is unbounded: [{low}, {high}]\nhint: give the action space finite bounds"
    )]
    UnboundedActions {
        /// The environment.
        id: String,
        /// The index of the entry.
        index: usize,
        /// Its lower end.
        low: f32,
        /// Its upper end.
        high: f32,
    },
    /// An action space whose ends are too large for the map to [-1, 1].
    #[error(
        "entry {index} of the action space of `{id}` is [{low:?}, {high:?}], and the map from [-1, 1] to this range overflows f32\nhint: give the action space the bounds within which actions make a difference"
    )]
    HugeActions {
        /// The environment.
        id: String,
        /// The index of the entry.
        index: usize,
        /// Its lower end.
        low: f32,
        /// Its upper end.
        high: f32,
    },
    /// A reward that is not a finite f32 number.
    #[error(
        "`{id}` returned a reward of {reward:?}; it must be finite and at most 3.4e38 (f32)\nhint: look for an overflow or a division by 0 in the task, or let it return the reward in a larger unit"
    )]
    Reward {
        /// The environment.
        id: String,
        /// The reward.
        reward: f64,
    },
    /// A physical parameter that the task does not have, or a factor that is not possible.
    #[error(
        "the {parameter} of `{id}` cannot be multiplied by {factor}\nhint: {}",
        physics_hint(.parameter, .known)
    )]
    Physics {
        /// The environment.
        id: String,
        /// The parameter.
        parameter: &'static str,
        /// The factor on the parameter.
        factor: f64,
        /// The parameters that the task has.
        known: String,
    },
    /// A program's own task that is inconsistent.
    #[error("`{id}` cannot be used: {problem}\nhint: {hint}")]
    Task {
        /// The task.
        id: String,
        /// The inconsistency.
        problem: String,
        /// A way to correct it.
        hint: String,
    },
    /// A MuJoCo task that cannot be created here.
    #[error(transparent)]
    Mujoco(#[from] MujocoError),
    /// Keys of `[env]` with impossible values; the whole message, with its hint.
    #[error("{0}")]
    Config(String),
    /// An environment in Python that cannot continue.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// A saved state that does not fit the environment.
    #[error(
        "`{id}` cannot restore this state: {source}\nhint: the state must have been saved by the same environment in the same version"
    )]
    BadState {
        /// The environment.
        id: String,
        /// The mismatch.
        source: StateError,
    },
}

impl EnvError {
    /// Adds the environment's index and the count to the error; returns the error unchanged where `count` is 1.
    #[must_use]
    pub fn in_vector(self, index: usize, count: usize) -> Self {
        if count == 1 { self } else { Self::OneOf { index, count, error: Box::new(self) } }
    }

    /// Whether the environment is not reproducible, so that its saved states cannot be restored.
    #[must_use]
    pub fn is_not_reproducible(&self) -> bool {
        matches!(self, Self::Bridge(BridgeError::NotReproducible { .. }))
    }

    /// Whether the action was at fault, and not the environment.
    #[must_use]
    pub fn is_of_action(&self) -> bool {
        match self {
            Self::ActionLength { .. } | Self::NonFiniteAction { .. } => true,
            Self::OneOf { error, .. } => error.is_of_action(),
            _ => false,
        }
    }

    /// Whether a reward was at fault. The environment has then taken a step whose transition is not stored.
    #[must_use]
    pub fn is_of_reward(&self) -> bool {
        match self {
            Self::Reward { .. } => true,
            Self::OneOf { error, .. } => error.is_of_reward(),
            _ => false,
        }
    }

    /// For `map_err`: converts a [`StateError`] from restoring `id`.
    pub(crate) fn bad_state(id: &str) -> impl Fn(StateError) -> Self + '_ {
        move |source| Self::BadState { id: id.into(), source }
    }
}

/// Returns what the factor on a parameter can be, for a task with the parameters `known`.
fn physics_hint(parameter: &str, known: &str) -> String {
    if known.is_empty() {
        "the factor must be 1, because this task has no parameter that can be changed".into()
    } else if known.split(", ").any(|name| name == parameter) {
        "the factor must be positive and finite".into()
    } else {
        format!("the factor must be 1, because this task can change only {known}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_state_names_the_environment_and_the_array() {
        let error = EnvError::bad_state("Test-v0")(StateError::Missing("physics".into()));
        assert!(
            error
                .to_string()
                .starts_with("`Test-v0` cannot restore this state: the saved state has no array `physics`")
        );
    }
}
