//! The handlers of MuJoCo's own errors and warnings.
//!
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
//! The handlers are globals of the library, which MuJoCo reads without a lock. They are therefore set once per loaded
//! file, before anything here calls its functions. A program that itself calls the same MuJoCo library must not do so
//! while the first task is created.
//!
//! Warnings, as of a simulation that became unstable, are counted, and the last one is kept ([`warnings`]).

use core::ffi::{CStr, c_char};
use std::sync::{Mutex, PoisonError};

/// A function that MuJoCo calls with a message.
pub(super) type Handler = unsafe extern "C" fn(*const c_char);

/// Returns the addresses of the globals `mju_user_error` and `mju_user_warning`.
///
/// # Safety
/// The library must declare both as pointers to functions, as `mujoco.h` does.
#[allow(unsafe_code, reason = "foreign globals are looked up here")]
pub(super) unsafe fn globals(library: &libloading::Library) -> Result<[*mut Option<Handler>; 2], libloading::Error> {
    let address = |name: &str| -> Result<*mut Option<Handler>, libloading::Error> {
        // SAFETY: the caller guarantees that the symbol is a global of type `void (*)(const char*)`. It holds a
        // function pointer or null, as an `Option<Handler>` does, and the result is its address.
        Ok(*unsafe { library.get::<*mut Option<Handler>>(name) }?)
    };
    Ok([address("mju_user_error")?, address("mju_user_warning")?])
}

/// Sets MuJoCo's handlers for errors and for warnings.
///
/// # Safety
/// The globals must be those of a library that is loaded, and no other thread may be inside this library.
#[allow(unsafe_code, reason = "foreign globals are set here")]
pub(super) unsafe fn set([on_error, on_warning]: [*mut Option<Handler>; 2]) {
    // SAFETY: the caller guarantees that both globals are live and that no other thread reads them at this moment.
    unsafe {
        *on_error = Some(exit_after_error);
        *on_warning = Some(record_warning);
    }
}

/// The number of MuJoCo's warnings, and the last warning.
static WARNINGS: Mutex<(u64, String)> = Mutex::new((0, String::new()));

/// Returns the number of MuJoCo's warnings in this process, and the last warning.
#[must_use]
pub fn warnings() -> (u64, String) {
    WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The handler of MuJoCo's warnings.
///
/// # Safety
/// As for [`message_text`].
#[allow(unsafe_code, reason = "MuJoCo calls it with a foreign string")]
unsafe extern "C" fn record_warning(message: *const c_char) {
    // SAFETY: MuJoCo, the only caller, passes a string that ends in zero and lives until the handler returns.
    let message = unsafe { message_text(message) };
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    *warnings = (warnings.0 + 1, message);
}

/// The hint that follows MuJoCo's fatal error.
const FATAL_HINT: &str = "hint: continue a run from its last checkpoint with `foresee resume`; if MuJoCo ran out of memory, first add `<size memory=\"1M\"/>` to a copy of the model, and set `env.mujoco.assets` to its folder";

/// The handler of MuJoCo's fatal errors.
///
/// # Safety
/// As for [`message_text`].
#[allow(unsafe_code, reason = "MuJoCo calls it with a foreign string, and the C library ends the process")]
unsafe extern "C" fn exit_after_error(message: *const c_char) {
    use std::io::Write as _;
    // SAFETY: MuJoCo, the only caller, passes a string that ends in zero and lives until the handler returns.
    let message = unsafe { message_text(message) };
    let warning = warnings().1;
    let before = if warning.is_empty() { String::new() } else { format!(" (its last warning: {warning})") };
    let _ = writeln!(std::io::stderr(), "MuJoCo failed: {message}{before}\n{FATAL_HINT}");
    // SAFETY: `_exit` accepts any status, and no code runs after it.
    unsafe { libc::_exit(1) }
}

/// Returns the text of MuJoCo's message; empty if there is none.
///
/// # Safety
/// The pointer must be null, or point to a string that ends in zero and that nobody changes during the call.
#[allow(unsafe_code, reason = "a foreign string is read here")]
unsafe fn message_text(message: *const c_char) -> String {
    if message.is_null() {
        return String::new();
    }
    // SAFETY: the caller guarantees that the pointer, which is not null, is that of a string that ends in zero.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}
