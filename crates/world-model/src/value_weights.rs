//! The value gradients of every replay row, computed and clipped once a training call.
//!
//! The agent stands still while the model is fitted, so a row's gradient is one number set, kept by replay row and
//! shared by all members, epochs, training and holdout alike.

use burn::tensor::{Device, Tensor};
use foresee_nn::{ValueView, tensors};

use crate::fit_tensors::{gather_heads, numbers};

/// Rows whose gradients are taken at once: bounds the memory of one pass.
const ROWS_AT_ONCE: usize = 8192;

/// Gradients `[N, rows, O]`, by replay row.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueWeights {
    heads: usize,
    rows: usize,
    obs_dim: usize,
    gradients: Vec<f32>,
    /// mean_n g_nd², `[rows, O]`: all that the bounded form asks for.
    mean_squares: Vec<f32>,
}

impl ValueWeights {
    /// ∂V_n/∂s at every true next state `[rows, O]`, clipped per head at the quantile of its norms over all rows.
    #[must_use]
    pub fn new(view: &dyn ValueView, next_obs: &[f32], obs_dim: usize, clip_quantile: f64, device: &Device) -> Self {
        let (heads, rows) = (view.heads(), next_obs.len() / obs_dim);
        let mut gradients = vec![0.0; heads * rows * obs_dim];
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            let end = (start + ROWS_AT_ONCE).min(rows);
            let states =
                tensors::from_vec(next_obs[start * obs_dim..end * obs_dim].to_vec(), [end - start, obs_dim], device);
            let part = tensors::to_vec(view.value_gradients(states));
            for (head, part) in part.chunks_exact((end - start) * obs_dim).enumerate() {
                gradients[(head * rows + start) * obs_dim..][..part.len()].copy_from_slice(part);
            }
        }
        for head in gradients.chunks_exact_mut((rows * obs_dim).max(1)) {
            clip_to_quantile(head, obs_dim, clip_quantile);
        }
        let mut mean_squares = vec![0.0; rows * obs_dim];
        for head in gradients.chunks_exact((rows * obs_dim).max(1)) {
            mean_squares.iter_mut().zip(head).for_each(|(mean, g)| *mean += g * g / heads as f32);
        }
        Self { heads, rows, obs_dim, gradients, mean_squares }
    }

    /// The gradients of given replay rows, member by member: `[E, B]` indices -> `[N, E, B, O]`.
    #[must_use]
    pub fn gather(&self, indices: &[u32], members: usize, device: &Device) -> Tensor<4> {
        let rows = numbers(indices, device).reshape([members, indices.len() / members]);
        gather_heads(&self.tensor(device), &rows)
    }

    /// All of them on a device, `[N, rows, O]`.
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<3> {
        tensors::from_vec(self.gradients.clone(), [self.heads, self.rows, self.obs_dim], device)
    }

    /// One head's gradient at one replay row, `[O]`.
    #[must_use]
    pub fn gradient(&self, head: usize, row: usize) -> &[f32] {
        &self.gradients[(head * self.rows + row) * self.obs_dim..][..self.obs_dim]
    }

    /// Heads, `N`.
    pub(crate) fn heads(&self) -> usize {
        self.heads
    }

    /// One head's gradients by replay row, `[rows, O]`.
    pub(crate) fn head(&self, head: usize) -> &[f32] {
        &self.gradients[head * self.rows * self.obs_dim..][..self.rows * self.obs_dim]
    }

    /// mean_n g_nd² by replay row, `[rows, O]`.
    pub(crate) fn mean_squares(&self) -> &[f32] {
        &self.mean_squares
    }

    /// The mean over heads and rows of the gradients' norms.
    #[must_use]
    pub fn mean_norm(&self) -> f64 {
        let norms = self.gradients.chunks_exact(self.obs_dim).map(norm);
        norms.sum::<f64>() / (self.heads * self.rows).max(1) as f64
    }
}

fn norm(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Shortens every row `[dim]` whose norm reaches the quantile to it; returns the bound. A quantile of 1 clips nothing.
pub fn clip_to_quantile(rows: &mut [f32], dim: usize, q: f64) -> f64 {
    if q >= 1.0 || rows.is_empty() {
        return f64::INFINITY;
    }
    let norms: Vec<f64> = rows.chunks_exact(dim).map(norm).collect();
    let bound = quantile(&norms, q);
    for (row, n) in rows.chunks_exact_mut(dim).zip(norms) {
        if n >= bound && n > 0.0 {
            row.iter_mut().for_each(|x| *x = (f64::from(*x) * bound / n) as f32);
        }
    }
    bound
}

/// The quantile with numpy's linear interpolation.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        // numpy.quantile([3, 1, 4, 1, 5], [0, .3, .5, .95, 1]) = [1, 1.4, 3, 4.8, 5]
        let values = [3.0, 1.0, 4.0, 1.0, 5.0];
        for (q, want) in [(0.0, 1.0), (0.3, 1.4), (0.5, 3.0), (0.95, 4.8), (1.0, 5.0)] {
            assert!((quantile(&values, q) - want).abs() < 1e-12, "q = {q}");
        }
    }

    #[test]
    fn clipping_keeps_directions_and_never_lengthens() {
        let mut rows = vec![3.0, 4.0, 0.6, 0.8, 0.0, 0.0];
        let bound = clip_to_quantile(&mut rows, 2, 0.5);
        assert!((bound - 1.0).abs() < 1e-6);
        for (got, want) in rows.iter().zip([0.6, 0.8, 0.6, 0.8, 0.0, 0.0]) {
            assert!((got - want).abs() < 1e-6);
        }
        let mut untouched = vec![3.0, 4.0, 0.6, 0.8];
        assert_eq!(clip_to_quantile(&mut untouched, 2, 1.0), f64::INFINITY);
        assert_eq!(untouched, [3.0, 4.0, 0.6, 0.8]);
    }
}
