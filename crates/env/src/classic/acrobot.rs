//! `AcrobotSwingUp-v0`: swing two hanging links up by a torque at the joint between them, and hold them there. It never
//! terminates.
//!
//! State: θ₁ (rad, 0 hanging), θ₂ (rad, angle of the second link relative to the first, 0 straight), θ̇₁ and θ̇₂
//! (rad/s). Action: torque τ in [-1, 1] N m. Observation: cos θ₁, sin θ₁, cos θ₂, sin θ₂, θ̇₁, θ̇₂.
//!
//! * d₁ = 2 m c² + m l² + 2 m l c cos θ₂ + 2 I, d₂ = m c² + m l c cos θ₂ + I
//! * φ₂ = m c g sin(θ₁ + θ₂)
//! * φ₁ = −m l c θ̇₂² sin θ₂ − 2 m l c θ̇₁ θ̇₂ sin θ₂ + m (c + l) g sin θ₁ + φ₂
//! * θ̈₂ = (τ + φ₁ d₂/d₁ − m l c θ̇₁² sin θ₂ − φ₂) / (m c² + I − d₂²/d₁)
//! * θ̈₁ = −(d₂ θ̈₂ + φ₁) / d₁
//! * One step of the classical Runge-Kutta method of order 4. Then angles wrap to ±π, and speeds are clipped to ±4π and
//!   ±9π.
//! * reward = (h + 2)/4, in [0, 1], where h = −cos θ₁ − cos(θ₁ + θ₂) is the height of the tip above the fixed joint in
//!   link lengths, in the state after the step
//! * reset: all four uniform in ±0.1, rounded to float32
//!
//! Each link has m = 1 kg, l = 1 m, its centre of mass at c = 0.5 m, and the moment of inertia I = 1 kg m² about it.
//! Gravity is g = 9.8 m/s², the time step dt = 0.2 s. A factor on the length applies to l and c; I scales with m l².
//! Equations: R. S. Sutton and A. G. Barto, "Reinforcement Learning: An Introduction", the acrobot. Source of the
//! dynamics and the resets: `Acrobot-v1` of Gymnasium 1.4.0, `gymnasium/envs/classic_control/acrobot.py` with
//! `book_or_nips = "book"`, whose three actions are τ = −1, 0, 1. Seeded resets equal those of Gymnasium; a step agrees
//! up to rounding.

use core::f64::consts::PI;

use foresee_core::Termination;

use super::pendulum::wrap;
use super::task::{ClassicEnvironment, ClassicTask};
use crate::environment::{Physics, Spec};
use crate::numpy_random::NumpyRng;
use crate::space::BoxSpace;

/// kg, of each link
const MASS: f64 = 1.0;
/// m, of each link
const LENGTH: f64 = 1.0;
/// m, from a link's upper end to its centre of mass
const CENTRE: f64 = 0.5;
/// kg m², of each link about its centre of mass
const INERTIA: f64 = 1.0;
/// m/s²
const GRAVITY: f64 = 9.8;
/// N m
const MAX_TORQUE: f32 = 1.0;
/// Limits of θ̇₁ and θ̇₂, in rad/s
const MAX_SPEED: [f64; 2] = [4.0 * PI, 9.0 * PI];
/// s
const DT: f64 = 0.2;

/// `AcrobotSwingUp-v0` without its time limit. State: θ₁, θ₂, θ̇₁, θ̇₂, in rad and rad/s.
pub type AcrobotSwingUp = ClassicEnvironment<Equations, 4>;

/// The equations of `AcrobotSwingUp-v0`.
#[derive(Debug)]
pub struct Equations;

impl ClassicTask<4> for Equations {
    const PARAMETERS: &'static [&'static str] = &["mass", "length", "gravity"];

    fn spec() -> Spec {
        let [speed_1, speed_2] = MAX_SPEED.map(|speed| speed as f32);
        let observations = BoxSpace::symmetric(&[1.0, 1.0, 1.0, 1.0, speed_1, speed_2]);
        let actions = BoxSpace::symmetric(&[MAX_TORQUE]);
        Spec::new("AcrobotSwingUp-v0", observations, actions, Termination::never())
    }

    fn begin(rng: &mut NumpyRng) -> [f64; 4] {
        [(); 4].map(|()| f64::from(rng.uniform(-0.1, 0.1) as f32))
    }

    fn advance(state: [f64; 4], torque: f32, factors: Physics) -> ([f64; 4], f64) {
        let [theta_1, theta_2, theta_dot_1, theta_dot_2] = integrate(state, torque.into(), DT, factors);
        let (theta_1, theta_2) = (wrap(theta_1), wrap(theta_2));
        let clip = |theta_dot: f64, limit: f64| theta_dot.clamp(-limit, limit);
        let state = [theta_1, theta_2, clip(theta_dot_1, MAX_SPEED[0]), clip(theta_dot_2, MAX_SPEED[1])];

        let height = -theta_1.cos() - (theta_1 + theta_2).cos();
        (state, (height + 2.0) / 4.0)
    }

    fn observe([theta_1, theta_2, theta_dot_1, theta_dot_2]: [f64; 4]) -> Vec<f32> {
        let entries = [theta_1.cos(), theta_1.sin(), theta_2.cos(), theta_2.sin(), theta_dot_1, theta_dot_2];
        entries.map(|x| x as f32).into()
    }
}

/// Returns the state after `dt` s under a torque in N m, neither wrapped nor clipped.
fn integrate(state: [f64; 4], torque: f64, dt: f64, factors: Physics) -> [f64; 4] {
    let along = |slope: [f64; 4], dt: f64| core::array::from_fn(|i| state[i] + dt * slope[i]);
    let k1 = derivative(state, torque, factors);
    let k2 = derivative(along(k1, dt / 2.0), torque, factors);
    let k3 = derivative(along(k2, dt / 2.0), torque, factors);
    let k4 = derivative(along(k3, dt), torque, factors);
    along(core::array::from_fn(|i| k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]), dt / 6.0)
}

/// Returns the derivative θ̇₁, θ̇₂, θ̈₁, θ̈₂ of the state.
fn derivative([theta_1, theta_2, theta_dot_1, theta_dot_2]: [f64; 4], torque: f64, factors: Physics) -> [f64; 4] {
    let (m, g) = (MASS * factors.mass, GRAVITY * factors.gravity);
    let (l, c) = (LENGTH * factors.length, CENTRE * factors.length);
    let inertia = INERTIA * factors.mass * (factors.length * factors.length);

    let (sin_2, cos_2) = (theta_2.sin(), theta_2.cos());
    let d1 = 2.0 * m * c * c + m * l * l + 2.0 * m * l * c * cos_2 + 2.0 * inertia;
    let d2 = m * c * c + m * l * c * cos_2 + inertia;
    let phi2 = m * c * g * (theta_1 + theta_2).sin();
    let phi1 = -m * l * c * theta_dot_2 * theta_dot_2 * sin_2 - 2.0 * m * l * c * theta_dot_1 * theta_dot_2 * sin_2
        + m * (c + l) * g * theta_1.sin()
        + phi2;

    let acceleration_2 = (torque + phi1 * d2 / d1 - m * l * c * theta_dot_1 * theta_dot_1 * sin_2 - phi2)
        / (m * c * c + inertia - d2 * d2 / d1);
    let acceleration_1 = -(d2 * acceleration_2 + phi1) / d1;
    [theta_dot_1, theta_dot_2, acceleration_1, acceleration_2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classic::oracles::Motion;
    use crate::environment::Environment;

    /// Computes the energy of two bodies from their centres of mass and their moments of inertia about them. Heights
    /// are relative to the fixed joint.
    fn energy([theta_1, theta_2, theta_dot_1, theta_dot_2]: [f64; 4], factors: Physics) -> f64 {
        let Physics { mass, length, gravity } = factors;
        let (angles, speeds) = ([theta_1, theta_1 + theta_2], [theta_dot_1, theta_dot_1 + theta_dot_2]);
        // The distance along each link to the first and to the second centre of mass.
        let reaches = [[0.5 * length, 0.0], [length, 0.5 * length]];
        let bodies = reaches.into_iter().zip(speeds).map(|(reach, speed)| {
            let sum = |term: &dyn Fn(usize) -> f64| term(0) + term(1);
            let velocity =
                [sum(&|i| reach[i] * speeds[i] * angles[i].cos()), sum(&|i| reach[i] * speeds[i] * angles[i].sin())];
            let inertia = mass * length * length;
            let kinetic = mass * (velocity[0].powi(2) + velocity[1].powi(2)) / 2.0 + inertia * speed * speed / 2.0;
            kinetic - mass * 9.8 * gravity * sum(&|i| reach[i] * angles[i].cos())
        });
        bodies.sum()
    }

    /// State and torque before a step, and the state after it, recorded from `gymnasium.make("Acrobot-v1").unwrapped`,
    /// Gymnasium 1.4.0. Some angles wrap, and the last three steps clip speeds.
    const STEPS: [([f64; 4], f32, [f64; 4]); 9] = [
        (
            [0.05, -0.03, 0.02, 0.08],
            1.0,
            [0.03405213846708049, 0.027539970333267196, -0.17417025006198744, 0.48249323535960276],
        ),
        (
            [1.0, 0.5, -2.0, 3.0],
            -1.0,
            [0.5287732800099039, 1.0720353749014468, -2.6448822553326004, 2.5628203459763697],
        ),
        (
            [3.0, -1.0, 4.0, -9.0],
            0.0,
            [-2.5695318673149794, -2.6853755657009506, 3.3838055060171564, -8.243819556377643],
        ),
        (
            [-3.1, 3.1, -6.0, 12.0],
            1.0,
            [1.8314838231588322, -0.4645262267575454, -8.063109139032559, 16.174998022379135],
        ),
        (
            [0.2, 2.0, 12.0, -25.0],
            -1.0,
            [2.3183933892627544, -2.567770608461653, 7.421979694607169, -16.419085148060468],
        ),
        ([-1.4, 1.0, -12.5, 28.0], 1.0, [2.921480579264595, -0.7914869299736988, -8.77677021099032, 20.25331855602952]),
        (
            [-0.72, -0.57, -11.37, -25.27],
            -1.0,
            [1.1761947780371802, -2.3734246915954573, -12.566370614359172, -24.616525259953963],
        ),
        (
            [-0.74, 1.32, 2.81, 24.7],
            1.0,
            [2.121104594570264, -1.814353753615464, 12.566370614359172, 1.9362200444086568],
        ),
        (
            [-2.57, 2.14, -3.3, 25.26],
            1.0,
            [2.401452853701019, 2.071452467001558, -12.566370614359172, 28.274333882308138],
        ),
    ];

    /// `env.unwrapped.state` after `env.reset(seed=0)`, then torques and the states after them.
    const BEGIN: [f64; 4] = [0.02739233709871769, -0.046042658388614655, -0.09180529415607452, -0.0966944694519043];
    const EPISODE: [(f32, [f64; 4]); 12] = [
        (0.0, [0.005489589978094081, -0.05801505866040615, -0.12309823668804058, -0.02443151057172256]),
        (0.0, [-0.01987818627833336, -0.057024279293097904, -0.12538176557569444, 0.030208737814500945]),
        (1.0, [-0.055769725137461076, -0.013668191080583848, -0.22476325094713206, 0.39004028752068354]),
        (1.0, [-0.10510318169863371, 0.09072426899304098, -0.2551569969148004, 0.6279002654935244]),
        (-1.0, [-0.12559696567020065, 0.15714932437426044, 0.05571380241150059, 0.023176085848004346]),
        (-1.0, [-0.08362068206588041, 0.10024011368695462, 0.3536279422629525, -0.5759445218448317]),
        (1.0, [-0.017799296874119616, 0.007514920584168638, 0.2884193798765357, -0.32520526934190763]),
        (1.0, [0.02611555277707754, -0.021527365348284245, 0.14115097006628072, 0.04611935533960848]),
        (-1.0, [0.06292859851906746, -0.041385353774037376, 0.2187641133032167, -0.2353056452227788]),
        (-1.0, [0.10942479992803664, -0.10960448532690538, 0.2345752610961437, -0.4277531515363757]),
        (1.0, [0.1253996980071073, -0.13526201807388966, -0.078316127171674, 0.17698470598511984]),
        (0.0, [0.0929459948197841, -0.07623515226913963, -0.23772230742575134, 0.3980602356753028]),
    ];

    const MOTION: Motion = Motion { integrate, energy, driven: 3, units: [[0, 0], [0, 0], [0, -1], [0, -1]], lever: 1 };

    #[test]
    fn energy_is_kept_to_fourth_order() {
        MOTION.keeps_energy([1.0, 0.5, -2.0, 3.0], 4.0, 200);
        MOTION.keeps_energy([2.5, -1.0, 3.0, -4.0], 4.0, 200);
    }

    #[test]
    fn the_power_of_the_torque_is_that_at_the_joint_between_the_links() {
        MOTION.has_the_power_of_its_action();
    }

    #[test]
    fn factors_are_a_change_of_units() {
        MOTION.depends_on_no_units();
    }

    /// The tolerance covers the rounding of sums and sines, which one long step multiplies by its derivative.
    #[track_caller]
    fn assert_near(got: [f64; 4], want: [f64; 4]) {
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12), "{got:?}, recorded {want:?}");
    }

    #[test]
    fn a_step_is_that_of_gymnasium() {
        for (state, torque, want) in STEPS {
            assert_near(Equations::advance(state, torque, Physics::default()).0, want);
        }
    }

    #[test]
    fn an_episode_is_that_of_gymnasium() {
        let mut state = Equations::begin(&mut NumpyRng::from_seed(0));
        assert_eq!(state, BEGIN);
        for (torque, want) in EPISODE {
            state = Equations::advance(state, torque, Physics::default()).0;
            assert_near(state, want);
        }
    }

    #[test]
    fn the_reward_is_0_hanging_and_1_upright_and_a_half_where_the_tip_is_as_high_as_the_fixed_joint() {
        // Almost no gravity, so that a step does not change the pose.
        let factors = Physics { gravity: 1e-12, ..Physics::default() };
        for (theta_1, theta_2, want) in [(0.0, 0.0, 0.0), (PI, 0.0, 1.0), (0.7, PI, 0.5), (PI / 2.0, PI / 2.0, 0.75)] {
            let (_, reward) = Equations::advance([theta_1, theta_2, 0.0, 0.0], 0.0, factors);
            assert!((reward - want).abs() < 1e-9, "{theta_1}, {theta_2}: {reward}");
        }
    }

    #[test]
    fn speeds_stay_within_their_limits_whatever_the_torque_does() {
        let mut env = AcrobotSwingUp::new();
        env.set_physics(Physics { gravity: 50.0, ..Physics::default() }).unwrap();
        env.reset(Some(0)).unwrap();
        let mut fastest = [0.0_f32; 2];
        for _ in 0..200 {
            let torque = fastest[0].sin().signum();
            let step = env.step(&[torque]).unwrap();
            assert!(env.spec().observation_space.contains(&step.obs) && !step.terminated, "{:?}", step.obs);
            fastest = [fastest[0].max(step.obs[4].abs()), fastest[1].max(step.obs[5].abs())];
        }
        assert_eq!(fastest, MAX_SPEED.map(|speed| speed as f32));
    }
}
