//! The types of rewards and flags that a step may return, and those that it may not.

use foresee_env::{EnvConfig, Step};
use serde_json::json;

use crate::common::{FAULTY, action, built, failure, python_runs, with_kwargs};
use crate::faults::says;

const GIVING: &str = "gym:tests.gym_envs.faults:Giving-v0";

/// Configures an environment whose first step returns the value of a Python expression as one of its parts.
fn giving(part: &str, expression: &str) -> EnvConfig {
    with_kwargs(GIVING, json!({ "at": 1, "gives": { part: expression } }))
}

fn first_step(config: &EnvConfig) -> Step {
    let mut env = built(config);
    env.reset(Some(0)).unwrap();
    let action = action(env.as_ref(), 0);
    env.step(&action).unwrap_or_else(|error| panic!("{config:?}: {error}"))
}

#[test]
fn a_flag_is_a_bool_however_it_is_wrapped() {
    if !python_runs("flags", FAULTY) {
        return;
    }
    for (expression, flag) in [
        ("True", true),
        ("np.bool_(True)", true),
        ("np.bool_(False)", false),
        ("np.array([True])", true),
        ("np.array(False)", false),
        ("np.array([[False]])", false),
        ("1", true),
        ("np.float32(0.0)", false),
        ("np.array([1])", true),
    ] {
        let [terminated, truncated] = ["terminated", "truncated"].map(|part| first_step(&giving(part, expression)));
        assert_eq!((terminated.terminated, terminated.truncated), (flag, false), "{expression}");
        assert_eq!((truncated.terminated, truncated.truncated), (false, flag), "{expression}");
    }
}

#[test]
fn a_reward_is_a_number_however_it_is_wrapped() {
    if !python_runs("rewards", FAULTY) {
        return;
    }
    for (expression, reward) in [
        ("0.1", 0.1),
        ("-3", -3.0),
        ("np.float64(0.1)", 0.1),
        ("np.float32(0.1)", 0.1_f32.into()),
        ("np.int16(7)", 7.0),
        ("np.array(0.1)", 0.1),
        ("np.array([[0.1]])", 0.1),
        ("np.bool_(True)", 1.0),
    ] {
        assert_eq!(first_step(&giving("reward", expression)).reward, reward, "{expression}");
    }
}

#[test]
fn what_is_no_flag_or_no_number_is_refused() {
    if !python_runs("flags and rewards of other types", FAULTY) {
        return;
    }
    for (part, expression, reason) in [
        ("terminated", "'False'", "its `terminated` is 'False' of type str, but must be a bool"),
        ("truncated", "None", "its `truncated` is None of type NoneType, but must be a bool"),
        ("terminated", "2", "its `terminated` is 2.0, but must be a bool"),
        ("truncated", "np.nan", "its `truncated` is nan, but must be a bool"),
        ("terminated", "np.array([True, False])", "its `terminated` has shape (2,), but must be a bool"),
        ("truncated", "[[1], [1, 2]]", "its `truncated` is [[1], [1, 2]] of type list, but must be a bool"),
        ("reward", "'1.5'", "its `reward` is '1.5' of type str, but must be one number"),
        (
            "reward",
            "np.array(['1.5'])",
            "its `reward` is array(['1.5'], dtype='<U3') of type ndarray, but must be one number",
        ),
        ("reward", "None", "its `reward` is None of type NoneType, but must be one number"),
        ("reward", "np.zeros(2)", "its `reward` has shape (2,), but must be one number"),
        ("reward", "np.zeros(0)", "its `reward` has shape (0,), but must be one number"),
        ("reward", "1j", "its `reward` is 1j of type complex, but must be one number"),
        ("reward", "10**400", "its `reward` is too large for a float"),
        ("obs", "np.array(['1', '2'])", "its observation is an array of type <U1, but must be numeric"),
    ] {
        let first = format!("`{GIVING}` breaks Gymnasium's interface in step: {reason}\n");
        says(&failure(&giving(part, expression)), &first, &[], "check_env");
    }
}

#[test]
fn halves_of_surrogate_pairs_are_sent_as_question_marks() {
    if !python_runs("surrogates", FAULTY) {
        return;
    }
    let step = first_step(&giving("info", "{'sur' + chr(0xd800): 1.0, 'é' + chr(0x1f9be): 2.0}"));
    assert_eq!(step.info, [("sur?".into(), 1.0), ("é🦾".into(), 2.0)].into());
    let error = failure(&giving("obs", "(_ for _ in ()).throw(ValueError('no ' + chr(0xd800)))"));
    let first = format!("`{GIVING}` failed in make: ValueError: no ?\n");
    says(&error, &first, &["\n  | ValueError: no ?\n"], "correct the environment's code");
}
