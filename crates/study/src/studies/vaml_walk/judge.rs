//! A walk with the numbers that judge models of it: their value-aware error and their policy gap.

use crate::linear::{Matrix, dot};
use crate::mdp::planning::{evaluate, greedy, policy_iteration};
use crate::mdp::{FiniteMdp, Policy};
use crate::statistics::mean;
use crate::study::Record;

use super::{Groups, METHODS};

/// The first `count` orthonormal polynomials of the state, `[count, S]`, by Gram and Schmidt from powers of the position
/// in [-1, 1].
#[must_use]
pub fn polynomials(states: usize, count: usize) -> Matrix {
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for degree in 0..count {
        let position = |x: usize| 2.0 * x as f64 / (states as f64 - 1.0) - 1.0;
        let mut row: Vec<f64> = (0..states).map(|x| position(x).powi(degree as i32)).collect();
        // A second pass removes what rounding leaves of the first.
        for _ in 0..2 {
            for other in &rows {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(entry, other)| *entry -= along * other);
            }
        }
        let norm = dot(&row, &row).sqrt();
        rows.push(row.iter().map(|entry| entry / norm).collect());
    }
    Matrix::from_fn(count, states, |i, x| rows[i][x])
}

/// The quality of a model.
pub(super) struct Worth {
    /// The value-aware error at `V*`.
    pub(super) error: f64,
    /// The relative policy gap, in percent.
    pub(super) gap: f64,
}

/// A walk with what is needed to judge models of it.
pub(super) struct Judge {
    /// The walk.
    pub(super) mdp: FiniteMdp,
    best: Vec<f64>,
    features: Matrix,
}

impl Judge {
    /// A judge of models of this walk, with `features` polynomials for VAML.
    pub(super) fn of(mdp: FiniteMdp, features: usize) -> Self {
        let best = policy_iteration(&mdp).values;
        let features = polynomials(mdp.states(), features);
        Self { mdp, best, features }
    }

    /// The smallest value-aware error at `V*` of any model of the class, for `n → ∞`.
    fn least_error(&self, groups: Groups) -> f64 {
        let pooled = groups.pooled(self.mdp.kernel(), self.mdp.actions());
        let rows: Vec<Vec<f64>> = (0..pooled.rows()).map(|row| groups.matching(pooled.row(row), &self.best)).collect();
        self.planned(groups.kernel(&rows, self.mdp.actions())).error
    }

    /// Records the worth of all models for `n → ∞` and every number of groups, as curves, and with `chosen` groups, as
    /// quantities.
    pub(super) fn judge_capacities(&self, prefix: &str, chosen: usize, record: &mut Record) {
        let states = self.mdp.states();
        for count in (2..=states).filter(|count| states.is_multiple_of(*count)) {
            let groups = Groups { states, size: states / count };
            // The pairs have equal weights, so that the kernel is the joint distribution up to a factor.
            let worth = self.models(self.mdp.kernel(), groups);
            for (name, worth) in METHODS.iter().zip(&worth) {
                record.point(&format!("{prefix}{name}_error_capacity"), count as f64, worth.error);
                record.point(&format!("{prefix}{name}_gap_capacity"), count as f64, worth.gap);
            }
            if count == chosen {
                let [mle, vaml, itervaml] = &worth;
                let mut set = |name: &str, value: f64| record.set(&format!("{prefix}{name}"), value);
                set("mle_error", mle.error);
                set("mle_gap", mle.gap);
                set("room", mle.error / self.least_error(groups));
                set("vaml_error_ratio", mle.error / vaml.error);
                set("itervaml_error_ratio", mle.error / itervaml.error);
                set("vaml_gap_saved", mle.gap - vaml.gap);
                set("itervaml_gap_saved", mle.gap - itervaml.gap);
            }
        }
    }

    fn worth(&self, kernel: &Matrix, policy: &Policy) -> Worth {
        let ahead = self.mdp.kernel().plus(-1.0, kernel).times(&self.best);
        let values = evaluate(&self.mdp, policy);
        Worth {
            error: (dot(&ahead, &ahead) / ahead.len() as f64).sqrt(),
            gap: 100.0 * (1.0 - mean(&values) / mean(&self.best)),
        }
    }

    fn planned(&self, kernel: Matrix) -> Worth {
        let model = self.mdp.with_kernel(kernel);
        let policy = policy_iteration(&model).policy;
        self.worth(model.kernel(), &policy)
    }

    /// The worth of MLE, VAML and IterVAML fitted to joint weights of pairs and next states.
    pub(super) fn models(&self, joint: &Matrix, groups: Groups) -> [Worth; 3] {
        let actions = self.mdp.actions();
        let pooled = groups.pooled(joint, actions);
        let fit = |of: &dyn Fn(&[f64]) -> Vec<f64>| {
            let rows: Vec<Vec<f64>> = (0..pooled.rows()).map(|row| of(pooled.row(row))).collect();
            groups.kernel(&rows, actions)
        };
        let likely = self.planned(fit(&|q| groups.likely(q)));
        let aware = self.planned(fit(&|q| groups.value_aware(q, &self.features)));
        // Value iteration from zero, until what is left of the start is below a millionth.
        let discount = self.mdp.discount();
        let iterations = if discount > 0.0 { (1e-6_f64.ln() / discount.ln()).ceil() as usize } else { 1 };
        let mut values = vec![0.0; self.mdp.states()];
        let mut kernel = fit(&|q| groups.matching(q, &values));
        let mut action_values = self.mdp.reward().to_vec();
        for _ in 0..iterations {
            values = self.mdp.maximum(&action_values);
            kernel = fit(&|q| groups.matching(q, &values));
            let ahead = kernel.times(&values);
            action_values = self.mdp.reward().iter().zip(ahead).map(|(r, v)| r + discount * v).collect();
        }
        let policy = Policy::deterministic(actions, &greedy(&self.mdp, &action_values));
        [likely, aware, self.worth(&kernel, &policy)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::studies::vaml_walk::drawn_walk;

    #[test]
    fn polynomials_are_orthonormal() {
        let features = polynomials(32, 8);
        let gram = features.product(&features.transposed()).plus(-1.0, &Matrix::identity(8));
        assert!(gram.sup_norm() < 1e-10);
    }

    #[test]
    fn in_the_population_no_model_of_the_class_has_an_error_below_the_least() {
        // The error of a model at V* is Σ (P*V* − (P̂V*)(g, a))². It is smallest where (P̂V*)(g, a) is the mean of P*V* over
        // the group, or the nearest attainable expectation: brute force over the attainable expectations.
        let mut random = Random::new(4, "test/vaml-walk", 4);
        let mdp = drawn_walk(12, 1, 0.95, &mut random);
        let judge = Judge::of(mdp, 3);
        let groups = Groups { states: 12, size: 3 };
        let means = groups.means(&judge.best);
        let ahead = judge.mdp.kernel().times(&judge.best);
        let (low, high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &m| (l.min(m), h.max(m)));
        let mut square = 0.0;
        for g in 0..4 {
            for a in 0..2 {
                let targets: Vec<f64> = (0..3).map(|i| ahead[(g * 3 + i) * 2 + a]).collect();
                let errors = (0..=20_000).map(|i| {
                    let value = low + (high - low) * f64::from(i) / 20_000.0;
                    targets.iter().map(|t| (t - value).powi(2)).sum::<f64>()
                });
                square += errors.fold(f64::INFINITY, f64::min);
            }
        }
        let least = judge.least_error(groups);
        assert!((least - (square / 24.0).sqrt()).abs() < 1e-5, "{least} {}", (square / 24.0).sqrt());
        for model in judge.models(judge.mdp.kernel(), groups) {
            assert!(least <= model.error + 1e-12);
        }
    }

    #[test]
    fn every_model_is_exact_with_as_many_groups_as_states() {
        let mut random = Random::new(5, "test/vaml-walk", 5);
        let mdp = drawn_walk(10, 2, 0.9, &mut random);
        let judge = Judge::of(mdp, 4);
        for worth in judge.models(judge.mdp.kernel(), Groups { states: 10, size: 1 }) {
            assert!(worth.error < 1e-9 && worth.gap.abs() < 1e-4, "{} {}", worth.error, worth.gap);
        }
    }
}
