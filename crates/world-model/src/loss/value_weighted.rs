//! Value-weighted squared error: the model has to be right where the value is large, an ablation in the reference code
//! of VaGraM (pairlab/vagram @ cc7e2e4).
//!
//! With err = mean − target over the observation, r_err over the reward and w the row's weight:
//!
//! w (1/O) Σ_d err_d² + r_err²,   w = mean_n |V_n(next_obs)| / its mean over all rows
//!
//! The reference takes the values at next_obs − obs, where no state is.

use burn::tensor::Tensor;

use super::errors;

/// mean_n |V_n| of every row from values `[rows, N]`, over its mean over the rows: `[rows]`. Where all values are zero,
/// every weight is 1.
///
/// The reference divides by the sum over the batch: a row's weight then depends on who else is in the batch, and the
/// step on the batch's size. Over all rows of a training call the weight belongs to the row, and with a mean of 1 the
/// loss stays of the size of a squared error, so that one step size serves both.
#[must_use]
pub fn weights(values: &[f32], heads: usize) -> Vec<f32> {
    let size = |row: &[f32]| row.iter().map(|v| f64::from(v.abs())).sum::<f64>() / heads as f64;
    let sizes: Vec<f64> = values.chunks_exact(heads).map(size).collect();
    let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
    if mean == 0.0 {
        return vec![1.0; sizes.len()];
    }
    sizes.into_iter().map(|size| (size / mean) as f32).collect()
}

/// `[E, B, O + 1]`, `[E, B, O + 1]`, weights `[E, B]` -> `[E, B]`. Targets and weights may also be shared by all members:
/// `[1, B, O + 1]`, `[1, B]`.
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
        assert_eq!(weights(&[1.0, -2.0, 0.0, -3.0, 0.0, 0.0], 2), [1.5, 1.5, 0.0]);
        assert_eq!(weights(&[4.0, 1.0, -1.0, 2.0], 1), [2.0, 0.5, 0.5, 1.0]);
        assert_eq!(weights(&[0.0; 6], 2), [1.0; 3]);
    }
}
