//! Finite Markov decision processes: states `x` below `S`, actions `a` below `A`, a kernel `P(x'|x, a)`, expected
//! rewards `r(x, a)` and a discount `γ` in [0, 1).
//!
//! * [`families`]: random Garnet MDPs, gridworlds, random walks.
//! * [`planning`]: value iteration, policy iteration, policy evaluation and discounted occupancy by linear solves.
//! * [`simulation`]: returns of simulated episodes.
//!
//! Functions of a pair `(x, a)` are vectors with entry `x·A + a`.

pub mod families;
pub mod planning;
pub mod simulation;

use crate::linear::{Matrix, dot};
use crate::random::Random;

/// A finite Markov decision process.
#[derive(Clone, Debug)]
pub struct FiniteMdp {
    states: usize,
    actions: usize,
    /// `[S·A, S]`: row `x·A + a` is `P(·|x, a)`.
    kernel: Matrix,
    /// `[S·A]`.
    reward: Vec<f64>,
    discount: f64,
}

impl FiniteMdp {
    /// The process with this kernel `[S·A, S]`, these rewards `[S·A]` and this discount.
    ///
    /// # Panics
    /// If the shapes disagree, a row of the kernel is not a distribution, or the discount is not in [0, 1).
    #[must_use]
    pub fn new(actions: usize, kernel: Matrix, reward: Vec<f64>, discount: f64) -> Self {
        let states = kernel.columns();
        assert!(states > 0 && actions > 0, "a process has at least one state and one action");
        assert_eq!((kernel.rows(), reward.len()), (states * actions, states * actions), "a kernel of another shape");
        assert!((0.0..1.0).contains(&discount), "the discount {discount} is not in [0, 1)");
        for row in 0..kernel.rows() {
            assert_distribution(kernel.row(row));
        }
        Self { states, actions, kernel, reward, discount }
    }

    /// The same process with another kernel: the kernel of a model.
    #[must_use]
    pub fn with_kernel(&self, kernel: Matrix) -> Self {
        Self::new(self.actions, kernel, self.reward.clone(), self.discount)
    }

    /// The same process with other rewards `[S·A]`.
    #[must_use]
    pub fn with_reward(&self, reward: Vec<f64>) -> Self {
        Self::new(self.actions, self.kernel.clone(), reward, self.discount)
    }

    /// The number of states `S`.
    #[must_use]
    pub fn states(&self) -> usize {
        self.states
    }

    /// The number of actions `A`.
    #[must_use]
    pub fn actions(&self) -> usize {
        self.actions
    }

    /// The discount `γ`.
    #[must_use]
    pub fn discount(&self) -> f64 {
        self.discount
    }

    /// The kernel `[S·A, S]`.
    #[must_use]
    pub fn kernel(&self) -> &Matrix {
        &self.kernel
    }

    /// `P(·|x, a)`.
    #[must_use]
    pub fn next(&self, state: usize, action: usize) -> &[f64] {
        self.kernel.row(state * self.actions + action)
    }

    /// The expected rewards `[S·A]`.
    #[must_use]
    pub fn reward(&self) -> &[f64] {
        &self.reward
    }

    /// `P^π(x'|x) = Σ_a π(a|x) P(x'|x, a)`, `[S, S]`.
    #[must_use]
    pub fn policy_kernel(&self, policy: &Policy) -> Matrix {
        let mut kernel = Matrix::zeros(self.states, self.states);
        for x in 0..self.states {
            for (a, &probability) in policy.at(x).iter().enumerate() {
                if probability > 0.0 {
                    let row = kernel.row_mut(x);
                    row.iter_mut().zip(self.next(x, a)).for_each(|(sum, p)| *sum += probability * p);
                }
            }
        }
        kernel
    }

    /// `r^π(x) = Σ_a π(a|x) r(x, a)`, `[S]`.
    #[must_use]
    pub fn policy_reward(&self, policy: &Policy) -> Vec<f64> {
        policy.expectation(&self.reward)
    }

    /// `r(x, a) + γ Σ_x' P(x'|x, a) V(x')`, `[S·A]`.
    #[must_use]
    pub fn backup(&self, values: &[f64]) -> Vec<f64> {
        (0..self.reward.len()).map(|z| self.reward[z] + self.discount * dot(self.kernel.row(z), values)).collect()
    }

    /// `max_a Q(x, a)`, `[S]`.
    #[must_use]
    pub fn maximum(&self, action_values: &[f64]) -> Vec<f64> {
        let best = |row: &[f64]| row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        action_values.chunks_exact(self.actions).map(best).collect()
    }
}

/// Asserts that the entries are at least zero and add up to one.
///
/// # Panics
/// Otherwise.
pub fn assert_distribution(probabilities: &[f64]) {
    let sum: f64 = probabilities.iter().sum();
    let proper = probabilities.iter().all(|&p| p >= 0.0) && (sum - 1.0).abs() < 1e-9;
    assert!(proper, "not a distribution (sum {sum}): {probabilities:?}");
}

/// A stationary policy `π(a|x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    actions: usize,
    /// `[S·A]`.
    probabilities: Vec<f64>,
}

impl Policy {
    /// The policy with these probabilities `[S·A]`.
    ///
    /// # Panics
    /// If the probabilities of a state are not a distribution.
    #[must_use]
    pub fn new(actions: usize, probabilities: Vec<f64>) -> Self {
        assert_eq!(probabilities.len() % actions, 0, "probabilities of another shape");
        probabilities.chunks_exact(actions).for_each(assert_distribution);
        Self { actions, probabilities }
    }

    /// The policy that takes action `chosen[x]` in state `x`.
    #[must_use]
    pub fn deterministic(actions: usize, chosen: &[usize]) -> Self {
        let mut probabilities = vec![0.0; chosen.len() * actions];
        chosen.iter().enumerate().for_each(|(x, &a)| probabilities[x * actions + a] = 1.0);
        Self::new(actions, probabilities)
    }

    /// The policy that takes each action with the same probability.
    #[must_use]
    pub fn uniform(states: usize, actions: usize) -> Self {
        Self::new(actions, vec![1.0 / actions as f64; states * actions])
    }

    /// A policy whose distribution in each state is uniform over the simplex.
    #[must_use]
    pub fn random(states: usize, actions: usize, random: &mut Random) -> Self {
        Self::new(actions, (0..states).flat_map(|_| random.simplex(actions)).collect())
    }

    /// The softmax policy `π(a|x) ∝ exp θ(x, a)` of the logits `[S·A]`.
    #[must_use]
    pub fn softmax(actions: usize, logits: &[f64]) -> Self {
        let weigh = |row: &[f64]| {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = row.iter().map(|logit| (logit - top).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.into_iter().map(move |weight| weight / sum).collect::<Vec<_>>()
        };
        Self::new(actions, logits.chunks_exact(actions).flat_map(weigh).collect())
    }

    /// `π(·|x)`.
    #[must_use]
    pub fn at(&self, state: usize) -> &[f64] {
        &self.probabilities[state * self.actions..(state + 1) * self.actions]
    }

    /// `Σ_a π(a|x) Q(x, a)`, `[S]`.
    #[must_use]
    pub fn expectation(&self, action_values: &[f64]) -> Vec<f64> {
        let rows = self.probabilities.chunks_exact(self.actions);
        rows.zip(action_values.chunks_exact(self.actions)).map(|(p, q)| dot(p, q)).collect()
    }
}
