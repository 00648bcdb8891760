//! Squared error: mean_c (mean_c − target_c)² over the `O + 1` channels.

use burn::tensor::Tensor;

use super::mean_over_channels;

/// `[E, B, O + 1]`, `[E, B, O + 1]` -> `[E, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    mean_over_channels((mean - target).square())
}
