//! The conformance check. It tests what [`Environment`] promises, in the spirit of Gymnasium's `check_env`, but is
//! stricter: it also plays episodes to their end, saves and restores in the middle of episodes, and compares results
//! bit for bit.
//!
//! Actions are samples of the action space from a fixed stream, so that a failure repeats exactly.

mod check;
mod report;
mod rules;

use crate::environment::Environment;
use crate::error::EnvError;
pub use check::{Check, CheckFailure};
pub use report::{CheckOutcome, CheckReport, Measurements, check_report, check_report_of};
use rules::{Checker, Violation};

/// Number of environments that are stepped side by side if no other number is given.
const SIDE_BY_SIDE: usize = 2;

/// Checks every rule of [`Environment`] on environments from `make`, such as those of an
/// [`EnvFactory`](crate::EnvFactory).
///
/// ```
/// use foresee_env::classic::MountainCarContinuous;
/// use foresee_env::{EnvConfig, Tasks, check_environment, wrap_task};
///
/// let factory = EnvConfig::new("Pendulum-v1").factory(&Tasks::default(), 0);
/// check_environment(&*factory)?;
/// check_environment(|| wrap_task(Box::new(MountainCarContinuous::new()), Some(300)))?;
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
        .spec_is_consistent()
        .and_then(|()| checker.episodes())
        .and_then(|()| checker.seeding())
        .and_then(|()| checker.save_and_restore())
        .and_then(|()| checker.actions())
        .and_then(|()| checker.side_by_side(SIDE_BY_SIDE));
    outcome.map_err(|Violation(check, detail)| CheckFailure { id: checker.spec.id, check, detail })
}
