//! Replays of recorded episodes of Gymnasium. Shapes come from the header of each file.
//!
//! On x86-64 Linux with glibc the match is exact to the last bit. Elsewhere `sin` and `pow` may differ in the last
//! place. There each step starts from the recorded state, with a tolerance of 1e-9.

mod recorded;

use foresee_core::{Array, State};
use foresee_env::{Environment, Reset, make, make_unscaled};
use recorded::{numbers, trace};

const EXACT: bool = cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"));
const TOLERANCE: f64 = 1e-9;

/// Returns the task's own state, at any depth of wrappers.
fn physics(env: &dyn Environment) -> Vec<f64> {
    let mut state = env.save();
    let path = physics_path(&state);
    state.f64s(&path).expect("physics in f64").1
}

fn physics_path(state: &State) -> String {
    let path = state.iter().map(|(path, _)| path).find(|path| path.ends_with("physics"));
    path.expect("a saved state with `physics`").to_owned()
}

fn set_physics(env: &mut dyn Environment, values: Vec<f64>) {
    let mut state = env.save();
    let path = physics_path(&state);
    state.take(&path).expect("physics");
    state.put(&path, Array::from(values));
    env.restore(state).expect("a recorded state");
}

#[track_caller]
fn assert_same(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        let same = if EXACT { got.to_bits() == want.to_bits() } else { (got - want).abs() <= TOLERANCE };
        assert!(same, "{what}: {got:?}, recorded {want:?}");
    }
}

/// Compares observations, which are f32 on both sides. Where `sin` differs in the last place, one may round to the
/// neighbouring number.
#[track_caller]
fn assert_same_obs(what: &str, got: &[f32], want: &[f64]) {
    if EXACT {
        assert_same(what, &got.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), want);
    } else {
        assert_eq!(got.len(), want.len(), "{what}");
        for (&got, &want) in got.iter().zip(want) {
            let bound = TOLERANCE + f64::from(f32::EPSILON) * want.abs();
            assert!((f64::from(got) - want).abs() <= bound, "{what}: {got:?}, recorded {want:?}");
        }
    }
}

/// Replays a file. `scale` converts a recorded action to the environment's own units.
fn replay(id: &str, env: &mut dyn Environment, scale: impl Fn(f32) -> f32) {
    let (header, lines) = trace(id);
    let obs_dim = header["obs_shape"][0].as_u64().expect("a shape") as usize;
    assert_eq!(env.spec().observation_space.dim(), obs_dim);
    assert_eq!(env.spec().action_space.dim(), numbers(&header["act_low"]).len());
    assert_eq!(env.spec().max_episode_steps.map(u64::from), header["max_episode_steps"].as_u64());

    let mut before = Vec::new();
    let mut steps = 0;
    for line in &lines {
        let recorded = numbers(&line["state"]);
        let place = format!("{id}, episode {}, step {}", line["episode"], line["t"]);
        if line["kind"] == "reset" {
            env.reset(Some(0)).expect("a reset");
            set_physics(env, recorded.clone());
        } else {
            if !EXACT {
                set_physics(env, before);
            }
            let action: Vec<f32> = numbers(&line["action"]).into_iter().map(|x| scale(x as f32)).collect();
            let step = env.step(&action).expect("a step");
            assert_same_obs(&format!("{place}, obs"), &step.obs, &numbers(&line["obs"]));
            assert_same(&format!("{place}, reward"), &[step.reward], &[line["reward"].as_f64().expect("a reward")]);
            assert_same(&format!("{place}, state"), &physics(env), &recorded);
            assert_eq!(Some(step.terminated), line["terminated"].as_bool(), "{place}, terminated");
            assert_eq!(Some(step.truncated), line["truncated"].as_bool(), "{place}, truncated");
            steps += 1;
        }
        before = recorded;
    }
    assert!(steps > 0, "{id}: a trace without steps");
}

#[test]
fn pendulum_replays_the_recorded_traces_of_gymnasium() {
    replay("Pendulum-v1", make_unscaled("Pendulum-v1").unwrap().as_mut(), |torque| torque);
}

#[test]
fn pendulum_replays_the_traces_through_rescaled_actions() {
    // Halving is exact in f32 except for subnormals, so the rescaled environment must give the same bits.
    replay("Pendulum-v1", make("Pendulum-v1").unwrap().as_mut(), |torque| torque / 2.0);
}

#[test]
fn mountain_car_replays_the_recorded_traces_of_gymnasium() {
    let id = "MountainCarContinuous-v0";
    replay(id, make_unscaled(id).unwrap().as_mut(), |force| force);
    replay(id, make(id).unwrap().as_mut(), |force| force);
}

#[test]
fn mountain_car_reaches_the_goal_in_the_step_in_which_gymnasiums_does() {
    // Recorded from `env.reset(seed=3)`, then `env.step(np.float32([0.9 if obs[1] >= 0 else -0.7]))` until the end: the
    // number of steps, the last observation and reward, and the sum of the rewards.
    let mut env = make("MountainCarContinuous-v0").unwrap();
    let mut obs = env.reset(Some(3)).unwrap().obs;
    let mut rewards = Vec::new();
    loop {
        let step = env.step(&[if obs[1] >= 0.0 { 0.9 } else { -0.7 }]).unwrap();
        obs = step.obs;
        rewards.push(step.reward);
        assert!(!step.truncated, "no end after {} steps", rewards.len());
        if step.terminated {
            break;
        }
    }
    assert_eq!(rewards.len(), 109);
    assert_same_obs("the last observation", &obs, &[0.4962180554866791, 0.059951044619083405]);
    assert_same("rewards", &[rewards[108], rewards.iter().sum()], &[99.91900000429153, 92.16300038647653]);
}

#[test]
fn tasks_reset_to_the_first_states_of_the_traces() {
    for id in ["Pendulum-v1", "MountainCarContinuous-v0"] {
        let (header, lines) = trace(id);
        let mut env = make(id).unwrap();
        let reset = env.reset(Some(header["seed"].as_u64().expect("a seed"))).unwrap();
        assert_same_obs("obs", &reset.obs, &numbers(&lines[0]["obs"]));
        assert_same("state", &physics(env.as_ref()), &numbers(&lines[0]["state"]));
    }
}

/// A seed, state and observation after `reset(seed=seed)`, and both after a second `reset()`.
type Resets<const O: usize> = (u64, [([f64; 2], [f32; O]); 2]);

/// Recorded from Gymnasium 1.4.0, numpy 2.4.6: `for seed in (0, 1, 42, 2**32 + 5, 2**63): env.reset(seed=seed);
/// env.reset()` on `env = gymnasium.make("Pendulum-v1")`, with `env.unwrapped.state.tolist()` and the observation after
/// each reset.
const PENDULUM_RESETS: [Resets<3>; 5] = [
    (
        0,
        [
            ([0.8605556614246863, -0.4604265724722594], [0.6520163, 0.758205, -0.46042657]),
            ([-2.8841484100105235, -0.9669447289429418], [-0.9670439, -0.25460985, -0.96694475]),
        ],
    ),
    (
        1,
        [
            ([0.07427745862364432, 0.9009273926518706], [0.9972427, 0.074209176, 0.90092736]),
            ([-2.2358110930610913, 0.8972988942744877], [-0.61707073, -0.7869077, 0.8972989]),
        ],
    ),
    (
        42,
        [
            ([1.721316619099806, -0.12224312049589536], [-0.14995256, 0.9886932, -0.12224312]),
            ([2.2531371815723604, 0.3947360581187278], [-0.6306115, 0.77609867, 0.39473605]),
        ],
    ),
    (
        (1 << 32) + 5,
        [
            ([1.7228756772923912, -0.058554633623813857], [-0.1514938, 0.9884582, -0.058554634]),
            ([1.2307525015356537, 0.6330752916859435], [0.3335284, 0.94274, 0.6330753]),
        ],
    ),
    (
        1 << 63,
        [
            ([1.956234424587855, 0.19290527300563154], [-0.37596512, 0.92663383, 0.19290528]),
            ([2.3138400219023305, -0.1497483977149301], [-0.67653245, 0.7364128, -0.1497484]),
        ],
    ),
];

/// The resets of `MountainCarContinuous-v0`, recorded in the same way as [`PENDULUM_RESETS`].
const MOUNTAIN_CAR_RESETS: [Resets<2>; 5] = [
    (0, [([-0.4726076625357092, 0.0], [-0.47260767, 0.0]), ([-0.5460426572472259, 0.0], [-0.5460427, 0.0])]),
    (1, [([-0.49763567505994866, 0.0], [-0.49763566, 0.0]), ([-0.409907260734813, 0.0], [-0.40990725, 0.0])]),
    (42, [([-0.44520879028880733, 0.0], [-0.4452088, 0.0]), ([-0.5122243120495895, 0.0], [-0.5122243, 0.0])]),
    (
        (1 << 32) + 5,
        [([-0.4451591639252238, 0.0], [-0.44515917, 0.0]), ([-0.5058554633623814, 0.0], [-0.50585544, 0.0])],
    ),
    (1 << 63, [([-0.43773112429606265, 0.0], [-0.43773112, 0.0]), ([-0.48070947269943687, 0.0], [-0.48070946, 0.0])]),
];

fn assert_resets<const O: usize>(id: &str, table: [Resets<O>; 5]) {
    for (seed, resets) in table {
        let mut env = make(id).unwrap();
        for (seed, (state, obs)) in [Some(seed), None].into_iter().zip(resets) {
            let reset: Reset = env.reset(seed).unwrap();
            assert_same(&format!("{id}, seed {seed:?}, state"), &physics(env.as_ref()), &state);
            assert_same_obs(&format!("{id}, seed {seed:?}, obs"), &reset.obs, &obs.map(f64::from));
        }
    }
}

#[test]
fn seeded_resets_and_the_resets_after_them_are_gymnasiums() {
    assert_resets("Pendulum-v1", PENDULUM_RESETS);
    assert_resets("MountainCarContinuous-v0", MOUNTAIN_CAR_RESETS);
}
