//! `CartPoleSwingUp-v0`: swing a hanging pole up by a force on its cart, and keep it upright.
//!
//! State, action and equations of motion are those of [`cart_pole`]: x (m), ẋ (m/s), θ (rad, 0 upright, not wrapped), θ̇
//! (rad/s); a in [-1, 1] is a force of 10 a in N; Euler steps of 0.02 s. Observation: x, ẋ, cos θ, sin θ, θ̇.
//!
//! * reward = (1 + cos θ')/2 − 0.01 a², of the state after the step
//! * terminated: |x'| > 2.4 m
//! * reset: hanging down, θ uniform in π ± 0.05, the others in ±0.05
//!
//! This task is this project's own. It follows the swing-up of M. P. Deisenroth and C. E. Rasmussen, "PILCO: A
//! Model-Based and Data-Efficient Approach to Policy Search", ICML 2011.

use core::f64::consts::PI;

use foresee_core::Termination;

use super::cart_pole::{self, DT, MAX_FORCE, MAX_POSITION, on_track};
use super::task::{ClassicEnvironment, ClassicTask};
use crate::environment::{Physics, Spec};
use crate::numpy_random::NumpyRng;
use crate::space::BoxSpace;

/// `CartPoleSwingUp-v0` without its time limit. State: x, ẋ, θ, θ̇, in m, m/s, rad, rad/s.
pub type CartPoleSwingUp = ClassicEnvironment<Equations, 4>;

/// The equations of `CartPoleSwingUp-v0`.
#[derive(Debug)]
pub struct Equations;

impl ClassicTask<4> for Equations {
    const PARAMETERS: &'static [&'static str] = cart_pole::Equations::PARAMETERS;

    fn spec() -> Spec {
        let observations = BoxSpace::symmetric(&[MAX_POSITION, f32::INFINITY, 1.0, 1.0, f32::INFINITY]);
        let actions = BoxSpace::symmetric(&[1.0]);
        Spec::new("CartPoleSwingUp-v0", observations, actions, Termination::outside(vec![on_track()]))
    }

    fn begin(rng: &mut NumpyRng) -> [f64; 4] {
        let [x, x_dot, theta, theta_dot] = cart_pole::Equations::begin(rng);
        [x, x_dot, PI + theta, theta_dot]
    }

    fn advance(state: [f64; 4], action: f32, factors: Physics) -> ([f64; 4], f64) {
        let action = f64::from(action);
        let state = cart_pole::integrate(state, MAX_FORCE * action, DT, factors);
        (state, (1.0 + state[2].cos()) / 2.0 - 0.01 * action * action)
    }

    fn observe([x, x_dot, theta, theta_dot]: [f64; 4]) -> Vec<f32> {
        [x, x_dot, theta.cos(), theta.sin(), theta_dot].map(|x| x as f32).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    #[test]
    fn it_begins_hanging_down_with_the_noise_of_the_cart_pole() {
        for seed in 0..100 {
            let [x, x_dot, theta, theta_dot] = Equations::begin(&mut NumpyRng::from_seed(seed));
            let noise = cart_pole::Equations::begin(&mut NumpyRng::from_seed(seed));
            assert_eq!([x, x_dot, theta, theta_dot], [noise[0], noise[1], PI + noise[2], noise[3]]);
            assert!((theta - PI).abs() <= 0.05);
        }
    }

    #[test]
    fn it_moves_as_the_cart_pole_does() {
        let factors = Physics { mass: 0.5, length: 2.0, gravity: 1.5 };
        for state in [[0.1, -0.4, 2.5, 1.0], [-1.0, 2.0, -4.0, -3.0]] {
            for action in [-1.0, 0.3] {
                let (got, reward) = Equations::advance(state, action, factors);
                assert_eq!(got, cart_pole::Equations::advance(state, action, factors).0);
                let want = (1.0 + got[2].cos()) / 2.0 - 0.01 * f64::from(action).powi(2);
                assert!((reward - want).abs() < 1e-15, "{reward}, {want}");
            }
        }
    }

    #[test]
    fn the_reward_is_1_upright_and_0_hanging_and_falls_with_the_square_of_the_action() {
        let reward = |theta: f64, action: f32| Equations::advance([0.0, 0.0, theta, 0.0], action, Physics::default()).1;
        assert_eq!((reward(0.0, 0.0), reward(PI, 0.0), reward(0.0, -1.0)), (1.0, 0.0, 0.99));
        assert!((reward(PI, 0.5) + 0.0025).abs() < 1e-9);
        // The reward is that of the state after the step: a fast pole reaches the top only then.
        let (state, reward) = Equations::advance([0.0, 0.0, -0.2, 10.0], 0.0, Physics::default());
        assert!(state[2].abs() < 1e-15 && reward == 1.0);
    }

    #[test]
    fn only_the_end_of_the_track_ends_it() {
        let mut env = CartPoleSwingUp::new();
        env.reset(Some(0)).unwrap();
        for t in 1.. {
            let step = env.step(&[1.0]).unwrap();
            assert_eq!(step.terminated, step.obs[0] > 2.4, "{t}: {:?}", step.obs);
            if step.terminated {
                // 10 N on 1.1 kg move 2.4 m in 0.73 s; the swing of the pole makes some difference.
                assert!((30..45).contains(&t), "{t}");
                break;
            }
        }
    }
}
