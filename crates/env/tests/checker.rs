//! The checker accepts every environment of the registry and rejects each kind of broken one, so that it cannot pass
//! vacuously.

mod broken;

use broken::{Fault, broken, cosine_above, forgetting, stepped_anyway};
use foresee_core::{State, Termination};
use foresee_env::classic::Pendulum;
use foresee_env::test_support::available_environments;
use foresee_env::wrappers::{EnforceOrder, TimeLimit};
use foresee_env::{
    BoxSpace, Check, CheckOutcome, EnvError, Environment, Info, Reset, Spec, Step, check_environment, check_report,
    check_report_of, make, make_unscaled,
};

/// Returns the rule that the checker finds broken, and the detail.
fn verdict<F: Fault + 'static>() -> (Check, String) {
    let failure = check_environment(broken::<F>).expect_err("the checker let a broken environment pass");
    (failure.check, failure.detail)
}

/// Declares a fault and the test that the checker finds it: the test's name, the rule, a part of the detail, and the
/// replaced methods.
macro_rules! rejects {
    ($($test:ident: $check:ident, $detail:literal, { $($method:item)* })*) => {
        $(#[test]
        fn $test() {
            #[derive(Default)]
            #[allow(dead_code)]
            struct It(u64);
            impl Fault for It {
                $($method)*
            }
            let (check, detail) = verdict::<It>();
            assert_eq!(check, Check::$check, "{detail}");
            assert!(detail.contains($detail), "{detail}");
        })*
    };
}

rejects! {
    an_inside_out_action_space_is_found: Spec, "its action space", {
        fn spec(spec: &mut Spec) { spec.action_space.low[0] = 2.0; }
    }
    a_space_with_corners_of_different_length_is_found: Spec, "its observation space", {
        fn spec(spec: &mut Spec) { spec.observation_space.low.pop(); }
    }
    a_termination_rule_beyond_the_observation_is_found: Spec, "obs[3]", {
        fn spec(spec: &mut Spec) { spec.termination = Some(cosine_above(3, 0.0)); }
    }
    a_goal_beyond_the_observation_is_found: Spec, "obs[3]", {
        fn spec(spec: &mut Spec) { spec.termination = Some(Termination::inside(cosine_above(3, 0.0).bounds)); }
    }
    a_time_limit_of_no_steps_is_found: Spec, "0 steps", {
        fn spec(spec: &mut Spec) { spec.max_episode_steps = Some(0); }
    }
    an_observation_outside_its_space_is_found: Observations, "step 3 returned an observation with 1.5 in entry 0, outside [-1.0, 1.0]", {
        fn alter(steps: u32, step: &mut Step) { if steps == 3 { step.obs[0] = 1.5; } }
    }
    a_nan_observation_is_found: Observations, "NaN in entry 2", {
        fn alter(steps: u32, step: &mut Step) { if steps == 3 { step.obs[2] = f32::NAN; } }
    }
    an_observation_that_is_too_long_is_found_at_the_reset: Observations, "the reset returned an observation with 4 numbers, but the space has 3", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            let mut reset = env.reset(seed)?;
            reset.obs.push(0.0);
            Ok(reset)
        }
    }
    an_infinite_reward_is_found: Rewards, "step 50 returned a reward of -inf", {
        fn alter(steps: u32, step: &mut Step) { if steps == 50 { step.reward = f64::NEG_INFINITY; } }
    }
    a_reward_beyond_f32_is_found: Rewards, "step 50 returned a reward of 1e39, which is beyond the range of f32 (3.4e38)", {
        fn alter(steps: u32, step: &mut Step) { if steps == 50 { step.reward = 1e39; } }
    }
    an_action_space_that_training_refuses_is_found: Spec, "entry 0 of the action space of `Pendulum-v1` is unbounded: [-1, inf]", {
        fn spec(spec: &mut Spec) { spec.action_space.high[0] = f32::INFINITY; }
    }
    an_action_space_of_all_floats_is_found: Spec, "the map from [-1, 1] to this range overflows f32", {
        fn spec(spec: &mut Spec) { spec.action_space = BoxSpace::symmetric(&[f32::MAX]); }
    }
    a_termination_against_the_rule_is_found: Termination, "step 9 returned terminated = true, but the termination rule gives false for the observation ", {
        fn alter(steps: u32, step: &mut Step) { step.terminated = steps == 9; }
    }
    a_termination_that_the_rule_demands_and_nobody_reports_is_found: Termination, "returned terminated = false, but the termination rule gives true for the observation ", {
        fn spec(spec: &mut Spec) { spec.termination = Some(cosine_above(0, 0.9)); }
    }
    a_truncation_one_step_early_is_found: TimeLimit, "step 199 returned truncated = true, and the time limit is 200 steps", {
        fn alter(steps: u32, step: &mut Step) { step.truncated = steps == 199; }
    }
    a_truncation_that_never_comes_is_found: TimeLimit, "step 200 returned truncated = false", {
        fn alter(_: u32, step: &mut Step) { step.truncated = false; }
    }
    a_truncation_without_a_limit_is_found: TimeLimit, "there is no time limit", {
        fn spec(spec: &mut Spec) { spec.max_episode_steps = None; }
    }
    a_step_before_the_first_reset_is_found: Order, "before the first reset", {
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            stepped_anyway(env, action, true)
        }
    }
    a_step_after_the_end_is_found: Order, "after the end of an episode", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            self.0 = 1;
            env.reset(seed)
        }
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            stepped_anyway(env, action, self.0 == 1)
        }
    }
    an_end_that_is_not_restored_is_found: Order, "after restoring the end", {
        fn restore(env: &mut dyn Environment, state: State) -> Result<(), EnvError> { forgetting("needs_reset", env, state) }
    }
    a_reset_that_ignores_its_seed_is_found: Seeding, "resets with different seeds begin alike", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            env.reset(seed.map(|_| 0))
        }
    }
    a_reset_that_depends_on_earlier_resets_is_found: Seeding, "used before", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            self.0 += u64::from(seed.is_some());
            env.reset(seed.map(|seed| seed + 100 * self.0))
        }
    }
    a_reset_that_differs_between_copies_is_found: Seeding, "two environments differ", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            static CALLS: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
            env.reset(seed.map(|_| CALLS.fetch_add(1, core::sync::atomic::Ordering::Relaxed)))
        }
    }
    a_reset_that_takes_small_seeds_alone_is_found: Seeding, "a reset with 18446744073709551615 failed: ", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            if seed > Some(u32::MAX.into()) { return Err(EnvError::Config("no such seed".into())); }
            env.reset(seed)
        }
    }
    a_large_seed_that_fixes_nothing_is_found: Seeding, "differs after the same seed 18446744073709551615", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            env.reset(seed.filter(|seed| *seed < 1 << 53))
        }
    }
    a_reset_without_a_seed_that_repeats_itself_is_found: Seeding, "repeats the previous start", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            env.reset(Some(seed.unwrap_or(0)))
        }
    }
    an_action_that_is_padded_is_found: Actions, "an action with 0 entries must be refused", {
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            if action.is_empty() { env.step(&[0.0]) } else { env.step(action) }
        }
    }
    an_action_that_is_cut_is_found: Actions, "an action with 2 entries must be refused", {
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            env.step(&action[..action.len().min(1)])
        }
    }
    a_nan_action_that_is_let_through_is_found: Actions, "NaN in entry 0", {
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            if action.iter().any(|x| x.is_nan()) { env.step(&[0.0]) } else { env.step(action) }
        }
    }
    a_refused_action_that_leaves_a_trace_is_found: Actions, "a refused action changed the state", {
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            let outcome = env.step(action);
            if matches!(outcome, Err(EnvError::NonFiniteAction { .. })) { env.step(&[0.0])?; }
            outcome
        }
    }
    an_action_that_is_not_clamped_is_found: Actions, "does not act as", {
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            let mut step = env.step(action)?;
            step.reward -= action.iter().map(|&x| 1e-3 * f64::from(x)).sum::<f64>();
            Ok(step)
        }
    }
    a_generator_that_is_not_restored_is_found: SaveRestore, "not the one that was saved", {
        fn restore(env: &mut dyn Environment, state: State) -> Result<(), EnvError> { forgetting("rng.state", env, state) }
    }
    a_state_that_is_not_saved_at_all_is_found: SaveRestore, "continues with other numbers", {
        fn alter(steps: u32, step: &mut Step) { step.reward -= f64::from(steps); }
    }
    a_lenient_restore_is_found: SaveRestore, "restoring an empty state must be refused", {
        fn restore(env: &mut dyn Environment, state: State) -> Result<(), EnvError> {
            if state.is_empty() { Ok(()) } else { env.restore(state) }
        }
    }
    an_error_within_an_episode_is_found: Runs, "outside an episode", {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            let fresh = env.save();
            let reset = env.reset(seed)?;
            if self.0 > 0 { env.restore(fresh)?; }
            self.0 += 1;
            Ok(reset)
        }
    }
}

#[test]
fn environments_that_disturb_each_other_are_found() {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// The environment that stepped last; 0 for none.
    static LAST: AtomicU64 = AtomicU64::new(0);
    static MADE: AtomicU64 = AtomicU64::new(0);
    /// The first step after that of another environment has another reward.
    struct It(u64);
    impl Default for It {
        fn default() -> Self {
            Self(1 + MADE.fetch_add(1, Relaxed))
        }
    }
    impl Fault for It {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            LAST.store(self.0, Relaxed);
            env.reset(seed)
        }
        fn step(&mut self, env: &mut dyn Environment, action: &[f32]) -> Result<Step, EnvError> {
            let last = LAST.swap(self.0, Relaxed);
            let mut step = env.step(action)?;
            step.reward += f64::from(last != 0 && last != self.0);
            Ok(step)
        }
        fn restore(env: &mut dyn Environment, state: State) -> Result<(), EnvError> {
            LAST.store(0, Relaxed);
            env.restore(state)
        }
    }
    let (check, detail) = verdict::<It>();
    assert_eq!(check, Check::SideBySide, "{detail}");
    assert_eq!(detail, "environment 0 of 2 that are stepped together gives other numbers or flags than alone");
    let found = check_report_of(broken::<It>, 5).unwrap();
    let Some((_, CheckOutcome::Failed(detail))) = found.outcomes.last() else { panic!("{:?}", found.outcomes) };
    assert_eq!(detail, "environment 0 of 5 that are stepped together gives other numbers or flags than alone");
}

#[test]
fn entries_that_the_model_takes_for_constant_are_a_warning() {
    #[derive(Default)]
    struct Tiny;
    impl Fault for Tiny {
        fn reset(&mut self, env: &mut dyn Environment, seed: Option<u64>) -> Result<Reset, EnvError> {
            let mut reset = env.reset(seed)?;
            reset.obs[1] *= 1e-5;
            Ok(reset)
        }
        fn alter(_: u32, step: &mut Step) {
            // A sine with a deviation of about 0.7, an entry that moves by 1e-5, and one that is about 1e-4.
            step.obs[1] *= 1e-5;
            step.obs[2] *= 1e-4;
        }
    }
    let found = check_report(broken::<Tiny>).unwrap();
    let deviations = &found.measurements.as_ref().unwrap().deviations;
    assert!(deviations[0] > 0.1 && deviations[1] < 1e-5 && deviations[2] > 1e-5, "{deviations:?}");
    assert_eq!(
        found.warnings(),
        [
            "observation entries [1] vary with a standard deviation below 1e-5, which the model takes for constant: let the environment return them in a smaller unit, so that they are of the order of 1"
        ]
    );
}

#[test]
fn every_environment_of_the_registry_passes() {
    for info in available_environments("every_environment_of_the_registry_passes") {
        check_environment(|| make(info.id)).unwrap();
        check_environment(|| make_unscaled(info.id)).unwrap();
        let mut env = make(info.id).unwrap();
        let starts = [Some(7), Some(8), None, None].map(|seed| env.reset(seed).unwrap().obs);
        assert!((1..4).all(|i| !starts[..i].contains(&starts[i])), "{} begins alike: {starts:?}", info.id);
    }
}

#[test]
fn episodes_of_one_step_are_allowed() {
    let truncated = || -> Result<Box<dyn Environment>, EnvError> {
        Ok(Box::new(EnforceOrder::new(Box::new(TimeLimit::new(Box::new(Pendulum::new()), 1)))))
    };
    check_environment(truncated).unwrap();

    #[derive(Default)]
    struct AtOnce;
    impl Fault for AtOnce {
        fn spec(spec: &mut Spec) {
            spec.termination = Some(cosine_above(0, 2.0));
        }
        fn alter(_: u32, step: &mut Step) {
            step.terminated = true;
        }
    }
    let terminated =
        || -> Result<Box<dyn Environment>, EnvError> { Ok(Box::new(EnforceOrder::new(broken::<AtOnce>()?))) };
    check_environment(terminated).unwrap();
}

#[test]
fn a_fixed_start_is_allowed_and_a_warning() {
    #[derive(Default)]
    struct Fixed;
    impl Fault for Fixed {
        fn reset(&mut self, env: &mut dyn Environment, _: Option<u64>) -> Result<Reset, EnvError> {
            env.reset(Some(0))
        }
    }
    check_environment(broken::<Fixed>).unwrap();
    let found = check_report(broken::<Fixed>).unwrap();
    assert!(found.failure().is_none(), "{:?}", found.outcomes);
    assert_eq!(found.warnings(), ["16 seeds gave the same first observation: the start state may be fixed"]);
}

#[test]
fn an_examination_tries_every_rule_though_one_is_broken_and_says_what_may_surprise() {
    #[derive(Default)]
    struct It;
    impl Fault for It {
        fn spec(spec: &mut Spec) {
            spec.termination = None;
        }
        fn alter(_: u32, step: &mut Step) {
            step.reward = if step.obs[0] < -0.5 { f64::NAN } else { 1.0 };
            step.obs[2] = 0.0;
        }
    }
    let found = check_report(broken::<It>).unwrap();
    for (check, outcome) in &found.outcomes {
        let want = match check {
            Check::Rewards => match outcome {
                CheckOutcome::Failed(detail) if detail.ends_with(" returned a reward of NaN") => outcome.clone(),
                _ => CheckOutcome::Failed("a NaN".into()),
            },
            Check::Termination => CheckOutcome::Skipped,
            Check::Observations | Check::TimeLimit | Check::Order => CheckOutcome::Inconclusive,
            _ => CheckOutcome::Passed,
        };
        assert_eq!(*outcome, want, "{check}");
    }
    assert_eq!(found.outcomes.len(), 10);
    assert_eq!(found.failure().unwrap().check, Check::Rewards);
    let measurements = found.measurements.as_ref().unwrap();
    assert_eq!(measurements.episodes.iter().map(|episode| episode.1).collect::<Vec<_>>(), [200; 5]);
    assert!(found.warnings()[0].starts_with("it has no termination rule: "), "{:?}", found.warnings());

    let sound = check_report(|| make("Pendulum-v1")).unwrap();
    assert!(sound.failure().is_none() && sound.warnings().is_empty(), "{:?}", sound.warnings());
    // Its reward is 1 under any action.
    assert_eq!(check_report(|| make("CartPoleContinuous-v0")).unwrap().warnings(), ["every reward was 1"]);
    assert!(check_report(|| make("Pendulum-v9")).is_err());
}

/// An environment with many observation entries that breaks one rule.
struct Wide {
    spec: Spec,
    breaks: Check,
    begun: bool,
}

const WIDE: usize = 5000;

impl Wide {
    fn boxed(breaks: Check) -> Box<dyn Environment> {
        let [observations, actions] = [WIDE, 7].map(|dim| BoxSpace::symmetric(&vec![1.0; dim]));
        let mut spec = Spec::new("Wide-v0", observations, actions, Termination::never());
        if breaks == Check::Spec {
            spec.observation_space.low.fill(3.0);
        }
        Box::new(Self { spec, breaks, begun: false })
    }

    fn obs(&self) -> Vec<f32> {
        vec![if self.breaks == Check::Observations { 2.0 } else { 0.0 }; WIDE]
    }
}

impl Environment for Wide {
    fn spec(&self) -> &Spec {
        &self.spec
    }
    fn reset(&mut self, _: Option<u64>) -> Result<Reset, EnvError> {
        self.begun = true;
        Ok(Reset { obs: self.obs(), info: Info::new() })
    }
    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        if !self.begun && self.breaks != Check::Order {
            return Err(EnvError::NeedsReset { id: self.spec.id.clone() });
        }
        let terminated = self.breaks == Check::Termination;
        let reward = if self.breaks == Check::Actions { action[0].into() } else { 0.0 };
        Ok(Step { obs: self.obs(), reward, terminated, truncated: false, info: Info::new() })
    }
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("begun", u64::from(self.begun));
        state
    }
    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let read = state.u64s("begun").and_then(|(_, words)| state.finish().map(|()| words == [1]));
        self.begun = read.map_err(|source| EnvError::BadState { id: self.spec.id.clone(), source })?;
        Ok(())
    }
}

#[test]
fn messages_about_thousands_of_entries_are_short() {
    for (check, detail) in [
        (Check::Spec, "3.0, … 5000 in all]"),
        (Check::Observations, "2.0 in entry 5, outside [-1.0, 1.0]; … 5000 of 5000 entries are outside"),
        (
            Check::Termination,
            "returned terminated = true, but the termination rule gives false for the observation [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, … 5000 in all]",
        ),
        (
            Check::Order,
            "a step before the first reset must be refused with `EnvError::NeedsReset`, but returned the observation [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, … 5000 in all]",
        ),
        (
            Check::Actions,
            "3.4028235e38, … 7 in all] is outside the space and does not act as the nearest action inside, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, … 7 in all]",
        ),
    ] {
        let failure = check_environment(|| Ok(Wide::boxed(check))).unwrap_err();
        assert_eq!(failure.check, check);
        assert!(failure.detail.contains(detail), "{}", failure.detail);
        assert!(failure.detail.len() < 500, "{} bytes", failure.detail.len());
    }
    let found = check_report(|| Ok(Wide::boxed(Check::Observations))).unwrap();
    let warnings = found.warnings().join("\n");
    assert!(warnings.contains("entries [0, 1, 2, 3, 4, 5, … 5000 in all] are constant"), "{} bytes", warnings.len());
    assert!(warnings.len() < 1000, "{} bytes", warnings.len());
}

#[test]
fn a_wrapper_that_breaks_nothing_passes() {
    #[derive(Default)]
    struct Nothing;
    impl Fault for Nothing {}
    check_environment(broken::<Nothing>).unwrap();
}

#[test]
fn a_time_limit_without_the_order_of_calls_is_found() {
    let make = || -> Result<Box<dyn Environment>, EnvError> {
        let inner = Box::new(Pendulum::new());
        Ok(Box::new(TimeLimit::new(inner, 10)))
    };
    assert_eq!(check_environment(make).unwrap_err().check, Check::Order);
}

#[test]
fn an_environment_that_cannot_be_built_is_found_and_the_message_says_why() {
    let failure = check_environment(|| make("Pendulum-v9")).unwrap_err();
    assert_eq!(failure.check, Check::Runs);
    assert!(failure.to_string().contains("unknown environment `Pendulum-v9`"), "{failure}");
}
