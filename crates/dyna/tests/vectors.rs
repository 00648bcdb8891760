//! Tests of runs with several environments side by side.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use burn::tensor::Device;
use common::{KINDS, assert_cuts_change_nothing, finish, numbers, reported, tiny, whole};
use foresee_actor_critic::{Sac, SacConfig};
use foresee_core::{State, Termination};
use foresee_dyna::evaluate::Evaluator;
use foresee_dyna::{ActorController, Config, Knowledge, Run, metrics};
use foresee_env::test_support::mujoco_available;
use foresee_env::{EnvConfig, Tasks, Work};

/// The tiny run with `count` environments and 207 real steps.
fn beside(loss: Option<&'static str>, count: usize) -> Config {
    let mut config = tiny(loss);
    config.env.count = count;
    config.training.env_steps = 207;
    config
}

/// Makes a run that only explores, with `steps` steps in each environment.
fn exploring(id: &str, count: usize, steps: u64) -> State {
    let mut config = tiny(None);
    config.env = EnvConfig { count, ..EnvConfig::new(id) };
    config.training.env_steps = steps * count as u64;
    (config.training.explore_steps, config.training.eval_every) = (u64::MAX, u64::MAX);
    whole(&config).1
}

/// Returns the transitions of environment `i`, by field and then by row.
fn transitions(state: &State, i: usize, count: usize) -> Vec<Vec<Vec<f64>>> {
    let rows = numbers(state, "replay.real.reward").len();
    let of_field = |field: &str| {
        let values = numbers(state, &format!("replay.real.{field}"));
        values.chunks_exact(values.len() / rows).skip(i).step_by(count).map(<[f64]>::to_vec).collect()
    };
    ["obs", "action", "reward", "next_obs", "not_terminated", "truncated"].map(of_field).into()
}

#[test]
fn an_exploring_environment_has_the_same_transitions_alone_and_beside_others() {
    for (id, ends) in [("Pendulum-v1", "truncated"), ("CartPoleContinuous-v0", "not_terminated")] {
        let states = [1, 2, 3].map(|count| exploring(id, count, 230));
        let first = transitions(&states[0], 0, 1);
        assert!(first[0].len() == 230 && numbers(&states[0], &format!("replay.real.{ends}")).contains(&1.0));
        assert!(transitions(&states[1], 0, 2) == first && transitions(&states[2], 0, 3) == first, "{id}");
        let second = transitions(&states[1], 1, 2);
        assert!(transitions(&states[2], 1, 3) == second, "{id}");
        assert!([0, 1, 3].iter().all(|&field| first[field] != second[field]), "{id}: environments that are one");
    }
}

#[test]
fn a_transition_at_an_episodes_end_has_the_observation_before_the_reset() {
    for (id, flag, end) in [("Pendulum-v1", "truncated", 1.0), ("CartPoleContinuous-v0", "not_terminated", 0.0)] {
        let state = exploring(id, 3, 230);
        for i in 0..3 {
            let rows = transitions(&state, i, 3);
            let (obs, next_obs) = (&rows[0], &rows[3]);
            let ended = if flag == "truncated" { &rows[5] } else { &rows[4] };
            assert!(ended.iter().any(|x| x[0] == end), "{id}: no end");
            for t in 0..229 {
                assert_eq!(next_obs[t] == obs[t + 1], ended[t][0] != end, "{id}, environment {i}, step {t}");
            }
        }
    }
}

#[test]
fn several_episodes_that_end_at_once_are_reported_by_their_mean() {
    let mut config = tiny(None);
    config.env.count = 3;
    (config.training.env_steps, config.training.explore_steps) = (603, 1000);
    let (records, state) = whole(&config);
    let returns: Vec<f64> =
        (0..3).map(|i| transitions(&state, i, 3)[2][..200].iter().map(|reward| reward[0]).sum()).collect();
    let mean = returns.iter().sum::<f64>() / 3.0;
    let [sums, lengths] = [metrics::EPISODE_RETURN, metrics::EPISODE_LENGTH].map(|name| reported(&records, name));
    assert_eq!(lengths, [(600, 200.0)]);
    // Rewards are stored in f32.
    assert!(sums.len() == 1 && (sums[0].1 - mean).abs() < 1e-5 * mean.abs(), "{sums:?}, {returns:?}");
    assert!(returns.iter().all(|one| (one - mean).abs() > 1e-3 * mean.abs()), "{returns:?}");
    assert_eq!(numbers(&state, "counters.episodes"), [3.0]);
}

#[test]
fn clocks_ring_where_a_multiple_is_crossed_and_no_real_step_loses_its_updates() {
    let mut config = beside(Some("mse"), 3);
    // Exploration ends within an act: of the three steps up to 198, only the last two are followed by updates.
    config.training.explore_steps = 197;
    config.model.fit.every = 4;
    let (records, state) = whole(&config);
    let at = |metric| reported(&records, metric).into_iter().map(|(step, _)| step).collect::<Vec<_>>();
    // Fits are due at 196, 200 and 204; evaluations at 70, 140 and the end.
    assert_eq!(at(metrics::MODEL_STEPS), [198, 201, 204]);
    assert_eq!(at(metrics::CRITIC_LOSS), [198, 201, 204]);
    assert_eq!(at(metrics::EVAL_RETURN), [72, 141, 207]);
    assert_eq!(numbers(&state, "counters.env_step"), [207.0]);
    let updates = (207 - 197 + 1) * config.updates_per_step();
    assert_eq!(numbers(&state, "agent.updates"), [updates as f64]);
}

#[test]
fn a_run_of_three_environments_cut_after_every_slice_ends_bit_for_bit_like_an_uninterrupted_one() {
    for kind in KINDS {
        let config = beside(kind, 3);
        let (records, state) = whole(&config);
        assert_cuts_change_nothing(&config, &records, &state, &format!("{kind:?}"));
    }
}

#[test]
fn a_run_keeps_its_number_of_environments() {
    let state =
        Run::new(&beside(None, 3)).expect("a possible configuration").snapshot().expect("a device that answers");
    for count in [1, 9] {
        let error = Run::restore(&beside(None, count), state.clone()).err().expect("a refusal").to_string();
        assert!(error.starts_with(&format!("`env.count` is {count}, but the run began with 3\nhint: ")), "{error}");
    }
    finish(&mut Run::restore(&beside(None, 3), state).expect("its own state"));
}

#[test]
fn returns_do_not_depend_on_how_many_environments_share_the_episodes() {
    let mujoco =
        mujoco_available("returns_do_not_depend_on_how_many_environments_share_the_episodes, of MuJoCo's tasks");
    for id in ["Pendulum-v1", "CartPoleContinuous-v0"].into_iter().chain(mujoco.then_some("Hopper-v5")) {
        let env = EnvConfig::new(id);
        let spec = env.make(3).unwrap().spec().clone();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        let agent = SacConfig { hidden: vec![200, 200], ..SacConfig::default() };
        let agent = Sac::new(&agent, dims, 3, &Device::flex());
        let evaluate = |evaluator: &mut Evaluator, episodes| {
            let never = Termination::never();
            let knowledge = Knowledge {
                agent: &agent,
                model: None,
                termination: (&never).into(),
                seed: 3,
                device: &Device::flex(),
            };
            evaluator.evaluate(&mut ActorController, &knowledge, episodes).expect("a healthy policy")
        };
        let with = |most| Evaluator::new(env.factory(&Tasks::default(), 3), 3, most);
        let want = evaluate(&mut with(100), 19);
        assert!(want.returns[1..].iter().any(|&one| one != want.returns[0]));
        for most in [1, 2, 3, 7, 18] {
            let mut evaluator = with(most);
            assert_eq!(evaluate(&mut evaluator, 19), want, "{id} in {most} environments");
            // The environments are kept. A shorter or longer evaluation has the same first episodes.
            for episodes in [5, 19] {
                let again = evaluate(&mut evaluator, episodes);
                assert_eq!(again.returns[..], want.returns[..episodes], "{id}, {episodes} episodes after 19");
            }
        }
    }
}

#[test]
fn a_run_of_hoppers_cut_after_every_slice_goes_on_bit_for_bit_and_its_rule_is_never_contradicted() {
    if !mujoco_available("a_run_of_hoppers_cut_after_every_slice_goes_on_bit_for_bit") {
        return;
    }
    let mut config = beside(Some("vagram"), 3);
    config.env.id = "Hopper-v5".into();
    let (records, state) = whole(&config);
    assert!(numbers(&state, "replay.real.not_terminated").contains(&0.0), "no hopper has fallen");
    let mismatches = reported(&records, metrics::TERMINATION_MISMATCH);
    assert!(mismatches.len() == 3 && mismatches.iter().all(|&(_, share)| share == 0.0), "{mismatches:?}");
    assert_cuts_change_nothing(&config, &records, &state, "hoppers");
}

#[test]
fn processes_are_as_many_as_training_has_or_the_machine_can_run_at_once() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let most = |work, count, threads| pool(threads).install(|| Evaluator::max_environments(work, count));
    assert_eq!([most(Work::ExternalProcess, 1, 3), most(Work::ExternalProcess, 5, 3)], [3, 5]);
    assert!([Work::Light, Work::Heavy].into_iter().all(|work| most(work, 1, 3) >= 1000));
}
