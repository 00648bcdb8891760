//! IterVAML and the value-weighted error compared with closed forms, and with VaGraM where they agree.

mod toys;

use burn::tensor::{Device, Tensor};
use foresee_core::{Batch, Stream};
use foresee_nn::{ValueView, tensors};
use foresee_world_model::loss::{CallRows, itervaml, mse, vagram, value_weighted};
use toys::Quadratic;

const MEMBERS: usize = 3;
const ROWS: usize = 7;
const OBS: usize = 4;
const HEADS: usize = 2;

fn draw<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
    let values = Stream::new(9, name).normals(0, shape.iter().product(), 1);
    tensors::from_vec(values, shape, &Device::flex())
}

/// Returns observations `[E, B, O]`, the predicted mean and the target, `[E, B, O + 1]` each.
fn scene() -> [Tensor<3>; 3] {
    let shape = [MEMBERS, ROWS, OBS + 1];
    [draw("obs", [MEMBERS, ROWS, OBS]), draw("mean", shape), draw("target", shape)]
}

/// Computes [`itervaml::per_row`] of a scene under a view.
fn iterated(view: &Quadratic, [obs, mean, target]: [Tensor<3>; 3]) -> Tensor<2> {
    let predicted = itervaml::predicted_values(view, obs.clone(), mean.clone());
    let values = itervaml::predicted_values(view, obs, target.clone());
    itervaml::per_row(mean, target, predicted, values)
}

#[track_caller]
fn assert_near(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 2e-5 * (1.0 + want.abs()), "{what}[{i}]: {got}, expected {want}");
    }
}

#[test]
fn itervaml_of_a_linear_value_is_unbounded_vagram() {
    let view = Quadratic { curvature: vec![0.0; HEADS * OBS], ..Quadratic::random(HEADS, OBS) };
    let [obs, mean, target] = scene();
    let next_obs = tensors::to_vec(obs.clone() + target.clone().narrow(2, 0, OBS));
    let (batch, device) = (Batch { rows: MEMBERS * ROWS, next_obs, ..Batch::default() }, Device::flex());
    let weights = vagram::clipped_gradients(&CallRows::new(&batch, &device), &view, 1.0);
    let all: Vec<u32> = (0..(MEMBERS * ROWS) as u32).collect();
    let gradients = weights.gather(&all, MEMBERS, &device);
    let want = vagram::unbounded(mean.clone(), target.clone(), gradients);
    let got = iterated(&view, [obs, mean, target]);
    assert_near("rows", &tensors::to_vec(got), &tensors::to_vec(want));
}

#[test]
fn itervaml_of_a_quadratic_value_is_the_closed_form_and_so_is_its_gradient() {
    let view = Quadratic::random(HEADS, OBS);
    let [obs, mean, target] = scene();
    let leaf = mean.clone().autodiff().require_grad();
    let loss = iterated(&view, [obs.clone(), leaf.clone(), target.clone()]);
    let gradient = leaf.grad(&loss.clone().sum().backward()).expect("the loss depends on the mean");

    let [obs, mean, target] =
        [obs, mean, target].map(|tensor| tensors::to_vec(tensor).into_iter().map(f64::from).collect::<Vec<_>>());
    let (mut rows, mut slopes) = (Vec::new(), Vec::new());
    for ((obs, mean), target) in obs.chunks_exact(OBS).zip(mean.chunks_exact(OBS + 1)).zip(target.chunks_exact(OBS + 1))
    {
        let coefficients = |head: usize, d: usize| {
            let at = head * OBS + d;
            (f64::from(view.curvature[at]), f64::from(view.slope[at]))
        };
        let value = |head: usize, change: &[f64]| -> f64 {
            let term = |d: usize| {
                let (curvature, slope) = coefficients(head, d);
                let s = obs[d] + change[d];
                0.5 * curvature * s * s + slope * s
            };
            (0..OBS).map(term).sum()
        };
        let differences: Vec<f64> = (0..HEADS).map(|head| value(head, mean) - value(head, target)).collect();
        let reward = mean[OBS] - target[OBS];
        rows.push((differences.iter().map(|a| a * a).sum::<f64>() / HEADS as f64 + reward * reward) as f32);
        for d in 0..OBS {
            let of_head = |head: usize| {
                let (curvature, slope) = coefficients(head, d);
                2.0 / HEADS as f64 * differences[head] * (curvature * (obs[d] + mean[d]) + slope)
            };
            slopes.push((0..HEADS).map(of_head).sum::<f64>() as f32);
        }
        slopes.push((2.0 * reward) as f32);
    }
    assert_near("rows", &tensors::to_vec(loss), &rows);
    assert_near("gradient", &tensors::to_vec(gradient), &slopes);
}

#[test]
fn a_value_that_is_everywhere_the_same_weighs_all_rows_alike() {
    let [_, mean, target] = scene();
    let weights = value_weighted::weights(&[-3.0; ROWS * MEMBERS * HEADS], HEADS);
    let weights = tensors::from_vec(weights, [MEMBERS, ROWS], &Device::flex());
    let got = value_weighted::per_row(mean.clone(), target.clone(), weights);
    let part = |from, width| mse::per_row(mean.clone().narrow(2, from, width), target.clone().narrow(2, from, width));
    assert_near("rows", &tensors::to_vec(got), &tensors::to_vec(part(0, OBS) + part(OBS, 1)));
}

#[test]
fn weights_belong_to_their_rows_and_the_values_unit_drops_out() {
    let view = Quadratic::random(HEADS, OBS);
    let states = draw("states", [51, OBS]);
    let weights = |states: Tensor<2>, unit: f64| {
        let values = view.values(states).mul_scalar(unit);
        value_weighted::weights(&tensors::to_vec(values), HEADS)
    };
    let straight = weights(states.clone(), 1.0);
    assert!((straight.iter().sum::<f32>() - 51.0).abs() < 1e-4);
    let mut flipped = weights(states.clone().flip([0]), 1.0);
    flipped.reverse();
    assert_near("flipped", &flipped, &straight);
    assert_near("in another unit", &weights(states, 250.0), &straight);
}
