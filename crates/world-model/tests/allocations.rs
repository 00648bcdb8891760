//! Checks that a gradient step of the ensemble in host memory allocates no memory.

#[path = "../../core/tests/support/counting.rs"]
mod counting;
mod toys;

use burn::tensor::Device;
use counting::allocations;
use foresee_core::{Batch, Stream};
use foresee_world_model::config::{EnsembleConfig, FitConfig};
use foresee_world_model::loss::shipped;
use foresee_world_model::{LossConfig, ModelConfig, Trainer};
use toys::Quadratic;

#[test]
fn after_some_steps_a_gradient_step_allocates_nothing() {
    let [rows, dims] = [300, 4];
    let numbers = |name| Stream::new(0, name).normals(0, rows, dims);
    let batch = Batch {
        rows,
        obs: numbers("obs"),
        action: numbers("action"),
        reward: Stream::new(0, "reward").normals(0, rows, 1),
        next_obs: numbers("next_obs"),
        not_terminated: vec![1.0; rows],
    };
    let view = Quadratic::random(4, dims);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    for kind in shipped().iter() {
        let config = ModelConfig {
            ensemble: EnsembleConfig { members: 3, elites: 2, hidden: vec![32, 32], ..EnsembleConfig::default() },
            loss: LossConfig::named(kind.name()),
            fit: FitConfig { batch: 64, ..FitConfig::default() },
            ..ModelConfig::default()
        };
        let loss = config.loss.choose(&shipped()).expect("a shipped loss").0;
        let counts: Vec<usize> = pool.install(|| {
            let mut trainer = Trainer::new(&config, loss, [dims; 2], 0, &Device::flex());
            let mut fit = trainer.begin(&batch, &view, 0, 0);
            // Several epochs, each with a shorter last batch.
            let mut twenty = || {
                let before = allocations();
                for _ in 0..20 {
                    trainer.gradient_step(&mut fit, &view);
                }
                allocations() - before
            };
            (0..10).map(|_| twenty()).collect()
        });
        // A thread's buffers grow at the first task that it happens to run, which may come late.
        assert!(counts[1..].contains(&0), "{kind:?}: allocations in twenty steps, again and again: {counts:?}");
    }
}
