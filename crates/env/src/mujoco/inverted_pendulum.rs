//! `InvertedPendulum-v5`: keep a pole upright on a cart, by a force on the cart.
//!
//! o = (x, θ, ẋ, θ̇); r = 1 while the pole is upright, 0 on the step on which it falls. Source:
//! `inverted_pendulum_v5.py`.

use foresee_core::Termination;

use super::model::Sizes;
use super::rules;
use super::simulation::Simulation;
use super::task::{MujocoTask, StepOutcome, info, to_f32, with_uniform_noise};
use crate::environment::Info;
use crate::numpy_random::NumpyRng;

/// The equations of `InvertedPendulum-v5`.
#[derive(Debug)]
pub struct InvertedPendulum;

impl MujocoTask for InvertedPendulum {
    const ID: &'static str = "InvertedPendulum-v5";
    const MODEL: &'static str = "inverted_pendulum.xml";
    const SIZES: Sizes = Sizes { positions: 2, velocities: 2, controls: 1 };
    const OBS_DIM: usize = 4;
    const ACTION_BOUND: f32 = 3.0;
    const FRAME_SKIP: u32 = 2;

    fn termination() -> Termination {
        rules::inverted_pendulum()
    }

    fn begin(rng: &mut NumpyRng, qpos: &[f64], qvel: &[f64]) -> (Vec<f64>, Vec<f64>) {
        (with_uniform_noise(rng, qpos, 0.01), with_uniform_noise(rng, qvel, 0.01))
    }

    fn observe(simulation: &Simulation) -> Vec<f32> {
        to_f32(simulation.qpos().iter().chain(simulation.qvel()))
    }

    fn reset_info(_: &Simulation) -> Info {
        Info::new()
    }

    fn outcome(simulation: &Simulation, _: &[f32], _: f64) -> StepOutcome {
        let finite = simulation.qpos().iter().chain(simulation.qvel()).all(|x| x.is_finite());
        let terminated = !finite || simulation.qpos()[1].abs() > 0.2;
        let reward = if terminated { 0.0 } else { 1.0 };
        StepOutcome { reward, terminated, info: info([("reward_survive", reward)]) }
    }
}
