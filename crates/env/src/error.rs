//! The errors of environments, each with a hint for the user.

use foresee_core::StateError;
use thiserror::Error;

use crate::gym::error::BridgeError;
use crate::mujoco::error::MujocoError;

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
        /// Its error.
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
    /// A task of the program's own that cannot be meant as it is.
    #[error("`{id}` cannot be used: {problem}\nhint: {hint}")]
    Task {
        /// The task.
        id: String,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        hint: String,
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

    #[test]
    fn a_bad_state_names_the_environment_and_the_array() {
        let error = EnvError::bad_state("Test-v0")(StateError::Missing("physics".into()));
        assert!(
            error.to_string().starts_with("`Test-v0` cannot go back to this state: the saved state has no `physics`")
        );
    }
}
