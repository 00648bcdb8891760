//! The parts that `Hopper-v5` and `Walker2d-v5` share: a body moves along x and must stay upright.
//!
//! o = (z, angle, joint angles; velocities clipped to ±10), without x; r = ẋ + (1 if healthy) − 1e-3 |a|², where ẋ is
//! the mean over the step. Every position and velocity begins within 5e-3 of that of the model file.

use super::simulation::Simulation;
use super::task::{StepOutcome, control_cost, info, with_uniform_noise};
use crate::environment::Info;
use crate::numpy_random::NumpyRng;

pub(super) fn begin(rng: &mut NumpyRng, qpos: &[f64], qvel: &[f64]) -> (Vec<f64>, Vec<f64>) {
    (with_uniform_noise(rng, qpos, 5e-3), with_uniform_noise(rng, qvel, 5e-3))
}

pub(super) fn observe(simulation: &Simulation) -> Vec<f32> {
    let velocities = simulation.qvel().iter().map(|x| x.clamp(-10.0, 10.0) as f32);
    simulation.qpos()[1..].iter().map(|&x| x as f32).chain(velocities).collect()
}

pub(super) fn reset_info(simulation: &Simulation) -> Info {
    info(position(simulation))
}

pub(super) fn outcome(simulation: &Simulation, healthy: bool, action: &[f32], dt: f64) -> StepOutcome {
    let x_velocity = (simulation.qpos()[0] - simulation.qpos_before()[0]) / dt;
    let survival = if healthy { 1.0 } else { 0.0 };
    let control = control_cost(1e-3, action);
    let [x, z] = position(simulation);
    let info = info([
        x,
        z,
        ("x_velocity", x_velocity),
        ("reward_forward", x_velocity),
        ("reward_ctrl", -control),
        ("reward_survive", survival),
    ]);
    StepOutcome { reward: x_velocity + survival - control, terminated: !healthy, info }
}

/// Returns the position along x and the height above that of the model file, in metres.
fn position(simulation: &Simulation) -> [(&'static str, f64); 2] {
    let (qpos, initial) = (simulation.qpos(), simulation.initial().0);
    [("x_position", qpos[0]), ("z_distance_from_origin", qpos[1] - initial[1])]
}

/// Whether low < x < high.
pub(super) fn between(low: f64, x: f64, high: f64) -> bool {
    low < x && x < high
}
