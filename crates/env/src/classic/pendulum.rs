//! `Pendulum-v1`: swing a rod up by a torque at its hinge and hold it there. It never terminates.
//!
//! State: θ (rad, 0 upright, not wrapped) and θ̇ (rad/s). Action: torque u in [-2, 2] N m. Observation: cos θ, sin θ, θ̇.
//!
//! * θ̇' = clip(θ̇ + (3g/(2l) · sin θ + 3/(m l²) · u) · dt, ±8)
//! * θ' = θ + θ̇' · dt
//! * reward = −(wrap(θ)² + 0.1 θ̇² + 0.001 u²), of the state before the step
//! * reset: θ uniform in ±π, θ̇ uniform in ±1
//!
//! The constants are g = 10 m/s², l = 1 m, m = 1 kg and dt = 0.05 s. Source: Gymnasium 1.4.0,
//! `gymnasium/envs/classic_control/pendulum.py`, under numpy 2.4.6. The results equal Gymnasium's bit for bit, which
//! requires three peculiarities:
//! * By numpy 2's promotion rules, terms of the float32 torque stay float32 until they are added to a float64: 3·u, and
//!   0.001·u² with 0.001 rounded to float32.
//! * Squares are calls of the C library's `pow`, which does not always equal x·x.
//! * Angles wrap by Python's floored modulo.

use core::f64::consts::PI;
use core::hint::black_box;

use foresee_core::Termination;

use super::task::{ClassicEnvironment, ClassicTask};
use crate::environment::{Physics, Spec};
use crate::numpy_random::NumpyRng;
use crate::space::BoxSpace;

/// rad/s
const MAX_SPEED: f64 = 8.0;
/// N m
const MAX_TORQUE: f32 = 2.0;
/// s
const DT: f64 = 0.05;
/// 3g/(2l), in 1/s²
const GRAVITY_TERM: f64 = 15.0;
/// 3/(m l²), in 1/(kg m²)
const TORQUE_TERM: f32 = 3.0;
/// Half-widths of the uniform reset distributions, in rad and rad/s.
const RESET: [f64; 2] = [PI, 1.0];

/// `Pendulum-v1` without its time limit. State: θ and θ̇, in rad and rad/s.
pub type Pendulum = ClassicEnvironment<Equations, 2>;

/// The equations of `Pendulum-v1`.
#[derive(Debug)]
pub struct Equations;

impl ClassicTask<2> for Equations {
    const PARAMETERS: &'static [&'static str] = &["mass", "length", "gravity"];

    fn spec() -> Spec {
        let observations = BoxSpace::symmetric(&[1.0, 1.0, MAX_SPEED as f32]);
        let actions = BoxSpace::symmetric(&[MAX_TORQUE]);
        Spec::new("Pendulum-v1", observations, actions, Termination::never())
    }

    fn begin(rng: &mut NumpyRng) -> [f64; 2] {
        RESET.map(|half_width| rng.uniform(-half_width, half_width))
    }

    fn advance([theta, theta_dot]: [f64; 2], torque: f32, factors: Physics) -> ([f64; 2], f64) {
        let torque_cost = 0.001_f32 * torque.powf(two() as f32);
        let cost = wrap(theta).powf(two()) + 0.1 * theta_dot.powf(two()) + f64::from(torque_cost);

        let Physics { mass, length, gravity } = factors;
        let by_gravity = GRAVITY_TERM * (gravity / length) * theta.sin();
        let acceleration = by_gravity + f64::from(TORQUE_TERM * torque) / (mass * length * length);
        let theta_dot = (theta_dot + acceleration * DT).clamp(-MAX_SPEED, MAX_SPEED);
        ([theta + theta_dot * DT, theta_dot], -cost)
    }

    fn observe([theta, theta_dot]: [f64; 2]) -> Vec<f32> {
        vec![theta.cos() as f32, theta.sin() as f32, theta_dot as f32]
    }
}

/// Returns an exponent that the compiler cannot see. Otherwise it would turn `pow(x, 2)` into x·x, but Gymnasium's
/// rewards come from `pow`.
fn two() -> f64 {
    black_box(2.0)
}

/// Returns the angle in [-π, π), by Python's modulo, whose result has the sign of the divisor.
pub(super) fn wrap(theta: f64) -> f64 {
    let remainder = (theta + PI) % (2.0 * PI);
    (if remainder < 0.0 { remainder + 2.0 * PI } else { remainder }) - PI
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn advance(state: [f64; 2], torque: f32, factors: Physics) -> ([f64; 2], f64) {
        Equations::advance(state, torque, factors)
    }

    #[test]
    fn it_agrees_with_gymnasium_where_a_plain_square_would_not() {
        // State and action before a step, and reward and state after it, recorded from
        // `gymnasium.make("Pendulum-v1").unwrapped`. Among 20000 random steps these are ones where x·x in place of
        // `pow(x, 2)` changes the reward: for θ or θ̇ in the first, for u in the second, which also wraps a negative
        // angle.
        let steps = [
            (
                ([10.511604160251125, -5.950914924645614], 0.698_585_8),
                ([10.186104509662947, -6.509993011763548], -7.763892047103349),
            ),
            (
                ([-14.011129040230202, -2.2963937266812153], 0.261_632_44),
                ([-14.161189023226266, -3.0011996599212867], -2.6147377754592647),
            ),
        ];
        for ((state, torque), (want, reward)) in steps {
            let got = advance(state, torque, Physics::default());
            if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
                assert_eq!(got, (want, reward));
            }
            assert!((got.1 - reward).abs() < 1e-9 && got.0.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }

    #[test]
    fn it_hangs_still_at_the_bottom_and_stands_still_at_the_top() {
        assert_eq!(advance([0.0, 0.0], 0.0, Physics::default()), ([0.0, 0.0], 0.0));
        let ([theta, theta_dot], reward) = advance([PI, 0.0], 0.0, Physics::default());
        assert!((theta - PI).abs() < 1e-15 && theta_dot.abs() < 1e-14);
        assert_eq!(reward, -PI * PI);
    }

    #[test]
    fn full_torque_holds_the_rod_where_its_sine_is_two_fifths() {
        // 15 sin θ = 3 u: full torque balances gravity where sin θ = 0.4.
        let theta = 0.4_f64.asin();
        let ([_, theta_dot], _) = advance([theta, 0.0], -MAX_TORQUE, Physics::default());
        assert!(theta_dot.abs() < 1e-15, "{theta_dot}");
    }

    #[test]
    fn factors_are_those_of_the_equation_of_motion() {
        let factors = Physics { mass: 2.0, length: 0.5, gravity: 1.5 };
        let (theta, torque) = (0.3_f64, 1.25_f32);
        let ([_, theta_dot], _) = advance([theta, 0.0], torque, factors);
        let (g, l, m) = (10.0 * 1.5, 0.5, 2.0);
        let want = DT * (3.0 * g / (2.0 * l) * theta.sin() + 3.0 / (m * l * l) * f64::from(torque));
        assert!((theta_dot - want).abs() < 1e-12, "{theta_dot}, {want}");
        let refused = |physics: Physics| Pendulum::new().set_physics(physics).unwrap_err().to_string();
        assert!(
            refused(Physics { mass: 0.0, ..factors })
                .starts_with("the mass of `Pendulum-v1` cannot be multiplied by 0\n")
        );
        assert!(
            refused(Physics { gravity: f64::NAN, ..factors })
                .contains("the gravity of `Pendulum-v1` cannot be multiplied by NaN")
        );
    }

    #[test]
    fn torque_and_speed_are_clipped() {
        let mut env = Pendulum::new();
        let mut step = |action: f32| {
            env.reset(Some(0)).unwrap();
            env.step(&[action]).unwrap()
        };
        assert_eq!(step(100.0), step(MAX_TORQUE));
        assert_eq!(advance([1.5, 7.99], 2.0, Physics::default()).0[1], MAX_SPEED);
        assert_eq!(advance([-1.5, -7.99], -2.0, Physics::default()).0[1], -MAX_SPEED);
    }

    #[test]
    fn angles_wrap_as_in_python() {
        // `((x + math.pi) % (2 * math.pi)) - math.pi`
        for (x, want) in [(PI, -PI), (-PI, -PI), (0.0, 0.0), (-4.0, 2.2831853071795862), (-100.0, 0.5309649148733833)] {
            assert_eq!(wrap(x), want, "{x}");
        }
    }
}
