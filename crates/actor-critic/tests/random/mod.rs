//! Random batches and agents, and the distance between two agents.

#![allow(dead_code, reason = "every test binary uses a part of this")]

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::{Agent, BatchRef, Noise, Sac, SacConfig, Update, metrics};
use foresee_core::state::Data;
use foresee_core::{Batch, State, Stream};
use foresee_nn::tensors;

/// Largest relative difference of a loss.
const METRICS: f64 = 1e-5;

/// Fixed noise of an update, at next observations and at observations, `[B, A]` each.
#[derive(Clone, Debug)]
pub(crate) struct Recorded(pub [Vec<f32>; 2]);

impl Recorded {
    fn of(&self, name: &str) -> &[f32] {
        match name {
            "agent/noise_next" => &self.0[0],
            "agent/noise" => &self.0[1],
            _ => panic!("nothing was recorded of `{name}`"),
        }
    }
}

impl Noise for Recorded {
    fn normals(&self, name: &'static str, shape: [usize; 2], device: &Device) -> Tensor<2> {
        tensors::from_vec(self.of(name).to_vec(), shape, device)
    }

    fn normals_into(&self, name: &'static str, shape: [usize; 2], out: &mut Vec<f32>) {
        assert_eq!(self.of(name).len(), shape[0] * shape[1]);
        out.clear();
        out.extend_from_slice(self.of(name));
    }

    fn words(&self, name: &'static str, _: usize) -> Vec<u32> {
        panic!("nothing was recorded of `{name}`")
    }
}

/// Makes one update with a batch in host memory, and returns its losses.
pub(crate) fn update(agent: &mut dyn Agent, batch: &Batch, noise: &dyn Noise) -> Vec<f64> {
    agent.update(Update { batch: BatchRef::Host(batch), noise, dynamics: None, critic_only: false });
    losses(agent)
}

/// Returns batch number `step` with `rows` rows, and its noise.
pub(crate) fn batch([obs, action]: [usize; 2], rows: usize, step: u64) -> (Batch, Recorded) {
    let normals = |name, columns| Stream::new(7, name).normals(step, rows, columns);
    let batch = Batch {
        rows,
        obs: normals("obs", obs),
        action: normals("action", action).into_iter().map(f32::tanh).collect(),
        reward: normals("reward", 1),
        next_obs: normals("next_obs", obs),
        not_terminated: normals("ends", 1).into_iter().map(|x| if x > 1.5 { 0.0 } else { 1.0 }).collect(),
    };
    (batch, Recorded([normals("noise_next", action), normals("noise", action)]))
}

/// An agent's config, its dimensions `[O, A]`, and the number of rows in its batches.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub config: SacConfig,
    pub dims: [usize; 2],
    pub rows: usize,
}

/// Returns cases with network sizes and row counts that are, or are not, multiples of a vector, a tile or a panel.
pub(crate) fn cases() -> Vec<Case> {
    const HIDDEN: [&[usize]; 5] = [&[7], &[13, 5], &[33, 31], &[64, 64, 17], &[50, 12]];
    let case = |i: u32| {
        let mut draws = Stream::new(3, "cases").at(0, i);
        let mut pick = |n: usize| draws.below(n);
        let config = SacConfig {
            hidden: HIDDEN[pick(5)].to_vec(),
            discount: [0.0, 0.9, 0.99, 1.0][pick(4)],
            tau: [0.005, 0.3, 1.0][pick(3)],
            critic_lr: [3e-4, 1e-3][pick(2)],
            actor_lr: [3e-4, 1e-3][pick(2)],
            temperature_lr: [3e-4, 1e-2][pick(2)],
            initial_temperature: [1e-3, 0.1, 1.0][pick(3)],
            learn_temperature: pick(4) > 0,
            target_entropy: [None, Some(0.5)][pick(2)],
            policy_delay: 1 + pick(3) as u64,
            target_update_interval: 1 + pick(3) as u64,
            normalized_features: pick(2) == 1,
            ..SacConfig::default()
        };
        let dims = [1 + pick(17), 1 + pick(6)];
        Case { config, dims, rows: [1, 31, 33, 64, 127, 256][i as usize % 6] }
    };
    (0..36).map(case).collect()
}

/// Returns a new agent of the case.
pub(crate) fn agent(case: &Case, device: &Device) -> Sac {
    Sac::new(&case.config, case.dims, 1, device)
}

/// Returns the losses of the last update: the critics' loss and the mean target; and, if the actor was updated, its
/// loss and the entropy.
pub(crate) fn losses(agent: &dyn Agent) -> Vec<f64> {
    let report = agent.report().into_iter();
    report.filter(|(name, _)| ![metrics::TEMPERATURE, metrics::UPDATES].contains(name)).map(|(_, x)| x).collect()
}

/// Returns the largest difference in any array of two agents, relative to the array's largest number, and the array's
/// name.
pub(crate) fn worst_difference(got: &State, want: &State) -> (f64, String) {
    let mut worst = (0.0, String::new());
    let pairs = got.iter().zip(want.iter());
    for ((name, got), (same, want)) in pairs {
        assert_eq!((name, &got.shape), (same, &want.shape));
        let (Data::F32(got), Data::F32(want)) = (&got.data, &want.data) else {
            assert_eq!(got.data, want.data, "{name}");
            continue;
        };
        let scale = want.iter().fold(1e-6_f64, |most, &x| most.max(f64::from(x.abs())));
        for (&got, &want) in got.iter().zip(want) {
            let difference = f64::from((got - want).abs()) / scale;
            assert!(!difference.is_nan(), "{name}: {got}, expected {want}");
            if difference > worst.0 {
                worst = (difference, name.to_owned());
            }
        }
    }
    worst
}

/// Asserts that metrics and states differ by no more than allowed.
#[track_caller]
pub(crate) fn assert_agree(
    what: &str,
    (got, metrics): (&Sac, Vec<f64>),
    (want, of_want): (&Sac, Vec<f64>),
    bound: f64,
) {
    assert_eq!(metrics.len(), of_want.len(), "{what}: the actor's turn");
    for (got, want) in metrics.iter().zip(&of_want) {
        assert!((got - want).abs() <= METRICS * (1.0 + want.abs()), "{what}: {got}, expected {want}");
    }
    let (worst, name) = worst_difference(&got.save(), &want.save());
    assert!(worst <= bound, "{what}: {name} is {worst:e} off");
}
