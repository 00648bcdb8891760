//! Every kind of failure in Python, each with its message.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use foresee_env::{BridgeError, EnvConfig, EnvError, check_environment, make};
use serde_json::json;

use crate::common::{CHATTY, FAULTY, built, failure, faulty, play, python_runs, script, with_kwargs};

/// Checks a message by its first line, its hint, and `words` between them.
#[track_caller]
pub(crate) fn says(error: &EnvError, first: &str, words: &[&str], hint: &str) {
    let message = error.to_string();
    assert!(message.starts_with(first), "{message}\n\nexpected to start with {first}");
    for words in words {
        assert!(message.contains(words), "{message}\n\nexpected {words}");
    }
    assert!(message.lines().any(|line| line.starts_with("hint: ") && line.contains(hint)), "{message}\n\nhint: {hint}");
}

/// Checks the failure of a faulty environment.
#[track_caller]
fn fails(fault: &str, first: &str, words: &[&str], hint: &str) {
    if python_runs(fault, FAULTY) {
        let mut config = faulty(json!({ "fault": fault }));
        config.gym.timeout = 0.5;
        config.gym.restarts = 0;
        says(&failure(&config), &first.replace("ID", FAULTY), words, hint);
    }
}

#[test]
fn a_process_that_exits_is_told_with_its_last_words() {
    fails(
        "exit",
        "the Python process of `ID` ended during step (exit status: 3)\n  | the motor burns\nhint: ",
        &[],
        "alone",
    );
}

#[test]
fn a_process_that_crashes_is_told_with_the_signal_and_where_it_was() {
    let first = "the Python process of `ID` ended during step (signal: 11 (SIGSEGV)";
    fails("segmentation fault", first, &["faults.py"], "alone");
}

#[test]
fn a_process_that_hangs_is_told_and_killed() {
    let first = "the Python process of `ID` did not answer step within 0.5 s\n  | waiting for the simulator\nhint: ";
    fails("hang", first, &[], "raise `env.gym.timeout`");
    fails("hang with the lock", "the Python process of `ID` did not answer step within 0.5 s\nhint: ", &[], "timeout");
    // A program that the dead process started may keep its descriptors open.
    fails("forked", "the Python process of `ID` ended during step (exit status: 4)\nhint: ", &[], "alone");
}

#[test]
fn an_exception_is_told_with_the_tracebacks_end() {
    fails(
        "exception",
        "`ID` failed in step: ValueError: the arm is out of reach\n  | ",
        &["faults.py\", line ", "raise ValueError(\"the arm is out of reach\")"],
        "correct the environment's code",
    );
    fails(
        "make",
        "`ID` failed in make: ValueError: no such track\n  | ",
        &["faults.py"],
        "the traceback shows the line",
    );
    fails("quit", "`ID` failed in step: SystemExit: 7", &[], "the traceback shows the line");
    if python_runs("an exception in a reset", FAULTY) {
        let error = failure(&faulty(json!({ "fault": "exception", "at": 0 })));
        let first = format!("`{FAULTY}` failed in reset(seed=0): ValueError: the arm is out of reach\n  | ");
        says(&error, &first, &[], "the traceback shows the line");
    }
}

#[test]
fn what_is_not_gymnasiums_interface_is_told() {
    let shape =
        "`ID` breaks Gymnasium's interface in step: its observation has shape (5,), but its observation space has (2,)";
    fails("shape", shape, &[], "check_env");
    // Within Gymnasium's time limit, the exception would be that of the limit.
    let config = faulty(json!({ "fault": "four values", "max_episode_steps": -1 }));
    if python_runs("four values", FAULTY) {
        let first =
            format!("`{FAULTY}` breaks Gymnasium's interface in step: its `step` returned 4 values, but must return 5");
        says(&failure(&config), &first, &["gym before 0.26"], "check_env");
    }
}

#[test]
fn numbers_that_are_not_finite_are_told() {
    fails("nan", "`ID` returned NaN as entry 1 of its observation in step", &[], "division by 0");
    fails("infinite", "`ID` returned -inf as entry 0 of its observation in step", &[], "division by 0");
    fails("nan reward", "`ID` returned NaN as its reward in step", &[], "division by 0");
}

#[test]
fn other_spaces_than_boxes_are_refused() {
    let hint = "continuous actions";
    fails("discrete actions", "`ID` cannot be used: its action space is Discrete(3), which is not a Box", &[], hint);
    fails("whole actions", "`ID` cannot be used: its actions are integers: Box(0, 9, (2,), int64)", &[], hint);
    let dict = "`ID` cannot be used: its observation space is Dict('x': Box(";
    fails("dict observations", dict, &["which is not a Box"], "wrap it so that its observation is a Box");
}

#[test]
fn prints_and_reads_of_an_environment_touch_nothing() {
    if python_runs("prints", CHATTY) {
        let [quiet, chatty] = [FAULTY, CHATTY].map(|id| {
            let mut env = make(id).unwrap();
            let first = env.reset(Some(2)).unwrap().obs;
            (first, play(env.as_mut(), 0, 50))
        });
        assert_eq!(quiet, chatty);
    }
}

#[test]
fn boxes_of_any_shape_and_width_are_flattened() {
    if !python_runs("boxes of other shapes", FAULTY) {
        return;
    }
    for (shape, dtype, dim) in [(vec![2, 3], "float32", 6), (vec![], "float64", 1), (vec![1, 2, 1], "float16", 2)] {
        let config = faulty(json!({ "shape": shape, "dtype": dtype }));
        let mut env = built(&config);
        assert_eq!((env.spec().observation_space.dim(), env.spec().action_space.dim()), (dim, dim));
        env.reset(None).unwrap();
        play(env.as_mut(), 0, 40);
    }
}

#[test]
fn what_gymnasium_does_not_know_is_told_in_its_own_words() {
    if !python_runs("unknown ids", FAULTY) {
        return;
    }
    for (id, words) in [
        ("gym:Hoper-v5", "NameNotFound: Environment `Hoper` doesn't exist. Did you mean: `Hopper`?"),
        ("gym:Pendulum-v99", "v99"),
        ("gym:no_module_of_this_name:It-v0", "No module named 'no_module_of_this_name'"),
    ] {
        let error = make(id).err().unwrap();
        says(&error, &format!("Gymnasium cannot make `{id}`: "), &[words], "pprint_registry");
    }
    let error = with_kwargs("gym:Pendulum-v1", json!({ "gravitation": 3 })).make(0).err().unwrap();
    says(&error, "`gym:Pendulum-v1` failed in make: TypeError: ", &["'gravitation'"], "");
}

#[test]
fn a_package_that_an_environment_lacks_is_named_with_the_interpreter() {
    let id = "gym:tests.gym_envs.needy:Any-v0";
    if python_runs("imports of environments", FAULTY) {
        let error = make(id).err().unwrap();
        let Some(EnvError::Bridge(BridgeError::NoModule { python, .. })) = Some(&error) else { panic!("{error}") };
        let python = python.display();
        let hint = format!("install the package that contains `no_such_dep` with `{python} -m pip install`");
        let first = format!("Gymnasium cannot make `{id}`: ModuleNotFoundError: No module named 'no_such_dep'");
        says(&error, &first, &[], &hint);
        // For the module in the id, and for a parent of it, the hint is another one.
        for module in ["no_such_dep", "no_such_dep.envs", "tests.gym_envs.no_such_module"] {
            let error = make(&format!("gym:{module}:Any-v0")).err().unwrap();
            says(&error, &format!("Gymnasium cannot make `gym:{module}:Any-v0`: "), &[], "pprint_registry");
        }
    }
}

#[test]
fn arguments_reach_the_environment_and_take_the_known_rule_away() {
    if !python_runs("keyword arguments", "gym:Pendulum-v1") {
        return;
    }
    let plain = built(&EnvConfig::new("gym:Pendulum-v1"));
    assert_eq!(plain.spec().max_episode_steps, Some(200));
    assert!(plain.spec().termination.is_some());
    let limited = built(&with_kwargs("gym:Pendulum-v1", json!({ "max_episode_steps": 7 })));
    assert_eq!((limited.spec().max_episode_steps, &limited.spec().termination), (Some(7), &None));
    let short = with_kwargs("gym:Pendulum-v1", json!({ "max_episode_steps": 1 }));
    check_environment(|| short.make_unscaled(0)).unwrap();
    let endless = built(&with_kwargs("gym:Pendulum-v1", json!({ "max_episode_steps": -1, "g": 9.81 })));
    assert_eq!(endless.spec().max_episode_steps, None);
}

#[test]
fn arguments_reach_python_with_their_types_and_infinities() {
    let id = "gym:tests.gym_envs.faults:Telling-v0";
    if python_runs("types of arguments", FAULTY) {
        let text = "kwargs = { a = [0.7, inf, -inf], b = nan, c = 1.0, d = 1, e = true, f = { g = 'h' }, i = 1e300 }";
        let config = EnvConfig { gym: toml::from_str(text).unwrap(), ..EnvConfig::new(id) };
        let told = "{'a': [0.7, inf, -inf], 'b': nan, 'c': 1.0, 'd': 1, 'e': True, 'f': {'g': 'h'}, 'i': 1e+300}";
        says(&failure(&config), &format!("`{id}` failed in make: ValueError: {told}\n"), &[], "");
    }
    // The argument has the value of Gymnasium's own default.
    if python_runs("an infinite argument", "gym:Hopper-v5") {
        let mut config = EnvConfig::new("gym:Hopper-v5");
        let mut default = built(&config);
        config.gym.kwargs = toml::from_str("healthy_z_range = [0.7, inf]").unwrap();
        let mut given = built(&config);
        assert_eq!(default.reset(Some(1)).unwrap(), given.reset(Some(1)).unwrap());
        assert_eq!(play(default.as_mut(), 0, 50), play(given.as_mut(), 0, 50));
    }
}

#[test]
fn a_rule_of_the_config_is_the_environments_and_must_fit_it() {
    if !python_runs("rules of the config", FAULTY) {
        return;
    }
    let with_bound = |index: usize| {
        let rule = json!({ "bounds": [{ "index": index, "low": 0.0 }] });
        EnvConfig { termination: Some(serde_json::from_value(rule).unwrap()), ..EnvConfig::new(FAULTY) }
    };
    assert_eq!(built(&with_bound(1)).spec().termination, with_bound(1).termination);
    let message = with_bound(2).make(0).err().unwrap().to_string();
    let hint = format!("hint: `index` must be below 2, the number of observation entries of `{FAULTY}`");
    assert_eq!(message, format!("`env.termination` has a bound on obs[2]\n{hint}"));
}

/// Returns a config with this interpreter.
fn with_python(python: impl Into<PathBuf>) -> EnvConfig {
    let mut config = EnvConfig::new("gym:Pendulum-v1");
    config.gym.python = Some(python.into());
    config
}

#[test]
fn an_interpreter_that_is_none_is_told() {
    let error = with_python("/no/such/python").make(0).err().unwrap();
    says(
        &error,
        "`gym:Pendulum-v1` needs Python, and `/no/such/python` cannot be started: No such file",
        &[],
        "env.gym.python",
    );
    let error = with_python("/bin/false").make(0).err().unwrap();
    says(&error, "the Python process of `gym:Pendulum-v1` ended during make (exit status: 1)", &[], "");
}

/// The test runs itself in a second process, whose limit on open files is reached.
#[test]
fn a_limit_on_open_files_is_told_as_one() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const LIMITED: &str = "FORESEE_TEST_LIMITED";
    if std::env::var_os(LIMITED).is_some() {
        let next = std::os::fd::AsRawFd::as_raw_fd(&std::fs::File::open("/dev/null").unwrap()) as u64;
        // A socket pair, a pipe, and a copy of one of the pipe's ends are opened before the process is started.
        for more in [0, 2, 4] {
            let limit = Rlimit { current: Some(next + more), ..getrlimit(Resource::Nofile) };
            setrlimit(Resource::Nofile, limit).unwrap();
            let _ = writeln!(std::io::stderr(), "{}", with_python("/bin/false").make(0).err().unwrap());
        }
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::a_limit_on_open_files_is_told_as_one", "--nocapture"])
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&child.stderr);
    let first = "`gym:Pendulum-v1` runs in a process of its own, which cannot be started: Too many open files";
    let hint = "hint: lower `env.count`, or raise the limit on open files (`ulimit -n`)";
    for line in [first, hint] {
        assert_eq!(stderr.lines().filter(|found| found.starts_with(line)).count(), 3, "{stderr}");
    }
}

#[test]
fn answers_in_another_protocol_are_told_with_what_was_printed() {
    for (name, answer, reason) in [
        ("garbage", r"garbage\000", "its frame has 1651663207 bytes, more than the allowed "),
        ("short", r"\003\000\000\000\000abc", "it ends too early"),
        ("long", r"\000\000\000\000\000abc", "3 bytes follow its frame"),
        ("no-json", r"\003\000\000\000\001abc", "expected value at line 1 column 1"),
    ] {
        // The script waits for a moment, because closing a socket with unread data resets the connection.
        let text = format!("echo hello from {name}\nprintf '{answer}' >&0\nsleep 0.3");
        let config = with_python(script(name, &text));
        let first =
            format!("the Python process of `gym:Pendulum-v1` sent an answer to make that cannot be read: {reason}");
        says(
            &config.make(0).err().unwrap(),
            &first,
            &[&format!("\n  | hello from {name}\n")],
            "check that `env.gym.python` is a Python interpreter",
        );
    }
}

#[test]
fn a_python_without_gymnasium_is_told_how_to_get_it() {
    let Some(python) =
        ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| std::path::Path::new(path).exists())
    else {
        return;
    };
    // Isolated from all installed packages.
    let error = with_python(script("bare", &format!("exec {python} -I -S \"$@\""))).make(0).err().unwrap();
    let words = "ModuleNotFoundError: No module named 'gymnasium'";
    let Some(EnvError::Bridge(BridgeError::NoGymnasium { .. })) = Some(&error) else { panic!("{error}") };
    says(
        &error,
        "`gym:Pendulum-v1` needs Gymnasium, which `",
        &[words],
        "pip install \"gymnasium[mujoco]==1.4.0\" mujoco==3.17.0",
    );
}
