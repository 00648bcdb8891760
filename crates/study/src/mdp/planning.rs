//! Planning in a finite MDP whose kernel is known.
//!
//! Symbols: `V^π = (I − γP^π)⁻¹ r^π` is the value of the policy `π` (lecture, "Why MBRL is a sensible approach?"), `V*`
//! the largest value over all policies, and `ρ_γ(·; P^π) = (1 − γ) Σ_k γ^k ρ (P^π)^k` the discounted occupancy from the
//! initial distribution `ρ` (lecture, "Policy Gradient": discounted future-state stationary distribution).

use super::{FiniteMdp, Policy};
use crate::linear::{Lu, Matrix, sup_norm};

/// A solution of a process.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `V*`, `[S]`.
    pub values: Vec<f64>,
    /// A greedy action in each state, `[S]`.
    pub chosen: Vec<usize>,
    /// The policy of these actions.
    pub policy: Policy,
}

/// The factors of `I − γP^π`. The matrix is strictly diagonally dominant by rows, so that it is never singular.
#[must_use]
pub fn resolvent(mdp: &FiniteMdp, policy: &Policy) -> Lu {
    let unit = Matrix::identity(mdp.states());
    unit.plus(-mdp.discount(), &mdp.policy_kernel(policy)).lu().expect("I − γP has no eigenvalue below 1 − γ")
}

/// `V^π`, `[S]`, by a linear solve.
#[must_use]
pub fn evaluate(mdp: &FiniteMdp, policy: &Policy) -> Vec<f64> {
    resolvent(mdp, policy).solve(&mdp.policy_reward(policy))
}

/// `ρ_γ(·; P^π)`, `[S]`, from the initial distribution `start`, by a linear solve.
#[must_use]
pub fn occupancy(mdp: &FiniteMdp, policy: &Policy, start: &[f64]) -> Vec<f64> {
    let scaled: Vec<f64> = start.iter().map(|p| (1.0 - mdp.discount()) * p).collect();
    resolvent(mdp, policy).solve_transposed(&scaled)
}

/// The first best action in each state, `[S]`, of action values `[S·A]`.
#[must_use]
pub fn greedy(mdp: &FiniteMdp, action_values: &[f64]) -> Vec<usize> {
    let first_best = |row: &[f64]| (1..row.len()).fold(0, |best, a| if row[a] > row[best] { a } else { best });
    action_values.chunks_exact(mdp.actions()).map(first_best).collect()
}

fn plan(mdp: &FiniteMdp, values: Vec<f64>, chosen: Vec<usize>) -> Plan {
    let policy = Policy::deterministic(mdp.actions(), &chosen);
    Plan { values, chosen, policy }
}

/// Value iteration `V ← max_a (r + γPV)` from zero, until `V` is within `error` of `V*` in the supremum norm.
///
/// A step changes `V` by at most `error (1 − γ)/γ` in the end; then the distance to the fixed point of the contraction
/// is at most `error`.
#[must_use]
pub fn value_iteration(mdp: &FiniteMdp, error: f64) -> Plan {
    let mut values = vec![0.0; mdp.states()];
    loop {
        let action_values = mdp.backup(&values);
        let next = mdp.maximum(&action_values);
        let change = values.iter().zip(&next).fold(0.0_f64, |most, (old, new)| most.max((new - old).abs()));
        values = next;
        if mdp.discount() * change <= error * (1.0 - mdp.discount()) {
            let chosen = greedy(mdp, &mdp.backup(&values));
            return plan(mdp, values, chosen);
        }
    }
}

/// Policy iteration: exact evaluation and greedy improvement, until no action improves the value by more than rounding.
#[must_use]
pub fn policy_iteration(mdp: &FiniteMdp) -> Plan {
    let mut chosen = greedy(mdp, mdp.reward());
    loop {
        let values = evaluate(mdp, &Policy::deterministic(mdp.actions(), &chosen));
        let action_values = mdp.backup(&values);
        // An action replaces the old one only if it is better by more than the error of the linear solve.
        let rounding = 1e-13 * (1.0 + sup_norm(&values)) / (1.0 - mdp.discount());
        let best = greedy(mdp, &action_values);
        let mut changed = false;
        for (x, (old, new)) in chosen.iter_mut().zip(best).enumerate() {
            let row = &action_values[x * mdp.actions()..];
            if row[new] > row[*old] + rounding {
                *old = new;
                changed = true;
            }
        }
        if !changed {
            return plan(mdp, values, chosen);
        }
    }
}
