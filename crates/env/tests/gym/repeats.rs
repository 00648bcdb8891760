//! Restoring: saved states, lost processes, and environments that do not repeat themselves.

use foresee_env::config::Steps;
use foresee_env::{BridgeError, Check, EnvConfig, EnvError, FamilyConfig, check_environment};
use foresee_env::{make, make_unscaled};
use serde_json::json;

use crate::common::{FAULTY, action, built, failure, faulty, once, play, python_runs};

#[test]
fn environments_in_python_keep_what_an_environment_promises() {
    for id in [FAULTY, "gym:Pendulum-v1", "gym:Hopper-v5"] {
        if python_runs(&format!("the promises of {id}"), id) {
            check_environment(|| make(id)).unwrap_or_else(|failure| panic!("{failure}"));
        }
    }
    if python_runs("the promises of a delayed environment", FAULTY) {
        let delayed = FamilyConfig { delay: Steps::Fixed(2), ..FamilyConfig::default() };
        let config = EnvConfig { distractors: 2, family: delayed, ..EnvConfig::new(FAULTY) };
        check_environment(|| config.make(0)).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_saved_state_goes_on_in_a_new_process_also_behind_a_reset_without_a_seed() {
    if !python_runs("going on from a saved state", FAULTY) {
        return;
    }
    // Episodes end after 30 steps. The cases are in the first episode, in the second, at an end, and at the start of
    // one.
    for steps in [0, 7, 30, 60, 75] {
        let mut env = make_unscaled(FAULTY).unwrap();
        env.reset(Some(11)).unwrap();
        play(env.as_mut(), 0, steps);
        let saved = env.save();
        let future = play(env.as_mut(), 100, 70);
        let mut other = make_unscaled(FAULTY).unwrap();
        other.restore(saved.clone()).unwrap();
        assert_eq!(other.save(), saved, "{steps}");
        assert_eq!(play(other.as_mut(), 100, 70), future, "{steps}");
        // The process may also have been in another state before.
        env.restore(saved).unwrap();
        assert_eq!(play(env.as_mut(), 100, 70), future, "{steps}");
    }
}

#[test]
fn the_first_reset_without_a_seed_is_that_of_seed_0() {
    if !python_runs("the first reset", FAULTY) {
        return;
    }
    let [mut fresh, mut seeded] = [(); 2].map(|()| make_unscaled(FAULTY).unwrap());
    assert_eq!(fresh.reset(None).unwrap().obs, seeded.reset(Some(0)).unwrap().obs);
    assert_eq!(fresh.reset(None).unwrap().obs, seeded.reset(None).unwrap().obs);
    assert_eq!(fresh.save(), seeded.save());
}

#[test]
fn a_process_that_is_lost_once_is_replaced_in_the_middle_of_the_episode() {
    if !python_runs("the replacement of a lost process", FAULTY) {
        return;
    }
    let mut whole = built(&faulty(json!({ "fault": "" })));
    for (fault, at) in [("exit", 5), ("segmentation fault", 5), ("hang", 5), ("exit", 0)] {
        let mut kwargs = once(fault, &format!("lost-{fault}-{at}"));
        kwargs["at"] = at.into();
        let mut config = faulty(kwargs);
        config.gym.timeout = 0.5;
        let mut env = built(&config);
        for env in [&mut whole, &mut env] {
            env.reset(Some(3)).unwrap();
            env.reset(None).unwrap();
        }
        for t in 0..40 {
            let [want, got] = [&mut whole, &mut env].map(|env| play(env.as_mut(), t, 1));
            assert_eq!(got, want, "{fault} at {at}, step {t}");
        }
        assert_eq!(env.save(), whole.save());
    }
}

#[test]
fn the_answer_that_took_another_process_says_so() {
    if !python_runs("the count of restarts", FAULTY) {
        return;
    }
    let mut env = built(&faulty(once("exit", "says-so")));
    env.reset(None).unwrap();
    let steps = [0, 1, 2, 3].map(|t| env.step(&action(env.as_ref(), t)).unwrap());
    let restarts = steps.map(|step| step.info.get("restarts").copied());
    assert_eq!(restarts, [None, None, Some(1.0), None]);
}

#[test]
fn a_call_that_fails_again_is_the_error_and_restarts_end() {
    if !python_runs("the end of restarts", FAULTY) {
        return;
    }
    for (restarts, attempts) in [(0, 1), (1, 2), (3, 4)] {
        let log = crate::common::scratch(&format!("starts-{restarts}"));
        let _ = std::fs::remove_file(&log);
        let mut config = faulty(json!({ "fault": "exit", "log": log }));
        config.gym.restarts = restarts;
        let mut env = built(&config);
        env.reset(None).unwrap();
        play(env.as_mut(), 0, 2);
        let before = env.save();
        // Further attempts of the caller do not help.
        for _ in 0..5 {
            let error = env.step(&action(env.as_ref(), 2)).unwrap_err();
            assert!(matches!(error, EnvError::Bridge(BridgeError::Died { .. })), "{error}");
            assert_eq!(env.save(), before, "an error leaves the environment as it was");
        }
        let starts = std::fs::read_to_string(&log).unwrap();
        assert_eq!(starts.lines().count(), attempts, "{restarts}");
    }
}

#[test]
fn an_exception_is_no_reason_to_start_again_and_the_episode_can_go_on() {
    if !python_runs("going on after an exception", FAULTY) {
        return;
    }
    let mut whole = built(&faulty(json!({ "fault": "" })));
    let mut env = built(&faulty(once("exception", "went-on")));
    for env in [&mut whole, &mut env] {
        env.reset(Some(1)).unwrap();
        play(env.as_mut(), 0, 2);
    }
    let before = env.save();
    let error = env.step(&action(env.as_ref(), 2)).unwrap_err();
    assert!(matches!(error, EnvError::Bridge(BridgeError::Raised { .. })), "{error}");
    assert_eq!(env.save(), before);
    assert_eq!(play(env.as_mut(), 2, 40), play(whole.as_mut(), 2, 40));
}

#[test]
fn an_environment_that_does_not_repeat_itself_is_found_when_it_is_restored_or_started_again() {
    if !python_runs("environments that do not repeat themselves", FAULTY) {
        return;
    }
    let mut env = built(&faulty(json!({ "fault": "own randomness", "at": 2 })));
    env.reset(Some(0)).unwrap();
    play(env.as_mut(), 0, 2);
    let saved = env.save();
    let mut other = make(FAULTY).unwrap();
    let [fresh, error] = [other.save(), saved.clone()].map(|state| other.restore(state).err());
    assert_eq!(fresh, None);
    let message = error.unwrap().to_string();
    assert!(
        message.starts_with(&format!(
            "`{FAULTY}` is not reproducible: after the same reset and the same 2 actions, entry 0 of the observation is "
        )),
        "{message}"
    );
    assert!(
        message.contains(" instead of ")
            && message.contains("\nhint: let the environment draw all random numbers from `self.np_random`"),
        "{message}"
    );
    // The refused restore changed nothing.
    assert_eq!(other.reset(None).unwrap().obs, make(FAULTY).unwrap().reset(None).unwrap().obs);

    let failure = check_environment(|| faulty(json!({ "fault": "own randomness", "at": 2 })).make(0)).unwrap_err();
    assert!(matches!(failure.check, Check::Seeding | Check::Runs), "{failure}");

    // An environment with an unknown generator can be played, but cannot be restored after a reset without a seed.
    let mut env = built(&faulty(json!({ "fault": "another generator" })));
    for (seed, message) in [(Some(4), None), (None, Some("its `np_random` is neither numpy's PCG64 nor"))] {
        env.reset(seed).unwrap();
        play(env.as_mut(), 0, 3);
        let error = env.restore(env.save()).err().map(|error| error.to_string());
        assert_eq!(error.is_some(), message.is_some(), "{error:?}");
        assert!(error.is_none_or(|error| error.contains(message.unwrap())));
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    if !python_runs("states that do not fit", FAULTY) {
        return;
    }
    let mut env = make_unscaled(FAULTY).unwrap();
    env.reset(Some(3)).unwrap();
    env.reset(None).unwrap();
    play(env.as_mut(), 0, 3);
    let saved = env.save();
    type Array = foresee_core::Array;
    let bad: [(&str, Array, &str); 6] = [
        ("seed", vec![1_u64, 2].into(), "expected at most one seed"),
        ("generator", vec![1_u64, 2].into(), "expected the state of a numpy generator"),
        ("actions", vec![0.0_f32; 4].into(), "of shape [4], expected actions of this environment"),
        ("actions", Array::new(vec![1, 2], foresee_core::state::Data::F32(vec![f32::NAN, 0.0])), "expected actions"),
        ("obs", vec![0.0_f64].into(), "of length 1, expected an observation"),
        ("obs", vec![0.0_f32; 2].into(), "is f32, expected f64"),
    ];
    for (name, array, message) in bad {
        let mut state = saved.clone();
        let path = format!("inner.{name}");
        state.take(&path).unwrap();
        state.put(&path, array);
        let error = env.restore(state).unwrap_err();
        assert!(matches!(error, EnvError::BadState { .. }) && error.to_string().contains(message), "{error}");
        assert_eq!(env.save(), saved);
    }
    // The saved observation differs from that to which the replay leads.
    let mut state = saved.clone();
    let (_, mut obs) = state.f64s("inner.obs").unwrap();
    obs[1] += 1e-12;
    state.put("inner.obs", obs);
    let error = env.restore(state).unwrap_err();
    assert!(matches!(error, EnvError::Bridge(BridgeError::NotReproducible { .. })), "{error}");
    assert_eq!(env.save(), saved);
    let future = play(env.as_mut(), 50, 40);
    env.restore(saved).unwrap();
    assert_eq!(play(env.as_mut(), 50, 40), future);
}

#[test]
fn what_was_lost_is_told_with_an_environment_that_cannot_be_started_again() {
    if !python_runs("a restart that does not repeat", FAULTY) {
        return;
    }
    let mut kwargs = once("exit", "cannot-repeat");
    kwargs["at"] = 3.into();
    kwargs["noise"] = true.into();
    let message = failure(&faulty(kwargs)).to_string();
    assert!(
        message.contains("is not reproducible") && message.contains("its process was restarted because"),
        "{message}"
    );
    assert!(message.contains("exit status: 3") && message.contains("  | the motor burns"), "{message}");
}
