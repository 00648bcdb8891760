//! Integral probability metrics between the next-state distributions of a process and of a model.
//!
//! Source: the lecture, "Integral Probability Metric & Model Learning". For distributions `μ₁`, `μ₂` and a set `F` of
//! functions, `d_F(μ₁, μ₂) = sup_{f ∈ F} |Σ_x f(x) (μ₁(x) − μ₂(x))|`:
//!
//! * total variation: `F` has all functions with `|f| ≤ 1`, so that `d_F = ‖μ₁ − μ₂‖₁` (the lecture's convention, under
//!   which Pinsker's inequality is `‖μ₁ − μ₂‖_TV ≤ √(2 KL(μ₁‖μ₂))`);
//! * Wasserstein-1: `F` has all functions with Lipschitz constant 1. The states are the points `0, 1, …, S − 1` of a line,
//!   and `d_F = Σ_x |μ₁(≤ x) − μ₂(≤ x)|`;
//! * VAML: `F` is the set of value functions that a planner can produce. Here: `V^π` of every deterministic policy of the
//!   process, and the iterates `V_k` of value iteration from zero;
//! * IterVAML: `F = {V_k}`, the most recent value function.
//!
//! A larger set has a larger metric, and a value function is `V_max` times a function of the first set and `L` times one
//! of the second, `V_max` and `L` being the largest norm and Lipschitz constant over the value functions. Thus
//!
//! ```text
//! IterVAML ≤ VAML ≤ V_max · TV ≤ V_max · √(2 KL),   VAML ≤ L · W₁,   W₁ ≤ (S − 1)/2 · TV.
//! ```

use crate::figure::{Axis, Figure, Panel, Series};
use crate::linear::{Matrix, dot, minus, sup_norm};
use crate::mdp::families::Garnet;
use crate::mdp::planning::evaluate;
use crate::mdp::{FiniteMdp, Policy};
use crate::random::Random;
use crate::statistics::mean;
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};

/// The study.
pub static STUDY: Study = Study {
    name: "probability-metrics",
    revision: 1,
    claim: "Total variation, Wasserstein-1, VAML and IterVAML are one family of metrics. The smaller its set of functions, \
            the smaller the metric: IterVAML ≤ VAML ≤ V_max·TV ≤ V_max·√(2 KL), and VAML ≤ L·W₁. The value-aware metrics \
            are smaller by a factor that counts.",
    source: "lecture, slide \"Integral Probability Metric & Model Learning\"",
    parameters: &[
        Parameter::count("states", 8, [2, 12], "states on a line"),
        Parameter::count("actions", 2, [1, 3], "actions"),
        Parameter::count("branching", 4, [1, 12], "states that can follow a pair of state and action"),
        Parameter::real("gamma", 0.9, [0.0, 0.999], "discount"),
        Parameter::count("iterates", 20, [1, 1000], "iterates of value iteration"),
        Parameter::count("draws", 100, [1, 100_000], "pairs of process and model for each seed"),
    ],
    quantities: &[
        Quantity::expected(
            "violations",
            "share of state-action pairs that violate an inequality",
            Expectation::AtMost(0.0),
        ),
        Quantity::expected(
            "tv_over_vaml",
            "V_max·TV over VAML, geometric mean over state-action pairs",
            Expectation::AtLeast(1.5),
        ),
        Quantity::expected(
            "wasserstein_over_vaml",
            "L·W₁ over VAML, geometric mean over state-action pairs",
            Expectation::AtLeast(1.5),
        ),
        Quantity::expected(
            "vaml_over_itervaml",
            "VAML over IterVAML of the last iterate, geometric mean over state-action pairs",
            Expectation::AtLeast(1.5),
        ),
        Quantity::reported("kl_over_tv", "√(2 KL) over TV, geometric mean over state-action pairs"),
        Quantity::reported("wasserstein_below_tv", "share of state-action pairs where L·W₁ is below V_max·TV"),
    ],
    seeds: [10, 100, 1000],
    check: |settings| {
        let (states, branching) = (settings.count("states"), settings.count("branching"));
        if branching > states {
            return Err(format!(
                "branching={branching} is more than states={states}\nhint: lower branching to {states}, or raise states"
            ));
        }
        if (settings.count("actions") as f64).powf(states as f64) > 10_000.0 {
            return Err("there are more than 10,000 deterministic policies\nhint: the study evaluates all of them; \
                        choose fewer states or actions"
                .into());
        }
        Ok(())
    },
    run,
    figure,
};

/// `‖μ₁ − μ₂‖₁`.
#[must_use]
pub fn total_variation(first: &[f64], second: &[f64]) -> f64 {
    minus(first, second).iter().map(|difference| difference.abs()).sum()
}

/// The Wasserstein-1 distance on the points 0, 1, 2, … of a line.
#[must_use]
pub fn wasserstein(first: &[f64], second: &[f64]) -> f64 {
    let mut ahead = 0.0;
    let cumulated = minus(first, second).into_iter().map(|difference| {
        ahead += difference;
        f64::abs(ahead)
    });
    cumulated.take(first.len() - 1).sum()
}

/// `KL(μ₁‖μ₂)`, infinite where `μ₂` misses a point of `μ₁`.
#[must_use]
pub fn divergence(first: &[f64], second: &[f64]) -> f64 {
    let terms = first.iter().zip(second).filter(|(p, _)| **p > 0.0);
    // Rounding can make the divergence of equal distributions negative.
    terms.map(|(p, q)| p * (p / q).ln()).sum::<f64>().max(0.0)
}

/// `sup |Σ f (μ₁ − μ₂)|` over a finite set of functions.
#[must_use]
pub fn over_functions(first: &[f64], second: &[f64], functions: &[Vec<f64>]) -> f64 {
    let difference = minus(first, second);
    functions.iter().map(|f| dot(f, &difference).abs()).fold(0.0, f64::max)
}

/// `V^π` of every deterministic policy.
#[must_use]
pub fn policy_values(mdp: &FiniteMdp) -> Vec<Vec<f64>> {
    let (states, actions) = (mdp.states(), mdp.actions());
    let policies = 0..actions.pow(states as u32);
    let chosen = |number: usize| (0..states).map(|x| number / actions.pow(x as u32) % actions).collect::<Vec<_>>();
    policies.map(|number| evaluate(mdp, &Policy::deterministic(actions, &chosen(number)))).collect()
}

/// The iterates `V_1, …, V_k` of value iteration from zero.
#[must_use]
pub fn iterates(mdp: &FiniteMdp, count: usize) -> Vec<Vec<f64>> {
    let next = |values: &Vec<f64>| Some(mdp.maximum(&mdp.backup(values)));
    std::iter::successors(next(&vec![0.0; mdp.states()]), next).take(count).collect()
}

fn lipschitz(values: &[f64]) -> f64 {
    values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max)
}

/// The metrics of one pair of distributions, the first three in units of value.
struct Metrics {
    iter_vaml: Vec<f64>,
    vaml: f64,
    wasserstein: f64,
    tv: f64,
    kl: f64,
    /// Whether an inequality is violated by more than rounding.
    violated: bool,
}

/// The value functions of a process, with the largest norm and Lipschitz constant.
struct Functions {
    iterates: Vec<Vec<f64>>,
    all: Vec<Vec<f64>>,
    largest: f64,
    steepest: f64,
}

impl Functions {
    fn of(mdp: &FiniteMdp, count: usize) -> Self {
        let iterates = iterates(mdp, count);
        let all = [policy_values(mdp), iterates.clone()].concat();
        let most = |of: fn(&[f64]) -> f64| all.iter().map(|values| of(values)).fold(0.0, f64::max);
        let (largest, steepest) = (most(sup_norm), most(lipschitz));
        Self { iterates, all, largest, steepest }
    }

    fn metrics(&self, first: &[f64], second: &[f64]) -> Metrics {
        let difference = minus(first, second);
        let iter_vaml: Vec<f64> = self.iterates.iter().map(|values| dot(values, &difference).abs()).collect();
        let vaml = over_functions(first, second, &self.all);
        let (plain_tv, plain_wasserstein) = (total_variation(first, second), wasserstein(first, second));
        let wasserstein = self.steepest * plain_wasserstein;
        let tv = self.largest * plain_tv;
        let kl = self.largest * (2.0 * divergence(first, second)).sqrt();
        let rounding = 1e-10 * (1.0 + self.largest);
        let diameter = first.len() as f64 - 1.0;
        let violated = iter_vaml.iter().any(|d| *d > vaml + rounding)
            || vaml > tv + rounding
            || tv > kl + rounding
            || vaml > wasserstein + rounding
            || plain_wasserstein > diameter / 2.0 * plain_tv + 1e-10;
        Metrics { iter_vaml, vaml, wasserstein, tv, kl, violated }
    }
}

fn run(settings: &Settings, seed: u64) -> Record {
    let garnet = Garnet {
        states: settings.count("states"),
        actions: settings.count("actions"),
        branching: settings.count("branching"),
        absorbing: 0,
        discount: settings.real("gamma"),
    };
    let count = settings.count("iterates");
    let mut metrics = Vec::new();
    for number in 0..settings.count("draws") as u64 {
        let mut random = Random::new(seed, "study/probability-metrics", number);
        let mdp = garnet.draw(&mut random);
        let share = 10.0_f64.powf(random.between(-2.0, 0.0));
        let other = garnet.kernel(&mut random);
        // The model keeps a hundredth of the process, so that the divergence is finite.
        let model = Matrix::from_fn(other.rows(), other.columns(), |z, x| {
            (1.0 - 0.99 * share) * mdp.kernel()[(z, x)] + 0.99 * share * other[(z, x)]
        });
        let functions = Functions::of(&mdp, count);
        metrics.extend((0..model.rows()).map(|z| functions.metrics(mdp.kernel().row(z), model.row(z))));
    }
    let mut record = Record::default();
    let share = |is: &dyn Fn(&Metrics) -> bool| {
        metrics.iter().filter(|metrics| is(metrics)).count() as f64 / metrics.len() as f64
    };
    record.set("violations", share(&|metrics| metrics.violated));
    record.set("wasserstein_below_tv", share(&|metrics| metrics.wasserstein < metrics.tv));
    let ratio = |of: &dyn Fn(&Metrics) -> (f64, f64)| {
        let pairs = metrics.iter().map(of).filter(|(upper, lower)| *lower > 1e-12 && *upper > 1e-12);
        let logarithms: Vec<f64> = pairs.map(|(upper, lower)| (upper / lower).ln()).collect();
        if logarithms.is_empty() { 1.0 } else { mean(&logarithms).exp() }
    };
    record.set("tv_over_vaml", ratio(&|metrics| (metrics.tv, metrics.vaml)));
    record.set("wasserstein_over_vaml", ratio(&|metrics| (metrics.wasserstein, metrics.vaml)));
    record.set("vaml_over_itervaml", ratio(&|metrics| (metrics.vaml, metrics.iter_vaml[count - 1])));
    record.set("kl_over_tv", ratio(&|metrics| (metrics.kl, metrics.tv)));
    let average = |of: &dyn Fn(&Metrics) -> f64| mean(&metrics.iter().map(of).collect::<Vec<_>>());
    for k in 0..count {
        let x = k as f64 + 1.0;
        record.point("itervaml", x, average(&|metrics| metrics.iter_vaml[k]));
        record.point("vaml", x, average(&|metrics| metrics.vaml));
        record.point("wasserstein", x, average(&|metrics| metrics.wasserstein));
        record.point("tv", x, average(&|metrics| metrics.tv));
        record.point("kl", x, average(&|metrics| metrics.kl));
    }
    record
}

fn figure(settings: &Settings, records: &[Record]) -> Figure {
    let lines = [
        ("kl", "V_max·√(2 KL)"),
        ("tv", "V_max·TV"),
        ("wasserstein", "L·W₁"),
        ("vaml", "VAML: all value functions"),
        ("itervaml", "IterVAML: the iterate V_k alone"),
    ];
    Figure {
        panels: vec![Panel {
            title: format!("Metrics of P(·|x, a) and its model (S={})", settings.real("states")),
            x: Axis::linear("iterate k of value iteration"),
            y: Axis::log("mean metric, in units of value"),
            series: lines.map(|(curve, name)| Series::of(records, curve, name)).into(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distributions(seed: u64, points: usize) -> (Vec<f64>, Vec<f64>) {
        let mut random = Random::new(seed, "test/metrics", 0);
        (random.simplex(points), random.simplex(points))
    }

    #[test]
    fn total_variation_is_attained_by_a_function_of_signs() {
        for seed in 0..20 {
            let (first, second) = distributions(seed, 7);
            let functions: Vec<Vec<f64>> = (0..1_u32 << 7)
                .map(|signs| (0..7).map(|x| if signs >> x & 1 == 1 { 1.0 } else { -1.0 }).collect())
                .collect();
            let brute = over_functions(&first, &second, &functions);
            assert!((brute - total_variation(&first, &second)).abs() < 1e-12);
        }
    }

    #[test]
    fn wasserstein_is_attained_by_a_function_with_slopes_of_one() {
        // The extreme points of the functions with Lipschitz constant 1, up to a constant, have slopes ±1.
        for seed in 0..20 {
            let (first, second) = distributions(seed, 8);
            let functions: Vec<Vec<f64>> = (0..1_u32 << 7)
                .map(|signs| {
                    let slopes = (0..7).map(|x| if signs >> x & 1 == 1 { 1.0 } else { -1.0 });
                    let mut height = 0.0;
                    let heights = slopes.map(|slope| {
                        height += slope;
                        height
                    });
                    std::iter::once(0.0).chain(heights).collect()
                })
                .collect();
            let brute = over_functions(&first, &second, &functions);
            assert!((brute - wasserstein(&first, &second)).abs() < 1e-12);
        }
    }

    #[test]
    fn wasserstein_between_points_is_their_distance() {
        let point = |at: usize| (0..9).map(|x| f64::from(u8::from(x == at))).collect::<Vec<_>>();
        assert_eq!(wasserstein(&point(2), &point(7)), 5.0);
        assert_eq!(total_variation(&point(2), &point(7)), 2.0);
        assert_eq!(divergence(&point(2), &point(7)), f64::INFINITY);
    }

    #[test]
    fn the_divergence_of_two_coins_has_its_closed_form() {
        let exact = 0.5 * (0.5_f64 / 0.25).ln() + 0.5 * (0.5_f64 / 0.75).ln();
        assert!((divergence(&[0.5, 0.5], &[0.25, 0.75]) - exact).abs() < 1e-15);
    }

    #[test]
    fn no_random_policy_has_a_value_function_beyond_the_deterministic_ones() {
        // Value functions of stochastic policies are in the convex hull of those of deterministic policies (Dadashi et
        // al., "The value function polytope in reinforcement learning", ICML 2019), so that the supremum does not change.
        for seed in 0..10 {
            let mut random = Random::new(seed, "test/metrics", 1);
            let garnet = Garnet { states: 4, actions: 2, branching: 3, absorbing: 0, discount: 0.9 };
            let mdp = garnet.draw(&mut random);
            let all = policy_values(&mdp);
            let (first, second) = distributions(seed, 4);
            let most = over_functions(&first, &second, &all);
            for _ in 0..200 {
                let values = evaluate(&mdp, &Policy::random(4, 2, &mut random));
                assert!(over_functions(&first, &second, &[values]) <= most + 1e-12);
            }
        }
    }
}
