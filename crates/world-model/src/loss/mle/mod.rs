//! Gaussian likelihood: mean_c [ (mean_c − target_c)² exp(−logvar_c) + logvar_c ] over the `O + 1` channels.
//!
//! This is twice the negative log-likelihood minus a constant, as in PETS and MBPO (mbrl-lib @ 3f93ccc). The holdout is
//! scored by the squared error, as in mbrl-lib, because the likelihood's own value can fall by a change of the
//! predicted noise alone.

mod panel;

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mse::Mse;
use super::{LossInput, ModelLoss, PanelLoss, kind_of, mean_over_channels};

/// The Gaussian likelihood. It has no keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mle {}

pub(super) fn kind() -> Kind<Arc<dyn ModelLoss>> {
    kind_of::<Mle>("mle", "Gaussian likelihood of mean and variance (PETS, MBPO)", |_| None)
}

impl ModelLoss for Mle {
    fn fits_variance(&self) -> bool {
        true
    }

    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        let logvar = input.prediction.logvar.clone().expect("the likelihood needs a head with a variance");
        per_row(input.prediction.mean.clone(), logvar, input.target.clone())
    }

    fn score(&self) -> Option<&dyn ModelLoss> {
        Some(&Mse {})
    }

    fn panel(&self) -> Option<&dyn PanelLoss> {
        Some(self)
    }
}

/// Computes the loss of every row: means, log-variances and targets `[E, B, O + 1]` -> `[E, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, logvar: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    mean_over_channels((mean - target).square() * logvar.clone().neg().exp() + logvar)
}
