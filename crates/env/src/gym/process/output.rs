//! The last output of a process, for error messages.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::wait::Wait;

/// Time for which the last output of a process is awaited after its end, and interval in which it is looked for.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);
const OUTPUT_INTERVAL: Duration = Duration::from_millis(50);
/// Number of bytes of output that are kept, and number of lines that are shown.
const KEPT_OUTPUT_BYTES: usize = 8192;
const SHOWN_OUTPUT_LINES: usize = 10;

/// The end of the output of a process.
#[derive(Default)]
pub(super) struct OutputTail {
    buffer: Mutex<OutputBuffer>,
    changed: Condvar,
}

#[derive(Default)]
struct OutputBuffer {
    bytes: Vec<u8>,
    closed: bool,
}

impl OutputTail {
    /// Reads the output on a separate thread until the process and all programs that it started have closed it.
    pub(super) fn read_from(mut pipe: io::PipeReader) -> io::Result<Arc<Self>> {
        let tail = Arc::new(Self::default());
        let shared = Arc::clone(&tail);
        std::thread::Builder::new().spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                let mut buffer = shared.buffer.lock().unwrap_or_else(PoisonError::into_inner);
                buffer.bytes.extend(&chunk[..count]);
                let surplus = buffer.bytes.len().saturating_sub(KEPT_OUTPUT_BYTES);
                buffer.bytes.drain(..surplus);
            }
            shared.buffer.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
            shared.changed.notify_all();
        })?;
        Ok(tail)
    }

    /// Returns the last lines. For a process that has just ended, it first waits a short time for the rest of its
    /// output.
    pub(super) fn last_lines(&self) -> String {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wait = Wait::new(OUTPUT_GRACE, OUTPUT_INTERVAL);
        while !buffer.closed
            && let Some(slice) = wait.next_slice()
        {
            let since = Instant::now();
            buffer = self.changed.wait_timeout(buffer, slice).unwrap_or_else(PoisonError::into_inner).0;
            wait.count(slice, since);
        }
        let text = String::from_utf8_lossy(&buffer.bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(SHOWN_OUTPUT_LINES)..].join("\n")
    }
}
