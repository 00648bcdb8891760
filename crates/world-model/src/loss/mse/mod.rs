//! Squared error: mean_c (mean_c − target_c)² over the `O + 1` channels.

mod panel;

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LossInput, ModelLoss, PanelLoss, kind_of, mean_over_channels};

/// The squared error. It has no keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mse {}

pub(super) fn kind() -> Kind<Arc<dyn ModelLoss>> {
    kind_of::<Mse>("mse", "squared error", |_| None)
}

impl ModelLoss for Mse {
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        per_row(input.prediction.mean.clone(), input.target.clone())
    }

    fn panel(&self) -> Option<&dyn PanelLoss> {
        Some(self)
    }
}

/// Computes the loss of every row: means `[E, B, O + 1]`, targets `[E, B, O + 1]` -> `[E, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    mean_over_channels((mean - target).square())
}
