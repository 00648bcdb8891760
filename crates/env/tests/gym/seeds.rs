//! 64-bit seeds, as a run gives them: Python gets their lowest 31 bits. Older kinds of generators.

use foresee_core::{Array, state::Data};
use foresee_env::numpy_random::NumpyRng;
use foresee_env::{BridgeError, EnvError, check_environment, make, make_unscaled};
use serde_json::json;

use crate::common::{FAULTY, built, faulty, play, python_runs};

const LARGE: [u64; 3] = [u64::MAX, 1 << 31, 0x9e37_79b9_7f4a_7c15];

#[test]
fn python_is_given_the_lowest_31_bits_of_a_seed() {
    if !python_runs("the bits of a seed", FAULTY) {
        return;
    }
    for id in [FAULTY, "gym:Pendulum-v1"] {
        let [mut whole, mut low] = [(); 2].map(|()| make_unscaled(id).unwrap());
        for seed in LARGE.into_iter().chain([0, 1, 7, (1 << 31) - 1]) {
            let of_python = seed % (1 << 31);
            let first = whole.reset(Some(seed)).unwrap();
            assert_eq!(first, low.reset(Some(of_python)).unwrap(), "{id}, {seed}");
            assert_eq!(whole.save(), low.save());
            assert_eq!(whole.save().u64s("inner.seed").unwrap().1, [of_python]);
        }
    }
}

#[test]
fn environments_that_take_small_seeds_alone_are_played_and_keep_what_an_environment_promises() {
    if !python_runs("small seeds", FAULTY) {
        return;
    }
    for fault in ["older generator", "signed seeds"] {
        let config = faulty(json!({ "fault": fault }));
        let mut env = built(&config);
        for seed in LARGE {
            env.reset(Some(seed)).unwrap_or_else(|error| panic!("{fault}, {seed}: {error}"));
            play(env.as_mut(), 0, 3);
        }
        check_environment(|| config.make(0)).unwrap_or_else(|failure| panic!("{fault}: {failure}"));
    }
}

#[test]
fn the_older_generator_has_a_way_back_behind_a_reset_without_a_seed() {
    if !python_runs("the older generator", FAULTY) {
        return;
    }
    let config = faulty(json!({ "fault": "older generator" }));
    let mut env = built(&config);
    env.reset(Some(5)).unwrap();
    // A Gaussian number is left over after some of the episodes but not after others.
    for steps in [0, 1, 29, 30, 31, 64, 65] {
        play(env.as_mut(), 0, steps);
        let saved = env.save();
        let future = play(env.as_mut(), 100, 70);
        let mut other = built(&config);
        other.restore(saved.clone()).unwrap();
        assert_eq!(other.save(), saved, "{steps}");
        assert_eq!(play(other.as_mut(), 100, 70), future, "{steps}");
    }
}

/// Restores a state as it was saved when Python got whole seeds.
#[test]
fn a_state_with_a_whole_seed_in_it_leads_where_it_led() {
    if !python_runs("states with whole seeds", FAULTY) {
        return;
    }
    for seed in LARGE {
        // The draws of a reset in the environment without a fault: the wind, and its first observation.
        let mut rng = NumpyRng::from_seed(seed);
        rng.standard_normal();
        let obs = [rng.standard_normal(), rng.standard_normal()];
        let mut old = make(FAULTY).unwrap();
        old.reset(Some(0)).unwrap();
        let mut state = old.save();
        for (name, array) in [
            ("seed", Array::from(vec![seed])),
            ("obs", obs.to_vec().into()),
            ("actions", Array::new(vec![0, 2], Data::F32(vec![]))),
        ] {
            let path = state.iter().map(|(path, _)| path).find(|path| path.ends_with(&format!(".{name}")));
            let path = path.expect("an array of the bridge").to_owned();
            state.take(&path).unwrap();
            state.put(&path, array);
        }
        old.restore(state.clone()).unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert_eq!(old.save(), state);
        let played = play(old.as_mut(), 0, 40);

        // A whole seed differs from the seed of its lowest bits.
        let mut new = make(FAULTY).unwrap();
        new.reset(Some(seed)).unwrap();
        assert_ne!(play(new.as_mut(), 0, 40), played);
        let path = state.iter().map(|(path, _)| path).find(|path| path.ends_with(".seed")).unwrap().to_owned();
        state.take(&path).unwrap();
        state.put(&path, vec![seed % (1 << 31)]);
        let error = old.restore(state).unwrap_err();
        assert!(matches!(error, EnvError::Bridge(BridgeError::NotReproducible { .. })), "{error}");
    }
}
