//! Runs are read from run folders, result files, the interchange columns and mbrl-lib's files.

mod common;

use std::fs;
use std::path::Path;

use common::{Folder, committed, quick, read_all, report, write_group};
use foresee_report::{Input, Point, compare, read};

fn message(path: &Path) -> String {
    read(&[Input { label: None, path: path.to_owned() }]).expect_err("an error").to_string()
}

#[test]
fn a_run_folder_gives_its_config_its_evaluations_and_their_seconds() {
    let root = tempfile::tempdir().unwrap();
    let folder =
        Folder { task: "Pendulum-v1", loss: "mle", seed: 3, config: "", points: &[(100, -900.5), (300, -150.0)] };
    let path = folder.write(root.path());
    // A killed process leaves a part of a line, and a checkpoint folder is not searched.
    let results = path.join("results.csv");
    fs::write(&results, fs::read_to_string(&results).unwrap() + "500,-1").unwrap();
    // The evaluation at step 300 is between two readings of the clock.
    fs::write(
        path.join("timing.jsonl"),
        "{\"env_step\":100,\"wall_s\":2.0}\nbroken\n{\"env_step\":500,\"wall_s\":10.0}\n",
    )
    .unwrap();
    let runs = read_all(&[root.path(), &path]);
    assert_eq!(runs.runs.len(), 1, "a run that is given twice counts once");
    let run = &runs.runs[0];
    assert_eq!((run.name.as_str(), run.task.as_deref(), run.seed), ("mle", Some("Pendulum-v1"), Some(3)));
    let point = |step, value, seconds| Point { step, value, seconds: Some(seconds) };
    assert_eq!(run.points, [point(100, -900.5, 2.0), point(300, -150.0, 6.0)]);
    let config = run.config.as_ref().unwrap();
    assert_eq!(config.get("model.loss.kind").map(String::as_str), Some("mle"));
    assert_eq!(config.get("threads").map(String::as_str), Some("1"));
}

#[test]
fn the_newest_config_of_a_resumed_run_counts() {
    let root = tempfile::tempdir().unwrap();
    let path = Folder { task: "T", loss: "mle", seed: 0, config: "", points: &[(100, 1.0)] }.write(root.path());
    let text = fs::read_to_string(path.join("config.toml")).unwrap();
    fs::write(path.join("config.resume-1.toml"), text.replace("gaussian", "homoscedastic")).unwrap();
    let runs = read_all(&[root.path()]);
    assert_eq!(runs.runs[0].config.as_ref().unwrap()["model.head"], "homoscedastic");
    assert!(runs.notes.iter().any(|note| note.contains("changed when the run was resumed")), "{:?}", runs.notes);
}

#[test]
fn evaluations_that_are_not_finite_are_left_out_with_a_note() {
    let root = tempfile::tempdir().unwrap();
    let points = [(100, 1.0), (200, f64::NAN), (300, f64::INFINITY), (400, 2.0)];
    Folder { task: "T", loss: "mle", seed: 0, config: "", points: &points }.write(root.path());
    Folder { task: "T", loss: "mle", seed: 1, config: "", points: &[] }.write(root.path());
    let runs = read_all(&[root.path()]);
    assert_eq!(runs.runs.len(), 1);
    assert_eq!(runs.runs[0].points.iter().map(|point| point.step).collect::<Vec<_>>(), [100, 400]);
    assert!(runs.notes.iter().any(|note| note.contains("has 2 evaluations whose return is not a finite number")));
    assert!(runs.notes.iter().any(|note| note.contains("has no evaluation yet; left out")), "{:?}", runs.notes);
}

#[test]
fn committed_result_files_are_read_with_and_without_their_later_columns() {
    let runs = read_all(&[&committed()]);
    let of = |name: &str, task: &str| {
        runs.runs.iter().filter(|run| run.name == name && run.task.as_deref() == Some(task)).collect::<Vec<_>>()
    };
    // From docs/results/runs/hopper/dhmbpo-mle/seed-0.csv.
    let hopper = of("dhmbpo-mle", "Hopper-v5");
    assert!(hopper.iter().map(|run| run.seed).eq((0..hopper.len() as u64).map(Some)));
    assert_eq!(hopper[0].points[1], Point { step: 5000, value: 192.95635849001343, seconds: Some(268.7) });
    assert_eq!(hopper[0].config.as_ref().unwrap()["model.loss.kind"], "mle");
    // From inverted-pendulum-small/vagram/seed-1.csv, which names no environment.
    let small = of("vagram", "inverted-pendulum-small");
    assert_eq!(small[1].points[1], Point { step: 1000, value: 84.55, seconds: None });
    assert_eq!((small.len(), small[1].fingerprint.as_str()), (5, "22ed69ed2d3a"));
}

#[test]
fn interchange_columns_are_read_in_any_order_with_quotes() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("theirs.csv");
    fs::write(
        &file,
        "value,metric,env_step,seed,extra,env_name,exp_name\n\
         5.5,charts/episodic_return,1000,1,x,Hopper-v5,\"mbpo, \"\"new\"\"\"\n\
         7.0,charts/episodic_return,2000.0,1,x,Hopper-v5,\"mbpo, \"\"new\"\"\"\n",
    )
    .unwrap();
    let runs = read_all(&[&file]);
    assert_eq!(runs.runs.len(), 1);
    assert_eq!(runs.runs[0].name, "mbpo, \"new\"");
    assert_eq!(runs.runs[0].points.iter().map(|p| (p.step, p.value)).collect::<Vec<_>>(), [(1000, 5.5), (2000, 7.0)]);
}

#[test]
fn several_metrics_of_which_none_is_a_return_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("theirs.csv");
    fs::write(&file, "exp_name,env_name,seed,metric,env_step,value\na,T,0,loss,1,2\na,T,0,speed,1,2\n").unwrap();
    let message = message(&file);
    assert!(message.contains("none of its metrics is a known return: loss, speed\nhint: name the metric"), "{message}");
}

#[test]
fn results_of_mbrl_lib_are_named_by_hydra() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("exp/mbpo/default/Hopper-v5/2026.01.02/101500");
    fs::create_dir_all(folder.join(".hydra")).unwrap();
    fs::write(folder.join("results.csv"), "env_step,episode_reward,step\n1000.0,12.5,1\n2000.0,30.25,2\n").unwrap();
    let runs = read_all(&[root.path()]);
    let run = &runs.runs[0];
    assert_eq!((run.name.as_str(), run.task.as_deref(), run.seed), ("mbpo", Some("Hopper-v5"), Some(0)));
    assert_eq!(run.points.iter().map(|p| (p.step, p.value)).collect::<Vec<_>>(), [(1000, 12.5), (2000, 30.25)]);
    assert!(runs.notes.iter().any(|note| note.contains("does not state its seed; numbered 0")), "{:?}", runs.notes);

    fs::write(
        folder.join(".hydra/config.yaml"),
        "algorithm:\n  name: pets\n  agent:\n    name: x\noverrides:\n  env: gym___Hopper-v2\nseed: 4\n",
    )
    .unwrap();
    let run = &read_all(&[root.path()]).runs[0];
    assert_eq!((run.name.as_str(), run.task.as_deref(), run.seed), ("pets", Some("gym___Hopper-v2"), Some(4)));
}

#[test]
fn a_run_of_an_unknown_task_takes_the_task_of_all_others() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "Hopper-v5", "mle", &[(1000, 5.0), (2000, 9.0)], &[0.0]);
    let other = root.path().join("seed_2");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("results.csv"), "env_step,episode_reward,step\n1000,12.5,1\n").unwrap();
    let runs = read_all(&[root.path()]);
    let run = runs.runs.iter().find(|run| run.path.starts_with(&other)).unwrap();
    assert_eq!((run.task.as_deref(), run.seed), (Some("Hopper-v5"), Some(2)));
}

#[test]
fn the_written_columns_are_read_back() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &[(100, -1.0 / 3.0), (200, 5e-7)], &[0.0, 0.1]);
    write_group(root.path(), "T", "mse", &[(100, -1.0 / 3.0), (200, 5e-7)], &[0.2, 0.3]);
    let first = report(root.path(), &quick());
    let file = root.path().join("all.csv");
    fs::write(&file, first.csv()).unwrap();
    let header = "exp_name,env_name,seed,metric,env_step,value\nmle,T,0,eval/mean_reward,100,-0.3333333333333333\n";
    assert!(first.csv().starts_with(header), "{}", first.csv());
    let second = compare(&read_all(&[&file]), &quick()).unwrap();
    assert_eq!(first.groups, second.groups);
    let evaluations = |report: &foresee_report::Report| {
        report.runs.iter().map(|run| (run.group, run.seed, run.evaluations.clone())).collect::<Vec<_>>()
    };
    assert_eq!(evaluations(&first), evaluations(&second));
    assert_eq!(first.terminal(100).lines().nth(3), second.terminal(100).lines().nth(3));
}

#[test]
fn a_label_is_read_before_an_equals_sign_unless_the_path_exists() {
    let parsed = |text: &str| Input::parse(text);
    assert_eq!(parsed("runs/a"), Input { label: None, path: "runs/a".into() });
    assert_eq!(parsed("MBPO=runs/a"), Input { label: Some("MBPO".into()), path: "runs/a".into() });
    assert_eq!(parsed("runs/lr=3/x"), Input { label: None, path: "runs/lr=3/x".into() });
}

#[test]
fn mistakes_get_one_message_with_a_hint() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    assert!(message(&at("none")).contains("none`: No such file"), "{}", message(&at("none")));
    fs::create_dir(at("empty")).unwrap();
    assert!(message(&at("empty")).contains("empty` contains no run\nhint: give run folders"));
    fs::write(at("other.csv"), "a,b\n1,2\n").unwrap();
    assert!(message(&at("other.csv")).contains("the columns `a,b` are not those of results\nhint: "));
    fs::write(at("broken.csv"), "env_step,episode_reward,step\n1000,12,1\n2000,many,2\n").unwrap();
    let broken = message(&at("broken.csv"));
    assert!(broken.contains("line 3: `many` in the column `episode_reward` is not a number\nhint: "), "{broken}");
    fs::write(at("broken.csv"), "env_step,episode_reward,step\n1000.5,12,1\n").unwrap();
    assert!(message(&at("broken.csv")).contains("line 2: `1000.5` in the column `env_step` is not a whole number"));
    fs::write(at("broken.csv"), "env_step,episode_reward,step\n1000,12\n").unwrap();
    assert!(message(&at("broken.csv")).contains("broken.csv"), "{}", message(&at("broken.csv")));
    let runs = at("runs");
    Folder { task: "T", loss: "mle", seed: 0, config: "", points: &[] }.write(&runs);
    assert!(message(&runs).contains("none of these runs has an evaluation yet"), "{}", message(&runs));
}
