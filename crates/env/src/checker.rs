//! The conformance check. It tests what [`Environment`] promises, in the spirit of Gymnasium's `check_env`, but is
//! stricter: it also plays episodes to their end, saves and restores in the middle of episodes, and compares results
//! bit for bit.
//!
//! Actions are samples of the action space from a fixed stream, so that a failure repeats exactly.

mod examination;
mod promises;

use core::fmt;

use thiserror::Error;

use crate::environment::Environment;
use crate::error::EnvError;
pub use examination::{Examination, Facts, Outcome, examine};
use promises::{Broken, Checker};

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
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runs => "make, reset, step and restore succeed within an episode",
            Self::Spec => "the spec makes sense by itself",
            Self::Observations => "observations lie in the observation space",
            Self::Rewards => "rewards are finite",
            Self::Termination => "`terminated` is what the spec's rule says of the observation",
            Self::TimeLimit => "`truncated` comes exactly at `max_episode_steps`",
            Self::Order => "a step needs a reset first, and again after the end of an episode",
            Self::Seeding => "a seed fixes the episode, and a reset without a seed goes on with the generator",
            Self::Actions => "bad actions are refused and change nothing, actions outside the space are clamped",
            Self::SaveRestore => "a restored environment goes on bit for bit",
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

/// Checks every rule of [`Environment`] on environments from `make`, such as those of an
/// [`EnvFactory`](crate::EnvFactory).
///
/// ```
/// use foresee_env::classic::MountainCarContinuous;
/// use foresee_env::{EnvConfig, Tasks, check_environment, dress};
///
/// let factory = EnvConfig::new("Pendulum-v1").factory(&Tasks::default(), 0);
/// check_environment(&*factory)?;
/// check_environment(|| dress(Box::new(MountainCarContinuous::new()), Some(300)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first rule that is broken.
pub fn check_environment(make: impl Fn() -> Result<Box<dyn Environment>, EnvError>) -> Result<(), CheckFailure> {
    let runs = |error: EnvError| CheckFailure { id: "make".into(), check: Check::Runs, detail: error.to_string() };
    let spec = make().map_err(runs)?.spec().clone();
    let checker = Checker { make: &make, spec };
    let outcome = checker
        .spec_makes_sense()
        .and_then(|()| checker.episodes())
        .and_then(|()| checker.seeding())
        .and_then(|()| checker.save_and_restore())
        .and_then(|()| checker.actions());
    outcome.map_err(|Broken(check, detail)| CheckFailure { id: checker.spec.id, check, detail })
}
