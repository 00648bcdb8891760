//! Tests that neither an update in host memory nor the values of a panel allocate memory.

#[path = "../../core/tests/support/counting.rs"]
mod counting;
mod random;

use burn::tensor::Device;
use counting::allocations;
use foresee_actor_critic::{Agent, BatchRef, Sac, SacConfig, StreamNoise, Update};
use foresee_nn::ValueHeads;
use foresee_nn::cpu::PANEL_ROWS;

#[test]
fn after_some_calls_neither_an_update_nor_a_panel_of_values_allocates() {
    let dims = [11, 3];
    let config = SacConfig { hidden: vec![64, 64], normalized_features: true, ..SacConfig::default() };
    let mut sac = Sac::new(&config, dims, 0, &Device::flex());
    let (batch, _) = random::batch(dims, 200, 0);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    // A thread grows its buffers at its first task, which may come late. So the test requires only that some twenty
    // successive updates, after the first twenty, allocate nothing.
    let counts: Vec<usize> = pool.install(|| {
        let mut twenty = || {
            let before = allocations();
            for _ in 0..20 {
                let noise = StreamNoise { seed: 0, update: sac.updates() };
                sac.update(Update { batch: BatchRef::Host(&batch), noise: &noise, dynamics: None, critic_only: false });
            }
            allocations() - before
        };
        (0..10).map(|_| twenty()).collect()
    });
    assert!(counts[1..].contains(&0), "allocations in twenty updates, again and again: {counts:?}");

    let states = vec![0.5; dims[0] * PANEL_ROWS];
    let (mut values, mut gradients) = (vec![0.0; 4 * PANEL_ROWS], vec![0.0; 4 * states.len()]);
    for through_policy in [false, true] {
        let view = sac.values(ValueHeads::All, through_policy);
        view.of_panel(&states, &mut values, Some(&mut gradients));
        let before = allocations();
        view.of_panel(&states, &mut values, Some(&mut gradients));
        view.of_panel(&states, &mut values, None);
        assert_eq!(allocations(), before, "through_policy: {through_policy}");
    }
}
