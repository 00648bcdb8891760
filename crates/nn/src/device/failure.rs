//! Failures of a device during work: it is lost, its memory is full, or it refuses a buffer.
//!
//! Burn has no error for these. The failing operation panics, or a later one panics when it reads data that was never
//! written. [`guarded`] turns such a panic into a [`DeviceFailure`] and lets every other panic through.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, Once, PoisonError};

use burn::tensor::{Device, Tensor};
use thiserror::Error;

use crate::host::is_host;

/// A device stopped working. Its contents are lost.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{reason}")]
pub struct DeviceFailure {
    /// The driver's message, in one line.
    pub reason: String,
}

impl DeviceFailure {
    fn new(message: &dyn fmt::Display) -> Self {
        Self { reason: one_line(&message.to_string()) }
    }

    /// Returns true if the driver's message says that memory ran out. The advice is then to need less of it.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        let message = self.reason.to_lowercase();
        ["out of memory", "outofmemory", "not enough memory", "can't allocate"]
            .iter()
            .any(|word| message.contains(word))
    }
}

/// Aborts the current work with a panic that [`guarded`] reports as an error.
pub fn raise(error: &dyn fmt::Display) -> ! {
    panic::panic_any(DeviceFailure::new(error))
}

/// Runs work on a device and returns its result.
///
/// # Errors
/// If the device fails during the work. The data that the work was changing is then in an undefined state and must be
/// dropped.
///
/// # Panics
/// If the work panics for another reason.
pub fn guarded<R>(device: &Device, work: impl FnOnce() -> R) -> Result<R, DeviceFailure> {
    if is_host(device) {
        return Ok(work());
    }
    let guard = Guard::new();
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let failure = match result {
        Ok(result) => {
            // The messages of runtime threads stay held back: they belong to a later operation, which will fail.
            guard.show(|of_runtime| !of_runtime);
            return Ok(result);
        }
        Err(payload) => failure_in(&*payload).or_else(|| failure_of(device)).ok_or(payload),
    };
    failure.map_or_else(
        |payload| {
            guard.show(|_| true);
            panic::resume_unwind(payload)
        },
        |failure| {
            guard.forget();
            Err(failure)
        },
    )
}

/// The device failure that a panic reports, if it reports one.
fn failure_in(payload: &(dyn Any + Send)) -> Option<DeviceFailure> {
    if let Some(failure) = payload.downcast_ref::<DeviceFailure>() {
        return Some(failure.clone());
    }
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.filter(|text| text.starts_with("wgpu error")).map(|text| DeviceFailure::new(&text))
}

/// The failure of a device that can no longer compute a single number, or `None` if it still can.
fn failure_of(device: &Device) -> Option<DeviceFailure> {
    let one = panic::catch_unwind(AssertUnwindSafe(|| Tensor::<1>::ones([1], device).try_into_vec_as::<f32>()));
    match one {
        Ok(Ok(one)) if one == [1.0] => None,
        Ok(Ok(other)) => {
            Some(DeviceFailure::new(&format!("the device computes wrongly: it returned {other:?} for the array [1.0]")))
        }
        Ok(Err(error)) => Some(DeviceFailure::new(&error)),
        Err(payload) => failure_in(&*payload).or(Some(DeviceFailure::new(&"the device does not respond"))),
    }
}

/// Shortens a driver's message to one line, without nested causes on separate lines and without backtraces.
fn one_line(message: &str) -> String {
    const END: [&str; 3] = ["Backtrace:", "No backtrace available", "Asked at:"];
    let lines = message.lines().map(str::trim).take_while(|line| !END.contains(line));
    let lines =
        lines.filter(|line| !line.is_empty() && *line != "Caused by:").map(|line| line.trim_end_matches([':', '.']));
    lines.collect::<Vec<_>>().join(": ")
}

/// The messages of panics that were held back, each with whether it comes from a thread of the runtime.
static HELD_BACK: Mutex<Vec<(bool, String)>> = Mutex::new(Vec::new());

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Holds back panic messages until it is known whether the device caused them, if the program has called
/// [`report_failures_once`].
struct Guard {
    before: bool,
}

impl Guard {
    fn new() -> Self {
        Self { before: GUARDED.replace(true) }
    }

    /// Prints held-back messages, those of the runtime's threads or those of others: no error reports them.
    #[allow(clippy::print_stderr, reason = "in place of the panic hook")]
    fn show(&self, which: impl Fn(bool) -> bool) {
        let mut held = HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().filter(|(of_runtime, _)| which(*of_runtime)).for_each(|(_, message)| eprintln!("{message}"));
        held.retain(|(of_runtime, _)| !which(*of_runtime));
    }

    /// Drops the held-back messages: an error reports them.
    fn forget(&self) {
        HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDED.set(self.before);
    }
}

/// Makes a panic under [`guarded`] print nothing if the device caused it, because the error reports it. Intended for
/// programs; it wraps the panic hook of the process.
pub fn report_failures_once() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A runtime thread may reach queued work after the guard that queued it has ended, and panic then.
            if is_runtimes_thread() || GUARDED.get() {
                hold_back(info);
            } else {
                hook(info);
            }
        }));
    });
}

fn hold_back(info: &PanicHookInfo<'_>) {
    let trace = std::backtrace::Backtrace::capture();
    let trace = match trace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{trace}"),
        _ => String::new(),
    };
    let message = format!("{info}{trace}");
    HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).push((is_runtimes_thread(), message));
}

/// Whether the current thread belongs to the GPU runtime, which executes a device's queue.
fn is_runtimes_thread() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("DSD-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_message_becomes_one_line() {
        let message = "The device is poisoned\nCaused by:\n  Destroyed: \nBacktrace:\nNo backtrace available";
        assert_eq!(one_line(message), "The device is poisoned: Destroyed");
        assert_eq!(one_line("wgpu error: Out of Memory"), "wgpu error: Out of Memory");
    }

    #[test]
    fn a_panic_that_reports_a_device_is_told_from_any_other() {
        let payload = |text: &str| -> Box<dyn Any + Send> { Box::new(text.to_owned()) };
        let failure = failure_in(&*payload("wgpu error: Out of Memory")).expect("a failure");
        assert!(failure.is_out_of_memory());
        assert_eq!(failure_in(&*payload("index out of bounds")), None);
        let lost: Box<dyn Any + Send> = Box::new(DeviceFailure { reason: "lost".into() });
        assert_eq!(failure_in(&*lost).expect("a failure").reason, "lost");
    }
}
