//! The signals that save and end a run: the first sets a flag, the second ends the process immediately.
//!
//! A signal that is ignored when the program starts stays ignored, as `nohup` (SIGHUP) and shells that start a program
//! in the background of a script (SIGINT) intend.
//!
//! A process that starts runs passes the signal on to them ([`bind`], [`ask_to_end`]).

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::driver::INTERRUPTED;

/// The signals that end a run. Slurm and other schedulers send SIGUSR1 or SIGUSR2 before a time limit.
#[cfg(unix)]
const SIGNALS: [libc::c_int; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// Makes the first signal set `stop`. A second signal ends the process with the exit code [`INTERRUPTED`], without
/// running destructors, because an environment may hang until its time limit. Checkpoints on disk are kept.
#[cfg(unix)]
pub(crate) fn stop_by_signals(stop: &Arc<AtomicBool>) {
    use signal_hook::flag;

    for signal in SIGNALS.into_iter().filter(|&signal| !is_ignored(signal)) {
        // The actions of a signal run in the order of their registration, so the first signal only sets the flag. None
        // of the signals is one that registration refuses; should it fail, the signal keeps its default, which ends the
        // process.
        let _ = flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(stop));
        let _ = flag::register(signal, Arc::clone(stop));
    }
}

/// Makes a command's process reachable for signals through this process alone: it has a process group of its own, so
/// Ctrl-C on a terminal does not reach it. On Linux it gets SIGTERM when the calling thread ends, also by a kill.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the C library's `prctl`, between fork and exec")]
pub(crate) fn bind(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = std::process::id();
        let end_with_parent = move || {
            // SAFETY: sets an attribute of the calling process, which runs no code of it.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM as libc::c_ulong) };
            // SAFETY: `getppid` takes nothing and cannot fail.
            if unsafe { libc::getppid() } as u32 == parent {
                Ok(())
            } else {
                // The parent ended before the attribute was set.
                Err(std::io::Error::from_raw_os_error(libc::ESRCH))
            }
        };
        // SAFETY: the closure only calls `prctl` and `getppid`, which are system calls without memory of this process,
        // and it allocates nothing.
        unsafe { command.pre_exec(end_with_parent) };
    }
}

/// Sends a signal to a process of this program that has not been awaited yet, so that it saves and ends.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the C library's `kill`")]
pub(crate) fn ask_to_end(child: &Child) {
    // A signal that is ignored here is ignored there too.
    let all = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];
    let Some(signal) = all.into_iter().find(|&signal| !is_ignored(signal)) else { return };
    // SAFETY: `kill` uses no memory of this process. The process was not awaited, so the id is still its own.
    let _ = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
}

/// Does nothing: the processes have the same console, so Ctrl-C reaches all of them.
#[cfg(not(unix))]
pub(crate) fn bind(_: &mut Command) {}

/// Does nothing: the processes have the same console, so Ctrl-C has reached this one too.
#[cfg(not(unix))]
pub(crate) fn ask_to_end(_: &Child) {}

/// Returns true if the signal has no effect on this process.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the C library's `sigaction`")]
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action `sigaction` only writes the present one to `action`, which is valid for writes.
    let read = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: all fields are numbers, arrays of numbers, or an optional function, for all of which zero is valid.
    let action = unsafe { action.assume_init() };
    read == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Makes the first Ctrl-C or closing of the console set `stop`. A second one ends the process with the exit code
/// [`INTERRUPTED`]. Checkpoints on disk are kept.
#[cfg(not(unix))]
pub(crate) fn stop_by_signals(stop: &Arc<AtomicBool>) {
    use std::sync::atomic::Ordering;

    let flag = Arc::clone(stop);
    // Fails if an earlier run in the same process has set a handler, as in tests. That handler stays in place.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    });
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_if_the_process_ignores_it() {
        // Rust's runtime ignores SIGPIPE. No test sends SIGURG or changes its action.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(libc::SIGURG));
    }
}
