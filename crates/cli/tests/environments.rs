//! Runs on MuJoCo's tasks and on Python's environments. They are resumed bit for bit, and a missing part gives a single
//! error message.

mod common;

use std::time::{Duration, Instant};

use common::{Place, assert_equal_outcomes, checkpoints, newest_step, text};
use foresee::env::test_support::mujoco_available;
use serde_json::Value;

/// The override of the task in `tiny.toml`.
const HOPPER: &str = "env.id=Hopper-v5";

#[test]
fn a_run_on_mujoco_or_on_python_goes_on_bit_for_bit_and_says_what_it_ran_on() {
    if !mujoco_available("a_run_on_mujoco_or_on_python_goes_on_bit_for_bit") {
        return;
    }
    // Episodes have 15 steps, so the run is also resumed after resets without a seed.
    let suite = ["env.id=dmc:pendulum-swingup", "env.action_repeat=2", "env.gym.kwargs={task_kwargs={time_limit=0.6}}"];
    for (of_env, versions) in [
        (&[HOPPER][..], &["mujoco"][..]),
        (&["env.id=gym:Hopper-v5"], &["gymnasium", "mujoco", "numpy", "python"]),
        (&["env.id=gym:Pendulum-v1"], &["gymnasium", "numpy", "python"]),
        (&suite, &["dm_control", "mujoco", "numpy", "python"]),
    ] {
        let place = Place::new();
        let (id, of_env) = (of_env[0], [of_env, &["env.count=2"]].concat());
        place.train("whole", &of_env);
        place.train("cut", &[&of_env[..], &["training.env_steps=60"]].concat());
        place.succeeds(&["resume", "cut", "training.env_steps=120"]);
        let line = |run: &str| place.read(&format!("{run}/results.csv")).lines().last().unwrap().to_owned();
        assert_eq!(line("whole"), line("cut"), "{id}");
        let manifest: Value = serde_json::from_str(&place.read("cut/manifest.json")).unwrap();
        let names: Vec<_> = manifest["env_versions"].as_object().unwrap().keys().collect();
        assert_eq!(names, versions, "{id}");

        let interrupted = place.cut("stopped", &of_env, "INT", Duration::ZERO);
        assert_eq!(interrupted.status.code(), Some(130), "{}", text(&interrupted.stderr));
        place.succeeds(&["resume", "stopped"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("stopped"), id);
    }
}

#[test]
fn a_run_of_held_actions_counts_frames_beside_its_steps_and_goes_on_bit_for_bit() {
    let place = Place::new();
    let held = "env.action_repeat=3";
    place.train("whole", &[held]);
    place.train("cut", &[held, "training.env_steps=60"]);
    for other in [1, 4] {
        let message = place.refuses(&["resume", "cut", &format!("env.action_repeat={other}")]);
        let begins = format!("`env.action_repeat` is {other}, but the run began with 3\nhint: ");
        assert!(message.starts_with(&begins), "{message}");
    }
    place.succeeds(&["resume", "cut", "training.env_steps=120"]);
    // The extended run has one more evaluation, at its first end.
    let lines = |run: &str| place.read(&format!("{run}/metrics.jsonl")).lines().map(str::to_owned).collect::<Vec<_>>();
    let of_60 = |line: &String| line.starts_with("{\"env_step\":60,") && line.contains("\"eval/");
    let cut: Vec<_> = lines("cut").into_iter().filter(|line| !of_60(line)).collect();
    assert_eq!(lines("whole"), cut);
    let results = place.read("whole/results.csv");
    let mut lines = results.lines();
    assert_eq!(lines.next(), Some("env_step,episode_reward,episode_reward_std,episode_length,episodes,frames"));
    // 200 frames are 67 steps.
    let last: Vec<_> = lines.last().unwrap().split(',').collect();
    assert_eq!((last[0], last[3], last[5]), ("120", "67.0", "360.0"));
    let manifest: Value = serde_json::from_str(&place.read("whole/manifest.json")).unwrap();
    assert_eq!((&manifest["env_step"], &manifest["frames"]), (&120.into(), &360.into()));
    assert!(place.read("whole/config.toml").contains("\naction_repeat = 3\n"));
    assert!(place.succeeds(&["check-env", "Pendulum-v1", held]).contains("\nframes/step   3\n"));

    place.train("plain", &["env.action_repeat=1"]);
    assert!(!place.read("plain/config.toml").contains("action_repeat"));
    assert!(
        !place.read("plain/metrics.jsonl").contains("frames") && !place.read("plain/results.csv").contains("frames")
    );
    assert!(!place.read("plain/manifest.json").contains("frames"));
}

#[test]
fn a_run_that_goes_on_with_another_version_says_so() {
    if !mujoco_available("a_run_that_goes_on_with_another_version_says_so") {
        return;
    }
    let place = Place::new();
    place.train("run", &[HOPPER, "training.env_steps=60"]);
    let manifest = place.read("run/manifest.json");
    place.write("run/manifest.json", &manifest.replace("3.17.0", "3.4.0"));
    let output = place.run(&["resume", "run", "training.env_steps=80"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.starts_with("warning: the run began with mujoco 3.4.0 and continues with 3.17.0; "), "{stderr}");
}

#[test]
fn an_end_without_a_rule_is_an_error_and_the_run_goes_on_once_it_is_given() {
    if !mujoco_available("an_end_without_a_rule_is_an_error") {
        return;
    }
    let place = Place::new();
    let id = "env.id=gym:InvertedDoublePendulum-v5";
    let output = place.run(&["train", "tiny.toml", "--run-dir", "run", id]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let (_, error) = stderr.split_once("error: ").expect("an error");
    assert!(error.contains("`gym:InvertedDoublePendulum-v5` terminated at ["), "{error}");
    assert!(
        error.contains("\nhint: resume the run with the rule as an override, such as `env.termination={"),
        "{error}"
    );
    // The run is saved with the step that terminated.
    let step = error.strip_prefix("training stopped at environment step ").unwrap().split(':').next().unwrap();
    assert!(
        error.ends_with(&format!(
            "\nthe run is saved up to environment step {step}\nto continue: foresee resume run \"env.termination={{…}}\"\n"
        )),
        "{error}"
    );
    assert_eq!(newest_step(&place.path("run")), Some(step.parse().unwrap()));
    let message = place.refuses(&["resume", "run"]);
    assert!(
        message.starts_with(&format!("at environment step {step}: `gym:InvertedDoublePendulum-v5` terminated at ["))
    );
    place.succeeds(&["resume", "run", "env.termination={}"]);
    let metrics = place.read("run/metrics.jsonl");
    let last = metrics.lines().rfind(|line| line.contains("env/termination_mismatch")).expect("a share");
    // The environment does terminate, in contradiction to the given rule.
    assert!(serde_json::from_str::<Value>(last).unwrap()["env/termination_mismatch"].as_f64().unwrap() > 0.0, "{last}");
    // Without a model the rule is not needed.
    place.train("sac", &[id, "algo=model_free"]);
}

#[test]
fn what_is_not_there_is_answered_with_what_was_searched_and_how_to_get_it() {
    let mut place = Place::new();
    let pip = "run `pip install \"gymnasium[mujoco]==1.4.0\" mujoco==3.17.0` in an activated virtual environment";
    let message = place.refuses(&["train", "tiny.toml", HOPPER, "env.mujoco.library=nowhere.so"]);
    assert!(message.contains("MuJoCo's library nowhere.so cannot be used: "), "{message}");
    assert!(message.contains(pip), "{message}");

    // Simulates a machine with neither MuJoCo nor Python.
    place.without(&["VIRTUAL_ENV", "MUJOCO_LIB", "LD_LIBRARY_PATH"]);
    place.with("PATH", "/nowhere");
    let message = place.refuses(&["train", "tiny.toml", HOPPER]);
    assert!(message.contains("MuJoCo's library was not found\n  searched: "), "{message}");
    assert!(message.contains("VIRTUAL_ENV, which is not set") && message.contains(pip), "{message}");
    let message = place.refuses(&["train", "tiny.toml", "env.id=gym:Pendulum-v1"]);
    assert!(message.contains("python3") && message.contains("\nhint: "), "{message}");
    let listed = place.succeeds(&["list", "envs"]);
    assert!(listed.contains("\nMuJoCo's tasks cannot run here: MuJoCo's library was not found"), "{listed}");
}

/// An environment whose steps draw from a generator without a seed.
const DRIFT: &str = include_str!("environments/drift.py");

#[test]
fn check_env_finds_what_an_environment_in_python_breaks() {
    if !mujoco_available("check_env_finds_what_an_environment_in_python_breaks") {
        return;
    }
    let place = Place::new();
    place.write("drift.py", DRIFT);
    let output = place.run(&["check-env", "gym:drift:Drift-v0"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(stderr.starts_with("error: `gym:drift:Drift-v0` breaks "), "{stderr}");
    for line in [
        "ok       the spaces, the termination rule and the time limit are valid",
        "BROKEN   a seed determines the episode",
        "BROKEN   a restored environment continues",
        "warning: every reward was 0",
    ] {
        assert!(stdout.lines().any(|found| found.starts_with(line)), "{line}: {stdout}");
    }
}

/// An environment that never repeats itself and whose episodes do not end until a file `end` exists. It creates the
/// file `long` when an episode is long, and the file `hanging` before it hangs.
const ENDLESS: &str = include_str!("environments/endless.py");

#[test]
fn a_run_that_cannot_be_brought_back_bit_for_bit_is_evaluated_and_goes_on_with_a_warning() {
    if !mujoco_available("a_run_that_cannot_be_brought_back_bit_for_bit") {
        return;
    }
    let place = Place::new();
    place.write("endless.py", ENDLESS);
    let overrides = ["env.id=gym:endless:Endless-v0", "algo=model_free", "training.env_steps=41", "env.termination={}"];
    // Its first evaluation, at step 40, does not end.
    let training = place.started("run", &overrides);
    place.await_file("long");
    let output = training.signal("INT");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.starts_with("warning: `gym:endless:Endless-v0` has no time limit; "), "{stderr}");
    assert!(text(&output.stdout).starts_with("interrupted at environment step 40 and saved\n"), "{:?}", output.stdout);

    place.write("end", "");
    let output = place.run(&["resume", "run"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.starts_with("warning: `gym:endless:Endless-v0` is not reproducible: "), "{stderr}");
    assert!(stderr.contains("\nthe environment begins a new episode, "), "{stderr}");
    assert!(place.succeeds(&["eval", "run"]).contains("mean length   1.0 steps"));
    let message = place.refuses(&["resume", "run", "env.id=gym:Pendulum-v1", "training.env_steps=60"]);
    assert!(
        message.starts_with("`env.id` is `gym:Pendulum-v1`, but the run began with `gym:endless:Endless-v0`\nhint: "),
        "{message}"
    );
}

/// An environment that takes a while for each step.
const SLOW: &str = include_str!("environments/slow.py");

#[test]
fn time_in_which_a_run_is_stopped_counts_for_no_time_limit() {
    if !mujoco_available("time_in_which_a_run_is_stopped") {
        return;
    }
    let place = Place::new();
    place.write("slow.py", SLOW);
    let training = place.started(
        "run",
        &[
            "env.id=gym:slow:Slow-v0",
            "algo=model_free",
            "env.gym.timeout=3",
            "env.gym.restarts=0",
            "training.env_steps=20",
            "training.explore_steps=10",
            "training.eval_episodes=1",
        ],
    );
    place.await_file("stepped");
    for _ in 0..2 {
        // As Ctrl-Z and `fg`: the environments have process groups of their own and are not stopped.
        training.send("STOP");
        std::thread::sleep(Duration::from_millis(3500));
        training.send("CONT");
        std::thread::sleep(Duration::from_millis(300));
    }
    let output = training.wait();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// Environments with one surprise each.
const SURPRISES: &str = include_str!("environments/surprises.py");

#[test]
fn a_run_warns_at_its_start_of_an_environment_that_does_not_repeat_itself_and_of_a_missing_rule() {
    if !mujoco_available("a_run_warns_at_its_start") {
        return;
    }
    let place = Place::new();
    place.write("surprises.py", SURPRISES);
    let train = |run: &str, overrides: &[&str]| {
        let output = place.run(&[&["train", "tiny.toml", "--run-dir", run], overrides].concat());
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{overrides:?}: {stderr}");
        stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let unseeded = "env.id=gym:surprises:Unseeded-v0";
    let warnings = train("unseeded", &[unseeded, "env.termination={}"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let start = "warning: `gym:surprises:Unseeded-v0` does not repeat itself: after the same seed, entry 0 of its first observation is ";
    let end = " in another; the run cannot be reproduced";
    assert!(warnings[0].starts_with(start) && warnings[0].ends_with(end), "{warnings:?}");

    let warnings = train("noisy", &["env.id=gym:surprises:NoisySteps-v0", "env.termination={}"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let start = "warning: `gym:surprises:NoisySteps-v0` does not repeat itself: after the same seed and actions, its reward in step 1 is ";
    assert!(warnings[0].starts_with(start) && warnings[0].ends_with("; the run cannot be reproduced"), "{warnings:?}");

    let warnings = train("no-rule", &["env.id=gym:MountainCarContinuous-v0", "env.gym.kwargs.goal_velocity=0.01"]);
    let dropped = "the rule known for `MountainCarContinuous-v0` does not hold with `env.gym.kwargs.goal_velocity`";
    assert_eq!(
        warnings,
        [format!(
            "warning: `gym:MountainCarContinuous-v0` has no termination rule ({dropped}); the run stops where the task first terminates"
        )]
    );
    // Neither a task that repeats itself and has a rule, nor training without a model, gives a warning.
    assert!(train("sound", &["env.id=gym:Pendulum-v1"]).is_empty());
    assert!(train("no-model", &["env.id=gym:surprises:Ends-v0", "algo=model_free"]).is_empty());
}

#[test]
fn a_rule_that_most_real_ends_contradict_is_a_warning_and_is_counted_among_the_ends() {
    if !mujoco_available("a_rule_that_most_real_ends_contradict") {
        return;
    }
    let place = Place::new();
    place.write("surprises.py", SURPRISES);
    let id = "env.id=gym:surprises:Ends-v0";
    let run = |run: &str, rule: &str| {
        let output = place.run(&["train", "tiny.toml", "--run-dir", run, id, rule]);
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{rule}: {stderr}");
        let metrics = place.read(&format!("{run}/metrics.jsonl"));
        let last = metrics.lines().rfind(|line| line.contains("env/termination_mismatch")).expect("a share");
        let shares: Value = serde_json::from_str(last).unwrap();
        let shares = ["env/terminations_missed", "env/terminations_invented"]
            .map(|name| shares.get(name).and_then(Value::as_f64));
        let warnings = stderr.lines().filter(|line| line.starts_with("warning: the termination rule of ")).count();
        (shares, warnings, stderr)
    };
    let bounds = "env.termination={bounds=[{index=0, low=-0.6, high=0.6, closed=true}]}";
    let (shares, warnings, stderr) = run("right", bounds);
    assert_eq!((shares, warnings), ([Some(0.0), Some(0.0)], 0), "{stderr}");
    let (shares, warnings, stderr) = run("none", "env.termination={}");
    assert_eq!((shares, warnings), ([Some(1.0), None], 1), "{stderr}");
    let start = "warning: the termination rule of `gym:surprises:Ends-v0` (never) contradicts most real ends: of 3 real terminations it misses 3, and of its own 0 terminations 0 are not real";
    assert!(stderr.lines().any(|line| line == start), "{stderr}");
    let (shares, warnings, stderr) = run("all", "env.termination={bounds=[{index=0, low=1e30}]}");
    assert!(shares[0] == Some(0.0) && shares[1].is_some_and(|share| share > 0.5), "{shares:?}");
    assert_eq!(warnings, 1, "{stderr}");

    // The counts go on after a resume.
    let cut = ["train", "tiny.toml", "--run-dir", "cut", id, "env.termination={}", "training.env_steps=60"];
    place.succeeds(&cut);
    place.succeeds(&["resume", "cut", "training.env_steps=120"]);
    let shares = |run: &str| {
        let metrics = place.read(&format!("{run}/metrics.jsonl"));
        let last = metrics.lines().rfind(|line| line.contains("env/terminations_missed")).expect("a share");
        last.to_owned()
    };
    assert_eq!(shares("none"), shares("cut"));
}

#[test]
fn what_training_refuses_check_env_finds_too() {
    if !mujoco_available("what_training_refuses_check_env_finds_too") {
        return;
    }
    let place = Place::new();
    place.write("surprises.py", SURPRISES);
    for (name, reason) in [
        (
            "Wide",
            "entry 0 of the action space of `gym:surprises:Wide-v0` is [-3.4028235e38, 3.4028235e38], and the map from [-1, 1] to this range overflows f32",
        ),
        (
            "Older",
            "`gym:surprises:Older-v0` has the interface of gym before 0.26, the predecessor of Gymnasium: its `step` returned 4 values, not 5",
        ),
    ] {
        let id = format!("gym:surprises:{name}-v0");
        let output = place.run(&["train", "tiny.toml", "--run-dir", name, &format!("env.id={id}")]);
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(reason), "{}", text(&output.stderr));
        let output = place.run(&["check-env", &id]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let stdout = text(&output.stdout);
        assert!(stdout.contains("\nBROKEN   ") && stdout.contains(reason), "{stdout}");
    }
    let output = place.run(&["check-env", "gym:surprises:Unseeded-v0"]);
    let stdout = text(&output.stdout);
    assert!(stdout.contains("\nuntested environments side by side behave as each of them alone ("), "{stdout}");
    let skipped = "skipped  `terminated` agrees with the spec's termination rule (the environment has no termination rule; `train` with `algo = \"mbpo\"` or `\"dhmbpo\"` needs one where the task first terminates)";
    assert!(stdout.lines().any(|line| line == skipped), "{stdout}");
}

/// A package that pip has installed, with an environment that cannot be made.
const ARM_KIT: &str = r#"
import gymnasium
class Arm(gymnasium.Env):
    def __init__(self):
        raise AssertionError("no such joint")
gymnasium.register("Arm-v0", entry_point=Arm)
"#;

/// A module of the user that makes an environment of [`ARM_KIT`].
const OWN_ARM: &str = r#"
import arm_kit, gymnasium
def make():
    return arm_kit.Arm()
gymnasium.register("OwnArm-v0", entry_point=make)
"#;

#[test]
fn an_exception_in_an_installed_package_is_told_with_the_versions_and_one_in_own_code_with_its_line() {
    if !mujoco_available("an_exception_in_an_installed_package") {
        return;
    }
    let mut place = Place::new();
    std::fs::create_dir_all(place.path("lib/site-packages")).unwrap();
    place.write("lib/site-packages/arm_kit.py", ARM_KIT);
    place.write("own_arm.py", OWN_ARM);
    let packages = place.path("lib/site-packages").display().to_string();
    place.with("PYTHONPATH", &packages);

    let message = place.refuses(&["check-env", "gym:arm_kit:Arm-v0"]);
    assert!(message.contains("`gym:arm_kit:Arm-v0` failed in make: AssertionError: no such joint\n  | "), "{message}");
    let hint = message.lines().last().unwrap();
    assert!(hint.starts_with("hint: the exception arose in `arm_kit` with gymnasium 1.4.0, "), "{hint}");
    assert!(
        hint.ends_with(
            "; install versions that work together, or correct its arguments in `env.gym.kwargs`; the traceback shows the line"
        ),
        "{hint}"
    );
    let message = place.refuses(&["check-env", "gym:own_arm:OwnArm-v0"]);
    let hint = message.lines().last().unwrap();
    assert!(hint.starts_with("hint: correct the environment's code, or its arguments "), "{hint}");
}

#[test]
fn a_second_signal_ends_a_run_whose_environment_hangs() {
    if !mujoco_available("a_second_signal_ends_a_run_whose_environment_hangs") {
        return;
    }
    let place = Place::new();
    place.write("endless.py", ENDLESS);
    let overrides = ["env.id=gym:endless:Endless-v0", "algo=model_free", "env.gym.kwargs={hang_at=30}"];
    let training = place.started("run", &overrides);
    place.await_file("hanging");
    training.send("INT");
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    assert_eq!(training.signal("TERM").status.code(), Some(130));
    // Far below the time limit of an answer.
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    place.refuses(&["train", "tiny.toml", "--run-dir", "run"]);
    assert_eq!(checkpoints(&place.path("run")).len(), 2);
}

#[test]
fn a_failed_run_says_where_it_is_and_how_it_goes_on() {
    if !mujoco_available("a_failed_run_says_where_it_is_and_how_it_goes_on") {
        return;
    }
    let place = Place::new();
    place.write("endless.py", &ENDLESS.replace("time.sleep(600)", "raise ValueError('the motor burns')"));
    let overrides = ["env.id=gym:endless:Endless-v0", "algo=model_free", "env.gym.kwargs={hang_at=30}"];
    let output = place.run(&[&["train", "tiny.toml", "--run-dir", "run"][..], &overrides].concat());
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.ends_with("the run is saved up to environment step 29\nto continue: foresee resume run\n"),
        "{stderr}"
    );
}

#[test]
fn a_learned_end_is_trained_reported_and_resumed_and_not_allowed_beside_a_rule() {
    let place = Place::new();
    let learned = ["env.id=CartPoleContinuous-v0", "model.termination=learned"];
    place.train("whole", &learned);
    place.train("cut", &[&learned[..], &["training.env_steps=60"]].concat());
    place.succeeds(&["resume", "cut", "training.env_steps=120"]);
    let line = |run: &str| place.read(&format!("{run}/results.csv")).lines().last().unwrap().to_owned();
    assert_eq!(line("whole"), line("cut"));
    let metrics = place.read("whole/metrics.jsonl");
    let reported = |name: &str| metrics.lines().filter(|line| line.contains(name)).count();
    assert!(reported("\"model/ends_log_loss\"") > 0, "{metrics}");
    assert_eq!(reported("env/termination_mismatch"), 0, "no imagined episode ends by the task's rule");
    let message = place.refuses(&[&["train", "tiny.toml", "env.termination={}"], &learned[..]].concat());
    assert!(
        message.contains(
            "`model.termination` is `learned`, but `env.termination` sets a rule\nhint: remove one of the two keys"
        ),
        "{message}"
    );
    let message = place.refuses(&["train", "tiny.toml", "model.termination=guessed"]);
    assert!(message.contains("`model.termination` cannot be `guessed`"), "{message}");
}

/// Messages about bounds that have no quantity or two.
#[test]
fn a_bound_without_one_quantity_is_refused_with_an_example() {
    let place = Place::new();
    for (bound, message) in [
        ("{low=1}", "`env.termination.bounds[0].index` is missing"),
        ("{index=0, distance=[1], to=[2]}", "a bound is on the entry `index` or on a `distance`, not on both"),
        ("{distance=[1]}", "a `distance` has one other end: `to` or `point`"),
        ("{index=0, of=before}", "`env.termination.bounds[0].of` cannot be `before`"),
        ("{index=0, lo=1}", "unknown key `env.termination.bounds[0].lo`"),
    ] {
        let rule = format!("env.termination={{bounds=[{bound}]}}").replace("before", "\"before\"");
        let found = place.refuses(&["train", "tiny.toml", "env.id=gym:Pendulum-v1", &rule]);
        assert!(found.contains(message) && found.contains("hint: "), "{bound}: {found}");
    }
}

#[test]
fn a_termination_rule_that_nothing_satisfies_is_refused() {
    if !mujoco_available("a_termination_rule_that_nothing_satisfies_is_refused") {
        return;
    }
    let place = Place::new();
    for rule in ["{bounds=[{index=0, low=nan}]}", "{goal=[{index=0, low=5, high=-5}]}"] {
        let rule = format!("env.termination={rule}");
        let message = place.refuses(&["train", "tiny.toml", "env.id=gym:Pendulum-v1", &rule]);
        assert!(message.contains("`env.termination`: the bound `obs[0] in ("), "{message}");
    }
}

/// An environment that fails in the 15th step of an episode while a file `hot` exists.
const BURNING: &str = include_str!("environments/burning.py");

#[test]
fn a_run_whose_environment_fails_keeps_what_it_learnt_and_goes_on_once_the_environment_works() {
    if !mujoco_available("a_run_whose_environment_fails_keeps_what_it_learnt") {
        return;
    }
    for count in [1, 2] {
        let place = Place::new();
        place.write("burning.py", BURNING);
        let environments = format!("env.count={count}");
        let overrides = ["env.id=gym:burning:Burning-v0", "algo=model_free", &environments, "training.eval_every=1000"];
        // The run ends with the second episode of each environment. The next episode fails in its 15th step.
        let end = 50 * count;
        place.train("run", &[&overrides[..], &[&format!("training.env_steps={end}")]].concat());
        place.write("hot", "");
        let output = place.run(&["resume", "run", "training.env_steps=140"]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("the motor burns"), "{stderr}");
        let stopped = end + 14 * count;
        let last = format!("the run is saved up to environment step {stopped}\nto continue: foresee resume run\n");
        assert!(stderr.ends_with(&last), "{stderr}");
        assert_eq!(newest_step(&place.path("run")), Some(stopped));

        std::fs::remove_file(place.path("hot")).unwrap();
        let output = place.run(&["resume", "run"]);
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let cut = "the last episode of `gym:burning:Burning-v0` was cut by an error of an environment\n";
        assert_eq!(stderr.matches(cut).count() as u64, count, "{stderr}");
        let results = place.read("run/results.csv");
        assert!(results.lines().last().unwrap().starts_with("140,"), "{results}");
    }
}

/// An environment whose spaces and time limit are in environment variables.
const EDITED: &str = include_str!("environments/edited.py");

#[test]
fn an_environment_that_changed_since_the_training_is_told_or_refused() {
    if !mujoco_available("an_environment_that_changed_since_the_training") {
        return;
    }
    let mut place = Place::new();
    place.write("edited.py", EDITED);
    place.train(
        "run",
        &["env.id=gym:edited:Edited-v0", "algo=model_free", "training.explore_steps=5", "training.env_steps=10"],
    );
    let warnings = |place: &Place, arguments: &[&str]| {
        let output = place.run(arguments);
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        stderr
    };
    assert_eq!(warnings(&place, &["eval", "run"]), "");
    place.with("BOUND", "5");
    let stderr = warnings(&place, &["eval", "run"]);
    let warning =
        "warning: the run began with actions in [-1, 1]; `gym:edited:Edited-v0` now has actions in [-5, 5]\nhint: ";
    assert!(stderr.starts_with(warning) && stderr.matches("warning: ").count() == 1, "{stderr}");
    place.with("BOUND", "1");
    place.with("N", "4");
    for arguments in [&["eval", "run"][..], &["resume", "run", "training.env_steps=40"]] {
        let message = place.refuses(arguments);
        let what = "`gym:edited:Edited-v0` has 4 observation entries now, and the run began with 3\nhint: ";
        assert!(message.starts_with(what), "{message}");
    }
    place.with("N", "3");
    place.with("LIMIT", "20");
    let stderr = warnings(&place, &["resume", "run", "training.env_steps=40"]);
    let warning = "warning: the run began with a time limit of 50 steps; `gym:edited:Edited-v0` now has a time limit of 20 steps\n";
    assert!(stderr.contains(warning) && stderr.matches("warning: ").count() == 1, "{stderr}");
}

#[cfg(unix)]
#[test]
fn a_run_with_a_relative_path_is_evaluated_and_resumed_from_another_folder() {
    if !mujoco_available("a_run_with_a_relative_path_is_evaluated_from_another_folder") {
        return;
    }
    let mut place = Place::new();
    std::os::unix::fs::symlink(std::env::var_os("VIRTUAL_ENV").unwrap(), place.path("venv")).unwrap();
    place.without(&["VIRTUAL_ENV"]);
    let python = "env.gym.python=venv/bin/python";
    place.train(
        "run",
        &["env.id=gym:Pendulum-v1", python, "algo=model_free", "training.explore_steps=10", "training.env_steps=20"],
    );
    let stored = |file: &str| {
        let config: toml::Table = place.read(file).parse().unwrap();
        std::path::PathBuf::from(config["env"]["gym"]["python"].as_str().unwrap())
    };
    let interpreter = stored("run/config.toml");
    assert!(interpreter.is_absolute() && interpreter.ends_with("venv/bin/python"), "{interpreter:?}");
    let run = place.path("run").display().to_string();
    for command in ["eval", "resume"] {
        let steps = if command == "resume" { "training.env_steps=40" } else { "" };
        let output = place.shell(&format!("cd / && foresee {command} '{run}' {steps}"));
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    }
    // An override is stored as an absolute path too, which is the same path as before.
    place.succeeds(&["resume", "run", python, "training.env_steps=60"]);
    assert_eq!(stored("run/config.resume-2.toml"), interpreter);
    let manifest: Value = serde_json::from_str(&place.read("run/manifest.json")).unwrap();
    assert_eq!(manifest["segments"][2]["changes"].as_array().unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_run_with_relative_paths_of_mujoco_is_evaluated_and_resumed_from_another_folder() {
    if !mujoco_available("a_run_with_relative_paths_of_mujoco") {
        return;
    }
    let mut place = Place::new();
    let venv = std::path::PathBuf::from(std::env::var_os("VIRTUAL_ENV").unwrap());
    let folder = |parent: std::path::PathBuf, part: &str| {
        let entries = std::fs::read_dir(&parent).unwrap_or_else(|error| panic!("{parent:?}: {error}")).flatten();
        let named = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().is_some_and(|n| n.starts_with(part));
        entries.map(|entry| entry.path()).find(named).unwrap_or_else(|| panic!("{part} in {parent:?}"))
    };
    let packages = folder(venv.join("lib"), "python3").join("site-packages");
    let library = folder(packages.join("mujoco"), "libmujoco.so");
    std::os::unix::fs::symlink(library, place.path("physics.so")).unwrap();
    std::os::unix::fs::symlink(packages.join("gymnasium/envs/mujoco/assets"), place.path("models")).unwrap();
    place.without(&["VIRTUAL_ENV", "MUJOCO_LIB"]);
    place.train(
        "run",
        &[
            HOPPER,
            "env.mujoco.library=./physics.so",
            "env.mujoco.assets=models",
            "algo=model_free",
            "training.env_steps=41",
        ],
    );
    let config: toml::Table = place.read("run/config.toml").parse().unwrap();
    for (key, name) in [("library", "physics.so"), ("assets", "models")] {
        let stored = std::path::PathBuf::from(config["env"]["mujoco"][key].as_str().unwrap());
        assert!(stored.is_absolute() && stored.ends_with(name), "{stored:?}");
    }
    let run = place.path("run").display().to_string();
    for command in [format!("eval '{run}'"), format!("resume '{run}' training.env_steps=60")] {
        let output = place.shell(&format!("cd / && foresee {command}"));
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    }
}

/// An environment whose random numbers come from numpy's global generator, whose seeds have at most 32 bits.
const GLOBAL_GENERATOR: &str = r#"
import gymnasium, numpy, struct
class Global(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            numpy.random.seed(seed)
            struct.pack("<i", seed)
        self.x = numpy.random.uniform(-1, 1, 1)
        return self.x.astype("f4"), {}
    def step(self, action):
        self.x = 0.9 * self.x + 0.1 * float(action[0]) + numpy.random.normal(0, 0.01, 1)
        return self.x.astype("f4"), -float(self.x[0] ** 2), False, False, {}
gymnasium.register("Global-v0", entry_point=Global, max_episode_steps=200)
"#;

#[test]
fn a_run_on_an_environment_that_takes_small_seeds_alone_is_repeated_bit_for_bit() {
    if !mujoco_available("a_run_on_an_environment_that_takes_small_seeds_alone") {
        return;
    }
    let place = Place::new();
    place.write("global_generator.py", GLOBAL_GENERATOR);
    // The largest seed that a config can hold.
    let overrides = [
        "env.id=gym:global_generator:Global-v0",
        "env.termination={}",
        "seed=9223372036854775807",
        "training.env_steps=60",
    ];
    for run in ["one", "other"] {
        let output = place.run(&[&["train", "tiny.toml", "--run-dir", run][..], &overrides].concat());
        let stderr = text(&output.stderr);
        assert!(output.status.success() && !stderr.contains("warning: "), "{stderr}");
    }
    assert_equal_outcomes(&place.path("one"), &place.path("other"), "numpy's global generator");
}
