//! A folder that cannot be used is refused and not changed.

mod common;

use std::fs;
use std::path::Path;

use common::{Place, assert_equal_outcomes, checkpoints};

fn newest_state(run: &Path) -> std::path::PathBuf {
    checkpoints(run).pop().unwrap().join("state.safetensors")
}

fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_folder_that_is_not_empty_is_not_trained_in() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    place.write("run/notes.txt", "mine");
    assert_eq!(
        place.refuses(&["train", "tiny.toml", "--run-dir", "run"]),
        "`run` is not empty, and holds no run\nhint: give another --run-dir"
    );
    place.train("trained", &["training.env_steps=40"]);
    assert_eq!(
        place.refuses(&["train", "tiny.toml", "--run-dir", "trained"]),
        "`trained` already holds a run\nhint: continue it with `foresee resume trained`, or give another --run-dir"
    );
    place.write("file", "mine");
    for path in ["file", "file/run"] {
        let message = place.refuses(&["train", "tiny.toml", "--run-dir", path]);
        assert!(message.starts_with(&format!("cannot use `{path}` as a run folder: ")), "{message}");
        assert!(message.ends_with("hint: give another --run-dir"), "{message}");
    }
}

#[test]
fn an_empty_folder_is_trained_in() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    place.train("run", &["training.env_steps=40"]);
}

#[test]
fn a_folder_that_is_no_run_is_neither_resumed_nor_evaluated() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.train("run", &["training.env_steps=41"]);
    let any = "give a folder with a config.toml, such as runs/ENV/NAME/SEED-TIME";
    let part = "give the folder `run`";
    for (path, what, hint) in [
        ("empty", "it has no config.toml", any),
        ("nowhere", "it does not exist", any),
        ("tiny.toml", "it is a file", any),
        ("run/config.toml", "it is a part of one", part),
        ("run/checkpoints", "it is a part of one", part),
    ] {
        for verb in ["resume", "eval"] {
            assert_eq!(place.refuses(&[verb, path]), format!("`{path}` is not a run folder: {what}\nhint: {hint}"));
        }
    }
}

#[test]
fn a_run_whose_config_file_is_lost_is_told_where_its_text_is() {
    let place = Place::new();
    place.train("run", &["training.env_steps=41"]);
    let config = place.read("run/config.toml");
    let hint =
        "hint: `run/manifest.json` holds the text of the newest config under `config`; write it to `run/config.toml`";
    place.write("run/config.toml", "");
    for verb in ["resume", "eval"] {
        assert_eq!(place.refuses(&[verb, "run"]), format!("`run/config.toml` is empty\n{hint}"));
    }
    fs::remove_file(place.path("run/config.toml")).unwrap();
    for verb in ["resume", "eval"] {
        assert_eq!(place.refuses(&[verb, "run"]), format!("`run` is not a run folder: it has no config.toml\n{hint}"));
    }
    // The hint works.
    let text = manifest(&place, "run")["config"].as_str().unwrap().to_owned();
    assert_eq!(text, config);
    place.write("run/config.toml", &text);
    place.succeeds(&["resume", "run", "training.env_steps=60"]);
}

/// Sets a finished run back to a moment before its first checkpoint.
fn set_back(place: &Place, run: &str) {
    fs::remove_dir_all(place.path(&format!("{run}/checkpoints"))).unwrap();
    place.write(&format!("{run}/metrics.jsonl"), "");
    place.write(&format!("{run}/timing.jsonl"), "");
    let results = place.read(&format!("{run}/results.csv"));
    place.write(&format!("{run}/results.csv"), &format!("{}\n", results.lines().next().unwrap()));
}

#[test]
fn a_run_that_ended_before_its_first_checkpoint_starts_again_by_the_command_of_a_script() {
    let steps = "training.env_steps=60";
    // Each damage leaves what a kill at another moment leaves.
    let damages: [fn(&Place); 5] = [
        |_| (),
        |place| {
            fs::create_dir_all(place.path("run/checkpoints/.tmp-step-000000000000")).unwrap();
            place.write("run/checkpoints/.tmp-step-000000000000/state.safetensors", "half");
            fs::create_dir(place.path("run/checkpoints/segments")).unwrap();
        },
        |place| {
            for file in ["manifest.json", "metrics.jsonl", "timing.jsonl", "results.csv"] {
                fs::remove_file(place.path(&format!("run/{file}"))).unwrap();
            }
        },
        |place| place.write("run/config.toml", "# foresee config, fo"),
        |place| fs::rename(place.path("run/config.toml"), place.path("run/config.toml.tmp")).unwrap(),
    ];
    let place = Place::new();
    place.train("whole", &[steps]);
    for (moment, damage) in damages.into_iter().enumerate() {
        let place_of_run = Place::new();
        place_of_run.train("run", &["training.env_steps=41", "seed=3"]);
        set_back(&place_of_run, "run");
        damage(&place_of_run);
        // A file of somebody else, such as the output of a job.
        place_of_run.write("run/job.out", "mine");
        let output = place_of_run.run(&["train", "tiny.toml", "--run-dir", "run", "--resume-if-exists", steps]);
        let stderr = common::text(&output.stderr);
        assert!(output.status.success(), "{moment}: {stderr}");
        let note = "note: the run in `run` ended before its first checkpoint, so it starts again\n";
        assert_eq!(stderr.matches(note).count(), 1, "{moment}: {stderr}");
        assert_equal_outcomes(&place.path("whole"), &place_of_run.path("run"), "started again");
        assert_eq!(place_of_run.read("run/job.out"), "mine");
        assert_eq!(manifest(&place_of_run, "run")["segments"].as_array().unwrap().len(), 1);
        let files = fs::read_dir(place_of_run.path("run")).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(files.filter(|name| name.to_str().unwrap().starts_with("events.out.")).count(), 1, "{moment}");
        // The next call finds a complete run.
        let stdout = place_of_run.succeeds(&["train", "tiny.toml", "--run-dir", "run", "--resume-if-exists", steps]);
        assert!(stdout.starts_with("the run is complete: 60 environment steps\n"), "{stdout}");
    }
}

#[test]
fn a_run_that_ended_before_its_first_checkpoint_is_only_started_again_on_request() {
    let place = Place::new();
    place.train("run", &["training.env_steps=41"]);
    set_back(&place, "run");
    let message = place.refuses(&["resume", "run"]);
    let command = "foresee train run/config.toml --run-dir run --resume-if-exists";
    assert_eq!(
        message,
        format!("the run in `run` ended before its first checkpoint\nhint: start it again with `{command}`")
    );
    assert!(place.refuses(&["train", "tiny.toml", "--run-dir", "run"]).starts_with("`run` already holds a run\n"));
    // The hint works: the run has the config that it had.
    let output = place.shell(command);
    assert!(output.status.success(), "{}", common::text(&output.stderr));
    assert!(place.succeeds(&["eval", "run"]).contains("checkpoint    at 41 real steps\n"));
}

#[test]
fn a_run_with_records_whose_checkpoints_are_lost_keeps_its_records() {
    let place = Place::new();
    place.train("run", &["training.env_steps=41"]);
    fs::remove_dir_all(place.path("run/checkpoints")).unwrap();
    let start = ["train", "tiny.toml", "--run-dir", "run", "--resume-if-exists", "training.env_steps=41"];
    let message = place.refuses(&start);
    assert!(message.starts_with("there is no checkpoint in `run/checkpoints`\nhint: "), "{message}");
    // Nor does a file in place of the folder make a difference.
    place.write("run/checkpoints", "");
    for arguments in [&start[..], &["resume", "run"], &["eval", "run"]] {
        let message = place.refuses(arguments);
        assert!(message.starts_with("there is no checkpoint in `run/checkpoints`\nhint: "), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_whose_folder_is_moved_ends_and_writes_into_no_other_folder() {
    let place = Place::new();
    let overrides = ["training.env_steps=1000000", "training.explore_steps=1000000", "training.checkpoint_every=20"];
    let training = place.started("run", &overrides);
    place.await_checkpoint("run", 20);
    fs::rename(place.path("run"), place.path("moved")).unwrap();
    let output = training.wait();
    let stderr = common::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let (_, told) = stderr
        .split_once(
            "error: the run folder `run` was moved or removed during the training\n\
             hint: move the folder of a run only while no process trains in it\n\
             the run is saved up to environment step ",
        )
        .unwrap_or_else(|| panic!("{stderr}"));
    let told = told.strip_suffix("\nto continue: foresee resume DIR\n").unwrap_or_else(|| panic!("{stderr}"));
    let (told, saved): (u64, _) = (told.parse().unwrap(), common::newest_step(&place.path("moved")).unwrap());
    // The folder may have been moved between the end of a save and the removal of older checkpoints.
    assert!(saved == told || saved == told + 20, "{saved} and {told}");
    assert!(!place.path("run").exists());
    place.succeeds(&["resume", "moved", &format!("training.env_steps={}", saved + 20)]);
}

#[test]
fn a_run_without_a_checkpoint_is_neither_resumed_nor_evaluated() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    fs::remove_dir_all(place.path("run/checkpoints")).unwrap();
    fs::remove_file(place.path("run/run.lock")).unwrap();
    for verb in ["resume", "eval"] {
        let message = place.refuses(&[verb, "run"]);
        assert!(message.starts_with("there is no checkpoint in `run/checkpoints`\nhint: "), "{message}");
    }
}

#[test]
fn an_evaluation_of_absurdly_many_episodes_is_refused() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    assert_eq!(
        place.refuses(&["eval", "run", "--episodes", "4000000000"]),
        "`--episodes` is 4000000000; it must be at most 100000\nhint: a few hundred episodes are enough for a mean return"
    );
}

#[test]
fn runs_that_start_at_once_get_folders_of_their_own() {
    let place = Place::new();
    let started: Vec<_> = (0..4).map(|_| place.spawn(&["train", "tiny.toml", "training.env_steps=40"])).collect();
    for run in started {
        assert!(run.wait().status.success());
    }
    let parent = place.path("runs/Pendulum-v1/mbpo-vagram");
    let runs: Vec<_> = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 4);
    for run in runs {
        assert!(fs::read_to_string(run.join("manifest.json")).unwrap().contains("\"finished\""), "{run:?}");
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    let whole = common::outcome(&place.path("run"));
    damage(&newest_state(&place.path("run")));
    let output = place.run(&["resume", "run"]);
    let warning = common::text(&output.stderr);
    assert!(output.status.success(), "{warning}");
    assert!(warning.contains("warning: skipped the checkpoint `run/checkpoints/step-000000000040`"), "{warning}");
    assert!(warning.contains("is damaged: its hash differs from the manifest's"), "{warning}");
    assert!(common::outcome(&place.path("run")) == whole);
}

#[test]
fn an_evaluation_of_an_older_checkpoint_warns_of_the_damaged_one() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    damage(&newest_state(&place.path("run")));
    let output = place.run(&["eval", "run"]);
    let warning = common::text(&output.stderr);
    assert!(output.status.success(), "{warning}");
    assert!(warning.starts_with("warning: skipped the checkpoint `run/checkpoints/step-000000000040`"), "{warning}");
    assert!(common::text(&output.stdout).contains("checkpoint    at 20 real steps\n"));
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged_is_neither_resumed_nor_evaluated() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    let all = checkpoints(&place.path("run"));
    assert_eq!(all.len(), 2);
    all.iter().for_each(|checkpoint| damage(&checkpoint.join("state.safetensors")));
    for arguments in [&["resume", "run"][..], &["resume", "run", "training.env_steps=60"], &["eval", "run"]] {
        assert_eq!(
            place.refuses(arguments),
            "every checkpoint in `run/checkpoints` is damaged:\n\
             \x20 `run/checkpoints/step-000000000040`: state.safetensors is damaged: its hash differs from the manifest's\n\
             \x20 `run/checkpoints/step-000000000020`: state.safetensors is damaged: its hash differs from the manifest's\n\
             hint: restore the folder from a copy, or start a new run"
        );
    }
}

#[test]
fn an_override_that_the_run_cannot_take_is_refused_and_the_run_can_still_go_on() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    for (text, part) in [
        (
            "agent.hidden=[8]",
            "`agent.hidden` is [8], but the run began with [16, 16]\nhint: leave `agent.hidden` out, or start a new run with it",
        ),
        (
            "algo=model_free",
            "`algo` is `model_free`, but the run began with `mbpo`\nhint: leave `algo` out, or start a new run with it",
        ),
        (
            "agent.kind=td3",
            "`agent.kind` is `td3`, but the run began with `sac`\nhint: leave `agent.kind` out, or start a new run with it",
        ),
        (
            "model.loss.kind=mle",
            "`model.loss.kind` is `mle`, which needs a head with a variance, but the run began with the `model.head` \
             `deterministic`\nhint: leave `model.loss.kind` out, or start a new run with it",
        ),
        (
            "model.head=gaussian",
            "`model.head` is `gaussian`, but the run began with `deterministic`\n\
             hint: leave `model.head` out, or start a new run with it",
        ),
        (
            "model.ensemble.members=4",
            "`model.ensemble.members` is 4, but the run began with 3\n\
             hint: leave `model.ensemble.members` out, or start a new run with it",
        ),
        (
            "model.ensemble={members=4, elites=2, hidden=[8]}",
            "`model.ensemble.hidden` is [8], but the run began with [16, 16]; \
             `model.ensemble.members` is 4, but the run began with 3\n\
             hint: leave `model.ensemble.hidden` and `model.ensemble.members` out, or start a new run with them",
        ),
        ("seed=8", "`seed` is 8, but the run began with 7\nhint: leave `seed` out, or start a new run with it"),
        ("agent.batsh=8", "hint: did you mean `batch`?"),
        (
            "model.ensemble.elites=9",
            "`model.ensemble.elites` is 9; it must be 1 to 3, the value of `model.ensemble.members`",
        ),
        ("device=tpu", "unknown device `tpu`"),
    ] {
        let message = place.refuses(&["resume", "run", text, "training.env_steps=60"]);
        assert!(message.contains(part), "{text}: {message}");
    }
    place.succeeds(&["resume", "run", "training.env_steps=60"]);
}

#[test]
fn a_run_of_an_older_version_is_understood_with_one_note_on_its_old_word() {
    let place = Place::new();
    place.train("run", &["algo=model_free", "training.env_steps=41"]);
    let config = place.read("run/config.toml");
    assert_eq!(config.matches("algo = \"model_free\"").count(), 1);
    place.write("run/config.toml", &config.replace("algo = \"model_free\"", "algo = \"sac\""));
    let note = "note: run/config.toml: `algo = \"sac\"` is now `algo = \"model_free\"`; ";
    for arguments in [&["eval", "run"][..], &["check", "run/config.toml"], &["resume", "run", "training.env_steps=60"]]
    {
        let output = place.run(arguments);
        let stderr = common::text(&output.stderr);
        assert!(output.status.success() && stderr.matches("note: ").count() == 1, "{arguments:?}: {stderr}");
        assert!(stderr.starts_with(note), "{arguments:?}: {stderr}");
    }
    assert!(place.read("run/config.resume-1.toml").contains("algo = \"model_free\""));
    let stderr = common::text(&place.run(&["train", "tiny.toml", "algo=sac", "training.env_steps=41"]).stderr);
    assert!(stderr.starts_with("note: override `algo=sac`: `algo = \"sac\"` is now "), "{stderr}");
}

#[test]
fn a_run_with_keys_of_an_older_version_is_resumed_with_one_note() {
    let place = Place::new();
    let keys = ["agent.policy_delay=2", "agent.target_update_interval=3", "rollout.retain_epochs=2"];
    for run in ["run", "newer"] {
        place.train(run, &[&keys[..], &["training.env_steps=60"]].concat());
    }
    place.succeeds(&["resume", "newer", "training.env_steps=120"]);

    let config = place.read("run/config.toml");
    let older = config
        .replace("policy_delay = 2\n", "actor_every = 2\n")
        .replace("target_update_interval = 3\n", "target_every = 3\n")
        .replace("retain_epochs = 2\n", "retain = 2\n");
    assert!(
        ["\nactor_every = 2", "\ntarget_every = 3", "\nretain = 2"].iter().all(|line| older.contains(line)),
        "{older}"
    );
    place.write("run/config.toml", &older);
    let note = "note: run/config.toml: `agent.actor_every` is now `agent.policy_delay`, `agent.target_every` is now \
                `agent.target_update_interval`, `rollout.retain` is now `rollout.retain_epochs`\n";
    for arguments in [&["eval", "run"][..], &["check", "run/config.toml"], &["resume", "run", "training.env_steps=120"]]
    {
        let output = place.run(arguments);
        let stderr = common::text(&output.stderr);
        assert!(output.status.success() && stderr.starts_with(note), "{arguments:?}: {stderr}");
        assert_eq!(stderr.matches("note: ").count(), 1, "{arguments:?}: {stderr}");
    }
    assert_equal_outcomes(&place.path("newer"), &place.path("run"), "of an older version");
    assert_eq!(place.read("run/config.resume-1.toml"), place.read("newer/config.resume-1.toml"));
}

#[test]
fn a_run_of_an_older_version_goes_on_with_the_clock_that_it_had() {
    let place = Place::new();
    for run in ["run", "newer"] {
        place.train(run, &["model.loss.kind=vagram", "training.env_steps=60"]);
        // The outcome that the older run must have.
        if run == "newer" {
            place.succeeds(&["resume", run, "training.env_steps=120"]);
        }
    }
    // The config as an older version wrote it, when `add_mse_until` counted from the beginning of a run: 40 steps of
    // exploration and 40 more.
    let config = place.read("run/config.toml");
    let (format, older) = config.split_once('\n').unwrap();
    assert!(format.starts_with("# ") && older.contains("add_mse_until = 40\n"), "{config}");
    place.write("run/config.toml", &older.replace("add_mse_until = 40\n", "add_mse_until = 80\n"));
    place.succeeds(&["resume", "run", "training.env_steps=120"]);
    assert_equal_outcomes(&place.path("newer"), &place.path("run"), "of an older version");
    let newer = place.read("run/config.resume-1.toml");
    assert!(newer.starts_with(format) && newer.contains("add_mse_until = 40\n"), "{newer}");
    // A second resume does not change the key again.
    place.succeeds(&["resume", "run", "training.env_steps=130"]);
    assert!(place.read("run/config.resume-2.toml").contains("add_mse_until = 40\n"));
}

#[test]
fn records_that_do_not_belong_to_the_checkpoint_are_refused() {
    let place = Place::new();
    place.train("run", &["training.env_steps=40"]);
    place.write("run/results.csv", "env_step\n");
    let message = place.refuses(&["resume", "run", "training.env_steps=60"]);
    assert!(message.starts_with("cannot resume: `run/results.csv` has 9 bytes, fewer than the "), "{message}");
    assert!(message.contains("\nhint: "), "{message}");
}

#[test]
fn a_folder_in_which_a_process_trains_is_left_alone_until_the_process_is_gone() {
    let place = Place::new();
    let training = place.started("run", &["training.env_steps=1000000", "training.checkpoint_every=1"]);
    for arguments in [&["resume", "run"][..], &["resume", "run", "training.env_steps=20"]] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            common::text(&output.stderr),
            "error: the run folder `run` is in use: another process trains in it\nhint: wait for it to end, or stop it\n"
        );
    }
    let message = common::text(&place.run(&["train", "tiny.toml", "--run-dir", "run"]).stderr);
    assert!(message.starts_with("error: the run folder `run` is in use"), "{message}");
    training.signal("KILL");
    assert!(!place.path("run/config.resume-1.toml").exists());
    assert!(place.succeeds(&["resume", "run", "training.env_steps=1"]).starts_with("the run is complete: "));
}

/// Returns the manifest of the run in a folder.
fn manifest(place: &Place, run: &str) -> serde_json::Value {
    serde_json::from_str(&place.read(&format!("{run}/manifest.json"))).unwrap()
}

#[cfg(unix)]
#[test]
fn every_printed_command_can_be_pasted_into_a_shell() {
    let place = Place::new();
    let after = |text: &str, words: &str| {
        let line = text.lines().find_map(|line| line.split_once(words)).unwrap_or_else(|| panic!("{words}: {text}"));
        line.1.split('`').next().unwrap().trim().to_owned()
    };
    let pasted = |command: &str| {
        let output = place.shell(command);
        assert!(output.status.success(), "{command}: {}", common::text(&output.stderr));
        common::text(&output.stdout)
    };
    for run in ["my run [1] $x'y", "-r", "~", "plain"] {
        let folder = format!("--run-dir={run}");
        let stdout =
            place.succeeds(&["train", "tiny.toml", "training.explore_steps=10", "training.env_steps=20", &folder]);
        assert!(stdout.contains(&format!("\nrun               {run}\n")), "{stdout}");
        assert!(pasted(&after(&stdout, "evaluate          ")).contains("mean return "), "{run}");
        let listed = pasted(&format!("ls {}", after(&stdout, "curves            tensorboard --logdir ")));
        assert!(listed.contains("events.out.tfevents."), "{listed}");

        let message = common::text(&place.run(&["train", "tiny.toml", &folder]).stderr);
        let stdout = pasted(&after(&message, "continue it with `"));
        assert!(stdout.starts_with("the run is complete: 20 environment steps\n"), "{stdout}");
        assert!(pasted(&after(&stdout, "run `").replace("=N", "=40")).contains("\nreal steps        40 "), "{run}");
    }
}

#[test]
fn the_manifest_has_a_segment_for_every_start() {
    let place = Place::new();
    place.train("run", &["training.explore_steps=10", "training.env_steps=20"]);
    place.succeeds(&["resume", "run", "training.env_steps=40", "agent.batch=8"]);
    place.succeeds(&["resume", "run", "training.env_steps=60", "agent.batch=8"]);
    let manifest = manifest(&place, "run");
    let segments = manifest["segments"].as_array().unwrap();
    let change = |key: &str, before: &str, now: &str| serde_json::json!({"key": key, "before": before, "now": now});
    let starts: Vec<_> = segments.iter().map(|segment| (&segment["env_step"], segment["changes"].clone())).collect();
    assert_eq!(
        starts,
        [
            (&0.into(), serde_json::json!([])),
            (&20.into(), [change("agent.batch", "16", "8"), change("training.env_steps", "20", "40")][..].into()),
            (&40.into(), [change("training.env_steps", "40", "60")][..].into()),
        ]
    );
    assert_eq!(
        segments[0]["arguments"],
        serde_json::json!([
            "train",
            "tiny.toml",
            "--run-dir",
            "run",
            "training.explore_steps=10",
            "training.env_steps=20"
        ])
    );
    assert_eq!(segments[2]["arguments"][0], "resume");
    for segment in segments {
        assert_eq!((&segment["device"], &segment["threads"]), (&"cpu".into(), &1.into()));
        assert_eq!(segment["version"], env!("CARGO_PKG_VERSION"));
        assert!(!segment["host"].as_str().unwrap().is_empty());
        let started = segment["started"].as_str().unwrap();
        let form: String = started.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00T00:00:00Z", "{started}");
        let folder = Path::new(segment["folder"].as_str().unwrap());
        assert_eq!(folder.canonicalize().unwrap(), place.path("").canonicalize().unwrap());
    }
    assert_eq!(manifest["config"].as_str(), Some(&place.read("run/config.resume-2.toml")[..]));
    assert!(!place.path("run/config.resume-3.toml").exists());

    // The event file of each resume shows the config from there on.
    let files = fs::read_dir(place.path("run")).unwrap().map(|entry| entry.unwrap().path());
    let mut events: Vec<_> = files.filter(|path| path.to_str().unwrap().contains("/events.out.tfevents.")).collect();
    events.sort();
    let shows = |path: &Path, text: &str| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(text);
    assert_eq!(events.len(), 3);
    for (file, steps) in events.iter().zip([20, 40, 60]) {
        assert!(shows(file, &format!("\nenv_steps = {steps}\n")), "{file:?}");
    }
}

#[test]
fn a_run_whose_manifest_is_of_an_older_version_is_resumed() {
    let place = Place::new();
    place.train("run", &["training.explore_steps=10", "training.env_steps=20"]);
    let mut older = manifest(&place, "run");
    for name in ["segments", "config", "task"] {
        assert!(older.as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }
    place.write("run/manifest.json", &older.to_string());
    place.succeeds(&["eval", "run"]);
    place.succeeds(&["resume", "run", "training.env_steps=40"]);
    let segments = &manifest(&place, "run")["segments"];
    assert_eq!((segments.as_array().unwrap().len(), &segments[0]["env_step"]), (1, &20.into()));
    assert_eq!(segments[0]["changes"][0]["key"], "training.env_steps");
}

#[test]
fn a_config_that_was_edited_in_the_folder_of_a_run_is_noticed_once_and_counts_as_overrides() {
    let place = Place::new();
    for run in ["run", "other"] {
        place.train(run, &["training.explore_steps=10", "training.env_steps=20"]);
    }
    let config = place.read("run/config.toml");
    // Comments are no change.
    place.write("run/config.toml", &format!("{config}# mine\n"));
    assert_eq!(common::text(&place.run(&["resume", "run"]).stderr), "");

    place.write("run/config.toml", &config.replace("\nenv_steps = 20\n", "\nenv_steps = 40\n"));
    let output = place.run(&["resume", "run"]);
    let stderr = common::text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let note =
        "note: `run/config.toml` was edited since the run was last started: `training.env_steps` is 40, and was 20\n";
    assert!(stderr.starts_with(note) && stderr.matches("note: ").count() == 1, "{stderr}");
    place.succeeds(&["resume", "other", "training.env_steps=40"]);
    assert_equal_outcomes(&place.path("other"), &place.path("run"), "edited");
    assert_eq!(place.read("run/config.resume-1.toml"), place.read("other/config.resume-1.toml"));
    let changes = |run: &str| manifest(&place, run)["segments"][1]["changes"].clone();
    assert_eq!(changes("run"), changes("other"));
    assert_eq!(common::text(&place.run(&["resume", "run"]).stderr), "");

    // A key that a run keeps cannot be edited in the file either.
    let newest = place.read("run/config.resume-1.toml");
    place.write("run/config.resume-1.toml", &newest.replace("\nmembers = 3\n", "\nmembers = 4\n"));
    for arguments in [&["resume", "run", "training.env_steps=60"][..], &["eval", "run"]] {
        assert_eq!(
            place.refuses(arguments),
            "`model.ensemble.members` is 4, but the run began with 3\n\
             hint: change `model.ensemble.members` back in `run/config.resume-1.toml`, or start a new run with it"
        );
    }
}

#[test]
fn a_script_starts_a_run_and_resumes_it_with_one_command() {
    let place = Place::new();
    let start =
        |run: &'static str, steps: &'static str| ["train", "tiny.toml", "--run-dir", run, "--resume-if-exists", steps];
    let stdout = place.succeeds(&start("run", "training.env_steps=60"));
    assert!(stdout.contains("\nreal steps        60 "), "{stdout}");
    let before = place.contents("run");
    let stdout = place.succeeds(&start("run", "training.env_steps=60"));
    assert!(stdout.starts_with("the run is complete: 60 environment steps\n"), "{stdout}");
    assert!(place.contents("run") == before, "a complete run is not changed");

    let interrupted = place.started("cut", &["training.updates_per_step=240"]).signal("KILL");
    assert_eq!(interrupted.status.code(), None);
    place.succeeds(&[&start("cut", "training.env_steps=120")[..], &["training.updates_per_step=240"]].concat());
    place.train("whole", &["training.updates_per_step=240"]);
    assert_equal_outcomes(&place.path("whole"), &place.path("cut"), "resumed by its first command");
    assert!(!place.path("cut/config.resume-1.toml").exists());

    let stdout = place.succeeds(&start("run", "training.env_steps=80"));
    assert!(stdout.contains("\nreal steps        80 "), "{stdout}");
    let changes = &manifest(&place, "run")["segments"][1]["changes"];
    assert_eq!(changes, &serde_json::json!([{"key": "training.env_steps", "before": "60", "now": "80"}]));
    assert_eq!(
        place.refuses(&[&start("run", "training.env_steps=100")[..], &["seed=8"]].concat()),
        "`seed` is 8, but the run began with 7\nhint: change `seed` back, or give another --run-dir"
    );
    let output = place.run(&["train", "tiny.toml", "--resume-if-exists"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(common::text(&output.stderr).contains("--run-dir <DIR>"), "{}", common::text(&output.stderr));
}
