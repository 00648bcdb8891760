//! Gaussian likelihood: mean_c [ (mean_c − target_c)² exp(−logvar_c) + logvar_c ] over the `O + 1` channels.
//!
//! Twice the negative log-likelihood less a constant, as PETS and MBPO write it (mbrl-lib @ 3f93ccc).

use burn::tensor::Tensor;

use super::mean_over_channels;

/// `[E, B, O + 1]` three times -> `[E, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, logvar: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    mean_over_channels((mean - target).square() * logvar.clone().neg().exp() + logvar)
}
