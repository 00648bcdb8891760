//! Tests of the number of kernel launches: for the batch of an agent update, for storing a transition, for actions, and
//! for a gradient step of the model under every loss.

#![cfg(feature = "wgpu")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cubecl::logging::{LaunchObservation, LaunchObserver};
use foresee_actor_critic::{Agent, Sac, SacConfig};
use foresee_core::{Batch, Transition};
use foresee_dyna::replay::{self, DrawCounter, ImaginedBuffer, RealBuffer};
use foresee_nn::ValueHeads;
use foresee_nn::device::wgpu_of_test;
use foresee_world_model::config::{EnsembleConfig, FitConfig};
use foresee_world_model::{LossConfig, ModelConfig, Trainer, loss};

#[derive(Default)]
struct Count(AtomicUsize);

impl LaunchObserver for Count {
    fn launched(&self, _: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the number of kernels that `work` launches.
fn launches(work: impl FnOnce()) -> usize {
    let count = Arc::new(Count::default());
    let watching = LaunchObservation::new(count.clone());
    work();
    drop(watching);
    count.0.load(Ordering::Relaxed)
}

// The observer sees all launches of the process, so this file has only one test.
#[test]
fn a_batch_is_two_launches_a_transition_one_and_a_gradient_step_is_bounded() {
    let Some(gpu) = wgpu_of_test("a_batch_is_two_launches_a_transition_one_and_a_gradient_step_is_bounded") else {
        return;
    };
    let dims = [3, 1];
    let (mut real, mut imagined) = (RealBuffer::new(dims, &gpu), ImaginedBuffer::on(500, dims, &gpu));
    let row = Transition {
        obs: vec![1.0; 3],
        action: vec![0.5],
        reward: 1.0,
        next_obs: vec![2.0; 3],
        terminated: false,
        truncated: false,
    };
    for _ in 0..3 {
        assert_eq!(launches(|| real.push(&row)), 1);
    }
    let rows = real.rows().clone();
    assert_eq!(launches(|| imagined.extend(&rows)), 1);
    let mut draw_counter = DrawCounter::default();
    for (shares, want) in [([13, 243], 2), ([256, 0], 1), ([0, 1000], 1)] {
        let drawn = launches(|| drop(replay::draw(&real, &imagined, shares, [0, 1], ["a", "b"], &mut draw_counter)));
        assert_eq!(drawn, want, "{shares:?}");
    }

    let agent = Sac::new(&SacConfig { hidden: vec![8], ..SacConfig::default() }, dims, 0, &gpu);
    for noise in [Some([0.5_f32; 4].as_slice()), None] {
        let act = launches(|| drop(agent.actor().act(&[0.1; 12], 4, noise, &gpu)));
        assert!((1..=3).contains(&act), "acting: {act} launches");
    }

    // The passes take 4 launches and Adam 1 or 2; the loss, in tensors, takes the rest. The bounds are the current
    // numbers.
    let most = BTreeMap::from([
        ("huber", 38),
        ("itervaml", 69),
        ("mle", 126),
        ("mse", 27),
        ("vagram", 43),
        ("value_weighted", 42),
    ]);
    let mut found = BTreeMap::new();
    for kind in loss::shipped().iter().map(|kind| kind.name()) {
        let config = ModelConfig {
            ensemble: EnsembleConfig { members: 3, elites: 2, hidden: vec![8, 8], ..EnsembleConfig::default() },
            loss: LossConfig { add_mse_until: 0, ..LossConfig::named(kind) },
            fit: FitConfig { batch: 16, ..FitConfig::default() },
            ..ModelConfig::default()
        };
        let mut rows = Batch::default();
        for i in 0..200_u8 {
            rows.push(&[f32::from(i); 3], &[0.5], 1.0, &[f32::from(i) + 1.0; 3], false);
        }
        let loss = config.loss.choose(&loss::shipped()).expect("a shipped loss").0;
        let (mut trainer, view) = (Trainer::new(&config, loss, dims, 0, &gpu), agent.values(ValueHeads::All, false));
        let mut fit = trainer.begin(&rows, &*view, 0, 0);
        drop(trainer.gradient_step(&mut fit, &*view));
        let step = launches(|| drop(trainer.gradient_step(&mut fit, &*view)));
        found.insert(kind, step);
    }
    assert!(found.keys().eq(most.keys()), "every shipped loss has its bound: {found:?}");
    assert!(found.iter().all(|(kind, &step)| step > 5 && step <= most[kind]), "launches a gradient step: {found:?}");
}
