//! The rules that are checked, and the error for a broken one.

use core::fmt;

use thiserror::Error;

/// A rule that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Creating, resetting, stepping and restoring succeed where they should.
    Runs,
    /// The spec is consistent in itself.
    Spec,
    /// Observations are inside their space.
    Observations,
    /// Rewards are finite.
    Rewards,
    /// `terminated` agrees with the termination rule of the spec.
    Termination,
    /// `truncated` is true exactly at the limit.
    TimeLimit,
    /// A step is refused outside an episode.
    Order,
    /// A seed determines everything, and a reset without a seed continues the generator.
    Seeding,
    /// Invalid actions are refused and change nothing. Actions outside the space act as the nearest ones inside.
    Actions,
    /// A restored environment continues bit for bit.
    SaveRestore,
    /// Environments that are stepped side by side, as in a vector, behave as each of them alone.
    SideBySide,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runs => "making, resetting, stepping and restoring succeed",
            Self::Spec => "the spaces, the termination rule and the time limit are valid",
            Self::Observations => "observations lie in the observation space",
            Self::Rewards => "rewards are finite",
            Self::Termination => "`terminated` agrees with the spec's termination rule",
            Self::TimeLimit => "`truncated` is true exactly at `max_episode_steps`",
            Self::Order => "a step is refused before the first reset and after the end of an episode",
            Self::Seeding => "a seed determines the episode, and a reset without a seed continues the generator",
            Self::Actions => {
                "invalid actions are refused and change nothing, and actions outside the space are clamped"
            }
            Self::SaveRestore => "a restored environment continues bit for bit",
            Self::SideBySide => "environments side by side behave as each of them alone",
        })
    }
}

/// A broken rule.
#[derive(Debug, Error)]
#[error("`{id}` breaks the rule that {check}: {detail}")]
pub struct CheckFailure {
    /// The environment.
    pub id: String,
    /// The broken rule.
    pub check: Check,
    /// The place and the values at which the rule is broken.
    pub detail: String,
}
