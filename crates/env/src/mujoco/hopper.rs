//! `Hopper-v5`: one leg hops along x, by torques at its three joints. It terminates when it is not healthy: at a height
//! of 0.7 m or less, at an angle of 0.2 rad or more to either side, or when any later entry of the state is 100 or more
//! in size.
//!
//! The observation, the reward and the reset are in `upright.rs`. Source: `hopper_v5.py`.

use foresee_core::Termination;

use super::model::Sizes;
use super::rules;
use super::simulation::Simulation;
use super::task::{MujocoTask, StepOutcome};
use super::upright::{self, between};
use crate::environment::Info;
use crate::numpy_random::NumpyRng;

/// The equations of `Hopper-v5`.
#[derive(Debug)]
pub struct Hopper;

impl MujocoTask for Hopper {
    const ID: &'static str = "Hopper-v5";
    const MODEL: &'static str = "hopper.xml";
    const SIZES: Sizes = Sizes { positions: 6, velocities: 6, controls: 3 };
    const OBS_DIM: usize = 11;
    const ACTION_BOUND: f32 = 1.0;
    const FRAME_SKIP: u32 = 4;

    fn termination() -> Termination {
        rules::hopper()
    }

    fn begin(rng: &mut NumpyRng, qpos: &[f64], qvel: &[f64]) -> (Vec<f64>, Vec<f64>) {
        upright::begin(rng, qpos, qvel)
    }

    fn observe(simulation: &Simulation) -> Vec<f32> {
        upright::observe(simulation)
    }

    fn reset_info(simulation: &Simulation) -> Info {
        upright::reset_info(simulation)
    }

    fn outcome(simulation: &Simulation, action: &[f32], dt: f64) -> StepOutcome {
        let (qpos, qvel) = (simulation.qpos(), simulation.qvel());
        let sane = qpos[2..].iter().chain(qvel).all(|&x| between(-100.0, x, 100.0));
        let healthy = sane && qpos[1] > 0.7 && between(-0.2, qpos[2], 0.2);
        upright::outcome(simulation, healthy, action, dt)
    }
}
