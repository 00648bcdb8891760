//! The simulation lemma, and the slack of each inequality in its chain.
//!
//! Source: the lecture, "Why MBRL is a sensible approach?" and "Simulation Lemma". `P` is the kernel of the process, `P̂`
//! that of the model; rewards `r` and discount `γ` are the same. `V_P^π = (I − γP^π)⁻¹ r^π`, `R_max = max |r|`, and `‖·‖`
//! is the supremum norm: of a kernel, the largest sum of absolute values in a row.
//!
//! For a policy `π`:
//!
//! ```text
//! V_P^π − V_P̂^π = γ (I − γP̂^π)⁻¹ (P^π − P̂^π) V_P^π                                (identity)
//! ‖V_P^π − V_P̂^π‖ ≤ γ ‖(I − γP̂^π)⁻¹‖ ‖(P^π − P̂^π) V_P^π‖                          (resolvent)
//!                 ≤ γ/(1 − γ‖P̂^π‖) ‖(P^π − P̂^π) V_P^π‖                            (value-aware form)
//!                 ≤ γ/(1 − γ) ‖P^π − P̂^π‖ ‖V_P^π‖                                 (kernel form)
//!                 ≤ γ R_max/(1 − γ)² ‖P^π − P̂^π‖                                  (reward form)
//! ```
//!
//! Rows of `P − P̂` add up to zero, so that a constant added to `V` changes nothing on the left. The study therefore also
//! computes `γ/(1 − γ) ‖P^π − P̂^π‖ span(V_P^π)/2` with `span V = max V − min V`, which lies between the value-aware and
//! the kernel form, and a centred kernel form for the model's optimal policy. These are not in the lecture. They show
//! which part of the slack comes from the offset of `V`.
//!
//! For `π*`, optimal in `P`, and `π̂*`, optimal in `P̂` ("Simulation Lemma"):
//!
//! ```text
//! 0 ≤ V_P^π* − V_P^π̂* ≤ γ [(I − γP̂^π*)⁻¹ (P^π* − P̂^π*) V_P^π* + (I − γP̂^π̂*)⁻¹ (P̂^π̂* − P^π̂*) V_P^π̂*]     (pointwise)
//! ‖V_P^π* − V_P^π̂*‖ ≤ γ/(1 − γ) [‖(P^π* − P̂^π*) V_P^π*‖ + ‖(P̂^π̂* − P^π̂*) V_P^π̂*‖]                   (value-aware form)
//!                   ≤ 2γ V_max/(1 − γ) max_π ‖P^π − P̂^π‖ over π*, π̂*                                 (kernel form)
//!                   ≤ 2γ R_max/(1 − γ)² ‖P − P̂‖                                                      (reward form)
//! ```
//!
//! with `V_max = max(‖V_P^π*‖, ‖V_P^π̂*‖)` in the kernel form, the smallest number for which it holds.
//!
//! Two lines of the slides do not hold as they are written, and the study counts how often they are violated:
//!
//! * The slide before "Simulation Lemma" has `V_P̂^π̂*` in place of `V_P^π̂*` in the second term of the pointwise bound.
//! * The line `… ≤ (V_P^π* − V_P̂^π*) + (V_P̂^π* − V_P̂^π̂*)` keeps the second difference, which is at most zero and is the
//!   one to be dropped. The derivation after it uses the third, `V_P̂^π̂* − V_P^π̂*`.

use crate::figure::{Axis, Figure, Panel, Point, Series};
use crate::linear::{Matrix, minus, sup_norm};
use crate::mdp::families::Garnet;
use crate::mdp::planning::{evaluate, policy_iteration, resolvent};
use crate::mdp::{FiniteMdp, Policy};
use crate::random::Random;
use crate::statistics::mean;
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};

/// The study.
pub static STUDY: Study = Study {
    name: "simulation-lemma",
    revision: 1,
    claim: "The error of a model's values, and the loss of a policy that is optimal in the model, are bounded by the three \
            forms of the simulation lemma. The value-aware form is tighter than the form with the norm of the kernel's \
            error, which is why a model should be right where the value function needs it.",
    source: "lecture, slides \"Why MBRL is a sensible approach?\" and \"Simulation Lemma\"",
    parameters: &[
        Parameter::count("states", 30, [2, 200], "states of a random MDP"),
        Parameter::count("actions", 4, [1, 20], "actions"),
        Parameter::count("branching", 5, [1, 200], "states that can follow a pair of state and action"),
        Parameter::real("gamma", 0.95, [0.0, 0.999], "discount"),
        Parameter::count("draws", 1000, [1, 1_000_000], "pairs of process and model for each seed"),
    ],
    quantities: &[
        Quantity::expected(
            "policy_violations",
            "share of draws that violate an inequality of the chain for a random policy",
            Expectation::AtMost(0.0),
        ),
        Quantity::expected(
            "greedy_violations",
            "share of draws that violate an inequality of the chain for the model's optimal policy",
            Expectation::AtMost(0.0),
        ),
        Quantity::expected(
            "identity_error",
            "largest difference of the two sides of the identity, relative to R_max/(1 − γ)",
            Expectation::AtMost(1e-9),
        ),
        Quantity::expected(
            "policy_slack",
            "kernel form over value-aware form for a random policy, geometric mean",
            Expectation::AtLeast(2.0),
        ),
        Quantity::expected(
            "greedy_slack",
            "kernel form over value-aware form for the model's optimal policy, geometric mean",
            Expectation::AtLeast(2.0),
        ),
        Quantity::reported("resolvent_slack", "value-aware form over the exact error, geometric mean"),
        Quantity::reported("direction_slack", "centred kernel form over value-aware form, geometric mean"),
        Quantity::reported(
            "greedy_direction_slack",
            "centred kernel form over value-aware form for the model's optimal policy, geometric mean",
        ),
        Quantity::reported("offset_slack", "kernel form over centred kernel form, geometric mean"),
        Quantity::reported("reward_slack", "reward form over kernel form, geometric mean"),
        Quantity::reported(
            "other_value_violations",
            "share of draws that violate the pointwise bound with the model's value in its second term (slide before \
             \"Simulation Lemma\")",
        ),
        Quantity::reported(
            "kept_term_violations",
            "share of draws that violate the line of the slide that keeps the term which is at most zero",
        ),
    ],
    seeds: [10, 100, 1000],
    check: |settings| {
        let (states, branching) = (settings.count("states"), settings.count("branching"));
        if branching > states {
            return Err(format!(
                "branching={branching} is more than states={states}\nhint: lower branching to {states}, or raise states"
            ));
        }
        Ok(())
    },
    run,
    figure,
};

/// Both sides of the lemma for one policy.
#[derive(Clone, Debug)]
pub struct PolicyBounds {
    /// `‖V_P^π − V_P̂^π‖`, from two policy evaluations.
    pub error: f64,
    /// The largest difference between the two sides of the identity.
    pub identity: f64,
    /// The right-hand sides in increasing order: resolvent, value-aware, centred kernel, kernel and reward form.
    pub bounds: [f64; 5],
}

/// Computes both sides of the lemma for a policy.
#[must_use]
pub fn policy_bounds(mdp: &FiniteMdp, model: &FiniteMdp, policy: &Policy) -> PolicyBounds {
    let discount = mdp.discount();
    let values = evaluate(mdp, policy);
    let error = minus(&values, &evaluate(model, policy));
    let modelled = model.policy_kernel(policy);
    let difference = mdp.policy_kernel(policy).plus(-1.0, &modelled);
    let ahead = difference.times(&values);
    let factors = resolvent(model, policy);
    let through: Vec<f64> = factors.solve(&ahead).iter().map(|v| discount * v).collect();
    let kernel = discount / (1.0 - discount) * difference.sup_norm();
    PolicyBounds {
        error: sup_norm(&error),
        identity: sup_norm(&minus(&error, &through)),
        bounds: [
            discount * factors.inverse().sup_norm() * sup_norm(&ahead),
            discount / (1.0 - discount * modelled.sup_norm()) * sup_norm(&ahead),
            kernel * span(&values) / 2.0,
            kernel * sup_norm(&values),
            kernel * sup_norm(mdp.reward()) / (1.0 - discount),
        ],
    }
}

/// `max V − min V`.
fn span(values: &[f64]) -> f64 {
    let ends = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    ends.1 - ends.0
}

/// Both sides of the lemma for the policy that is optimal in the model.
#[derive(Clone, Debug)]
pub struct GreedyBounds {
    /// `V_P^π* − V_P^π̂*` in each state.
    pub gap: Vec<f64>,
    /// The pointwise bound.
    pub pointwise: Vec<f64>,
    /// The pointwise bound with `V_P̂^π̂*` in its second term.
    pub other_value: Vec<f64>,
    /// `(V_P^π* − V_P̂^π*) + (V_P̂^π* − V_P̂^π̂*)`.
    pub kept_term: Vec<f64>,
    /// The norms of the right-hand sides in increasing order: value-aware, centred kernel, kernel and reward form.
    pub bounds: [f64; 4],
}

/// Computes both sides of the lemma for the model's optimal policy.
#[must_use]
pub fn greedy_bounds(mdp: &FiniteMdp, model: &FiniteMdp) -> GreedyBounds {
    let discount = mdp.discount();
    let (best, modelled_best) = (policy_iteration(mdp), policy_iteration(model));
    let (star, hat) = (&best.policy, &modelled_best.policy);
    let hat_values = evaluate(mdp, hat);
    let star_in_model = evaluate(model, star);
    let difference = |policy: &Policy| mdp.policy_kernel(policy).plus(-1.0, &model.policy_kernel(policy));
    let (star_difference, hat_difference) = (difference(star), difference(hat));
    let star_ahead = star_difference.times(&best.values);
    let hat_ahead = hat_difference.times(&hat_values);
    let first = resolvent(model, star).solve(&star_ahead);
    let second = |ahead: &[f64]| {
        let solved = resolvent(model, hat).solve(ahead);
        first.iter().zip(solved).map(|(first, second)| discount * (first - second)).collect::<Vec<f64>>()
    };
    let largest = sup_norm(&best.values).max(sup_norm(&hat_values));
    let pair_norm = mdp.kernel().plus(-1.0, model.kernel()).sup_norm();
    let scale = 2.0 * discount / (1.0 - discount);
    GreedyBounds {
        gap: minus(&best.values, &hat_values),
        pointwise: second(&hat_ahead),
        other_value: second(&hat_difference.times(&modelled_best.values)),
        kept_term: (0..mdp.states())
            .map(|x| (best.values[x] - star_in_model[x]) + (star_in_model[x] - modelled_best.values[x]))
            .collect(),
        bounds: [
            scale / 2.0 * (sup_norm(&star_ahead) + sup_norm(&hat_ahead)),
            scale / 2.0
                * (star_difference.sup_norm() * span(&best.values) / 2.0
                    + hat_difference.sup_norm() * span(&hat_values) / 2.0),
            scale * largest * star_difference.sup_norm().max(hat_difference.sup_norm()),
            scale * sup_norm(mdp.reward()) / (1.0 - discount) * pair_norm,
        ],
    }
}

/// A random process, a model of it, and a random policy.
///
/// The model is, in turn: a mixture of the process' kernel with a random one, whose share is log-uniform in [0.001, 1]; the
/// frequencies in 1 to 100 samples of each pair; an independent kernel.
#[must_use]
pub fn draw(garnet: &Garnet, number: u64, random: &mut Random) -> (FiniteMdp, FiniteMdp, Policy) {
    let mdp = garnet.draw(random);
    let kernel = match number % 3 {
        0 => {
            let share = 10.0_f64.powf(random.between(-3.0, 0.0));
            let other = garnet.kernel(random);
            Matrix::from_fn(other.rows(), other.columns(), |z, x| {
                (1.0 - share) * mdp.kernel()[(z, x)] + share * other[(z, x)]
            })
        }
        1 => {
            let samples = 10.0_f64.powf(random.between(0.0, 2.0)).round();
            let mut counts = Matrix::zeros(mdp.kernel().rows(), mdp.states());
            for z in 0..counts.rows() {
                for _ in 0..samples as usize {
                    counts[(z, random.category(mdp.kernel().row(z)))] += 1.0 / samples;
                }
            }
            counts
        }
        _ => garnet.kernel(random),
    };
    let model = mdp.with_kernel(kernel);
    let policy = Policy::random(garnet.states, garnet.actions, random);
    (mdp, model, policy)
}

/// Whether `left ≤ right` fails by more than rounding.
fn violated(left: f64, right: f64, rounding: f64) -> bool {
    left > right + rounding
}

fn run(settings: &Settings, seed: u64) -> Record {
    let garnet = Garnet {
        states: settings.count("states"),
        actions: settings.count("actions"),
        branching: settings.count("branching"),
        absorbing: 0,
        discount: settings.real("gamma"),
    };
    let draws = settings.count("draws");
    let mut violations = [0_usize; 4];
    let mut identity = 0.0_f64;
    let (mut policy_rows, mut greedy_rows) = (Vec::new(), Vec::new());
    for number in 0..draws as u64 {
        let mut random = Random::new(seed, "study/simulation-lemma", number);
        let (mdp, model, policy) = draw(&garnet, number, &mut random);
        let unit = sup_norm(mdp.reward()) / (1.0 - garnet.discount);
        let rounding = 1e-9 * unit;
        let fixed = policy_bounds(&mdp, &model, &policy);
        identity = identity.max(fixed.identity / unit);
        let chain = [&[fixed.error][..], &fixed.bounds].concat();
        violations[0] += usize::from(chain.windows(2).any(|pair| violated(pair[0], pair[1], rounding)));
        policy_rows.push(chain.iter().map(|bound| bound / unit).collect::<Vec<_>>());

        let greedy = greedy_bounds(&mdp, &model);
        let above = |bound: &[f64]| greedy.gap.iter().zip(bound).any(|(gap, bound)| violated(*gap, *bound, rounding));
        let chain = [&[sup_norm(&greedy.gap), sup_norm(&greedy.pointwise)][..], &greedy.bounds].concat();
        let negative = greedy.gap.iter().any(|&gap| violated(0.0, gap, rounding));
        let unordered = chain.windows(2).any(|pair| violated(pair[0], pair[1], rounding));
        violations[1] += usize::from(negative || unordered || above(&greedy.pointwise));
        violations[2] += usize::from(above(&greedy.other_value));
        violations[3] += usize::from(above(&greedy.kept_term));
        greedy_rows.push(chain.iter().map(|bound| bound / unit).collect::<Vec<_>>());
    }
    let mut record = Record::default();
    let names = ["policy_violations", "greedy_violations", "other_value_violations", "kept_term_violations"];
    for (name, count) in names.into_iter().zip(violations) {
        record.set(name, count as f64 / draws as f64);
    }
    record.set("identity_error", identity);
    let slack = |rows: &[Vec<f64>], upper: usize, lower: usize| {
        let ratios = rows.iter().filter(|row| row[lower] > 1e-9).map(|row| (row[upper] / row[lower]).ln());
        let ratios: Vec<f64> = ratios.collect();
        // Without any error the bounds are all zero, and none is looser than another.
        if ratios.is_empty() { 1.0 } else { mean(&ratios).exp() }
    };
    record.set("policy_slack", slack(&policy_rows, 4, 2));
    record.set("greedy_slack", slack(&greedy_rows, 4, 2));
    record.set("greedy_direction_slack", slack(&greedy_rows, 3, 2));
    record.set("resolvent_slack", slack(&policy_rows, 2, 0));
    record.set("direction_slack", slack(&policy_rows, 3, 2));
    record.set("offset_slack", slack(&policy_rows, 4, 3));
    record.set("reward_slack", slack(&policy_rows, 5, 4));
    for (curve, rows) in [("policy", &policy_rows), ("greedy", &greedy_rows)] {
        for column in 0..rows[0].len() {
            record.point(curve, column as f64, mean(&rows.iter().map(|row| row[column]).collect::<Vec<_>>()));
        }
    }
    record
}

fn figure(settings: &Settings, records: &[Record]) -> Figure {
    let panel = |title: &str, curve: &str, names: &[&str], legend: &str| Panel {
        title: title.into(),
        x: Axis::named("", names),
        y: Axis::log("mean over draws, in units of R_max/(1 − γ)"),
        series: vec![
            Series::of(records, curve, legend),
            reference_line(2.0, names.len(), "2: values differ by at most 2 units, whatever the model"),
        ],
    };
    let set_up = format!("S={}, A={}, γ={}", settings.real("states"), settings.real("actions"), settings.real("gamma"));
    Figure {
        panels: vec![
            panel(
                &format!("A random policy ({set_up})"),
                "policy",
                &["exact error", "resolvent", "value-aware", "centred kernel", "kernel", "reward"],
                "error of the model's values, then its bounds",
            ),
            panel(
                &format!("The model's optimal policy ({set_up})"),
                "greedy",
                &["exact loss", "pointwise", "value-aware", "centred kernel", "kernel", "reward"],
                "loss of the policy, then its bounds",
            ),
        ],
    }
}

/// A horizontal line over the named positions.
fn reference_line(height: f64, positions: usize, name: &str) -> Series {
    let ends = [0.0, positions as f64 - 1.0];
    Series { name: name.into(), points: ends.map(|x| Point { x, y: height, band: [height; 2] }).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_states(stay: f64, discount: f64) -> FiniteMdp {
        // Both states keep their state with probability `stay`; only state 1 gives a reward.
        let kernel = Matrix::from_fn(2, 2, |i, j| if i == j { stay } else { 1.0 - stay });
        FiniteMdp::new(1, kernel, vec![0.0, 1.0], discount)
    }

    #[test]
    fn two_states_have_their_closed_form() {
        // V₁ + V₀ = 1/(1 − γ) for every `stay`, and V₁ − V₀ = 1/(1 − γ(2·stay − 1)).
        let (p, q, discount) = (0.9, 0.6, 0.8);
        let difference = |stay: f64| 1.0 / (1.0 - discount * (2.0 * stay - 1.0));
        let error = (difference(p) - difference(q)) / 2.0;
        let bounds = policy_bounds(&two_states(p, discount), &two_states(q, discount), &Policy::uniform(2, 1));
        assert!((bounds.error - error).abs() < 1e-12);
        assert!(bounds.identity < 1e-12);
        // Every row of P − P̂ is ±(p − q, q − p), so that (P − P̂)V = ±(p − q)(V₁ − V₀).
        let value_aware = discount / (1.0 - discount) * (p - q) * difference(p);
        let largest = (1.0 / (1.0 - discount) + difference(p)) / 2.0;
        let kernel = discount / (1.0 - discount) * 2.0 * (p - q);
        let exact =
            [value_aware, value_aware, kernel * difference(p) / 2.0, kernel * largest, kernel / (1.0 - discount)];
        for (bound, exact) in bounds.bounds.iter().zip(exact) {
            assert!((bound - exact).abs() < 1e-12 * exact, "{:?} {exact}", bounds.bounds);
        }
    }

    #[test]
    fn the_value_aware_bound_is_attained_for_a_discount_near_zero() {
        // For γ near zero the first step is the whole error, so that the ratio tends to one.
        let (p, q, discount) = (0.9, 0.6, 1e-6);
        let bounds = policy_bounds(&two_states(p, discount), &two_states(q, discount), &Policy::uniform(2, 1));
        assert!((bounds.bounds[1] / bounds.error - 1.0).abs() < 1e-5);
    }

    #[test]
    fn the_gap_and_both_terms_of_the_pointwise_bound_are_differences_of_values() {
        // The pointwise bound is (V_P^π* − V_P̂^π*) + (V_P̂^π̂* − V_P^π̂*), computed here by four evaluations.
        for number in 0..60 {
            let mut random = Random::new(number, "test/simulation-lemma", 0);
            let garnet = Garnet { states: 6, actions: 3, branching: 3, absorbing: 1, discount: 0.9 };
            let (mdp, model, _) = draw(&garnet, number, &mut random);
            let bounds = greedy_bounds(&mdp, &model);
            let (star, hat) = (policy_iteration(&mdp).policy, policy_iteration(&model).policy);
            let values = |process: &FiniteMdp, policy: &Policy| evaluate(process, policy);
            let first = minus(&values(&mdp, &star), &values(&model, &star));
            let second = minus(&values(&model, &hat), &values(&mdp, &hat));
            for x in 0..6 {
                assert!((bounds.pointwise[x] - first[x] - second[x]).abs() < 1e-10);
                assert!(bounds.gap[x] >= -1e-10 && bounds.gap[x] <= bounds.pointwise[x] + 1e-10);
            }
        }
    }

    #[test]
    fn every_inequality_holds_in_hard_processes() {
        // Deterministic kernels, absorbing states and long horizons.
        for number in 0..600 {
            let mut random = Random::new(number, "test/simulation-lemma", 1);
            let states = 2 + random.below(12);
            let branching = 1 + random.below(states);
            let discount = [0.5, 0.9, 0.99, 0.999][number as usize % 4];
            let garnet = Garnet { states, actions: 1 + random.below(3), branching, absorbing: states / 4, discount };
            let (mdp, model, policy) = draw(&garnet, number, &mut random);
            let rounding = 1e-9 / (1.0 - discount);
            let fixed = policy_bounds(&mdp, &model, &policy);
            assert!(fixed.identity < rounding);
            let chain = [&[fixed.error][..], &fixed.bounds].concat();
            assert!(chain.windows(2).all(|pair| !violated(pair[0], pair[1], rounding)), "{chain:?}");
            let greedy = greedy_bounds(&mdp, &model);
            let chain = [&[sup_norm(&greedy.gap), sup_norm(&greedy.pointwise)][..], &greedy.bounds].concat();
            assert!(chain.windows(2).all(|pair| !violated(pair[0], pair[1], rounding)), "{chain:?}");
        }
    }

    #[test]
    fn the_slides_line_that_keeps_the_negative_term_fails_for_a_biased_model() {
        // Two actions in one transient state: the model takes the worse one for the better one.
        let kernel = |good: f64, bad: f64| {
            Matrix::from_fn(6, 3, |z, x| match (z, x) {
                (0, 1) => good,
                (0, 2) => 1.0 - good,
                (1, 1) => bad,
                (1, 2) => 1.0 - bad,
                (2 | 3, 1) | (4 | 5, 2) => 1.0,
                _ => 0.0,
            })
        };
        let reward = vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
        let mdp = FiniteMdp::new(2, kernel(1.0, 0.0), reward, 0.5);
        let model = mdp.with_kernel(kernel(0.0, 1.0));
        let bounds = greedy_bounds(&mdp, &model);
        // V* in state 0 is γ·2 = 1, that of the model's policy 0. The kept terms: (1 − 0) + (0 − 1) = 0.
        assert!((bounds.gap[0] - 1.0).abs() < 1e-12);
        assert!(bounds.kept_term[0].abs() < 1e-12);
        assert!((bounds.pointwise[0] - 2.0).abs() < 1e-12);
    }
}
