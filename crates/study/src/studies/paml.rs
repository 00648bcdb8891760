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
//!
//! * `gradient`: policies and their gradients, in the process and in models, and the bounds.
//! * `model`: the model class, with the models of MLE and of PAML.

mod gradient;
mod model;

use crate::figure::{Axis, Figure, Panel, Series};
use crate::linear::{Matrix, dot, norm};
use crate::mdp::FiniteMdp;
use crate::mdp::families::Garnet;
use crate::mdp::planning::policy_iteration;
use crate::random::Random;
use crate::studies::probability_metrics::divergence;
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};
use gradient::{Family, Point, relative_error, violates};
use model::{Aggregated, policy_aware};

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
mod fixture {
    use super::*;

    /// A process with a tabular policy for even seeds, and with four shared parameters for odd ones.
    pub(super) fn drawn(seed: u64) -> (Family, Vec<f64>) {
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
}
