//! The model class, state aggregation: its model of MLE and its model of PAML.

use crate::linear::{dot, minus};
use crate::mdp::FiniteMdp;
use crate::mdp::planning::resolvent;
use crate::studies::vaml_walk::Groups;

use super::gradient::Point;

/// The group distributions of a model, row `g·A + a`.
#[derive(Clone)]
pub(super) struct Aggregated {
    size: usize,
    rows: Vec<Vec<f64>>,
}

impl Aggregated {
    /// The model of MLE under the data `ν(x, a)`.
    pub(super) fn likely(mdp: &FiniteMdp, data: &[f64], groups: usize) -> Self {
        let (actions, size) = (mdp.actions(), mdp.states() / groups);
        let mut rows = vec![vec![0.0; groups]; groups * actions];
        for (z, weight) in data.iter().enumerate() {
            let row = &mut rows[z / actions / size * actions + z % actions];
            mdp.kernel().row(z).iter().enumerate().for_each(|(x, p)| row[x / size] += weight * p);
        }
        for row in &mut rows {
            let sum: f64 = row.iter().sum();
            // From a uniform start every pair has weight, unless the policy rounds it to zero.
            row.iter_mut().for_each(|p| *p = if sum > 0.0 { *p / sum } else { 1.0 / groups as f64 });
        }
        Self { size, rows }
    }

    /// The process with the kernel of the model.
    pub(super) fn model(&self, mdp: &FiniteMdp) -> FiniteMdp {
        let groups = Groups { states: mdp.states(), size: self.size };
        mdp.with_kernel(groups.kernel(&self.rows, mdp.actions()))
    }

    /// The loss `L = ‖Σ_x (ρ̂_γ − ρ_γ)(x) f(x)‖²`, and its derivative with respect to every entry of the rows.
    fn loss(&self, point: &Point<'_>) -> (f64, Vec<Vec<f64>>) {
        let model = self.model(point.mdp);
        let (actions, discount) = (point.mdp.actions(), point.mdp.discount());
        let factors = resolvent(&model, &point.policy);
        let scaled: Vec<f64> = point.start.iter().map(|p| (1.0 - discount) * p).collect();
        let occupied = factors.solve_transposed(&scaled);
        let difference = minus(&occupied, &point.occupied);
        let error: Vec<f64> = point.gradient(&difference).iter().map(|e| (1.0 - discount) * e).collect();
        let loss = dot(&error, &error);
        let slopes: Vec<f64> = point.directions.times(&error).iter().map(|slope| 2.0 * slope).collect();
        let ahead = factors.solve(&slopes);
        let ahead: Vec<f64> = ahead.chunks_exact(self.size).map(crate::statistics::mean).collect();
        let mut slopes = vec![vec![0.0; self.rows[0].len()]; self.rows.len()];
        for z in 0..point.mdp.reward().len() {
            let x = z / actions;
            let weight = discount * occupied[x] * point.policy.at(x)[z % actions];
            let row = &mut slopes[x / self.size * actions + z % actions];
            row.iter_mut().zip(&ahead).for_each(|(slope, u)| *slope += weight * u);
        }
        (loss, slopes)
    }

    /// The rows whose logits are moved by `−step` times the derivative with respect to them.
    fn moved(&self, slopes: &[Vec<f64>], step: f64) -> Self {
        let rows = self.rows.iter().zip(slopes).map(|(row, slope)| {
            // The largest factor is one, so that none overflows.
            let moves = row.iter().zip(slope).filter(|(p, _)| **p > 0.0).map(|(_, s)| -step * s);
            let most = moves.fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = row.iter().zip(slope).map(|(p, s)| p * (-step * s - most).min(0.0).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / sum).collect()
        });
        Self { size: self.size, rows: rows.collect() }
    }
}

/// The derivative with respect to the logits of a row, from that with respect to its probabilities.
fn logit_slopes(rows: &[Vec<f64>], slopes: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let chain = |(row, slope): (&Vec<f64>, &Vec<f64>)| {
        let mean = dot(row, slope);
        row.iter().zip(slope).map(|(p, s)| p * (s - mean)).collect()
    };
    rows.iter().zip(slopes).map(chain).collect()
}

/// The model of PAML: descent with backtracking in the logits, from the model of MLE with a thousandth of a uniform model,
/// so that no probability is zero.
pub(super) fn policy_aware(point: &Point<'_>, likely: &Aggregated, steps: usize) -> Aggregated {
    let groups = likely.rows[0].len() as f64;
    let mixed = likely.rows.iter().map(|row| row.iter().map(|p| 0.999 * p + 0.001 / groups).collect());
    let mut model = Aggregated { size: likely.size, rows: mixed.collect() };
    let (mut loss, mut slopes) = model.loss(point);
    // A step of one moves a logit by about one where the derivative is as large as the loss.
    let mut step = 1.0 / loss.max(f64::MIN_POSITIVE);
    for _ in 0..steps {
        let gradient = logit_slopes(&model.rows, &slopes);
        let length: f64 = gradient.iter().map(|row| dot(row, row)).sum();
        if length <= 1e-30 || loss <= 1e-28 {
            break;
        }
        step *= 2.0;
        let mut candidate = model.moved(&gradient, step);
        let (mut reached, mut next) = candidate.loss(point);
        for _ in 0..60 {
            if reached <= loss - 0.1 * step * length {
                break;
            }
            step /= 2.0;
            candidate = model.moved(&gradient, step);
            (reached, next) = candidate.loss(point);
        }
        if reached >= loss {
            break;
        }
        (model, loss, slopes) = (candidate, reached, next);
    }
    model
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::studies::paml::fixture::drawn;

    #[test]
    fn the_loss_is_the_squared_error_of_the_gradient() {
        let (family, parameters) = drawn(1);
        let point = Point::at(&family, &parameters);
        let model = Aggregated::likely(&family.mdp, &point.data(), 2);
        let error = minus(&point.modelled(&model.model(&family.mdp)), &point.gradient(&point.occupied));
        let scaled = model.loss(&point).0 / (1.0 - family.mdp.discount()).powi(2);
        assert!((dot(&error, &error) - scaled).abs() < 1e-12 * (1.0 + scaled));
    }

    #[test]
    fn slopes_of_the_model_are_finite_differences() {
        for seed in [2, 3] {
            let (family, parameters) = drawn(seed);
            let point = Point::at(&family, &parameters);
            let model = Aggregated::likely(&family.mdp, &point.data(), 3);
            let mixed = model.rows.iter().map(|row| row.iter().map(|p| 0.9 * p + 0.1 / 3.0).collect()).collect();
            let model = Aggregated { size: model.size, rows: mixed };
            let slopes = logit_slopes(&model.rows, &model.loss(&point).1);
            let largest = slopes.iter().flatten().fold(0.0_f64, |most, slope| most.max(slope.abs()));
            for row in 0..model.rows.len() {
                for h in 0..3 {
                    let moved = |by: f64| {
                        let mut direction = vec![vec![0.0; 3]; model.rows.len()];
                        direction[row][h] = by;
                        // `moved` subtracts.
                        model.moved(&direction, -1.0).loss(&point).0
                    };
                    let difference = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                    let slope = slopes[row][h];
                    assert!((slope - difference).abs() < 1e-5 * largest, "{row} {h}: {slope} {difference}");
                }
            }
        }
    }

    #[test]
    fn the_policy_aware_model_is_no_worse_than_the_likely_one_and_than_random_ones() {
        for seed in 0..5 {
            let (family, parameters) = drawn(seed);
            let point = Point::at(&family, &parameters);
            let likely = Aggregated::likely(&family.mdp, &point.data(), 2);
            let least = policy_aware(&point, &likely, 500).loss(&point).0;
            assert!(least <= likely.loss(&point).0);
            let mut random = Random::new(seed, "test/paml", 1);
            for _ in 0..300 {
                let rows = (0..6).map(|_| random.simplex(2)).collect();
                assert!(Aggregated { size: 3, rows }.loss(&point).0 >= least - 1e-3 * likely.loss(&point).0, "{seed}");
            }
        }
    }

    #[test]
    fn a_model_with_as_many_groups_as_states_is_the_process() {
        let (family, parameters) = drawn(3);
        let point = Point::at(&family, &parameters);
        let full = Aggregated::likely(&family.mdp, &point.data(), 6).model(&family.mdp);
        assert!(full.kernel().plus(-1.0, family.mdp.kernel()).sup_norm() < 1e-12);
    }
}
