//! The tasks of dm_control's suite against dm_control itself. A Python program plays a task with the same actions and
//! prints the results, and the bridge must return them bit for bit.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use foresee_core::Termination;
use foresee_env::config::Steps;
use foresee_env::{BoxSpace, EnvConfig, Environment, FamilyConfig, check_environment, gym, make, make_unscaled};
use serde_json::json;

use crate::common::{action, built, play, python_runs, script, with_kwargs};

/// Name of the task, and lengths of its observation and its action.
const TASKS: [(&str, usize, usize); 6] = [
    ("pendulum-swingup", 3, 1),
    ("cartpole-swingup", 5, 1),
    ("acrobot-swingup", 6, 1),
    ("reacher-easy", 6, 2),
    ("walker-run", 24, 6),
    ("cheetah-run", 17, 6),
];

/// Plays episodes, given as lists of actions, one after the other from one seed. It prints numbers with all their
/// digits.
const ORACLE: &str = r#"
import json, os, sys
os.environ["MUJOCO_GL"] = "disabled"
from dm_control import suite
domain, task = sys.argv[1].split("-")
env = suite.load(domain, task, task_kwargs={"random": int(sys.argv[2])})
for episode in json.load(sys.stdin):
    steps = [env.reset()] + [env.step(action) for action in episode]
    obs = [[x for part in step.observation.values() for x in ([part] if getattr(part, "ndim", 0) == 0 else part.ravel().tolist())] for step in steps]
    rewards = [step.reward for step in steps[1:]]
    print(json.dumps([obs, [float(x) for x in rewards], steps[-1].last(), steps[-1].discount]))
"#;

fn id(task: &str) -> String {
    format!("dmc:{task}")
}

/// Observations `[T + 1, O]`, rewards `[T]`, whether the last step ends the episode, and its discount.
type Episode = (Vec<Vec<f64>>, Vec<f64>, bool, Option<f64>);

/// Returns the results of dm_control under these actions `[T, A]` of each episode.
fn oracle(task: &str, seed: u64, episodes: &[Vec<Vec<f32>>]) -> Vec<Episode> {
    let folder = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let mut child = Command::new(folder.map_or("python3".into(), |folder| folder.join("bin/python")))
        .args(["-c", ORACLE, task, &seed.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let exact: Vec<Vec<Vec<f64>>> = episodes
        .iter()
        .map(|actions| actions.iter().map(|action| action.iter().map(|&x| f64::from(x)).collect()).collect())
        .collect();
    child.stdin.take().unwrap().write_all(json!(exact).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{task}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Returns the last observation in f64 as Python gave it, from the saved state.
fn exact_obs(env: &dyn Environment) -> Vec<f64> {
    env.save().f64s("obs").unwrap().1
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn an_episode_of_the_suite_is_dm_controls_to_the_last_bit_and_so_is_the_next() {
    for (task, obs_dim, action_dim) in TASKS {
        if !python_runs(&format!("the equality with dm_control of {task}"), &id(task)) {
            continue;
        }
        let mut env = gym::make(&EnvConfig::new(&id(task))).unwrap();
        let spec = env.spec().clone();
        assert_eq!((spec.observation_space.dim(), spec.action_space.dim()), (obs_dim, action_dim), "{task}");
        assert_eq!(spec.observation_space, BoxSpace::symmetric(&vec![f32::INFINITY; obs_dim]), "{task}");
        assert_eq!(spec.action_space, BoxSpace::symmetric(&vec![1.0; action_dim]), "{task}");
        assert_eq!((spec.max_episode_steps, spec.termination), (Some(1000), Some(Termination::never())), "{task}");
        let names: Vec<_> = spec.versions.keys().map(String::as_str).collect();
        assert_eq!(names, ["dm_control", "mujoco", "numpy", "python"]);

        let seed = 1_234_567;
        let episodes = [1000, 5].map(|steps| (0..steps).map(|t| action(env.as_ref(), t)).collect::<Vec<_>>());
        let given = oracle(task, seed, &episodes);
        assert_eq!(
            given.iter().map(|given| (given.2, given.3)).collect::<Vec<_>>(),
            [(true, Some(1.0)), (false, Some(1.0))]
        );
        for (begins, (actions, (observations, rewards, ..))) in
            [Some(seed), None].into_iter().zip(episodes.iter().zip(&given))
        {
            let first = env.reset(begins).unwrap().obs;
            assert_eq!(first, observations[0].iter().map(|&x| x as f32).collect::<Vec<_>>(), "{task}");
            assert_eq!(bits(&exact_obs(env.as_ref())), bits(&observations[0]), "{task}");
            for (t, action) in actions.iter().enumerate() {
                let step = env.step(action).unwrap();
                assert_eq!(bits(&exact_obs(env.as_ref())), bits(&observations[t + 1]), "{task}, step {t}");
                assert_eq!(step.obs, observations[t + 1].iter().map(|&x| x as f32).collect::<Vec<_>>());
                assert_eq!(step.reward.to_bits(), rewards[t].to_bits(), "{task}, step {t}");
                // Only the time limit ends an episode, which is a truncation.
                assert_eq!((step.terminated, step.truncated), (false, t + 1 == 1000), "{task}, step {t}");
                assert!((0.0..=1.0).contains(&step.reward));
            }
        }
    }
}

#[test]
fn tasks_of_the_suite_keep_what_an_environment_promises() {
    // The first task moves a part of its model in every reset. The episodes are short because a restore replays the
    // episode.
    for (task, family) in [
        ("reacher-easy", FamilyConfig::default()),
        ("pendulum-swingup", FamilyConfig { delay: Steps::Fixed(2), ..FamilyConfig::default() }),
    ] {
        if python_runs(&format!("the promises of {task}"), &id(task)) {
            let short = with_kwargs(&id(task), json!({ "task_kwargs": { "time_limit": 0.6 } }));
            let config = EnvConfig { family, ..short };
            check_environment(|| config.make(0)).unwrap_or_else(|failure| panic!("{failure}"));
        }
    }
}

#[test]
fn two_frames_of_the_suite_are_one_step_of_the_agent() {
    let task = "cartpole-swingup";
    if !python_runs("held actions in the suite", &id(task)) {
        return;
    }
    let config = EnvConfig { action_repeat: 2, ..EnvConfig::new(&id(task)) };
    let mut env = built(&config);
    assert_eq!((env.spec().max_episode_steps, env.spec().action_repeat), (Some(500), 2));
    let held: Vec<_> = (0..500).map(|t| action(env.as_ref(), t)).collect();
    let frames = held.iter().flat_map(|action| [action.clone(), action.clone()]).collect();
    let given = oracle(task, 5, &[frames]);
    let (observations, rewards, ..) = &given[0];
    let first = env.reset(Some(5)).unwrap().obs;
    assert_eq!(first, observations[0].iter().map(|&x| x as f32).collect::<Vec<_>>());
    for (t, action) in held.iter().enumerate() {
        let step = env.step(action).unwrap();
        assert_eq!(step.obs, observations[2 * t + 2].iter().map(|&x| x as f32).collect::<Vec<_>>(), "step {t}");
        assert_eq!(step.reward, rewards[2 * t] + rewards[2 * t + 1], "step {t}");
        assert_eq!((step.terminated, step.truncated), (false, t == 499), "step {t}");
        if t == 250 {
            // Continues in another process, from the saved state.
            let saved = env.save();
            env = built(&config);
            env.restore(saved).unwrap();
        }
    }
}

/// This MuJoCo is in a separate virtual environment, that of `env.gym.python`; pip can install the two packages
/// together.
#[test]
fn a_mujoco_that_dm_control_does_not_know_is_answered_with_the_versions() {
    let (test, variable) = ("a MuJoCo that dm_control does not know", "FORESEE_TEST_MUJOCO_4");
    let Some(folder) = std::env::var_os(variable).filter(|folder| !folder.is_empty()).map(PathBuf::from) else {
        let required = std::env::var_os("FORESEE_REQUIRE_MUJOCO").is_some_and(|value| value == "1");
        assert!(!required, "{test} needs {variable}, and FORESEE_REQUIRE_MUJOCO=1");
        let _ = writeln!(std::io::stderr(), "skipped {test}: {variable} is not set");
        return;
    };
    let python = folder.join("bin/python");
    let mut config = EnvConfig::new("dmc:reacher-easy");
    config.gym.python = Some(python.clone());
    let message = config.make(0).err().unwrap().to_string();
    let begins = format!(
        "`dmc:reacher-easy` needs dm_control, which `{}` cannot use: dm_control 1.0.50 is not compatible with mujoco 4.0.0: ",
        python.display()
    );
    assert!(message.starts_with(&begins), "{message}");
    assert!(message.contains(" -m pip install dm_control==1.0.50 mujoco==3.17.0`, or set "), "{message}");
}

#[test]
fn shimmys_wrapper_of_a_task_gives_what_the_task_gives() {
    let (ours, shimmys) = ("dmc:cartpole-swingup", "gym:shimmy:dm_control/cartpole-swingup-v0");
    if !(python_runs("Shimmy's wrapper", ours) && python_runs("Shimmy's wrapper", shimmys)) {
        return;
    }
    let [mut ours, mut shimmys] = [ours, shimmys].map(|id| make_unscaled(id).unwrap());
    assert_eq!(ours.spec().observation_space, shimmys.spec().observation_space);
    for seed in [Some(u64::MAX), None, Some(3)] {
        assert_eq!(ours.reset(seed).unwrap().obs, shimmys.reset(seed).unwrap().obs);
        for t in 0..40 {
            let [want, got] = [&mut ours, &mut shimmys].map(|env| env.step(&action(env.as_ref(), t)).unwrap());
            assert_eq!((want.obs, want.reward, want.terminated), (got.obs, got.reward, got.terminated));
        }
    }
    // Restored after a reset without a seed, in another process.
    let saved = shimmys.save();
    let future = play(shimmys.as_mut(), 50, 20);
    let mut other = make_unscaled("gym:shimmy:dm_control/cartpole-swingup-v0").unwrap();
    other.restore(saved).unwrap();
    assert_eq!(play(other.as_mut(), 50, 20), future);
}

#[test]
fn arguments_of_the_suite_reach_the_task() {
    let id = "dmc:cartpole-swingup";
    if !python_runs("arguments of the suite", id) {
        return;
    }
    let short = with_kwargs(id, json!({ "task_kwargs": { "time_limit": 0.5 } }));
    let mut env = built(&short);
    assert_eq!(env.spec().max_episode_steps, Some(50));
    env.reset(None).unwrap();
    assert!(play(env.as_mut(), 0, 50)[49].truncated);
    let strange = with_kwargs(id, json!({ "task_kwargs": { "gravity": 1 } })).make(0).err().unwrap().to_string();
    assert!(strange.starts_with(&format!("`{id}` failed in make: TypeError: ")), "{strange}");
}

#[test]
fn what_the_suite_does_not_have_is_answered_with_what_it_has() {
    if !python_runs("the list of the suite", "dmc:cartpole-swingup") {
        return;
    }
    let error = make("dmc:cartpole-swing_up").err().unwrap().to_string();
    assert!(
        error.starts_with(
            "`dmc:cartpole-swing_up` cannot be made: dm_control's suite has no task `cartpole-swing_up`\nhint: the nearest ids are `dmc:cartpole-swingup`, "
        ),
        "{error}"
    );
    let named = make("gym:dm_control/walker-run-v0").err().unwrap().to_string();
    assert!(named.contains(" (without Shimmy, its id is `dmc:walker-run`)\nhint: "), "{named}");
    // The only domain whose tasks terminate; they have no time limit.
    let lqr = make("dmc:lqr-lqr_2_1").unwrap();
    assert_eq!((&lqr.spec().termination, lqr.spec().max_episode_steps), (&None, None));
}

#[test]
fn a_python_without_dm_control_is_answered_with_how_it_comes_there() {
    if !python_runs("a Python without dm_control", "gym:Pendulum-v1") {
        return;
    }
    // Without its packages, like an interpreter of the system.
    let bare = script("bare-python", "exec python3 -I -S \"$@\"");
    let mut config = EnvConfig::new("dmc:cartpole-swingup");
    config.gym.python = Some(bare.clone());
    let message = config.make(0).err().unwrap().to_string();
    let begins = format!(
        "`dmc:cartpole-swingup` needs dm_control, which `{}` cannot use: ModuleNotFoundError: ",
        bare.display()
    );
    assert!(message.starts_with(&begins), "{message}");
    let (_, hint) = message.split_once("\nhint: ").unwrap();
    assert!(hint.contains("dm_control==1.0.50") && hint.contains("`env.gym.python`"), "{hint}");
}

#[test]
fn a_dictionary_of_boxes_is_one_row_in_gymnasiums_order() {
    let id = "gym:tests.gym_envs.nested:Nested-v0";
    if !python_runs("dictionaries of boxes", id) {
        return;
    }
    let mut env = make_unscaled(id).unwrap();
    // Ordered by name in the dictionary, and from first to last in the tuple.
    let space = &env.spec().observation_space;
    assert_eq!(space.low, [-2.0, -2.0, -1.0, f32::NEG_INFINITY, f32::NEG_INFINITY]);
    assert_eq!(space.high, [2.0, 2.0, 1.0, f32::INFINITY, f32::INFINITY]);
    assert_eq!(env.spec().max_episode_steps, Some(9));
    let first = env.reset(Some(3)).unwrap().obs;
    assert_eq!(first, [0.0, 0.25, 0.5, 3.0, 3.5]);
    assert_eq!(env.step(&[1.0]).unwrap().obs, [0.0, 0.25, 0.5, 4.0, 4.5]);
    check_environment(|| make(id)).unwrap_or_else(|failure| panic!("{failure}"));
}
