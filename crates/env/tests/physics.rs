//! Factors on the physics of every task: a factor of 1 changes no bit, any other factor changes the motion, and a
//! parameter that a task does not have cannot be changed.

use foresee_env::test_support::available_environments;
use foresee_env::{EnvError, Environment, Physics, make};

/// The tasks with physical parameters. MuJoCo's tasks have none.
const KNOWN: [(&str, &[&str]); 5] = [
    ("Pendulum-v1", &["mass", "length", "gravity"]),
    ("MountainCarContinuous-v0", &["mass", "gravity"]),
    ("CartPoleContinuous-v0", &["mass", "length", "gravity"]),
    ("CartPoleSwingUp-v0", &["mass", "length", "gravity"]),
    ("AcrobotSwingUp-v0", &["mass", "length", "gravity"]),
];

/// Returns factors of 1, except for one parameter.
fn factor(parameter: &str, factor: f64) -> Physics {
    let of = |name| if name == parameter { factor } else { 1.0 };
    Physics { mass: of("mass"), length: of("length"), gravity: of("gravity") }
}

/// Returns the observations and rewards of a few steps, fewer if the task ends.
fn motion(env: &mut dyn Environment) -> Vec<(Vec<f32>, f64)> {
    env.reset(Some(5)).unwrap();
    let dim = env.spec().action_space.dim();
    let mut motion = Vec::new();
    for action in [1.0, 0.2, -0.7, 0.0, 1.0] {
        let step = env.step(&vec![action; dim]).unwrap();
        motion.push((step.obs, step.reward));
        if step.terminated {
            break;
        }
    }
    motion
}

#[test]
fn a_factor_of_1_changes_no_bit_and_another_one_changes_the_motion_or_is_refused() {
    for info in available_environments("a_factor_of_1_changes_no_bit_and_another_one_changes_the_motion_or_is_refused")
    {
        let id = info.id;
        let mut env = make(id).unwrap();
        let usual = motion(env.as_mut());
        let known = KNOWN.iter().find(|(known, _)| *known == id).map_or(&[][..], |(_, known)| known);
        for parameter in ["mass", "length", "gravity"] {
            env.set_physics(factor(parameter, 1.0)).unwrap();
            assert_eq!(motion(env.as_mut()), usual, "{id}");
            let outcome = env.set_physics(factor(parameter, 1.3));
            if known.contains(&parameter) {
                assert_eq!(outcome, Ok(()), "{id}");
                assert_ne!(motion(env.as_mut()), usual, "{id}: {parameter}");
            } else {
                assert!(matches!(outcome, Err(EnvError::Physics { .. })), "{id}: {parameter}: {outcome:?}");
            }
            env.set_physics(Physics::default()).unwrap();
        }
    }
}
