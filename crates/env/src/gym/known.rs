//! Known termination rules for imagined states of tasks in Python: Gymnasium's own tasks, by the rules of the native
//! tasks and of Ant and Humanoid, and the tasks of dm_control's suite.
//!
//! `InvertedDoublePendulum-v5` terminates by the height of its tip, which is not a bound on single observation entries,
//! so it has no rule here.

use foresee_core::Termination;

use crate::classic::MountainCarContinuous;
use crate::environment::Environment as _;
use crate::mujoco::rules;

/// Returns the rule of the task that `gymnasium.make(name)` creates without further arguments.
pub(super) fn termination(name: &str) -> Option<Termination> {
    match name {
        "Pendulum-v1" | "Reacher-v5" | "Swimmer-v5" | "HalfCheetah-v5" => Some(Termination::never()),
        "MountainCarContinuous-v0" => MountainCarContinuous::new().spec().termination.clone(),
        "InvertedPendulum-v5" => Some(rules::inverted_pendulum()),
        "Hopper-v5" => Some(rules::hopper()),
        "Walker2d-v5" => Some(rules::walker2d()),
        "Ant-v5" => Some(rules::ant()),
        "Humanoid-v5" => Some(rules::humanoid()),
        _ => None,
    }
}

/// Returns the rule of a task of the suite, DOMAIN-TASK. These tasks never terminate, except those of `lqr`. An `lqr`
/// task ends at rest, which is a bound on the norm of all entries and not on single ones, so it has no rule here.
pub(super) fn termination_of_suite(name: &str) -> Option<Termination> {
    (!name.starts_with("lqr-")).then(Termination::never)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::list;

    #[test]
    fn tasks_that_are_native_too_have_the_native_rules() {
        for info in list() {
            let native = crate::make(info.id).map(|env| env.spec().termination.clone());
            if let (Ok(native), Some(known)) = (native, termination(info.id)) {
                assert_eq!(native, Some(known), "{}", info.id);
            }
        }
        assert_eq!(termination("InvertedDoublePendulum-v5"), None);
    }
}
