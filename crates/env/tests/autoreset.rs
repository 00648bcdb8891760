//! A vector of environments against `SyncVectorEnv`: the steps around the ends of episodes, as `autoreset/record.py`
//! recorded them from Gymnasium.

use foresee_env::classic::MountainCarContinuous;
use foresee_env::wrappers::{EnforceOrder, TimeLimit};
use foresee_env::{Autoreset, Environment, VectorEnvironment};
use serde_json::Value;

/// The values of `record.py`.
const LIMITS: [u32; 3] = [999, 50, 109];
const SEEDS: [Option<u64>; 3] = [Some(3), Some(4), Some(3)];
const STEPS: u64 = 260;

/// Exact to the last bit where `cos` is the same. Elsewhere a car that is slightly off follows the same path.
const TOLERANCE: f64 =
    if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) { 0.0 } else { 1e-4 };

fn vector(autoreset: Autoreset) -> VectorEnvironment {
    let car = |limit| -> Box<dyn Environment> {
        Box::new(EnforceOrder::new(Box::new(TimeLimit::new(Box::new(MountainCarContinuous::new()), limit))))
    };
    VectorEnvironment::from_envs(LIMITS.map(car).into(), autoreset).expect("no threads are needed")
}

fn close(got: &[f32], want: &Value) -> bool {
    let want: Vec<f64> = want.as_array().expect("numbers").iter().map(|x| x.as_f64().expect("a number")).collect();
    got.len() == want.len() && got.iter().zip(want).all(|(&got, want)| (f64::from(got) - want).abs() <= TOLERANCE)
}

#[test]
fn the_three_modes_give_what_gymnasium_gives_around_the_ends_of_episodes() {
    let recorded: Value = serde_json::from_str(include_str!("autoreset/recorded.json")).expect("JSON");
    for (name, autoreset) in
        [("NEXT_STEP", Autoreset::NextStep), ("SAME_STEP", Autoreset::SameStep), ("DISABLED", Autoreset::Disabled)]
    {
        let mut rows = recorded[name].as_array().expect("rows").iter().peekable();
        let mut envs = vector(autoreset);
        let mut obs: Vec<Vec<f32>> = envs.reset(&SEEDS).unwrap().into_iter().map(|reset| reset.obs).collect();
        for t in 1..=STEPS {
            let actions: Vec<f32> = obs.iter().map(|obs| if obs[1] >= 0.0 { 0.9 } else { -0.7 }).collect();
            let steps = envs.step(&actions).unwrap();
            let over: Vec<bool> = steps.iter().map(|s| s.step.terminated || s.step.truncated).collect();
            for (i, taken) in steps.iter().enumerate() {
                let Some(row) = rows.next_if(|row| row[0] == t && row[1] == i) else {
                    assert!(!over[i] && taken.last.is_none(), "{name}, step {t}, environment {i}: {taken:?}");
                    continue;
                };
                let step = &taken.step;
                let reward = (step.reward - row[3].as_f64().expect("a reward")).abs() <= TOLERANCE;
                let flags = row[4] == step.terminated && row[5] == step.truncated;
                let last = match &taken.last {
                    Some(last) => !row[6].is_null() && close(&last.obs, &row[6]),
                    None => row[6].is_null(),
                };
                assert!(close(&step.obs, &row[2]) && reward && flags && last, "{name}: {taken:?}, recorded {row}");
            }
            obs = steps.into_iter().map(|taken| taken.step.obs).collect();
            if autoreset == Autoreset::Disabled && over.contains(&true) {
                let resets = envs.reset_where(&over, &[None; 3]).unwrap();
                for (obs, reset) in obs.iter_mut().zip(resets) {
                    *obs = reset.map_or(std::mem::take(obs), |reset| reset.obs);
                }
            }
        }
        assert_eq!(rows.next(), None, "{name}: an end that did not come");
    }
}
