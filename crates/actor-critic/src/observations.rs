//! Running mean and standard deviation of observations, and the normalisation by them.
//!
//! Over all real training observations x_1 … x_n, the mean and the population variance are updated by Welford's
//! recursion in f64, one observation at a time. The normalisation is x ↦ (x − mean) / std. Only networks see normalised
//! observations; everything else uses the task's own. Evaluation, imagination and a saved agent use the moments
//! unchanged.

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::{State, StateError};
use foresee_nn::tensors;

/// The map x ↦ (x − mean) / std.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// `[O]`
    pub mean: Vec<f32>,
    /// `[O]`, positive.
    pub std: Vec<f32>,
}

impl Scale {
    /// Normalises observations `[…, O]` on their device.
    #[must_use]
    pub fn apply<const D: usize>(&self, obs: Tensor<D>) -> Tensor<D> {
        let (device, mut shape) = (obs.device(), [1; D]);
        shape[D - 1] = self.mean.len();
        let [mean, std] = [&self.mean, &self.std].map(|all| tensors::from_vec(all.clone(), shape, &device));
        (obs - mean) / std
    }

    /// Normalises observations `[N, O]` in place, in host memory.
    pub fn apply_rows(&self, obs: &mut [f32]) {
        for row in obs.chunks_exact_mut(self.mean.len()) {
            for ((x, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *x = (*x - mean) / std;
            }
        }
    }

    /// Means and deviations, `[O]` each.
    #[must_use]
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.mean, &self.std]
    }
}

/// Returns the observations, normalised if `scale` is given.
#[must_use]
pub fn scaled<const D: usize>(scale: Option<&Arc<Scale>>, obs: Tensor<D>) -> Tensor<D> {
    match scale {
        Some(scale) => scale.apply(obs),
        None => obs,
    }
}

/// Converts a gradient with respect to observations, `[B, O]`, to one with respect to normalised observations, if
/// `scale` is given: multiplies it by the standard deviations.
#[must_use]
pub fn in_deviations(scale: Option<&Arc<Scale>>, gradient: Tensor<2>) -> Tensor<2> {
    let Some(scale) = scale else { return gradient };
    let std = tensors::from_vec(scale.std.clone(), [1, scale.std.len()], &gradient.device());
    gradient * std
}

/// Running moments of observations of `O` entries.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningMoments {
    count: u64,
    /// Weight of the prior of mean 0 and variance 1, as a number of observations.
    prior: f64,
    mean: Vec<f64>,
    /// Sums of squared deviations.
    squares: Vec<f64>,
}

impl RunningMoments {
    /// Moments without any observation, and without a prior.
    #[must_use]
    pub fn new(obs_dim: usize) -> Self {
        Self::with_prior(obs_dim, 0.0)
    }

    /// Moments that start as if `prior` observations of mean 0 and variance 1 had been seen (1e-4 in SimBa's
    /// normaliser, Lee et al. 2024).
    #[must_use]
    pub fn with_prior(obs_dim: usize, prior: f64) -> Self {
        Self { count: 0, prior, mean: vec![0.0; obs_dim], squares: vec![prior; obs_dim] }
    }

    /// Number of observations so far, without the prior.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds observations `[N, O]`.
    pub fn observe(&mut self, obs: &[f32]) {
        for row in obs.chunks_exact(self.mean.len()) {
            self.add(row.iter().map(|&x| f64::from(x)));
        }
    }

    /// Adds one observation `[O]` in f64.
    pub fn observe_exactly(&mut self, obs: &[f64]) {
        self.add(obs.iter().copied());
    }

    fn add(&mut self, obs: impl Iterator<Item = f64>) {
        self.count += 1;
        let n = self.prior + self.count as f64;
        for ((mean, squares), x) in self.mean.iter_mut().zip(&mut self.squares).zip(obs) {
            let deviation = x - *mean;
            *mean += deviation / n;
            *squares += deviation * (x - *mean);
        }
    }

    /// Means and population variances, `[O]` each.
    #[must_use]
    pub fn moments(&self) -> [Vec<f64>; 2] {
        let n = (self.prior + self.count as f64).max(f64::MIN_POSITIVE);
        [self.mean.clone(), self.squares.iter().map(|s| s / n).collect()]
    }

    /// Returns the current normalisation. It is the identity before the second observation. An entry whose deviation is
    /// no larger than the rounding of its mean is only centred: its `std` is 1.
    #[must_use]
    pub fn scale(&self) -> Scale {
        let [mean, variance] = self.moments();
        let known = self.count >= 2;
        let std = |(&mean, &variance): (&f64, &f64)| {
            let std = variance.sqrt();
            let varies = known && std > f64::from(f32::EPSILON) * mean.abs() && std as f32 > 0.0;
            if varies { std as f32 } else { 1.0 }
        };
        let std = mean.iter().zip(&variance).map(std).collect();
        Scale { mean: mean.iter().map(|&mean| if known { mean as f32 } else { 0.0 }).collect(), std }
    }

    /// Returns the count and the moments as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("count", self.count);
        state.put("mean", self.mean.clone());
        state.put("squares", self.squares.clone());
        state
    }

    /// Restores the count and the moments from arrays.
    ///
    /// # Errors
    /// If an array is missing, has another shape, or is unknown.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.count = state.u64("count")?;
        for (name, to) in [("mean", &mut self.mean), ("squares", &mut self.squares)] {
            let (shape, values) = state.f64s(name)?;
            if values.len() != to.len() {
                return Err(StateError::Mismatch {
                    path: name.into(),
                    found: format!("of shape {shape:?}"),
                    expected: format!("shape [{}]", to.len()),
                });
            }
            *to = values;
        }
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use foresee_core::Stream;

    #[test]
    fn moments_are_those_of_all_rows_however_they_came() {
        let rows: Vec<f32> = Stream::new(1, "rows").normals(0, 50, 3).iter().map(|z| 3.0 * z + 100.0).collect();
        let (mut at_once, mut by_parts) = (RunningMoments::new(3), RunningMoments::new(3));
        at_once.observe(&rows);
        rows.chunks(21).for_each(|part| by_parts.observe(part));
        assert_eq!(at_once, by_parts);
        let [mean, variance] = at_once.moments();
        for d in 0..3 {
            let column: Vec<f64> = rows.chunks(3).map(|row| f64::from(row[d])).collect();
            let want = column.iter().sum::<f64>() / 50.0;
            let spread = column.iter().map(|x| (x - want).powi(2)).sum::<f64>() / 50.0;
            assert!((mean[d] - want).abs() < 1e-11 && (variance[d] - spread).abs() < 1e-10);
        }
    }

    #[test]
    fn normalised_rows_have_mean_zero_and_deviation_one_in_any_unit_and_a_constant_is_centred() {
        let mut moments = RunningMoments::new(3);
        let mut rows = Vec::new();
        for z in Stream::new(2, "rows").normals(0, 400, 1) {
            rows.extend([z * 1e-9, 5e6 + 1e3 * z, 7.25]);
        }
        moments.observe(&rows);
        let scale = moments.scale();
        let mut normalised = rows.clone();
        scale.apply_rows(&mut normalised);
        let tensor = scale.apply(tensors::from_vec(rows, [400, 3], &Device::flex()));
        assert_eq!(tensors::to_vec(tensor), normalised);
        for d in 0..2 {
            let column: Vec<f64> = normalised.chunks(3).map(|row| f64::from(row[d])).collect();
            let mean = column.iter().sum::<f64>() / 400.0;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 400.0;
            assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "{mean}, {variance}");
        }
        assert!(normalised.chunks(3).all(|row| row[2] == 0.0));
    }

    #[test]
    fn nothing_is_normalised_before_there_is_a_deviation_and_a_saved_state_goes_on() {
        let mut moments = RunningMoments::new(2);
        moments.observe(&[3.0, 4.0]);
        assert_eq!(moments.scale(), Scale { mean: vec![0.0; 2], std: vec![1.0; 2] });
        moments.observe(&[4.0, 8.0]);
        let mut again = RunningMoments::new(2);
        again.load(moments.save()).unwrap();
        assert_eq!(again, moments);
        assert_eq!(again.scale(), Scale { mean: vec![3.5, 6.0], std: vec![0.5, 2.0] });
        assert!(RunningMoments::new(3).load(moments.save()).is_err());
    }
}
