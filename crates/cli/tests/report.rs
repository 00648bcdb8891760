//! `report` compares the runs that `train` wrote.

mod common;

use std::fs;

use common::Place;

/// Trains two runs each of `mle` and `mse`, which differ in their head as well.
fn four_runs() -> Place {
    let place = Place::new();
    for (run, overrides) in [
        ("runs/0", ["model.loss.kind=mle", "seed=0"]),
        ("runs/1", ["model.loss.kind=mle", "seed=1"]),
        ("runs/2", ["model.loss.kind=mse", "seed=0"]),
        ("runs/3", ["model.loss.kind=mse", "seed=1"]),
    ] {
        place.train(run, &overrides);
    }
    place
}

#[test]
fn a_report_groups_the_runs_of_training_by_what_differs() {
    let place = four_runs();
    let table = place.succeeds(&["report", "runs"]);
    assert!(table.starts_with("No order can be claimed: 2 seeds a group; at least 5 are needed.\n"), "{table}");
    assert!(table.contains("Pendulum-v1: returns at 120 steps; threshold "), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    for name in ["mle", "mse"] {
        assert!(table.lines().any(|line| line.starts_with(&format!("{name} ")) && line.contains(" 2 ")), "{table}");
    }

    let out = place.run(&["report", "runs", "--out", "out", "--json"]);
    assert!(out.status.success());
    assert_eq!(String::from_utf8_lossy(&out.stderr), "the page is out/report.html\n");
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["groups"], serde_json::json!(["mle", "mse"]));
    assert_eq!(json["tasks"][0]["groups"][0]["seeds"], serde_json::json!([0, 1]));
    // The numbers are those of the record, and the head that comes with a loss is a difference.
    let results = place.read("runs/1/results.csv");
    let last: f64 = results.lines().last().unwrap().split(',').nth(1).unwrap().parse().unwrap();
    assert_eq!(json["tasks"][0]["groups"][0]["scores"][1], serde_json::json!(last));
    let keys: Vec<&str> =
        json["differences"].as_array().unwrap().iter().filter_map(|difference| difference["key"].as_str()).collect();
    assert!(keys.contains(&"model.loss.kind") && keys.contains(&"model.head"), "{keys:?}");
    assert!(!keys.contains(&"seed"), "{keys:?}");
    assert!(place.read("out/report.html").starts_with("<!doctype html>"));

    let columns = place.succeeds(&["report", "runs", "--csv"]);
    assert!(
        columns.starts_with("exp_name,env_name,seed,metric,env_step,value\nmle,Pendulum-v1,0,eval/mean_reward,40,")
    );
    assert_eq!(place.read("out/report.csv"), columns);
    // The written columns are results themselves.
    fs::create_dir(place.path("theirs")).unwrap();
    place.write("theirs/all.csv", &columns);
    let both = place.succeeds(&["report", "runs/0", "runs/1", "MBPO=theirs"]);
    assert!(both.lines().any(|line| line.starts_with("MBPO ")), "{both}");
}

#[test]
fn reports_refuse_what_they_cannot_compare() {
    let place = Place::new();
    place.train("runs/0", &[]);
    for (arguments, message) in [
        (&["report", "none"][..], "cannot read `none`: "),
        (&["report", "tiny.toml"], "cannot read `tiny.toml`: "),
        (&["report", "runs", "--baseline", "sac"], "no group has the name `sac`\nhint: the groups are `"),
        (&["report", "runs", "--group-by", "loss.kind"], "no config of these runs has the key `loss.kind`\nhint: "),
        (&["report", "runs", "--at", "121"], "no run on Pendulum-v1 has an evaluation at step 121"),
    ] {
        let refusal = place.refuses(arguments);
        assert!(refusal.starts_with(message), "{arguments:?}: {refusal}");
    }
    let both = place.run(&["report", "runs", "--json", "--csv"]);
    assert_eq!(both.status.code(), Some(2));
}
