//! Imagined rollouts against their specification, over random worlds.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use burn::tensor::Device;
use common::worlds::{self, RandomWorld, Sizes};
use foresee_dyna::replay::ImaginedBuffer;
use foresee_dyna::rollout::{Rollout, World, reference};

const CASES: u64 = 200;
/// A row this near to an end of a termination bound may fall on either side.
const NEAR: f32 = 1e-4;

fn sizes() -> Vec<Sizes> {
    vec![
        ([1, 1], vec![5], vec![7]),
        ([3, 1], vec![16], vec![12, 12]),
        ([4, 2], vec![33, 8], vec![20, 1, 17]),
        ([11, 3], vec![64, 64], vec![50, 50, 50, 50]),
        ([17, 6], vec![13], vec![40, 40]),
    ]
}

/// The greatest |x − y| / max(1, |y|).
fn difference(x: &[f32], y: &[f32]) -> f32 {
    assert_eq!(x.len(), y.len());
    let relative = |(x, y): (&f32, &f32)| if x == y { 0.0 } else { (x - y).abs() / y.abs().max(1.0) };
    x.iter().zip(y).map(relative).fold(0.0, f32::max)
}

/// What is known of one lane.
struct Lane {
    /// Where the rollout stands, and where the reference stands by itself.
    obs: Vec<f32>,
    own: Option<Vec<f32>>,
    over: bool,
}

/// The greatest differences: of one step from the same state, and of states after each step by itself.
#[derive(Default)]
struct Worst {
    one: f32,
    uncertainty: f32,
    after: Vec<f32>,
}

fn check(world: &RandomWorld, worst: &mut Worst) {
    let [obs_dim, action_dim] = world.dims;
    let imagination = world.imagination();
    let spec = World::new(&imagination);
    let mut buffer = ImaginedBuffer::new(world.starts * world.horizon, obs_dim, action_dim);
    let mut rollout = Rollout::new(&world.real, world.starts, world.horizon, world.seed, world.call);
    let mut lanes: Vec<Lane> = (0..world.starts as u32)
        .map(|lane| Lane { obs: world.start(lane), own: Some(world.start(lane)), over: false })
        .collect();
    for step in 0.. {
        let from = buffer.len();
        let over = rollout.advance(&imagination, &mut buffer);
        let stored = buffer.rows();
        let live: Vec<usize> = (0..world.starts).filter(|&lane| !lanes[lane].over).collect();
        assert_eq!(buffer.len() - from, live.len(), "a row of every live lane and of no other, step {step}");
        for (k, &lane) in live.iter().enumerate() {
            let (i, Lane { obs, own, over }) = (from + k, &mut lanes[lane]);
            let next = &stored.next_obs[i * obs_dim..][..obs_dim];
            let action = &stored.action[i * action_dim..][..action_dim];
            assert_eq!(obs, &stored.obs[i * obs_dim..][..obs_dim], "lane {lane}, step {step}");

            // One step from the same state.
            let said = reference::step(&spec, world.clock(step), lane as u32, obs);
            assert_eq!(rollout.members()[k] as usize, said.member, "lane {lane}, step {step}");
            let parts = [(action, &said.action[..]), (next, &said.next_obs), (&stored.reward[i..=i], &[said.reward])];
            for (got, want) in parts {
                worst.one = worst.one.max(difference(got, want));
            }
            let uncertainty = &rollout.uncertainty()[k * world.measures.len()..][..world.measures.len()];
            worst.uncertainty = worst.uncertainty.max(difference(uncertainty, &said.uncertainty));
            let terminated = stored.not_terminated[i] == 0.0;
            assert_eq!(terminated, world.termination.terminated(next));
            if world.margin(next) > NEAR {
                assert_eq!(terminated, said.terminated, "lane {lane}, step {step}: {next:?}");
            }

            // The reference by itself, from the start.
            *own = own.take().and_then(|own| {
                let said = reference::step(&spec, world.clock(step), lane as u32, &own);
                worst.after.resize(worst.after.len().max(step + 1), 0.0);
                worst.after[step] = worst.after[step].max(difference(next, &said.next_obs));
                (world.margin(&said.next_obs) > NEAR && !said.terminated).then_some(said.next_obs)
            });
            (*obs, *over) = (next.to_vec(), terminated);
        }
        assert_eq!(over, step + 1 == world.horizon || lanes.iter().all(|lane| lane.over));
        if over {
            break;
        }
    }
    assert_eq!(rollout.transitions(), buffer.len() as u64);
}

#[test]
fn rollouts_are_those_of_the_reference_in_two_hundred_random_worlds() {
    let (mut worst, mut ended, mut long) = (Worst::default(), 0, 0);
    for i in 0..CASES {
        let world = worlds::random(i, &sizes(), &Device::flex());
        check(&world, &mut worst);
        ended += u32::from(world.termination != foresee_core::Termination::never());
        long += u32::from(world.horizon >= 15);
    }
    assert!(ended > 100 && long > 50, "{ended} with a rule, {long} of 15 steps and more");
    assert!(worst.one < 1e-5, "after one step {}", worst.one);
    assert!(worst.uncertainty < 1e-5, "uncertainty {}", worst.uncertainty);
    // Rounding does not grow: 1.6e-6 is the most after 25 steps.
    assert!(worst.after.len() == 25 && worst.after.iter().all(|&x| x < 1e-5), "after each step {:?}", worst.after);
}
