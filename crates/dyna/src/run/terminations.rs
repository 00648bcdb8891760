//! Comparison of real terminations with the rule for imagined ones.
//!
//! Imagined states have no task that reports a termination, so a rule must decide it from the observations of a step. The rule may
//! be wrong if a user gives it, or if it describes a task that is computed elsewhere.

use foresee_env::{Spec, Work};

use super::RunError;
use crate::metrics;

/// Number of observation entries that a message shows.
const SHOWN: usize = 16;

/// Number of contradictions from which on a rule can be called wrong.
const MIN_CONTRADICTIONS: u64 = 3;

/// Counts of real transitions, by their termination and by the rule's. Transitions that end in neither way are not
/// counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// Terminations of the task, whatever the rule says.
    pub(super) real: u64,
    /// Terminations of the task that are none by the rule.
    pub(super) missed: u64,
    /// Terminations by the rule that are none of the task.
    pub(super) invented: u64,
}

impl Ends {
    /// Counts the transition from `obs` to `next_obs`, `[O]` each, if its termination is `checked` against the rule.
    pub(super) fn count(&mut self, spec: &Spec, checked: bool, [obs, next_obs]: [&[f32]; 2], terminated: bool) {
        if checked {
            let by_rule = spec.terminates(obs, next_obs);
            self.real += u64::from(terminated);
            self.missed += u64::from(terminated && !by_rule);
            self.invented += u64::from(by_rule && !terminated);
        }
    }

    /// Adds other counts.
    pub(super) fn add(&mut self, other: Self) {
        self.real += other.real;
        self.missed += other.missed;
        self.invented += other.invented;
    }

    /// Number of terminations by the rule.
    fn by_rule(self) -> u64 {
        self.real - self.missed + self.invented
    }

    /// Returns the shares of contradictions among the terminations of the task and among those of the rule. A share of
    /// no terminations is left out.
    pub(super) fn shares(self) -> impl Iterator<Item = (&'static str, f64)> {
        let shares = [
            (metrics::TERMINATIONS_MISSED, self.missed, self.real),
            (metrics::TERMINATIONS_INVENTED, self.invented, self.by_rule()),
        ];
        shares.into_iter().filter(|share| share.2 > 0).map(|(name, part, whole)| (name, part as f64 / whole as f64))
    }

    /// Returns the message about a rule that most ends contradict, if they do.
    pub(super) fn warning(self, spec: &Spec) -> Option<String> {
        let (id, rule) = (&spec.id, spec.termination.as_ref()?);
        let (contradictions, ends) = (self.missed + self.invented, self.real + self.invented);
        (contradictions >= MIN_CONTRADICTIONS && 2 * contradictions > ends).then(|| {
            format!(
                "the termination rule of `{id}` ({rule}) contradicts most real ends: of {} real terminations it misses {}, and of its own {} terminations {} are not real\nhint: correct `env.termination`, or imagined episodes end where real ones do not; `foresee check-env {id}` shows a step that contradicts the rule",
                self.real, self.missed, self.by_rule(), self.invented
            )
        })
    }
}

/// Whether real terminations are compared with the rule. The rule of a shipped light task is the task's own code.
pub(super) fn is_checked(spec: &Spec, shipped: bool) -> bool {
    (spec.work != Work::Light || !shipped) && spec.termination.is_some()
}

/// Checks that there is a rule, if a real transition to `next_obs` `[O]` terminated.
///
/// # Errors
/// If there is none: imagined episodes would never terminate.
pub(super) fn require_rule(spec: &Spec, next_obs: &[f32], terminated: bool, env_step: u64) -> Result<(), RunError> {
    if terminated && spec.termination.is_none() {
        return Err(missing_rule(spec, next_obs, env_step));
    }
    Ok(())
}

/// Returns the error of a real termination at `next_obs` `[O]` without a rule.
pub(super) fn missing_rule(spec: &Spec, next_obs: &[f32], env_step: u64) -> RunError {
    let mut shown = next_obs.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if next_obs.len() > SHOWN {
        shown += &format!(", … {} entries", next_obs.len());
    }
    let dropped = spec.dropped_rule.clone();
    RunError::NoTerminationRule { env_step, id: spec.id.clone(), obs: shown, dropped }
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
        Termination::outside(vec![Bound { quantity: 0.into(), low: 0.7, high: f32::INFINITY, closed: false }])
    }

    #[test]
    fn an_end_without_a_rule_ends_the_run_with_an_example_of_one_that_can_be_read() {
        let unknown = spec(Work::ExternalProcess, None);
        require_rule(&unknown, &[0.5], false, 7).unwrap();
        let error = require_rule(&unknown, &[0.5, -2.0], true, 7).unwrap_err().to_string();
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

        let long = require_rule(&unknown, &[0.0; 348], true, 7).unwrap_err().to_string();
        assert!(long.contains("0, … 348 entries]") && long.len() < 600, "{long}");

        let dropped_rule = Some("the rule known for `Hopper-v5` does not hold with `env.gym.kwargs.xml_file`".into());
        let error = require_rule(&Spec { dropped_rule, ..unknown }, &[0.5], true, 7).unwrap_err().to_string();
        let first = "at environment step 7: `gym:Test-v0` terminated at [0.5], but `env.termination` is not set, and the rule known for `Hopper-v5` does not hold with `env.gym.kwargs.xml_file`\nhint: ";
        assert!(error.starts_with(first), "{error}");
    }

    #[test]
    fn contradictions_are_counted_among_the_ends_of_the_task_and_among_those_of_the_rule() {
        let rule = spec(Work::Heavy, Some(upright()));
        let mut ends = Ends::default();
        assert_eq!(ends.shares().count(), 0);
        // Three real terminations, two of them by the rule; four more by the rule alone; two steps without an end.
        for (x, terminated) in [(0.6, true), (0.6, true), (0.8, true), (0.8, false), (0.9, false)] {
            ends.count(&rule, true, [&[], &[x]], terminated);
        }
        (0..4).for_each(|_| ends.count(&rule, true, [&[], &[0.1]], false));
        assert_eq!(ends, Ends { real: 3, missed: 1, invented: 4 });
        let want = [(metrics::TERMINATIONS_MISSED, 1.0 / 3.0), (metrics::TERMINATIONS_INVENTED, 4.0 / 6.0)];
        assert_eq!(ends.shares().collect::<Vec<_>>(), want);
        ends.count(&rule, false, [&[], &[0.1]], false);
        assert_eq!(ends, Ends { real: 3, missed: 1, invented: 4 }, "not checked");
    }

    #[test]
    fn a_rule_is_called_wrong_once_most_of_several_ends_contradict_it() {
        let rule = spec(Work::Heavy, Some(upright()));
        for (real, missed, invented, wrong) in [
            (0, 0, 2, false),
            (0, 0, 3, true),
            (2, 2, 0, false),
            (3, 3, 0, true),
            (6, 3, 0, false),
            (5, 3, 0, true),
            (4, 0, 4, false),
            (3, 0, 4, true),
            (1000, 3, 3, false),
        ] {
            let ends = Ends { real, missed, invented };
            assert_eq!(ends.warning(&rule).is_some(), wrong, "{ends:?}");
        }
        let message = Ends { real: 5, missed: 3, invented: 1 }.warning(&rule).unwrap();
        assert_eq!(
            message.lines().next().unwrap(),
            "the termination rule of `gym:Test-v0` (when obs[0] leaves (0.7, inf), or when any entry is NaN or infinite) contradicts most real ends: of 5 real terminations it misses 3, and of its own 3 terminations 1 are not real"
        );
    }

    #[test]
    fn a_rule_on_the_change_of_an_entry_is_compared_with_the_step_from_the_state_before() {
        let jump = toml::from_str("bounds = [{ index = 0, of = 'change', low = -1, high = 1 }]").unwrap();
        let rule = spec(Work::Heavy, Some(jump));
        let mut ends = Ends::default();
        for (before, after, terminated) in [(5.0, 5.5, false), (5.0, 7.0, true), (5.0, 5.5, true), (7.0, 5.0, false)] {
            ends.count(&rule, true, [&[before], &[after]], terminated);
        }
        assert_eq!(ends, Ends { real: 2, missed: 1, invented: 1 });
    }

    fn differs(spec: &Spec, checked: bool, x: f32, terminated: bool) -> bool {
        let mut ends = Ends::default();
        ends.count(spec, checked, [&[], &[x]], terminated);
        ends.missed + ends.invented > 0
    }

    #[test]
    fn a_rule_from_outside_is_held_against_what_really_ended() {
        for work in [Work::Heavy, Work::ExternalProcess] {
            for (x, terminated, want) in
                [(0.8, false, false), (0.6, true, false), (0.8, true, true), (0.6, false, true)]
            {
                let spec = spec(work, Some(upright()));
                assert_eq!(differs(&spec, is_checked(&spec, true), x, terminated), want, "{x}");
            }
        }
        let light = spec(Work::Light, Some(upright()));
        assert!(!differs(&light, is_checked(&light, true), 0.8, true));
        assert!(differs(&light, is_checked(&light, false), 0.8, true), "of another crate");
    }
}
