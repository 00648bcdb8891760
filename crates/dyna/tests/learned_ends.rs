//! Tests of runs that learn where episodes end, `model.termination = "learned"`.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use common::{differing, numbers, reported, tiny_of, whole};
use foresee_core::{State, Termination};
use foresee_dyna::{Config, Run, metrics};
use foresee_world_model::config::TerminationSource;

/// A tiny run on a task whose episodes end early, with and without a learned end.
fn config(kind: &'static str, termination: TerminationSource) -> Config {
    let mut config = tiny_of(Some(kind));
    config.env.id = "CartPoleContinuous-v0".into();
    config.model.termination = termination;
    config
}

fn snapshot(run: &Run) -> State {
    run.snapshot().expect("a device that answers")
}

#[test]
fn a_run_cut_after_every_slice_goes_on_bit_for_bit_and_reports_the_errors() {
    for kind in ["mse", "dhmbpo mle"] {
        let config = config(kind, TerminationSource::Learned);
        let (records, state) = whole(&config);
        assert_eq!(numbers(&state, "ends.trained"), [1.0], "{kind}");
        let fits = numbers(&state, "counters.fits")[0] as usize;
        let losses = reported(&records, metrics::ENDS_LOG_LOSS);
        assert_eq!(losses.len(), fits, "{kind}: one a fit");
        assert!(losses.iter().all(|&(_, loss)| loss > 0.0 && loss.is_finite()), "{kind}: {losses:?}");
        for name in [metrics::ENDS_MISSED, metrics::ENDS_INVENTED] {
            assert!(reported(&records, name).iter().all(|&(_, share)| (0.0..=1.0).contains(&share)), "{kind}: {name}");
        }
        // The rule of the task is not compared with real ends: no imagined episode ends by it.
        assert!(reported(&records, metrics::TERMINATION_MISMATCH).is_empty(), "{kind}");

        let mut run = Run::new(&config).expect("a possible configuration");
        let mut cut_records = Vec::new();
        while !run.is_done() {
            run = Run::restore(&config, snapshot(&run)).expect("its own state");
            run.advance(&mut cut_records).expect("a tiny run goes well");
        }
        assert_eq!(cut_records, records, "{kind}");
        assert_eq!(differing(&snapshot(&run), &state), [""; 0], "{kind}");
    }
}

/// The classifier has random streams of its own: up to the first rollouts, everything else is as without it.
#[test]
fn a_learned_end_changes_no_other_number_before_it_ends_an_imagined_episode() {
    for kind in ["mse", "dhmbpo mle"] {
        let [rule, learned] = [TerminationSource::Rule, TerminationSource::Learned].map(|termination| {
            let mut run = Run::new(&config(kind, termination)).expect("a possible configuration");
            while run.phase() != "imagine" {
                run.advance(&mut Vec::new()).expect("a tiny run goes well");
            }
            snapshot(&run)
        });
        assert!(!rule.iter().any(|(name, _)| name.starts_with("ends.")), "{kind}: a state with a classifier");
        let without = |state: &State| -> State {
            let kept = state.iter().filter(|(name, _)| !name.starts_with("ends.") && *name != "model_fingerprint");
            kept.map(|(name, array)| (name.to_owned(), array.clone())).collect()
        };
        assert_eq!(differing(&without(&learned), &without(&rule)), [""; 0], "{kind}");
    }
}

#[test]
fn a_run_goes_on_with_a_learned_end_that_it_did_not_have_and_with_the_rule_again() {
    let [rule, learned] =
        [TerminationSource::Rule, TerminationSource::Learned].map(|termination| config("mse", termination));
    let mut run = Run::new(&rule).expect("a possible configuration");
    while run.phase() != "imagine" {
        run.advance(&mut Vec::new()).expect("a tiny run goes well");
    }
    let mut run = Run::restore(&learned, snapshot(&run)).expect("a state without a classifier");
    let records = common::finish(&mut run);
    assert!(!reported(&records, metrics::ENDS_LOG_LOSS).is_empty(), "it learns at the next fit");
    Run::restore(&rule, snapshot(&run)).expect("a state with a classifier that is not needed");
}

#[test]
fn a_config_without_the_key_is_written_without_it_and_two_rules_are_refused() {
    let rule = config("mse", TerminationSource::Rule);
    assert!(!toml::to_string(&rule.model).unwrap().contains("termination"));
    let learned = config("mse", TerminationSource::Learned);
    assert!(toml::to_string(&learned.model).unwrap().contains("termination = \"learned\"\n"));
    let mut both = learned;
    assert_eq!(both.problem(), None);
    both.env.termination = Some(Termination::never());
    let message =
        "`model.termination` is `learned`, but `env.termination` sets a rule\nhint: remove one of the two keys";
    assert_eq!(both.problem().unwrap(), message);
}
