//! A temporary folder for a test, a run of one second, and the contents of a run's files.

// Every test program uses a part of this module.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A run of one second. Every interval, schedule and phase occurs in it, and steps 40, 80 and 120 are evaluated.
pub(crate) const TINY: &str = r#"
seed = 7
threads = 1

[env]
id = "Pendulum-v1"

[training]
env_steps = 120
explore_steps = 40
updates_per_step = 2
epoch_length = 40
eval_every = 40
eval_episodes = 2
log_every = 10
checkpoint_every = 20

[agent]
hidden = [16, 16]
batch = 16

[model.ensemble]
members = 3
elites = 2
hidden = [16, 16]

[model.loss]
add_mse_until = 40

[model.fit]
every = 20
max_steps = 30

[rollout]
starts_per_step = 5
horizon = [1, 3, 40, 100]
real_ratio = [1.0, 0.1, 40, 100]
"#;

/// Overrides of [`TINY`] that cover every algorithm, loss and agent.
pub(crate) const VARIANTS: [&[&str]; 10] = [
    &["algo=model_free"],
    &["model.loss.kind=mle"],
    &["model.loss.kind=mse"],
    &["model.loss.kind=vagram"],
    &["model.loss.kind=vagram", "model.loss.form=unbounded", "model.loss.heads=target", "model.head=gaussian"],
    &["model.loss.kind=itervaml", "model.loss.through_policy=true"],
    &["model.loss.kind=value_weighted", "model.loss.heads=target"],
    &["model.loss.kind=huber", "model.loss.delta=0.1"],
    &["agent.kind=td3"],
    &[
        "algo=dhmbpo",
        "agent.horizon=2",
        "double_horizon.block=20",
        "double_horizon.first_block=2",
        "double_horizon.critic_updates=4",
        "double_horizon.rollouts=8",
        "double_horizon.horizon=4",
        "double_horizon.refill_every=5",
        "double_horizon.refill=16",
        "double_horizon.pool=64",
    ],
];

/// A time limit longer than any step of the tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Variables that hide every graphics driver from a program: two that Vulkan's loader reads, and one of OpenGL.
const NO_DRIVERS: [&str; 3] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"];

/// A temporary folder in which the program runs. It contains `tiny.toml`.
pub(crate) struct Place {
    folder: TempDir,
    graphics: bool,
    /// Environment variables of the program that differ from those of the test.
    variables: BTreeMap<String, Option<String>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), graphics: true, variables: BTreeMap::new() };
        place.write("tiny.toml", TINY);
        place
    }

    /// Returns a place where the program finds no graphics driver.
    pub(crate) fn without_graphics() -> Self {
        Self { graphics: false, ..Self::new() }
    }

    /// Removes these environment variables for the program.
    pub(crate) fn without(&mut self, variables: &[&str]) {
        self.variables.extend(variables.iter().map(|name| ((*name).to_owned(), None)));
    }

    /// Sets this environment variable for the program.
    pub(crate) fn with(&mut self, name: &str, value: &str) {
        self.variables.insert(name.into(), Some(value.into()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        self.placed(Command::new(env!("CARGO_BIN_EXE_foresee")), arguments)
    }

    /// Gives a command these arguments, the folder, and the environment variables.
    fn placed(&self, mut command: Command, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        command.current_dir(self.folder.path()).args(arguments);
        #[cfg(unix)]
        reset_signals(&mut command);
        // Without this variable Mesa prints a complaint on standard error.
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
        if !self.graphics {
            command.envs(NO_DRIVERS.map(|name| (name, "/dev/null")));
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program, which must succeed, and returns its stdout.
    #[track_caller]
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {:?}\n{}", output.status.code(), text(&output.stderr));
        text(&output.stdout)
    }

    /// Trains `tiny.toml` with these overrides in the folder `run`.
    #[track_caller]
    pub(crate) fn train(&self, run: &str, overrides: &[&str]) -> String {
        self.succeeds(&[&["train", "tiny.toml", "--run-dir", run], overrides].concat())
    }

    /// Runs the program, which must refuse its input and change no file, and returns the message.
    #[track_caller]
    pub(crate) fn refuses(&self, arguments: &[&str]) -> String {
        let before = self.contents("");
        let output = self.run(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert_eq!(message.matches("error: ").count(), 1, "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{arguments:?}: {message}");
        let after = self.contents("");
        assert!(before == after, "{arguments:?} left {:?}", changed(&before, &after));
        message.strip_prefix("error: ").unwrap_or_else(|| panic!("{message}")).trim_end().to_owned()
    }

    /// Starts the program without waiting for it.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(arguments);
        Started(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// Starts the program with a signal ignored, such as `HUP`, as `nohup` does.
    pub(crate) fn spawn_ignoring(&self, signal: &str, arguments: &[&str]) -> Started {
        let script = format!("trap '' {signal}; exec \"$0\" \"$@\"");
        let words = ["-c", &script, env!("CARGO_BIN_EXE_foresee")];
        let mut command = self.placed(Command::new("sh"), [&words[..], arguments].concat());
        Started(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// Runs a line of a shell, in which `foresee` is the program.
    pub(crate) fn shell(&self, line: &str) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_foresee")).parent().unwrap();
        let mut command = self.placed(Command::new("sh"), ["-c", line]);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(program.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(paths).unwrap()).output().unwrap()
    }

    /// Starts to train `tiny.toml` in the folder `run` and waits for its first checkpoint.
    #[track_caller]
    pub(crate) fn started(&self, run: &str, overrides: &[&str]) -> Started {
        let started = self.spawn(&[&["train", "tiny.toml", "--run-dir", run], overrides].concat());
        self.await_checkpoint(run, 0);
        started
    }

    /// Waits until a run has a checkpoint at this step or a later one.
    #[track_caller]
    pub(crate) fn await_checkpoint(&self, run: &str, step: u64) {
        await_that("checkpoint", || newest_step(&self.path(run)) >= Some(step));
    }

    /// Starts to train `tiny.toml` in the folder `run`, waits for its first checkpoint and for the time `wait`, and
    /// sends it a signal. If the run ended before the signal arrived, it is started again with half the wait.
    #[track_caller]
    pub(crate) fn cut(&self, run: &str, overrides: &[&str], signal: &str, wait: Duration) -> Output {
        for halvings in 0..10 {
            let training = self.started(run, overrides);
            std::thread::sleep(wait / 2_u32.pow(halvings));
            let output = training.signal(signal);
            if output.status.code() != Some(0) {
                return output;
            }
            fs::remove_dir_all(self.path(run)).unwrap();
        }
        panic!("ten runs in a row ended before {signal} came: {overrides:?}");
    }

    /// Waits for a file that the program creates.
    #[track_caller]
    pub(crate) fn await_file(&self, name: &str) {
        await_that(name, || self.path(name).exists());
    }

    /// Returns every file under a folder with its bytes, and every folder.
    pub(crate) fn contents(&self, name: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path(name)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                    found.insert(path, Vec::new());
                } else {
                    found.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// A running program. It is killed when the test ends.
pub(crate) struct Started(Option<Child>);

impl Started {
    /// Sends a signal by its name, such as `INT`.
    pub(crate) fn send(&self, name: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([format!("-{name}"), id]).status().unwrap().success());
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn signal(self, name: &str) -> Output {
        self.send(name);
        self.wait()
    }

    /// Waits for the end.
    pub(crate) fn wait(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn changed(before: &BTreeMap<PathBuf, Vec<u8>>, after: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<PathBuf> {
    let paths = before.keys().chain(after.keys());
    paths.filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// Gives a command the default actions of the signals that end a run. Tests that run in the background of a script
/// inherit an ignored SIGINT.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the C library's `signal`, between fork and exec")]
fn reset_signals(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    let reset = || {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
            // SAFETY: sets the default action of a signal, which runs no code of this process.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure only calls `signal`, which POSIX allows between fork and exec.
    unsafe { command.pre_exec(reset) };
}

/// Waits until a condition holds.
#[track_caller]
fn await_that(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "no {what} came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the number of real steps in the newest checkpoint of a run, if it has one.
pub(crate) fn newest_step(run: &Path) -> Option<u64> {
    let newest = checkpoints(run).pop()?;
    newest.file_name()?.to_str()?.get("step-".len().."step-000000000000".len())?.parse().ok()
}

/// Returns the checkpoints of a run, the newest last.
pub(crate) fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("step-"));
    paths.sort();
    paths
}

/// Returns the files that must be equal for equal runs: metrics, results, and the state at the end.
pub(crate) fn outcome(run: &Path) -> [Vec<u8>; 3] {
    let newest = checkpoints(run).pop().expect("a run has checkpoints");
    let files = [run.join("metrics.jsonl"), run.join("results.csv"), newest.join("state.safetensors")];
    files.map(|path| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[track_caller]
pub(crate) fn assert_equal_outcomes(one: &Path, other: &Path, context: &str) {
    let (one, other) = (outcome(one), outcome(other));
    assert!(one[2].len() > 10_000, "a state of {} bytes", one[2].len());
    assert_eq!(text(&one[0]), text(&other[0]), "metrics.jsonl, {context}");
    assert_eq!(text(&one[1]), text(&other[1]), "results.csv, {context}");
    assert!(one[2] == other[2], "state.safetensors differs, {context}");
}

/// Returns the arrays of a safetensors file by name, each with its type and shape, and its bytes.
pub(crate) fn arrays(bytes: &[u8]) -> BTreeMap<String, (String, Vec<u8>)> {
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).unwrap();
    let array = |(name, entry): (String, serde_json::Value)| {
        let [start, end] = [0, 1].map(|i| entry["data_offsets"][i].as_u64().unwrap() as usize);
        (name, (format!("{} {}", entry["dtype"], entry["shape"]), data[start..end].to_vec()))
    };
    header.into_iter().map(array).collect()
}
