//! Value-weighted squared error: the model has to be accurate where the value is large. It is an ablation in the
//! reference code of VaGraM (pairlab/vagram @ cc7e2e4).
//!
//! With err = mean − target of the observation, r_err the error of the reward and w the row's weight:
//!
//! w (1/O) Σ_d err_d² + r_err²,   w = mean_n |V_n(next_obs)| / its mean over all rows
//!
//! The reference takes the values at next_obs − obs, which is not a state.

mod panel;

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::Kind;
use foresee_nn::ValueView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CallRows, LossInput, ModelLoss, Needs, PanelLoss, RowTerms, errors, kind_of};

/// The value-weighted squared error. It has no keys of its own. Its row terms are the rows' weights, `[1, rows, 1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ValueWeighted {}

pub(super) fn kind() -> Kind<Arc<dyn ModelLoss>> {
    let line = "squared error weighted by |V(s')|, the magnitude of the next state's value";
    kind_of::<ValueWeighted>("value_weighted", line, |_| None)
}

impl ModelLoss for ValueWeighted {
    fn needs(&self) -> Needs {
        Needs::NextStates
    }

    fn row_terms(&self, rows: &CallRows<'_>, view: &dyn ValueView) -> RowTerms {
        let values = rows.values(view);
        let all = (0..values.heads()).flat_map(|n| values.head(n)).copied().collect::<Vec<_>>();
        RowTerms::new(1, 1, weights(&all, values.heads()))
    }

    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        let weights = input.terms().squeeze_dim::<3>(3).squeeze_dim(0);
        per_row(input.prediction.mean.clone(), input.target.clone(), weights)
    }

    fn panel(&self) -> Option<&dyn PanelLoss> {
        Some(self)
    }
}

/// Computes the rows' weights `[rows]` from values `[N, rows]`: mean_n |V_n| of every row, divided by its mean over all
/// rows. If all values are zero, every weight is 1.
///
/// The reference divides by the sum over the batch. There, a row's weight depends on the other rows of the batch, and
/// the step depends on the batch size. Here the mean is over all rows of a training call, so a weight belongs to its
/// row. The mean weight is 1, so the loss has the size of a squared error and the same step size serves both.
#[must_use]
pub fn weights(values: &[f32], heads: usize) -> Vec<f32> {
    let rows = values.len() / heads;
    let size = |row: usize| (0..heads).map(|n| f64::from(values[n * rows + row].abs())).sum::<f64>() / heads as f64;
    let sizes: Vec<f64> = (0..rows).map(size).collect();
    let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
    if mean == 0.0 {
        return vec![1.0; sizes.len()];
    }
    sizes.into_iter().map(|size| (size / mean) as f32).collect()
}

/// Computes the loss of every row: means `[E, B, O + 1]`, targets `[E, B, O + 1]`, weights `[E, B]` -> `[E, B]`.
/// Targets and weights may also be shared by all members: `[1, B, O + 1]`, `[1, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, target: Tensor<3>, weights: Tensor<2>) -> Tensor<2> {
    let (err, reward) = errors(mean, target);
    weights * err.square().mean_dim(2).squeeze_dim::<2>(2) + reward
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_sizes_of_values_and_one_on_average() {
        assert_eq!(weights(&[1.0, 0.0, 0.0, -2.0, -3.0, 0.0], 2), [1.5, 1.5, 0.0]);
        assert_eq!(weights(&[4.0, 1.0, -1.0, 2.0], 1), [2.0, 0.5, 0.5, 1.0]);
        assert_eq!(weights(&[0.0; 6], 2), [1.0; 3]);
    }
}
