//! Tests of the diagnostics of values and model, by brute force over the data of a run.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use common::{agent, tiny};
use foresee_actor_critic::{Actor, Agent, AgentFactory, ReturnParameters, SacConfig, Update};
use foresee_core::{Kind, State, StateError};
use foresee_dyna::{Config, Parts, Record, Run, metrics};
use foresee_nn::{ValueHeads, ValueView};
use serde::{Deserialize, Serialize};
use toml::Table;

/// A view with the values V_0(s) = Σ s² and V_1(s) = 3.
struct Known;

impl ValueView for Known {
    fn heads(&self) -> usize {
        2
    }

    fn values(&self, states: Tensor<2>) -> Tensor<2> {
        let squares = states.square().sum_dim(1).squeeze_dim::<1>(1);
        Tensor::stack(vec![squares.clone(), squares.ones_like().mul_scalar(3.0)], 0)
    }

    fn value_gradients(&self, _: Tensor<2>) -> Tensor<3> {
        unreachable!("nobody asks")
    }
}

fn known_value(obs: &[f32]) -> f64 {
    f64::midpoint(obs.iter().map(|&x| f64::from(x).powi(2)).sum(), 3.0)
}

/// SAC with [`Known`] as its values.
struct Valued(Box<dyn Agent>);

impl Agent for Valued {
    fn update(&mut self, update: Update<'_>) {
        self.0.update(update);
    }

    fn updates(&self) -> u64 {
        self.0.updates()
    }

    fn report(&self) -> Vec<(&'static str, f64)> {
        self.0.report()
    }

    fn actor(&self) -> &dyn Actor {
        self.0.actor()
    }

    fn values(&self, _: ValueHeads, _: bool) -> Box<dyn ValueView + '_> {
        Box::new(Known)
    }

    fn return_parameters(&self) -> Option<ReturnParameters> {
        Some(ReturnParameters { discount: 0.9, temperature: 0.0 })
    }

    fn save(&self) -> State {
        self.0.save()
    }

    fn load(&mut self, state: State) -> Result<(), StateError> {
        self.0.load(state)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {}

impl AgentFactory for Keys {
    fn build(&self, dims: [usize; 2], seed: u64, device: &Device) -> Box<dyn Agent> {
        let config = SacConfig { hidden: vec![8], ..SacConfig::default() };
        Box::new(Valued(AgentFactory::build(&config, dims, seed, device)))
    }

    fn resolved(&self, _: [usize; 2]) -> Table {
        Table::new()
    }
}

fn run_of(config: &Config) -> Run {
    let mut parts = Parts::default();
    parts.agents.add(Kind::new("valued", "known values", |keys: Keys| Ok(Arc::new(keys) as Arc<dyn AgentFactory>)));
    Run::begin(config.clone().open_with(&parts).expect("a possible configuration")).expect("a run")
}

fn reported(record: &Record, name: &str) -> Option<f64> {
    record.values.iter().find(|(metric, _)| *metric == name).map(|&(_, value)| value)
}

/// Computes the mean predicted value and the mean return Σ_{j ≥ t} 0.9^{j−t} r_j up to the end of the episode, plus
/// 0.9^{n−t} V if a time limit ended it.
fn brute_force(run: &Run, explored: usize) -> Option<[f64; 2]> {
    let real = &run.replay().real;
    let (rows, episodes) = (real.rows(), real.episodes());
    let width = rows.obs.len() / rows.rows;
    let limit = run.spec().max_episode_steps.expect("a time limit") as usize;
    let mut whole: Vec<Vec<usize>> = Vec::new();
    for &episode in episodes.iter().collect::<BTreeSet<_>>() {
        let of_episode: Vec<usize> = (0..rows.rows).filter(|&row| episodes[row] == episode).collect();
        let last = *of_episode.last()?;
        if last >= explored && (rows.not_terminated[last] == 0.0 || of_episode.len() == limit) {
            whole.push(of_episode);
        }
    }
    whole.sort_by_key(|rows| rows.last().copied());
    let (mut predicted, mut returned) = (Vec::new(), Vec::new());
    for of_episode in whole.iter().rev().take(10) {
        for (t, &row) in of_episode.iter().enumerate().filter(|(_, row)| **row >= explored) {
            let after = &of_episode[t..];
            let rewards =
                after.iter().enumerate().map(|(k, &row)| 0.9_f64.powi(k as i32) * f64::from(rows.reward[row]));
            let last = *of_episode.last()?;
            let future =
                f64::from(rows.not_terminated[last]) * known_value(&rows.next_obs[last * width..(last + 1) * width]);
            returned.push(rewards.sum::<f64>() + 0.9_f64.powi(after.len() as i32) * future);
            predicted.push(known_value(&rows.obs[row * width..(row + 1) * width]));
        }
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    (!returned.is_empty()).then(|| [mean(&predicted), mean(&returned)])
}

#[test]
fn values_are_held_against_the_returns_of_the_last_real_episodes() {
    for (id, env_steps, explore_steps) in [("CartPoleContinuous-v0", 330, 95), ("Pendulum-v1", 420, 190)] {
        let mut config = tiny(None);
        config.env.id = id.into();
        config.agent = agent(&[8], 8);
        config.agent.keys.clear();
        config.agent.kind = Some("valued".into());
        config.training.env_steps = env_steps;
        config.training.explore_steps = explore_steps;
        config.training.updates_per_step = Some(1);
        config.training.eval_every = 1000;
        config.training.log_every = 7;
        let (mut run, mut compared) = (run_of(&config), 0);
        while !run.is_done() {
            let mut records = Vec::new();
            run.advance(&mut records).expect("a tiny run goes well");
            let Some(record) = records.iter().find(|record| reported(record, metrics::UPDATES).is_some()) else {
                continue;
            };
            let got = [metrics::VALUE_PREDICTED, metrics::VALUE_RETURNED].map(|name| reported(record, name));
            let want = brute_force(&run, explore_steps as usize);
            assert_eq!(got[0].is_some(), want.is_some(), "{id}, step {}", record.env_step);
            let Some(want) = want else { continue };
            for (got, want) in got.into_iter().zip(want) {
                let got = got.expect("a number");
                assert!(
                    (got - want).abs() < 1e-5 * (1.0 + want.abs()),
                    "{id}, step {}: {got}, expected {want}",
                    record.env_step
                );
            }
            let bias = reported(record, metrics::VALUE_BIAS).expect("a bias");
            assert!((bias - (want[0] - want[1])).abs() < 1e-4, "{bias}");
            compared += 1;
        }
        assert!(compared > 20, "{id}: {compared}");
    }
}

#[test]
fn imagined_states_outside_the_data_are_counted_over_the_rows_of_the_call() {
    let (mut run, mut records) = (Run::new(&tiny(Some("mle"))).expect("a run"), Vec::new());
    let (mut before, mut calls, mut shares) = (Vec::new(), 0, BTreeSet::new());
    let rows_of = |run: &Run| -> Vec<Vec<u32>> {
        let rows = run.replay().imagined.rows();
        rows.next_obs.chunks_exact(3).map(|state| state.iter().map(|x| x.to_bits()).collect()).collect()
    };
    while !run.is_done() {
        records.clear();
        run.advance(&mut records).expect("a tiny run goes well");
        let Some(share) = records.iter().find_map(|record| reported(record, metrics::IMAGINED_OUTSIDE)) else {
            continue;
        };
        let now = rows_of(&run);
        let real = run.replay().real.rows();
        let seen = |entry: usize| real.obs.iter().chain(&real.next_obs).skip(entry).step_by(3).copied();
        let outside = |state: &[u32]| {
            (0..3).any(|entry| {
                let x = f32::from_bits(state[entry]);
                seen(entry).all(|y| y < x) || seen(entry).all(|y| y > x)
            })
        };
        let new: Vec<&Vec<u32>> = now.iter().filter(|state| !before.contains(*state)).collect();
        let want = new.iter().filter(|state| outside(state)).count() as f64 / new.len() as f64;
        assert!((share - want).abs() < 1e-12, "call {calls}: {share}, expected {want}");
        shares.insert((share * 1e6) as u64);
        (before, calls) = (now, calls + 1);
    }
    assert!(calls >= 3 && shares.len() > 1, "{calls} calls, {shares:?}");
}

#[test]
fn every_channel_of_the_model_is_reported_after_a_fit() {
    for kind in common::WITH_BLOCKS.into_iter().filter(Option::is_some) {
        let (records, _) = common::whole(&common::tiny_of(kind));
        let names = ["obs_0", "obs_1", "obs_2", "reward"].map(|part| format!("{}/{part}", metrics::MODEL_EXPLAINED));
        let fits: Vec<_> =
            records.iter().filter(|record| reported(record, metrics::MODEL_HOLDOUT_MSE).is_some()).collect();
        assert!(!fits.is_empty());
        for fit in fits {
            let parts = names.each_ref().map(|name| reported(fit, name).expect("a channel"));
            let mean = reported(fit, metrics::MODEL_EXPLAINED).expect("the mean");
            assert!((mean - parts.iter().sum::<f64>() / 4.0).abs() < 1e-12, "{kind:?}: {mean} of {parts:?}");
            assert_eq!(reported(fit, metrics::MODEL_LEAST_EXPLAINED), parts.into_iter().min_by(f64::total_cmp));
            assert!(reported(fit, metrics::MODEL_AGAINST_NO_CHANGE).is_some_and(|ratio| ratio > 0.0));
        }
    }
}

/// Uses the shipped settings of the double-horizon agent with smaller networks. After its first training call, on
/// random experience, the model explains part of the variance of every channel under every loss.
#[test]
fn after_the_first_fit_on_random_hops_every_channel_is_explained_under_every_loss() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/dhmbpo/hopper.toml");
    let text = std::fs::read_to_string(path).expect("the config");
    for kind in common::KINDS.into_iter().flatten() {
        let mut config: Config = toml::from_str(&text).expect("a config");
        config.model.loss.kind = kind.into();
        config.training.explore_steps = 2000;
        config.training.env_steps = 2000;
        config.training.eval_every = 100_000;
        config.agent.keys.insert("hidden".into(), vec![16_i64, 16].into());
        config.model.ensemble.members = 2;
        config.model.ensemble.elites = 2;
        config.model.ensemble.hidden = vec![64, 64];
        config.model.fit.first_max_steps = Some(400);
        let mut run = match Run::new(&config) {
            Ok(run) => run,
            Err(error) => {
                assert!(std::env::var_os("FORESEE_REQUIRE_MUJOCO").is_none(), "{error}");
                eprintln!("skipped: {error}");
                return;
            }
        };
        let mut records = Vec::new();
        while !records.iter().any(|record| reported(record, metrics::MODEL_HOLDOUT_MSE).is_some()) {
            records.clear();
            run.advance(&mut records).expect("a run goes well");
        }
        let least = records.iter().find_map(|record| reported(record, metrics::MODEL_LEAST_EXPLAINED)).expect("a fit");
        assert!(least > 0.3, "{kind}: {least}");
    }
}
