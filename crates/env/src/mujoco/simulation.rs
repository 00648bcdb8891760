//! A model's data and the functions that advance it: MuJoCo as safe Rust.
//!
//! A [`Model`] is shared, because stepping only reads it. Every [`Simulation`] has its own data. The sequence of calls
//! is that of Gymnasium's `MujocoEnv` without `mj_rnePostConstraint`: no task here reads its results, and no later step
//! depends on them.

use core::ffi::{CStr, c_int};
use std::path::Path;
use std::sync::Arc;

use super::error::MujocoError;
use super::library::{Library, MjData};
use super::model::{Model, Sizes, no_memory};

/// `mjData` with the functions that use it. Each function takes the model from which the data was made.
pub(super) struct Data {
    library: &'static Library,
    pointer: *mut MjData,
}

// SAFETY: data is not tied to the thread that made it, and `&mut` excludes concurrent use.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Send for Data {}

#[allow(unsafe_code, reason = "calls into MuJoCo")]
impl Data {
    pub(super) fn new(model: &Model) -> Option<Self> {
        // SAFETY: the model is live.
        let pointer = unsafe { (model.library.make_data)(model.pointer) };
        (!pointer.is_null()).then_some(Self { library: model.library, pointer })
    }

    pub(super) fn reset(&mut self, model: &Model) {
        // SAFETY: model and data are live, and the data was made from the model.
        unsafe { (self.library.reset_data)(model.pointer, self.pointer) }
    }

    pub(super) fn forward(&mut self, model: &Model) {
        // SAFETY: model and data are live, and the data was made from the model.
        unsafe { (self.library.forward)(model.pointer, self.pointer) }
    }

    pub(super) fn step(&mut self, model: &Model) {
        // SAFETY: model and data are live, and the data was made from the model.
        unsafe { (self.library.step)(model.pointer, self.pointer) }
    }

    pub(super) fn get(&self, model: &Model, bits: c_int, numbers: &mut [f64]) {
        self.check(model, bits, numbers.len());
        // SAFETY: model and data are live and belong together, and the buffer is as long as what is written.
        unsafe { (self.library.get_state)(model.pointer, self.pointer, numbers.as_mut_ptr(), bits) }
    }

    pub(super) fn set(&mut self, model: &Model, bits: c_int, numbers: &[f64]) {
        self.check(model, bits, numbers.len());
        // SAFETY: model and data are live and belong together, and the buffer is as long as what is read.
        unsafe { (self.library.set_state)(model.pointer, self.pointer, numbers.as_ptr(), bits) }
    }

    #[track_caller]
    fn check(&self, model: &Model, bits: c_int, length: usize) {
        // SAFETY: the model is live, and the signature has known bits only.
        let expected = unsafe { (self.library.state_size)(model.pointer, bits) };
        assert_eq!(length, expected as usize, "numbers for the state signature {bits:#b}");
    }
}

impl Drop for Data {
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn drop(&mut self) {
        // SAFETY: made by `mj_makeData`, deleted once.
        unsafe { (self.library.delete_data)(self.pointer) }
    }
}

/// A running simulation: a model with its data.
pub struct Simulation {
    // Fields are dropped in this order: data before its model.
    data: Data,
    model: Arc<Model>,
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
        let data = Data::new(&model).ok_or_else(|| no_memory(path))?;
        let mut initial = vec![0.0; model.sizes.positions + model.sizes.velocities];
        data.get(&model, model.library.bits.qpos | model.library.bits.qvel, &mut initial);
        Ok(Self { data, model, now: initial.clone(), before: initial.clone(), initial })
    }

    /// Restarts from these positions `[nq]` and velocities `[nv]`: `mj_resetData`, setting the state, `mj_forward`.
    pub(super) fn begin(&mut self, qpos: &[f64], qvel: &[f64]) {
        let bits = self.model.library.bits;
        self.data.reset(&self.model);
        self.data.set(&self.model, bits.qpos, qpos);
        self.data.set(&self.model, bits.qvel, qvel);
        self.data.forward(&self.model);
        self.read();
        self.before.clone_from(&self.now);
    }

    /// Calls `mj_step` `frames` times under these controls `[nu]`.
    pub(super) fn step(&mut self, controls: &[f64], frames: u32) {
        self.data.set(&self.model, self.model.library.bits.ctrl, controls);
        for _ in 0..frames {
            self.data.step(&self.model);
        }
        core::mem::swap(&mut self.now, &mut self.before);
        self.read();
    }

    fn read(&mut self) {
        let bits = self.model.library.bits;
        self.data.get(&self.model, bits.qpos | bits.qvel, &mut self.now);
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
        self.model.timestep
    }

    /// Returns the position of a body as MuJoCo last computed it, `[3]`. After a reset this is the current position.
    /// After a step with RK4 it is that of the last of the four stages, which differs from the position at the step's
    /// end in third order. Gymnasium reads the same number.
    ///
    /// # Panics
    /// If the model has no such body: check with [`Simulation::has`] first.
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    #[must_use]
    pub fn body_position(&self, name: &CStr) -> [f64; 3] {
        let body = self.body(name).unwrap_or_else(|| panic!("a model without {name:?}"));
        let (mut position, mut frame) = ([0.0; 3], [0.0; 9]);
        let (origin, upright, nothing_shared) = ([0.0; 3], [1.0, 0.0, 0.0, 0.0], 0);
        let (to, turned, library) = (position.as_mut_ptr(), frame.as_mut_ptr(), self.model.library);
        // SAFETY: the data is live, is only read, and has this body; the arrays have the lengths that are declared.
        unsafe {
            (library.local_to_global)(
                self.data.pointer,
                to,
                turned,
                origin.as_ptr(),
                upright.as_ptr(),
                body,
                nothing_shared,
            );
        }
        position
    }

    /// Whether the model has a body of this name.
    #[must_use]
    pub fn has(&self, name: &CStr) -> bool {
        self.body(name).is_some()
    }

    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn body(&self, name: &CStr) -> Option<c_int> {
        /// `mjOBJ_BODY`
        const BODY: c_int = 1;
        // SAFETY: the model is live, the name ends in zero.
        let id = unsafe { (self.model.library.name_to_id)(self.model.pointer, BODY, name.as_ptr()) };
        (id >= 0).then_some(id)
    }

    /// Returns everything that later steps depend on.
    pub(super) fn snapshot(&self) -> Snapshot {
        let Sizes { positions, velocities, .. } = self.model.sizes;
        let mut numbers = vec![0.0; 1 + positions + 2 * velocities];
        self.data.get(&self.model, self.snapshot_bits(), &mut numbers);
        let mut numbers = numbers.into_iter();
        let mut take = |count| numbers.by_ref().take(count).collect();
        Snapshot { time: take(1), qpos: take(positions), qvel: take(velocities), warmstart: take(velocities) }
    }

    /// Restores a snapshot of the same model.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        let Snapshot { time, qpos, qvel, warmstart } = snapshot;
        let numbers = [&time[..], qpos, qvel, warmstart].concat();
        self.data.reset(&self.model);
        self.data.set(&self.model, self.snapshot_bits(), &numbers);
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
