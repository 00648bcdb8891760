//! Comparison of real terminations with the rule for imagined ones.
//!
//! Imagined states have no task that reports a termination, so a rule must decide it from the observation. The rule may
//! be wrong if a user gives it, or if it describes a task that is computed elsewhere.

use foresee_env::{Spec, Work};

use super::RunError;

/// Number of observation entries that a message shows.
const SHOWN: usize = 16;

/// Whether real terminations are compared with the rule. The rule of a shipped light task is the task's own code.
pub(super) fn is_checked(spec: &Spec, shipped: bool) -> bool {
    (spec.work != Work::Light || !shipped) && spec.termination.is_some()
}

/// Whether the termination of a real transition to `next_obs` `[O]` differs from the rule, if the rule is `checked`.
///
/// # Errors
/// If the transition terminated and there is no rule: imagined episodes would never terminate.
pub(super) fn mismatch(
    spec: &Spec,
    checked: bool,
    next_obs: &[f32],
    terminated: bool,
    env_step: u64,
) -> Result<bool, RunError> {
    if terminated && spec.termination.is_none() {
        return Err(unruled(spec, next_obs, env_step));
    }
    Ok(checked && terminated != spec.terminates(next_obs))
}

/// Returns the error of a real termination at `next_obs` `[O]` without a rule.
pub(super) fn unruled(spec: &Spec, next_obs: &[f32], env_step: u64) -> RunError {
    let mut shown = next_obs.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if next_obs.len() > SHOWN {
        shown += &format!(", … {} entries", next_obs.len());
    }
    RunError::NoTerminationRule { env_step, id: spec.id.clone(), obs: shown }
}

#[cfg(test)]
mod tests {
    use foresee_core::{Termination, termination::Bound};
    use foresee_env::BoxSpace;

    use super::*;

    fn spec(work: Work, termination: Option<Termination>) -> Spec {
        let space = BoxSpace::symmetric(&[1.0]);
        Spec { work, termination, ..Spec::new("gym:Test-v0", space.clone(), space, Termination::never()) }
    }

    fn upright() -> Termination {
        Termination::outside(vec![Bound { index: 0, low: 0.7, high: f32::INFINITY, closed: false }])
    }

    #[test]
    fn an_end_without_a_rule_ends_the_run_with_an_example_of_one_that_can_be_read() {
        let unknown = spec(Work::ExternalProcess, None);
        assert!(!mismatch(&unknown, true, &[0.5], false, 7).unwrap());
        let error = mismatch(&unknown, true, &[0.5, -2.0], true, 7).unwrap_err().to_string();
        let (what, hint) = error.split_once("\nhint: ").unwrap();
        assert_eq!(
            what,
            "at environment step 7: `gym:Test-v0` terminated at [0.5, -2], but `env.termination` is not set"
        );
        let example = hint.split('`').find(|part| part.contains("bounds=")).expect("an example");
        let toml: toml::Table = example.parse().expect("TOML");
        let rule: Termination = toml["env"]["termination"].clone().try_into().expect("a rule");
        assert_eq!(rule.bounds.len(), 1);
        assert!(hint.contains("`env.termination={}`"));

        let long = mismatch(&unknown, true, &[0.0; 348], true, 7).unwrap_err().to_string();
        assert!(long.contains("0, … 348 entries]") && long.len() < 600, "{long}");
    }

    #[test]
    fn a_rule_from_outside_is_held_against_what_really_ended() {
        for work in [Work::Heavy, Work::ExternalProcess] {
            for (x, terminated, want) in
                [(0.8, false, false), (0.6, true, false), (0.8, true, true), (0.6, false, true)]
            {
                let spec = spec(work, Some(upright()));
                assert_eq!(mismatch(&spec, is_checked(&spec, true), &[x], terminated, 1).unwrap(), want, "{x}");
            }
        }
        let light = spec(Work::Light, Some(upright()));
        assert!(!mismatch(&light, is_checked(&light, true), &[0.8], true, 1).unwrap());
        assert!(mismatch(&light, is_checked(&light, false), &[0.8], true, 1).unwrap(), "of another crate");
    }
}
