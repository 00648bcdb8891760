//! Simulated returns of a policy.

use super::{FiniteMdp, Policy};
use crate::random::Random;

/// An unbiased sample of `V^π(x)` from the initial state `x`: the sum of the rewards of an episode that ends after each
/// step with probability `1 − γ`. Step `k` is reached with probability `γ^k`, so the expectation is the discounted sum.
pub fn sampled_return(mdp: &FiniteMdp, policy: &Policy, start: usize, random: &mut Random) -> f64 {
    let (mut state, mut sum) = (start, 0.0);
    loop {
        let action = random.category(policy.at(state));
        sum += mdp.reward()[state * mdp.actions() + action];
        if random.uniform() >= mdp.discount() {
            return sum;
        }
        state = random.category(mdp.next(state, action));
    }
}
