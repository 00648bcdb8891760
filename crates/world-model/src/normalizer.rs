//! The scaling of model inputs to zero mean and unit standard deviation, x ↦ (x − mean) / std, in every dimension.
//!
//! Mean and unbiased standard deviation (ddof 1) are taken over all stored transitions and recomputed at the start of
//! every training call, as in mbrl-lib. A dimension that does not vary gets a standard deviation of 1; the reference
//! divides by zero there.

use foresee_core::limits::CONSTANT_DEVIATION;
use foresee_core::{State, StateError};
use foresee_nn::cpu::PANEL_ROWS;

/// The map x ↦ (x − mean) / std.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalizer {
    /// Returns the identity on `dim` inputs.
    #[must_use]
    pub fn identity(dim: usize) -> Self {
        Self { mean: vec![0.0; dim], std: vec![1.0; dim] }
    }

    /// Returns the normaliser of rows `[N, dim]`. Sums are in f64, in two passes. A dimension with a standard deviation
    /// below 1e-5 counts as constant.
    #[track_caller]
    #[must_use]
    pub fn from_rows(rows: &[f32], dim: usize) -> Self {
        Self::unless_constant(rows, dim, |_, std| std < CONSTANT_DEVIATION)
    }

    /// Returns the normaliser of rows `[N, dim]` of numbers in any unit. Unlike in [`Normalizer::from_rows`], a
    /// dimension counts as constant if its standard deviation is no larger than the f32 rounding error of its mean.
    #[track_caller]
    #[must_use]
    pub fn of_any_unit(rows: &[f32], dim: usize) -> Self {
        Self::unless_constant(rows, dim, |mean, std| std <= f64::from(f32::EPSILON) * mean.abs())
    }

    #[track_caller]
    fn unless_constant(rows: &[f32], dim: usize, is_constant: impl Fn(f64, f64) -> bool) -> Self {
        let n = rows.len() / dim;
        assert!(n > 0 && rows.len() == n * dim, "{} numbers are no rows of {dim}", rows.len());
        let mut mean = vec![0.0_f64; dim];
        for row in rows.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(m, &x)| *m += f64::from(x));
        }
        mean.iter_mut().for_each(|m| *m /= n as f64);
        let mut squares = vec![0.0_f64; dim];
        for row in rows.chunks_exact(dim) {
            for ((s, &x), m) in squares.iter_mut().zip(row).zip(&mean) {
                *s += (f64::from(x) - m).powi(2);
            }
        }
        let deviation = |(&s, &mean): (&f64, &f64)| {
            let std = (s / (n.max(2) - 1) as f64).sqrt();
            if is_constant(mean, std) { 1.0 } else { std as f32 }
        };
        let std = squares.iter().zip(&mean).map(deviation).collect();
        Self { mean: mean.iter().map(|&m| m as f32).collect(), std }
    }

    /// Normalises rows `[N, dim]` in place, on the host.
    pub fn apply_rows(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            for ((x, m), s) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *x = (*x - m) / s;
            }
        }
    }

    /// Writes a normalised panel of inputs `[dim][PANEL_ROWS]` to `to`. The panels in `parts` are the input's parts,
    /// one after another.
    pub fn apply_panel<'a>(&self, parts: impl IntoIterator<Item = &'a [f32]>, to: &mut [f32]) {
        let from = parts.into_iter().flat_map(|part| part.chunks_exact(PANEL_ROWS));
        for ((from, to), (mean, std)) in from.zip(to.chunks_exact_mut(PANEL_ROWS)).zip(self.mean.iter().zip(&self.std))
        {
            to.iter_mut().zip(from).for_each(|(to, x)| *to = (x - mean) / std);
        }
    }

    /// Returns the means and standard deviations of the inputs, `[dim]` each.
    #[must_use]
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.mean, &self.std]
    }

    /// Returns the moments as named arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("mean", self.mean.clone());
        state.put("std", self.std.clone());
        state
    }

    /// Restores a normaliser from the arrays of [`Normalizer::save`].
    ///
    /// # Errors
    /// If an array is missing or left over.
    pub fn restore(mut state: State) -> Result<Self, StateError> {
        let normalizer = Self { mean: state.f32s("mean")?.1, std: state.f32s("std")?.1 };
        state.finish()?;
        Ok(normalizer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_dimension_is_centred_and_not_divided_by_zero() {
        let mut rows = vec![3.0, 1.0, 3.0, 3.0];
        let normalizer = Normalizer::from_rows(&rows, 2);
        normalizer.apply_rows(&mut rows);
        let half = f32::sqrt(0.5);
        assert_eq!(rows, [0.0, -half, 0.0, half]);
    }
}
