//! Replays of recorded episodes of Gymnasium.

#[path = "../recorded/mod.rs"]
mod recorded;

use foresee_env::make_unscaled;
use foresee_env::test_support::{MUJOCO_VERSION, mujoco_available};
use recorded::{numbers, trace};

use super::{IDS, assert_bits, physics};

/// Replays a file from its seed. Every reset after the first continues the generator, as in the recording.
fn replay(id: &str) {
    let (header, lines) = trace(id);
    assert_eq!((header["env_id"].as_str(), header["mujoco"].as_str()), (Some(id), Some(MUJOCO_VERSION)));
    let mut env = make_unscaled(id).unwrap();
    assert_eq!(env.spec().observation_space.dim() as u64, header["obs_shape"][0].as_u64().unwrap());
    assert_eq!(env.spec().max_episode_steps.map(u64::from), header["max_episode_steps"].as_u64());
    let bounds = |key: &str| numbers(&header[key]).into_iter().map(|x| x as f32).collect::<Vec<_>>();
    assert_eq!(env.spec().action_space.low, bounds("act_low"));
    assert_eq!(env.spec().action_space.high, bounds("act_high"));

    let mut seed = header["seed"].as_u64();
    let mut steps = 0;
    for line in &lines {
        let place = format!("{id}, episode {}, step {}", line["episode"], line["t"]);
        let obs = if line["kind"] == "reset" {
            env.reset(seed.take()).unwrap().obs
        } else {
            let action: Vec<f32> = numbers(&line["action"]).into_iter().map(|x| x as f32).collect();
            let step = env.step(&action).unwrap();
            let reward = line["reward"].as_f64().unwrap();
            // numpy's |tip − target| comes from a BLAS whose last bit depends on the processor.
            let bound = if id == "Reacher-v5" { f64::EPSILON * reward.abs() } else { 0.0 };
            assert!((step.reward - reward).abs() <= bound, "{place}: reward {:?}, recorded {reward:?}", step.reward);
            assert_eq!(Some(step.terminated), line["terminated"].as_bool(), "{place}, terminated");
            assert_eq!(Some(step.truncated), line["truncated"].as_bool(), "{place}, truncated");
            let info = line["info"].as_object().unwrap();
            assert_eq!(step.info.keys().collect::<Vec<_>>(), info.keys().collect::<Vec<_>>(), "{place}");
            for (name, value) in &step.info {
                let want = info[name].as_f64().unwrap();
                let bound =
                    if ["reward_dist", "distance_from_origin"].contains(&name.as_str()) { f64::EPSILON } else { 0.0 };
                assert!((value - want).abs() <= bound * want.abs(), "{place}: {name} {value:?}, recorded {want:?}");
            }
            steps += 1;
            step.obs
        };
        let want: Vec<f32> = numbers(&line["obs"]).into_iter().map(|x| x as f32).collect();
        assert_eq!(obs, want, "{place}, obs");
        let [qpos, qvel] = physics(env.as_ref());
        assert_bits(&format!("{place}, qpos"), &qpos, &numbers(&line["qpos"]));
        assert_bits(&format!("{place}, qvel"), &qvel, &numbers(&line["qvel"]));
    }
    assert_eq!(steps, 200, "{id}");
}

#[test]
fn recorded_episodes_of_gymnasium_are_replayed_to_the_last_bit() {
    if mujoco_available("recorded_episodes_of_gymnasium_are_replayed_to_the_last_bit") {
        for id in IDS {
            replay(id);
        }
    }
}
