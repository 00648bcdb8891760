//! Dynamic programming, linear solves and simulation agree on 1,000 random MDPs of several sizes: dense, sparse and
//! deterministic kernels, with and without absorbing states, discounts from 0 to 0.999.

use foresee_study::linear::{dot, minus, sup_norm};
use foresee_study::mdp::families::{Garnet, Gridworld, Walk};
use foresee_study::mdp::planning::{evaluate, occupancy, policy_iteration, resolvent, value_iteration};
use foresee_study::mdp::simulation::sampled_return;
use foresee_study::mdp::{FiniteMdp, Policy};
use foresee_study::random::Random;
use foresee_study::statistics::interval;
use rayon::prelude::*;

/// MDP number `i` of the set, and a random policy.
fn case(i: u64) -> (FiniteMdp, Policy, Random) {
    let mut random = Random::new(i, "test/oracles", 0);
    let discounts = [0.0, 0.5, 0.9, 0.99, 0.999];
    let discount = discounts[i as usize % 5];
    let most = if discount > 0.99 { 12 } else { 40 };
    let states = 1 + random.below(most);
    let actions = 1 + random.below(4);
    let branching = [1, states.min(3), states][random.below(3)];
    let absorbing = [0, 0, states.div_ceil(4)][random.below(3)];
    let mdp = Garnet { states, actions, branching, absorbing, discount }.draw(&mut random);
    let policy = Policy::random(states, actions, &mut random);
    (mdp, policy, random)
}

/// Asserts that the vectors differ by at most `tolerance` in every entry.
fn assert_close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    let difference = sup_norm(&minus(a, b));
    assert!(difference <= tolerance, "{what}: {difference:e} > {tolerance:e}");
}

/// `V^π` by iterating `V ← r^π + γ P^π V` until the rest of the geometric series is below `error`.
fn evaluated_by_iteration(mdp: &FiniteMdp, policy: &Policy, error: f64) -> Vec<f64> {
    let (kernel, reward) = (mdp.policy_kernel(policy), mdp.policy_reward(policy));
    let (mut values, mut rest) = (vec![0.0; mdp.states()], 1.0 / (1.0 - mdp.discount()));
    while rest > error {
        let ahead = kernel.times(&values);
        values = reward.iter().zip(&ahead).map(|(r, v)| r + mdp.discount() * v).collect();
        rest *= mdp.discount();
    }
    values
}

/// `ρ_γ` by summing the series `(1 − γ) Σ γ^k ρ P^k` until its rest is below `error`.
fn occupancy_by_series(mdp: &FiniteMdp, policy: &Policy, start: &[f64], error: f64) -> Vec<f64> {
    let backwards = mdp.policy_kernel(policy).transposed();
    let (mut reached, mut weight) = (start.to_vec(), 1.0);
    let mut sum = vec![0.0; start.len()];
    while weight > error {
        sum.iter_mut().zip(&reached).for_each(|(sum, p)| *sum += (1.0 - mdp.discount()) * weight * p);
        reached = backwards.times(&reached);
        weight *= mdp.discount();
    }
    sum
}

#[test]
fn dynamic_programming_agrees_with_linear_solves() {
    (0..1000).into_par_iter().for_each(|i| {
        let (mdp, policy, mut random) = case(i);
        let solved = evaluate(&mdp, &policy);
        assert_close(&solved, &evaluated_by_iteration(&mdp, &policy, 1e-9), 2e-9, "policy evaluation");

        let iterated = value_iteration(&mdp, 1e-9);
        let exact = policy_iteration(&mdp);
        assert_close(&iterated.values, &exact.values, 2e-9, "value iteration and policy iteration");
        assert_close(&mdp.maximum(&mdp.backup(&exact.values)), &exact.values, 1e-10, "Bellman's equation");
        assert_close(&evaluate(&mdp, &iterated.policy), &exact.values, 1e-6, "the greedy policy");
        assert!(solved.iter().zip(&exact.values).all(|(v, best)| *v <= best + 1e-9), "a policy above the optimum");

        let start = random.simplex(mdp.states());
        let occupied = occupancy(&mdp, &policy, &start);
        assert_close(&occupied, &occupancy_by_series(&mdp, &policy, &start, 1e-11), 1e-9, "occupancy");
        // Both sides are the expected discounted sum of rewards from the initial distribution.
        let through_values = (1.0 - mdp.discount()) * dot(&start, &solved);
        let through_occupancy = dot(&occupied, &mdp.policy_reward(&policy));
        assert!((through_values - through_occupancy).abs() < 1e-10);
    });
}

#[test]
fn no_deterministic_policy_is_better_than_the_planned_one() {
    for i in 0..60 {
        let mut random = Random::new(i, "test/brute-force", 0);
        let (states, actions) = (2 + random.below(4), 2 + random.below(2));
        let garnet = Garnet { states, actions, branching: 2, absorbing: random.below(2), discount: 0.95 };
        let mdp = garnet.draw(&mut random);
        let mut best = vec![f64::NEG_INFINITY; states];
        for number in 0..actions.pow(states as u32) {
            let chosen: Vec<usize> = (0..states).map(|x| number / actions.pow(x as u32) % actions).collect();
            let values = evaluate(&mdp, &Policy::deterministic(actions, &chosen));
            best.iter_mut().zip(values).for_each(|(best, value)| *best = best.max(value));
        }
        assert_close(&policy_iteration(&mdp).values, &best, 1e-10, "brute force");
    }
}

#[test]
fn simulated_returns_agree_with_linear_solves() {
    // The intervals of the means have level 99 %. The returns are skewed, so that fewer than 990 of 1,000 intervals contain
    // the exact value.
    let contained = (0..1000).into_par_iter().filter(|&i| {
        let (mdp, policy, mut random) = case(i);
        let start = random.below(mdp.states());
        let exact = evaluate(&mdp, &policy)[start];
        let episodes = if mdp.discount() > 0.99 { 100 } else { 400 };
        let returns: Vec<f64> = (0..episodes).map(|_| sampled_return(&mdp, &policy, start, &mut random)).collect();
        let [low, high] = interval(&returns, 0.99).unwrap();
        low - 1e-9 <= exact && exact <= high + 1e-9
    });
    let contained = contained.count();
    assert!(contained >= 970, "{contained} of 1000 intervals contain the exact value");
}

#[test]
fn the_resolvent_has_the_norm_of_the_geometric_series() {
    // (I − γP)⁻¹ has entries that are at least zero, and each row adds up to 1/(1 − γ).
    for i in 0..200 {
        let (mdp, policy, _) = case(i);
        let inverse = resolvent(&mdp, &policy).inverse();
        let expected = 1.0 / (1.0 - mdp.discount());
        assert!((inverse.sup_norm() - expected).abs() < 1e-9 * expected);
        for x in 0..mdp.states() {
            assert!(inverse.row(x).iter().all(|&entry| entry >= -1e-12 * expected));
        }
    }
}

#[test]
fn a_gridworld_without_slips_has_the_values_of_shortest_paths() {
    let grid = Gridworld { width: 5, height: 4, slip: 0.0, discount: 0.9 };
    let values = policy_iteration(&grid.mdp()).values;
    for (x, value) in values.iter().enumerate() {
        let distance = (4 - x % 5) + (3 - x / 5);
        let exact = if distance == 0 { 0.0 } else { 0.9_f64.powi(distance as i32 - 1) };
        assert!((value - exact).abs() < 1e-12, "cell {x}: {value} instead of {exact}");
    }
}

#[test]
fn a_walk_of_two_states_has_its_closed_form() {
    // Both states are borders. With p = 0.8 and γ = 0.5, going right: V₁ = 1 + γ(0.8 V₁ + 0.2 V₀), V₀ = 0.6 + γ(0.8 V₁ + 0.2 V₀).
    let walk = Walk { states: 2, success: 0.8, stride: 1, discount: 0.5 };
    let values = policy_iteration(&walk.mdp()).values;
    // V₁ − V₀ = 0.4 and V₀ (1 − γ) = 0.6 + γ · 0.8 · 0.4.
    let first = (0.6 + 0.5 * 0.8 * 0.4) / 0.5;
    assert_close(&values, &[first, first + 0.4], 1e-12, "the walk");
}
