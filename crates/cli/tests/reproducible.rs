//! The same seed gives the same bytes: in two runs, when a run is extended, with other intervals, and with other
//! numbers of threads.

mod common;

use std::fs;

use common::{Place, VARIANTS, arrays, assert_equal_outcomes, checkpoints, outcome};

#[test]
fn the_same_seed_twice_is_the_same_run_to_the_byte() {
    for overrides in VARIANTS {
        let place = Place::new();
        let [one, other] = ["one", "other"].map(|name| {
            place.train(name, overrides);
            place.path(name)
        });
        assert_equal_outcomes(&one, &other, &format!("{overrides:?}"));
        let pairs = checkpoints(&one).into_iter().zip(checkpoints(&other));
        let states =
            pairs.map(|pair| <[_; 2]>::from(pair).map(|path| fs::read(path.join("state.safetensors")).unwrap()));
        assert_eq!(states.filter(|[one, other]| one == other).count(), 2);
    }
}

#[test]
fn another_seed_is_another_run() {
    let place = Place::new();
    place.train("one", &[]);
    place.train("other", &["seed=8"]);
    let (one, other) = (outcome(&place.path("one")), outcome(&place.path("other")));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
}

#[test]
fn every_loss_is_another_run() {
    let place = Place::new();
    let outcomes: Vec<_> = VARIANTS
        .iter()
        .enumerate()
        .map(|(i, overrides)| {
            place.train(&i.to_string(), overrides);
            outcome(&place.path(&i.to_string()))
        })
        .collect();
    for (i, one) in outcomes.iter().enumerate() {
        assert!(outcomes[..i].iter().all(|other| one[1] != other[1]), "{:?}", VARIANTS[i]);
    }
}

#[test]
fn a_run_that_ended_early_and_was_extended_is_one_that_was_not_cut() {
    for overrides in VARIANTS {
        let place = Place::new();
        place.train("whole", overrides);
        place.train("cut", &[overrides, &["training.env_steps=80"]].concat());
        place.succeeds(&["resume", "cut", "training.env_steps=120"]);
        assert_equal_outcomes(&place.path("whole"), &place.path("cut"), &format!("{overrides:?}"));
    }
}

#[test]
fn evaluating_logging_and_saving_at_other_times_changes_nothing_of_the_training() {
    for overrides in VARIANTS {
        let place = Place::new();
        place.train("one", overrides);
        let clocks = ["training.eval_every=7", "training.eval_episodes=1", "training.log_every=3"];
        place.train("other", &[overrides, &clocks, &["training.checkpoint_every=13"]].concat());
        let [mut one, mut other] = ["one", "other"].map(|name| arrays(&outcome(&place.path(name))[2]));
        assert!(one.remove("evaluations").unwrap() != other.remove("evaluations").unwrap());
        assert!(one.len() > 20 && one.keys().eq(other.keys()), "{:?}", one.keys());
        let different: Vec<_> = one.keys().filter(|name| one[*name] != other[*name]).collect();
        assert!(different.is_empty(), "{overrides:?}: {different:?}");
    }
}

/// Flex distributes a matrix product to threads from 192³ multiplications on, and a batch of products from 128³
/// (burn-flex 0.22.1, `ops/matmul.rs`). In this test the agent's products have 256³, the rollouts' 2,000 · 200².
#[test]
fn the_number_of_threads_changes_nothing() {
    let bigger = [
        "training.env_steps=60",
        "training.eval_every=60",
        "agent.hidden=[256, 256]",
        "agent.batch=256",
        "model.ensemble.hidden=[200, 200]",
        "rollout.starts_per_step=100",
    ];
    for overrides in VARIANTS {
        let place = Place::new();
        for threads in ["threads=1", "threads=2", "threads=5"] {
            place.train(threads, &[overrides, &bigger, &[threads]].concat());
            assert_equal_outcomes(&place.path("threads=1"), &place.path(threads), &format!("{overrides:?} {threads}"));
        }
    }
}

#[test]
fn environments_side_by_side_give_the_same_bytes_cut_or_not_and_on_any_number_of_threads() {
    for overrides in [VARIANTS[0], VARIANTS[3]] {
        let place = Place::new();
        let three = [overrides, &["env.count=3"]].concat();
        for threads in ["threads=1", "threads=2", "threads=5"] {
            place.train(threads, &[&three[..], &[threads]].concat());
            assert_equal_outcomes(&place.path("threads=1"), &place.path(threads), &format!("{overrides:?} {threads}"));
        }
        // One step after 80, where an evaluation is due.
        place.train("cut", &[&three[..], &["training.env_steps=81"]].concat());
        let message = place.refuses(&["resume", "cut", "env.count=2", "training.env_steps=120"]);
        assert!(message.starts_with("`env.count` is 2, but the run began with 3\nhint: "), "{message}");
        place.succeeds(&["resume", "cut", "training.env_steps=120"]);
        assert_equal_outcomes(&place.path("threads=1"), &place.path("cut"), &format!("{overrides:?} cut"));
    }
}
