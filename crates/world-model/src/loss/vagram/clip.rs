//! The value gradients of all replay rows, computed and clipped once per training call.
//!
//! The agent does not change while the model is fitted. A row therefore has one gradient for the whole call: it is
//! stored by replay row number and shared by all members, all epochs, training and holdout.

use foresee_nn::ValueView;

use crate::loss::{CallRows, RowTerms};

/// Computes ∂V_n/∂s at every true next state, `[N, rows, O]`. For each head, norms are clipped at a quantile of the
/// norms of all rows.
#[must_use]
pub fn clipped_gradients(rows: &CallRows<'_>, view: &dyn ValueView, clip_quantile: f64) -> RowTerms {
    let mut gradients = rows.value_gradients(view);
    for head in 0..gradients.heads() {
        let obs_dim = gradients.width();
        clip_to_quantile(gradients.head_mut(head), obs_dim, clip_quantile);
    }
    gradients
}

/// Computes mean_n g_nd² of gradients `[N, rows, O]`: `[1, rows, O]`. The bounded form needs nothing else.
pub(super) fn mean_squares(gradients: &RowTerms) -> RowTerms {
    let heads = gradients.heads();
    let mut squares = vec![0.0; gradients.rows() * gradients.width()];
    for head in 0..heads {
        squares.iter_mut().zip(gradients.head(head)).for_each(|(mean, g)| *mean += g * g / heads as f32);
    }
    RowTerms::new(1, gradients.width(), squares)
}

/// Computes √mean_n g_nd² of gradients `[N, rows, O]`: `[1, rows, O]`. This is one head from which the bounded form
/// computes the same weights.
pub(super) fn root_mean_squares(gradients: &RowTerms) -> RowTerms {
    let mut roots = mean_squares(gradients);
    if gradients.heads() > 0 {
        roots.head_mut(0).iter_mut().for_each(|square| *square = square.sqrt());
    }
    roots
}

/// Computes the mean norm of the gradients over heads and rows.
#[must_use]
pub fn mean_norm(gradients: &RowTerms) -> f64 {
    let (heads, rows) = (gradients.heads(), gradients.rows());
    let norms = (0..heads).flat_map(|head| gradients.head(head).chunks_exact(gradients.width().max(1)).map(norm));
    norms.sum::<f64>() / (heads * rows).max(1) as f64
}

fn norm(row: &[f32]) -> f64 {
    row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// Scales every row `[dim]` whose norm reaches the quantile `q` of all norms down to that quantile, and returns the
/// quantile. `q` ≥ 1 clips nothing and returns infinity.
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

/// Computes the quantile with numpy's linear interpolation.
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
