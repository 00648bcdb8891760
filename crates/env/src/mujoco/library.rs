//! MuJoCo's C functions, bound at run time. The program builds and runs without MuJoCo, and a missing library is an
//! ordinary error.
//!
//! Models and data remain opaque pointers, and their contents pass through `mj_getState` and `mj_setState`. The code
//! thus does not depend on the struct layout of any version. A library is loaded once per process and never unloaded.

use core::error::Error as _;
use core::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{handlers, search};
use crate::error::MujocoError;

pub use handlers::warnings;

/// `mjModel`
#[repr(C)]
pub(super) struct MjModel {
    opaque: [u8; 0],
}

/// `mjSpec`
#[repr(C)]
pub(super) struct MjSpec {
    opaque: [u8; 0],
}

/// `mjData`
#[repr(C)]
pub(super) struct MjData {
    opaque: [u8; 0],
}

/// The oldest version that is known to work.
const MIN_VERSION: c_int = 310;
/// The first version whose state contains HISTORY, at a bit below WARMSTART and CTRL.
const FIRST_WITH_HISTORY: c_int = 3_005_000;

/// Bits of the state's elements, `mjtState`. They select the numbers that `mj_getState` and `mj_setState` copy, in the
/// order of the bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateBits {
    pub(super) time: c_int,
    pub(super) qpos: c_int,
    pub(super) qvel: c_int,
    pub(super) warmstart: c_int,
    pub(super) ctrl: c_int,
}

impl StateBits {
    fn of(version: c_int) -> Self {
        let shift = c_int::from(version >= FIRST_WITH_HISTORY);
        Self { time: 1 << 0, qpos: 1 << 1, qvel: 1 << 2, warmstart: 1 << (4 + shift), ctrl: 1 << (5 + shift) }
    }
}

/// The functions that make a model from a text; available from 3.2 on.
pub(super) struct FromText {
    pub(super) parse: unsafe extern "C" fn(*const c_char, *const c_void, *mut c_char, c_int) -> *mut MjSpec,
    pub(super) compile: unsafe extern "C" fn(*mut MjSpec, *const c_void) -> *mut MjModel,
    pub(super) delete: unsafe extern "C" fn(*mut MjSpec),
}

/// The functions that this crate uses. Signatures are those of `mujoco.h`, which are the same in all versions from 3.1
/// to 4.0.
pub(super) struct Library {
    /// The file, or its name on the loader's path.
    pub(super) path: PathBuf,
    /// `mj_version` as text: `3.17.0`.
    pub(super) version: String,
    /// The address of its `mju_user_error`. Two paths to one file give the same address, two files never do.
    image: usize,
    pub(super) bits: StateBits,
    pub(super) load_xml: unsafe extern "C" fn(*const c_char, *const c_void, *mut c_char, c_int) -> *mut MjModel,
    pub(super) from_text: Option<FromText>,
    pub(super) make_data: unsafe extern "C" fn(*const MjModel) -> *mut MjData,
    pub(super) delete_data: unsafe extern "C" fn(*mut MjData),
    pub(super) delete_model: unsafe extern "C" fn(*mut MjModel),
    pub(super) reset_data: unsafe extern "C" fn(*const MjModel, *mut MjData),
    pub(super) forward: unsafe extern "C" fn(*const MjModel, *mut MjData),
    pub(super) step: unsafe extern "C" fn(*const MjModel, *mut MjData),
    pub(super) state_size: unsafe extern "C" fn(*const MjModel, c_int) -> c_int,
    pub(super) get_state: unsafe extern "C" fn(*const MjModel, *const MjData, *mut f64, c_int),
    pub(super) set_state: unsafe extern "C" fn(*const MjModel, *mut MjData, *const f64, c_int),
    pub(super) name_to_id: unsafe extern "C" fn(*const MjModel, c_int, *const c_char) -> c_int,
    pub(super) local_to_global:
        unsafe extern "C" fn(*mut MjData, *mut f64, *mut f64, *const f64, *const f64, c_int, u8),
}

/// A loaded library with the path that named it, or `None` for one that was searched for.
type Loaded = (Option<PathBuf>, &'static Library);

/// The loaded libraries. Libraries are loaded under this lock.
static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// Returns the process's library for `env.mujoco.library`, and loads it if necessary.
///
/// # Errors
/// If no library is found, or the named or first found one cannot be used.
pub(super) fn open(library: Option<&Path>) -> Result<&'static Library, MujocoError> {
    let (named, named_by) = search::named(library).unzip();
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, library)) = loaded.iter().find(|(name, _)| *name == named) {
        return Ok(library);
    }
    let library = match &named {
        Some(path) => load(path, named_by, &loaded)?,
        None => first_found(&loaded)?,
    };
    let library: &'static Library = Box::leak(Box::new(library));
    loaded.push((named, library));
    Ok(library)
}

/// Returns the version of MuJoCo on this machine and the path of its library, as one line.
///
/// # Errors
/// If no library is found, or the named or first found one cannot be used.
pub fn description() -> Result<String, MujocoError> {
    let library = open(None)?;
    Ok(format!("MuJoCo {}, {}", library.version, library.path.display()))
}

/// Loads the first usable file. A library that loads but is too old ends the search, because it is the one that the
/// user installed.
fn first_found(loaded: &[Loaded]) -> Result<Library, MujocoError> {
    let mut searched = Vec::new();
    for candidate in search::libraries() {
        match candidate.map(|path| load(&path, None, loaded)) {
            Ok(Err(MujocoError::Library { path, reason, .. })) => {
                searched.push(format!("{}: {reason}", path.display()))
            }
            Ok(outcome) => return outcome,
            Err(nothing) => searched.push(nothing),
        }
    }
    Err(MujocoError::NoLibrary { searched })
}

/// Loads a library and sets its handlers. `loaded` are all libraries that are in use.
#[allow(unsafe_code, reason = "foreign functions are bound here")]
fn load(path: &Path, named_by: Option<&'static str>, loaded: &[Loaded]) -> Result<Library, MujocoError> {
    let unusable =
        |error: libloading::Error| MujocoError::Library { path: path.into(), named_by, reason: reason(&error, path) };
    // SAFETY: loading runs the initialisers of the file, which the user named or installed as MuJoCo. Those of MuJoCo
    // only register its plugins.
    let library = unsafe { libloading::Library::new(path) }.map_err(unusable)?;
    // SAFETY: every `mujoco.h` declares `int mj_version(void)`. A file without this symbol is an error.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> c_int>("mj_version") }.map_err(unusable)?;
    // SAFETY: the function takes no argument and returns a constant. The library stays loaded during the call.
    let version = unsafe { version() };
    check_version(path, named_by, version)?;
    // SAFETY: `check_version` accepts the versions whose `mujoco.h` declares the globals with this type.
    let globals = unsafe { handlers::globals(&library) }.map_err(unusable)?;
    let image = globals[0].addr();
    // SAFETY: `check_version` accepts the versions whose `mujoco.h` declares the functions with these types.
    let functions = unsafe { bind(&library, path, version, image) }.map_err(unusable)?;
    if !loaded.iter().any(|(_, other)| other.image == image) {
        // SAFETY: both addresses are those of globals of `library`, which stays loaded. No thread is inside the
        // library: its functions can be called only through a `Library`, none exists for this image, and no other
        // thread can create one, because the caller holds the lock of `LOADED`.
        unsafe { handlers::set(globals) };
    }
    // The functions must stay loaded for the rest of the process.
    core::mem::forget(library);
    Ok(functions)
}

/// Returns the loader's message without the path with which it often begins.
fn reason(error: &libloading::Error, path: &Path) -> String {
    let words = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    words.strip_prefix(&format!("{}: ", path.display())).map_or_else(|| words.clone(), str::to_owned)
}

fn check_version(path: &Path, named_by: Option<&'static str>, version: c_int) -> Result<(), MujocoError> {
    if version >= MIN_VERSION {
        return Ok(());
    }
    Err(MujocoError::TooOld { path: path.into(), named_by, version: version_text(version) })
}

/// Looks up the functions.
///
/// # Safety
/// The library must declare each name with the type of the field, as `mujoco.h` does, and it must stay loaded for as
/// long as the result is used.
#[allow(unsafe_code, reason = "foreign functions are bound here")]
unsafe fn bind(
    library: &libloading::Library,
    path: &Path,
    version: c_int,
    image: usize,
) -> Result<Library, libloading::Error> {
    macro_rules! function {
        ($name:literal) => {
            // SAFETY: the caller guarantees that the symbol has the type of the field. `get` refuses a missing symbol,
            // so the function pointer is not null.
            *unsafe { library.get($name) }?
        };
    }
    let from_text = || {
        Ok::<_, libloading::Error>(FromText {
            parse: function!("mj_parseXMLString"),
            compile: function!("mj_compile"),
            delete: function!("mj_deleteSpec"),
        })
    };
    Ok(Library {
        path: path.into(),
        version: version_text(version),
        image,
        bits: StateBits::of(version),
        load_xml: function!("mj_loadXML"),
        from_text: from_text().ok(),
        make_data: function!("mj_makeData"),
        delete_data: function!("mj_deleteData"),
        delete_model: function!("mj_deleteModel"),
        reset_data: function!("mj_resetData"),
        forward: function!("mj_forward"),
        step: function!("mj_step"),
        state_size: function!("mj_stateSize"),
        get_state: function!("mj_getState"),
        set_state: function!("mj_setState"),
        name_to_id: function!("mj_name2id"),
        local_to_global: function!("mj_local2Global"),
    })
}

/// Converts a version number to text: 340 is 3.4.0; from 3.5.0 on, 3017000 is 3.17.0.
fn version_text(version: c_int) -> String {
    let (major, minor, patch) = if version < 1_000_000 {
        (version / 100, version / 10 % 10, version % 10)
    } else {
        (version / 1_000_000, version / 1000 % 1000, version % 1000)
    };
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::mujoco_available;

    #[test]
    fn a_version_reads_as_in_its_release() {
        // From `mj_version()` of the PyPI wheels of these names.
        for (raw, want) in [
            (237, "2.3.7"),
            (316, "3.1.6"),
            (340, "3.4.0"),
            (3_005_000, "3.5.0"),
            (3_017_000, "3.17.0"),
            (4_000_000, "4.0.0"),
        ] {
            assert_eq!(version_text(raw), want);
        }
    }

    #[test]
    fn a_library_before_3_1_is_refused() {
        let outcome = |version| check_version(Path::new("lib/libmujoco.so"), None, version);
        assert!([310, 340, 3_005_000, 4_000_000].into_iter().all(|version| outcome(version).is_ok()));
        let message = outcome(237).unwrap_err().to_string();
        let begins =
            "MuJoCo 2.3.7 at lib/libmujoco.so is too old\nhint: version 3.1.0 or later is needed; run `pip install ";
        assert!(message.starts_with(begins), "{message}");
    }

    #[test]
    fn the_state_bits_moved_with_3_5() {
        let bits = |version| (StateBits::of(version).warmstart, StateBits::of(version).ctrl);
        assert_eq!((bits(340), bits(3_005_000)), ((1 << 4, 1 << 5), (1 << 5, 1 << 6)));
        // 4.0 adds PLASTIC above all others.
        assert_eq!(bits(3_005_000), bits(4_000_000));
    }

    /// A thread may be inside the library when another one opens it by its second path. The handlers must not be set
    /// again then.
    #[cfg(unix)]
    #[test]
    fn two_paths_to_one_file_are_one_image() {
        if !mujoco_available("two_paths_to_one_file_are_one_image") {
            return;
        }
        let first = open(None).unwrap();
        assert!(first.path.is_absolute(), "give MUJOCO_LIB the absolute path of the library: {}", first.path.display());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libmujoco.so");
        std::os::unix::fs::symlink(&first.path, &path).unwrap();
        let second = open(Some(&path)).unwrap();
        assert_eq!((second.image, second.path.as_path()), (first.image, path.as_path()));
    }
}
