//! The reference of keys and metrics: the committed pages are those of this program, and they have every number that
//! runs record.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::{Place, VARIANTS};
use foresee::metrics;
use serde_json::{Map, Value};

#[test]
fn the_committed_pages_are_those_of_this_program() {
    let place = Place::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (what, page) in [("keys", "config.md"), ("metrics", "metrics.md")] {
        let now = place.succeeds(&["list", what, "--markdown"]);
        let committed = fs::read_to_string(docs.join(page)).unwrap_or_default();
        assert!(
            committed == now,
            "docs/{page} is stale: `foresee list {what} --markdown > docs/{page}` writes it anew"
        );
    }
    let message = place.refuses(&["list", "losses", "--markdown"]);
    assert!(message.starts_with("`--markdown` is for `list keys` and `list metrics`\nhint: "), "{message}");
}

#[test]
fn keys_and_metrics_are_listed_a_line_each() {
    let place = Place::new();
    let keys = place.succeeds(&["list", "keys"]);
    for line in [
        "seed                     whole number ≥ 0; default 0",
        "env.id                   string; required",
        "training.updates_per_step whole number ≥ 0; unset by default",
        "agent.policy_noise       number; default 0.2 (with kind = td3)",
    ] {
        assert!(keys.lines().any(|found| found == line), "{line}\n{keys}");
    }
    let found = place.succeeds(&["list", "metrics"]);
    assert_eq!(found.lines().count(), metrics::all().count());
    assert!(
        found.contains("\ntrain/entropy            Mean entropy of the policy at the last update. [nats]\n"),
        "{found}"
    );
}

#[test]
fn check_explains_every_key_of_a_config() {
    let place = Place::new();
    let plain = place.succeeds(&["check", "tiny.toml"]);
    let explained = place.succeeds(&["check", "tiny.toml", "--explain"]);
    assert!(explained.contains("# Number of rows in a batch, real and imagined together.\n"), "{explained}");
    place.write("explained.toml", &explained);
    assert_eq!(place.succeeds(&["check", "explained.toml"]), plain);
}

#[test]
fn every_number_that_runs_record_is_in_the_reference_and_the_reference_has_no_other() {
    let place = Place::new();
    let mut recorded = BTreeSet::new();
    // A task whose episodes end, so that the ends can be learned.
    let learned_ends = ["env.id=CartPoleContinuous-v0", "model.termination=learned", "model.fit.holdout=0.5"];
    for (at, variant) in VARIANTS.iter().copied().chain([&learned_ends[..]]).enumerate() {
        let run = format!("run-{at}");
        // Some numbers are recorded with distractors or with repeated actions only.
        place.train(&run, &[&["env.distractors=1", "env.action_repeat=2"], variant].concat());
        for file in ["metrics.jsonl", "timing.jsonl"] {
            for line in place.read(&format!("{run}/{file}")).lines() {
                let record: Map<String, Value> = serde_json::from_str(line).unwrap();
                recorded.extend(record.into_iter().map(|(name, _)| name).filter(|name| name.contains('/')));
            }
        }
    }
    let unknown: Vec<_> = recorded.iter().filter(|name| !metrics::all().any(|metric| metric.has_name(name))).collect();
    assert!(unknown.is_empty(), "not in the reference: {unknown:?}");
    // Only recorded for a task whose termination rule is in the config; `environments.rs` has such runs.
    let of_given_rules = "env/termination";
    let never: Vec<_> = metrics::all()
        .filter(|metric| !recorded.iter().any(|name| metric.has_name(name)))
        .filter(|metric| !metric.name.starts_with(of_given_rules))
        .map(|metric| metric.name)
        .collect();
    assert_eq!(never, [""; 0], "in the reference, but no run recorded it");
}
