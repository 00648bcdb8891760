//! Lines on stderr while a command without a progress bar works for a long time.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two lines. A command that takes less time prints none.
const INTERVAL: Duration = Duration::from_secs(10);

/// Does `work` on this thread. In the meantime prints lines such as `evaluating 20 episodes, 30 s so far`, which begin
/// with what `activity` returns.
pub(crate) fn during<T>(activity: impl Fn() -> String + Send, work: impl FnOnce() -> T) -> T {
    to(&mut io::stderr(), INTERVAL, activity, work)
}

fn to<T>(
    output: &mut (dyn Write + Send),
    interval: Duration,
    activity: impl Fn() -> String + Send,
    work: impl FnOnce() -> T,
) -> T {
    let (working, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let began = Instant::now();
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                // A closed stderr is no reason to stop.
                let _ = writeln!(output, "{}, {} s so far", activity(), began.elapsed().as_secs());
            }
        });
        // The sender is dropped with the end of the work, also if it panics.
        let _working = working;
        work()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn long_work_is_told_and_short_work_is_not() {
        let (mut lines, told) = (Vec::new(), AtomicUsize::new(0));
        let activity = || format!("counting to {}", told.fetch_add(1, Ordering::Relaxed) + 1);
        let result = to(&mut lines, Duration::from_millis(1), activity, || {
            while told.load(Ordering::Relaxed) < 3 {
                thread::yield_now();
            }
            7
        });
        assert_eq!(result, 7);
        let lines = String::from_utf8(lines).unwrap();
        for (i, line) in lines.lines().enumerate() {
            let seconds =
                line.strip_prefix(&format!("counting to {}, ", i + 1)).and_then(|s| s.strip_suffix(" s so far"));
            assert!(seconds.is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{line}");
        }
        assert!(lines.lines().count() >= 3, "{lines}");

        let mut none = Vec::new();
        to(&mut none, Duration::from_hours(1), String::new, || ());
        assert!(none.is_empty());
    }
}
