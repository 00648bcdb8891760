//! The recorded episodes of Gymnasium, replayed through Python from the file's seed alone, bit for bit: observations in f64,
//! rewards, flags and info scalars. `assets/env_traces/README.md` describes the origin of the files.
//!
//! Python gets OPENBLAS_CORETYPE=Haswell. numpy computes norms and products with OpenBLAS, whose kernels for AVX-512
//! round in another order, which changes distances (a part of Reacher's rewards) by one unit in the last place. The
//! recordings were made with the kernels for AVX2.

#[path = "../recorded/mod.rs"]
mod recorded;

use crate::common::{built, play, python_runs, script};
use foresee_env::{EnvConfig, Environment, Info, gym};
use recorded::{numbers, trace};

/// The packages that must have the versions of the recordings; under other versions the numbers may differ.
const VERSIONS: [&str; 3] = ["gymnasium", "mujoco", "numpy"];

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Returns the last observation in f64 as Python gave it, from the saved state.
fn exact_obs(env: &dyn Environment) -> Vec<f64> {
    env.save().f64s("obs").unwrap().1
}

fn replay(id: &str) {
    let gym_id = format!("gym:{id}");
    if !python_runs(&format!("the traces of {id}"), &gym_id) {
        return;
    }
    let (header, lines) = trace(id);
    let python = script(
        &format!("python-{id}"),
        "export OPENBLAS_CORETYPE=Haswell\nexec \"${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/}python3\" \"$@\"",
    );
    let mut config = EnvConfig::new(&gym_id);
    config.gym.python = Some(python);
    let mut env = gym::make(&config).unwrap();
    let spec = env.spec().clone();
    for (name, version) in VERSIONS.iter().filter_map(|name| Some((name, spec.versions.get(*name)?))) {
        assert_eq!(header[*name], **version, "{name}: the recordings need their own version of it");
    }
    assert_eq!(spec.id, gym_id);
    assert_eq!(spec.max_episode_steps.map(u64::from), header["max_episode_steps"].as_u64());
    for (ends, recorded) in [(&spec.action_space.low, "act_low"), (&spec.action_space.high, "act_high")] {
        assert_eq!(ends.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), numbers(&header[recorded]));
    }

    let seed = header["seed"].as_u64().expect("a seed");
    let mut steps = 0;
    for line in lines {
        let place = format!("{id}, episode {}, step {}", line["episode"], line["t"]);
        let recorded = numbers(&line["obs"]);
        let obs = if line["kind"] == "reset" {
            env.reset((line["episode"] == 0).then_some(seed)).unwrap().obs
        } else {
            let action: Vec<f32> = numbers(&line["action"]).into_iter().map(|x| x as f32).collect();
            let step = env.step(&action).unwrap();
            let info: Info =
                line["info"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_f64().unwrap())).collect();
            assert_eq!(step.reward.to_bits(), line["reward"].as_f64().unwrap().to_bits(), "{place}, reward");
            assert_eq!(step.terminated, line["terminated"], "{place}, terminated");
            assert_eq!(step.truncated, line["truncated"], "{place}, truncated");
            for (name, value) in info {
                assert_eq!(step.info.get(&name).map(|x| x.to_bits()), Some(value.to_bits()), "{place}, info {name}");
            }
            if spec.termination.is_some() {
                assert_eq!(spec.terminates(&[], &step.obs), step.terminated, "{place}, the rule for imagined states");
            }
            steps += 1;
            step.obs
        };
        assert_eq!(bits(&exact_obs(env.as_ref())), bits(&recorded), "{place}, obs");
        assert_eq!(obs, recorded.iter().map(|&x| x as f32).collect::<Vec<_>>(), "{place}, obs in f32");
    }
    assert!(steps > 0, "{id}: a trace without steps");
    // The file to which MuJoCo would write its warnings; the model of HalfCheetah causes one.
    assert!(!std::path::Path::new("MUJOCO_LOG.TXT").exists());
}

macro_rules! replays {
    ($($test:ident: $id:literal)*) => {
        $(#[test]
        fn $test() {
            replay($id);
        })*
    };
}

replays! {
    pendulum: "Pendulum-v1"
    mountain_car: "MountainCarContinuous-v0"
    inverted_pendulum: "InvertedPendulum-v5"
    inverted_double_pendulum: "InvertedDoublePendulum-v5"
    reacher: "Reacher-v5"
    swimmer: "Swimmer-v5"
    hopper: "Hopper-v5"
    walker: "Walker2d-v5"
    half_cheetah: "HalfCheetah-v5"
    ant: "Ant-v5"
    humanoid: "Humanoid-v5"
}

#[test]
fn truncated_ant_and_humanoid_are_the_first_entries_of_the_whole_ones() {
    for (id, all, entries) in [("gym:Ant-v5", 105, 27), ("gym:Humanoid-v5", 348, 45)] {
        if !python_runs("MBPO's truncated observations", id) {
            continue;
        }
        let whole = EnvConfig::new(id);
        let [mut whole, mut truncated] =
            [whole.clone(), EnvConfig { first_entries: Some(entries), ..whole }].map(|config| built(&config));
        let dims = [&whole, &truncated].map(|env| env.spec().observation_space.dim());
        assert_eq!(dims, [all, entries]);
        assert!(whole.spec().termination.is_some());
        assert_eq!(whole.spec().termination, truncated.spec().termination);
        assert_eq!(whole.reset(Some(5)).unwrap().obs[..entries], truncated.reset(Some(5)).unwrap().obs[..]);
        for (want, got) in play(whole.as_mut(), 0, 40).iter().zip(play(truncated.as_mut(), 0, 40)) {
            assert_eq!(
                (&want.obs[..entries], want.reward, want.terminated),
                (&got.obs[..], got.reward, got.terminated)
            );
        }
    }
}
