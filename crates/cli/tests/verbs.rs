//! The files of a run, and the commands `resume`, `eval`, `check` and `list`.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{Place, VARIANTS, checkpoints, text};
use foresee::env::test_support::available_environments;
use serde_json::Value;

fn manifest(place: &Place) -> Value {
    serde_json::from_str(&place.read("run/manifest.json")).unwrap()
}

#[test]
fn a_run_leaves_the_files_that_are_documented() {
    let place = Place::new();
    let stdout = place.train("run", &[]);
    assert!(stdout.contains("final evaluation  ") && stdout.contains("foresee eval run"), "{stdout}");
    let results = place.read("run/results.csv");
    assert!(results.starts_with("env_step,episode_reward,"), "{results}");
    let steps: Vec<_> = results.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(steps, ["40", "80", "120"]);
    let finished = manifest(&place);
    assert_eq!((finished["status"].as_str(), finished["env_step"].as_u64()), (Some("finished"), Some(120)));
    let names: Vec<_> =
        checkpoints(&place.path("run")).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["step-000000000100", "step-000000000120"]);
    let events: Vec<_> = place
        .contents("run")
        .into_iter()
        .filter(|(path, _)| path.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."))
        .collect();
    assert_eq!(events.len(), 1);
    for tag in ["eval/mean_reward", "train/critic_loss", "model/holdout_mse", "time/fps", "config"] {
        assert!(events[0].1.windows(tag.len()).any(|window| window == tag.as_bytes()), "{tag}");
    }
}

#[test]
fn check_env_says_rule_by_rule_what_an_environment_keeps() {
    let place = Place::new();
    let stdout = place.succeeds(&["check-env", "CartPoleContinuous-v0", "env.distractors=3"]);
    for line in [
        "observations  7 numbers, [-4.8, 4.8] ",
        "terminates    when obs[0] leaves [-2.4, 2.4] or ",
        "ok       rewards are",
    ] {
        assert!(stdout.lines().any(|found| found.starts_with(line)), "{line}: {stdout}");
    }
    assert!(stdout.ends_with("warning: every reward was 1\n"), "{stdout}");
    for (arguments, message) in [
        (&["check-env", "Pendulum-v9"][..], "unknown environment `Pendulum-v9`\nhint: "),
        (
            &["check-env", "Pendulum-v1", "env.distractors=300"],
            "override `env.distractors=300`: `env.distractors` is 300; it must be at most 256\nhint: the default is 0",
        ),
        (&["check-env", "Pendulum-v1", "env.count=x"], "override `env.count=x`: "),
        (&["check-env", "Pendulum-v1", "seed=3"], "override `seed=3`: unknown key `seed`"),
        (
            &["check-env", "Pendulum-v1", "num_envs=3"],
            "override `num_envs=3`: unknown key `num_envs`\nhint: did you mean `env.count`? ",
        ),
    ] {
        let refused = place.refuses(arguments);
        assert!(refused.starts_with(message), "{refused}");
    }
}

#[test]
fn a_distracted_run_on_a_family_writes_both_errors_of_its_model_and_is_evaluated_as_it_was_trained() {
    let place = Place::new();
    let overrides = ["env.distractors=10", "env.family.mass=[0.8, 1.2]", "env.family.delay=1"];
    place.train("run", &overrides);
    let config = place.read("run/config.toml");
    assert!(
        config.contains("distractors = 10\n\n[env.family]\nmass = [\n    0.8,\n    1.2,\n]\nlength = 1.0\n"),
        "{config}"
    );
    let metrics = place.read("run/metrics.jsonl");
    let fits = metrics.lines().filter(|line| line.contains("model/holdout_mse\""));
    let fits: Vec<Value> = fits.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!fits.is_empty());
    for tag in ["model/holdout_mse_task", "model/holdout_mse_distractors"] {
        assert!(fits.iter().all(|fit| fit[tag].as_f64().is_some_and(|error| error > 0.0)), "{tag}: {metrics}");
        let shown = |bytes: &[u8]| bytes.windows(tag.len()).any(|window| window == tag.as_bytes());
        let in_events = |path: &std::path::Path| path.to_str().unwrap().contains("events.out.tfevents.");
        assert!(place.contents("run").iter().any(|(path, bytes)| in_events(path) && shown(bytes)), "{tag}");
    }
    let results = place.read("run/results.csv");
    let last: f64 = results.lines().last().unwrap().split(',').nth(1).unwrap().parse().unwrap();
    let stdout = place.succeeds(&["eval", "run"]);
    assert!(stdout.contains(&format!("mean return   {last:.2}\n")), "{stdout}");
}

#[test]
fn wall_clock_values_are_in_the_timing_file_alone() {
    let place = Place::new();
    place.train("run", &[]);
    let keys = |file: &str| -> BTreeSet<String> {
        let text = place.read(file);
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Map<_, Value>>(line).unwrap());
        lines.flat_map(|line| line.into_iter().map(|(key, _)| key)).collect()
    };
    let (metrics, timing) = (keys("run/metrics.jsonl"), keys("run/timing.jsonl"));
    assert!(timing.contains("wall_s") && timing.contains("time/fps"), "{timing:?}");
    assert!(metrics.intersection(&timing).eq(["env_step"]), "{metrics:?}");
    // Every phase of the run took some of the seconds between two lines, and all phases together took no more.
    let lines = place.read("run/timing.jsonl");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let phases = ["act", "fit", "imagine", "update", "evaluate"].map(|phase| format!("time/{phase}_s"));
    let sum = |name: &String| lines.iter().filter_map(|line| line[name].as_f64()).sum::<f64>();
    let (sums, whole) = (phases.each_ref().map(sum), lines.last().unwrap()["wall_s"].as_f64().unwrap());
    assert!(sums.iter().take(4).all(|&seconds| seconds > 0.0), "{sums:?}");
    let all: f64 = sums.iter().sum();
    assert!(all <= whole + 1e-6, "{sums:?} of {whole}");
    assert!(!metrics.iter().any(|key| key.starts_with("time") || key.contains("wall")), "{metrics:?}");
}

#[test]
fn the_default_folder_is_named_after_environment_algorithm_loss_and_seed() {
    let place = Place::new();
    for (overrides, parent) in [(VARIANTS[0], "sac-none"), (VARIANTS[1], "mbpo-mle")] {
        let brief = ["training.env_steps=40", "training.eval_episodes=1"];
        place.succeeds(&[&["train", "tiny.toml"], overrides, &brief].concat());
        let mut runs = fs::read_dir(place.path("runs/Pendulum-v1").join(parent)).unwrap();
        let name = runs.next().unwrap().unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with("7-20") && runs.next().is_none(), "{name}");
    }
}

#[test]
fn eval_gives_the_final_evaluation_again_and_changes_nothing() {
    for overrides in VARIANTS {
        let place = Place::new();
        place.train("run", overrides);
        let results = place.read("run/results.csv");
        let last: Vec<f64> = results.lines().last().unwrap().split(',').map(|cell| cell.parse().unwrap()).collect();
        let before = place.contents("");
        let stdout = place.succeeds(&["eval", "run"]);
        assert_eq!(
            stdout,
            format!(
                "environment   Pendulum-v1\ncheckpoint    at 120 real steps\n\
                 mean return   {:.2}\nstd           {:.2} (2 episodes)\nmean length   {:.1} steps\n",
                last[1], last[2], last[3]
            )
        );
        assert_eq!(place.succeeds(&["eval", "run", "--episodes", "2"]), stdout);
        assert!(place.succeeds(&["eval", "run", "--episodes", "3"]).contains(" (3 episodes)\n"));
        assert!(place.contents("") == before);
    }
}

#[test]
fn resuming_a_finished_run_says_so_and_changes_nothing() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    let before = place.contents("");
    for overrides in [&[][..], &["training.env_steps=30"]] {
        let output = place.run(&[&["resume", "run"], overrides].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(
            text(&output.stdout),
            "the run is complete: 40 environment steps\n\
             hint: to extend it, run `foresee resume run training.env_steps=N` with N above 40\n"
        );
        assert!(place.contents("") == before, "{overrides:?}");
    }
}

#[test]
fn a_resume_with_overrides_writes_a_config_of_its_own_and_leaves_the_first() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    let first = place.read("run/config.toml");
    place.succeeds(&["resume", "run", "training.env_steps=80"]);
    let second = place.read("run/config.resume-1.toml");
    place.succeeds(&["resume", "run", "training.env_steps=100", "training.eval_episodes=1"]);
    let third = place.read("run/config.resume-2.toml");
    assert_eq!(place.read("run/config.toml"), first);
    assert_eq!(place.read("run/config.resume-1.toml"), second);
    assert_eq!(second, first.replace("env_steps = 40", "env_steps = 80"));
    let changed = second.replace("env_steps = 80", "env_steps = 100").replace("eval_episodes = 2", "eval_episodes = 1");
    assert_eq!(third, changed);
    assert!(place.succeeds(&["eval", "run"]).contains(" (1 episode)\n"));
}

#[test]
fn a_run_that_diverges_fails_with_one_message() {
    let slower_agent = " agent.critic_lr=1.0e29";
    for (overrides, what, change) in [
        (&["agent.critic_lr=1e30"][..], "the agent diverged: `train/critic_loss` is ", slower_agent),
        (&["agent.critic_lr=1e30", "algo=model_free"], "the agent diverged: `train/critic_loss` is ", slower_agent),
        (&["model.fit.lr=1e30"], "model training diverged: ", " model.fit.lr=1.0e29"),
        // The losses are not reported, so the environment is the first to detect the divergence.
        (
            &["agent.critic_lr=1e30", "algo=model_free", "training.log_every=1000"],
            "`Pendulum-v1` was given an action ",
            slower_agent,
        ),
    ] {
        let place = Place::new();
        let output = place.run(&[&["train", "tiny.toml", "--run-dir", "run"], overrides].concat());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_eq!(text(&output.stdout), "");
        let errors: Vec<_> = message.lines().skip_while(|line| !line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 4, "{message}");
        let newest = checkpoints(&place.path("run")).pop().unwrap();
        let step: u64 = newest.to_str().unwrap().rsplit_once("step-").unwrap().1.parse().unwrap();
        // The same config would fail again.
        let way_back = [
            format!("the run is saved up to environment step {step}"),
            format!("to continue: foresee resume run{change}"),
        ];
        assert_eq!(errors[2..], way_back);
        assert!(
            errors[0].starts_with("error: training stopped at environment step 4") && errors[0].contains(what),
            "{message}"
        );
        assert!(errors[1].starts_with("hint: ") && !message.contains("panicked"), "{message}");
        let failed = manifest(&place);
        assert_eq!(failed["status"], "failed");
        assert!(errors[0].contains(&format!("step {}: ", failed["env_step"])), "{message}");
    }
}

/// A model after 60 gradient steps, in rollouts that are far longer than what it can predict.
#[test]
fn imagined_states_that_explode_end_the_run_with_the_horizon_as_the_cause() {
    let place = Place::new();
    let keys = [
        "seed=0",
        "training.env_steps=400",
        "training.explore_steps=100",
        "training.log_every=100",
        "agent.hidden=[32, 32]",
        "agent.batch=64",
        "model.ensemble.hidden=[32, 32]",
        "model.loss.add_mse_until=0",
        "model.fit.every=100",
        "model.fit.max_steps=60",
        "model.fit.batch=64",
        "rollout.starts_per_step=2",
        "rollout.horizon=400",
        "rollout.real_ratio=0.3",
    ];
    let output = place.run(&[&["train", "tiny.toml", "--run-dir", "run"], &keys[..]].concat());
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let errors: Vec<_> = message.lines().skip_while(|line| !line.starts_with("error: ")).collect();
    let start = "error: training stopped at environment step 100: the model's imagination exploded: at step ";
    assert!(errors[0].starts_with(start), "{message}");
    let step: usize = errors[0][start.len()..].split(' ').next().unwrap().parse().unwrap();
    assert!((2..400).contains(&step), "{message}");
    assert!(errors[1].starts_with(&format!("hint: lower `rollout.horizon` below {step}, or ")), "{message}");
    assert_eq!(errors[3], format!("to continue: foresee resume run rollout.horizon={}", step / 2));
    assert!(!place.read("run/metrics.jsonl").contains("NaN"));
    // Rollouts that end before that step go on.
    place.succeeds(&[&["train", "tiny.toml", "--run-dir", "short"], &keys[..], &["rollout.horizon=2"]].concat());
}

#[test]
fn check_prints_a_config_that_check_prints_again() {
    let place = Place::new();
    for overrides in VARIANTS {
        let printed = place.succeeds(&[&["check", "tiny.toml"], overrides].concat());
        place.write("printed.toml", &printed);
        assert_eq!(place.succeeds(&["check", "printed.toml"]), printed);
        place.train("run", &[overrides, &["training.env_steps=40"]].concat());
        let saved = printed.replace("env_steps = 120", "env_steps = 40");
        let (format, config) =
            place.read("run/config.toml").split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!((format.as_str(), config.trim_end()), ("# foresee config, format 2", saved.trim_end()));
        fs::remove_dir_all(place.path("run")).unwrap();
    }
}

#[test]
fn everything_that_is_listed_can_be_chosen() {
    let place = Place::new();
    let environments: Vec<&str> =
        available_environments("everything_that_is_listed_can_be_chosen").map(|info| info.id).collect();
    for (what, key, some) in [
        ("envs", "env.id", &["Pendulum-v1", "MountainCarContinuous-v0", "CartPoleContinuous-v0"][..]),
        ("losses", "model.loss.kind", &["mle", "mse", "vagram", "itervaml", "value_weighted"]),
        ("models", "model.kind", &["ensemble"]),
        ("agents", "agent.kind", &["sac"]),
        ("algos", "algo", &["mbpo", "model_free", "dhmbpo"]),
    ] {
        let stdout = place.succeeds(&["list", what]);
        let lines: Vec<_> = stdout.lines().take_while(|line| !line.is_empty()).collect();
        let names: Vec<_> = lines.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert!(some.iter().all(|name| names.contains(name)), "{stdout}");
        for name in names.into_iter().filter(|name| what != "envs" || environments.contains(name)) {
            // A block of `dhmbpo` that ends within the run.
            place.succeeds(&["check", "tiny.toml", &format!("{key}={name}"), "double_horizon.block=20"]);
        }
        assert!(lines.iter().all(|line| line.split_whitespace().count() > 2), "{stdout}");
    }
}

#[test]
fn check_shows_how_many_environments_train_side_by_side_and_says_which_numbers_go() {
    let place = Place::new();
    assert!(place.succeeds(&["check", "tiny.toml", "env.count=3"]).contains("\ncount = 3\n"));
    for (count, message) in [
        ("env.count=0", "`env.count` is 0; it must be 1 to 1024\nhint: the default is 1"),
        (
            "env.count=7",
            "it must be a multiple of 7, the value of `env.count`\nhint: the nearest multiples are 119 and 126",
        ),
        ("env.count=24", "`env.count` is 24; it must be at most 20, the value of `model.fit.every`\nhint: "),
    ] {
        let refused = place.refuses(&["check", "tiny.toml", count]);
        assert!(refused.contains(message), "{refused}");
    }
    place.succeeds(&["check", "tiny.toml", "env.count=24", "algo=model_free"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() {
    use std::fs::File;
    use std::process::{Command, Stdio};
    let list = |out: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_foresee")).args(["list", "losses"]).stdout(out).output().expect("a program")
    };
    let full = list(File::options().write(true).open("/dev/full").expect("a device").into());
    let stderr = text(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: cannot write to standard output: No space left on device"), "{stderr}");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let gone = list(writer.into());
    assert_eq!((gone.status.code(), text(&gone.stderr).as_str()), (Some(0), ""));
}
