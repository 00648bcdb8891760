//! Imagined rollouts in kernels compared with their specification, in random worlds.
#![cfg(feature = "wgpu")]

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use common::worlds::{self, RandomWorld, Sizes};
use foresee_core::termination::Bound;
use foresee_core::{Batch, Termination};
use foresee_dyna::ends::{EndRule, LearnedEnds};
use foresee_dyna::replay::{DeviceRows, ImaginedBuffer};
use foresee_dyna::rollout::kernel::{self, Call, RolloutOutcome};
use foresee_dyna::rollout::{HostContext, reference};
use foresee_nn::device::wgpu_of_test;
use foresee_nn::tensors;

const CASES: u64 = 200;
/// Distance from an end of a termination bound within which rounding may decide whether a row terminates.
const NEAR: f32 = 1e-4;

fn sizes() -> Vec<Sizes> {
    vec![
        ([1, 1], vec![5], vec![7]),
        ([4, 2], vec![33, 8], vec![20, 1, 17]),
        ([11, 3], vec![64, 64], vec![50, 50, 50, 50]),
    ]
}

/// A call's transitions in order, with their members and measures of uncertainty.
#[derive(Debug, PartialEq)]
struct Imagined {
    rows: Batch,
    members: Vec<usize>,
    uncertainty: Vec<f32>,
    outcome: [f64; 3],
}

/// Makes one call into a new ring of `capacity` rows, to which `position` rows were added before.
fn imagine(world: &RandomWorld, capacity: usize, position: usize) -> (RolloutOutcome, ImaginedBuffer) {
    let [obs_dim, action_dim] = world.dims;
    let mut ring = ImaginedBuffer::on(capacity, world.dims, &world.device);
    let mut filler = Batch::with_capacity(position, obs_dim, action_dim);
    (0..position)
        .for_each(|_| filler.push(&vec![-7.0; obs_dim], &vec![-7.0; action_dim], -7.0, &vec![-7.0; obs_dim], true));
    ring.extend(&filler);
    let mut real = DeviceRows::new(world.real.rows + 3, world.dims, &world.device).expect("a GPU keeps rows");
    real.write(0, &world.real, 0..world.real.rows);
    let call = Call {
        call: world.call,
        real: &real,
        real_rows: world.real.rows,
        starts: world.starts,
        horizon: world.horizon,
    };
    let outcome = ring.fill_on_device(|rows, next| {
        assert_eq!(next, position % capacity);
        let outcome = kernel::rollout(&world.context(), &call, rows, next);
        (outcome.transitions.min(capacity as u64) as usize, outcome)
    });
    (outcome, ring)
}

fn read(world: &RandomWorld) -> Imagined {
    let (outcome, ring) = imagine(world, world.starts * world.horizon, 0);
    let count = outcome.transitions as usize;
    let rows = ring.rows().into_owned();
    assert_eq!(rows.rows, count);
    let members = tensors::to_vec(outcome.members)[..count].iter().map(|&member| member as usize).collect();
    let mut uncertainty = outcome.uncertainty.map_or_else(Vec::new, tensors::to_vec);
    uncertainty.truncate(count * world.measures.len());
    Imagined { rows, members, uncertainty, outcome: [count as f64, outcome.ended as f64, outcome.reward_sum] }
}

/// Returns the largest |x − y| / max(1, |y|).
fn difference(x: &[f32], y: &[f32]) -> f32 {
    assert_eq!(x.len(), y.len());
    let relative = |(x, y): (&f32, &f32)| {
        let relative = if x == y { 0.0 } else { (x - y).abs() / y.abs().max(1.0) };
        assert!(!relative.is_nan(), "{x} and {y}");
        relative
    };
    x.iter().zip(y).map(relative).fold(0.0, f32::max)
}

/// The state of the comparison for one row.
struct RowState {
    /// State of the rollout.
    obs: Vec<f32>,
    /// State of the reference's own rollout; `None` once it has terminated or come close to a bound.
    own: Option<Vec<f32>>,
    /// Whether the rollout has terminated.
    over: bool,
}

/// The largest differences found.
#[derive(Default)]
struct Worst {
    /// Largest difference after one step from a common state.
    one: f32,
    /// Largest difference of a measure of uncertainty.
    uncertainty: f32,
    /// Largest difference after each step of the reference's own rollout.
    after: Vec<f32>,
}

fn check(world: &RandomWorld, worst: &mut Worst) {
    let [obs_dim, action_dim] = world.dims;
    let context = world.context();
    let spec = HostContext::new(&context);
    let mut alone = HostContext::new(&context);
    alone.measures = &[];
    let got = read(world);
    let Batch { obs, action, reward, next_obs, not_terminated, .. } = &got.rows;
    let mut states: Vec<RowState> = (0..world.starts as u32)
        .map(|row_id| RowState { obs: world.start(row_id), own: Some(world.start(row_id)), over: false })
        .collect();
    let mut i = 0;
    for step in 0..world.horizon {
        for (row_id, RowState { obs: from, own, over }) in
            states.iter_mut().enumerate().filter(|(_, state)| !state.over)
        {
            let place = format!("row {row_id}, step {step}");
            let next = &next_obs[i * obs_dim..][..obs_dim];
            assert_eq!(from, &obs[i * obs_dim..][..obs_dim], "{place}");

            // One step from the rollout's state.
            let want = reference::step(&spec, world.draw_step(step), row_id as u32, from);
            assert_eq!(got.members[i], want.member, "{place}");
            let action = &action[i * action_dim..][..action_dim];
            for (got, want) in [(action, &want.action[..]), (next, &want.next_obs), (&reward[i..=i], &[want.reward])] {
                worst.one = worst.one.max(difference(got, want));
            }
            let uncertainty = &got.uncertainty[i * world.measures.len()..][..world.measures.len()];
            worst.uncertainty = worst.uncertainty.max(difference(uncertainty, &want.uncertainty));
            let terminated = not_terminated[i] == 0.0;
            assert_eq!(terminated, world.termination.terminated(from, next), "{place}: {next:?}");
            if world.margin(from, next) > NEAR {
                assert_eq!(terminated, want.terminated, "{place}: {next:?}");
            }

            // One step of the reference's own rollout.
            *own = own.take().and_then(|own| {
                let want = reference::step(&alone, world.draw_step(step), row_id as u32, &own);
                worst.after.resize(worst.after.len().max(step + 1), 0.0);
                worst.after[step] = worst.after[step].max(difference(next, &want.next_obs));
                (world.margin(&own, &want.next_obs) > NEAR && !want.terminated).then_some(want.next_obs)
            });
            (*from, *over) = (next.to_vec(), terminated);
            i += 1;
        }
    }
    let ended = not_terminated.iter().filter(|&&x| x == 0.0).count() as f64;
    let sum: f64 = reward.iter().map(|&x| f64::from(x)).sum();
    let size: f64 = reward.iter().map(|&x| f64::from(x.abs())).sum();
    assert_eq!(got.outcome[..2], [i as f64, ended]);
    assert!((got.outcome[2] - sum).abs() <= 1e-5 * size, "{} and {sum}", got.outcome[2]);
}

#[test]
fn rollouts_are_those_of_the_reference_in_two_hundred_random_worlds() {
    let name = "rollouts_are_those_of_the_reference_in_two_hundred_random_worlds";
    let Some(gpu) = wgpu_of_test(name) else { return };
    let (mut worst, mut ruled, mut long) = (Worst::default(), 0, 0);
    for i in 0..CASES {
        let world = worlds::random(i, &sizes(), &gpu);
        check(&world, &mut worst);
        ruled += u32::from(world.termination != Termination::never());
        long += u32::from(world.horizon >= 15);
    }
    assert!(ruled > 100 && long > 50, "{ruled} with a rule, {long} of 15 steps and more");
    // Measured on llvmpipe: 1.6e-6 after one step, 6e-7 for the measures, and at most 1.5e-6 after 1 to 25 steps.
    assert!(worst.one < 1e-5, "after one step {}", worst.one);
    assert!(worst.uncertainty < 1e-5, "uncertainty {}", worst.uncertainty);
    assert!(worst.after.len() == 25 && worst.after.iter().all(|&x| x < 1e-5), "after each step {:?}", worst.after);
}

#[test]
fn kernels_leave_rules_on_other_quantities_and_learned_ends_to_the_form_in_tensors() {
    let name = "kernels_leave_rules_on_other_quantities_and_learned_ends_to_the_form_in_tensors";
    let Some(gpu) = wgpu_of_test(name) else { return };
    let world = worlds::random(1, &[([4, 2], vec![8], vec![8, 8])], &gpu);
    let takes = |rule: EndRule<'_>| kernel::takes(&world.ensemble, &world.policy, rule);
    for (rule, taken) in [
        ("bounds = [{ index = 3, low = -1 }]\nfinite = true", true),
        ("bounds = [{ index = 3, low = -1, of = 'change' }]", false),
        ("goal = [{ index = 3, low = -1 }, { index = 0, low = 0, of = 'previous' }]", false),
        ("goal = [{ distance = [0, 1], to = [2, 3], high = 1 }]", false),
    ] {
        let rule: Termination = toml::from_str(rule).expect("a rule");
        assert_eq!(takes((&rule).into()), taken, "{rule}");
    }
    assert!(!takes(EndRule::Learned(&LearnedEnds::new(world.dims, 0.2, 0, &gpu))));
}

/// Uses tiles of the largest height, many blocks of rows, and last tiles that are not full.
#[test]
fn tiles_and_blocks_do_not_show() {
    let Some(gpu) = wgpu_of_test("tiles_and_blocks_do_not_show") else { return };
    let mut world = worlds::random(1, &[([4, 2], vec![8], vec![8, 8])], &gpu);
    (world.starts, world.horizon) = (9001, 3);
    world.termination = Termination::outside(vec![Bound { quantity: 1.into(), low: -1.5, high: 1.0, closed: true }]);
    let mut worst = Worst::default();
    check(&world, &mut worst);
    assert!(worst.one < 1e-5, "after one step {}", worst.one);

    let many = read(&world);
    world.starts = 70;
    let few = read(&world);
    let first = |all: &Imagined, rows: usize| (all.rows.next_obs[..4 * rows].to_vec(), all.members[..rows].to_vec());
    assert_eq!(first(&few, 70), first(&many, 70), "a row does not depend on how many others there are");
}

#[test]
fn two_calls_are_equal_bit_for_bit() {
    let Some(gpu) = wgpu_of_test("two_calls_are_equal_bit_for_bit") else { return };
    for i in [0, 3, 8] {
        let world = worlds::random(i, &sizes(), &gpu);
        assert_eq!(read(&world), read(&world), "world {i}");
    }
}

#[test]
fn a_full_ring_is_overwritten_from_its_oldest_row_on() {
    let Some(gpu) = wgpu_of_test("a_full_ring_is_overwritten_from_its_oldest_row_on") else { return };
    let mut world = worlds::random(5, &sizes(), &gpu);
    (world.starts, world.horizon) = (37, 4);
    world.termination = Termination::never();
    let all = read(&world).rows.reward;
    for (capacity, position) in [(200, 150), (37, 0), (100, 99), (148, 148)] {
        let (outcome, ring) = imagine(&world, capacity, position);
        assert_eq!(outcome.transitions, 148);
        let mut want = vec![-7.0; capacity];
        for (i, &reward) in all.iter().enumerate() {
            want[(position + i) % capacity] = reward;
        }
        want.truncate(ring.len());
        assert_eq!(ring.rows().reward, want, "{capacity} rows from {position} on");
    }
}

#[test]
fn all_may_end_at_once_and_none_goes_on() {
    let Some(gpu) = wgpu_of_test("all_may_end_at_once_and_none_goes_on") else { return };
    let mut world = worlds::random(2, &sizes(), &gpu);
    (world.starts, world.horizon) = (5, 4);
    world.termination = Termination::outside(vec![Bound { quantity: 0.into(), low: 1e9, high: 2e9, closed: true }]);
    let (outcome, _) = imagine(&world, 20, 0);
    assert_eq!((outcome.transitions, outcome.ended), (5, 5));
}

/// A state that is not finite terminates a row only if the rule requires finite states.
#[test]
fn what_is_not_finite_is_seen() {
    let Some(gpu) = wgpu_of_test("what_is_not_finite_is_seen") else { return };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for finite in [true, false] {
            let mut world = worlds::random(4, &[([4, 2], vec![8], vec![8, 8])], &gpu);
            (world.starts, world.horizon) = (6, 2);
            world.termination = Termination { finite, ..Termination::never() };
            world.real.obs.fill(0.5);
            world.real.obs.chunks_exact_mut(4).for_each(|obs| obs[2] = bad);
            let (outcome, _) = imagine(&world, 12, 0);
            assert_eq!(outcome.ended, if finite { 6 } else { 0 }, "{bad}, finite {finite}");
        }
    }
}

#[test]
fn a_step_under_given_actions_is_the_step_that_took_them() {
    let Some(gpu) = wgpu_of_test("a_step_under_given_actions_is_the_step_that_took_them") else { return };
    for i in 0..12 {
        let mut world = worlds::random(i, &sizes(), &gpu);
        world.horizon = 1;
        let [obs_dim, action_dim] = world.dims;
        let want = read(&world);
        let states: Vec<f32> = (0..world.starts as u32).flat_map(|row_id| world.start(row_id)).collect();
        let states = tensors::from_vec(states, [world.starts, obs_dim], &gpu);
        let actions = tensors::from_vec(want.rows.action.clone(), [world.starts, action_dim], &gpu);
        let mut ring = ImaginedBuffer::on(world.starts + 2, world.dims, &gpu);
        let outcome = ring.fill_on_device(|rows, next| {
            let (context, draw_step) = (world.context(), world.draw_step(0));
            let outcome = kernel::step_under(&context, draw_step, states.clone(), actions.clone(), rows, next);
            (outcome.transitions as usize, outcome)
        });
        let rows = ring.rows();
        assert_eq!(rows.action, want.rows.action, "world {i}");
        assert_eq!((&rows.obs, &rows.not_terminated), (&want.rows.obs, &want.rows.not_terminated), "world {i}");
        for (got, want) in [(&rows.next_obs, &want.rows.next_obs), (&rows.reward, &want.rows.reward)] {
            let apart = difference(got, want);
            assert!(apart < 1e-6, "world {i}: {apart}");
        }
        assert_eq!(outcome.transitions as usize, world.starts);
        assert_eq!(outcome.ended as f64, want.outcome[1], "world {i}");
        let members: Vec<usize> = tensors::to_vec(outcome.members).iter().map(|&member| member as usize).collect();
        assert_eq!(members, want.members, "world {i}");
        // The step does not change the caller's states.
        assert_eq!(tensors::to_vec(states), want.rows.obs, "world {i}");
    }
}
