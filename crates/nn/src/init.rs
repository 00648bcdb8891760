//! Initial weights, drawn on the host so that every backend starts from the same numbers.

use foresee_core::Stream;

/// The distribution of a network's initial weights and biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Normal with standard deviation 1/(2√inputs), truncated at two standard deviations: the probabilistic ensemble of
    /// PETS and MBPO. (The reference code, pairlab/vagram @ cc7e2e4, intends this and does not truncate.)
    TruncatedNormal,
    /// Orthogonal with gain 1, as in `pytorch_sac`. Biases start at zero, as with the truncated normal.
    Orthogonal,
    /// Normal with variance 2/inputs (He et al. 2015), biases normal with variance 1/(4 inputs): the critics of DHMBPO.
    Kaiming,
}

impl Init {
    /// One member's weight `[inputs, outputs]` and bias `[outputs]` of layer `layer`. The bias is empty if it starts at
    /// zero.
    #[must_use]
    pub fn layer(self, stream: &Stream, layer: u64, member: u32, inputs: usize, outputs: usize) -> [Vec<f32>; 2] {
        let weight = self.weight(stream, layer, member, inputs, outputs);
        let bias = match self {
            Self::TruncatedNormal | Self::Orthogonal => Vec::new(),
            Self::Kaiming => {
                let mut draws = stream.at(layer, member);
                let std = 0.5 / (inputs as f32).sqrt();
                // Skips the draws that the weights use.
                (0..inputs * outputs).for_each(|_| _ = draws.normal());
                (0..outputs).map(|_| draws.normal() * std).collect()
            }
        };
        [weight, bias]
    }

    /// One member's weight `[inputs, outputs]` of layer `layer`.
    #[must_use]
    pub fn weight(self, stream: &Stream, layer: u64, member: u32, inputs: usize, outputs: usize) -> Vec<f32> {
        let mut draws = stream.at(layer, member);
        match self {
            Self::TruncatedNormal => {
                let std = 0.5 / (inputs as f32).sqrt();
                let truncated = || loop {
                    let z = draws.normal();
                    if z.abs() <= 2.0 {
                        break z * std;
                    }
                };
                std::iter::repeat_with(truncated).take(inputs * outputs).collect()
            }
            Self::Kaiming => {
                let std = (2.0 / inputs as f32).sqrt();
                (0..inputs * outputs).map(|_| draws.normal() * std).collect()
            }
            Self::Orthogonal => {
                let (long, short) = (inputs.max(outputs), inputs.min(outputs));
                let vectors: Vec<Vec<f64>> =
                    (0..short).map(|_| (0..long).map(|_| f64::from(draws.normal())).collect()).collect();
                let basis = orthonormal(vectors);
                let mut weight = vec![0.0; inputs * outputs];
                for (s, vector) in basis.iter().enumerate() {
                    for (l, &x) in vector.iter().enumerate() {
                        let (i, o) = if inputs < outputs { (s, l) } else { (l, s) };
                        weight[i * outputs + o] = x as f32;
                    }
                }
                weight
            }
        }
    }
}

/// Gram-Schmidt in f64. Each vector is projected twice: the second pass removes the rounding error that the first
/// leaves.
fn orthonormal(mut vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for i in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(i);
        let vector = &mut rest[0];
        for _ in 0..2 {
            for basis in &*done {
                let along = dot(vector, basis);
                vector.iter_mut().zip(basis).for_each(|(x, b)| *x -= along * b);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truncated_normal_truncates_and_has_its_variance() {
        let weight = Init::TruncatedNormal.weight(&Stream::new(0, "test/init"), 0, 0, 100, 400);
        let bound = 2.0 * 0.5 / 10.0;
        assert!(weight.iter().all(|w| w.abs() <= bound));
        // The variance of a normal cut at ±2σ is 0.774 σ² (1 − 4φ(2)/(2Φ(2)−1)).
        let variance = weight.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / weight.len() as f64;
        let ratio = variance / (0.05_f64 * 0.05);
        assert!((ratio - 0.774).abs() < 0.02, "variance ratio {ratio}");
    }

    #[test]
    fn orthogonal_weights_have_orthonormal_rows_or_columns() {
        for (inputs, outputs) in [(5, 5), (3, 17), (64, 8), (1, 4)] {
            let w = Init::Orthogonal.weight(&Stream::new(0, "test/init"), 1, 2, inputs, outputs);
            let at = |short: usize, long: usize| {
                let (i, o) = if inputs < outputs { (short, long) } else { (long, short) };
                f64::from(w[i * outputs + o])
            };
            let (short, long) = (inputs.min(outputs), inputs.max(outputs));
            for a in 0..short {
                for b in 0..short {
                    let dot: f64 = (0..long).map(|l| at(a, l) * at(b, l)).sum();
                    let want = if a == b { 1.0 } else { 0.0 };
                    assert!((dot - want).abs() < 1e-6, "{inputs}x{outputs}: <{a}, {b}> = {dot}");
                }
            }
        }
    }
}
