//! The simulation of a task: a shared [`Model`] with data of its own.
//!
//! The sequence of calls is that of Gymnasium's `MujocoEnv` without `mj_rnePostConstraint`: no task here reads its
//! results, and no later step depends on them.

use core::ffi::{CStr, c_int};
use std::path::Path;
use std::sync::Arc;

use super::data::Data;
use super::model::{Model, Sizes};
use crate::error::MujocoError;

/// A running simulation: a model with its data.
pub struct Simulation {
    data: Data,
    model: Arc<Model>,
    /// Duration of one `mj_step`, in seconds.
    timestep: f64,
    /// Current qpos and qvel, `[nq + nv]`.
    now: Vec<f64>,
    /// qpos and qvel before the last [`Simulation::step`], `[nq + nv]`.
    before: Vec<f64>,
    /// qpos and qvel of the model file.
    initial: Vec<f64>,
}

/// Everything that later steps depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    /// Seconds since the reset, `[1]`.
    pub time: Vec<f64>,
    /// Positions, `[nq]`.
    pub qpos: Vec<f64>,
    /// Velocities, `[nv]`.
    pub qvel: Vec<f64>,
    /// Accelerations from which the constraint solver starts, `[nv]`.
    pub warmstart: Vec<f64>,
}

impl Simulation {
    pub(super) fn new(model: Arc<Model>, path: &Path) -> Result<Self, MujocoError> {
        let timestep = measured_timestep(&model, path)?;
        let data = Data::new(Arc::clone(&model), path)?;
        let mut initial = vec![0.0; model.sizes.positions + model.sizes.velocities];
        data.get(model.library.bits.qpos | model.library.bits.qvel, &mut initial);
        Ok(Self { data, model, timestep, now: initial.clone(), before: initial.clone(), initial })
    }

    /// Restarts from these positions `[nq]` and velocities `[nv]`: `mj_resetData`, setting the state, `mj_forward`.
    pub(super) fn begin(&mut self, qpos: &[f64], qvel: &[f64]) {
        let bits = self.model.library.bits;
        self.data.reset();
        self.data.set(bits.qpos, qpos);
        self.data.set(bits.qvel, qvel);
        self.data.forward();
        self.read();
        self.before.clone_from(&self.now);
    }

    /// Calls `mj_step` `frames` times under these controls `[nu]`.
    pub(super) fn step(&mut self, controls: &[f64], frames: u32) {
        self.data.set(self.model.library.bits.ctrl, controls);
        for _ in 0..frames {
            self.data.step();
        }
        core::mem::swap(&mut self.now, &mut self.before);
        self.read();
    }

    fn read(&mut self) {
        let bits = self.model.library.bits;
        self.data.get(bits.qpos | bits.qvel, &mut self.now);
    }

    /// Returns the positions, `[nq]`.
    #[must_use]
    pub fn qpos(&self) -> &[f64] {
        &self.now[..self.model.sizes.positions]
    }

    /// Returns the velocities, `[nv]`.
    #[must_use]
    pub fn qvel(&self) -> &[f64] {
        &self.now[self.model.sizes.positions..]
    }

    /// Returns the positions before the last step, `[nq]`; after a reset, the positions of the reset.
    #[must_use]
    pub fn qpos_before(&self) -> &[f64] {
        &self.before[..self.model.sizes.positions]
    }

    /// Returns the positions and velocities of the model file, `[nq]` and `[nv]`.
    #[must_use]
    pub fn initial(&self) -> (&[f64], &[f64]) {
        self.initial.split_at(self.model.sizes.positions)
    }

    /// Returns the duration of one `mj_step`, in seconds.
    #[must_use]
    pub fn timestep(&self) -> f64 {
        self.timestep
    }

    /// Returns the position of a body as MuJoCo last computed it, `[3]`. After a reset this is the current position.
    /// After a step with RK4 it is that of the last of the four stages, which differs from the position at the step's
    /// end in third order. Gymnasium reads the same number.
    ///
    /// # Panics
    /// If the model has no such body: check with [`Simulation::has_body`] first.
    #[must_use]
    pub fn body_position(&self, name: &CStr) -> [f64; 3] {
        self.data.body_position(name).unwrap_or_else(|| panic!("a model without {name:?}"))
    }

    /// Whether the model has a body of this name.
    #[must_use]
    pub fn has_body(&self, name: &CStr) -> bool {
        self.model.body(name).is_some()
    }

    /// Returns everything that later steps depend on.
    pub(super) fn snapshot(&self) -> Snapshot {
        let Sizes { positions, velocities, .. } = self.model.sizes;
        let mut numbers = vec![0.0; 1 + positions + 2 * velocities];
        self.data.get(self.snapshot_bits(), &mut numbers);
        let mut numbers = numbers.into_iter();
        let mut take = |count| numbers.by_ref().take(count).collect();
        Snapshot { time: take(1), qpos: take(positions), qvel: take(velocities), warmstart: take(velocities) }
    }

    /// Restores a snapshot of the same model.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        let Snapshot { time, qpos, qvel, warmstart } = snapshot;
        let numbers = [&time[..], qpos, qvel, warmstart].concat();
        self.data.reset();
        self.data.set(self.snapshot_bits(), &numbers);
        self.read();
        self.before.clone_from(&self.now);
    }

    fn snapshot_bits(&self) -> c_int {
        let bits = self.model.library.bits;
        bits.time | bits.qpos | bits.qvel | bits.warmstart
    }

    /// Returns the lengths of the parts of a state.
    pub(super) fn sizes(&self) -> Sizes {
        self.model.sizes
    }
}

/// Returns the model's time step. The first simulation of a model measures it as the clock after one step from 0. The
/// model's struct also has this number, but its offset differs between versions.
fn measured_timestep(model: &Arc<Model>, path: &Path) -> Result<f64, MujocoError> {
    if let Some(timestep) = model.timestep.get() {
        return Ok(*timestep);
    }
    let mut data = Data::new(Arc::clone(model), path)?;
    data.step();
    let mut time = [0.0];
    data.get(model.library.bits.time, &mut time);
    Ok(*model.timestep.get_or_init(|| time[0]))
}
