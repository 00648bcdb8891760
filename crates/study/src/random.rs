//! Random numbers of double precision, drawn from a named stream.

use std::f64::consts::TAU;

use foresee_core::stream::{Draws, Stream};

/// The draws at one counter of a named stream.
#[derive(Clone, Debug)]
pub struct Random(Draws);

impl Random {
    /// The draws of the stream called `name` at the counter `step`, for a study's `seed`.
    #[must_use]
    pub fn new(seed: u64, name: &str, step: u64) -> Self {
        Self(Stream::new(seed, name).at(step, 0))
    }

    /// A uniform in [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.0.bits64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// An exponential variable of mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// A standard normal, by the transformation of Box and Muller from two uniforms.
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// An index below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.below(n)
    }

    /// An index, with these probabilities. They add up to one; entries of probability zero are never drawn.
    pub fn category(&mut self, probabilities: &[f64]) -> usize {
        let mut rest = self.uniform();
        let mut last = None;
        for (index, &probability) in probabilities.iter().enumerate() {
            if probability > 0.0 {
                if rest < probability {
                    return index;
                }
                rest -= probability;
                last = Some(index);
            }
        }
        // Rounding can leave a rest after the last entry.
        last.expect("probabilities that are not all zero")
    }

    /// A point of the simplex with `n` corners, uniformly distributed.
    pub fn simplex(&mut self, n: usize) -> Vec<f64> {
        let mut point: Vec<f64> = (0..n).map(|_| self.exponential().max(f64::MIN_POSITIVE)).collect();
        let sum: f64 = point.iter().sum();
        point.iter_mut().for_each(|entry| *entry /= sum);
        point
    }

    /// `count` different indices below `n`, in random order.
    pub fn choose(&mut self, n: usize, count: usize) -> Vec<usize> {
        assert!(count <= n, "cannot choose {count} of {n}");
        let mut order: Vec<usize> = (0..n).collect();
        for i in 0..count {
            let other = i + self.below(n - i);
            order.swap(i, other);
        }
        order.truncate(count);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(0, "test/random", 0);
        let n = 200_000;
        let moments = |draw: &mut dyn FnMut() -> f64| {
            let draws: Vec<f64> = (0..n).map(|_| draw()).collect();
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            (mean, draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n))
        };
        // Five standard errors: of the mean √(var/n), of the variance √((kurtosis − 1)/n)·var.
        for (name, measured, exact, kurtosis) in [
            ("uniform", moments(&mut || random.uniform()), (0.5, 1.0 / 12.0), 1.8),
            ("exponential", moments(&mut || random.exponential()), (1.0, 1.0), 9.0),
            ("normal", moments(&mut || random.normal()), (0.0, 1.0), 3.0),
        ] {
            let n = f64::from(n);
            assert!((measured.0 - exact.0).abs() < 5.0 * (exact.1 / n).sqrt(), "{name} {measured:?}");
            assert!(
                (measured.1 - exact.1).abs() < 5.0 * exact.1 * ((kurtosis - 1.0_f64) / n).sqrt(),
                "{name} {measured:?}"
            );
        }
    }

    #[test]
    fn categories_have_their_probabilities_and_zeros_are_never_drawn() {
        let mut random = Random::new(0, "test/random", 1);
        let probabilities = [0.0, 0.2, 0.0, 0.5, 0.3, 0.0];
        let mut counts = [0.0; 6];
        (0..100_000).for_each(|_| counts[random.category(&probabilities)] += 1.0);
        for (count, p) in counts.iter().zip(probabilities) {
            assert!((count - 1e5 * p).abs() <= 5.0 * (1e5 * p * (1.0 - p)).sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn chosen_indices_differ_and_a_simplex_point_sums_to_one() {
        let mut random = Random::new(0, "test/random", 2);
        for _ in 0..100 {
            let mut chosen = random.choose(9, 5);
            chosen.sort_unstable();
            chosen.dedup();
            assert!(chosen.len() == 5 && chosen.iter().all(|&i| i < 9));
            assert!((random.simplex(7).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
