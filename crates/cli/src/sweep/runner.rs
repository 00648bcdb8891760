//! The processes that train the runs of a sweep. Each is this program with the command `train`, so a run in a sweep is
//! the same as a run by hand, and the end of one leaves the others alone.
//!
//! All processes are started and awaited by one thread: on Linux a process is ended when the thread that started it
//! ends.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::members::Member;
use super::reason::Reason;
use crate::driver::INTERRUPTED;
use crate::run_dir;
use crate::signals;
use crate::time;

/// Time between two looks at the processes.
const POLL: Duration = Duration::from_millis(50);

/// A run to train.
#[derive(Debug)]
pub(crate) struct Job {
    /// The run.
    pub member: Member,
    /// Its folder.
    pub folder: PathBuf,
    /// The file to which its process prints.
    pub log: PathBuf,
}

/// The end of a process of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The run is complete.
    Complete,
    /// The run failed.
    Failed(Reason),
    /// A signal ended the process, and the run is saved.
    Interrupted,
}

/// An event of the sweep.
pub(crate) enum Event<'a> {
    /// A process ended after this time.
    Ended(&'a Job, &'a End, Duration),
    /// All runs that remain are trained by other processes, which are awaited.
    Waiting(&'a Job),
    /// Some time has passed; these runs are in progress.
    Passed(&'a [Running<'a>]),
}

/// A process in progress.
pub(crate) struct Running<'a> {
    /// The run.
    pub job: &'a Job,
    child: Child,
    since: Instant,
    /// The length of the log before the process printed to it.
    log_start: u64,
}

impl Running<'_> {
    /// Returns the share of the run that is done, such as `83%`, from the last line of its progress.
    pub(crate) fn progress(&self) -> Option<String> {
        let log = read_from(&self.job.log, self.log_start);
        let percent = |line: &str| line.split_whitespace().next().filter(|word| word.ends_with('%')).map(str::to_owned);
        log.lines().rev().find_map(percent)
    }
}

/// Trains the runs, at most `at_once` side by side. A set `stop` is passed on to the processes, which save and end; no further
/// one is started then. `tell` is called with every event.
pub(crate) fn run(jobs: &[Job], at_once: usize, stop: &AtomicBool, tell: &mut dyn FnMut(&Event<'_>)) {
    let mut pending: VecDeque<&Job> = jobs.iter().collect();
    let mut running: Vec<Running<'_>> = Vec::new();
    let (mut asked, mut waits) = (false, false);
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        if stopping && !asked {
            running.iter().for_each(|running| signals::ask_to_end(&running.child));
            asked = true;
        }
        reap(&mut running, asked, tell);
        while !stopping && running.len() < at_once {
            // A run may be trained by a process of a killed sweep, or by hand.
            let Some(free) = pending.iter().position(|job| !run_dir::is_locked(&job.folder)) else { break };
            let job = pending.remove(free).expect("the place of a job");
            match start(job) {
                Ok(started) => running.push(started),
                Err(error) => {
                    let what = format!("its process cannot be started: {error}");
                    tell(&Event::Ended(job, &End::Failed(Reason { what, hint: None }), Duration::ZERO));
                }
            }
        }
        match (running.is_empty(), pending.front()) {
            (true, None) => return,
            (true, Some(_)) if stopping => return,
            (true, Some(job)) if !waits => {
                waits = true;
                tell(&Event::Waiting(job));
            }
            _ => {}
        }
        tell(&Event::Passed(&running));
        thread::sleep(POLL);
    }
}

/// Removes the processes that have ended.
fn reap(running: &mut Vec<Running<'_>>, asked: bool, tell: &mut dyn FnMut(&Event<'_>)) {
    running.retain_mut(|running| {
        let end = match running.child.try_wait() {
            Ok(None) => return true,
            Ok(Some(status)) => end_of(status, asked, &running.job.log, running.log_start),
            Err(error) => End::Failed(Reason { what: format!("its process cannot be awaited: {error}"), hint: None }),
        };
        tell(&Event::Ended(running.job, &end, running.since.elapsed()));
        false
    });
}

fn end_of(status: ExitStatus, asked: bool, log: &Path, log_start: u64) -> End {
    match status.code() {
        Some(0) => End::Complete,
        Some(code) if code == i32::from(INTERRUPTED) => End::Interrupted,
        // The signal came before the process could handle it.
        None if asked => End::Interrupted,
        _ => End::Failed(Reason::of(status, &read_from(log, log_start))),
    }
}

/// Starts the process of a run. Its log begins with a line with the time and the command.
fn start(job: &Job) -> io::Result<Running<'_>> {
    if let Some(folder) = job.log.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut log = OpenOptions::new().create(true).append(true).open(&job.log)?;
    let words = arguments(job);
    let shown: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    writeln!(log, "--- {} foresee {}", time::utc_iso(time::unix_seconds()), shown.join(" "))?;
    let log_start = log.metadata()?.len();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(&words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    signals::bind(&mut command);
    let since = Instant::now();
    Ok(Running { job, child: command.spawn()?, since, log_start })
}

/// Returns the arguments of the process of a run.
fn arguments(job: &Job) -> Vec<OsString> {
    let Member { config, overrides, .. } = &job.member;
    let mut folder = OsString::from("--run-dir=");
    folder.push(&job.folder);
    let mut words = vec!["train".into(), "--resume-if-exists".into(), folder];
    // What follows is no option, also with a leading dash.
    words.push("--".into());
    words.push(config.clone().into_os_string());
    words.extend(overrides.iter().map(Into::into));
    words
}

/// Returns the text of a file from a place on; nothing if it cannot be read.
fn read_from(path: &Path, start: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut bytes)
    });
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}
