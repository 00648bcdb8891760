//! `foresee study`: its list, its files, and what it refuses.

mod common;

use common::{Place, text};

#[test]
fn studies_are_listed_with_their_parameters() {
    let stdout = Place::new().succeeds(&["study", "list"]);
    for line in ["simulation-lemma (seeds: smoke 10, quick 100, report 1000)\n", "    gamma=0.95 "] {
        assert!(stdout.contains(line), "{stdout}");
    }
}

#[test]
fn a_study_writes_a_verdict_and_a_figure_that_threads_do_not_change() {
    let mut place = Place::new();
    let run = |place: &Place, out: &str| {
        let arguments = ["study", "run", "simulation-lemma", "states=5", "branching=3", "draws=20", "--tier", "smoke"];
        let stdout = place.succeeds(&[&arguments[..], &["--out", out]].concat());
        assert!(stdout.starts_with("simulation-lemma: "), "{stdout}");
        assert!(
            stdout.contains("policy_violations = 0.0000 [0.0000, 0.0000]; expected at most 0: supported\n"),
            "{stdout}"
        );
        ["verdict.json", "figure.svg"]
            .map(|file| std::fs::read_to_string(place.path(&format!("{out}/simulation-lemma/{file}"))).unwrap())
    };
    let first = run(&place, "a");
    place.with("RAYON_NUM_THREADS", "1");
    assert_eq!(first, run(&place, "b"));
    let verdict: serde_json::Value = serde_json::from_str(&first[0]).unwrap();
    assert_eq!(verdict["parameters"]["states"], 5.0);
    assert_eq!(verdict["tier"], "smoke");
    assert_eq!(verdict["seeds"].as_array().unwrap().len(), 10);
    assert!(first[1].starts_with("<svg "));
}

#[test]
fn mistakes_of_the_user_are_refused() {
    let place = Place::new();
    for (arguments, message) in [
        (&["simulation-lema"][..], "there is no study `simulation-lema`\nhint: did you mean `simulation-lemma`?"),
        (
            &["simulation-lemma", "--tier", "fast"],
            "there is no tier `fast`\nhint: the tiers are smoke, quick and report",
        ),
        (
            &["simulation-lemma", "gama=0.9"],
            "the study `simulation-lemma` has no parameter `gama`\nhint: did you mean `gamma`?",
        ),
        (
            &["simulation-lemma", "gamma=1"],
            "gamma=1 is not a value that the study accepts\nhint: gamma (discount) is a number from 0 to 0.999",
        ),
        (
            &["simulation-lemma", "states=3"],
            "branching=5 is more than states=3\nhint: lower branching to 3, or raise states",
        ),
    ] {
        assert_eq!(place.refuses(&[&["study", "run"], arguments].concat()), message);
    }
}

#[test]
fn all_studies_take_no_parameters() {
    let output = Place::new().run(&["study", "run", "--all", "gamma=0.9"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
