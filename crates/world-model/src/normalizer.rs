//! Model inputs to zero mean and unit deviation, dimension by dimension.
//!
//! Mean and unbiased deviation (ddof 1) over all stored transitions, recomputed at the start of every training call
//! (as mbrl-lib does). A dimension that does not vary gets deviation 1: the reference divides by zero there.

use foresee_core::{State, StateError};
use foresee_nn::cpu::LANES;

/// A deviation below this is taken for none.
const EPS: f64 = 1e-5;

/// x ↦ (x − mean) / std.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalizer {
    /// The identity on `dim` inputs.
    #[must_use]
    pub fn identity(dim: usize) -> Self {
        Self { mean: vec![0.0; dim], std: vec![1.0; dim] }
    }

    /// From rows `[N, dim]`; sums in f64, two passes.
    #[track_caller]
    #[must_use]
    pub fn from_rows(rows: &[f32], dim: usize) -> Self {
        Self::unless_constant(rows, dim, |_, std| std < EPS)
    }

    /// [`Normalizer::from_rows`] of numbers in any unit: a dimension is taken for constant where its deviation is rounding
    /// beside its mean.
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

    /// A panel of inputs `[dim][LANES]`, normalised, from panels of its parts one after the other.
    pub fn apply_panel<'a>(&self, parts: impl IntoIterator<Item = &'a [f32]>, to: &mut [f32]) {
        let from = parts.into_iter().flat_map(|part| part.chunks_exact(LANES));
        for ((from, to), (mean, std)) in from.zip(to.chunks_exact_mut(LANES)).zip(self.mean.iter().zip(&self.std)) {
            to.iter_mut().zip(from).for_each(|(to, x)| *to = (x - mean) / std);
        }
    }

    /// Means and deviations of the inputs, `[dim]` each.
    #[must_use]
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.mean, &self.std]
    }

    /// As arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("mean", self.mean.clone());
        state.put("std", self.std.clone());
        state
    }

    /// From arrays.
    ///
    /// # Errors
    /// If one is missing or another left over.
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
