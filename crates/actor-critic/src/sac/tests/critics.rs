//! Brute-force tests of the number of critics, of the target and of the actor's loss.

use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_core::stream::below;
use foresee_nn::tensors;

use super::random::batch;
use crate::agent::{Agent, Update};
use crate::batch::{BatchRef, TensorBatch};
use crate::critic::subset;
use crate::critic::{Critic, Reduction};
use crate::noise::{Noise, StreamNoise};
use crate::sac::{NOISE, NOISE_NEXT, Sac, SacConfig, TARGET_SUBSET};

const DIMS: [usize; 2] = [5, 2];
const ROWS: usize = 33;

/// Configs that differ only in their critics.
fn configs() -> Vec<SacConfig> {
    let [min, mean] = [Reduction::Min, Reduction::Mean];
    let config = |critics, target_subset, target_reduction, actor_reduction| SacConfig {
        hidden: vec![16],
        critics,
        target_subset,
        target_reduction,
        actor_reduction,
        ..SacConfig::default()
    };
    vec![
        config(2, None, min, min),
        config(1, None, min, mean),
        config(5, None, mean, min),
        config(10, Some(2), min, mean),
        config(7, Some(3), mean, mean),
        config(4, Some(1), min, min),
    ]
}

/// Returns the values of every critic, one vector per critic.
fn values(critic: &Critic, obs: Tensor<2>, action: Tensor<2>) -> Vec<Vec<f64>> {
    let rows = obs.dims()[0];
    let all: Vec<f64> = tensors::to_vec(critic.values(obs, action)).into_iter().map(f64::from).collect();
    all.chunks_exact(rows).map(<[f64]>::to_vec).collect()
}

/// Reduces one row's values by the definition.
fn reduced(reduction: Reduction, values: &[f64]) -> f64 {
    match reduction {
        Reduction::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
        Reduction::Mean => values.iter().sum::<f64>() / values.len() as f64,
    }
}

/// An agent whose target critics differ from its online critics.
fn agent(config: &SacConfig) -> Sac {
    let mut sac = Sac::new(config, DIMS, 1, &Device::flex());
    sac.target = Critic::new(config.critics, &config.critic_body(), DIMS, 2, &Device::flex());
    sac
}

#[test]
fn the_target_is_what_scalars_make_of_the_chosen_critics() {
    let device = Device::flex();
    for config in configs() {
        let sac = agent(&config);
        let batch = TensorBatch::new(&batch(DIMS, ROWS, 0).0, DIMS, &device);
        let noise = StreamNoise { seed: 5, update: 3 };
        let got = tensors::to_vec(sac.critic_target(&batch, &noise));

        let next = sac.policy().sample(batch.next_obs.clone(), noise.normals(NOISE_NEXT, [ROWS, 2], &device));
        let q = values(sac.target(), batch.next_obs.clone(), next.action);
        // The critics of this update, each drawn from the remaining ones.
        let mut left: Vec<usize> = (0..config.critics).collect();
        let chosen = match config.target_subset {
            None => left,
            Some(size) => {
                let draw = |(i, word): (usize, u32)| {
                    let at = below(word, left.len());
                    let chosen = left[at];
                    // The first remaining critic takes the place of the chosen one.
                    left[at] = left[0];
                    left.remove(0);
                    assert_eq!(left.len(), config.critics - i - 1);
                    chosen
                };
                noise.words(TARGET_SUBSET, size).into_iter().enumerate().map(draw).collect()
            }
        };
        let alpha = f64::from(tensors::to_f32(sac.temperature()));
        let [log_prob, reward, not_terminated] =
            [next.log_prob, batch.reward, batch.not_terminated].map(tensors::to_vec);
        for (row, &got) in got.iter().enumerate() {
            let of_row: Vec<f64> = chosen.iter().map(|&n| q[n][row]).collect();
            let value = reduced(config.target_reduction, &of_row) - alpha * f64::from(log_prob[row]);
            let want = f64::from(reward[row]) + f64::from(not_terminated[row]) * config.discount * value;
            assert!((f64::from(got) - want).abs() < 1e-5 * (1.0 + want.abs()), "{config:?}, {row}: {got}, not {want}");
        }
    }
}

#[test]
fn the_actors_loss_is_what_scalars_make_of_all_critics() {
    let device = Device::flex();
    for config in configs() {
        // The critics' step size is below the rounding of every weight, so the actor is trained against unchanged
        // critics.
        let config = SacConfig { critic_lr: 1e-30, ..config };
        let mut sac = agent(&config);
        let (rows, _) = batch(DIMS, ROWS, 0);
        let sent = TensorBatch::new(&rows, DIMS, &device);
        let noise = StreamNoise { seed: 5, update: 0 };
        let own = sac.policy().sample(sent.obs.clone(), noise.normals(NOISE, [ROWS, 2], &device));
        let q = values(sac.critic(), sent.obs, own.action);
        let alpha = f64::from(tensors::to_f32(sac.temperature()));
        let of_row = |(row, log_prob): (usize, f32)| {
            let of_row: Vec<f64> = q.iter().map(|q| q[row]).collect();
            alpha * f64::from(log_prob) - reduced(config.actor_reduction, &of_row)
        };
        let losses = tensors::to_vec(own.log_prob).into_iter().enumerate().map(of_row);
        let want = losses.sum::<f64>() / ROWS as f64;
        sac.update(Update { batch: BatchRef::Host(&rows), noise: &noise, dynamics: None, critic_only: false });
        let report = sac.report();
        let got = report.iter().find(|(name, _)| *name == crate::metrics::ACTOR_LOSS).expect("the actor's turn").1;
        assert!((got - want).abs() < 1e-5 * (1.0 + want.abs()), "{config:?}: {got}, expected {want}");
    }
}

#[test]
fn a_random_subset_is_distinct_and_every_one_is_equally_likely() {
    const DRAWS: u64 = 12_000;
    let (n, size) = (5, 3);
    let mut counts = std::collections::BTreeMap::new();
    for update in 0..DRAWS {
        let mut chosen = subset(&StreamNoise { seed: 0, update }.words(TARGET_SUBSET, size), n);
        chosen.sort_unstable();
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && chosen[size - 1] < n, "{chosen:?}");
        *counts.entry(chosen).or_insert(0_u32) += 1;
    }
    // There are 10 subsets of 3 out of 5. A χ² of nine degrees of freedom exceeds 27.9 for one seed in a thousand.
    assert_eq!(counts.len(), 10);
    let expected = DRAWS as f64 / 10.0;
    let chi_squared: f64 = counts.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
    assert!(chi_squared < 27.9, "{chi_squared}: {counts:?}");
}

#[test]
fn a_critic_is_the_same_however_many_there_are() {
    let [two, ten] = [2, 10].map(|members| {
        let config = SacConfig { hidden: vec![16], critics: members, ..SacConfig::default() };
        Sac::new(&config, DIMS, 1, &Device::flex())
    });
    let states = tensors::from_vec(Stream::new(3, "states").normals(0, 4, 5), [4, 5], &Device::flex());
    let actions = two.policy().mean_action(states.clone());
    let [two, ten] = [two, ten].map(|sac| values(sac.critic(), states.clone(), actions.clone()));
    assert_eq!(two[..], ten[..2]);
}

#[test]
fn an_agent_of_many_critics_goes_on_as_it_was_saved() {
    let config = &configs()[3];
    let mut original = agent(config);
    let step = |sac: &mut Sac, i| {
        let (batch, _) = batch(DIMS, ROWS, i);
        let noise = StreamNoise { seed: 1, update: sac.updates() };
        sac.update(Update { batch: BatchRef::Host(&batch), noise: &noise, dynamics: None, critic_only: false });
        sac.report()
    };
    (0..3).for_each(|i| drop(step(&mut original, i)));
    let mut restored = Sac::new(config, DIMS, 9, &Device::flex());
    restored.load(original.save()).expect("a state of the same shapes");
    assert!(restored.report().is_empty());
    for i in 3..6 {
        assert_eq!(step(&mut original, i), step(&mut restored, i));
    }
    assert!(original.save() == restored.save());
}
