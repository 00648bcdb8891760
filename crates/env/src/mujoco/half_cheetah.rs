//! `HalfCheetah-v5`: a planar cheetah runs along x, by torques at its six joints.
//!
//! o = (z, angle, six joint angles; nine velocities), without x; r = ẋ − 0.1 |a|², where ẋ is the mean over the step.
//! Positions begin within 0.1 of those of the model file, velocities with a standard deviation of 0.1. Source:
//! `half_cheetah_v5.py`.

use foresee_core::Termination;

use super::model::Sizes;
use super::simulation::Simulation;
use super::task::{MujocoTask, StepOutcome, control_cost, info, to_f32, with_uniform_noise};
use crate::environment::Info;
use crate::numpy_random::NumpyRng;

/// The equations of `HalfCheetah-v5`.
#[derive(Debug)]
pub struct HalfCheetah;

impl MujocoTask for HalfCheetah {
    const ID: &'static str = "HalfCheetah-v5";
    const MODEL: &'static str = "half_cheetah.xml";
    const SIZES: Sizes = Sizes { positions: 9, velocities: 9, controls: 6 };
    const OBS_DIM: usize = 17;
    const ACTION_BOUND: f32 = 1.0;
    const FRAME_SKIP: u32 = 5;

    fn termination() -> Termination {
        Termination::never()
    }

    fn begin(rng: &mut NumpyRng, qpos: &[f64], qvel: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let qpos = with_uniform_noise(rng, qpos, 0.1);
        (qpos, qvel.iter().map(|x| x + 0.1 * rng.standard_normal()).collect())
    }

    fn observe(simulation: &Simulation) -> Vec<f32> {
        to_f32(simulation.qpos()[1..].iter().chain(simulation.qvel()))
    }

    fn reset_info(simulation: &Simulation) -> Info {
        info([("x_position", simulation.qpos()[0])])
    }

    fn outcome(simulation: &Simulation, action: &[f32], dt: f64) -> StepOutcome {
        let x_velocity = (simulation.qpos()[0] - simulation.qpos_before()[0]) / dt;
        let control = control_cost(0.1, action);
        let info = info([
            ("x_position", simulation.qpos()[0]),
            ("x_velocity", x_velocity),
            ("reward_forward", x_velocity),
            ("reward_ctrl", -control),
        ]);
        StepOutcome { reward: x_velocity - control, terminated: false, info }
    }
}
