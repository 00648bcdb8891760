//! Sweeps: their runs are those by hand, a failed one leaves the others alone, and an interrupted sweep continues.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Place, assert_equal_outcomes, checkpoints, text};

/// Two losses with two seeds each.
const LOSSES: &str = r#"
config = "tiny.toml"
seeds = [0, 1]
set = ["training.env_steps=80"]

[vary]
model.loss.kind = ["mle", "vagram"]
"#;

/// Updates that take long enough for a signal to arrive during them.
const SLOW: &str = "training.updates_per_step=240";

/// Returns the line about a run that is complete, without its seconds: it has the last return of `results.csv`.
fn complete(place: &Place, folder: &str, run: &str) -> String {
    let results = place.read(&format!("{folder}/{run}/results.csv"));
    let last: f64 = results.lines().last().unwrap().split(',').nth(1).unwrap().parse().unwrap();
    format!("complete     {run}: return {last:.1}, ")
}

/// Returns the seconds at the end of a line, such as `12 s`.
#[track_caller]
fn is_seconds(text: &str) -> bool {
    text.strip_suffix(" s").is_some_and(|seconds| seconds.parse::<u64>().is_ok())
}

#[test]
fn the_runs_of_a_sweep_are_those_by_hand_one_after_another_or_side_by_side() {
    let place = Place::new();
    place.write("losses.toml", LOSSES);
    let runs = ["mle/seed-0", "vagram/seed-0", "mle/seed-1", "vagram/seed-1"];
    for (jobs, folder) in [("1", "one"), ("3", "several")] {
        let stdout = place.succeeds(&["sweep", "losses.toml", "--jobs", jobs, "--out", folder]);
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines.len(), 6, "{stdout}");
        for (place_of_run, run) in runs.into_iter().enumerate() {
            let line = complete(&place, folder, run);
            let found = lines.iter().position(|found| found.strip_prefix(&line).is_some_and(is_seconds));
            assert!(found.is_some_and(|found| found < 4), "{line}: {stdout}");
            // One after another they end in their order.
            assert!(jobs != "1" || found == Some(place_of_run), "{stdout}");
        }
        let seconds = lines[4].strip_prefix("total        4 runs: 4 complete in ");
        assert!(seconds.is_some_and(is_seconds), "{stdout}");
        assert_eq!(lines[5], format!("compare      foresee report {folder}"));
    }
    for kind in ["mle", "vagram"] {
        for seed in ["0", "1"] {
            let by_hand = format!("{kind}-{seed}");
            let [loss, of_seed] = [format!("model.loss.kind={kind}"), format!("seed={seed}")];
            place.train(&by_hand, &["training.env_steps=80", &loss, &of_seed]);
            for folder in ["one", "several"] {
                let run = place.path(&format!("{folder}/{kind}/seed-{seed}"));
                assert_equal_outcomes(&place.path(&by_hand), &run, &run.display().to_string());
                let config = fs::read(run.join("config.toml")).unwrap();
                assert!(config == fs::read(place.path(&by_hand).join("config.toml")).unwrap(), "{}", run.display());
            }
        }
    }

    let manifest: serde_json::Value = serde_json::from_str(&place.read("several/sweep.json")).unwrap();
    let names: Vec<&str> =
        manifest["runs"].as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, runs);
    assert_eq!(
        manifest["runs"][3]["overrides"],
        serde_json::json!(["training.env_steps=80", "model.loss.kind=vagram", "seed=1"])
    );
    assert_eq!(manifest["command"], "foresee sweep losses.toml --jobs 3 --out several");
    let log = place.read("several/mle/seed-1.log");
    assert!(
        log.starts_with("--- ")
            && log.contains(" foresee train --resume-if-exists --run-dir=several/mle/seed-1 -- tiny.toml "),
        "{log}"
    );
    assert!(log.contains("\nfinal evaluation "), "{log}");

    let report = place.succeeds(&["report", "several", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["groups"], serde_json::json!(["mle", "vagram"]));
    assert_eq!(report["tasks"][0]["groups"][1]["seeds"], serde_json::json!([0, 1]));
}

#[test]
fn a_sweep_that_is_interrupted_or_killed_continues_to_the_same_bytes() {
    let place = Place::new();
    let sweep = |out: &'static str| ["sweep", "tiny.toml", "seed=0..2", SLOW, "--jobs", "2", "--out", out];
    let since = Instant::now();
    place.succeeds(&sweep("whole"));
    let duration = since.elapsed();
    for (out, signal, wait) in [
        ("TERM", "TERM", Duration::ZERO),
        ("INT", "INT", Duration::ZERO),
        ("KILL-0", "KILL", Duration::ZERO),
        ("KILL-1", "KILL", duration / 4),
        ("KILL-2", "KILL", duration / 2),
    ] {
        let started = place.spawn(&sweep(out));
        place.await_checkpoint(&format!("{out}/seed-0"), 0);
        std::thread::sleep(wait);
        let output = started.signal(signal);
        let stdout = text(&output.stdout);
        if signal != "KILL" {
            assert_eq!(output.status.code(), Some(130), "{stdout}{}", text(&output.stderr));
            for run in ["seed-0", "seed-1"] {
                assert_eq!(stdout.matches(&format!("interrupted  {run}: ")).count(), 1, "{stdout}");
            }
            assert!(stdout.contains("\ntotal        3 runs: 2 interrupted, 1 not started in "), "{stdout}");
            let command = format!("\nto continue: foresee sweep tiny.toml seed=0..2 {SLOW} --jobs 2 --out {out}\n");
            assert!(stdout.ends_with(&command), "{stdout}");
            assert!(!place.path(&format!("{out}/seed-2")).exists());
        }
        // After a kill, a run may still be saving.
        let stdout = place.succeeds(&sweep(out));
        assert!(stdout.contains("\ntotal        3 runs: 3 complete in "), "{stdout}");
        for seed in 0..3 {
            let [whole, cut] = ["whole", out].map(|sweep| place.path(&format!("{sweep}/seed-{seed}")));
            assert_equal_outcomes(&whole, &cut, &format!("{out}, seed {seed}"));
        }
    }
}

/// A run without an end would train on for ever.
#[cfg(target_os = "linux")]
#[test]
fn the_runs_of_a_killed_sweep_are_saved_and_end() {
    let place = Place::new();
    let endless = ["training.env_steps=1000000", "training.explore_steps=999999", "training.checkpoint_every=20"];
    let sweep = [&["sweep", "tiny.toml", "seed=0..1", "--jobs", "2", "--out", "out"][..], &endless].concat();
    let started = place.spawn(&sweep);
    for run in ["out/seed-0", "out/seed-1"] {
        place.await_checkpoint(run, 20);
    }
    let second = place.run(&sweep);
    assert_eq!(second.status.code(), Some(2));
    let stderr = text(&second.stderr);
    let message =
        "error: the sweep in `out` is in use: another process runs it\nhint: wait for it to end, or stop it\n";
    assert!(stderr.ends_with(message), "{stderr}");
    started.signal("KILL");
    let since = Instant::now();
    for run in ["out/seed-0", "out/seed-1"] {
        let status = || {
            let manifest: serde_json::Value =
                serde_json::from_str(&place.read(&format!("{run}/manifest.json"))).unwrap();
            manifest["status"].as_str().unwrap().to_owned()
        };
        while status() != "interrupted" {
            assert!(since.elapsed() < Duration::from_secs(60), "{run}: {}", status());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn further_values_extend_a_sweep_and_other_runs_are_refused() {
    let place = Place::new();
    let sweep = |overrides: &[&'static str]| {
        [&["sweep", "tiny.toml", "training.env_steps=60", "--jobs", "2", "--out", "out"][..], overrides].concat()
    };
    place.succeeds(&sweep(&["seed=0,1"]));
    let before = fs::read(checkpoints(&place.path("out/seed-1")).pop().unwrap().join("state.safetensors")).unwrap();
    let stdout = place.succeeds(&sweep(&["seed=0..2"]));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "2 runs were complete before"), "{stdout}");
    assert!(lines[1].starts_with(&complete(&place, "out", "seed-2")), "{stdout}");
    assert!(lines[2].starts_with("total        3 runs: 3 complete in "), "{stdout}");
    let after = fs::read(checkpoints(&place.path("out/seed-1")).pop().unwrap().join("state.safetensors")).unwrap();
    assert!(before == after);
    // No number depends on the threads.
    let stdout = place.succeeds(&sweep(&["seed=0..2", "threads=2"]));
    assert!(stdout.starts_with("3 runs were complete before\ntotal        3 runs: 3 complete in "), "{stdout}");

    let hint = "hint: give another --name or --out; the same runs continue the sweep, and further values of its keys extend it";
    for (overrides, differences) in [
        (&["seed=0,2"][..], "`seed-1` is not among the runs now"),
        (
            &["seed=0..2", "agent.batch=8"],
            "`seed-0`: `agent.batch` is 8, and was 16\n  `seed-1`: `agent.batch` is 8, and was 16\n  `seed-2`: `agent.batch` is 8, and was 16",
        ),
        (
            &["seed=2..3", "agent.batch=8"],
            "`seed-0` is not among the runs now\n  `seed-1` is not among the runs now\n  `seed-2`: `agent.batch` is 8, and was 16",
        ),
        (
            &["seed=0..2", "agent.batch=8,16"],
            "`seed-0` is not among the runs now\n  `seed-1` is not among the runs now\n  `seed-2` is not among the runs now",
        ),
        (
            &["seed=0", "agent.batch=8", "agent.discount=0.9"],
            "`seed-0` is not among the runs now\n  `seed-1` is not among the runs now\n  `seed-2` is not among the runs now",
        ),
    ] {
        assert_eq!(place.refuses(&sweep(overrides)), format!("`out` holds another sweep:\n  {differences}\n{hint}"));
    }
}

#[test]
fn a_failed_run_is_listed_with_its_reason_and_the_others_complete() {
    let place = Place::new();
    let sweep = ["sweep", "tiny.toml", "agent.critic_lr=1e30,1e-3", "algo=model_free", "--jobs", "1", "--out", "out"];
    for call in 0..2 {
        let output = place.run(&sweep);
        let stdout = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{stdout}{}", text(&output.stderr));
        let lines: Vec<&str> = stdout.lines().collect();
        if call == 0 {
            let failed = "failed       critic_lr-1e30: training stopped at environment step 4";
            assert!(lines[0].starts_with(failed), "{stdout}");
            assert!(lines[0].contains(": the agent diverged: `train/critic_loss` is "), "{stdout}");
            assert!(lines[1].starts_with("             hint: "), "{stdout}");
            assert_eq!(lines[2], "             log: out/critic_lr-1e30.log");
            assert!(lines[3].starts_with(&complete(&place, "out", "critic_lr-1e-3")), "{stdout}");
        } else {
            // The failed run is tried again from where it failed.
            assert_eq!(lines[0], "1 run was complete before");
            assert!(lines[1].starts_with("failed       critic_lr-1e30: "), "{stdout}");
        }
        assert!(stdout.contains("\ntotal        2 runs: 1 complete, 1 failed in "), "{stdout}");
        let command = "foresee sweep tiny.toml agent.critic_lr=1e30,1e-3 algo=model_free --jobs 1 --out out";
        let end = format!("\nfailed       critic_lr-1e30\ncompare      foresee report out\nto continue: {command}\n");
        assert!(stdout.ends_with(&end), "{stdout}");
    }
    let log = place.read("out/critic_lr-1e30.log");
    assert!(log.contains("\nerror: training stopped at environment step 4"), "{log}");
    // A line for each start.
    assert_eq!(log.lines().filter(|line| line.starts_with("--- ")).count(), 2, "{log}");
    place.train("by-hand", &["agent.critic_lr=1e-3", "algo=model_free"]);
    assert_equal_outcomes(&place.path("by-hand"), &place.path("out/critic_lr-1e-3"), "beside a failed run");
}

#[test]
fn a_dry_run_lists_the_runs_and_writes_nothing() {
    let place = Place::new();
    place.write("plain.toml", &common::TINY.replace("threads = 1\n", ""));
    let before = place.contents("");
    assert_eq!(
        place.succeeds(&["sweep", "plain.toml", "seed=0,5", "agent.hidden=[8, 8]", "--dry-run"]),
        "seed-0: plain.toml seed=0 'agent.hidden=[8, 8]' threads=1\n\
         seed-5: plain.toml seed=5 'agent.hidden=[8, 8]' threads=1\n"
    );
    place.write("losses.toml", LOSSES);
    assert_eq!(
        place.succeeds(&["sweep", "losses.toml", "seed=3", "--dry-run"]),
        "mle: tiny.toml training.env_steps=80 model.loss.kind=mle seed=3\n\
         vagram: tiny.toml training.env_steps=80 model.loss.kind=vagram seed=3\n"
    );
    fs::remove_file(place.path("losses.toml")).unwrap();
    assert!(before == place.contents(""));
}

#[test]
fn a_sweep_is_checked_before_anything_is_written() {
    let place = Place::new();
    place.write("losses.toml", LOSSES);
    fs::create_dir(place.path("mine")).unwrap();
    place.write("mine/notes.txt", "mine");
    for (arguments, message) in [
        (
            &["tiny.toml", "seed=3..1"][..],
            "`seed=3..1`: `3..1` has no value: its end is below its start\nhint: write `seed=1..3`",
        ),
        (
            &["tiny.toml", "agent.discount=0.9,0.90"],
            "the runs `discount-0.9` and `discount-0.90` have the same config\n\
             hint: leave one of them out; `--dry-run` prints the overrides of every run",
        ),
        (
            &["tiny.toml", "--name", "a/b"],
            "the name `a/b` of the sweep cannot be the name of a folder\n\
             hint: use letters, digits, `-` and `_`, such as --name a-b",
        ),
        (
            &["tiny.toml", "seed=0..1", "--out", "mine"],
            "`mine` is not empty, and holds no sweep: it has no sweep.json\nhint: give another --name or --out",
        ),
        (
            &["tiny.toml", "seed=0..1", "--out", "tiny.toml"],
            "cannot use `tiny.toml` as the folder of a sweep: Not a directory (os error 20)\nhint: give another --out",
        ),
        (&["tinny.toml"], "the run `tinny`: tinny.toml: no such file\nhint: did you mean `tiny.toml`?"),
    ] {
        let found = place.refuses(&[&["sweep"][..], arguments].concat());
        assert_eq!(found, message, "{arguments:?}");
    }
    // The last of the runs is the one with the mistake.
    let message = place.refuses(&["sweep", "tiny.toml", "seed=0..1", "model.loss.kind=mle,vagramm"]);
    let start = "the run `vagramm/seed-0`: override `model.loss.kind=vagramm`: `model.loss.kind` cannot be `vagramm`";
    assert!(message.starts_with(start) && message.contains("\nhint: "), "{message}");
    assert_eq!(
        place.refuses(&["train", "losses.toml"]),
        "losses.toml: this is a sweep file, not the config of a run\nhint: run it with `foresee sweep losses.toml`"
    );
}

/// Two real steps of each run.
#[test]
fn the_shipped_sweep_trains_and_can_be_reported() {
    let place = Place::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/sweeps/pendulum-losses.toml");
    let stdout = place.succeeds(&[
        "sweep",
        file.to_str().unwrap(),
        "training.env_steps=2",
        "training.explore_steps=1",
        "training.eval_episodes=1",
        "model.fit.every=2",
        "model.fit.max_steps=3",
        "model.fit.first_max_steps=3",
        "model.fit.min_steps=0",
    ]);
    assert!(stdout.contains("\ntotal        6 runs: 6 complete in "), "{stdout}");
    let config = place.read("sweeps/pendulum-losses/vagram/seed-2/config.toml");
    for line in ["seed = 2\n", "threads = 1\n", "kind = \"vagram\"\n", "head = \"gaussian\"\n"] {
        assert!(config.contains(line), "{config}");
    }
    let report = place.succeeds(&["report", "sweeps/pendulum-losses", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["groups"], serde_json::json!(["mle", "vagram"]));
    assert_eq!(report["tasks"][0]["groups"][0]["seeds"], serde_json::json!([0, 1, 2]));
}
