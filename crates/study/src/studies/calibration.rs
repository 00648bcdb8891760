//! Calibration of sampled value-aware losses.
//!
//! Source: the lecture's reference Voelcker, Pedan, Ahmadian, Abachi, Gilitschenski, Farahmand, "Calibrated value-aware
//! model learning with probabilistic environment models", ICML 2025.
//!
//! The next state is a number `x' ~ N(m, s²)`. The model is `x̂ = μ + σε` with `ε ~ N(0, 1)`, and its loss is the sum over
//! two value functions, `V₁(x) = x` and `V₂(x) = x²`, of a sampled square. The value-aware loss is
//! `C(μ, σ) = Σ_i (E V_i(x̂) − E V_i(x'))² = (μ − m)² + (μ² + σ² − q)²` with `q = m² + s²`; it is zero only for `μ = m`,
//! `σ² = s²`. From a real sample `y_i = V_i(x')` and `K` samples `V_ik = V_i(x̂_k)` of the model:
//!
//! ```text
//! naive        (1/K) Σ_k (V_k − y)²               expectation C + Σ_i Var V_i(x̂) + Σ_i Var y_i
//! two samples  (V_1 − y)(V_2 − y)                 expectation C + Σ_i Var y_i
//! K samples    (V̄ − y)² − S²/K                    expectation C + Σ_i Var y_i
//! ```
//!
//! with the mean `V̄` and the unbiased variance `S²` over the `K` samples. The last form equals
//! `1/(K(K − 1)) Σ_{j≠k} (V_j − y)(V_k − y)`. `Σ_i Var y_i` does not depend on the model, but the naive loss also has the
//! model's own variance, `Var x̂ = σ²` and `Var x̂² = 2σ⁴ + 4μ²σ²`, and so makes `σ` too small.
//!
//! For these two value functions the naive minimiser has `σ = 0`, whatever `m` and `s` are. For given `μ` the loss is a
//! parabola in `σ²` with its minimum at `c − μ²`, `c = (2q − 1)/6`. Where that is above zero, the loss at the minimum has
//! the derivative `−2m − 8μ³` in `μ` and the second derivative `−24μ² ≤ 0`, so that it has no minimum there.

use crate::figure::{Axis, Figure, Panel, Series};
use crate::random::Random;
use crate::statistics::{mean, variance};
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study, any_values};

/// The study.
pub static STUDY: Study = Study {
    name: "calibration",
    revision: 1,
    claim: "A sampled value-aware loss pays for the model's variance, so that it makes a stochastic model deterministic. \
            The calibrated losses (product of two samples, unbiased form of K samples) recover the mean and the deviation.",
    source: "Voelcker et al., \"Calibrated value-aware model learning with probabilistic environment models\", ICML 2025",
    parameters: &[
        Parameter::real("mean", 1.0, [-3.0, 3.0], "mean m of the next state"),
        Parameter::real("deviation", 1.0, [0.0, 3.0], "standard deviation s of the next state"),
        Parameter::count("samples", 8, [2, 1000], "samples K of the model in the third loss"),
        Parameter::count("batch", 64, [1, 10_000], "real samples in a gradient step"),
        Parameter::count("steps", 6000, [100, 1_000_000], "gradient steps"),
        Parameter::real("rate", 0.005, [0.0, 1.0], "step size"),
    ],
    quantities: &[
        Quantity::expected("naive_deviation", "σ by the naive loss, minus s", Expectation::AtMost(-0.5)),
        Quantity::expected(
            "pair_deviation",
            "σ by the product of two samples, minus s",
            Expectation::Within(-0.05, 0.05),
        ),
        Quantity::expected("pair_mean", "μ by the product of two samples, minus m", Expectation::Within(-0.05, 0.05)),
        Quantity::expected(
            "unbiased_deviation",
            "σ by the form of K samples, minus s",
            Expectation::Within(-0.05, 0.05),
        ),
        Quantity::expected("unbiased_mean", "μ by the form of K samples, minus m", Expectation::Within(-0.05, 0.05)),
        Quantity::expected(
            "naive_prediction",
            "distance of (μ, σ) by the naive loss from the minimiser of its closed form",
            Expectation::AtMost(0.05),
        ),
        Quantity::reported("naive_mean", "μ by the naive loss, minus m"),
        Quantity::reported(
            "noise_ratio",
            "variance of a step of σ by two samples, over that by K samples, at μ = m, σ = s",
        ),
    ],
    seeds: [8, 50, 400],
    check: any_values,
    run,
    figure,
};

/// A loss from samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The mean of squares.
    Naive,
    /// The product of the first two samples.
    Pair,
    /// The squared mean, minus the variance of the mean.
    Unbiased,
}

impl Loss {
    /// The loss of samples `values` against the target `y`.
    #[must_use]
    pub fn value(self, values: &[f64], y: f64) -> f64 {
        match self {
            Self::Naive => mean(&values.iter().map(|v| (v - y).powi(2)).collect::<Vec<_>>()),
            Self::Pair => (values[0] - y) * (values[1] - y),
            Self::Unbiased => (mean(values) - y).powi(2) - variance(values) / values.len() as f64,
        }
    }

    /// The derivative of the loss with respect to each sample.
    fn slopes(self, values: &[f64], y: f64, out: &mut [f64]) {
        let count = values.len() as f64;
        match self {
            Self::Naive => values.iter().zip(out).for_each(|(v, out)| *out = 2.0 * (v - y) / count),
            Self::Pair => {
                out.fill(0.0);
                (out[0], out[1]) = (values[1] - y, values[0] - y);
            }
            Self::Unbiased => {
                // d/dV_k of 1/(K(K − 1)) Σ_{j≠l} (V_j − y)(V_l − y) is 2/(K(K − 1)) Σ_{j≠k} (V_j − y).
                let sum: f64 = values.iter().map(|v| v - y).sum();
                let scale = 2.0 / (count * (count - 1.0));
                values.iter().zip(out).for_each(|(v, out)| *out = scale * (sum - (v - y)));
            }
        }
    }
}

/// The expectation of each loss, summed over the two value functions.
#[must_use]
pub fn expected_loss(loss: Loss, [mu, sigma]: [f64; 2], [m, s]: [f64; 2]) -> f64 {
    let moment = |mean: f64, deviation: f64| mean * mean + deviation * deviation;
    let spread = |mean: f64, deviation: f64| {
        let square = deviation * deviation;
        square + 2.0 * square * square + 4.0 * mean * mean * square
    };
    let calibrated = (mu - m).powi(2) + (moment(mu, sigma) - moment(m, s)).powi(2) + spread(m, s);
    if loss == Loss::Naive { calibrated + spread(mu, sigma) } else { calibrated }
}

/// The minimiser `(μ, σ)` of the naive loss' expectation.
///
/// For given `μ` the loss is a convex parabola in `σ²` with its minimum at `(2q − 1)/6 − μ²`, or at zero if that is
/// negative. Over `μ` it is minimised on a grid that becomes finer around the best point.
#[must_use]
pub fn naive_minimiser(truth: [f64; 2]) -> [f64; 2] {
    let moment = truth[0] * truth[0] + truth[1] * truth[1];
    let deviation = |mu: f64| ((2.0 * moment - 1.0) / 6.0 - mu * mu).max(0.0).sqrt();
    let loss = |mu: f64| expected_loss(Loss::Naive, [mu, deviation(mu)], truth);
    let (mut centre, mut width) = (0.0, 2.0 * (1.0 + moment));
    while width > 1e-9 {
        let grid = (-200..=200).map(|i| centre + width * f64::from(i) / 200.0);
        centre = grid.min_by(|a, b| loss(*a).total_cmp(&loss(*b))).expect("a grid has points");
        width /= 20.0;
    }
    [centre, deviation(centre)]
}

/// The gradient of a batch with respect to `(μ, σ)`.
fn gradient(
    loss: Loss,
    model: [f64; 2],
    truth: [f64; 2],
    batch: usize,
    samples: usize,
    random: &mut Random,
) -> [f64; 2] {
    let mut sum = [0.0; 2];
    let (mut noise, mut slopes) = (vec![0.0; samples], vec![0.0; samples]);
    for _ in 0..batch {
        let real = truth[0] + truth[1] * random.normal();
        noise.iter_mut().for_each(|e| *e = random.normal());
        let imagined: Vec<f64> = noise.iter().map(|e| model[0] + model[1] * e).collect();
        let squares: Vec<f64> = imagined.iter().map(|x| x * x).collect();
        loss.slopes(&imagined, real, &mut slopes);
        for (slope, e) in slopes.iter().zip(&noise) {
            sum[0] += slope;
            sum[1] += slope * e;
        }
        loss.slopes(&squares, real * real, &mut slopes);
        for ((slope, e), x) in slopes.iter().zip(&noise).zip(&imagined) {
            sum[0] += slope * 2.0 * x;
            sum[1] += slope * 2.0 * x * e;
        }
    }
    sum.map(|entry| entry / batch as f64)
}

/// The start of every training: a mean of zero and a deviation of a half.
const START: [f64; 2] = [0.0, 0.5];

fn run(settings: &Settings, seed: u64) -> Record {
    let truth = [settings.real("mean"), settings.real("deviation")];
    let (batch, steps, rate) = (settings.count("batch"), settings.count("steps"), settings.real("rate"));
    let mut record = Record::default();
    let mut trained = Vec::new();
    let losses = [("naive", Loss::Naive), ("pair", Loss::Pair), ("unbiased", Loss::Unbiased)];
    for (name, loss) in losses {
        let samples = if loss == Loss::Unbiased { settings.count("samples") } else { 2 };
        let mut model = START;
        // The mean over the second half of the steps, in which the gradient's noise averages out.
        let mut average = [0.0; 2];
        for step in 0..steps {
            let mut random = Random::new(seed, &format!("study/calibration/{name}"), step as u64);
            let slope = gradient(loss, model, truth, batch, samples, &mut random);
            // x² makes the gradient grow with the cube of its arguments. A step is at most 0.1 long.
            let length = (slope[0] * slope[0] + slope[1] * slope[1]).sqrt() * rate;
            let scale = rate * (0.1 / length).min(1.0);
            (0..2).for_each(|i| model[i] -= scale * slope[i]);
            if step >= steps / 2 {
                (0..2).for_each(|i| average[i] += model[i] / (steps - steps / 2) as f64);
            }
            if step % (steps / 50).max(1) == 0 {
                record.point(&format!("{name}_deviation"), step as f64, model[1].abs());
                record.point(&format!("{name}_mean"), step as f64, model[0]);
            }
        }
        // σ and −σ are the same model.
        let average = [average[0], average[1].abs()];
        record.set(&format!("{name}_mean"), average[0] - truth[0]);
        record.set(&format!("{name}_deviation"), average[1] - truth[1]);
        trained.push(average);
    }
    let minimiser = naive_minimiser(truth);
    record.set("naive_prediction", (trained[0][0] - minimiser[0]).hypot(trained[0][1] - minimiser[1]));
    let noise = |loss: Loss, samples: usize| {
        let step = |i: u64| {
            let mut random = Random::new(seed, "study/calibration/noise", i);
            gradient(loss, truth, truth, 1, samples, &mut random)[1]
        };
        variance(&(0..2000).map(step).collect::<Vec<_>>())
    };
    let ratio = noise(Loss::Pair, 2) / noise(Loss::Unbiased, settings.count("samples"));
    // Without any deviation both are zero.
    record.set("noise_ratio", if ratio.is_finite() { ratio } else { 1.0 });
    record
}

fn figure(settings: &Settings, records: &[Record]) -> Figure {
    let names = [
        ("naive", "naive: mean of squares".to_owned()),
        ("pair", "product of two samples".to_owned()),
        ("unbiased", format!("unbiased form of {} samples", settings.real("samples"))),
    ];
    let panel = |what: &str, title: &str, label: &str, truth: f64| {
        let lines = names.iter().map(|(curve, name)| Series::of(records, &format!("{curve}_{what}"), name));
        let ends = [[0.0, truth], [settings.real("steps"), truth]];
        Panel {
            title: title.into(),
            x: Axis::linear("gradient steps"),
            y: Axis::linear(label),
            series: lines.chain([Series::exact("truth", &ends)]).collect(),
        }
    };
    Figure {
        panels: vec![
            panel("deviation", "The model's deviation", "σ, in units of x", settings.real("deviation")),
            panel("mean", "The model's mean", "μ, in units of x", settings.real("mean")),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unbiased_form_is_the_mean_of_all_products_of_two_samples() {
        let values = [0.3, -1.2, 2.5, 0.9];
        let y = 0.4;
        let mut products = Vec::new();
        for j in 0..4 {
            products.extend((0..4).filter(|k| *k != j).map(|k| (values[j] - y) * (values[k] - y)));
        }
        assert!((Loss::Unbiased.value(&values, y) - mean(&products)).abs() < 1e-14);
        assert!((Loss::Unbiased.value(&values[..2], y) - Loss::Pair.value(&values[..2], y)).abs() < 1e-14);
    }

    #[test]
    fn slopes_are_finite_differences() {
        let (values, y, h) = ([0.3, -1.2, 2.5], 0.4, 1e-6);
        for loss in [Loss::Naive, Loss::Pair, Loss::Unbiased] {
            let mut slopes = [0.0; 3];
            loss.slopes(&values, y, &mut slopes);
            for k in 0..3 {
                let moved = |by: f64| {
                    let mut values = values;
                    values[k] += by;
                    loss.value(&values, y)
                };
                assert!((slopes[k] - (moved(h) - moved(-h)) / (2.0 * h)).abs() < 1e-8, "{loss:?} {k}");
            }
        }
    }

    #[test]
    fn expectations_are_those_of_the_closed_form() {
        let (model, truth) = ([0.6, 0.7], [0.5, 0.8]);
        for loss in [Loss::Naive, Loss::Pair, Loss::Unbiased] {
            let mut random = Random::new(3, "test/calibration", 0);
            let draws: Vec<f64> = (0..200_000)
                .map(|_| {
                    let real = truth[0] + truth[1] * random.normal();
                    let imagined: Vec<f64> = (0..3).map(|_| model[0] + model[1] * random.normal()).collect();
                    let squares: Vec<f64> = imagined.iter().map(|x| x * x).collect();
                    loss.value(&imagined, real) + loss.value(&squares, real * real)
                })
                .collect();
            let error = (variance(&draws) / 2e5).sqrt();
            let exact = expected_loss(loss, model, truth);
            assert!((mean(&draws) - exact).abs() < 4.5 * error, "{loss:?}: {} ± {error}, exact {exact}", mean(&draws));
        }
    }

    #[test]
    fn gradients_are_those_of_the_expectation() {
        let (model, truth, h) = ([0.6, 0.7], [0.5, 0.8], 1e-5);
        for (loss, samples) in [(Loss::Naive, 2), (Loss::Pair, 2), (Loss::Unbiased, 4)] {
            let mut random = Random::new(4, "test/calibration", 0);
            let steps: Vec<[f64; 2]> =
                (0..100_000).map(|_| gradient(loss, model, truth, 1, samples, &mut random)).collect();
            for i in 0..2 {
                let moved = |by: f64| {
                    let mut model = model;
                    model[i] += by;
                    expected_loss(loss, model, truth)
                };
                let exact = (moved(h) - moved(-h)) / (2.0 * h);
                let entries: Vec<f64> = steps.iter().map(|step| step[i]).collect();
                let error = (variance(&entries) / 1e5).sqrt();
                assert!((mean(&entries) - exact).abs() < 4.5 * error, "{loss:?} {i}: {} exact {exact}", mean(&entries));
            }
        }
    }

    #[test]
    fn the_naive_minimiser_of_the_default_set_up_has_no_deviation() {
        // With m = s = 1 the minimum over σ² is at zero for μ² ≥ 1/2, and 2μ³ − 3μ − 1 = 0 has the root (1 + √3)/2.
        let [mu, sigma] = naive_minimiser([1.0, 1.0]);
        assert!((mu - (1.0 + 3.0_f64.sqrt()) / 2.0).abs() < 1e-6 && sigma == 0.0, "{mu} {sigma}");
    }

    #[test]
    fn the_naive_minimiser_is_the_best_of_a_grid() {
        for truth in [[0.0, 1.0], [0.5, 2.0], [-1.0, 0.3], [0.0, 0.5]] {
            let best = naive_minimiser(truth);
            let least = expected_loss(Loss::Naive, best, truth);
            assert_eq!(best[1], 0.0, "{truth:?}");
            for i in -60..=60 {
                for j in 0..=60 {
                    let model = [f64::from(i) / 20.0, f64::from(j) / 20.0];
                    assert!(expected_loss(Loss::Naive, model, truth) >= least - 1e-9, "{truth:?} {best:?} {model:?}");
                }
            }
        }
    }
}
