//! Policy-aware models: the model whose policy gradient is right.
//!
//! Source: the lecture, "Policy-Aware Model Learning (PAML)", "Policy Gradient", "PAML vs MLE", and the item PAML of
//! "Integral Probability Metric & Model Learning".
//!
//! The policy is of an exponential family, `π_θ(a|x) ∝ exp φ(x, a)ᵀθ`. From the initial distribution `ρ` (uniform),
//! `J(θ) = Σ_x ρ(x) V^π(x)`, with the gradient
//!
//! ```text
//! ∇J = 1/(1 − γ) Σ_x ρ_γ(x; P^π) f(x),   f(x) = Σ_a π(a|x) ∇log π(a|x) Q^π(x, a),   ∇log π(a|x) = φ(x, a) − Σ_b π(b|x) φ(x, b).
//! ```
//!
//! A model changes the occupancy only: `∇Ĵ = 1/(1 − γ) Σ_x ρ_γ(x; P̂^π) f(x)` with the critic `Q^π` of the process, as in the
//! lecture's list of metrics. PAML minimises `L = ‖Σ_x (ρ̂_γ − ρ_γ)(x) f(x)‖²`, which is `(1 − γ)² ‖∇J − ∇Ĵ‖²`.
//!
//! There are two cases. In the *shared* case `φ(x, a)` has a few random entries, so that one parameter acts in many states.
//! In the *tabular* case the features are indicators of the pair. There `f(x)` are orthogonal, so that `L` is a sum over
//! states and only the right occupancy has the right gradient; and every positive occupancy gives a direction in which the
//! policy improves in each state, so that ascent hardly needs a model.
//!
//! The model class is state aggregation before and after the step, as in [`super::vaml_walk`]: `P̂(x'|x, a) = p(h|g, a)/|h|`.
//! States are those of a Garnet process, whose numbers mean nothing. MLE takes `p` from the distribution of the data
//! `ν(x, a) = ρ_γ(x; P^π) π(a|x)`; PAML starts there and descends in the logits of `p`. With
//! `ρ̂ᵀ = (1 − γ) ρᵀ (I − γP̂^π)⁻¹`, the derivative is `∂L/∂P̂^π(x, y) = γ ρ̂(x) u(y)`, `u = (I − γP̂^π)⁻¹ ∂L/∂ρ̂`. In this class
//! an occupancy is constant within a group, apart from the start.
//!
//! The slide "PAML vs MLE" bounds the error, here with the Euclidean norm, `Q_max = max |Q^π|` and `B_2 = max ‖φ(x, a)‖ = 1`:
//!
//! ```text
//! ‖∇J − ∇Ĵ‖ ≤ γ/(1 − γ)² Q_max B_2 · c_PG √(2 KL_{1(ν)}(P^π‖P̂^π)),   c_PG = max_x ρ_γ(x)/ν(x)
//! ‖∇J − ∇Ĵ‖ ≤ γ/(1 − γ)² Q_max B_2 · 2 √(2 KL_∞(P^π‖P̂^π))
//! ```
//!
//! `‖f(x)‖` is the norm of a covariance under `π(·|x)`, at most `Q_max B_2`, so that the second bound would also hold
//! without its factor 2.

use crate::figure::{Axis, Figure, Panel, Series};
use crate::linear::{Matrix, dot, minus, norm, sup_norm};
use crate::mdp::families::Garnet;
use crate::mdp::planning::{evaluate, occupancy, policy_iteration, resolvent};
use crate::mdp::{FiniteMdp, Policy};
use crate::random::Random;
use crate::studies::probability_metrics::divergence;
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};

/// The study.
pub static STUDY: Study = Study {
    name: "paml",
    revision: 1,
    claim: "Where the model class does not contain the truth, the model of PAML has a more accurate policy gradient than the \
            model of MLE, and gradient ascent in it reaches a better policy. The error is below the bounds by KL.",
    source: "lecture, slides \"Policy-Aware Model Learning\" and \"PAML vs MLE\"; Abachi et al., 2020",
    parameters: &[
        Parameter::count("states", 12, [2, 100], "states of a random MDP"),
        Parameter::count("actions", 3, [2, 10], "actions"),
        Parameter::count("branching", 3, [1, 100], "states that can follow a pair of state and action"),
        Parameter::count("groups", 3, [1, 100], "groups of states (the model's capacity)"),
        Parameter::count("features", 4, [1, 100], "parameters of the policy in the shared case"),
        Parameter::real("gamma", 0.9, [0.0, 0.99], "discount"),
        Parameter::real("length", 0.3, [0.001, 10.0], "length of a step of the policy's parameters"),
        Parameter::count("steps", 60, [1, 10_000], "steps of gradient ascent"),
        Parameter::count("descent", 200, [1, 100_000], "steps of the model's gradient descent"),
    ],
    quantities: &[
        Quantity::expected(
            "error_share",
            "error of the policy gradient by PAML over that by MLE, at a random policy",
            Expectation::AtMost(0.5),
        ),
        Quantity::expected(
            "ascent_saved",
            "gain of gradient ascent with PAML minus that with MLE, in percent of J* − J(start)",
            Expectation::AtLeast(1.0),
        ),
        Quantity::expected(
            "tabular_error_share",
            "error of the policy gradient by PAML over that by MLE, at a random tabular policy",
            Expectation::AtMost(0.5),
        ),
        Quantity::expected(
            "tabular_ascent_saved",
            "gain of gradient ascent with PAML minus that with MLE, in percent of J* − J(start), tabular policy",
            Expectation::AtLeast(1.0),
        ),
        Quantity::expected(
            "bound_violations",
            "share of models (MLE, PAML, random) that violate a bound by KL, larger of both cases",
            Expectation::AtMost(0.0),
        ),
        Quantity::expected(
            "full_error",
            "relative error of the policy gradient by MLE with as many groups as states",
            Expectation::AtMost(1e-8),
        ),
        Quantity::reported("mle_error", "relative error of the policy gradient by MLE"),
        Quantity::reported("paml_error", "relative error of the policy gradient by PAML"),
        Quantity::reported("mle_gain", "gain of gradient ascent with MLE, percent of J* − J(start)"),
        Quantity::reported("paml_gain", "gain of gradient ascent with PAML, percent of J* − J(start)"),
        Quantity::reported("true_gain", "gain of gradient ascent with the process itself, percent of J* − J(start)"),
        Quantity::reported("kl_ratio", "KL divergence of the model of PAML over that of MLE, under the data"),
    ],
    seeds: [20, 200, 2000],
    check: |settings| {
        let states = settings.count("states");
        let (branching, groups) = (settings.count("branching"), settings.count("groups"));
        if branching > states {
            return Err(format!(
                "branching={branching} is more than states={states}\nhint: lower branching to {states}, or raise states"
            ));
        }
        if !states.is_multiple_of(groups) {
            return Err(format!(
                "groups={groups} does not divide states={states}\nhint: all groups have the same size, so choose a divisor of \
                 {states}"
            ));
        }
        Ok(())
    },
    run,
    figure,
};

/// A process with the features of its policies.
struct Family {
    mdp: FiniteMdp,
    /// `φ`, `[S·A, d]`.
    features: Matrix,
}

impl Family {
    /// A feature for each pair.
    fn tabular(mdp: &FiniteMdp) -> Self {
        Self { mdp: mdp.clone(), features: Matrix::identity(mdp.reward().len()) }
    }

    /// `count` random features, scaled so that the largest norm of a pair's features is one.
    fn shared(mdp: &FiniteMdp, count: usize, random: &mut Random) -> Self {
        let drawn = Matrix::from_fn(mdp.reward().len(), count, |_, _| random.normal());
        let largest = (0..drawn.rows()).map(|z| norm(drawn.row(z))).fold(0.0, f64::max);
        let features = Matrix::from_fn(drawn.rows(), count, |z, i| drawn[(z, i)] / largest);
        Self { mdp: mdp.clone(), features }
    }
}

/// A policy of a process, with everything that the policy gradient needs.
struct Point<'a> {
    mdp: &'a FiniteMdp,
    policy: Policy,
    start: Vec<f64>,
    /// `ρ_γ(·; P^π)`.
    occupied: Vec<f64>,
    /// `f(x)`, `[S, d]`.
    directions: Matrix,
    /// `max |Q^π|`.
    largest: f64,
    /// `J(θ)`.
    objective: f64,
}

impl<'a> Point<'a> {
    fn at(family: &'a Family, parameters: &[f64]) -> Self {
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
    fn gradient(&self, occupied: &[f64]) -> Vec<f64> {
        let scale = 1.0 / (1.0 - self.mdp.discount());
        let mut sum = vec![0.0; self.directions.columns()];
        for (x, weight) in occupied.iter().enumerate() {
            sum.iter_mut().zip(self.directions.row(x)).for_each(|(sum, f)| *sum += scale * weight * f);
        }
        sum
    }

    /// The gradient in a model.
    fn modelled(&self, model: &FiniteMdp) -> Vec<f64> {
        self.gradient(&occupancy(model, &self.policy, &self.start))
    }

    /// `ν(x, a)` of the data, `[S·A]`.
    fn data(&self) -> Vec<f64> {
        let actions = self.mdp.actions();
        (0..self.mdp.reward().len())
            .map(|z| self.occupied[z / actions] * self.policy.at(z / actions)[z % actions])
            .collect()
    }
}

/// The group distributions of a model, row `g·A + a`.
#[derive(Clone)]
struct Aggregated {
    size: usize,
    rows: Vec<Vec<f64>>,
}

impl Aggregated {
    /// The model of MLE under the data `ν(x, a)`.
    fn likely(mdp: &FiniteMdp, data: &[f64], groups: usize) -> Self {
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

    fn model(&self, mdp: &FiniteMdp) -> FiniteMdp {
        let actions = mdp.actions();
        mdp.with_kernel(Matrix::from_fn(mdp.states() * actions, mdp.states(), |z, x| {
            self.rows[z / actions / self.size * actions + z % actions][x / self.size] / self.size as f64
        }))
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
fn policy_aware(point: &Point<'_>, likely: &Aggregated, steps: usize) -> Aggregated {
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

/// Whether a model violates one of the slide's bounds, for the data of the policy and for uniform data.
fn violates(point: &Point<'_>, model: &FiniteMdp) -> bool {
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

/// The model whose gradient an ascent follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guide {
    Truth,
    Likely,
    Aware,
}

/// `J` after each step of ascent from the uniform policy, in steps of a fixed length.
fn ascend(family: &Family, settings: &Settings, guide: Guide) -> Vec<f64> {
    let mdp = &family.mdp;
    let mut parameters = vec![0.0; family.features.columns()];
    let mut objectives = Vec::new();
    for _ in 0..=settings.count("steps") {
        let point = Point::at(family, &parameters);
        objectives.push(point.objective);
        let gradient = match guide {
            Guide::Truth => point.gradient(&point.occupied),
            Guide::Likely | Guide::Aware => {
                let likely = Aggregated::likely(mdp, &point.data(), settings.count("groups"));
                let model = match guide {
                    Guide::Aware => policy_aware(&point, &likely, settings.count("descent")),
                    _ => likely,
                };
                point.modelled(&model.model(mdp))
            }
        };
        let length = norm(&gradient).max(f64::MIN_POSITIVE);
        let step = settings.real("length") / length;
        parameters.iter_mut().zip(gradient).for_each(|(parameter, g)| *parameter += step * g);
    }
    objectives
}

/// The relative error of the gradient in a model.
fn relative_error(point: &Point<'_>, model: &FiniteMdp) -> f64 {
    let exact = point.gradient(&point.occupied);
    norm(&minus(&point.modelled(model), &exact)) / norm(&exact)
}

/// The models of MLE and of PAML at a policy.
fn fitted(point: &Point<'_>, groups: usize, descent: usize) -> [FiniteMdp; 2] {
    let likely = Aggregated::likely(point.mdp, &point.data(), groups);
    let aware = policy_aware(point, &likely, descent);
    [likely.model(point.mdp), aware.model(point.mdp)]
}

/// Measures one case. The quantities and curves have its prefix.
fn measure(family: &Family, settings: &Settings, prefix: &str, random: &mut Random, record: &mut Record) {
    let mdp = &family.mdp;
    let states = mdp.states();
    let (groups, descent) = (settings.count("groups"), settings.count("descent"));
    // The logits of a random policy have a deviation of about one.
    let scale = if prefix.is_empty() { 2.0 } else { 1.0 };
    let parameters: Vec<f64> = (0..family.features.columns()).map(|_| scale * random.normal()).collect();
    let point = Point::at(family, &parameters);
    let mut set = |name: &str, value: f64| record.set(&format!("{prefix}{name}"), value);

    let models = fitted(&point, groups, descent);
    let errors = [0, 1].map(|i| relative_error(&point, &models[i]));
    set("mle_error", errors[0]);
    set("paml_error", errors[1]);
    // Where the class contains the truth both are rounding.
    set("error_share", if errors[0] < 1e-9 { 1.0 } else { errors[1] / errors[0] });
    let full = Aggregated::likely(mdp, &point.data(), states);
    set("full_error", relative_error(&point, &full.model(mdp)));
    let data = point.data();
    let kl = |model: &FiniteMdp| -> f64 {
        (0..data.len()).map(|z| data[z] * divergence(mdp.kernel().row(z), model.kernel().row(z))).sum()
    };
    set("kl_ratio", kl(&models[1]) / kl(&models[0]).max(f64::MIN_POSITIVE));

    let mut all = models.to_vec();
    for _ in 0..20 {
        let share = 10.0_f64.powf(random.between(-3.0, -0.01));
        let other = Matrix::from_fn(data.len(), states, |_, _| random.exponential());
        let weight = |z: usize| other.row(z).iter().sum::<f64>();
        all.push(mdp.with_kernel(Matrix::from_fn(data.len(), states, |z, x| {
            (1.0 - share) * mdp.kernel()[(z, x)] + share * other[(z, x)] / weight(z)
        })));
    }
    let violations = all.iter().filter(|model| violates(&point, model)).count();
    set("bound_violations", violations as f64 / all.len() as f64);

    let optimum = dot(&point.start, &policy_iteration(mdp).values);
    let mut gains = Vec::new();
    for (name, guide) in [("true", Guide::Truth), ("mle", Guide::Likely), ("paml", Guide::Aware)] {
        let objectives = ascend(family, settings, guide);
        let gain = |objective: f64| 100.0 * (objective - objectives[0]) / (optimum - objectives[0]);
        let curve = format!("{prefix}{name}");
        objectives.iter().enumerate().for_each(|(step, &j)| record.point(&curve, step as f64, gain(j)));
        gains.push(gain(objectives[objectives.len() - 1]));
        record.set(&format!("{curve}_gain"), gains[gains.len() - 1]);
    }
    record.set(&format!("{prefix}ascent_saved"), gains[2] - gains[1]);
    for groups in (1..=states).filter(|groups| states.is_multiple_of(*groups)) {
        let models = fitted(&point, groups, descent);
        record.point(&format!("{prefix}mle_capacity"), groups as f64, relative_error(&point, &models[0]));
        record.point(&format!("{prefix}paml_capacity"), groups as f64, relative_error(&point, &models[1]));
    }
}

fn run(settings: &Settings, seed: u64) -> Record {
    let mut random = Random::new(seed, "study/paml", 0);
    let garnet = Garnet {
        states: settings.count("states"),
        actions: settings.count("actions"),
        branching: settings.count("branching"),
        absorbing: 0,
        discount: settings.real("gamma"),
    };
    let mdp = garnet.draw(&mut random);
    let mut record = Record::default();
    let shared = Family::shared(&mdp, settings.count("features"), &mut random);
    measure(&shared, settings, "", &mut random, &mut record);
    measure(&Family::tabular(&mdp), settings, "tabular_", &mut random, &mut record);
    let violations = record.values["bound_violations"].max(record.values["tabular_bound_violations"]);
    record.set("bound_violations", violations);
    record
}

fn figure(settings: &Settings, records: &[Record]) -> Figure {
    let line = |curve: String, name: &str| Series::of(records, &curve, name);
    let groups = settings.real("groups");
    let error = |prefix: &str, title: &str| Panel {
        title: title.into(),
        x: Axis::linear("groups of states (capacity)"),
        y: Axis::linear("relative error of the policy gradient"),
        series: vec![line(format!("{prefix}mle_capacity"), "MLE"), line(format!("{prefix}paml_capacity"), "PAML")],
    };
    let shared = format!("Policy of {} parameters", settings.real("features"));
    Figure {
        panels: vec![
            error("", &shared),
            Panel {
                title: format!("{shared}, {groups} groups"),
                x: Axis::linear("steps of the policy"),
                y: Axis::linear("gain, percent of J* − J(start)"),
                series: vec![
                    line("mle".into(), "MLE"),
                    line("paml".into(), "PAML"),
                    line("true".into(), "the process itself"),
                ],
            },
            error("tabular_", "Tabular policy"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with a tabular policy for even seeds, and with four shared parameters for odd ones.
    fn drawn(seed: u64) -> (Family, Vec<f64>) {
        let mut random = Random::new(seed, "test/paml", 0);
        let garnet = Garnet { states: 6, actions: 3, branching: 3, absorbing: 0, discount: 0.9 };
        let mdp = garnet.draw(&mut random);
        let family = match seed % 2 {
            0 => Family::tabular(&mdp),
            _ => Family::shared(&mdp, 4, &mut random),
        };
        let parameters = (0..family.features.columns()).map(|_| random.normal()).collect();
        (family, parameters)
    }

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
    fn the_norm_of_a_feature_is_below_the_largest_action_value() {
        // The factor that makes the slide's bounds hold.
        for seed in 0..50 {
            let (family, parameters) = drawn(seed);
            let point = Point::at(&family, &parameters);
            assert!((0..6).all(|x| norm(point.directions.row(x)) <= point.largest));
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
