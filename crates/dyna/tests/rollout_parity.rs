//! Imagined rollouts compared with their specification, in random worlds.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use burn::tensor::Device;
use common::worlds::{self, RandomWorld, Sizes};
use foresee_core::{Batch, Stream};
use foresee_dyna::ends::{EndRule, LearnedEnds};
use foresee_dyna::replay::{ImaginedBuffer, RealBuffer};
use foresee_dyna::rollout::{Form, HostContext, Rollout, RolloutContext, reference};
use foresee_world_model::{ModelConfig, Trainer, loss};

const CASES: u64 = 200;
/// Distance from an end of a termination bound within which rounding may decide whether a row terminates.
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
    let mut buffer = ImaginedBuffer::new(world.starts * world.horizon, obs_dim, action_dim);
    let mut rollout = Rollout::new(&world.real, world.starts, world.horizon, world.seed, world.call);
    let mut states: Vec<RowState> = (0..world.starts as u32)
        .map(|row_id| RowState { obs: world.start(row_id), own: Some(world.start(row_id)), over: false })
        .collect();
    for step in 0.. {
        let from = buffer.len();
        let over = rollout.advance_on_host(&context, &mut buffer);
        let stored = buffer.rows();
        let live: Vec<usize> = (0..world.starts).filter(|&row_id| !states[row_id].over).collect();
        assert_eq!(buffer.len() - from, live.len(), "a transition of every live row and of no other, step {step}");
        for (k, &row_id) in live.iter().enumerate() {
            let (i, RowState { obs, own, over }) = (from + k, &mut states[row_id]);
            let next = &stored.next_obs[i * obs_dim..][..obs_dim];
            let action = &stored.action[i * action_dim..][..action_dim];
            assert_eq!(obs, &stored.obs[i * obs_dim..][..obs_dim], "row {row_id}, step {step}");

            // One step from the rollout's state.
            let want = reference::step(&spec, world.draw_step(step), row_id as u32, obs);
            assert_eq!(rollout.members()[k] as usize, want.member, "row {row_id}, step {step}");
            let parts = [(action, &want.action[..]), (next, &want.next_obs), (&stored.reward[i..=i], &[want.reward])];
            for (got, want) in parts {
                worst.one = worst.one.max(difference(got, want));
            }
            let uncertainty = &rollout.uncertainty()[k * world.measures.len()..][..world.measures.len()];
            worst.uncertainty = worst.uncertainty.max(difference(uncertainty, &want.uncertainty));
            let terminated = stored.not_terminated[i] == 0.0;
            assert_eq!(terminated, world.termination.terminated(obs, next));
            if world.margin(obs, next) > NEAR {
                assert_eq!(terminated, want.terminated, "row {row_id}, step {step}: {next:?}");
            }

            // One step of the reference's own rollout.
            *own = own.take().and_then(|own| {
                let want = reference::step(&spec, world.draw_step(step), row_id as u32, &own);
                worst.after.resize(worst.after.len().max(step + 1), 0.0);
                worst.after[step] = worst.after[step].max(difference(next, &want.next_obs));
                (world.margin(&own, &want.next_obs) > NEAR && !want.terminated).then_some(want.next_obs)
            });
            (*obs, *over) = (next.to_vec(), terminated);
        }
        assert_eq!(over, step + 1 == world.horizon || states.iter().all(|state| state.over));
        if over {
            break;
        }
    }
    assert_eq!(rollout.transitions(), buffer.len() as u64);
}

#[test]
fn rollouts_are_those_of_the_reference_in_two_hundred_random_worlds() {
    let (mut worst, mut ended, mut long, mut distant) = (Worst::default(), 0, 0, 0);
    for i in 0..CASES {
        let world = worlds::random(i, &sizes(), &Device::flex());
        check(&world, &mut worst);
        ended += u32::from(world.termination != foresee_core::Termination::never());
        long += u32::from(world.horizon >= 15);
        distant += u32::from(!world.termination.is_on_next_entries());
    }
    assert!(ended > 100 && long > 50, "{ended} with a rule, {long} of 15 steps and more");
    assert!(distant > 20, "{distant} with a distance or a quantity of the step");
    assert!(worst.one < 1e-5, "after one step {}", worst.one);
    assert!(worst.uncertainty < 1e-5, "uncertainty {}", worst.uncertainty);
    // Rounding errors do not grow: the largest difference is 1.6e-6, after 25 steps.
    assert!(worst.after.len() == 25 && worst.after.iter().all(|&x| x < 1e-5), "after each step {:?}", worst.after);
}

/// Returns the world's ensemble as a run's model.
fn model(world: &RandomWorld) -> Trainer {
    let config = ModelConfig::default();
    let loss = config.loss.choose(&loss::shipped()).expect("a shipped loss").0;
    let mut trainer = Trainer::new(&config, loss, world.dims, 0, &world.device);
    trainer.ensemble = world.ensemble.clone();
    trainer
}

#[test]
fn rollouts_in_tensor_operations_are_those_on_panels() {
    let (mut worst, mut rows) = (0.0_f32, 0);
    for i in 0..60 {
        let world = worlds::random(i, &sizes(), &Device::flex());
        let [obs_dim, action_dim] = world.dims;
        let model = model(&world);
        let context = RolloutContext {
            model: &model,
            actor: &world.policy,
            termination: (&world.termination).into(),
            seed: world.seed,
            device: &world.device,
        };
        assert_eq!(Form::fastest(&model, &world.policy, (&world.termination).into(), &world.device), Form::Panels);
        let real = RealBuffer::default();
        let mut all = [Form::Panels, Form::Tensors].map(|form| {
            let rollout = Rollout::new(&world.real, world.starts, world.horizon, world.seed, world.call);
            (form, rollout, ImaginedBuffer::new(world.starts * world.horizon, obs_dim, action_dim))
        });
        loop {
            let from = all[0].2.len();
            let over = all.each_mut().map(|(form, rollout, buffer)| rollout.advance(*form, &context, &real, buffer));
            let [panels, tensors] = all.each_ref().map(|(_, _, buffer)| buffer.rows());
            assert_eq!(panels.rows, tensors.rows, "world {i}");
            for (got, want, width) in [
                (&tensors.obs, &panels.obs, obs_dim),
                (&tensors.action, &panels.action, action_dim),
                (&tensors.reward, &panels.reward, 1),
                (&tensors.next_obs, &panels.next_obs, obs_dim),
            ] {
                worst = worst.max(difference(&got[from * width..], &want[from * width..]));
            }
            rows += panels.rows - from;
            // Rounding may decide whether a state near a bound terminates. After that the rows of the two forms differ.
            if tensors.not_terminated != panels.not_terminated {
                let differ =
                    (from..panels.rows).filter(|&row| tensors.not_terminated[row] != panels.not_terminated[row]);
                for row in differ {
                    let at = |obs: &[f32]| obs[row * obs_dim..][..obs_dim].to_vec();
                    assert!(world.margin(&at(&panels.obs), &at(&panels.next_obs)) <= NEAR, "world {i}, row {row}");
                }
                break;
            }
            assert_eq!(over[0], over[1], "world {i}");
            if over[0] {
                let [a, b] = all.each_ref().map(|(_, rollout, _)| (rollout.transitions(), rollout.terminated_share()));
                assert_eq!(a, b, "world {i}");
                break;
            }
        }
    }
    assert!(rows > 10_000 && worst < 1e-5, "{rows} rows, at most {worst} apart");
}

#[test]
fn a_rollout_under_the_actions_that_its_actor_took_is_the_same_rollout() {
    for i in 0..60 {
        let world = worlds::random(i, &sizes(), &Device::flex());
        let [obs_dim, action_dim] = world.dims;
        let context = world.context();
        let (sampled, mut given) = (HostContext::new(&context), HostContext::new(&context));
        // The actor must not be used.
        given.actor = None;
        let new = || Rollout::new(&world.real, world.starts, world.horizon, world.seed, world.call);
        let ring = || ImaginedBuffer::new(world.starts * world.horizon, obs_dim, action_dim);
        let (mut free, mut bound, mut own, mut told) = (new(), new(), ring(), ring());
        loop {
            let from = own.len();
            let over = free.step(&sampled, &mut own);
            let actions = own.rows().action[from * action_dim..].to_vec();
            assert_eq!(bound.step_under(&given, &actions, &mut told), over, "world {i}");
            assert_eq!(told.rows(), own.rows(), "world {i}");
            assert_eq!((bound.members(), bound.uncertainty()), (free.members(), free.uncertainty()), "world {i}");
            if over {
                break;
            }
        }
        assert_eq!(bound.save(), free.save(), "world {i}");
    }
}

/// Returns a classifier that is trained on the world's real states and random steps from them. Its ends are large changes
/// of the first entry against the action.
fn learned(world: &RandomWorld) -> LearnedEnds {
    let [obs_dim, action_dim] = world.dims;
    let mut rows = Batch::with_capacity(600, obs_dim, action_dim);
    let normals = |name: &str, width: usize| Stream::new(world.seed, name).normals(0, 600, width);
    let (starts, changes) = (normals("test/obs", obs_dim), normals("test/change", obs_dim));
    let actions = Stream::new(world.seed, "test/action").uniforms(0, 600, action_dim);
    for ((obs, change), action) in
        starts.chunks_exact(obs_dim).zip(changes.chunks_exact(obs_dim)).zip(actions.chunks_exact(action_dim))
    {
        let next: Vec<f32> = obs.iter().zip(change).map(|(x, change)| x + change).collect();
        rows.push(obs, action, 0.0, &next, change[0] > 0.3 + action[0]);
    }
    let mut classifier = LearnedEnds::new(world.dims, 0.2, world.seed, &world.device);
    classifier.begin(&rows);
    while classifier.advance(&rows, 0).is_none() {}
    classifier
}

#[test]
fn learned_ends_in_tensors_and_on_panels_are_those_of_the_reference() {
    let (mut rows, mut ended) = (0, 0);
    for i in 0..4 {
        let world = worlds::random(i, &sizes(), &Device::flex());
        let [obs_dim, action_dim] = world.dims;
        let (model, classifier) = (model(&world), learned(&world));
        let host = classifier.on_host();
        let context = RolloutContext {
            model: &model,
            actor: &world.policy,
            termination: EndRule::Learned(&classifier),
            seed: world.seed,
            device: &world.device,
        };
        for form in [Form::Panels, Form::Tensors] {
            let mut rollout = Rollout::new(&world.real, 100, 3, world.seed, world.call);
            let mut buffer = ImaginedBuffer::new(300, obs_dim, action_dim);
            while !rollout.advance(form, &context, &RealBuffer::default(), &mut buffer) {}
            let stored = buffer.rows();
            for row in 0..buffer.len() {
                let part = |all: &[f32], width: usize| all[row * width..][..width].to_vec();
                let [obs, action, next] =
                    [part(&stored.obs, obs_dim), part(&stored.action, action_dim), part(&stored.next_obs, obs_dim)];
                let z = host.logit(&obs, &action, &next);
                let terminated = stored.not_terminated[row] == 0.0;
                assert!(z.abs() < 1e-3 || terminated == (z > 0.0), "world {i}, {form:?}, row {row}: log-odds {z}");
                ended += u32::from(terminated);
            }
            rows += buffer.len();
        }
    }
    assert!(rows > 400 && ended > 20 && (ended as usize) < rows, "{ended} of {rows} steps end");
}
