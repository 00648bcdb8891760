//! Value-aware and maximum-likelihood models of a random walk by state aggregation.
//!
//! Source: the lecture, "VAML vs. MLE: Mismatched Model Class" ("Domain: Finite-state random walk MDP, Model: State
//! aggregation"), "Iterative VAML". The lecture gives no numbers; those here are this study's.
//!
//! Aggregation alone keeps the mean of a step: the model crosses a border of groups more rarely and moves farther then. For a
//! value function that is nearly linear across neighbouring groups, MLE is therefore nearly value-aware. The study has two
//! cases: the *smooth* walk with rewards at its two ends, and the *rough* walk whose rewards are uniform in [0, 1] in every
//! state. For both it reports the room: the error of MLE over the smallest error of any model of the class.
//!
//! The walk has `S` states on a line and two actions, left and right. In state `x` the step has the direction of the
//! action with probability `c(x)`, drawn uniformly from [0.55, 0.95] for each seed. The state-action pairs of the data
//! are uniform: `ν(x, a) = 1/(2S)`.
//!
//! The model aggregates the states into `K` groups of neighbours, before and after the step:
//!
//! ```text
//! P̂(x'|x, a) = p(h|g, a) / |h|      with the groups g of x and h of x'
//! ```
//!
//! Let `q(·|g, a) = Σ_{x ∈ g} ν(x|g) P*(·|x, a)` be the distribution of the next state from a group, or its frequencies in
//! the data. Within this class every loss below depends on `P*` only through `q`, with `U p` for the model's next-state
//! distribution `p(h)/|h|`:
//!
//! * MLE, the minimiser of KL: `p(h) = Σ_{x' ∈ h} q(x')`;
//! * VAML over `F = {Φθ : ‖θ‖ ≤ 1}`: minimises `sup_{V ∈ F} |(q − Up)ᵀV|² = ‖Φᵀ(q − Up)‖²` over the simplex. The columns of
//!   `Φ` are orthonormal polynomials of the state;
//! * IterVAML: minimises `|(q − Up)ᵀV_k|²` for the iterate `V_k` of value iteration, `Q_{k+1} = r + γ P̂^(k) V_k`,
//!   `V_k(x) = max_a Q_k(x, a)`. Many models attain the minimum; the study takes the one between the MLE model and a single
//!   group.
//!
//! The first two models are planned with exactly. The value-aware error is the lecture's
//! `c_{2,ν}(P̂, P*; V)² = Σ ν(x, a) |(P* − P̂)(·|x, a) V|²` at `V = V*`, and the policy gap is the mean over states of
//! `V* − V^π̂`, relative to the mean of `V*`.

use crate::figure::{Axis, Figure, Panel, Series};
use crate::linear::{Matrix, dot};
use crate::mdp::families::Walk;
use crate::mdp::planning::{evaluate, greedy, policy_iteration};
use crate::mdp::{FiniteMdp, Policy};
use crate::random::Random;
use crate::statistics::{mean, slope};
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};

/// The study.
pub static STUDY: Study = Study {
    name: "vaml-walk",
    revision: 1,
    claim: "Where state aggregation cannot represent the walk, models of VAML and IterVAML have a smaller value-aware error \
            than the model of MLE, and their policies lose less. With as many groups as states all are equal.",
    source: "lecture, slides \"VAML vs. MLE: Mismatched Model Class\" and \"Iterative VAML\"; Farahmand et al., AISTATS \
             2017; Farahmand, NeurIPS 2018",
    parameters: &[
        Parameter::count("states", 32, [4, 256], "states of the walk"),
        Parameter::count("groups", 8, [2, 256], "groups K of states (the model's capacity)"),
        Parameter::count("features", 5, [1, 20], "polynomials that span the value functions of VAML"),
        Parameter::count("stride", 1, [1, 50], "states that a step moves"),
        Parameter::real("gamma", 0.95, [0.0, 0.99], "discount"),
        Parameter::count("samples", 100_000, [100, 100_000_000], "largest number of samples"),
    ],
    quantities: &[
        Quantity::expected(
            "vaml_error_ratio",
            "value-aware error of MLE over that of VAML, n → ∞",
            Expectation::AtLeast(1.1),
        ),
        Quantity::expected(
            "itervaml_error_ratio",
            "value-aware error of MLE over that of IterVAML, n → ∞",
            Expectation::AtLeast(1.1),
        ),
        Quantity::expected(
            "vaml_gap_saved",
            "policy gap of MLE minus that of VAML, n → ∞, in percent of the mean of V*",
            Expectation::AtLeast(0.5),
        ),
        Quantity::expected(
            "itervaml_gap_saved",
            "policy gap of MLE minus that of IterVAML, n → ∞, in percent of the mean of V*",
            Expectation::AtLeast(0.5),
        ),
        Quantity::expected(
            "rough_itervaml_error_ratio",
            "value-aware error of MLE over that of IterVAML, n → ∞, rough walk",
            Expectation::AtLeast(1.1),
        ),
        Quantity::expected(
            "rough_itervaml_gap_saved",
            "policy gap of MLE minus that of IterVAML, n → ∞, in percent of the mean of V*, rough walk",
            Expectation::AtLeast(0.5),
        ),
        Quantity::expected(
            "full_difference",
            "largest difference of the value-aware errors with as many groups as states, largest number of samples",
            Expectation::AtMost(1e-6),
        ),
        Quantity::expected(
            "rate",
            "exponent of n in the squared value-aware error of IterVAML with as many groups as states; the lecture's \
             bound has -1/2",
            Expectation::AtMost(-0.5),
        ),
        Quantity::reported("mle_gap", "policy gap of MLE, n → ∞, in percent of the mean of V*"),
        Quantity::reported("mle_error", "value-aware error of MLE, n → ∞, in units of value"),
        Quantity::reported("room", "value-aware error of MLE over the smallest of the class, n → ∞"),
        Quantity::reported("rough_mle_gap", "policy gap of MLE, n → ∞, in percent of the mean of V*, rough walk"),
        Quantity::reported("rough_room", "value-aware error of MLE over the smallest of the class, n → ∞, rough walk"),
    ],
    seeds: [10, 100, 1000],
    check: |settings| {
        let states = settings.count("states");
        let (groups, stride) = (settings.count("groups"), settings.count("stride"));
        if !states.is_multiple_of(groups) {
            return Err(format!(
                "groups={groups} does not divide states={states}\nhint: all groups have the same size, so choose a divisor of \
                 {states}"
            ));
        }
        if settings.count("features") > states || stride >= states {
            let features = settings.count("features");
            return Err(format!(
                "states={states} is too small for features={features} and stride={stride}\nhint: choose at least {} states",
                features.max(stride + 1)
            ));
        }
        Ok(())
    },
    run,
    figure,
};

/// A walk whose steps succeed with another probability in each state.
fn drawn_walk(states: usize, stride: usize, discount: f64, random: &mut Random) -> FiniteMdp {
    let mut kernel = Matrix::zeros(states * 2, states);
    for x in 0..states {
        let walk = Walk { states, success: random.between(0.55, 0.95), stride, discount };
        let of_state = walk.mdp();
        for a in 0..2 {
            kernel.row_mut(x * 2 + a).copy_from_slice(of_state.next(x, a));
        }
    }
    Walk { states, success: 1.0, stride, discount }.mdp().with_kernel(kernel)
}

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
    fn means(self, values: &[f64]) -> Vec<f64> {
        values.chunks_exact(self.size).map(mean).collect()
    }

    /// `q(·|g, a)`, row `g·A + a`, of joint weights `[S·A, S]` of pairs and next states. A group without weight has the
    /// uniform distribution.
    fn pooled(self, joint: &Matrix, actions: usize) -> Matrix {
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
    fn kernel(self, p: &[Vec<f64>], actions: usize) -> Matrix {
        Matrix::from_fn(self.states * actions, self.states, |z, x| {
            p[z / actions / self.size * actions + z % actions][x / self.size] / self.size as f64
        })
    }

    /// The maximum-likelihood group distribution.
    fn likely(self, q: &[f64]) -> Vec<f64> {
        q.chunks_exact(self.size).map(|group| group.iter().sum()).collect()
    }

    /// The group distribution whose expectation of `values` is closest to that of `q`: between the maximum-likelihood one
    /// and the group with the largest or the smallest mean.
    fn matching(self, q: &[f64], values: &[f64]) -> Vec<f64> {
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
    fn value_aware(self, q: &[f64], features: &Matrix) -> Vec<f64> {
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
struct Worth {
    /// The value-aware error at `V*`.
    error: f64,
    /// The relative policy gap, in percent.
    gap: f64,
}

/// A walk with what is needed to judge models of it.
struct Judge {
    mdp: FiniteMdp,
    best: Vec<f64>,
    features: Matrix,
}

impl Judge {
    fn of(mdp: FiniteMdp, features: usize) -> Self {
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
    fn judge_capacities(&self, prefix: &str, chosen: usize, record: &mut Record) {
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
    fn models(&self, joint: &Matrix, groups: Groups) -> [Worth; 3] {
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

const METHODS: [&str; 3] = ["mle", "vaml", "itervaml"];

fn run(settings: &Settings, seed: u64) -> Record {
    let states = settings.count("states");
    let mut random = Random::new(seed, "study/vaml-walk", 0);
    let mdp = drawn_walk(states, settings.count("stride"), settings.real("gamma"), &mut random);
    let judge = Judge::of(mdp, settings.count("features"));
    let groups = |count: usize| Groups { states, size: states / count };
    let mut record = Record::default();

    judge.judge_capacities("", settings.count("groups"), &mut record);
    let rewards: Vec<f64> = (0..states).map(|_| random.uniform()).collect();
    let rough = judge.mdp.with_reward((0..states * 2).map(|z| rewards[z / 2]).collect());
    Judge::of(rough, settings.count("features")).judge_capacities("rough_", settings.count("groups"), &mut record);

    let mut counts = Matrix::zeros(states * 2, states);
    let mut drawn = 0_usize;
    let mut rate = Vec::new();
    let most = settings.count("samples");
    let sizes = (4..).map(|k| 10.0_f64.powf(f64::from(k) / 2.0).round() as usize);
    for size in sizes.take_while(|size| *size < most).chain([most]) {
        while drawn < size {
            let pair = random.below(states * 2);
            counts[(pair, random.category(judge.mdp.kernel().row(pair)))] += 1.0;
            drawn += 1;
        }
        let worth = judge.models(&counts, groups(settings.count("groups")));
        for (name, worth) in METHODS.iter().zip(&worth) {
            record.point(&format!("{name}_gap_samples"), size as f64, worth.gap);
        }
        let full = judge.models(&counts, groups(states));
        let errors = full.map(|worth| worth.error);
        rate.push([(size as f64).ln(), 2.0 * errors[2].ln()]);
        let range = errors.iter().copied().fold(0.0, f64::max) - errors.iter().copied().fold(f64::INFINITY, f64::min);
        record.set("full_difference", range);
    }
    record.set("rate", slope(&rate));
    record
}

fn figure(settings: &Settings, records: &[Record]) -> Figure {
    let lines = |suffix: &str| -> Vec<Series> {
        let names = METHODS.iter().zip(["MLE", "VAML (worst case over F)", "IterVAML"]);
        names.map(|(curve, name)| Series::of(records, &format!("{curve}_{suffix}"), name)).collect()
    };
    let panel =
        |title: String, x: Axis, y: &str, suffix: &str| Panel { title, x, y: Axis::linear(y), series: lines(suffix) };
    let states = settings.real("states");
    let (error, gap) = ("value-aware error at V*, in units of value", "policy gap, percent of the mean of V*");
    let rough = METHODS.iter().zip(["MLE", "VAML (worst case over F)", "IterVAML"]);
    let rough = rough.map(|(curve, name)| Series::of(records, &format!("rough_{curve}_gap_capacity"), name));
    Figure {
        panels: vec![
            panel(format!("Smooth walk, n → ∞ (S={states})"), Axis::log("groups K"), error, "error_capacity"),
            panel("Smooth walk, n → ∞".into(), Axis::log("groups K"), gap, "gap_capacity"),
            Panel {
                title: "Rough walk, n → ∞".into(),
                x: Axis::log("groups K"),
                y: Axis::linear(gap),
                series: rough.collect(),
            },
            panel(
                format!("Smooth walk, {} groups", settings.real("groups")),
                Axis::log("samples n"),
                gap,
                "gap_samples",
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn polynomials_are_orthonormal() {
        let features = polynomials(32, 8);
        let gram = features.product(&features.transposed()).plus(-1.0, &Matrix::identity(8));
        assert!(gram.sup_norm() < 1e-10);
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
        let divergence = |p: &[f64]| super::super::probability_metrics::divergence(&q, &spread(p));
        let least = divergence(&groups.likely(&q));
        (0..2000).for_each(|_| assert!(divergence(&random.simplex(3)) >= least - 1e-12));
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
