//! The agent of `algo = "dhmbpo"` with a model: its form in host memory compared with tensors and autodiff, and the CPU
//! compared with a GPU.

#[allow(dead_code)] // Every test file uses its own part of it.
mod common;

use burn::tensor::{Device, Tensor};
use common::double_horizon::{Case, floats};
use foresee_actor_critic::{Agent, BatchRef, DhmbpoConfig, StreamNoise, Update};
use foresee_dyna::rollout::tensors::TaskDynamics;
use foresee_nn::device::wgpu_of_test;
use foresee_nn::{Dynamics, ImaginedStep, StepDraws};
use foresee_world_model::Head;

/// A model without its form on panels.
struct InTensors<'a>(TaskDynamics<'a>);

impl Dynamics for InTensors<'_> {
    fn noise_width(&self) -> usize {
        self.0.noise_width()
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ImaginedStep {
        self.0.step(obs, action, draws)
    }
}

/// Returns the largest difference of two arrays, relative to the largest number.
fn relative_difference(a: &[f32], b: &[f32]) -> f64 {
    assert!(a.iter().chain(b).all(|x| x.is_finite()));
    let largest = a.iter().chain(b).fold(0.0_f32, |most, x| most.max(x.abs()));
    let most = a.iter().zip(b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    if largest == 0.0 { 0.0 } else { f64::from(most / largest) }
}

#[test]
fn the_form_in_host_memory_is_the_form_in_tensors() {
    type Sized = ([usize; 2], [&'static [usize]; 2], usize);
    let sizes: [Sized; 4] = [
        ([3, 1], [&[16, 16], &[24, 17]], 8),
        ([11, 3], [&[33, 20], &[40, 40, 40]], 300),
        ([1, 1], [&[5], &[7]], 1),
        ([5, 2], [&[64], &[31]], 129),
    ];
    for (seed, (dims, hidden, rows)) in (0..).zip(sizes) {
        for (head, horizon, critics, layer_norm, normalize) in [
            (Head::Gaussian, 5, 5, true, true),
            (Head::Deterministic, 2, 2, false, false),
            (Head::Gaussian, 1, 3, true, false),
        ] {
            let config = DhmbpoConfig {
                horizon,
                critics,
                layer_norm,
                normalize_observations: normalize,
                ..DhmbpoConfig::default()
            };
            let mut case = Case::new(seed, head, dims, hidden, rows, config);
            if horizon > 1 {
                // Ends by the next state alone are those of the other cases.
                let rule = "bounds = [{ index = 0, of = 'change', low = -2, high = 2 }, { index = 0, of = 'previous', low = -2.5 }]\n\
                    goal = [{ distance = [0], point = [0.4], high = 0.1 }]";
                case.termination = toml::from_str(rule).expect("a rule");
            }
            let dynamics = TaskDynamics { model: &case.model, termination: (&case.termination).into() };
            for update in 0..4 {
                // Both forms begin each update with the same weights: Adam makes a tiny difference of gradients a large
                // one of weights.
                let mut other = case.agent.clone();
                let batch = case.batch(update);
                let noise = StreamNoise { seed: 9, update };
                // The second update trains the critics alone.
                let given = |dynamics| Update {
                    batch: BatchRef::Host(&batch),
                    noise: &noise,
                    dynamics: Some(dynamics),
                    critic_only: update == 1,
                };
                case.agent.update(given(&dynamics));
                let in_tensors = InTensors(dynamics);
                other.update(given(&in_tensors));
                let what = format!("seed {seed}, {head:?}, H = {horizon}, update {update}");
                for ((name, got), (_, want)) in case.agent.report().iter().zip(other.report()) {
                    assert!(
                        (got - want).abs() <= 2e-5 * (0.1 + want.abs()),
                        "{what}: {name} is {got}, expected {want}"
                    );
                }
                let (mine, theirs) = (case.agent.save(), other.save());
                for ((name, mine), (_, theirs)) in mine.iter().zip(theirs.iter()) {
                    // Moments are averages of gradients. Weights may differ more, because Adam's step has its full size
                    // even for a tiny gradient.
                    let tolerance = if name.contains("moment") { 1e-4 } else { 3e-4 };
                    let difference = relative_difference(floats(mine), floats(theirs));
                    assert!(difference <= tolerance, "{what}: {name} differs by {difference:.1e}");
                }
            }
        }
    }
}

#[test]
fn the_first_updates_on_a_gpu_are_those_of_the_processor() {
    let Some(gpu) = wgpu_of_test("the_first_updates_on_a_gpu_are_those_of_the_processor") else { return };
    let config = DhmbpoConfig::default();
    let [mut here, mut there] = [Device::flex(), gpu]
        .map(|device| Case::on(&device, 1, Head::Gaussian, [11, 3], [&[32, 32], &[24, 24]], 64, config.clone()));
    for update in 0..20 {
        let noise = StreamNoise { seed: 4, update };
        for case in [&mut here, &mut there] {
            let batch = case.batch(update);
            let dynamics = TaskDynamics { model: &case.model, termination: (&case.termination).into() };
            case.agent.update(Update {
                batch: BatchRef::Host(&batch),
                noise: &noise,
                dynamics: Some(&dynamics),
                critic_only: false,
            });
        }
        for ((name, got), (_, want)) in there.agent.report().iter().zip(here.agent.report()) {
            assert!((got - want).abs() <= 1e-4 * (0.1 + want.abs()), "update {update}: {name} {got}, expected {want}");
        }
    }
}
