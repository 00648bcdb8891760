//! `MountainCarContinuous-v0`: a car in a valley, too weak for the slope, swings itself up to the goal on the right.
//!
//! State: position x (m) and velocity v (m per step). Action: force a in [-1, 1]. Observation: x, v.
//!
//! * v' = clip(v + 0.0015 a − 0.0025 cos 3x, ±0.07)
//! * x' = clip(x + v', −1.2, 0.6); at the left wall a velocity to the left becomes 0
//! * terminated: x' ≥ 0.45 and v' ≥ 0
//! * reward = (100 if terminated) − 0.1 a²
//! * reset: x uniform in [-0.6, -0.4), v = 0
//!
//! The unit of time is a step. 0.0015 is the engine's force over the car's mass and 0.0025 the pull of gravity. The
//! shape of the valley is fixed, so the task has no length that could change. Source: Gymnasium 1.4.0,
//! `gymnasium/envs/classic_control/continuous_mountain_car.py`, under numpy 2.4.6.
//!
//! The results equal Gymnasium's bit for bit, which requires its types:
//! * By numpy 2's promotion rules, the force 0.0015 a is a float32 product.
//! * The pull is a float64, because `math.cos` returns one. It is rounded to float32 when it is combined with the
//!   force.
//! * Every later sum is float32, and so is the state.
//! * The state of a reset is float64, and so is its first 3x. A position that float32 represents exactly is treated as
//!   a position after a step. This is wrong for one reset in 2²⁹, by one rounding of 3x.
//!
//! An action beyond ±1 acts as ±1, also in its cost. Gymnasium computes the cost from the action as given.

use foresee_core::Termination;
use foresee_core::termination::Bound;

use super::task::{ClassicEnvironment, ClassicTask};
use crate::environment::{Physics, Spec};
use crate::numpy_random::NumpyRng;
use crate::space::BoxSpace;

/// m
const LEFT: f32 = -1.2;
/// m
const RIGHT: f32 = 0.6;
/// m
const GOAL: f32 = 0.45;
/// m per step
const MAX_SPEED: f32 = 0.07;
/// Acceleration under a force of 1, in m per step²
const POWER: f32 = 0.0015;
/// Largest acceleration by gravity, in m per step²
const PULL: f64 = 0.0025;

/// `MountainCarContinuous-v0` without its time limit. State: position and velocity, in m and m per step.
pub type MountainCarContinuous = ClassicEnvironment<Equations, 2>;

/// The equations of `MountainCarContinuous-v0`.
#[derive(Debug)]
pub struct Equations;

impl ClassicTask<2> for Equations {
    const PARAMETERS: &'static [&'static str] = &["mass", "gravity"];

    fn spec() -> Spec {
        let at_least = |index: usize, low| Bound { quantity: index.into(), low, high: f32::INFINITY, closed: true };
        let observations = BoxSpace::new(vec![LEFT, -MAX_SPEED], vec![RIGHT, MAX_SPEED]);
        let actions = BoxSpace::symmetric(&[1.0]);
        Spec::new(
            "MountainCarContinuous-v0",
            observations,
            actions,
            Termination::inside(vec![at_least(0, GOAL), at_least(1, 0.0)]),
        )
    }

    fn begin(rng: &mut NumpyRng) -> [f64; 2] {
        [rng.uniform(-0.6, -0.4), 0.0]
    }

    fn advance([position, velocity]: [f64; 2], force: f32, factors: Physics) -> ([f64; 2], f64) {
        let single = position as f32;
        let after_a_step = f64::from(single) == position;
        let phase = if after_a_step { f64::from(3.0 * single) } else { 3.0 * position };
        let by_force = (f64::from(force * POWER) / factors.mass) as f32;
        let by_gravity = (PULL * factors.gravity * phase.cos()) as f32;

        // A float64 sum of two float32 numbers, rounded to float32, is their float32 sum.
        let velocity = (velocity + f64::from(by_force - by_gravity)) as f32;
        let velocity = velocity.clamp(-MAX_SPEED, MAX_SPEED);
        let position = ((position + f64::from(velocity)) as f32).clamp(LEFT, RIGHT);
        let velocity = if position == LEFT && velocity < 0.0 { 0.0 } else { velocity };

        let goal = if position >= GOAL && velocity >= 0.0 { 100.0 } else { 0.0 };
        let force = f64::from(force);
        ([position.into(), velocity.into()], goal - force * force * 0.1)
    }

    fn observe([position, velocity]: [f64; 2]) -> Vec<f32> {
        vec![position as f32, velocity as f32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    /// State and force before a step; state, reward and termination after it.
    type RecordedStep = ([f64; 2], f32, [f64; 2], f64, bool);

    /// Recorded from `gymnasium.make("MountainCarContinuous-v0").unwrapped`, starting from float32 states set by hand:
    /// around the goal, into and off both walls, around both limits of the speed.
    const STEPS: [RecordedStep; 11] = [
        (
            [0.4499000012874603, 0.0006000000284984708],
            0.3,
            [0.45040175318717957, 0.0005017515504732728],
            99.99099999928474,
            true,
        ),
        (
            [0.450300008058548, -0.0020000000949949026],
            -0.5,
            [0.44700467586517334, -0.0032953210175037384],
            -0.025,
            false,
        ),
        ([0.45010000467300415, -9.999999747378752e-06], 1.0, [0.4510432183742523, 0.0009432152728550136], 99.9, true),
        ([-1.190000057220459, -0.05000000074505806], 0.25, [-1.2000000476837158, 0.0], -0.00625, false),
        ([-1.2000000476837158, 0.0], -1.0, [-1.1992582082748413, 0.000741895753890276], -0.1, false),
        ([0.5899999737739563, 0.0689999982714653], 1.0, [0.6000000238418579, 0.07000000029802322], 99.9, true),
        ([-0.20000000298023224, 0.06989999860525131], 1.0, [-0.13066333532333374, 0.0693366602063179], -0.1, false),
        ([-0.20000000298023224, -0.06989999860525131], -1.0, [-0.27000001072883606, -0.07000000029802322], -0.1, false),
        ([-0.800000011920929, -0.06989999860525131], -1.0, [-0.8695565462112427, -0.06955651193857193], -0.1, false),
        ([0.6000000238418579, -0.019999999552965164], 0.0, [0.5805680155754089, -0.01943199336528778], 0.0, false),
        ([0.44999998807907104, 0.0], 0.6, [0.4503524601459503, 0.0003524830681271851], 99.96399999713898, true),
    ];

    #[test]
    fn it_agrees_with_gymnasium_at_the_walls_the_goal_and_the_limits_of_speed() {
        let rule = Equations::spec().termination.unwrap();
        for (state, force, after, reward, terminated) in STEPS {
            // The cosine is rounded to float32 immediately, so the last digit of the C library's result has no effect.
            let (got, got_reward) = Equations::advance(state, force, Physics::default());
            assert_eq!((got, got_reward), (after, reward), "{state:?}, {force}");
            assert_eq!(rule.terminated(&[], &Equations::observe(got)), terminated, "{got:?}");
        }
    }

    #[test]
    fn beyond_the_goal_and_rolling_back_is_no_end() {
        let rule = Equations::spec().termination.unwrap();
        assert!(
            !rule.terminated(&[], &[0.5, -0.01])
                && rule.terminated(&[], &[0.5, 0.0])
                && !rule.terminated(&[], &[0.44, 0.01])
        );
        let ([position, velocity], reward) = Equations::advance([0.5, -0.01], 0.0, Physics::default());
        assert!(position > GOAL.into() && velocity < 0.0 && reward == 0.0, "{position}, {velocity}: {reward}");
    }

    #[test]
    fn factors_are_those_of_force_over_mass_and_of_gravity() {
        let factors = Physics { mass: 2.0, gravity: 1.5, ..Physics::default() };
        let (position, force) = (-0.3, 0.8_f32);
        let ([_, velocity], _) = Equations::advance([position, 0.0], force, factors);
        let want = 0.0015 * 0.8 / 2.0 - 0.0025 * 1.5 * (3.0 * position).cos();
        assert!((velocity - want).abs() < 1e-9, "{velocity}, {want}");
        let refused = MountainCarContinuous::new().set_physics(Physics { length: 2.0, ..factors }).unwrap_err();
        assert!(
            refused.to_string().ends_with("the factor must be 1, because this task can change only mass, gravity"),
            "{refused}"
        );
    }

    #[test]
    fn an_action_beyond_the_space_costs_what_the_nearest_one_costs() {
        let mut env = MountainCarContinuous::new();
        env.reset(Some(0)).unwrap();
        assert_eq!(env.step(&[-7.0]).unwrap().reward, -0.1);
    }
}
