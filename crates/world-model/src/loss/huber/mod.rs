//! Huber loss: mean_c h(err_c) over the `O + 1` channels, with err = mean − target and
//!
//! ```text
//! h(e) = e²              for |e| ≤ δ,
//! h(e) = δ (2 |e| − δ)   for |e| > δ.
//! ```
//!
//! This is twice Huber's function (Huber, "Robust Estimation of a Location Parameter", 1964), so a large δ gives the
//! squared error. Rows with large errors pull on the model by the sign of their error, not by its size.

mod panel;

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::Kind;
use foresee_core::limits::refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossInput, ModelLoss, PanelLoss, kind_of, mean_over_channels};

/// The Huber loss, with its key of `[model.loss]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Huber {
    /// δ, in the units of the targets: larger errors count linearly.
    pub delta: f64,
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

pub(super) fn kind() -> Kind<Arc<dyn ModelLoss>> {
    kind_of::<Huber>("huber", "squared error, linear for errors larger than delta", |huber| {
        let possible = huber.delta >= f64::from(f32::MIN_POSITIVE) && huber.delta <= f64::from(f32::MAX);
        (!possible).then(|| {
            refusal("model.loss.delta", huber.delta, "a positive number of single precision", Huber::default().delta)
        })
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

/// Computes the loss of every row: means `[E, B, O + 1]`, targets `[E, B, O + 1]` -> `[E, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, target: Tensor<3>, delta: f64) -> Tensor<2> {
    let size = (mean - target).abs();
    // With s = min(|e|, δ), the expression s (2 |e| − s) covers both branches.
    let near = size.clone().clamp_max(delta);
    mean_over_channels(near.clone() * (size.mul_scalar(2.0) - near))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use foresee_nn::tensors;

    use super::*;

    /// Computes h and its derivative in f64.
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
