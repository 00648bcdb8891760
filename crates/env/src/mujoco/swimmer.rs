//! `Swimmer-v5`: three links in a viscous fluid swim along x, by torques at the two joints between them.
//!
//! o = (angle of the first link, two joint angles; five velocities), without the position; r = ẋ − 1e-4 |a|², where ẋ
//! is the mean over the step. Source: `swimmer_v5.py`.

use foresee_core::Termination;

use super::model::Sizes;
use super::simulation::Simulation;
use super::task::{MujocoTask, StepOutcome, control_cost, info, to_f32, with_uniform_noise};
use crate::environment::Info;
use crate::numpy_random::NumpyRng;

/// The equations of `Swimmer-v5`.
#[derive(Debug)]
pub struct Swimmer;

impl MujocoTask for Swimmer {
    const ID: &'static str = "Swimmer-v5";
    const MODEL: &'static str = "swimmer.xml";
    const SIZES: Sizes = Sizes { positions: 5, velocities: 5, controls: 2 };
    const OBS_DIM: usize = 8;
    const ACTION_BOUND: f32 = 1.0;
    const FRAME_SKIP: u32 = 4;

    fn termination() -> Termination {
        Termination::never()
    }

    fn begin(rng: &mut NumpyRng, qpos: &[f64], qvel: &[f64]) -> (Vec<f64>, Vec<f64>) {
        (with_uniform_noise(rng, qpos, 0.1), with_uniform_noise(rng, qvel, 0.1))
    }

    fn observe(simulation: &Simulation) -> Vec<f32> {
        to_f32(simulation.qpos()[2..].iter().chain(simulation.qvel()))
    }

    fn reset_info(simulation: &Simulation) -> Info {
        info(position(simulation))
    }

    fn outcome(simulation: &Simulation, action: &[f32], dt: f64) -> StepOutcome {
        let (before, now) = (simulation.qpos_before(), simulation.qpos());
        let [x_velocity, y_velocity] = [0, 1].map(|axis| (now[axis] - before[axis]) / dt);
        let control = control_cost(1e-4, action);
        let mut info = info([
            ("x_velocity", x_velocity),
            ("y_velocity", y_velocity),
            ("reward_forward", x_velocity),
            ("reward_ctrl", -control),
        ]);
        info.extend(position(simulation).map(|(name, value)| (name.to_owned(), value)));
        StepOutcome { reward: x_velocity - control, terminated: false, info }
    }
}

/// Returns the position and the distance from the origin, in metres.
fn position(simulation: &Simulation) -> [(&'static str, f64); 3] {
    let [x, y] = [simulation.qpos()[0], simulation.qpos()[1]];
    [("x_position", x), ("y_position", y), ("distance_from_origin", (x * x + y * y).sqrt())]
}
