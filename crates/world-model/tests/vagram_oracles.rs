//! VaGraM compared with value functions of known gradients, and checks of what must not change the loss.

mod toys;

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};
use foresee_core::{Batch, Stream};
use foresee_nn::{NoValues, tensors};
use foresee_world_model::config::EnsembleConfig;
use foresee_world_model::loss::vagram::{Bound, Vagram, clipped_gradients};
use foresee_world_model::loss::{self, CallRows, Extras, LossInput, RowTerms, VALUE_ROWS_PER_PASS, mse};
use foresee_world_model::split::Split;
use foresee_world_model::{Ensemble, Head};
use toys::Quadratic;

/// The quantile that clips nothing.
const UNCLIPPED: f64 = 1.0;

/// Computes the clipped value gradients at states `[rows, O]`.
fn gradients(view: &Quadratic, states: &[f32], obs_dim: usize, clip_quantile: f64) -> RowTerms {
    let batch = Batch { rows: states.len() / obs_dim, next_obs: states.to_vec(), ..Batch::default() };
    clipped_gradients(&CallRows::new(&batch, &Device::flex()), view, clip_quantile)
}

/// A batch with predictions of all members, and gradients gathered as in the trainer.
struct Scene {
    ensemble: Ensemble,
    weights: RowTerms,
    inputs: Vec<f32>,
    targets: Vec<f32>,
}

impl Scene {
    /// Returns `rows` random rows of 3 observation entries and 2 action entries, with an ensemble of 4 members.
    fn new(rows: usize, view: &Quadratic, clip_quantile: f64) -> Self {
        let draw = |name, columns| Stream::new(3, name).normals(0, rows, columns);
        let config = EnsembleConfig { members: 4, elites: 1, hidden: vec![8], ..EnsembleConfig::default() };
        Self {
            ensemble: Ensemble::new(&config, Head::Deterministic, [3, 2], 3, &Device::flex()),
            weights: gradients(view, &draw("next_obs", 3), 3, clip_quantile),
            inputs: draw("inputs", 5),
            targets: draw("targets", 4),
        }
    }

    fn gather(all: &[f32], width: usize, indices: &[u32], members: usize) -> Tensor<3> {
        let values = indices.iter().flat_map(|&row| &all[row as usize * width..][..width]).copied().collect();
        tensors::from_vec(values, [members, indices.len() / members, width], &Device::flex())
    }

    /// Returns the loss's input for replay rows `[E, B]`, or for rows `[1, B]` that all members share.
    fn input(&self, indices: &[u32], members: usize) -> LossInput<'_> {
        LossInput {
            prediction: self.ensemble.predict(Self::gather(&self.inputs, 5, indices, members)),
            target: Self::gather(&self.targets, 4, indices, members),
            terms: Some(self.weights.gather(indices, members, &Device::flex())),
            state_offset: None,
            view: &NoValues,
        }
    }
}

fn vagram(form: Bound) -> Vagram {
    Vagram { form, ..Vagram::default() }
}

/// Computes the loss of every row without any added parts.
fn per_row(loss: &Vagram, input: &LossInput<'_>) -> Vec<f32> {
    tensors::to_vec(loss::training_per_row(loss, input, &Extras::default()))
}

/// Returns a view with the same gradient everywhere, `[N, O]`.
fn linear(heads: usize, obs_dim: usize, slope: f32) -> Quadratic {
    let size = heads * obs_dim;
    Quadratic { heads, obs_dim, curvature: vec![0.0; size], slope: vec![slope; size] }
}

/// Computes ∂V_n/∂s at one state by central differences in f64. They are exact for a quadratic at any step size.
fn finite_differences(view: &Quadratic, head: usize, state: &[f32]) -> Vec<f32> {
    let value = |moved: usize, step: f64| -> f64 {
        let term = |d: usize| {
            let at = head * view.obs_dim + d;
            let s = f64::from(state[d]) + if d == moved { step } else { 0.0 };
            0.5 * f64::from(view.curvature[at]) * s * s + f64::from(view.slope[at]) * s
        };
        (0..view.obs_dim).map(term).sum()
    };
    (0..view.obs_dim).map(|d| (value(d, 0.5) - value(d, -0.5)) as f32).collect()
}

#[track_caller]
fn assert_near(what: &str, got: &[f32], want: &[f32], relative: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= relative * (1.0 + want.abs()), "{what}[{i}]: {got}, expected {want}");
    }
}

#[test]
fn value_weights_are_the_finite_differences_of_every_head_at_every_row() {
    // Odd sizes, a single head, entry and row, and more rows than one and than two passes.
    let passes = [VALUE_ROWS_PER_PASS + 1, 2 * VALUE_ROWS_PER_PASS + 3];
    for (heads, obs_dim, rows) in [(1, 1, 1), (4, 3, 7), (2, 5, passes[0]), (3, 1, passes[1])] {
        let view = Quadratic::random(heads, obs_dim);
        let states = Stream::new(1, "states").normals(0, rows, obs_dim);
        let weights = gradients(&view, &states, obs_dim, UNCLIPPED);
        for (row, state) in states.chunks_exact(obs_dim).enumerate() {
            for head in 0..heads {
                let (got, want) = (weights.row(head, row), finite_differences(&view, head, state));
                assert_near(&format!("head {head} of {heads}, row {row}"), got, &want, 1e-5);
            }
        }
    }
}

#[test]
fn value_weights_follow_their_rows_in_any_order() {
    let (rows, obs_dim) = (101, 3);
    let view = Quadratic::random(4, obs_dim);
    let states = Stream::new(1, "states").normals(0, rows, obs_dim);
    let order = Stream::new(1, "order").at(0, 0).permutation(rows);
    let shuffled: Vec<f32> = order.iter().flat_map(|&row| &states[row * obs_dim..][..obs_dim]).copied().collect();
    let weights = |states: &[f32]| gradients(&view, states, obs_dim, 0.9);
    let (straight, shuffled) = (weights(&states), weights(&shuffled));
    for (place, &row) in order.iter().enumerate() {
        for head in 0..4 {
            assert_eq!(shuffled.row(head, place), straight.row(head, row), "row {row} at {place}");
        }
    }
}

#[test]
fn vagram_with_the_same_gradient_everywhere_is_a_scaled_squared_error() {
    // A linear value has one gradient for all rows. All its norms are equal, so clipping does not change them.
    let slope = 1.7_f32;
    for clip_quantile in [UNCLIPPED, 0.95] {
        let scene = Scene::new(6, &linear(3, 3, slope), clip_quantile);
        let all: Vec<u32> = (0..24).map(|i| i % 6).collect();
        let input = scene.input(&all, 4);
        let got = per_row(&vagram(Bound::Bounded), &input);
        let part = |from, width| {
            mse::per_row(
                input.prediction.mean.clone().narrow(2, from, width),
                input.target.clone().narrow(2, from, width),
            )
        };
        let want = tensors::to_vec(part(0, 3).mul_scalar(slope * slope) + part(3, 1));
        assert_near("rows", &got, &want, 1e-5);
    }
}

#[test]
fn a_rows_loss_is_the_same_in_every_batch_and_epoch_in_training_and_on_holdout() {
    let (rows, members) = (40, 4);
    for form in [Bound::Bounded, Bound::Unbounded] {
        let scene = Scene::new(rows, &Quadratic::random(4, 3), 0.95);
        let config = vagram(form);
        // The losses in training and on the holdout, by (member, row).
        let mut seen: HashMap<(usize, u32), [Vec<f32>; 2]> = HashMap::new();
        // Every call draws a new split, so rows move between holdout and training.
        for call in 0..4 {
            let split = Split::new(rows, 0.2, members, 0, call);
            for epoch in 0..3 {
                for index in 0..split.batches(7) {
                    let mut batch = Vec::new();
                    split.batch(&split.order(epoch), index, 7, &mut batch);
                    let losses = per_row(&config, &scene.input(&batch, members));
                    for (at, (&row, loss)) in batch.iter().zip(losses).enumerate() {
                        seen.entry((at / (batch.len() / members), row)).or_default()[0].push(loss);
                    }
                }
            }
            let holdout = scene.input(&split.holdout, 1);
            let scores = tensors::to_vec(loss::score_per_row(&config, &holdout, &Extras::default()));
            assert_eq!(scores.len(), members * split.holdout.len());
            for (at, score) in scores.into_iter().enumerate() {
                let (member, place) = (at / split.holdout.len(), at % split.holdout.len());
                seen.entry((member, split.holdout[place])).or_default()[1].push(score);
            }
        }
        for ((member, row), [trained, held]) in &seen {
            let all: Vec<f32> = trained.iter().chain(held).copied().collect();
            // Only the products of the network may round differently in a batch of another size.
            assert_near(&format!("{form:?}, member {member}, row {row}"), &all, &vec![all[0]; all.len()], 1e-5);
        }
        let on_both_sides = seen.values().filter(|sides| sides.iter().all(|side| !side.is_empty())).count();
        assert!(on_both_sides > 20, "only {on_both_sides} rows changed sides");
    }
}
