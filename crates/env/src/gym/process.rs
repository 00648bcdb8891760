//! The child process of an environment: started, asked, listened to, and never left behind.
//!
//! * It is one end of a socket pair, as its standard input: the socket's time limit is that of an answer. What it
//!   prints goes into a pipe of which the last lines are kept, for errors.
//! * It ends when the socket closes; it is killed if that takes long, and by Linux if this process is killed.
//! * It has a process group of its own: Ctrl-C in a terminal is for the run, which finishes its slice with it. What is
//!   left of the group once it has ended, as a simulator that the environment started, is killed.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::error::BridgeError;
use super::id::{Package, of_shimmys};
use super::kwargs::Kwargs;
use super::protocol::{Answer, Begin, Failure, HEAD, Hello, LONGEST};
use super::protocol::{make_request, reset_request, step_request};

/// The other end, in Python.
const CODE: &str = concat!(include_str!("suite.py"), include_str!("child.py"));
/// For the answer to `make`, however short the time limit: an interpreter starts, packages are read from a cold disk.
const START: Duration = Duration::from_secs(60);
/// Looks for an answer this long before the thread sleeps: to wake it can take longer than many a step.
const LOOKING: Duration = Duration::from_micros(200);
/// For the end of a process whose socket was closed: `env.close()`, and what Python does at its exit.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes of last words that are kept, and lines of them that are told.
const WORDS: usize = 8192;
const LINES: usize = 10;

/// What is started.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// The id in the config.
    pub(super) id: String,
    /// Who makes it.
    pub(super) package: Package,
    /// What it is called there: the id for `gymnasium.make`, or domain and task of the suite.
    pub(super) name: String,
    pub(super) python: PathBuf,
    pub(super) kwargs: Kwargs,
    pub(super) timeout: Duration,
}

/// A process with an environment in it.
pub(super) struct Process {
    launch: Launch,
    child: Child,
    /// Once it is reaped.
    status: Option<ExitStatus>,
    channel: UnixStream,
    words: Arc<LastWords>,
    /// For an answer.
    limit: Duration,
    /// Of a frame; it grows to the longest.
    buffer: Vec<u8>,
    /// Names of the info scalars in the last answer.
    names: Vec<String>,
    obs_dim: usize,
}

impl Process {
    /// Starts one and makes the environment.
    pub(super) fn start(launch: &Launch) -> Result<(Self, Hello), BridgeError> {
        let started = spawned(launch).map_err(|error| BridgeError::unstarted(&launch.id, &launch.python, &error));
        let (child, channel, words) = started?;
        let buffer = vec![0; 1 << 16];
        let request = make_request(launch.package, &launch.name, &launch.kwargs);
        let (launch, names, limit) = (launch.clone(), Vec::new(), Duration::ZERO);
        let mut process = Self { launch, child, status: None, channel, words, limit, buffer, names, obs_dim: 0 };
        process.answer_within(process.launch.timeout.max(START))?;
        let length = process.ask("make", &request)?;
        let hello = Hello::read(&process.buffer[HEAD..length]);
        let hello = hello.map_err(|reason| process.unreadable("make", reason))?;
        process.obs_dim = hello.observations[0].len();
        process.answer_within(process.launch.timeout)?;
        Ok((process, hello))
    }

    fn answer_within(&mut self, limit: Duration) -> Result<(), BridgeError> {
        self.limit = limit;
        self.channel.set_read_timeout(Some(limit)).map_err(|error| self.lost("make", &error))
    }

    pub(super) fn reset(&mut self, begin: Begin) -> Result<Answer, BridgeError> {
        self.play("reset", &reset_request(begin))
    }

    /// One step under an action `[A]` inside the action space.
    pub(super) fn step(&mut self, action: &[f32]) -> Result<Answer, BridgeError> {
        self.play("step", &step_request(action))
    }

    fn play(&mut self, call: &'static str, request: &[u8]) -> Result<Answer, BridgeError> {
        let length = self.ask(call, request)?;
        let answer = Answer::read(&self.buffer[HEAD..length], self.obs_dim, &mut self.names);
        let answer = answer.map_err(|reason| self.unreadable(call, reason))?;
        let not_finite = |what, value| BridgeError::NotFinite { id: self.launch.id.clone(), call, what, value };
        // As f32, since that is what everyone sees of it.
        if let Some(index) = answer.obs.iter().position(|&x| !(x as f32).is_finite()) {
            return Err(not_finite(format!("entry {index} of its observation"), answer.obs[index]));
        }
        if !answer.reward.is_finite() {
            return Err(not_finite("its reward".into(), answer.reward));
        }
        Ok(answer)
    }

    /// Sends a request and reads the answer's frame into the buffer; gives the frame's length.
    fn ask(&mut self, call: &'static str, request: &[u8]) -> Result<usize, BridgeError> {
        let outcome = self.channel.write_all(request).and_then(|()| self.read_frame());
        let length = match outcome {
            Ok(Ok(length)) => length,
            Ok(Err(reason)) => return Err(self.unreadable(call, reason)),
            Err(error) => return Err(self.lost(call, &error)),
        };
        if self.buffer[HEAD - 1] == 0 {
            return Ok(length);
        }
        let failure = Failure::read(&self.buffer[HEAD..length]).map_err(|reason| self.unreadable(call, reason))?;
        Err(self.failed(call, failure))
    }

    /// Bytes of an answer, if some come soon.
    fn look(&mut self) -> io::Result<usize> {
        let until = Instant::now() + LOOKING;
        self.channel.set_nonblocking(true)?;
        let outcome = loop {
            match self.channel.read(&mut self.buffer) {
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

    /// Within the limit, however slowly bytes drip in.
    fn read_frame(&mut self) -> io::Result<Result<usize, String>> {
        let deadline = Instant::now() + self.limit;
        let mut filled = self.look()?;
        loop {
            if let Some(head) = self.buffer[..filled].first_chunk::<4>() {
                let body = u32::from_le_bytes(*head) as usize;
                if body > LONGEST {
                    return Ok(Err(format!("a frame of {body} bytes")));
                }
                let length = HEAD + body;
                if filled >= length {
                    let surplus = filled - length;
                    return Ok(if surplus == 0 { Ok(length) } else { Err(format!("{surplus} bytes after it")) });
                }
                if self.buffer.len() < length {
                    self.buffer.resize(length, 0);
                }
            }
            match self.channel.read(&mut self.buffer[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if Instant::now() > deadline {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// What the other side says went wrong.
    fn failed(&self, call: &'static str, failure: Failure) -> BridgeError {
        let Failure { kind, text: reason, detail } = failure;
        let (id, python) = (self.launch.id.clone(), self.launch.python.clone());
        match kind.as_str() {
            "gymnasium" => BridgeError::NoGymnasium { id, python, reason },
            "dm_control" => BridgeError::NoDmControl { id, python, reason },
            "make" => {
                let instead =
                    of_shimmys(&self.launch.name).map(|instead| format!(" (without Shimmy it is `{instead}`)"));
                BridgeError::Make { id, reason: reason + &instead.unwrap_or_default() }
            }
            "task" => BridgeError::NoTask { id, reason, nearest: detail },
            "module" => BridgeError::NoModule { id, python, module: detail, reason },
            "space" => BridgeError::Space { id, reason },
            "interface" => BridgeError::Interface { id, call, reason },
            _ => BridgeError::Raised { id, call, error: reason, traceback: detail },
        }
    }

    /// No answer: it died, or it hangs and is killed.
    fn lost(&mut self, call: &'static str, error: &io::Error) -> BridgeError {
        let id = self.launch.id.clone();
        let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        // Something that it started may hold the socket of a dead one open.
        if late && !self.has_ended() {
            let _ = self.kill();
            return BridgeError::Hung { id, call, seconds: self.limit.as_secs_f64(), words: self.words.told() };
        }
        let status = self.end().map_or_else(|error| error.to_string(), |status| status.to_string());
        BridgeError::Died { id, call, status, words: self.words.told() }
    }

    fn unreadable(&mut self, call: &'static str, reason: String) -> BridgeError {
        let _ = self.end();
        BridgeError::Protocol { id: self.launch.id.clone(), call, reason, words: self.words.told() }
    }

    /// Closes the socket, waits shortly, kills, and reaps.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let _ = self.channel.shutdown(Shutdown::Write);
        let deadline = Instant::now() + GRACE;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.kill()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it is over. Asking does not reap it: until then no other group can have its number.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.status.is_some() || !matches!(waitid(WaitId::Pid(self.pid()), options), Ok(None))
    }

    /// Kills it with all of its group, and reaps it.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // Of a group of the dead alone macOS says that it may not be killed.
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

fn spawned(launch: &Launch) -> io::Result<(Child, UnixStream, Arc<LastWords>)> {
    let (channel, theirs) = UnixStream::pair()?;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&launch.python);
    command.args(["-u", "-X", "faulthandler", "-c", CODE]);
    command.stdin(OwnedFd::from(theirs)).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    // It hears nothing if the process is not started: then the other end is closed.
    let words = LastWords::of(reader)?;
    Ok((spawn(command)?, channel, words))
}

/// Starts a process from a thread that lives as long as this program.
///
/// The trap: Linux ends a child "with its parent" when the *thread* that started it ends, and vectors of environments
/// are made and stepped on threads that come and go.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (reply, outcome) = mpsc::channel();
    orders.send((command, reply)).map_err(|_| gone())?;
    outcome.recv().map_err(|_| gone())?
}

/// The end of what a process printed.
#[derive(Default)]
struct LastWords {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    text: Vec<u8>,
    over: bool,
}

impl LastWords {
    /// Listens on a thread of its own until the process, and whatever it may have started, is silent for good.
    fn of(mut pipe: io::PipeReader) -> io::Result<Arc<Self>> {
        let words = Arc::new(Self::default());
        let ours = Arc::clone(&words);
        std::thread::Builder::new().spawn(move || {
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                let mut said = ours.said.lock().unwrap_or_else(PoisonError::into_inner);
                said.text.extend(&chunk[..count]);
                let surplus = said.text.len().saturating_sub(WORDS);
                said.text.drain(..surplus);
            }
            ours.said.lock().unwrap_or_else(PoisonError::into_inner).over = true;
            ours.changed.notify_all();
        })?;
        Ok(words)
    }

    /// The last lines; waits shortly for those of a process that has just ended.
    fn told(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(said, Duration::from_millis(500), |said| !said.over);
        let (said, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said.text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}
