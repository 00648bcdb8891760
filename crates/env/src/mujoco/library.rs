//! MuJoCo's C functions, bound at run time. The program builds and runs without MuJoCo, and a missing library is an
//! ordinary error.
//!
//! Models and data remain opaque pointers, and their contents pass through `mj_getState` and `mj_setState`. The code
//! thus does not depend on the struct layout of any version. A library is loaded once per process and never unloaded.
//!
//! # MuJoCo's own errors
//! For a bad model file, `mj_loadXML` returns an error. Deeper failures call `mju_error`, and "MuJoCo is written with
//! the assumption that mju_error will not return" (API reference, `mju_user_error`). By default it writes
//! MUJOCO_LOG.TXT, waits for a key and exits.
//!
//! A handler cannot return to Rust: unwinding from it would cross C frames that were not built for it, and `longjmp`
//! would skip Rust's destructors. Both are undefined behaviour. The handler here therefore prints the message on stderr
//! and ends the process with status 1, by `_exit`. `exit` would run the destructors of C++ globals, among them MuJoCo's
//! own, while other threads are inside it. The cost of `_exit` is an unfinished line on stdout; files are closed as
//! after a kill, and checkpoints are either complete or absent. Signatures, sizes and pointers are checked before every
//! call, so the only remaining cause is a lack of memory.
//!
//! Warnings, as of a simulation that became unstable, are counted, and the last one is kept ([`warnings`]).

use core::error::Error as _;
use core::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::MujocoError;
use super::search;

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
const OLDEST: c_int = 310;
/// The first version whose state contains HISTORY, at a bit below WARMSTART and CTRL.
const WITH_HISTORY: c_int = 3_005_000;

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
        let shift = c_int::from(version >= WITH_HISTORY);
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

/// The loaded libraries, each with the path that named it, or `None` for one that was searched for.
static LOADED: Mutex<Vec<(Option<PathBuf>, &'static Library)>> = Mutex::new(Vec::new());

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
        Some(path) => load(path, named_by)?,
        None => first_found()?,
    };
    let library: &'static Library = Box::leak(Box::new(library));
    loaded.push((named, library));
    Ok(library)
}

/// Describes MuJoCo on this machine: its version and its path.
///
/// # Errors
/// If no library is found, or the named or first found one cannot be used.
pub fn found() -> Result<String, MujocoError> {
    let library = open(None)?;
    Ok(format!("MuJoCo {}, {}", library.version, library.path.display()))
}

/// Loads the first usable file. A library that loads but is too old ends the search, because it is the one that the
/// user installed.
fn first_found() -> Result<Library, MujocoError> {
    let mut searched = Vec::new();
    for candidate in search::libraries() {
        match candidate.map(|path| load(&path, None)) {
            Ok(Err(MujocoError::Library { path, reason, .. })) => {
                searched.push(format!("{}: {reason}", path.display()))
            }
            Ok(outcome) => return outcome,
            Err(nothing) => searched.push(nothing),
        }
    }
    Err(MujocoError::NoLibrary { searched })
}

#[allow(unsafe_code, reason = "foreign functions are bound here")]
fn load(path: &Path, named_by: Option<&'static str>) -> Result<Library, MujocoError> {
    let unusable =
        |error: libloading::Error| MujocoError::Library { path: path.into(), named_by, reason: reason(&error, path) };
    // SAFETY: loading runs the library's initialisers. MuJoCo's initialisers only register its plugins.
    let library = unsafe { libloading::Library::new(path) }.map_err(unusable)?;
    // SAFETY: the type is the one that `mujoco.h` declares.
    let version = unsafe { library.get::<unsafe extern "C" fn() -> c_int>("mj_version") }.map_err(unusable)?;
    // SAFETY: the function takes no argument and returns a constant.
    let version = unsafe { version() };
    check_version(path, named_by, version)?;
    // SAFETY: the names are those of `mujoco.h` from this version on.
    let functions = unsafe { bind(&library, path, version) }.map_err(unusable)?;
    // SAFETY: the names are those of `mujoco.h` from this version on.
    unsafe { set_handlers(&library) }.map_err(unusable)?;
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
    if version >= OLDEST {
        return Ok(());
    }
    Err(MujocoError::TooOld { path: path.into(), named_by, version: in_words(version) })
}

/// # Safety
/// The library must declare each name with the type of the field, as `mujoco.h` does.
#[allow(unsafe_code, reason = "foreign functions are bound here")]
unsafe fn bind(library: &libloading::Library, path: &Path, version: c_int) -> Result<Library, libloading::Error> {
    macro_rules! function {
        ($name:literal) => {
            // SAFETY: the caller guarantees the types.
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
        version: in_words(version),
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
fn in_words(version: c_int) -> String {
    let (major, minor, patch) = if version < 1_000_000 {
        (version / 100, version / 10 % 10, version % 10)
    } else {
        (version / 1_000_000, version / 1000 % 1000, version % 1000)
    };
    format!("{major}.{minor}.{patch}")
}

type Handler = extern "C" fn(*const c_char);

/// # Safety
/// As for [`bind`]. In addition, no other thread may be inside the library.
#[allow(unsafe_code, reason = "foreign globals are set here")]
unsafe fn set_handlers(library: &libloading::Library) -> Result<(), libloading::Error> {
    for (name, handler) in [("mju_user_error", end as Handler), ("mju_user_warning", keep_warning as Handler)] {
        // SAFETY: `mujoco.h` declares `extern void (*name)(const char*)`, so the symbol is the address of a pointer.
        let global = *unsafe { library.get::<*mut Option<Handler>>(name) }?;
        // SAFETY: the address is that of a live global, which no other thread reads at this moment.
        unsafe { *global = Some(handler) };
    }
    Ok(())
}

/// The number of MuJoCo's warnings, and the last warning.
static WARNINGS: Mutex<(u64, String)> = Mutex::new((0, String::new()));

/// Returns the number of MuJoCo's warnings in this process, and the last warning.
#[must_use]
pub fn warnings() -> (u64, String) {
    WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

extern "C" fn keep_warning(message: *const c_char) {
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    *warnings = (warnings.0 + 1, words(message));
}

/// The hint that follows MuJoCo's fatal error.
const AFTER: &str = "hint: the run's last checkpoint stays; if memory was short, give a copy of the model more, `<size memory=\"1M\"/>`, and name its folder by `env.mujoco.assets`";

#[allow(unsafe_code, reason = "the C library ends the process")]
extern "C" fn end(message: *const c_char) {
    use std::io::Write as _;
    let warning = warnings().1;
    let before = if warning.is_empty() { String::new() } else { format!(" (its last warning: {warning})") };
    let _ = writeln!(std::io::stderr(), "MuJoCo cannot go on: {}{before}\n{AFTER}", words(message));
    // SAFETY: `_exit` accepts any status, and no code runs after it.
    unsafe { libc::_exit(1) }
}

#[allow(unsafe_code, reason = "a foreign string is read here")]
pub(super) fn words(message: *const c_char) -> String {
    if message.is_null() {
        return String::new();
    }
    // SAFETY: MuJoCo passes a string that ends in zero and lives until the handler returns.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(in_words(raw), want);
        }
    }

    #[test]
    fn a_library_before_3_1_is_refused() {
        let outcome = |version| check_version(Path::new("lib/libmujoco.so"), None, version);
        assert!([310, 340, 3_005_000, 4_000_000].into_iter().all(|version| outcome(version).is_ok()));
        let message = outcome(237).unwrap_err().to_string();
        assert!(
            message.starts_with("MuJoCo 2.3.7 of lib/libmujoco.so is too old\nhint: 3.1.0 or later; in a"),
            "{message}"
        );
    }

    #[test]
    fn the_state_bits_moved_with_3_5() {
        let bits = |version| (StateBits::of(version).warmstart, StateBits::of(version).ctrl);
        assert_eq!((bits(340), bits(3_005_000)), ((1 << 4, 1 << 5), (1 << 5, 1 << 6)));
        // 4.0 adds PLASTIC above all others.
        assert_eq!(bits(3_005_000), bits(4_000_000));
    }
}
