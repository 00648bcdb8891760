//! A task's MJCF file as MuJoCo's model, loaded once per process and shared, because stepping only reads it.

use core::ffi::{CStr, c_char, c_int};
use core::ptr::NonNull;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::library::{self, FromText, Library, MjModel};
use super::search;
use crate::config::MujocoConfig;
use crate::error::MujocoError;

/// Returns the path of one of Gymnasium's model files, such as `hopper.xml`.
///
/// # Errors
/// If the file or the library is not found. The places that are searched include the folder next to the library's
/// package.
pub fn model_file(config: &MujocoConfig, name: &str) -> Result<PathBuf, MujocoError> {
    search::model(name, config.assets.as_deref(), &library::open(config.library.as_deref())?.path)
}

/// A loaded model.
pub struct Model {
    pub(super) library: &'static Library,
    pub(super) pointer: NonNull<MjModel>,
    /// Numbers of positions, velocities and controls.
    pub(super) sizes: Sizes,
    /// Duration of one `mj_step`, in seconds, after the first simulation has measured it.
    pub(super) timestep: OnceLock<f64>,
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

// SAFETY: the pointer is the only one that can delete the model, and `mj_deleteModel` frees heap memory, which any
// thread may do.
#[allow(unsafe_code, reason = "MuJoCo's own promise about threads")]
unsafe impl Send for Model {}
// SAFETY: nothing writes to the model after loading. Through `&Model` it is only passed to functions that take it as
// `const mjModel*`, and MuJoCo documents that threads may share a model if each has its own data.
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
    Disabled,
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
        if let Some(model) = models.iter().find(|entry| entry.0 == key).and_then(|entry| entry.1.upgrade()) {
            return Ok(model);
        }
        let model = Arc::new(Self::load(library, path, islands)?);
        models.push((key, Arc::downgrade(&model)));
        Ok(model)
    }

    fn load(library: &'static Library, path: &Path, islands: Islands) -> Result<Self, MujocoError> {
        let unusable = |reason: String| MujocoError::Model { path: path.into(), reason };
        let compiled = match (&library.from_text, islands) {
            (Some(functions), Islands::Disabled) => without_islands(functions, path),
            _ => None,
        };
        let pointer = match compiled {
            Some(pointer) => pointer,
            None => from_file(library, path).map_err(unusable)?,
        };
        let sizes = Sizes { positions: 0, velocities: 0, controls: 0 };
        let mut model = Self { library, pointer, sizes, timestep: OnceLock::new() };
        let bits = library.bits;
        let [positions, velocities, controls] = [bits.qpos, bits.qvel, bits.ctrl].map(|bits| model.state_size(bits));
        model.sizes = Sizes { positions, velocities, controls };
        if [bits.warmstart, bits.time].map(|bits| model.state_size(bits)) != [velocities, 1] {
            return Err(unusable(format!("MuJoCo {} has an unknown state layout", library.version)));
        }
        Ok(model)
    }

    /// Returns the number of values in the parts of the state with these bits.
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    pub(super) fn state_size(&self, bits: c_int) -> usize {
        // SAFETY: `self` owns the model, so it is live, and the call only reads it. MuJoCo checks the bits.
        let size = unsafe { (self.library.state_size)(self.pointer.as_ptr(), bits) };
        size as usize
    }

    /// Returns the id of the body of this name.
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    pub(super) fn body(&self, name: &CStr) -> Option<c_int> {
        /// `mjOBJ_BODY`
        const BODY: c_int = 1;
        // SAFETY: `self` owns the model, so it is live, and the call only reads it. A `CStr` ends in zero.
        let id = unsafe { (self.library.name_to_id)(self.pointer.as_ptr(), BODY, name.as_ptr()) };
        (id >= 0).then_some(id)
    }
}

/// Loads the model of a file, or returns MuJoCo's message about it.
#[allow(unsafe_code, reason = "calls into MuJoCo")]
fn from_file(library: &Library, path: &Path) -> Result<NonNull<MjModel>, String> {
    let name = path.to_str().and_then(|name| CString::new(name).ok()).ok_or("its path is not UTF-8")?;
    let mut message = [0 as c_char; 1000];
    // SAFETY: the name is a `CString`, so it ends in zero. The virtual file system may be null. MuJoCo writes at most
    // the given length into the message. The XML reader is used by one thread at a time, under the lock of `MODELS`.
    let pointer =
        unsafe { (library.load_xml)(name.as_ptr(), core::ptr::null(), message.as_mut_ptr(), message.len() as c_int) };
    NonNull::new(pointer).ok_or_else(|| text(&message))
}

/// Loads the model of a file without constraint islands. It is compiled from a text that includes the file and sets the
/// flag, because the flag's offset in the model's struct differs between versions. Returns `None` if MuJoCo
/// cannot compile this text, for example because the file names other files by relative paths.
#[allow(unsafe_code, reason = "calls into MuJoCo")]
fn without_islands(functions: &FromText, path: &Path) -> Option<NonNull<MjModel>> {
    let file = path.to_str()?.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let text = format!(r#"<mujoco><include file="{file}"/><option><flag island="disable"/></option></mujoco>"#);
    let text = CString::new(text).ok()?;
    let mut message = [0 as c_char; 1000];
    // SAFETY: the text is a `CString`, so it ends in zero. The virtual file system may be null. MuJoCo writes at most
    // the given length into the message. The XML reader is used by one thread at a time, under the lock of `MODELS`.
    let spec =
        unsafe { (functions.parse)(text.as_ptr(), core::ptr::null(), message.as_mut_ptr(), message.len() as c_int) };
    let spec = NonNull::new(spec)?.as_ptr();
    // SAFETY: the spec is not null, was made above and is not deleted yet. The virtual file system may be null.
    let model = unsafe { (functions.compile)(spec, core::ptr::null()) };
    // SAFETY: the spec was made by `mj_parseXMLString` above and is deleted here only. The model does not refer to it.
    unsafe { (functions.delete)(spec) };
    NonNull::new(model)
}

/// Returns the text in a buffer, up to the first zero.
fn text(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Drop for Model {
    #[allow(unsafe_code, reason = "calls into MuJoCo")]
    fn drop(&mut self) {
        // SAFETY: the model was made by `mj_loadXML` or `mj_compile` and is deleted here only. No data refers to it,
        // because every `Data` owns its model.
        unsafe { (self.library.delete_model)(self.pointer.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mujoco::simulation::Simulation;
    use crate::mujoco::task::{MujocoTask, with_uniform_noise};
    use crate::mujoco::{HalfCheetah, Hopper, InvertedPendulum, Swimmer, Walker2d};
    use crate::numpy_random::NumpyRng;
    use crate::test_support::mujoco_available;

    /// Returns every bit of the state after each of 2,000 steps. Every 40 steps the simulation restarts at velocities
    /// far from rest.
    fn course<T: MujocoTask>(path: &Path, islands: Islands) -> Vec<u64> {
        let model = Model::shared(library::open(None).unwrap(), path, islands).unwrap();
        let mut simulation = Simulation::new(model, path).unwrap();
        let (mut bits, mut rng) = (Vec::new(), NumpyRng::from_seed(7));
        let controls = vec![0.0; T::SIZES.controls];
        for t in 0..2000 {
            if t % 40 == 0 {
                let (qpos, qvel) = simulation.initial();
                let (qpos, qvel) = (with_uniform_noise(&mut rng, qpos, 0.1), with_uniform_noise(&mut rng, qvel, 3.0));
                simulation.begin(&qpos, &qvel);
            }
            simulation.step(&with_uniform_noise(&mut rng, &controls, f64::from(T::ACTION_BOUND)), T::FRAME_SKIP);
            let state = simulation.snapshot();
            bits.extend([state.qpos, state.qvel, state.warmstart].concat().into_iter().map(f64::to_bits));
        }
        bits
    }

    /// Whether the file can be loaded without islands.
    fn loads(path: &Path) -> bool {
        let library = library::open(None).unwrap();
        let _one_reader = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        let model = without_islands(library.from_text.as_ref().expect("a MuJoCo from 3.2 on"), path);
        #[allow(unsafe_code, reason = "calls into MuJoCo")]
        // SAFETY: the model was made above, is deleted here only, and is not used afterwards.
        model.is_some_and(|model| unsafe {
            (library.delete_model)(model.as_ptr());
            true
        })
    }

    fn islands_do_not_show<T: MujocoTask>() {
        assert!(T::ONE_TREE, "{}", T::ID);
        let path = model_file(&MujocoConfig::default(), T::MODEL).unwrap();
        assert!(loads(&path), "{}", T::ID);
        let [with, without] = [Islands::AsInFile, Islands::Disabled].map(|islands| course::<T>(&path, islands));
        assert!(with == without, "{}", T::ID);
    }

    #[test]
    fn a_model_of_one_tree_moves_the_same_without_islands() {
        if !mujoco_available("a_model_of_one_tree_moves_the_same_without_islands") {
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
        if !mujoco_available("a_path_may_have_what_xml_gives_a_meaning_to") {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(r#"a "b" & <c>.xml"#);
        std::fs::copy(model_file(&MujocoConfig::default(), Hopper::MODEL).unwrap(), &path).unwrap();
        assert!(loads(&path));
    }
}
