//! The start of the child process of an environment.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, OnceLock, mpsc};

use super::Launch;
use super::output::OutputTail;

/// The Python code of the other end.
const CHILD_CODE: &str = concat!(include_str!("../suite.py"), include_str!("../child.py"));

/// Starts a process. Returns it with this end of its socket, and with its output.
pub(super) fn start_child(launch: &Launch) -> io::Result<(Child, UnixStream, Arc<OutputTail>)> {
    let (channel, theirs) = UnixStream::pair()?;
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(&launch.python);
    command.args(["-u", "-X", "faulthandler", "-c", CHILD_CODE]);
    command.stdin(OwnedFd::from(theirs)).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    // If the process is not started, the pipe's other end is closed and the listening thread ends.
    let output = OutputTail::read_from(reader)?;
    Ok((spawn(command)?, channel, output))
}

/// Starts a process from a thread that lives as long as this program.
///
/// The reason: Linux ends a child "with its parent" when the *thread* that started it ends, and vectors of environments
/// are created and stepped on temporary threads.
fn spawn(command: Command) -> io::Result<Child> {
    type SpawnRequest = (Command, mpsc::Sender<io::Result<Child>>);
    static REQUESTS: OnceLock<mpsc::Sender<SpawnRequest>> = OnceLock::new();
    let requests = REQUESTS.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<SpawnRequest>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        requests
    });
    let stopped = || io::Error::other("the thread that starts processes has stopped");
    let (reply, outcome) = mpsc::channel();
    requests.send((command, reply)).map_err(|_| stopped())?;
    outcome.recv().map_err(|_| stopped())?
}
