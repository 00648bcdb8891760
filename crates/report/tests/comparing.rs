//! Groups, their names, their numbers, and the sentences about them.

mod common;

use common::{Folder, committed, quick, read_all, report, write_group};
use foresee_report::{Input, Options, compare, read};

const CURVE: [(u64, f64); 3] = [(100, -1000.0), (200, -400.0), (300, -150.0)];
const TEN: [f64; 10] = [0.0, 3.0, -4.0, 8.0, 1.0, -2.0, 5.0, -7.0, 2.0, 6.0];

#[test]
fn ten_seeds_far_apart_are_an_order_and_three_are_not() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &CURVE, &TEN);
    write_group(root.path(), "T", "vagram", &CURVE, &TEN.map(|offset| offset - 100.0));
    let ten = report(root.path(), &Options::default());
    assert_eq!(ten.summary, ["`mle` reaches more than `vagram`: P = 1.00 [1.00, 1.00], 10 seeds each."]);
    assert_eq!(ten.comparisons[0].above, Some(false), "vagram is below the first group");
    let other = report(root.path(), &Options { baseline: Some("vagram".into()), ..quick() });
    assert_eq!(other.summary, ["`mle` reaches more than `vagram`: P = 1.00 [1.00, 1.00], 10 seeds each."]);

    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &CURVE, &TEN[..3]);
    write_group(root.path(), "T", "vagram", &CURVE, &TEN[..3].iter().map(|offset| offset - 100.0).collect::<Vec<_>>());
    let three = report(root.path(), &quick());
    assert_eq!(three.summary, ["No order can be claimed: 3 seeds a group; at least 5 are needed."]);
    assert_eq!(three.comparisons[0].above, None);
    write_group(root.path(), "T", "mle", &CURVE, &TEN);
    let uneven = report(root.path(), &quick());
    assert_eq!(uneven.summary, ["No order can be claimed: 3 to 10 seeds a group; at least 5 are needed."]);
}

#[test]
fn equal_groups_show_no_difference() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &CURVE, &TEN);
    write_group(root.path(), "T", "vagram", &CURVE, &TEN);
    let report = report(root.path(), &quick());
    assert!(report.summary[0].starts_with("No difference between `vagram` and `mle` is shown: P = 0.50 ["));
    let group = &report.tasks[0].groups[1];
    let paired = group.paired.as_ref().unwrap();
    assert_eq!((paired.seeds, paired.difference.value, paired.sign_test_p), (10, 0.0, 1.0));
}

#[test]
fn one_group_has_nothing_to_be_compared_with() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &CURVE, &[0.0, 10.0]);
    let report = report(root.path(), &quick());
    let want = "`mle` reaches a mean return of -145 [-150, -140] at 300 steps on T, 2 seeds. There is no other group to \
                compare it with.";
    assert_eq!(report.summary, [want]);
}

#[test]
fn the_numbers_of_a_group_are_those_of_its_seeds() {
    let root = tempfile::tempdir().unwrap();
    let offsets = [0.0, 1.0, 2.0, 3.0, 40.0];
    write_group(root.path(), "T", "mle", &[(100, 0.0), (200, 60.0), (300, 50.0)], &offsets);
    write_group(root.path(), "T", "vagram", &[(100, 0.0), (200, 10.0), (300, 52.5)], &[0.0, 1.0, 2.0, 3.0, 4.0]);
    let report = report(root.path(), &Options { threshold: Some(61.0), ..quick() });
    let [mle, vagram] = &report.tasks[0].groups[..] else { panic!("two groups") };
    assert_eq!((report.tasks[0].step, report.tasks[0].range), (300, [50.0, 90.0]));
    assert_eq!(mle.scores, [50.0, 51.0, 52.0, 53.0, 90.0]);
    // The mean of 50, 51, 52, 53 and 90; the IQM without the smallest and the largest.
    assert_eq!((mle.last.value, mle.iqm.value, mle.median.value, mle.best.value), (59.2, 52.0, 52.0, 69.2));
    // Seeds 1 to 4 reach 61 at step 200, and seed 0 never.
    assert_eq!((mle.reach.seeds, mle.reach.of, mle.reach.steps.median), (4, 5, Some(200.0)));
    assert_eq!(mle.reach.seconds.unwrap().median, Some(2.0));
    assert_eq!((vagram.reach.seeds, vagram.reach.steps.median), (0, None));
    // 52.5 is above 50, 51 and 52; 53.5 to 56.5 are above all but 90.
    assert_eq!(vagram.improvement.unwrap().value, (3.0 + 4.0 * 4.0) / 25.0);
    assert_eq!(mle.improvement, None);
    let paired = vagram.paired.as_ref().unwrap();
    // Four differences are 2.5 and one is 56.5 − 90.
    assert!((paired.difference.value - (4.0 * 2.5 - 33.5) / 5.0).abs() < 1e-12);
    // scipy.stats.binomtest(4, 5).pvalue
    assert!((paired.sign_test_p - 0.375).abs() < 1e-12);
}

#[test]
fn the_default_threshold_is_nine_tenths_of_the_way_to_the_best_group() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &[(100, 0.0), (200, 100.0)], &[0.0, 0.0]);
    write_group(root.path(), "T", "mse", &[(100, 20.0), (200, 50.0)], &[0.0, 0.0]);
    assert_eq!(report(root.path(), &quick()).tasks[0].threshold, 10.0 + 0.9 * 90.0);
}

#[test]
fn runs_are_compared_where_the_shortest_end_and_values_are_not_carried_on() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &CURVE, &[0.0, 1.0, 2.0]);
    Folder { task: "T", loss: "mle", seed: 5, config: "", points: &CURVE[..2] }.write(root.path());
    let shortest = report(root.path(), &quick());
    let task = &shortest.tasks[0];
    assert_eq!((task.step, &task.groups[0].seeds[..]), (200, &[0, 1, 2, 5][..]));
    let curve: Vec<_> = task.groups[0].curve.points.iter().map(|point| (point.step, point.seeds)).collect();
    assert_eq!(curve, [(100, 4), (200, 4), (300, 3)]);
    assert!(shortest.notes.iter().any(|note| note.contains("compared at step 200, where the shortest end")));

    let later = report(root.path(), &Options { step: Some(300), ..quick() });
    assert_eq!(later.tasks[0].groups[0].seeds, [0, 1, 2]);
    assert!(
        later.notes.iter().any(|note| note.contains("left out of the comparison at step 300")),
        "{:?}",
        later.notes
    );
    let between = report(root.path(), &Options { step: Some(250), ..quick() });
    assert_eq!(between.tasks[0].groups[0].scores, [-275.0, -274.0, -273.0]);
    let runs = read_all(&[root.path()]);
    let message = compare(&runs, &Options { step: Some(301), ..quick() }).unwrap_err().to_string();
    assert!(message.starts_with("no run on T has an evaluation at step 301"), "{message}");
}

#[test]
fn equal_seeds_of_a_group_count_once() {
    let root = tempfile::tempdir().unwrap();
    write_group(&root.path().join("first"), "T", "mle", &CURVE[..2], &[0.0, 1.0]);
    write_group(&root.path().join("again"), "T", "mle", &CURVE, &[0.0]);
    let report = report(root.path(), &quick());
    assert_eq!(report.runs.iter().map(|run| (run.seed, run.evaluations.len())).collect::<Vec<_>>(), [(0, 3), (1, 2)]);
    assert!(
        report.notes.iter().any(|note| note.contains("`mle` on T has several runs of seed 0")),
        "{:?}",
        report.notes
    );
}

#[test]
fn a_group_that_mixes_configs_says_so_if_a_seed_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    for (lr, returns) in [("0.1", 0.0), ("0.2", 7.0)] {
        let (config, folder) = (format!("[agent]\nlr = {lr}"), root.path().join(lr));
        let points = [(100, returns), (200, returns)];
        Folder { task: "T", loss: "mle", seed: 0, config: &config, points: &points }.write(&folder);
    }
    let by_loss = Options { group_by: vec!["model.loss.kind".into()], ..quick() };
    let mixed = report(root.path(), &by_loss);
    assert_eq!(mixed.tasks[0].groups[0].scores.len(), 1);
    let want = "`mle` on T has several runs of seed 0; their configs differ, and only the longest counts: give one \
                --group-by more, or leave runs out";
    assert!(mixed.notes.iter().any(|note| note == want), "{:?}", mixed.notes);
    let by_both = Options { group_by: vec!["model.loss.kind".into(), "agent.lr".into()], ..quick() };
    let apart = report(root.path(), &by_both);
    assert_eq!((apart.groups.len(), apart.notes.len()), (2, 0), "{:?}", apart.notes);
}

#[test]
fn groups_have_the_shortest_names_that_tell_them_apart() {
    let root = tempfile::tempdir().unwrap();
    let write = |loss, seed, config| Folder { task: "T", loss, seed, config, points: &CURVE }.write(root.path());
    write("mle", 0, "[agent]\nhidden = [8, 8]\nlr = 0.1");
    write("mse", 1, "[agent]\nhidden = [8, 8]\nlr = 0.1");
    write("mse", 2, "[agent]\nhidden = [8, 8]\nlr = 0.2");
    // `device`, `threads` and the length of a run do not make a group.
    write("mse", 3, "device = \"flex\"\n[training]\nenv_steps = 9\n[agent]\nhidden = [8, 8]\nlr = 0.2");
    let named = report(root.path(), &quick());
    assert_eq!(named.groups, ["mle", "mse, lr=0.1", "mse, lr=0.2"]);
    let keys: Vec<&str> = named.differences.iter().map(|difference| difference.key.as_str()).collect();
    // `model.head` comes with the loss.
    assert_eq!(keys, ["model.loss.kind", "agent.lr", "device", "model.head", "training.env_steps"]);
    assert_eq!(named.differences[3].values, ["gaussian", "deterministic", "deterministic"]);
    assert_eq!(named.differences[2].values, ["unset", "unset", "flex or unset"]);

    let by = |keys: &[&str]| Options { group_by: keys.iter().map(|&key| key.to_owned()).collect(), ..quick() };
    assert_eq!(report(root.path(), &by(&["agent.lr"])).groups, ["lr=0.1", "lr=0.2"]);
    assert_eq!(report(root.path(), &by(&["model.loss.kind"])).groups, ["mle", "mse"]);
    let message = compare(&read_all(&[root.path()]), &by(&["lr"])).unwrap_err().to_string();
    assert_eq!(message, "no config of these runs has the key `lr`\nhint: give agent.lr");
    let message = compare(&read_all(&[root.path()]), &by(&["loss.kind"])).unwrap_err().to_string();
    assert_eq!(message, "no config of these runs has the key `loss.kind`\nhint: give model.loss.kind");
    let message = compare(&read_all(&[root.path()]), &Options { baseline: Some("x".into()), ..quick() });
    let message = message.unwrap_err().to_string();
    assert_eq!(message, "no group has the name `x`\nhint: the groups are `mle`, `mse, lr=0.1`, `mse, lr=0.2`");
}

#[test]
fn a_label_names_all_runs_of_a_path() {
    let root = tempfile::tempdir().unwrap();
    write_group(&root.path().join("ours"), "T", "mle", &CURVE, &[0.0, 1.0]);
    write_group(&root.path().join("theirs"), "T", "mle", &CURVE, &[5.0, 6.0]);
    let input = |label: &str| Input { label: Some(label.into()), path: root.path().join(label) };
    let report = compare(&read(&[input("theirs"), input("ours")]).unwrap(), &quick()).unwrap();
    assert_eq!(report.groups, ["theirs", "ours"]);
    assert!(report.differences.is_empty(), "{:?}", report.differences);
}

#[test]
fn groups_of_several_tasks_are_joined_by_their_names() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "A", "mle", &[(100, 0.0), (200, 10.0)], &[0.0, 2.0, 4.0, 6.0, 8.0]);
    write_group(root.path(), "A", "mse", &[(100, 0.0), (200, 20.0)], &[0.0, 2.0, 4.0, 6.0, 8.0]);
    write_group(root.path(), "B", "mle", &[(1000, 0.0), (2000, 1.0)], &[0.0, 0.5, 1.0, 1.5, 2.0]);
    write_group(root.path(), "B", "mse", &[(1000, 0.0), (2000, 1.0)], &[0.0, 0.5, 1.0, 1.5, 2.0]);
    let report = report(root.path(), &quick());
    assert_eq!(report.groups, ["mle", "mse"]);
    // On A, returns from 10 to 28 are scaled to 0 to 1, on B from 1 to 3.
    assert_eq!(report.tasks.iter().map(|task| task.range).collect::<Vec<_>>(), [[10.0, 28.0], [1.0, 3.0]]);
    let means: Vec<f64> = report.overall.iter().map(|overall| overall.mean.value).collect();
    assert!(
        (means[0] - (4.0 / 18.0 + 0.5) / 2.0).abs() < 1e-12 && (means[1] - (14.0 / 18.0 + 0.5) / 2.0).abs() < 1e-12
    );
    assert!((report.comparisons[0].improvement.value - 0.75).abs() < 1e-12);
    assert!(report.summary[0].ends_with("5 seeds each on 2 tasks."), "{}", report.summary[0]);
    let message = compare(&read_all(&[root.path()]), &Options { threshold: Some(1.0), ..quick() }).unwrap_err();
    assert!(message.to_string().starts_with("a threshold is a return of one task"), "{message}");
}

#[test]
fn reports_are_deterministic_and_their_numbers_are_json() {
    let report = || compare(&read_all(&[&committed().join("inverted-pendulum-small")]), &quick()).unwrap();
    let (first, second) = (report(), report());
    assert!(first.json() == second.json() && first.html() == second.html() && first.csv() == second.csv());
    let json: serde_json::Value = serde_json::from_str(&first.json()).unwrap();
    assert_eq!(json["groups"], serde_json::json!(["mle", "sac", "vagram"]));
    assert_eq!(json["tasks"][0]["groups"][2]["seeds"].as_array().unwrap().len(), 5);
    assert_eq!(json["runs"][0]["evaluations"][0][0], 500);
}

#[test]
fn a_name_has_no_key_that_does_not_distinguish_it() {
    let root = tempfile::tempdir().unwrap();
    let write = |loss, seed, config| Folder { task: "T", loss, seed, config, points: &CURVE }.write(root.path());
    write("mle", 0, "[agent]\nlr = 0.1\nnorm = true");
    write("mle", 1, "[agent]\nlr = 0.1\nnorm = false");
    write("mse", 2, "[agent]\nlr = 0.1\nnorm = true");
    write("mse", 3, "[agent]\nlr = 0.2\nnorm = true");
    write("vagram", 4, "[agent]\nlr = 0.3\nnorm = true");
    let groups = report(root.path(), &quick()).groups;
    assert_eq!(groups, ["mle, norm=true", "mle, norm=false", "mse, lr=0.1", "mse, lr=0.2", "vagram"]);
}

#[test]
fn a_group_without_a_common_task_is_named_in_a_note() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "A", "mle", &CURVE, &TEN);
    write_group(root.path(), "A", "mse", &CURVE, &TEN[..3]);
    write_group(root.path(), "B", "vagram", &CURVE, &TEN);
    let report = report(root.path(), &quick());
    assert_eq!(report.summary, ["No order can be claimed: 3 to 10 seeds a group; at least 5 are needed."]);
    let want = "not compared with `mle`, because they have no task in common with it: `vagram`";
    assert!(report.notes.iter().any(|note| note == want), "{:?}", report.notes);
    let alone = Options { baseline: Some("vagram".into()), ..quick() };
    let summary = compare(&read_all(&[root.path()]), &alone).unwrap().summary;
    assert_eq!(summary, ["No order can be claimed: no group has a task in common with `vagram`."]);
}
