//! The forward pass in its plainest form: one member and one row, in f64. Tests compare every other form with it.

use super::layout::{Activation, Layout};

/// Computes the output y `[O]` of one row x `[I]` under one member's parameters `[P]`.
#[track_caller]
#[must_use]
pub fn forward(layout: &Layout, parameters: &[f32], x: &[f64]) -> Vec<f64> {
    let shape = layout.shape();
    assert_eq!((parameters.len(), x.len()), (layout.parameters(), shape.inputs), "parameters and inputs of a member");
    let at = |offset: usize| f64::from(parameters[offset]);
    let last = layout.depth() - 1;
    let mut x = x.to_vec();
    for (l, layer) in layout.layers.iter().enumerate() {
        if l == last && l > 0 && shape.normalized_features {
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            x.iter_mut().for_each(|x| *x /= norm);
        }
        let weight = |i: usize, o: usize| at(layer.weight + i * layer.outputs + o);
        let sum = |o: usize| at(layer.bias + o) + x.iter().enumerate().map(|(i, x)| x * weight(i, o)).sum::<f64>();
        let mut y: Vec<f64> = (0..layer.outputs).map(sum).collect();
        if layout.has_norm(l) {
            let n = y.len() as f64;
            let mean = y.iter().sum::<f64>() / n;
            let variance = y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n;
            for (o, y) in y.iter_mut().enumerate() {
                *y = (*y - mean) / (variance + 1e-5).sqrt() * at(layer.scale + o) + at(layer.shift + o);
            }
        }
        if l < last {
            y.iter_mut().for_each(|y| *y = activate(shape.activation, *y));
        }
        if let Some(eps) = shape.hidden_norm(l) {
            let n = y.len() as f64;
            let mean = y.iter().sum::<f64>() / n;
            let variance = y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n;
            y.iter_mut().for_each(|y| *y = (*y - mean) / (variance + f64::from(eps)).sqrt());
        }
        x = y;
    }
    x
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Relu => x.max(0.0),
        Activation::Tanh => x.tanh(),
        Activation::Identity => x,
    }
}
