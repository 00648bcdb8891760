//! No process remains after the program ends in any way, and no signal meant for the program affects a process.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use foresee_env::{Autoreset, Environment, Tasks, VectorEnvironment};
use serde_json::json;

use crate::common::{FAULTY, action, built, faulty, play, python_runs};

/// The environment variable of a test process that is started to be killed. It holds the fault of its environment.
const VICTIM: &str = "FORESEE_TEST_VICTIM";
/// The environment variable of a test process that is started to be stopped for a while.
const SLEEPER: &str = "FORESEE_TEST_SLEEPER";

/// Returns the fields of `/proc/PID/stat` from the third on: state, parent, process group.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Whether a process runs. A process that has ended but was not reaped does not run.
fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

#[track_caller]
fn is_gone_within(pid: u32, limit: Duration) {
    let start = Instant::now();
    while runs(pid) {
        assert!(start.elapsed() < limit, "process {pid} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Makes an environment without a fault that reports its process id and is never restarted.
fn plain() -> Box<dyn Environment> {
    let mut config = faulty(json!({ "pid": true }));
    config.gym.restarts = 0;
    built(&config)
}

/// Begins an episode and returns the id of the Python process.
fn begun(env: &mut dyn Environment) -> u32 {
    env.reset(Some(0)).unwrap().info["pid"] as u32
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_dropped_environment_leaves_no_process() {
    if !python_runs("dropping", FAULTY) {
        return;
    }
    let mut env = plain();
    let pid = begun(env.as_mut());
    assert!(runs(pid));
    drop(env);
    assert!(stat(pid).is_none(), "it is reaped, too");
}

#[test]
fn an_environment_that_hangs_leaves_no_process() {
    if !python_runs("dropping after a hang", FAULTY) {
        return;
    }
    for fault in ["hang", "hang with the lock"] {
        let mut config = faulty(json!({ "fault": fault, "at": 1, "pid": true }));
        config.gym.timeout = 0.2;
        config.gym.restarts = 0;
        let mut env = built(&config);
        let pid = begun(env.as_mut());
        env.step(&action(env.as_ref(), 0)).unwrap_err();
        assert!(stat(pid).is_none(), "{fault}");
    }
}

#[test]
fn what_an_environment_started_ends_with_it() {
    if !python_runs("programs that an environment starts", FAULTY) {
        return;
    }
    for fault in ["simulator", "simulator, exit", "simulator, hang"] {
        let mut config = faulty(json!({ "fault": fault, "at": 1, "pid": true }));
        config.gym.timeout = 0.5;
        config.gym.restarts = 0;
        let mut env = built(&config);
        let simulator = env.reset(Some(0)).unwrap().info["simulator"] as u32;
        assert!(runs(simulator));
        assert_eq!(env.step(&action(env.as_ref(), 0)).is_ok(), fault == "simulator", "{fault}");
        drop(env);
        is_gone_within(simulator, Duration::from_secs(1));
    }
}

#[test]
fn a_vector_whose_environments_hang_at_their_end_takes_the_grace_of_one() {
    if !python_runs("closing side by side", FAULTY) {
        return;
    }
    let config = faulty(json!({ "fault": "close", "pid": true }));
    let mut envs = VectorEnvironment::new(&config.factory(&Tasks::default(), 0), 5, Autoreset::NextStep).unwrap();
    let pids: Vec<u32> = envs.reset(&[Some(0); 5]).unwrap().iter().map(|reset| reset.info["pid"] as u32).collect();
    let start = Instant::now();
    drop(envs);
    // Each of them has two seconds.
    let took = start.elapsed().as_secs_f64();
    assert!((1.5..5.0).contains(&took), "{took} s");
    assert!(pids.into_iter().all(|pid| stat(pid).is_none()));
}

#[test]
fn processes_outlive_the_threads_that_start_them() {
    if !python_runs("threads that come and go", FAULTY) {
        return;
    }
    let mut env = std::thread::spawn(plain).join().unwrap();
    let pid = begun(env.as_mut());
    std::thread::sleep(Duration::from_millis(200));
    assert!(runs(pid));
    play(env.as_mut(), 0, 40);
}

#[test]
fn signals_for_the_program_leave_the_environment_alone() {
    if !python_runs("signals", FAULTY) {
        return;
    }
    let mut env = plain();
    let pid = begun(env.as_mut());
    // Ctrl-C sends a signal to the terminal's foreground group; schedulers send one to every process of a job.
    if let (Some(theirs), Some(ours)) = (stat(pid), stat(std::process::id())) {
        assert_ne!(theirs[2], ours[2], "process groups");
    }
    for name in ["-INT", "-TERM"] {
        signal(name, pid);
        play(env.as_mut(), 0, 40);
    }
    assert_eq!(env.reset(Some(0)).unwrap().info["pid"] as u32, pid);
}

/// Not a test itself: [`time_in_which_the_program_is_stopped_counts_for_no_limit`] starts it as a process and stops it.
#[test]
fn sleeper() {
    if std::env::var_os(SLEEPER).is_none() {
        return;
    }
    let mut config = faulty(json!({ "fault": "slow", "at": 1, "pid": true }));
    (config.gym.timeout, config.gym.restarts) = (1.0, 0);
    let mut env = built(&config);
    let pid = begun(env.as_mut());
    writeln!(std::io::stdout(), "\npid {pid}").unwrap();
    let outcome = env.step(&action(env.as_ref(), 0)).map(|step| step.info["pid"]);
    writeln!(std::io::stdout(), "\nthen {outcome:?}").unwrap();
}

#[test]
fn time_in_which_the_program_is_stopped_counts_for_no_limit() {
    if !python_runs("stopping the program", FAULTY) {
        return;
    }
    // Ctrl-Z stops the program alone. A frozen job or a sleeping machine stops both processes.
    for both in [false, true] {
        let mut sleeper = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::sleeper", "--nocapture"])
            .env(SLEEPER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(sleeper.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut line = |start: &str| lines.find_map(|line| Some(line.strip_prefix(start)?.to_owned())).expect(start);
        let pid: u32 = line("pid ").parse().unwrap();
        // The step takes 0.4 s, and its time limit is 1 s.
        std::thread::sleep(Duration::from_millis(100));
        let stopped = if both { vec![sleeper.id(), pid] } else { vec![sleeper.id()] };
        stopped.iter().for_each(|pid| signal("-STOP", *pid));
        std::thread::sleep(Duration::from_millis(1500));
        stopped.iter().for_each(|pid| signal("-CONT", *pid));
        assert_eq!(line("then "), format!("Ok({pid}.0)"), "both: {both}");
        assert!(sleeper.wait().unwrap().success());
    }
}

/// Not a test itself: [`a_killed_program_leaves_no_process`] starts it as a process and kills it.
#[test]
fn victim() {
    let Ok(fault) = std::env::var(VICTIM) else { return };
    let mut env = built(&faulty(json!({ "fault": fault, "at": 1, "pid": true })));
    let pid = begun(env.as_mut());
    let mut out = std::io::stdout();
    writeln!(out, "\npid {pid}").and_then(|()| out.flush()).unwrap();
    let _ = env.step(&action(env.as_ref(), 0));
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_program_leaves_no_process() {
    if !python_runs("killing the program", FAULTY) {
        return;
    }
    // Only Linux ends a child that hangs.
    let faults: &[&str] = if cfg!(target_os = "linux") { &["", "hang", "hang with the lock"] } else { &[""] };
    for fault in faults {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::victim", "--nocapture"])
            .env(VICTIM, fault)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
        let pid = lines.find_map(|line| line.strip_prefix("pid ")?.parse::<u32>().ok()).expect("a line `pid ...`");
        std::thread::sleep(Duration::from_millis(100));
        assert!(runs(pid), "{fault}");
        // SIGKILL: no code of the program runs after it.
        victim.kill().unwrap();
        victim.wait().unwrap();
        is_gone_within(pid, Duration::from_secs(1));
    }
}
