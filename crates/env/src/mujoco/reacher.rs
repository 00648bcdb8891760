//! `Reacher-v5`: bring the tip of a two-link arm to a target, by torques at both joints.
//!
//! o = (cos θ₁, cos θ₂, sin θ₁, sin θ₂, target x, y, θ̇₁, θ̇₂, tip − target x, y); r = −|tip − target| − |a|². The
//! target is drawn at the reset, uniformly in a disc of 0.2 m, and does not move. Source: `reacher_v5.py`.
//!
//! At a reset the tip is at (0.1 cos θ₁ + 0.11 cos(θ₁ + θ₂), 0.1 sin θ₁ + 0.11 sin(θ₁ + θ₂)), as the angles determine.
//! After a step, Gymnasium reads the position that MuJoCo computed last, which is from before the end of the step and
//! up to millimetres away ([`Simulation::body_position`]). This task reads it there too.

use std::ffi::CStr;

use foresee_core::Termination;

use super::model::Sizes;
use super::simulation::Simulation;
use super::task::{MujocoTask, StepOutcome, control_cost, info, to_f32, with_uniform_noise};
use crate::environment::Info;
use crate::numpy_random::NumpyRng;

/// The equations of `Reacher-v5`.
#[derive(Debug)]
pub struct Reacher;

impl MujocoTask for Reacher {
    const ID: &'static str = "Reacher-v5";
    const MODEL: &'static str = "reacher.xml";
    const SIZES: Sizes = Sizes { positions: 4, velocities: 4, controls: 2 };
    const OBS_DIM: usize = 10;
    const ACTION_BOUND: f32 = 1.0;
    const FRAME_SKIP: u32 = 2;
    const BODIES: &'static [&'static CStr] = &[c"fingertip", c"target"];
    // The target has joints of its own.
    const ONE_TREE: bool = false;

    fn termination() -> Termination {
        Termination::never()
    }

    fn begin(rng: &mut NumpyRng, qpos: &[f64], qvel: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut qpos = with_uniform_noise(rng, qpos, 0.1);
        let target = loop {
            let [x, y] = [rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)];
            if (x * x + y * y).sqrt() < 0.2 {
                break [x, y];
            }
        };
        qpos[2..].copy_from_slice(&target);
        let mut qvel = with_uniform_noise(rng, qvel, 0.005);
        qvel[2..].fill(0.0);
        (qpos, qvel)
    }

    fn observe(simulation: &Simulation) -> Vec<f32> {
        let (qpos, qvel) = (simulation.qpos(), simulation.qvel());
        let [x, y, _] = tip_from_target(simulation);
        let [first, second] = [qpos[0], qpos[1]];
        let angles = [first.cos(), second.cos(), first.sin(), second.sin()];
        to_f32(angles.iter().chain(&qpos[2..]).chain(&qvel[..2]).chain(&[x, y]))
    }

    fn reset_info(_: &Simulation) -> Info {
        Info::new()
    }

    fn outcome(simulation: &Simulation, action: &[f32], _: f64) -> StepOutcome {
        let [x, y, z] = tip_from_target(simulation);
        let distance = -(x * x + y * y + z * z).sqrt();
        let control = -control_cost(1.0, action);
        let info = info([("reward_dist", distance), ("reward_ctrl", control)]);
        StepOutcome { reward: distance + control, terminated: false, info }
    }
}

/// Returns the vector from the target to the tip, in metres.
fn tip_from_target(simulation: &Simulation) -> [f64; 3] {
    let [tip, target] = [c"fingertip", c"target"].map(|body| simulation.body_position(body));
    [tip[0] - target[0], tip[1] - target[1], tip[2] - target[2]]
}
