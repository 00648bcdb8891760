//! A model and its data: MuJoCo as safe Rust.
//!
//! A [`Model`] is loaded once a process and shared, since stepping only reads it; every [`Simulation`] has data of its
//! own. The sequence of calls is that of Gymnasium's `MujocoEnv`, but for `mj_rnePostConstraint`, whose results no task
//! here reads and no later step depends on.

use core::ffi::{c_char, c_int};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::error::MujocoError;
use super::library::{Library, MjData, MjModel, words};

/// A loaded model.
pub struct Model {
    library: &'static Library,
    pointer: *mut MjModel,
    /// Numbers of positions, velocities and controls.
    sizes: Sizes,
    /// Seconds of one `mj_step`.
    timestep: f64,
}

/// How many numbers each part of a state has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Positions, `nq`.
    pub positions: usize,
    /// Velocities, `nv`.
    pub velocities: usize,
    /// Controls, `nu`.
    pub controls: usize,
}

// SAFETY: after loading nothing writes to the model: MuJoCo's stepping functions take it as `const`, and it is deleted
// by the last owner only. MuJoCo documents that threads may share a model, each with data of its own.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Send for Model {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Sync for Model {}

/// Those in use, by library and file; the lock also keeps MuJoCo's XML reader, which has globals, to one thread.
static MODELS: Mutex<Vec<(PathBuf, PathBuf, Weak<Model>)>> = Mutex::new(Vec::new());

impl Model {
    /// The model of an MJCF file, shared by all who ask for it while one of them has it.
    ///
    /// # Errors
    /// If MuJoCo cannot read the file, or its state is not laid out as expected.
    pub(super) fn shared(library: &'static Library, path: &Path) -> Result<Arc<Self>, MujocoError> {
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|(.., model)| model.strong_count() > 0);
        let same = |of: &&(PathBuf, PathBuf, Weak<Self>)| of.0 == library.path && of.1 == path;
        if let Some(model) = models.iter().find(same).and_then(|(.., model)| model.upgrade()) {
            return Ok(model);
        }
        let model = Arc::new(Self::load(library, path)?);
        models.push((library.path.clone(), path.into(), Arc::downgrade(&model)));
        Ok(model)
    }

    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn load(library: &'static Library, path: &Path) -> Result<Self, MujocoError> {
        let unusable = |reason: String| MujocoError::Model { path: path.into(), reason };
        let name = path.to_str().and_then(|name| CString::new(name).ok());
        let name = name.ok_or_else(|| unusable("its path is not UTF-8".into()))?;
        let mut message = [0 as c_char; 1000];
        // SAFETY: the name ends in zero, and MuJoCo writes at most the given length into the message.
        let pointer = unsafe {
            (library.load_xml)(name.as_ptr(), core::ptr::null(), message.as_mut_ptr(), message.len() as c_int)
        };
        if pointer.is_null() {
            return Err(unusable(words(message.as_ptr())));
        }
        // SAFETY: the model is live, and the signature has known bits only.
        let size = |bits| unsafe { (library.state_size)(pointer, bits) } as usize;
        let bits = library.bits;
        let sizes = Sizes { positions: size(bits.qpos), velocities: size(bits.qvel), controls: size(bits.ctrl) };
        let (warmstart, time) = (size(bits.warmstart), size(bits.time));
        let mut model = Self { library, pointer, sizes, timestep: 0.0 };
        if (warmstart, time) != (sizes.velocities, 1) {
            let version = &library.version;
            return Err(unusable(format!("MuJoCo {version} lays its state out in an unknown way")));
        }
        model.timestep = model.measured_timestep(path)?;
        Ok(model)
    }

    /// The clock after one step from 0. The model's struct has the number too, at a place that differs by version.
    fn measured_timestep(&self, path: &Path) -> Result<f64, MujocoError> {
        let mut data = Data::new(self).ok_or_else(|| no_memory(path))?;
        data.step(self);
        let mut time = [0.0];
        data.get(self, self.library.bits.time, &mut time);
        Ok(time[0])
    }
}

impl Drop for Model {
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn drop(&mut self) {
        // SAFETY: made by `mj_loadXML`, deleted once; whoever has data also has the model.
        unsafe { (self.library.delete_model)(self.pointer) }
    }
}

fn no_memory(path: &Path) -> MujocoError {
    MujocoError::Model { path: path.into(), reason: "no memory for its data".into() }
}

/// `mjData`, with the calls that take it. Each is told the model that it was made of.
struct Data {
    library: &'static Library,
    pointer: *mut MjData,
}

// SAFETY: data has no ties to the thread that made it, and `&mut` keeps its users apart.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Send for Data {}

#[allow(unsafe_code, reason = "calls into MuJoCo")]
impl Data {
    fn new(model: &Model) -> Option<Self> {
        // SAFETY: the model is live.
        let pointer = unsafe { (model.library.make_data)(model.pointer) };
        (!pointer.is_null()).then_some(Self { library: model.library, pointer })
    }

    fn reset(&mut self, model: &Model) {
        // SAFETY: model and data are live and belong together.
        unsafe { (self.library.reset_data)(model.pointer, self.pointer) }
    }

    fn forward(&mut self, model: &Model) {
        // SAFETY: as above.
        unsafe { (self.library.forward)(model.pointer, self.pointer) }
    }

    fn step(&mut self, model: &Model) {
        // SAFETY: as above.
        unsafe { (self.library.step)(model.pointer, self.pointer) }
    }

    fn get(&self, model: &Model, bits: c_int, numbers: &mut [f64]) {
        self.check(model, bits, numbers.len());
        // SAFETY: as above, and the buffer is as long as what is written.
        unsafe { (self.library.get_state)(model.pointer, self.pointer, numbers.as_mut_ptr(), bits) }
    }

    fn set(&mut self, model: &Model, bits: c_int, numbers: &[f64]) {
        self.check(model, bits, numbers.len());
        // SAFETY: as above, and the buffer is as long as what is read.
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

/// A simulation in the middle of its course.
pub struct Simulation {
    // Dropped in this order: data before its model.
    data: Data,
    model: Arc<Model>,
    /// qpos and qvel now, `[nq + nv]`.
    now: Vec<f64>,
    /// The same before the last [`Simulation::step`].
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

    /// Begins anew at these positions `[nq]` and velocities `[nv]`: `mj_resetData`, set, `mj_forward`.
    pub(super) fn begin(&mut self, qpos: &[f64], qvel: &[f64]) {
        let bits = self.model.library.bits;
        self.data.reset(&self.model);
        self.data.set(&self.model, bits.qpos, qpos);
        self.data.set(&self.model, bits.qvel, qvel);
        self.data.forward(&self.model);
        self.read();
        self.before.clone_from(&self.now);
    }

    /// `frames` times `mj_step` under these controls `[nu]`.
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

    /// Positions, `[nq]`.
    #[must_use]
    pub fn qpos(&self) -> &[f64] {
        &self.now[..self.model.sizes.positions]
    }

    /// Velocities, `[nv]`.
    #[must_use]
    pub fn qvel(&self) -> &[f64] {
        &self.now[self.model.sizes.positions..]
    }

    /// Positions before the last step, `[nq]`; after a reset those of the reset.
    #[must_use]
    pub fn qpos_before(&self) -> &[f64] {
        &self.before[..self.model.sizes.positions]
    }

    /// Positions and velocities of the model file, `[nq]` and `[nv]`.
    #[must_use]
    pub fn initial(&self) -> (&[f64], &[f64]) {
        self.initial.split_at(self.model.sizes.positions)
    }

    /// Seconds of one `mj_step`.
    #[must_use]
    pub fn timestep(&self) -> f64 {
        self.model.timestep
    }

    /// Where a body was when MuJoCo last computed it, `[3]`: now after a reset. After a step with RK4 that is the last of
    /// its four stages, from which the positions of the step's end differ in third order; Gymnasium reads it there too.
    ///
    /// # Panics
    /// If the model has no such body: [`Simulation::has`] comes first.
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

    /// Everything that later steps depend on.
    pub(super) fn snapshot(&self) -> Snapshot {
        let Sizes { positions, velocities, .. } = self.model.sizes;
        let mut numbers = vec![0.0; 1 + positions + 2 * velocities];
        self.data.get(&self.model, self.snapshot_bits(), &mut numbers);
        let mut numbers = numbers.into_iter();
        let mut take = |count| numbers.by_ref().take(count).collect();
        Snapshot { time: take(1), qpos: take(positions), qvel: take(velocities), warmstart: take(velocities) }
    }

    /// Goes back to a snapshot of the same model.
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

    /// How many numbers each part of a state has.
    pub(super) fn sizes(&self) -> Sizes {
        self.model.sizes
    }
}
