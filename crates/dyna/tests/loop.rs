//! Tests of what the loop does and how often, counted from its reports and its saved state.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use common::{array, differing, numbers, reported, tiny, whole};
use foresee_actor_critic::{Noise, Sac, SacConfig, TensorBatch};
use foresee_core::{Batch, Transition};
use foresee_dyna::replay::{ImaginedBuffer, RealBuffer, mix, shares};
use foresee_dyna::schedule::Schedule;
use foresee_dyna::{Algo, Config, Run, metrics};
use foresee_nn::tensors;

fn mse() -> Config {
    tiny(Some("mse"))
}

/// Cases of `explore_steps`, `env_steps`, `fit.every`, and the steps at which the model must be fitted.
fn fit_cases() -> [(u64, u64, u64, Vec<u64>); 4] {
    [
        (12, 23, 3, vec![12, 15, 18, 21]),
        (13, 23, 5, vec![15, 20]),
        (0, 9, 4, vec![4, 8]),
        // A holdout set needs at least two rows.
        (0, 3, 1, vec![2, 3]),
    ]
}

#[test]
fn the_model_is_fitted_at_multiples_of_fit_every_once_exploration_is_over() {
    for (explore, end, every, steps) in fit_cases() {
        let mut config = mse();
        (config.training.explore_steps, config.training.env_steps) = (explore, end);
        config.model.fit.every = every;
        let (records, state) = whole(&config);
        let fitted: Vec<u64> = reported(&records, metrics::MODEL_STEPS).into_iter().map(|(step, _)| step).collect();
        assert_eq!(fitted, steps, "explore_steps {explore}, fit.every {every}");
        let imagined: Vec<u64> = reported(&records, metrics::IMAGINED_STEPS).iter().map(|&(step, _)| step).collect();
        assert_eq!(imagined, steps);
        assert_eq!(numbers(&state, "counters.fits"), [steps.len() as f64]);
    }
}

/// The squared error is part of VaGraM's loss in the first fit after exploration, however long the agent explored,
/// because the critic is then untrained.
#[test]
fn the_squared_error_is_added_from_the_end_of_exploration_on() {
    for explore in [12, 24] {
        let losses = [0, 1, 4, 1000].map(|until| {
            let mut config = tiny(Some("vagram"));
            (config.training.explore_steps, config.training.env_steps) = (explore, explore + 4);
            config.model.loss.add_mse_until = until;
            let reported = reported(&whole(&config).0, metrics::MODEL_TRAIN_LOSS);
            assert_eq!(reported.iter().map(|fit| fit.0).collect::<Vec<_>>(), [explore, explore + 3]);
            reported
        });
        let [never, first, both, always] = losses;
        assert!(first[0] != never[0] && first[0] == both[0], "explore_steps {explore}: {first:?}, {never:?}");
        assert!(both[1] != first[1], "explore_steps {explore}: {both:?}, {first:?}");
        assert_eq!(both, always, "explore_steps {explore}");
    }
}

/// The last exploring step is the first one that training follows: `explore_steps` real steps are then done.
#[test]
fn real_steps_count_exploration_and_each_from_its_end_on_is_followed_by_its_updates() {
    for algo in [Algo::Mbpo, Algo::ModelFree] {
        for (explore, end, trained_after) in [(12, 23, 12), (1, 5, 5), (0, 5, 5), (9, 8, 0)] {
            let mut config = Config { algo, ..mse() };
            (config.training.explore_steps, config.training.env_steps) = (explore, end);
            let mut run = Run::new(&config).expect("a possible configuration");
            while !run.is_done() {
                run.advance(&mut Vec::new()).expect("a tiny run goes well");
                let state = run.snapshot().expect("a device that answers");
                assert_eq!(array(&state, "replay.real.reward").shape[0] as u64, run.env_step());
                if run.env_step() < explore {
                    let trained = ["agent.updates", "counters.fits", "counters.imagined_steps"];
                    assert!(trained.iter().all(|name| numbers(&state, name) == [0.0]), "step {}", run.env_step());
                }
            }
            assert_eq!(run.env_step(), end);
            let updates = trained_after * config.updates_per_step();
            assert_eq!(
                numbers(&run.snapshot().expect("a device that answers"), "agent.updates"),
                [updates as f64],
                "explore_steps {explore}"
            );
        }
    }
}

#[test]
fn imagined_rows_are_starts_times_horizon_and_the_buffer_never_holds_more_than_its_capacity() {
    let config = mse();
    let rollout = config.rollout.clone();
    let mut run = Run::new(&config).expect("a possible configuration");
    let (mut records, mut fullest) = (Vec::new(), 0.0);
    while !run.is_done() {
        run.advance(&mut records).expect("a tiny run goes well");
        let state = run.snapshot().expect("a device that answers");
        let (rows, capacity) =
            (array(&state, "replay.imagined.rows.reward").shape[0] as f64, numbers(&state, "replay.imagined.capacity"));
        assert!(rows <= capacity[0], "{rows} rows in {capacity:?}");
        fullest = f64::max(fullest, rows / capacity[0]);
        if let Some(&(step, _)) = reported(&records, metrics::MODEL_STEPS).last() {
            assert_eq!(capacity, [rollout.capacity(step, 3, 6) as f64], "the capacity of step {step}");
        }
    }
    assert_eq!(fullest, 1.0, "the ring was never full");
    // There are two starts per step and three steps per fit, and the pendulum never terminates.
    let mut total = 0.0;
    for (step, steps) in reported(&records, metrics::IMAGINED_STEPS) {
        total += (2 * 3 * rollout.horizon.floor(step)) as f64;
        assert_eq!(steps, total, "step {step}");
    }
    let horizons: Vec<f64> = reported(&records, metrics::IMAGINED_HORIZON).iter().map(|&(_, h)| h).collect();
    assert_eq!(horizons, [1.0, 1.0, 2.0, 3.0]);
    assert!(reported(&records, metrics::IMAGINED_TERMINATED).iter().all(|&(_, share)| share == 0.0));
}

#[test]
fn an_agent_whose_batches_are_all_real_is_the_agent_without_a_model() {
    let agent = |config: &Config| whole(config).1.part("agent");
    let without = agent(&tiny(None));
    let with = |ratio: f64, every: u64| {
        let mut config = mse();
        config.rollout.real_ratio = Schedule::Constant(ratio);
        config.model.fit.every = every;
        agent(&config)
    };
    assert_eq!(differing(&with(1.0, 3), &without), [""; 0]);
    assert_eq!(differing(&with(0.0, 1000), &without), [""; 0], "nothing is imagined, so all rows are real");
    assert_ne!(differing(&with(0.9, 3), &without), [""; 0]);
}

/// Returns a transition that contains its number. Imagined transitions have negative numbers.
fn numbered(x: f32, terminated: bool, truncated: bool) -> Transition {
    Transition { obs: vec![x], action: vec![0.0], reward: x, next_obs: vec![x], terminated, truncated }
}

#[test]
fn every_batch_has_its_share_of_real_rows_and_all_rows_are_drawn_equally_often() {
    let (mut real, mut imagined) = (RealBuffer::default(), ImaginedBuffer::new(30, 1, 1));
    for i in 0..20_u8 {
        real.push(&numbered(f32::from(i), false, false));
        let row = numbered(-1.0 - f32::from(i), false, false);
        imagined.push(&row.obs, &row.action, row.reward, &row.next_obs, row.terminated);
    }
    let mut counts = BTreeMap::new();
    let mut batch = Batch::default();
    for update in 0..1000 {
        mix(&real, &imagined, shares(16, 0.3, imagined.len()), [5, update], &mut batch);
        assert_eq!(batch.reward.iter().filter(|&&x| x >= 0.0).count(), 5, "0.3 · 16 = 4.8, in every batch");
        batch.reward.iter().for_each(|&x| *counts.entry(x as i32).or_insert(0_u32) += 1);
    }
    for (range, drawn) in [(0..20, 5000.0), (-20..0, 11_000.0)] {
        let expected = drawn / 20.0;
        let count = |i| f64::from(counts.get(&i).copied().unwrap_or(0));
        let chi2: f64 = range.clone().map(|i| (count(i) - expected).powi(2) / expected).sum();
        // The 0.999 quantile of chi-squared with 19 degrees of freedom is 43.82.
        assert!(chi2 < 43.82, "rows {range:?}: chi-squared {chi2}");
    }
}

#[test]
fn actions_of_the_exploration_are_uniform_in_the_unit_interval() {
    let mut config = tiny(None);
    (config.training.explore_steps, config.training.env_steps) = (3000, 3000);
    (config.training.updates_per_step, config.training.eval_every) = (Some(0), 3000);
    let (_, state) = whole(&config);
    let mut actions = numbers(&state, "replay.real.action");
    assert!(actions.len() == 3000 && actions.iter().all(|a| (-1.0..=1.0).contains(a)));
    let lag: f64 = actions.windows(2).map(|pair| 3.0 * pair[0] * pair[1]).sum::<f64>() / (2999.0_f64).sqrt();
    // Correlation of neighbours in units of its standard error. The normal's two-sided 0.999 quantile is 3.29.
    assert!(lag.abs() < 3.29, "neighbouring actions: {lag} standard errors");
    actions.sort_by(f64::total_cmp);
    let n = actions.len() as f64;
    let gap = |(i, a): (usize, &f64)| {
        let (below, u) = (i as f64 / n, 0.5 * (a + 1.0));
        (u - below).abs().max((below + 1.0 / n - u).abs())
    };
    let distance = actions.iter().enumerate().map(gap).fold(0.0, f64::max);
    // Kolmogorov's limit: √n D < 1.949 with probability 0.999.
    assert!(n.sqrt() * distance < 1.949, "Kolmogorov-Smirnov {}", n.sqrt() * distance);
}

#[test]
fn a_time_limit_is_stored_as_a_truncation_and_cuts_no_value() {
    let mut config = tiny(None);
    (config.training.explore_steps, config.training.env_steps) = (401, 401);
    let (_, state) = whole(&config);
    let cut: Vec<usize> = numbers(&state, "replay.real.truncated")
        .iter()
        .enumerate()
        .filter(|&(_, &x)| x != 0.0)
        .map(|(i, _)| i)
        .collect();
    assert_eq!(cut, [199, 399], "the pendulum's episodes have 200 steps");
    assert!(numbers(&state, "replay.real.not_terminated").iter().all(|&x| x == 1.0));
    let (obs, next) = (numbers(&state, "replay.real.obs"), numbers(&state, "replay.real.next_obs"));
    for i in 0..400 {
        // The stored next observation is the one before the reset.
        assert_eq!(next[i * 3..i * 3 + 3] == obs[i * 3 + 3..i * 3 + 6], !cut.contains(&i), "row {i}");
    }
}

/// Noise of 0.1 in every entry.
struct Constant;

impl Noise for Constant {
    fn normals(&self, _: &'static str, shape: [usize; 2], device: &Device) -> Tensor<2> {
        Tensor::full(shape, 0.1, device)
    }

    fn normals_into(&self, _: &'static str, [rows, columns]: [usize; 2], out: &mut Vec<f32>) {
        out.clear();
        out.resize(rows * columns, 0.1);
    }

    fn words(&self, _: &'static str, rows: usize) -> Vec<u32> {
        vec![0; rows]
    }
}

#[test]
fn an_agent_bootstraps_where_a_row_was_truncated_and_not_where_it_terminated() {
    let mut real = RealBuffer::default();
    for (terminated, truncated) in [(false, false), (false, true), (true, false), (true, true)] {
        real.push(&numbered(0.5, terminated, truncated));
    }
    let agent = Sac::new(&SacConfig { hidden: vec![8], ..SacConfig::default() }, [1, 1], 0, &Device::flex());
    let batch = TensorBatch::new(real.rows(), [1, 1], &Device::flex());
    let y = tensors::to_vec(agent.critic_target(&batch, &Constant));
    assert_ne!(y[0], 0.5, "a value that goes on");
    assert_eq!(y, [y[0], y[0], 0.5, 0.5]);
}

#[test]
fn a_run_without_a_model_does_not_look_at_the_model_keys() {
    let mut config = tiny(None);
    config.model.fit.every = 0;
    config.rollout.starts_per_step = 0;
    (config.training.explore_steps, config.training.env_steps) = (3, 5);
    assert_eq!(Run::new(&config).expect("a possible configuration").phase(), "act");
    assert_eq!(numbers(&whole(&config).1, "agent.updates"), [180.0]);
}

#[test]
fn an_agent_that_learns_through_the_model_waits_for_the_first_fit_in_whatever_loop() {
    let mut config = tiny(Some("mle"));
    (config.agent.kind, config.training.updates_per_step) = (Some("dhmbpo".into()), Some(2));
    // Exploration ends at step 195; the first multiple of 7 after it is 196.
    (config.model.fit.every, config.training.env_steps) = (7, 195);
    let before = whole(&config).1;
    assert_eq!(numbers(&before, "agent.updates"), [2.0]);
    assert_eq!(numbers(&before, "agent.actor_adam.time"), [0.0]);
    config.training.env_steps = 196;
    let after = whole(&config).1;
    assert_eq!(numbers(&after, "agent.updates"), [4.0]);
    assert_eq!(numbers(&after, "agent.actor_adam.time"), [2.0]);
}
