//! `CartPoleContinuous-v0`: keep a pole upright on a cart, by a force on the cart of any size up to that of CartPole.
//!
//! State and observation: x (m), ẋ (m/s), θ (rad, 0 upright, not wrapped) and θ̇ (rad/s). The action a in [-1, 1] is
//! the force F = 10 a in N.
//!
//! * u = (F + m l θ̇² sin θ) / (M + m)
//! * θ̈ = (g sin θ − u cos θ) / (l (4/3 − m cos² θ / (M + m)))
//! * ẍ = u − m l θ̈ cos θ / (M + m)
//! * Euler: x' = x + ẋ dt, ẋ' = ẋ + ẍ dt, θ' = θ + θ̇ dt, θ̇' = θ̇ + θ̈ dt
//! * terminated: |x'| > 2.4 m or |θ'| > 12°
//! * reward = 1, also for the terminating step
//! * reset: all four uniform in ±0.05
//!
//! The cart has M = 1 kg, the pole m = 0.1 kg and half-length l = 0.5 m (a uniform rod); g = 9.8 m/s² and dt = 0.02 s.
//! Equations: R. V. Florian, "Correct equations for the dynamics of the cart-pole system", 2007, without friction.
//! Source: `CartPole-v1` of Gymnasium 1.4.0, `gymnasium/envs/classic_control/cartpole.py`, whose two actions are
//! a = ±1. Seeded resets equal those of Gymnasium; a step agrees up to the rounding of sine and cosine. The limits here
//! apply to the float32 observation, those of Gymnasium to the float64 state.

use core::f64::consts::TAU;

use foresee_core::Termination;
use foresee_core::termination::Bound;

use super::task::{ClassicEnvironment, ClassicTask};
use crate::environment::{Physics, Spec};
use crate::numpy_random::NumpyRng;
use crate::space::BoxSpace;

/// kg
const CART_MASS: f64 = 1.0;
/// kg
const POLE_MASS: f64 = 0.1;
/// m
const HALF_LENGTH: f64 = 0.5;
/// m/s²
const GRAVITY: f64 = 9.8;
/// N
pub(super) const MAX_FORCE: f64 = 10.0;
/// s
pub(super) const DT: f64 = 0.02;
/// m, to either side
const TRACK: f32 = 2.4;
/// rad, to either side: 12°
const MAX_ANGLE: f32 = (12.0 * TAU / 360.0) as f32;

/// The bound on the cart's position: it must be on its track.
pub(super) fn on_track() -> Bound {
    Bound { quantity: 0.into(), low: -TRACK, high: TRACK, closed: true }
}
/// Bound of the observed position in m: twice the track, as in Gymnasium.
pub(super) const MAX_POSITION: f32 = 2.0 * TRACK;

/// `CartPoleContinuous-v0` without its time limit. State: x, ẋ, θ, θ̇, in m, m/s, rad, rad/s.
pub type CartPoleContinuous = ClassicEnvironment<Equations, 4>;

/// The equations of `CartPoleContinuous-v0`.
#[derive(Debug)]
pub struct Equations;

impl ClassicTask<4> for Equations {
    const PARAMETERS: &'static [&'static str] = &["mass", "length", "gravity"];

    fn spec() -> Spec {
        let upright = Bound { quantity: 2.into(), low: -MAX_ANGLE, high: MAX_ANGLE, closed: true };
        let observations = BoxSpace::symmetric(&[MAX_POSITION, f32::INFINITY, 2.0 * MAX_ANGLE, f32::INFINITY]);
        let actions = BoxSpace::symmetric(&[1.0]);
        Spec::new("CartPoleContinuous-v0", observations, actions, Termination::outside(vec![on_track(), upright]))
    }

    fn begin(rng: &mut NumpyRng) -> [f64; 4] {
        [(); 4].map(|()| rng.uniform(-0.05, 0.05))
    }

    fn advance(state: [f64; 4], action: f32, factors: Physics) -> ([f64; 4], f64) {
        (integrate(state, MAX_FORCE * f64::from(action), DT, factors), 1.0)
    }

    fn observe(state: [f64; 4]) -> Vec<f32> {
        state.map(|x| x as f32).into()
    }
}

/// Returns the state x, ẋ, θ, θ̇ after `dt` s under a force in N on the cart. The factor on mass applies to the cart
/// and to the pole.
pub(super) fn integrate([x, x_dot, theta, theta_dot]: [f64; 4], force: f64, dt: f64, factors: Physics) -> [f64; 4] {
    let (half_length, gravity) = (HALF_LENGTH * factors.length, GRAVITY * factors.gravity);
    let (pole_mass, cart_mass) = (POLE_MASS * factors.mass, CART_MASS * factors.mass);
    let total_mass = pole_mass + cart_mass;
    let mass_length = pole_mass * half_length;

    let (sin, cos) = (theta.sin(), theta.cos());
    let u = (force + mass_length * (theta_dot * theta_dot) * sin) / total_mass;
    let theta_acceleration =
        (gravity * sin - cos * u) / (half_length * (4.0 / 3.0 - pole_mass * (cos * cos) / total_mass));
    let x_acceleration = u - mass_length * theta_acceleration * cos / total_mass;

    [x + dt * x_dot, x_dot + dt * x_acceleration, theta + dt * theta_dot, theta_dot + dt * theta_acceleration]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classic::oracles::Motion;
    use crate::environment::Environment;

    /// Computes the energy of the cart and of a uniform rod, from its centre of mass and its moment of inertia about
    /// it, m (2l)²/12.
    fn energy([_, x_dot, theta, theta_dot]: [f64; 4], factors: Physics) -> f64 {
        let Physics { mass, length, gravity } = factors;
        let (cart, pole, half_length) = (mass, 0.1 * mass, 0.5 * length);
        let velocity = [x_dot + half_length * theta_dot * theta.cos(), -half_length * theta_dot * theta.sin()];
        let inertia = pole * (2.0 * half_length).powi(2) / 12.0;
        let kinetic = cart * x_dot * x_dot + pole * velocity.map(|v| v * v).iter().sum::<f64>();
        (kinetic + inertia * theta_dot * theta_dot) / 2.0 + pole * 9.8 * gravity * half_length * theta.cos()
    }

    /// Recorded from Gymnasium 1.4.0: `env = gymnasium.make("CartPole-v1"); env.reset(seed=0)`, then steps with these
    /// actions to the end of the episode. The states are `env.unwrapped.state` at the reset and after each step. Every
    /// reward is 1.
    const ACTIONS: [f32; 22] = [
        -1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0,
        1.0, 1.0,
    ];
    const STATES: [[f64; 4]; 23] = [
        [0.013696168732145436, -0.02302132862361297, -0.045902647606380534, -0.04834723644714709],
        [0.013235742159673177, -0.2174560418364429, -0.04686959233532348, 0.22950698447811793],
        [0.00888662132294432, -0.021696746747021045, -0.04227945264576112, -0.07758410584835249],
        [0.008452686388003899, 0.1740050013009813, -0.04383113476272817, -0.38330085284533644],
        [0.011932786414023525, 0.36972097494493195, -0.0514971518196349, -0.6894750838260724],
        [0.01932720591292216, 0.1753500738375252, -0.06528665349615635, -0.41343871581780767],
        [0.022834207389672664, -0.018788647345238413, -0.07355542781251251, -0.14203167218921636],
        [0.022458434442767895, -0.21278429206584393, -0.07639606125629683, 0.12656915328321444],
        [0.018202748601451015, -0.40673339775451545, -0.07386467819063254, 0.39420565678589076],
        [0.010068080646360706, -0.6007337507577519, -0.06598056505491473, 0.6627162255421428],
        [-0.001946594368794333, -0.7948786849211696, -0.05272624054407187, 0.9339157443882057],
        [-0.017844168067217725, -0.9892512083023774, -0.03404792565630776, 1.2095750151986289],
        [-0.037629192233265274, -0.7937065079434635, -0.00985642535233518, 0.9064198075771359],
        [-0.053503322392134546, -0.9886936271064926, 0.008271970799207537, 1.195988537182107],
        [-0.0732771949342644, -0.7936797355920202, 0.03219174154284968, 0.905909639476128],
        [-0.08915078964610482, -0.9892224521654649, 0.05030993433237224, 1.2085344829974556],
        [-0.10893523868941411, -0.7947851238945915, 0.07448062399232136, 0.9320323983287016],
        [-0.12483094116730595, -0.9908287985598545, 0.09312127195889539, 1.2471597068764704],
        [-0.14464751713850305, -1.18701331256065, 0.11806446609642479, 1.567499581860119],
        [-0.16838778338971605, -0.9934830035658504, 0.14941445773362716, 1.3138553837775393],
        [-0.18825744346103307, -0.8005342747082387, 0.17569156540917794, 1.0714215107619118],
        [-0.20426812895519786, -0.6081148569189854, 0.19711999562441618, 0.8386235658162884],
        [-0.21643042609357757, -0.4161516006676581, 0.21389246694074193, 0.6138335248989878],
    ];

    const MOTION: Motion = Motion { integrate, energy, driven: 1, units: [[1, 0], [1, -1], [0, 0], [0, -1]], lever: 0 };

    #[test]
    fn energy_is_kept_to_first_order() {
        MOTION.keeps_energy([0.3, -0.5, 0.4, 1.0], 1.0, 5000);
        MOTION.keeps_energy([0.0, 0.2, 3.0, -2.0], 1.0, 5000);
    }

    #[test]
    fn the_power_of_the_force_is_that_on_the_cart() {
        MOTION.has_the_power_of_its_action();
    }

    #[test]
    fn factors_are_a_change_of_units() {
        MOTION.depends_on_no_units();
    }

    #[test]
    fn an_episode_of_gymnasium_comes_out_again_and_its_last_step_is_rewarded() {
        let mut env = CartPoleContinuous::new();
        let mut obs = env.reset(Some(0)).unwrap().obs;
        assert_eq!(obs, STATES[0].map(|x| x as f32));
        assert_eq!(Equations::begin(&mut NumpyRng::from_seed(0)), STATES[0]);
        for (t, (action, pair)) in ACTIONS.into_iter().zip(STATES.windows(2)).enumerate() {
            let (state, _) = Equations::advance(pair[0], action, Physics::default());
            assert!(
                state.iter().zip(pair[1]).all(|(got, want)| (got - want).abs() < 1e-14),
                "{t}: {state:?}, {pair:?}"
            );
            let step = env.step(&[action]).unwrap();
            obs = step.obs;
            assert!(obs.iter().zip(pair[1]).all(|(&got, want)| (f64::from(got) - want).abs() < 1e-7), "{t}: {obs:?}");
            assert_eq!((step.reward, step.terminated), (1.0, t + 1 == ACTIONS.len()), "{t}");
        }
        assert!(obs[2] > MAX_ANGLE);
    }

    #[test]
    fn it_agrees_with_gymnasium_far_from_the_upright_and_at_the_end_of_the_track() {
        // States set by hand, and `env.unwrapped.state` one step later. All three steps terminate.
        for (state, action, want) in [
            ([0.3, -1.2, 3.0, 2.5], 1.0, [0.27599999999999997, -1.0023020297985108, 3.05, 2.83506854300852]),
            ([-1.0, 0.7, -2.0, -6.0], -1.0, [-0.986, 0.48077768640008944, -2.12, -6.404176451944473]),
            ([2.3, 5.5, 0.01, -0.4], 1.0, [2.4099999999999997, 5.694978680470028, 0.002, -0.6895134464256221]),
        ] {
            let (got, reward) = Equations::advance(state, action, Physics::default());
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-14), "{got:?}, {want:?}");
            assert!(reward == 1.0 && Equations::spec().terminates(&[], &Equations::observe(got)), "{got:?}");
        }
    }

    #[test]
    fn the_limits_themselves_are_inside() {
        let rule = Equations::spec().termination.unwrap();
        let beyond = |x: f32| x.next_up();
        assert!(!rule.terminated(&[], &[TRACK, 9.0, -MAX_ANGLE, 9.0]));
        assert!(
            rule.terminated(&[], &[-beyond(TRACK), 0.0, 0.0, 0.0])
                && rule.terminated(&[], &[0.0, 0.0, beyond(MAX_ANGLE), 0.0])
        );
    }

    #[test]
    fn the_force_is_proportional_to_the_action() {
        let speed = |action| Equations::advance([0.0; 4], action, Physics::default()).0[1];
        assert_eq!(speed(0.0), 0.0);
        assert!((speed(0.25) - speed(1.0) / 4.0).abs() < 1e-15 && (speed(-0.5) + speed(1.0) / 2.0).abs() < 1e-15);
    }
}
