//! `Walker2d-v5`: two legs walk along x, by torques at their six joints. It terminates when it is not healthy: at a
//! height outside 0.8 to 2 m, or at an angle of 1 rad or more to either side.
//!
//! The observation, the reward and the reset are in `upright.rs`. Source: `walker2d_v5.py`.

use foresee_core::Termination;

use super::model::Sizes;
use super::rules;
use super::simulation::Simulation;
use super::task::{MujocoTask, StepOutcome};
use super::upright::{self, between};
use crate::environment::Info;
use crate::numpy_random::NumpyRng;

/// The equations of `Walker2d-v5`.
#[derive(Debug)]
pub struct Walker2d;

impl MujocoTask for Walker2d {
    const ID: &'static str = "Walker2d-v5";
    const MODEL: &'static str = "walker2d_v5.xml";
    const SIZES: Sizes = Sizes { positions: 9, velocities: 9, controls: 6 };
    const OBS_DIM: usize = 17;
    const ACTION_BOUND: f32 = 1.0;
    const FRAME_SKIP: u32 = 4;

    fn termination() -> Termination {
        rules::walker2d()
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
        let qpos = simulation.qpos();
        let healthy = between(0.8, qpos[1], 2.0) && between(-1.0, qpos[2], 1.0);
        upright::outcome(simulation, healthy, action, dt)
    }
}
