//! Distractors and families around the pendulum: the checker's rules, and the properties of each wrapper.

use foresee_core::Stream;
use foresee_env::classic::Pendulum;
use foresee_env::config::{EnvConfig, FamilyConfig, Range, Steps};
use foresee_env::test_support::available_environments;
use foresee_env::wrappers::Family;
use foresee_env::{Environment, Physics, Step, check_environment, make};

/// Number of observation entries of Pendulum-v1, and number of steps in an episode.
const OBS: usize = 3;
const STEPS: u64 = 200;

fn pendulum() -> EnvConfig {
    EnvConfig::new("Pendulum-v1")
}

fn family(family: FamilyConfig) -> EnvConfig {
    EnvConfig { family, ..pendulum() }
}

fn distracted(distractors: usize) -> EnvConfig {
    EnvConfig { distractors, ..pendulum() }
}

/// A family in which every parameter but one is drawn.
fn wide() -> FamilyConfig {
    FamilyConfig {
        mass: Range::Uniform([0.8, 1.2]),
        length: Range::Uniform([0.5, 1.5]),
        gravity: Range::Fixed(1.1),
        delay: Steps::Uniform([0, 3]),
        sensor_noise: Range::Uniform([0.01, 0.1]),
    }
}

fn built(config: &EnvConfig, seed: u64) -> Box<dyn Environment> {
    config.make(seed).expect("a possible configuration")
}

/// Returns an action in [-1, 1] for step `t` of an episode.
fn action(episode: u64, t: u64) -> Vec<f32> {
    Stream::new(episode, "test/action").uniforms(t, 1, 1)
}

/// Plays an episode from a seeded reset. Returns the first observation and all steps.
fn episode(env: &mut dyn Environment, seed: u64) -> (Vec<f32>, Vec<Step>) {
    let first = env.reset(Some(seed)).expect("a reset").obs;
    (first, (0..STEPS).map(|t| env.step(&action(seed, t)).expect("a step")).collect())
}

#[test]
fn every_wrapped_task_keeps_what_an_environment_promises() {
    for config in [
        distracted(1),
        distracted(10),
        family(FamilyConfig { mass: Range::Uniform([0.8, 1.2]), ..FamilyConfig::default() }),
        family(FamilyConfig { delay: Steps::Fixed(4), ..FamilyConfig::default() }),
        family(FamilyConfig { sensor_noise: Range::Fixed(0.2), ..FamilyConfig::default() }),
        family(wide()),
        EnvConfig { distractors: 7, ..family(wide()) },
        EnvConfig { action_repeat: 2, ..pendulum() },
        EnvConfig { action_repeat: 7, distractors: 3, ..family(wide()) },
        EnvConfig { action_repeat: 300, ..pendulum() },
    ] {
        check_environment(|| config.make(3)).unwrap_or_else(|failure| panic!("{config:?}: {failure}"));
    }
}

#[test]
fn every_environment_of_the_registry_can_be_distracted_and_delayed() {
    for info in available_environments("every_environment_of_the_registry_can_be_distracted_and_delayed") {
        let delayed = FamilyConfig { delay: Steps::Uniform([0, 3]), ..FamilyConfig::default() };
        let config = EnvConfig { distractors: 3, family: delayed, ..EnvConfig::new(info.id) };
        check_environment(|| config.make(3)).unwrap_or_else(|failure| panic!("{}: {failure}", info.id));
    }
}

#[test]
fn every_environment_of_the_registry_can_have_its_actions_held() {
    for info in available_environments("every_environment_of_the_registry_can_have_its_actions_held") {
        let config = EnvConfig { action_repeat: 4, ..EnvConfig::new(info.id) };
        check_environment(|| config.make(3)).unwrap_or_else(|failure| panic!("{}: {failure}", info.id));
        let env = built(&config, 3);
        assert_eq!(env.spec().max_episode_steps, info.max_episode_steps.map(|frames| frames.div_ceil(4)));
        assert_eq!((env.spec().action_repeat, env.spec().frames(25)), (4, 100));
    }
}

#[test]
fn a_delay_and_the_time_limit_are_in_frames_and_the_agent_counts_its_own_steps() {
    let delayed = FamilyConfig { delay: Steps::Fixed(3), ..FamilyConfig::default() };
    let mut frames = built(&family(delayed), 0);
    let mut held = built(&EnvConfig { action_repeat: 2, ..family(delayed) }, 0);
    assert_eq!(frames.reset(Some(9)), held.reset(Some(9)));
    for t in 0..100 {
        let action = action(0, t);
        let [first, second] = [(); 2].map(|()| frames.step(&action).unwrap());
        let step = held.step(&action).unwrap();
        assert_eq!((step.obs, step.reward), (second.obs, first.reward + second.reward));
        assert_eq!(step.truncated, t == 99);
    }
}

#[test]
fn a_config_that_asks_for_nothing_gives_the_task_itself() {
    let (mut plain, mut configured) = (make("Pendulum-v1").unwrap(), built(&pendulum(), 5));
    assert_eq!(plain.spec(), configured.spec());
    assert_eq!(episode(plain.as_mut(), 1), episode(configured.as_mut(), 1));
    assert_eq!(plain.save(), configured.save());
}

#[test]
fn distractors_follow_the_tasks_entries_and_leave_all_else_alone() {
    let (mut plain, mut env) = (built(&pendulum(), 5), built(&distracted(6), 5));
    let spec = env.spec().clone();
    assert_eq!((spec.observation_space.dim(), spec.max_episode_steps), (OBS + 6, Some(200)));
    assert_eq!(spec.termination, plain.spec().termination);
    assert_eq!(spec.observation_space.low[..OBS], plain.spec().observation_space.low[..]);
    let ((first, steps), (plain_first, plain_steps)) = (episode(env.as_mut(), 2), episode(plain.as_mut(), 2));
    assert_eq!(first[..OBS], plain_first);
    for (step, plain) in steps.into_iter().zip(plain_steps) {
        assert_eq!(step.obs.len(), OBS + 6);
        assert_eq!(Step { obs: step.obs[..OBS].to_vec(), ..step }, plain);
    }
}

/// Returns the distracting part of an episode's observations.
fn distraction(env: &mut dyn Environment, seed: u64) -> Vec<Vec<f32>> {
    let (first, steps) = episode(env, seed);
    [first].into_iter().chain(steps.into_iter().map(|step| step.obs)).map(|obs| obs[OBS..].to_vec()).collect()
}

#[test]
fn all_environments_of_a_run_share_the_distractors_dynamics_and_another_run_has_others() {
    let config = distracted(5);
    let (mut one, mut other) = (built(&config, 5), built(&config, 5));
    episode(one.as_mut(), 77);
    let seen = distraction(one.as_mut(), 2);
    assert_eq!(seen, distraction(other.as_mut(), 2), "the same start, the same dynamics");
    assert_ne!(seen[0], distraction(other.as_mut(), 3)[0], "another start");
    assert_ne!(seen[0], distraction(built(&config, 6).as_mut(), 2)[0], "another run");
    // Neither the action nor the task's state has an effect.
    other.reset(Some(2)).unwrap();
    for seen in &seen[1..] {
        assert_eq!(other.step(&[1.0]).unwrap().obs[OBS..], seen[..]);
    }
    // Every entry changes, and all of them stay within the bound of the switch.
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
    assert!(seen.iter().flatten().any(|s| s.abs() > 5.0) && seen.iter().flatten().all(|s| s.abs() <= 20.0));
}

#[test]
fn delayed_actions_are_the_undelayed_ones_shifted_by_the_delay() {
    for delay in [1, 2, 7] {
        let config = family(FamilyConfig { delay: Steps::Fixed(delay), ..FamilyConfig::default() });
        let (mut delayed, mut plain) = (built(&config, 0), built(&pendulum(), 0));
        for seed in [4, 5] {
            assert_eq!(delayed.reset(Some(seed)).unwrap(), plain.reset(Some(seed)).unwrap());
            for t in 0..STEPS {
                let acting = t.checked_sub(u64::from(delay)).map_or(vec![0.0], |t| action(seed, t));
                let (got, want) = (delayed.step(&action(seed, t)).unwrap(), plain.step(&acting).unwrap());
                assert_eq!(got, want, "delay {delay}, step {t}");
            }
        }
    }
}

#[test]
fn fixed_factors_are_those_of_the_tasks_own_physics() {
    let config = FamilyConfig { mass: Range::Fixed(1.5), length: Range::Fixed(0.75), ..FamilyConfig::default() };
    let mut member = Family::new(Box::new(Pendulum::new()), config).unwrap();
    let mut task = Pendulum::new();
    task.set_physics(Physics { mass: 1.5, length: 0.75, gravity: 1.0 }).unwrap();
    let episodes = [episode(&mut member, 9), episode(&mut task, 9), episode(&mut Pendulum::new(), 9)];
    assert_eq!(episodes[0], episodes[1]);
    assert_ne!(episodes[0], episodes[2]);
}

#[test]
fn every_reset_draws_a_member_within_the_intervals_and_the_seed_says_which() {
    let draw = |seed| {
        let mut env = Family::new(Box::new(Pendulum::new()), wide()).unwrap();
        let mut members = Vec::new();
        for episode in 0..200 {
            env.reset((episode == 0).then_some(seed)).unwrap();
            let mut state = env.save();
            let mut member = state.f64s("physics").unwrap().1;
            member.push(state.f64("sensor_noise").unwrap());
            member.push(state.f32s("actions").unwrap().0[0] as f64);
            members.push(member);
        }
        members
    };
    let members = draw(1);
    assert_eq!(members, draw(1));
    assert_ne!(members[0], draw(2)[0]);
    // Five standard errors of the mean of 200 uniform draws: 5 · (high − low) / √(12 · 200).
    for (i, (low, high)) in [(0.8, 1.2), (0.5, 1.5), (1.1, 1.1), (0.01, 0.1), (0.0, 3.0)].into_iter().enumerate() {
        let values: Vec<f64> = members.iter().map(|member| member[i]).collect();
        assert!(values.iter().all(|value| (low..=high).contains(value)), "{i}: {values:?}");
        let mean = values.iter().sum::<f64>() / 200.0;
        // Whole numbers from 0 to 3 have a larger standard deviation than a uniform number: √(15/12) and √(9/12).
        let spread = if i == 4 { 4.0 } else { high - low };
        assert!((mean - (low + high) / 2.0).abs() <= 5.0 * spread / 2400_f64.sqrt() + 1e-12, "{i}: {mean}");
    }
    assert!([0.0, 1.0, 2.0, 3.0].iter().all(|delay| members.iter().any(|member| member[4] == *delay)));
}

#[test]
fn environments_with_resets_of_their_own_play_members_of_their_own() {
    let noise = |seed| {
        let mut env = built(&EnvConfig { distractors: 2, ..family(wide()) }, 0);
        env.reset(Some(seed)).unwrap();
        // The layers from the outside in: rescaling, order of calls, time limit, distractors.
        env.save().f64("inner.inner.inner.inner.sensor_noise").unwrap()
    };
    let drawn: Vec<f64> = (0..20).map(noise).collect();
    for (i, noise) in drawn.iter().enumerate() {
        assert!(!drawn[..i].contains(noise), "{drawn:?}");
    }
}

#[test]
fn sensor_noise_is_normal_with_its_deviation_and_touches_observations_alone() {
    let sigma = 0.25;
    let config = family(FamilyConfig { sensor_noise: Range::Fixed(sigma), ..FamilyConfig::default() });
    let (mut noisy, mut plain) = (built(&config, 0), built(&pendulum(), 0));
    let mut noise: Vec<f64> = Vec::new();
    for seed in 0..20 {
        let ((first, steps), (plain_first, plain_steps)) =
            (episode(noisy.as_mut(), seed), episode(plain.as_mut(), seed));
        let mut add = |got: &[f32], want: &[f32]| noise.extend(got.iter().zip(want).map(|(a, b)| f64::from(a - b)));
        add(&first, &plain_first);
        for (step, plain) in steps.into_iter().zip(plain_steps) {
            add(&step.obs, &plain.obs);
            assert_eq!(Step { obs: plain.obs.clone(), ..step }, plain);
        }
    }
    let n = noise.len() as f64;
    assert_eq!(n, 20.0 * 201.0 * 3.0);
    let moment = |p: i32| noise.iter().map(|x| (x / sigma).powi(p)).sum::<f64>() / n;
    // Five standard errors. The variances of z, z² and z⁴ are 1, 2 and 96.
    assert!(moment(1).abs() < 5.0 / n.sqrt(), "mean {}", moment(1));
    assert!((moment(2) - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "variance {}", moment(2));
    assert!((moment(4) - 3.0).abs() < 5.0 * (96.0 / n).sqrt(), "kurtosis {}", moment(4));
    // No draw is used twice, neither for two entries nor for two successive observations.
    for lag in [1, 3] {
        let products = noise.windows(lag + 1).map(|w| w[0] * w[lag]).sum::<f64>() / n / (sigma * sigma);
        assert!(products.abs() < 5.0 / n.sqrt(), "lag {lag}: {products}");
    }
}

#[test]
fn noise_on_sensors_is_none_on_distractors() {
    let noisy = FamilyConfig { sensor_noise: Range::Fixed(0.25), ..FamilyConfig::default() };
    let seen = distraction(built(&EnvConfig { distractors: 5, ..family(noisy) }, 5).as_mut(), 2);
    assert_eq!(seen, distraction(built(&distracted(5), 5).as_mut(), 2));
}
