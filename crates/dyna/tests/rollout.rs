//! Imagined rollouts compared with a scalar program in f64. The two share only the addresses of the draws.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use std::collections::BTreeSet;

use burn::tensor::Device;
use common::scalar::{self, Net, assert_close};
use common::worlds::shaken;
use foresee_actor_critic::{Body, Policy};
use foresee_core::state::Data;
use foresee_core::termination::Bound;
use foresee_core::{Batch, Stream, Termination};
use foresee_dyna::replay::ImaginedBuffer;
use foresee_dyna::rollout::{FusedContext, Rollout};
use foresee_nn::Parameters;
use foresee_world_model::Ensemble;
use foresee_world_model::config::{EnsembleConfig, Head};
use foresee_world_model::normalizer::Normalizer;

const OBS: usize = 3;
const ACT: usize = 2;
const SEED: u64 = 11;

struct World {
    ensemble: Ensemble,
    policy: Policy,
    termination: Termination,
    real: Batch,
    device: Device,
}

/// One imagined transition.
#[derive(Clone, Debug, PartialEq)]
struct ImaginedRow {
    row_id: u32,
    step: usize,
    member: usize,
    obs: Vec<f32>,
    action: Vec<f32>,
    reward: f32,
    next_obs: Vec<f32>,
    terminated: bool,
}

/// Returns a world with five ensemble members, of which three are elites, and a rule that ends some of the rollouts.
fn world(head: Head) -> World {
    let device = Device::flex();
    let shape = EnsembleConfig { members: 5, elites: 3, hidden: vec![16, 12], ..EnsembleConfig::default() };
    let mut ensemble = Ensemble::new(&shape, head, [OBS, ACT], SEED, &device);
    ensemble.load(shaken(&ensemble.save(), SEED, 0.2)).expect("the same shapes");
    ensemble.elites = vec![4, 1, 2];
    let data: Vec<f32> = Stream::new(SEED, "test/inputs").normals(0, 40, OBS + ACT).iter().map(|x| x + 0.3).collect();
    ensemble.normalizer = Normalizer::from_rows(&data, OBS + ACT);

    let agent = Body { hidden: vec![16], ..Body::default() };
    let mut policy = Policy::new(&agent, [OBS, ACT], SEED, &device);
    policy.load(shaken(&policy.save(), SEED, 0.2)).expect("the same shapes");

    let mut real = Batch::with_capacity(60, OBS, ACT);
    for obs in Stream::new(SEED, "test/real").normals(0, 60, OBS).chunks_exact(OBS) {
        real.push(obs, &[0.0; ACT], 0.0, obs, false);
    }
    let bound = Bound { quantity: 0.into(), low: -1.2, high: 1.5, closed: true };
    World { ensemble, policy, termination: Termination::outside(vec![bound]), real, device }
}

impl World {
    fn context(&self) -> FusedContext<'_> {
        let Self { ensemble, policy, termination, device, .. } = self;
        FusedContext { ensemble, policy, termination: termination.into(), seed: SEED, device, measures: &[] }
    }

    /// Makes one call of rollouts and returns its transitions with their row ids. Live rows are stored in the order of
    /// their ids; a row that terminated has no further transitions. The member is computed from the draws of
    /// `rollout/elite`.
    fn imagine(&self, starts: usize, horizon: usize, call: u64) -> (Vec<ImaginedRow>, Rollout) {
        let mut buffer = ImaginedBuffer::new(usize::MAX, OBS, ACT);
        let mut rollout = Rollout::new(&self.real, starts, horizon, SEED, call);
        let elites = &self.ensemble.elites;
        let (mut rows, mut row_ids) = (Vec::new(), (0..starts as u32).collect::<Vec<_>>());
        for step in 0.. {
            let from = buffer.len();
            let over = rollout.advance_on_host(&self.context(), &mut buffer);
            assert_eq!(buffer.len() - from, row_ids.len(), "one transition of every live row, step {step}");
            let stored = buffer.rows();
            rows.extend(row_ids.iter().zip(from..).map(|(&row_id, i)| ImaginedRow {
                row_id,
                step,
                member: elites
                    [Stream::new(SEED, "rollout/elite").at(draw_step(call, step), row_id).below(elites.len())],
                obs: stored.obs[i * OBS..(i + 1) * OBS].to_vec(),
                action: stored.action[i * ACT..(i + 1) * ACT].to_vec(),
                reward: stored.reward[i],
                next_obs: stored.next_obs[i * OBS..(i + 1) * OBS].to_vec(),
                terminated: stored.not_terminated[i] == 0.0,
            }));
            row_ids = rows[from..].iter().filter(|row| !row.terminated).map(|row| row.row_id).collect();
            assert_eq!(over, step + 1 == horizon || row_ids.is_empty(), "step {step} of {horizon}");
            if over {
                break;
            }
        }
        (rows, rollout)
    }
}

/// Returns the step number that addresses the draws of a call.
fn draw_step(call: u64, step: usize) -> u64 {
    call * 65_536 + step as u64
}

/// Asserts that every row agrees with the scalar program.
fn check(world: &World, rows: &[ImaginedRow], starts: usize, call: u64) {
    let (state, policy) = (world.ensemble.save(), world.policy.save());
    let actor = Net::new(&policy, "", 0, scalar::relu);
    let first = Stream::new(SEED, "rollout/start").indices(call, starts, world.real.rows);
    let mut obs: Vec<&[f32]> = first.iter().map(|i| &world.real.obs[i * OBS..(i + 1) * OBS]).collect();
    let mut distinguished = 0;
    for row in rows {
        let draws = |name: &str, n: usize| -> Vec<f32> {
            let mut draws = Stream::new(SEED, name).at(draw_step(call, row.step), row.row_id);
            (0..n).map(|_| draws.normal()).collect()
        };
        let place = format!("row {}, step {}", row.row_id, row.step);
        assert_eq!(row.obs, obs[row.row_id as usize], "{place}");
        let action = scalar::action(&actor, &row.obs, &draws("rollout/action", ACT));
        assert_close(&format!("{place}, action"), &row.action, &action);

        let noise = draws("rollout/noise", OBS + 1);
        let inputs = [&row.obs[..], &row.action].concat();
        let next = |member| -> Vec<f64> {
            let predictions = scalar::predict(&state, member, &inputs, &noise);
            row.obs.iter().map(|&x| f64::from(x)).chain([0.0]).zip(predictions).map(|(x, delta)| x + delta).collect()
        };
        let got: Vec<f32> = row.next_obs.iter().copied().chain([row.reward]).collect();
        assert_close(&format!("{place}, next state and reward"), &got, &next(row.member));
        assert_eq!(row.terminated, world.termination.terminated(&row.obs, &row.next_obs), "{place}");
        let differs = |member| got.iter().zip(next(member)).any(|(&x, y)| (f64::from(x) - y).abs() > 1e-2);
        distinguished += u32::from((0..world.ensemble.members()).filter(|&m| m != row.member).all(differs));
        obs[row.row_id as usize] = &row.next_obs;
    }
    // Checks that a wrong member would be noticed: nearly everywhere the other four members predict something else.
    assert!(distinguished as usize > rows.len() * 9 / 10, "{distinguished} of {}", rows.len());
}

#[test]
fn every_imagined_row_is_that_of_a_scalar_program() {
    for head in [Head::Gaussian, Head::Deterministic] {
        let world = world(head);
        for (horizon, call) in [(1, 0), (2, 7), (5, 1)] {
            let (rows, rollout) = world.imagine(101, horizon, call);
            check(&world, &rows, 101, call);
            let ended = rows.iter().filter(|row| row.terminated).count();
            assert!(ended > 0 && ended < 101, "{head:?}, horizon {horizon}: {ended} of 101 ended");
            assert_eq!(rollout.transitions(), rows.len() as u64);
            assert_eq!(rollout.terminated_share(), ended as f64 / 101.0);
            let mean = rows.iter().map(|row| f64::from(row.reward)).sum::<f64>() / rows.len() as f64;
            assert!((rollout.mean_reward() - mean).abs() < 1e-12);
        }
    }
}

#[test]
fn a_row_that_terminated_is_the_last_of_its_lane_and_the_others_reach_the_horizon() {
    let world = world(Head::Gaussian);
    let (rows, _) = world.imagine(64, 6, 2);
    let mut early = 0;
    for row_id in 0..64 {
        let mine: Vec<_> = rows.iter().filter(|row| row.row_id == row_id).collect();
        assert_eq!(mine.iter().map(|row| row.step).collect::<Vec<_>>(), (0..mine.len()).collect::<Vec<_>>());
        let (last, before) = mine.split_last().expect("every start is stepped");
        assert!(before.iter().all(|row| !row.terminated) && (last.terminated || mine.len() == 6), "row {row_id}");
        early += usize::from(mine.len() < 6);
    }
    assert!(early > 0 && early < 64, "{early} rows ended early");

    let all = Bound { quantity: 0.into(), low: 1e9, high: 2e9, closed: true };
    let doomed = World { termination: Termination::outside(vec![all]), ..self::world(Head::Deterministic) };
    assert_eq!(doomed.imagine(5, 4, 0).0.len(), 5, "all end at once, and so does the call");
}

#[test]
fn a_lane_does_not_depend_on_how_many_others_there_are() {
    for head in [Head::Gaussian, Head::Deterministic] {
        let world = world(head);
        let few = world.imagine(9, 3, 4).0;
        let mut many = world.imagine(333, 3, 4).0;
        many.retain(|row| row.row_id < 9);
        assert_eq!(few, many);
    }
}

/// Uses many tiles of every member, of which the last is not full.
#[test]
fn tiles_do_not_show() {
    let world = world(Head::Gaussian);
    let (rows, _) = world.imagine(16_391, 2, 0);
    check(&world, &rows, 16_391, 0);
}

#[test]
fn only_elites_imagine_each_about_equally_often_and_anew_at_every_step() {
    let mut world = world(Head::Deterministic);
    world.termination = Termination::never();
    // The reward identifies the member: the last layer's weights are 0, and the reward's bias is the member's index.
    let mut state = world.ensemble.save();
    for name in ["net.weight.2", "net.bias.2"] {
        let mut array = state.take(name).expect("the last layer");
        let Data::F32(values) = &mut array.data else { panic!("weights are f32") };
        values.fill(0.0);
        if name == "net.bias.2" {
            (0..5_u8).for_each(|member| values[usize::from(member) * (OBS + 1) + OBS] = f32::from(member));
        }
        state.put(name, array);
    }
    world.ensemble.load(state).expect("the same shapes");

    const STARTS: usize = 9000;
    let (rows, _) = world.imagine(STARTS, 2, 5);
    let member = |step: usize| rows[step * STARTS..(step + 1) * STARTS].iter().map(|row| row.reward as usize);
    let elites: BTreeSet<_> = world.ensemble.elites.iter().copied().collect();
    assert_eq!(member(0).chain(member(1)).collect::<BTreeSet<_>>(), elites);
    let mut pairs = [[0_u32; 5]; 5];
    member(0).zip(member(1)).for_each(|(first, second)| pairs[first][second] += 1);
    let expected = STARTS as f64 / 9.0;
    let cells = elites.iter().flat_map(|&first| elites.iter().map(move |&second| pairs[first][second]));
    let chi2: f64 = cells.map(|n| (f64::from(n) - expected).powi(2) / expected).sum();
    // There are nine pairs of elites. The 0.999 quantile of chi-squared with 8 degrees of freedom is 26.12.
    assert!(chi2 < 26.12, "chi-squared {chi2}: {pairs:?}");
}
