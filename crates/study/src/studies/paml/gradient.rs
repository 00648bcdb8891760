//! Policies with their gradients, in the process and in models of it, and the bounds of a model's error.

use crate::linear::{Matrix, dot, minus, norm, sup_norm};
use crate::mdp::planning::{evaluate, occupancy};
use crate::mdp::{FiniteMdp, Policy};
use crate::random::Random;
use crate::studies::probability_metrics::divergence;

/// A process with the features of its policies.
pub(super) struct Family {
    /// The process.
    pub(super) mdp: FiniteMdp,
    /// `φ`, `[S·A, d]`.
    pub(super) features: Matrix,
}

impl Family {
    /// A feature for each pair.
    pub(super) fn tabular(mdp: &FiniteMdp) -> Self {
        Self { mdp: mdp.clone(), features: Matrix::identity(mdp.reward().len()) }
    }

    /// `count` random features, scaled so that the largest norm of a pair's features is one.
    pub(super) fn shared(mdp: &FiniteMdp, count: usize, random: &mut Random) -> Self {
        let drawn = Matrix::from_fn(mdp.reward().len(), count, |_, _| random.normal());
        let largest = (0..drawn.rows()).map(|z| norm(drawn.row(z))).fold(0.0, f64::max);
        let features = Matrix::from_fn(drawn.rows(), count, |z, i| drawn[(z, i)] / largest);
        Self { mdp: mdp.clone(), features }
    }
}

/// A policy of a process, with everything that the policy gradient needs.
pub(super) struct Point<'a> {
    /// The process.
    pub(super) mdp: &'a FiniteMdp,
    /// `π`.
    pub(super) policy: Policy,
    /// `ρ`.
    pub(super) start: Vec<f64>,
    /// `ρ_γ(·; P^π)`.
    pub(super) occupied: Vec<f64>,
    /// `f(x)`, `[S, d]`.
    pub(super) directions: Matrix,
    /// `max |Q^π|`.
    pub(super) largest: f64,
    /// `J(θ)`.
    pub(super) objective: f64,
}

impl<'a> Point<'a> {
    /// The policy with these parameters `[d]`.
    pub(super) fn at(family: &'a Family, parameters: &[f64]) -> Self {
        let mdp = &family.mdp;
        let (states, actions) = (mdp.states(), mdp.actions());
        let policy = Policy::softmax(actions, &family.features.times(parameters));
        let start = vec![1.0 / states as f64; states];
        let values = evaluate(mdp, &policy);
        let action_values = mdp.backup(&values);
        let occupied = occupancy(mdp, &policy, &start);
        // Σ_a π ∇log π Q = Σ_a π(a|x) φ(x, a) (Q(x, a) − V(x)).
        let mut directions = Matrix::zeros(states, family.features.columns());
        for (z, q) in action_values.iter().enumerate() {
            let weight = policy.at(z / actions)[z % actions] * (q - values[z / actions]);
            let row = directions.row_mut(z / actions);
            row.iter_mut().zip(family.features.row(z)).for_each(|(sum, phi)| *sum += weight * phi);
        }
        let largest = sup_norm(&action_values);
        Self { objective: dot(&start, &values), mdp, policy, start, occupied, directions, largest }
    }

    /// `1/(1 − γ) Σ_x ρ_γ(x) f(x)`, `[d]`, with the occupancy of a model or of the process.
    pub(super) fn gradient(&self, occupied: &[f64]) -> Vec<f64> {
        let scale = 1.0 / (1.0 - self.mdp.discount());
        let mut sum = vec![0.0; self.directions.columns()];
        for (x, weight) in occupied.iter().enumerate() {
            sum.iter_mut().zip(self.directions.row(x)).for_each(|(sum, f)| *sum += scale * weight * f);
        }
        sum
    }

    /// The gradient in a model.
    pub(super) fn modelled(&self, model: &FiniteMdp) -> Vec<f64> {
        self.gradient(&occupancy(model, &self.policy, &self.start))
    }

    /// `ν(x, a)` of the data, `[S·A]`.
    pub(super) fn data(&self) -> Vec<f64> {
        let actions = self.mdp.actions();
        (0..self.mdp.reward().len())
            .map(|z| self.occupied[z / actions] * self.policy.at(z / actions)[z % actions])
            .collect()
    }
}

/// The relative error of the gradient in a model.
pub(super) fn relative_error(point: &Point<'_>, model: &FiniteMdp) -> f64 {
    let exact = point.gradient(&point.occupied);
    norm(&minus(&point.modelled(model), &exact)) / norm(&exact)
}

/// Whether a model violates one of the slide's bounds, for the data of the policy and for uniform data.
pub(super) fn violates(point: &Point<'_>, model: &FiniteMdp) -> bool {
    let error = norm(&minus(&point.gradient(&point.occupied), &point.modelled(model)));
    let (truth, other) = (point.mdp.policy_kernel(&point.policy), model.policy_kernel(&point.policy));
    let divergences: Vec<f64> = (0..point.mdp.states()).map(|x| divergence(truth.row(x), other.row(x))).collect();
    let discount = point.mdp.discount();
    let scale = discount / (1.0 - discount).powi(2) * point.largest;
    let uniform = vec![1.0 / point.mdp.states() as f64; point.mdp.states()];
    let most = divergences.iter().copied().fold(0.0, f64::max);
    let bounds = [&point.occupied, &uniform].map(|data| {
        let concentration = point.occupied.iter().zip(data).map(|(o, d)| o / d).fold(0.0, f64::max);
        scale * concentration * (2.0 * dot(data, &divergences)).sqrt()
    });
    let rounding = 1e-10 * scale;
    bounds.iter().any(|bound| error > bound + rounding) || error > scale * 2.0 * (2.0 * most).sqrt() + rounding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studies::paml::fixture::drawn;

    #[test]
    fn the_policy_gradient_is_that_of_finite_differences() {
        for seed in [0, 1] {
            let (family, parameters) = drawn(seed);
            let point = Point::at(&family, &parameters);
            let gradient = point.gradient(&point.occupied);
            for i in 0..parameters.len() {
                let moved = |by: f64| {
                    let mut parameters = parameters.clone();
                    parameters[i] += by;
                    Point::at(&family, &parameters).objective
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((gradient[i] - difference).abs() < 1e-8, "{i}: {} {difference}", gradient[i]);
            }
        }
    }

    #[test]
    fn the_norm_of_a_feature_is_below_the_largest_action_value() {
        // The factor that makes the slide's bounds hold.
        for seed in 0..50 {
            let (family, parameters) = drawn(seed);
            let point = Point::at(&family, &parameters);
            assert!((0..6).all(|x| norm(point.directions.row(x)) <= point.largest));
        }
    }
}
