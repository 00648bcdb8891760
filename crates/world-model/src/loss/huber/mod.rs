//! Huber loss: mean_c h(err_c) over the `O + 1` channels, with err = mean − target and
//!
//! h(e) = e²              for |e| ≤ δ,
//! h(e) = δ (2 |e| − δ)   beyond,
//!
//! twice Huber's own (Huber, "Robust Estimation of a Location Parameter", 1964), so that a large δ gives the squared error:
//! a few rows with large errors pull on the model by their sign and not by their size.

mod panel;

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::Kind;
use serde::{Deserialize, Serialize};

use super::{LossInput, ModelLoss, PanelLoss, kind_of, mean_over_channels};

/// The Huber loss, with its key of `[model.loss]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Huber {
    /// δ, in the units of the changes and the reward: errors beyond it count linearly.
    pub delta: f64,
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

pub(super) fn kind() -> Kind<Arc<dyn ModelLoss>> {
    kind_of::<Huber>("huber", "squared error, linear beyond a bound: right everywhere but for outliers", |huber| {
        let possible = huber.delta >= f64::from(f32::MIN_POSITIVE) && huber.delta <= f64::from(f32::MAX);
        (!possible)
            .then(|| format!("`model.loss.delta` is {}\nhint: a positive number of single precision", huber.delta))
    })
}

impl ModelLoss for Huber {
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        per_row(input.prediction.mean.clone(), input.target.clone(), self.delta)
    }

    fn panel(&self) -> Option<&dyn PanelLoss> {
        Some(self)
    }
}

/// `[E, B, O + 1]`, `[E, B, O + 1]` -> `[E, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, target: Tensor<3>, delta: f64) -> Tensor<2> {
    let size = (mean - target).abs();
    // With s = min(|e|, δ): s (2 |e| − s) is both branches.
    let near = size.clone().clamp_max(delta);
    mean_over_channels(near.clone() * (size.mul_scalar(2.0) - near))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use foresee_nn::tensors;

    use super::*;

    /// h and its derivative, in f64.
    fn huber(e: f64, delta: f64) -> [f64; 2] {
        if e.abs() <= delta { [e * e, 2.0 * e] } else { [delta * (2.0 * e.abs() - delta), 2.0 * delta * e.signum()] }
    }

    #[test]
    fn rows_and_gradients_are_those_of_the_definition() {
        let errors = [-3.0, -0.5, 0.0, 0.2, 0.7, 0.700_1, 12.0, -0.7];
        let mean = tensors::from_vec(errors.map(|e| e as f32).to_vec(), [2, 2, 2], &Device::flex());
        for delta in [0.7, 1e6] {
            let leaf = mean.clone().autodiff().require_grad();
            let rows = per_row(leaf.clone(), Tensor::zeros([2, 2, 2], &leaf.device()), delta);
            let gradients = tensors::to_vec(leaf.grad(&rows.clone().sum().backward()).expect("a gradient"));
            for (row, pair) in tensors::to_vec(rows).into_iter().zip(errors.chunks_exact(2)) {
                let want = pair.iter().map(|&e| huber(e, delta)[0]).sum::<f64>() / 2.0;
                assert!((f64::from(row) - want).abs() < 1e-5 * (1.0 + want), "{row}, expected {want}");
            }
            for (gradient, &e) in gradients.into_iter().zip(&errors) {
                let want = huber(e, delta)[1] / 2.0;
                assert!(
                    (f64::from(gradient) - want).abs() < 1e-5 * (1.0 + want.abs()),
                    "{gradient} at {e}, not {want}"
                );
            }
        }
    }
}
