//! Every kind of failure in Python, each with its message.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use foresee_env::mujoco::rules;
use foresee_env::{BridgeError, EnvConfig, EnvError, check_environment, make};
use serde_json::json;

use crate::common::{CHATTY, FAULTY, action, built, failure, faulty, play, python_runs, script, with_kwargs};

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
}

#[test]
fn the_interface_of_the_older_gym_is_named_with_the_change_also_behind_gymnasiums_wrappers() {
    if !python_runs("the older interface", FAULTY) {
        return;
    }
    let step = "return `observation, reward, terminated, truncated, info` from `step`: `terminated` is the end by the task itself, `truncated` the end by a time limit";
    let reset = "return `observation, info` from `reset`, where `info` is a dict";
    let seed = "define `reset(self, *, seed=None, options=None)`, begin it with `super().reset(seed=seed)`, and draw all random numbers from `self.np_random`";
    let class = "import `gymnasium` instead of `gym`, and derive the environment from `gymnasium.Env`";
    let wrapper = "let the wrapper take five values from `step`: observation, reward, terminated, truncated, info; and return five";
    for (name, reason, change) in [
        ("FourValues", "its `step` returned 4 values, not 5", step),
        ("NoSeed", "its `reset` takes no `seed`", seed),
        ("NoOptions", "its `reset` takes no `options`", seed),
        ("NoInfo", "its `reset` returned one ndarray, not an observation and a dict", reset),
        ("NoInfoOfTwo", "its `reset` returned one dict, not an observation and a dict", reset),
        ("OlderClass", "its class derives from `gym.Env`", class),
        ("OlderGrandchild", "its class derives from `gym.Env`", class),
        ("Registered", "its module registers it with `gym`", class),
        ("Wrapped", "a wrapper of it takes 4 values from `step`, which returns 5", wrapper),
        (
            "Importing",
            "it imports `gym` (ModuleNotFoundError: No module named 'gym.spaces'; 'gym' is not a package)",
            class,
        ),
    ] {
        let id = format!("gym:tests.gym_envs.older:{name}-v0");
        for limit in [50, -1] {
            // Gymnasium's time limit unpacks the result of a step. Without it, the result arrives here.
            let message = failure(&with_kwargs(&id, json!({ "max_episode_steps": limit }))).to_string();
            let want = format!(
                "`{id}` has the interface of gym before 0.26, the predecessor of Gymnasium: {reason}\nhint: {change}"
            );
            assert_eq!(message, want, "limit {limit}");
        }
    }
    // The same exception from code that `reset` calls is the environment's own mistake.
    let id = "gym:tests.gym_envs.older:InnerSeed-v0";
    says(&failure(&EnvConfig::new(id)), &format!("`{id}` failed in reset(seed=0): TypeError: "), &["'seed'"], "");
}

#[test]
fn numbers_beyond_f32_are_told_as_such() {
    let hint = "a larger unit";
    fails(
        "huge",
        "`ID` returned 1e300 as entry 1 of its observation in step, which is beyond the range of f32 (3.4e38)\n",
        &[],
        hint,
    );
    fails(
        "huge reward",
        "`ID` returned -1e39 as its reward in step, which is beyond the range of f32 (3.4e38)\n",
        &[],
        hint,
    );
    let bound = "`ID` cannot be used: entry 1 of its action space has the bound 1e300, which is beyond the range of f32 (3.4e38)\n";
    fails("wide actions", bound, &[], "bounds within which actions make a difference");
    let all = "entry 0 of the action space of `ID` is [-3.4028235e38, 3.4028235e38], and the map from [-1, 1] to this range overflows f32\n";
    fails("all floats", all, &[], "bounds within which actions make a difference");
    if python_runs("time limits beyond 32 bits", FAULTY) {
        let limit = |steps: u64| with_kwargs(FAULTY, json!({ "max_episode_steps": steps })).make(0);
        let error = limit(1 << 32).err().unwrap();
        let first = format!("`{FAULTY}` cannot be used: its time limit is 4294967296 steps, more than 4294967295\n");
        says(&error, &first, &[], "lower `env.gym.kwargs.max_episode_steps`");
        assert_eq!(limit((1 << 32) - 1).unwrap().spec().max_episode_steps, Some(u32::MAX));
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
fn arguments_reach_the_environment_and_take_the_known_rule_away_if_they_touch_it() {
    if !python_runs("keyword arguments", "gym:Pendulum-v1") {
        return;
    }
    let plain = built(&EnvConfig::new("gym:Pendulum-v1"));
    assert_eq!(plain.spec().max_episode_steps, Some(200));
    assert!(plain.spec().termination.is_some());
    let limited = built(&with_kwargs("gym:Pendulum-v1", json!({ "max_episode_steps": 7 })));
    assert_eq!((limited.spec().max_episode_steps, &limited.spec().termination), (Some(7), &plain.spec().termination));
    let short = with_kwargs("gym:Pendulum-v1", json!({ "max_episode_steps": 1 }));
    check_environment(|| short.make_unscaled(0)).unwrap();
    let endless = built(&with_kwargs("gym:Pendulum-v1", json!({ "max_episode_steps": -1, "g": 9.81 })));
    assert_eq!(endless.spec().max_episode_steps, None);
}

#[test]
fn a_rule_is_known_for_what_gymnasium_makes_and_not_for_what_the_id_says() {
    if !python_runs("known rules", "gym:Hopper-v5") {
        return;
    }
    let known = |config: &EnvConfig| {
        let env = built(config);
        (env.spec().termination.clone(), env.spec().dropped_rule.clone())
    };
    let hopper = known(&EnvConfig::new("gym:Hopper-v5"));
    assert_eq!(hopper, (Some(rules::hopper()), None));
    // Gymnasium makes the newest version.
    assert_eq!(known(&EnvConfig::new("gym:Hopper")), hopper);
    assert_eq!(
        known(&with_kwargs("gym:Hopper", json!({ "max_episode_steps": 500, "ctrl_cost_weight": 0.01 }))),
        hopper
    );
    let dropped = "the rule known for `Hopper-v5` does not hold with `env.gym.kwargs.xml_file`".to_owned();
    let other_file = with_kwargs("gym:Hopper", json!({ "xml_file": "walker2d_v5.xml", "healthy_reward": 2.0 }));
    assert_eq!(known(&other_file), (None, Some(dropped)));
    // An environment of the same name that is not Gymnasium's own.
    assert_eq!(known(&EnvConfig::new("gym:tests.gym_envs.namesake:Swimmer-v5")), (None, None));

    let first = |entries| EnvConfig { first_entries: Some(entries), ..EnvConfig::new("gym:Hopper-v5") };
    assert_eq!(known(&first(11)), hopper);
    let dropped = "the rule known for it reads entry 10, which `env.first_entries` cuts off".to_owned();
    assert_eq!(known(&first(10)), (None, Some(dropped)));
    let own = EnvConfig { termination: Some(rules::hopper()), ..first(10) };
    let message = own.make(0).err().unwrap().to_string();
    assert!(message.starts_with("`env.first_entries` is 10; it must be at least 11, because"), "{message}");
}

/// Gymnasium's own environments terminate where the rule says so, under the arguments that change the rule.
#[test]
fn rules_under_arguments_agree_with_what_really_ends() {
    if !python_runs("rules under arguments", "gym:Hopper-v5") {
        return;
    }
    let with_position = json!({ "exclude_current_positions_from_observation": false });
    for (id, kwargs) in [
        ("gym:Hopper-v5", json!({ "healthy_z_range": [1.1, 1.3], "healthy_angle_range": [-0.1, 0.05] })),
        ("gym:Hopper-v5", json!({ "healthy_state_range": [-2.0, 2.0] })),
        ("gym:Hopper-v5", with_position.clone()),
        ("gym:Hopper-v5", json!({ "terminate_when_unhealthy": false })),
        ("gym:Walker2d-v5", json!({ "healthy_z_range": [1.1, 2.0], "healthy_angle_range": [-0.2, 0.3] })),
        ("gym:Walker2d-v5", with_position.clone()),
        ("gym:Ant-v5", json!({ "healthy_z_range": [0.5, 0.8] })),
        ("gym:Ant-v5", with_position.clone()),
        ("gym:Humanoid-v5", json!({ "healthy_z_range": [1.3, 2.0], "include_cvel_in_observation": false })),
        ("gym:Humanoid-v5", with_position),
    ] {
        let mut env = built(&with_kwargs(id, kwargs.clone()));
        let rule = env.spec().termination.clone().unwrap_or_else(|| panic!("{id} {kwargs}: no rule"));
        env.reset(Some(0)).unwrap();
        let mut ends = 0;
        for t in 0..300 {
            let step = env.step(&action(env.as_ref(), t)).unwrap();
            assert_eq!(step.terminated, rule.terminated(&[], &step.obs), "{id} {kwargs}, step {t}: {:?}", step.obs);
            ends += u32::from(step.terminated);
            if step.terminated || step.truncated {
                env.reset(None).unwrap();
            }
        }
        assert_eq!(ends > 0, !rule.is_never(), "{id} {kwargs}: {ends} ends");
    }
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
