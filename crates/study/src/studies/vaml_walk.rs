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
//!
//! * `groups`: the model class, with the models of MLE and of VAML.
//! * `judge`: a walk that judges models by their value-aware error and their policy gap.

mod groups;
mod judge;

use crate::figure::{Axis, Figure, Panel, Series};
use crate::linear::Matrix;
use crate::mdp::FiniteMdp;
use crate::mdp::families::Walk;
use crate::random::Random;
use crate::statistics::slope;
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};
pub use groups::{Groups, simplex_least_squares};
use judge::Judge;
pub use judge::polynomials;

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

/// The names of the methods in quantities and curves.
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
