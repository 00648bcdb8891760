//! The reason of a failed run, from the end of its process and its log.

use std::process::ExitStatus;

/// Largest number of characters of a line of a log that is shown.
const SHOWN: usize = 300;

/// The reason why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// The first line of the message.
    pub what: String,
    /// The hint of the message.
    pub hint: Option<String>,
}

impl Reason {
    /// Returns the reason of a run whose process ended with this status. `log` is what it printed.
    pub(crate) fn of(status: ExitStatus, log: &str) -> Self {
        let lines: Vec<&str> = log.lines().collect();
        let error = lines.iter().rposition(|line| line.starts_with("error: "));
        if let Some(at) = error {
            let hint = lines[at..].iter().find_map(|line| line.strip_prefix("hint: "));
            let what = lines[at].strip_prefix("error: ").unwrap_or_default();
            return Self { what: shown(what), hint: hint.map(shown) };
        }
        let last = lines.iter().rev().find(|line| !line.trim().is_empty()).copied().unwrap_or_default();
        let (end, hint) = end_of(status);
        let last = if last.is_empty() { String::new() } else { format!("; its last line is: {}", shown(last)) };
        Self { what: format!("{end}{last}"), hint }
    }
}

/// Returns the end of a process in words, and a hint.
fn end_of(status: ExitStatus) -> (String, Option<String>) {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let memory = "the system ends a process with this signal if the memory is exhausted; lower --jobs";
        let hint = (signal == libc::SIGKILL).then(|| memory.to_owned());
        return (format!("its process was ended by signal {signal}"), hint);
    }
    (
        status
            .code()
            .map_or_else(|| "its process ended".into(), |code| format!("its process ended with exit code {code}")),
        None,
    )
}

fn shown(line: &str) -> String {
    let line = line.trim();
    if line.chars().count() <= SHOWN {
        return line.to_owned();
    }
    line.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn reason(raw: i32, log: &str) -> (String, Option<String>) {
        let Reason { what, hint } = Reason::of(ExitStatus::from_raw(raw), log);
        (what, hint)
    }

    #[test]
    fn the_last_error_and_its_hint_are_the_reason() {
        let log =
            "warning: w\nhint: of the warning\nerror: at step 3: it broke\n  detail\nhint: mend it\nthe run is saved\n";
        assert_eq!(reason(1 << 8, log), ("at step 3: it broke".into(), Some("mend it".into())));
        assert_eq!(reason(1 << 8, "hint: before\nerror: a\n"), ("a".into(), None));
    }

    #[test]
    fn a_process_without_an_error_message_is_told_by_its_end() {
        assert_eq!(
            reason(101 << 8, "thread 'main' panicked\nat x\n\n"),
            ("its process ended with exit code 101; its last line is: at x".into(), None)
        );
        assert_eq!(
            reason(libc::SIGKILL, ""),
            (
                "its process was ended by signal 9".into(),
                Some("the system ends a process with this signal if the memory is exhausted; lower --jobs".into())
            )
        );
    }
}
