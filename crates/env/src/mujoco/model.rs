//! A task's MJCF file as MuJoCo's model, loaded once per process and shared.

use core::ffi::{c_char, c_int};
use core::ptr::NonNull;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::error::MujocoError;
use super::library::{FromText, Library, MjModel, words};
use super::simulation::Data;

/// A loaded model.
pub struct Model {
    pub(super) library: &'static Library,
    pub(super) pointer: *mut MjModel,
    /// Numbers of positions, velocities and controls.
    pub(super) sizes: Sizes,
    /// Duration of one `mj_step`, in seconds.
    pub(super) timestep: f64,
}

/// Lengths of the parts of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Positions, `nq`.
    pub positions: usize,
    /// Velocities, `nv`.
    pub velocities: usize,
    /// Controls, `nu`.
    pub controls: usize,
}

// SAFETY: nothing writes to the model after loading: MuJoCo's stepping functions take it as `const`, and only its last
// owner deletes it. MuJoCo documents that threads may share a model if each has its own data.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Send for Model {}
// SAFETY: as for `Send`.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Sync for Model {}

/// Library and file of a model, and the way in which it was loaded.
type Key = (PathBuf, PathBuf, Islands);

/// The models in use. The lock also restricts MuJoCo's XML reader, which has globals, to one thread.
static MODELS: Mutex<Vec<(Key, Weak<Model>)>> = Mutex::new(Vec::new());

/// The treatment of constraint islands, which are the sets of joints that constraints connect. MuJoCo can search for
/// them and solve each of them separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Islands {
    /// As the model file says.
    AsInFile,
    /// No search. In a model of one kinematic tree, the only island is the whole model: results are the same to the
    /// last bit without the search, which saves its work and its copies.
    Whole,
}

impl Model {
    /// Returns the model of an MJCF file. All callers share one model for as long as one of them holds it.
    ///
    /// # Errors
    /// If MuJoCo cannot read the file, or its state has an unexpected layout.
    pub(super) fn shared(library: &'static Library, path: &Path, islands: Islands) -> Result<Arc<Self>, MujocoError> {
        let key = (library.path.clone(), path.to_owned(), islands);
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|(_, model)| model.strong_count() > 0);
        if let Some(model) = models.iter().find(|of| of.0 == key).and_then(|of| of.1.upgrade()) {
            return Ok(model);
        }
        let model = Arc::new(Self::load(library, path, islands)?);
        models.push((key, Arc::downgrade(&model)));
        Ok(model)
    }

    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn load(library: &'static Library, path: &Path, islands: Islands) -> Result<Self, MujocoError> {
        let unusable = |reason: String| MujocoError::Model { path: path.into(), reason };
        let whole = match (&library.from_text, islands) {
            (Some(functions), Islands::Whole) => without_islands(functions, path),
            _ => None,
        };
        let pointer = match whole {
            Some(pointer) => pointer,
            None => from_file(library, path).map_err(unusable)?,
        };
        // SAFETY: the model is live, and the signature has known bits only.
        let size = |bits| unsafe { (library.state_size)(pointer.as_ptr(), bits) } as usize;
        let bits = library.bits;
        let sizes = Sizes { positions: size(bits.qpos), velocities: size(bits.qvel), controls: size(bits.ctrl) };
        let (warmstart, time) = (size(bits.warmstart), size(bits.time));
        let mut model = Self { library, pointer: pointer.as_ptr(), sizes, timestep: 0.0 };
        if (warmstart, time) != (sizes.velocities, 1) {
            let version = &library.version;
            return Err(unusable(format!("MuJoCo {version} lays its state out in an unknown way")));
        }
        model.timestep = model.measured_timestep(path)?;
        Ok(model)
    }

    /// Measures the time step as the clock after one step from 0. The model's struct also has this number, but its
    /// offset differs between versions.
    fn measured_timestep(&self, path: &Path) -> Result<f64, MujocoError> {
        let mut data = Data::new(self).ok_or_else(|| no_memory(path))?;
        data.step(self);
        let mut time = [0.0];
        data.get(self, self.library.bits.time, &mut time);
        Ok(time[0])
    }
}

/// Loads the model of a file, or returns MuJoCo's message about it.
#[allow(unsafe_code, reason = "calls into MuJoCo")]
fn from_file(library: &Library, path: &Path) -> Result<NonNull<MjModel>, String> {
    let name = path.to_str().and_then(|name| CString::new(name).ok()).ok_or("its path is not UTF-8")?;
    let mut message = [0 as c_char; 1000];
    // SAFETY: the name ends in zero, and MuJoCo writes at most the given length into the message.
    let pointer =
        unsafe { (library.load_xml)(name.as_ptr(), core::ptr::null(), message.as_mut_ptr(), message.len() as c_int) };
    NonNull::new(pointer).ok_or_else(|| words(message.as_ptr()))
}

/// Loads the model of a file without constraint islands. It is compiled from a text that includes the file and sets the
/// flag, because the flag's offset in the model's struct differs between versions. Returns `None` if that fails, as for
/// a file that names other files by paths relative to itself.
#[allow(unsafe_code, reason = "calls into MuJoCo")]
fn without_islands(functions: &FromText, path: &Path) -> Option<NonNull<MjModel>> {
    let file = path.to_str()?.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let text = format!(r#"<mujoco><include file="{file}"/><option><flag island="disable"/></option></mujoco>"#);
    let text = CString::new(text).ok()?;
    let mut message = [0 as c_char; 1000];
    // SAFETY: the text ends in zero, and MuJoCo writes at most the given length into the message.
    let spec =
        unsafe { (functions.parse)(text.as_ptr(), core::ptr::null(), message.as_mut_ptr(), message.len() as c_int) };
    let spec = NonNull::new(spec)?.as_ptr();
    // SAFETY: the spec is live; the model does not refer to it.
    let model = unsafe { (functions.compile)(spec, core::ptr::null()) };
    // SAFETY: the spec was made by `mj_parseXMLString` and is deleted once.
    unsafe { (functions.delete)(spec) };
    NonNull::new(model)
}

impl Drop for Model {
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn drop(&mut self) {
        // SAFETY: the model was made by `mj_loadXML` or `mj_compile` and is deleted once; every owner of data also owns
        // its model.
        unsafe { (self.library.delete_model)(self.pointer) }
    }
}

pub(super) fn no_memory(path: &Path) -> MujocoError {
    MujocoError::Model { path: path.into(), reason: "no memory for its data".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MujocoConfig;
    use crate::mujoco::of_test::mujoco_of_test;
    use crate::mujoco::simulation::Simulation;
    use crate::mujoco::task::{Task, jittered};
    use crate::mujoco::{HalfCheetah, Hopper, InvertedPendulum, Swimmer, Walker2d, library, model_file};
    use crate::numpy_random::NumpyRng;

    /// Returns every bit of the state after each of 2,000 steps. Every 40 steps the simulation restarts at velocities
    /// far from rest.
    fn course<T: Task>(path: &Path, islands: Islands) -> Vec<u64> {
        let model = Model::shared(library::open(None).unwrap(), path, islands).unwrap();
        let mut simulation = Simulation::new(model, path).unwrap();
        let (mut bits, mut rng) = (Vec::new(), NumpyRng::from_seed(7));
        let controls = vec![0.0; T::SIZES.controls];
        for t in 0..2000 {
            if t % 40 == 0 {
                let (qpos, qvel) = simulation.initial();
                let (qpos, qvel) = (jittered(&mut rng, qpos, 0.1), jittered(&mut rng, qvel, 3.0));
                simulation.begin(&qpos, &qvel);
            }
            simulation.step(&jittered(&mut rng, &controls, f64::from(T::ACTION_BOUND)), T::FRAME_SKIP);
            let state = simulation.snapshot();
            bits.extend([state.qpos, state.qvel, state.warmstart].concat().into_iter().map(f64::to_bits));
        }
        bits
    }

    /// Whether the file can be loaded without islands.
    fn loads(path: &Path) -> bool {
        let library = library::open(None).unwrap();
        let model = without_islands(library.from_text.as_ref().expect("a MuJoCo from 3.2 on"), path);
        #[allow(unsafe_code, reason = "calls into MuJoCo")]
        // SAFETY: the model was made above, is deleted once and is not used.
        model.is_some_and(|model| unsafe {
            (library.delete_model)(model.as_ptr());
            true
        })
    }

    fn islands_do_not_show<T: Task>() {
        assert!(T::ONE_TREE, "{}", T::ID);
        let path = model_file(&MujocoConfig::default(), T::MODEL).unwrap();
        assert!(loads(&path), "{}", T::ID);
        let [with, without] = [Islands::AsInFile, Islands::Whole].map(|islands| course::<T>(&path, islands));
        assert!(with == without, "{}", T::ID);
    }

    #[test]
    fn a_model_of_one_tree_moves_the_same_without_islands() {
        if !mujoco_of_test("a_model_of_one_tree_moves_the_same_without_islands") {
            return;
        }
        islands_do_not_show::<InvertedPendulum>();
        islands_do_not_show::<Swimmer>();
        islands_do_not_show::<Hopper>();
        islands_do_not_show::<Walker2d>();
        islands_do_not_show::<HalfCheetah>();
    }

    #[test]
    fn a_path_may_have_what_xml_gives_a_meaning_to() {
        if !mujoco_of_test("a_path_may_have_what_xml_gives_a_meaning_to") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(r#"a "b" & <c>.xml"#);
        std::fs::copy(model_file(&MujocoConfig::default(), Hopper::MODEL).unwrap(), &path).unwrap();
        assert!(loads(&path));
    }
}
