//! The model class, state aggregation: group distributions by maximum likelihood, by the expectation of one function,
//! and by least squares over the features of VAML.

use crate::linear::{Matrix, dot};
use crate::statistics::mean;

/// Groups of `size` neighbouring states.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// The number of states.
    pub states: usize,
    /// The number of states in a group.
    pub size: usize,
}

impl Groups {
    fn count(self) -> usize {
        self.states / self.size
    }

    /// The mean over each group of a function of the state, `[K]`.
    pub(super) fn means(self, values: &[f64]) -> Vec<f64> {
        values.chunks_exact(self.size).map(mean).collect()
    }

    /// `q(·|g, a)`, row `g·A + a`, of joint weights `[S·A, S]` of pairs and next states. A group without weight has the
    /// uniform distribution.
    pub(super) fn pooled(self, joint: &Matrix, actions: usize) -> Matrix {
        let mut pooled = Matrix::zeros(self.count() * actions, self.states);
        for z in 0..joint.rows() {
            let row = pooled.row_mut(z / actions / self.size * actions + z % actions);
            row.iter_mut().zip(joint.row(z)).for_each(|(sum, weight)| *sum += weight);
        }
        for row in 0..pooled.rows() {
            let sum: f64 = pooled.row(row).iter().sum();
            let uniform = 1.0 / self.states as f64;
            pooled.row_mut(row).iter_mut().for_each(|q| *q = if sum > 0.0 { *q / sum } else { uniform });
        }
        pooled
    }

    /// The kernel `[S·A, S]` of a model whose group distributions are the rows `g·A + a` of `p`.
    pub(in crate::studies) fn kernel(self, p: &[Vec<f64>], actions: usize) -> Matrix {
        Matrix::from_fn(self.states * actions, self.states, |z, x| {
            p[z / actions / self.size * actions + z % actions][x / self.size] / self.size as f64
        })
    }

    /// The maximum-likelihood group distribution.
    pub(super) fn likely(self, q: &[f64]) -> Vec<f64> {
        q.chunks_exact(self.size).map(|group| group.iter().sum()).collect()
    }

    /// The group distribution whose expectation of `values` is closest to that of `q`: between the maximum-likelihood one
    /// and the group with the largest or the smallest mean.
    pub(super) fn matching(self, q: &[f64], values: &[f64]) -> Vec<f64> {
        let means = self.means(values);
        let mut p = self.likely(q);
        let (now, target) = (dot(&p, &means), dot(q, values));
        let sign = if target > now { 1.0 } else { -1.0 };
        let best = (0..means.len()).max_by(|&i, &j| (sign * means[i]).total_cmp(&(sign * means[j])));
        let best = best.expect("there are groups");
        let range = means[best] - now;
        if range.abs() > 1e-14 {
            let share = ((target - now) / range).clamp(0.0, 1.0);
            p.iter_mut().for_each(|p| *p *= 1.0 - share);
            p[best] += share;
        }
        p
    }

    /// The group distribution that minimises `‖Φᵀ(q − Up)‖²`, of features `[m, S]`.
    pub(super) fn value_aware(self, q: &[f64], features: &Matrix) -> Vec<f64> {
        let grouped = Matrix::from_fn(features.rows(), self.count(), |i, h| {
            mean(&features.row(i)[h * self.size..(h + 1) * self.size])
        });
        simplex_least_squares(&grouped, &features.times(q), self.likely(q))
    }
}

/// The point of the simplex closest to `point` in the Euclidean norm (Held, Wolfe, Crowder, 1974).
fn projected(point: &[f64]) -> Vec<f64> {
    let mut sorted = point.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (i, entry) in sorted.iter().enumerate() {
        sum += entry;
        let candidate = (sum - 1.0) / (i as f64 + 1.0);
        if *entry > candidate {
            shift = candidate;
        }
    }
    point.iter().map(|entry| (entry - shift).max(0.0)).collect()
}

/// Minimises `‖Bp − b‖²` over the simplex by accelerated projected gradients with restarts. It ends when the duality gap
/// `∇ᵀp − min_i ∇_i`, a bound of the distance to the minimum, is at most 1e-12, or after 100,000 steps.
#[must_use]
pub fn simplex_least_squares(matrix: &Matrix, target: &[f64], start: Vec<f64>) -> Vec<f64> {
    let transposed = matrix.transposed();
    let gradient = |p: &[f64]| -> Vec<f64> {
        let residual: Vec<f64> = matrix.times(p).iter().zip(target).map(|(a, b)| 2.0 * (a - b)).collect();
        transposed.times(&residual)
    };
    let loss = |p: &[f64]| matrix.times(p).iter().zip(target).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    // The trace of BBᵀ is at least its largest eigenvalue.
    let trace: f64 = (0..matrix.rows()).map(|i| dot(matrix.row(i), matrix.row(i))).sum();
    let step = 0.5 / trace.max(f64::MIN_POSITIVE);
    let (mut p, mut ahead, mut momentum) = (start.clone(), start, 1.0_f64);
    let mut least = loss(&p);
    for _ in 0..100_000 {
        let here = gradient(&p);
        let smallest = here.iter().copied().fold(f64::INFINITY, f64::min);
        if dot(&here, &p) - smallest <= 1e-12 {
            break;
        }
        let slopes = gradient(&ahead);
        let next = projected(&ahead.iter().zip(slopes).map(|(p, g)| p - step * g).collect::<Vec<_>>());
        let reached = loss(&next);
        if reached > least && momentum > 1.0 {
            (ahead, momentum) = (p.clone(), 1.0);
            continue;
        }
        let grown = f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
        let factor = (momentum - 1.0) / grown;
        ahead = next.iter().zip(&p).map(|(new, old)| new + factor * (new - old)).collect();
        (p, momentum, least) = (next, grown, reached);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::studies::probability_metrics;

    #[test]
    fn least_squares_over_the_simplex_is_no_worse_than_a_grid() {
        for seed in 0..20 {
            let mut random = Random::new(seed, "test/vaml-walk", 0);
            let matrix = Matrix::from_fn(2, 3, |_, _| random.normal());
            let target = [random.normal(), random.normal()];
            let loss = |p: &[f64]| matrix.times(p).iter().zip(&target).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            let fit = simplex_least_squares(&matrix, &target, vec![1.0 / 3.0; 3]);
            crate::mdp::assert_distribution(&fit);
            let mut least = f64::INFINITY;
            for i in 0..=200 {
                for j in 0..=200 - i {
                    let p = [f64::from(i) / 200.0, f64::from(j) / 200.0, f64::from(200 - i - j) / 200.0];
                    least = least.min(loss(&p));
                }
            }
            assert!(loss(&fit) <= least + 1e-10 && loss(&fit) >= least - 0.1, "seed {seed}");
        }
    }

    #[test]
    fn the_projection_is_the_nearest_point_of_the_simplex() {
        let mut random = Random::new(1, "test/vaml-walk", 1);
        for _ in 0..50 {
            let point: Vec<f64> = (0..4).map(|_| 2.0 * random.normal()).collect();
            let nearest = projected(&point);
            crate::mdp::assert_distribution(&nearest);
            let distance = |p: &[f64]| p.iter().zip(&point).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            for _ in 0..500 {
                assert!(distance(&random.simplex(4)) >= distance(&nearest) - 1e-12);
            }
            for corner in 0..4 {
                let p: Vec<f64> = (0..4).map(|i| f64::from(u8::from(i == corner))).collect();
                assert!(distance(&p) >= distance(&nearest) - 1e-12);
            }
        }
    }

    #[test]
    fn a_matching_distribution_has_the_expectation_of_the_data_where_groups_can() {
        let groups = Groups { states: 12, size: 3 };
        let mut random = Random::new(2, "test/vaml-walk", 2);
        for _ in 0..100 {
            let q = random.simplex(12);
            let values: Vec<f64> = (0..12).map(|_| random.normal()).collect();
            let p = groups.matching(&q, &values);
            crate::mdp::assert_distribution(&p);
            let means = groups.means(&values);
            let ends = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &m| (l.min(m), h.max(m)));
            // The attainable expectations are those between the extreme group means.
            let nearest = dot(&q, &values).clamp(ends.0, ends.1);
            assert!((dot(&p, &means) - nearest).abs() < 1e-12);
        }
    }

    #[test]
    fn the_likely_groups_minimise_the_divergence() {
        let groups = Groups { states: 6, size: 2 };
        let mut random = Random::new(3, "test/vaml-walk", 3);
        let q = random.simplex(6);
        let spread = |p: &[f64]| (0..6).map(|x| p[x / 2] / 2.0).collect::<Vec<_>>();
        let divergence = |p: &[f64]| probability_metrics::divergence(&q, &spread(p));
        let least = divergence(&groups.likely(&q));
        (0..2000).for_each(|_| assert!(divergence(&random.simplex(3)) >= least - 1e-12));
    }
}
