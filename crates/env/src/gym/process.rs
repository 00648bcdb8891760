//! The child process of an environment: its start, its calls, its output and its end.
//!
//! * Its standard input is one end of a socket pair. Its output goes into a pipe, whose last lines are kept for error
//!   messages.
//! * Every time limit counts only the time in which this program runs ([`Wait`]): while the program is stopped, or its
//!   job is frozen, no limit passes.
//! * It ends when the socket closes. It is killed if that takes long, and Linux kills it if this process is killed.
//! * It has its own process group. Ctrl-C in a terminal then reaches only the run, which finishes its slice with the
//!   process. After the end of the process, the rest of its group is killed, such as a simulator that the environment
//!   started.
//!
//! * `start`: the start of a process.
//! * `wait`: waits with a time limit.
//! * `output`: the last output of a process.

mod output;
mod start;
mod wait;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::protocol::{Answer, Failure, HEADER_BYTES, Hello, MAX_BODY_BYTES, ResetSource};
use super::protocol::{make_request, reset_request, step_request};
use crate::config::kwargs::Kwargs;
use crate::config::python_id::{Package, suite_id_of_shimmy};
use crate::error::BridgeError;
use output::OutputTail;
use start::start_child;
use wait::Wait;

/// Minimum time limit for the answer to `make`, in which the interpreter starts and reads packages from a cold disk.
const MIN_START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for which the thread polls for an answer before it sleeps. Waking a thread can take longer than many steps do.
const POLL_TIME: Duration = Duration::from_micros(200);
/// Time that a process has for its end after its socket is closed: for `env.close()` and for Python's exit.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// Interval in which the end of a process is looked for.
const EXIT_INTERVAL: Duration = Duration::from_millis(2);

/// The parameters with which a process is started.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// The id in the config.
    pub(super) id: String,
    /// The package that makes the environment.
    pub(super) package: Package,
    /// The environment's name in that package: the id for `gymnasium.make`, or domain and task of the suite.
    pub(super) name: String,
    pub(super) python: PathBuf,
    pub(super) kwargs: Kwargs,
    pub(super) timeout: Duration,
}

/// A process that contains an environment.
pub(super) struct Process {
    launch: Launch,
    child: Child,
    /// The exit status, after the process was reaped.
    status: Option<ExitStatus>,
    channel: UnixStream,
    output: Arc<OutputTail>,
    /// Time limit of an answer.
    limit: Duration,
    /// Buffer for a frame. It grows to the longest frame.
    buffer: Vec<u8>,
    /// Names of the info scalars in the last answer.
    names: Vec<String>,
    obs_dim: usize,
}

impl Process {
    /// Starts a process and makes the environment.
    pub(super) fn start(launch: &Launch) -> Result<(Self, Hello), BridgeError> {
        let started =
            start_child(launch).map_err(|error| BridgeError::start_failed(&launch.id, &launch.python, &error));
        let (child, channel, output) = started?;
        let buffer = vec![0; 1 << 16];
        let request = make_request(launch.package, &launch.name, &launch.kwargs);
        let (launch, names, limit) = (launch.clone(), Vec::new(), Duration::ZERO);
        let mut process = Self { launch, child, status: None, channel, output, limit, buffer, names, obs_dim: 0 };
        process.limit = process.launch.timeout.max(MIN_START_TIMEOUT);
        let length = process.request("make", &request)?;
        let hello = Hello::read(&process.buffer[HEADER_BYTES..length]);
        let hello = hello.map_err(|reason| process.unreadable("make", reason))?;
        process.obs_dim = hello.observations[0].len();
        process.limit = process.launch.timeout;
        Ok((process, hello))
    }

    pub(super) fn reset(&mut self, source: ResetSource) -> Result<Answer, BridgeError> {
        let call = match &source {
            ResetSource::Seed(seed) => format!("reset(seed={seed})"),
            ResetSource::Current | ResetSource::Saved(_) => "reset()".into(),
        };
        self.call(&call, &reset_request(source))
    }

    /// Takes one step under an action `[A]` inside the action space.
    pub(super) fn step(&mut self, action: &[f32]) -> Result<Answer, BridgeError> {
        self.call("step", &step_request(action))
    }

    fn call(&mut self, call: &str, request: &[u8]) -> Result<Answer, BridgeError> {
        let length = self.request(call, request)?;
        let answer = Answer::read(&self.buffer[HEADER_BYTES..length], self.obs_dim, &mut self.names);
        let answer = answer.map_err(|reason| self.unreadable(call, reason))?;
        // Checked as f32, because every user of observations and rewards stores f32.
        let refused = |what: String, value: f64| {
            let (id, call) = (self.launch.id.clone(), call.to_owned());
            Err(if value.is_finite() {
                BridgeError::BeyondF32 { id, call, what, value }
            } else {
                BridgeError::NotFinite { id, call, what, value }
            })
        };
        if let Some(index) = answer.obs.iter().position(|&x| !(x as f32).is_finite()) {
            return refused(format!("entry {index} of its observation"), answer.obs[index]);
        }
        if !(answer.reward as f32).is_finite() {
            return refused("its reward".into(), answer.reward);
        }
        Ok(answer)
    }

    /// Sends a request and reads the answer's frame into the buffer. Returns the frame's length.
    fn request(&mut self, call: &str, request: &[u8]) -> Result<usize, BridgeError> {
        let outcome = self.channel.write_all(request).and_then(|()| self.read_frame());
        let length = match outcome {
            Ok(Ok(length)) => length,
            Ok(Err(reason)) => return Err(self.unreadable(call, reason)),
            Err(error) => return Err(self.lost(call, &error)),
        };
        if self.buffer[HEADER_BYTES - 1] == 0 {
            return Ok(length);
        }
        let failure =
            Failure::read(&self.buffer[HEADER_BYTES..length]).map_err(|reason| self.unreadable(call, reason))?;
        Err(self.failed(call, failure))
    }

    /// Polls for further bytes of an answer for this time, and reads at least once. Returns the number of bytes read,
    /// which may be 0.
    fn poll(&mut self, filled: usize, time: Duration) -> io::Result<usize> {
        let until = Instant::now() + time;
        self.channel.set_nonblocking(true)?;
        let outcome = loop {
            match self.channel.read(&mut self.buffer[filled..]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    if Instant::now() >= until {
                        break Ok(0);
                    }
                    std::thread::yield_now();
                }
                Ok(0) => break Err(ErrorKind::UnexpectedEof.into()),
                outcome => break outcome,
            }
        };
        self.channel.set_nonblocking(false)?;
        outcome
    }

    /// Waits for further bytes of an answer during a slice of the wait. Returns the number of bytes read, which may be 0.
    fn read_for(&mut self, filled: usize, slice: Duration) -> io::Result<usize> {
        self.channel.set_read_timeout(Some(slice))?;
        match self.channel.read(&mut self.buffer[filled..]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            outcome => outcome,
        }
    }

    /// Reads a frame within the time limit, however slowly its bytes arrive. Bytes that have arrived are read before
    /// the limit ends the wait.
    fn read_frame(&mut self) -> io::Result<Result<usize, String>> {
        let mut wait = Wait::for_answer(self.limit);
        let mut filled = self.poll(0, POLL_TIME)?;
        loop {
            if let Some(head) = self.buffer[..filled].first_chunk::<4>() {
                let body = u32::from_le_bytes(*head) as usize;
                if body > MAX_BODY_BYTES {
                    return Ok(Err(format!("its frame has {body} bytes, more than the allowed {MAX_BODY_BYTES}")));
                }
                let length = HEADER_BYTES + body;
                if filled >= length {
                    let surplus = filled - length;
                    return Ok(if surplus == 0 {
                        Ok(length)
                    } else {
                        Err(format!("{surplus} bytes follow its frame"))
                    });
                }
                if self.buffer.len() < length {
                    self.buffer.resize(length, 0);
                }
            }
            filled += match wait.next_slice() {
                Some(slice) => {
                    let since = Instant::now();
                    let count = self.read_for(filled, slice)?;
                    wait.count(slice, since);
                    count
                }
                None => match self.poll(filled, Duration::ZERO)? {
                    0 => return Err(ErrorKind::TimedOut.into()),
                    count => count,
                },
            };
        }
    }

    /// Converts the failure that the child process reports to an error.
    fn failed(&self, call: &str, failure: Failure) -> BridgeError {
        let Failure { kind, text: reason, detail, package } = failure;
        let (id, python, call) = (self.launch.id.clone(), self.launch.python.clone(), call.to_owned());
        match kind.as_str() {
            "gymnasium" => BridgeError::NoGymnasium { id, python, reason },
            "dm_control" => BridgeError::NoDmControl { id, python, reason },
            "make" => {
                let instead = suite_id_of_shimmy(&self.launch.name)
                    .map(|instead| format!(" (without Shimmy, its id is `{instead}`)"));
                BridgeError::Make { id, reason: reason + &instead.unwrap_or_default() }
            }
            "task" => BridgeError::NoTask { id, reason, nearest: detail },
            "module" => BridgeError::NoModule { id, python, module: detail, reason },
            "space" => BridgeError::Space { id, reason },
            "interface" => BridgeError::Interface { id, call, reason },
            "older" => BridgeError::OlderInterface { id, reason, change: detail },
            _ => BridgeError::Raised { id, call, error: reason, traceback: detail, package: package.into() },
        }
    }

    /// Returns the error of a call without an answer: the process died, or it hangs and is killed.
    fn lost(&mut self, call: &str, error: &io::Error) -> BridgeError {
        let (id, call) = (self.launch.id.clone(), call.to_owned());
        let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        // The socket of a dead process may be held open by a program that it started.
        if late && !self.has_ended() {
            let _ = self.kill();
            return BridgeError::Hung { id, call, seconds: self.limit.as_secs_f64(), output: self.output.last_lines() };
        }
        let status = self.end().map_or_else(|error| error.to_string(), |status| status.to_string());
        BridgeError::Died { id, call, status, output: self.output.last_lines() }
    }

    fn unreadable(&mut self, call: &str, reason: String) -> BridgeError {
        let _ = self.end();
        let (id, call) = (self.launch.id.clone(), call.to_owned());
        BridgeError::Protocol { id, call, reason, output: self.output.last_lines() }
    }

    /// Closes the socket, waits for a short time, kills the process, and reaps it.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let _ = self.channel.shutdown(Shutdown::Write);
        let mut wait = Wait::new(EXIT_GRACE, EXIT_INTERVAL);
        while !self.has_ended()
            && let Some(slice) = wait.next_slice()
        {
            let since = Instant::now();
            std::thread::sleep(slice);
            wait.count(slice, since);
        }
        self.kill()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether the process has ended. This check does not reap it, so that no other process group can get its number
    /// yet.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.status.is_some() || !matches!(waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    /// Kills the process with its whole group, and reaps it.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // For a group of dead processes, macOS reports that it may not be killed.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
