//! When imagined states have terminated, of tasks in Python: Gymnasium's own, by the rules of the tasks that are also
//! native here and of Ant and Humanoid, and those of dm_control's suite.
//!
//! `InvertedDoublePendulum-v5` ends by the height of its tip, which is no bound on single entries.

use foresee_core::Termination;

use crate::classic::MountainCarContinuous;
use crate::environment::Environment as _;
use crate::mujoco::rules;

/// The rule of a task of this id, as `gymnasium.make(name)` gives it without further arguments.
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

/// The rule of a task of the suite, DOMAIN-TASK. They never terminate, but for `lqr`, whose end is at rest: a bound on
/// the norm of all entries, which is none on single ones.
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
