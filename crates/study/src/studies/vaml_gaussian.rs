//! Value-aware and maximum-likelihood fits of a Gaussian to exponential variables.
//!
//! Source: the lecture, "VAML vs. MLE: Mismatched Model Class" ("Domain: 10-dim Gaussian/Exponential, Model: Gaussian"),
//! from Farahmand, Barreto, Nikovski, AISTATS 2017.
//!
//! The true distribution `P*` has `d` independent coordinates `x_i = s_i e_i` with `e_i ~ Exp(1)`: mean `m_i = s_i` and
//! second moments `M_ij = s_i s_j (1 + 1[i = j])`. The lecture's example is *even*: all `s_i = 1`. In the *uneven* case
//! the `s_i` grow geometrically from `1/√spread` to `√spread`. The model is `N(μ, Σ)` with a diagonal `Σ` whose entries
//! are equal within each of `groups` blocks of coordinates; one group is `σ²I`. Its moments are `m̂ = μ`,
//! `M̂ = μμᵀ + Σ`.
//!
//! For value functions in a ball, the worst-case error of VAML, `sup_{V ∈ F} |(P* − P̂)V|`, has a closed form:
//!
//! ```text
//! linear     F = {bᵀx : ‖b‖ ≤ 1}                          ‖m − m̂‖
//! quadratic  F = {xᵀAx + bᵀx : ‖A‖_F² + ‖b‖² ≤ 1}        √(‖M − M̂‖_F² + ‖m − m̂‖²)
//! ```
//!
//! VAML from samples minimises `(1/n) Σ_i sup_{V ∈ F} |V(x_i) − P̂V|²` (lecture, empirical form). In a ball this is the
//! squared closed form at the samples' moments, plus a number that does not depend on the model, so both have the same
//! minimiser. With linear functions it is `μ = m_n`, as for MLE, and does not determine `Σ`: VAML and MLE agree. The
//! study compares the quadratic case, where `(μ, Σ)` minimises `‖M_n − μμᵀ − Σ‖_F² + ‖m_n − μ‖²`, with MLE, where
//! `μ = m_n` and each group's variance is the mean of the sample variances.
//!
//! In the even case the moments of `P*` are in the model class: `N(1, I)` has all of them, and is both minimisers for
//! `n → ∞`. The class is mismatched as a set of distributions, but not for these value functions.

use crate::figure::{Axis, Figure, Panel, Series};
use crate::linear::{Matrix, dot, minus};
use crate::random::Random;
use crate::statistics::{mean, slope};
use crate::study::{Expectation, Parameter, Quantity, Record, Settings, Study};

/// The study.
pub static STUDY: Study = Study {
    name: "vaml-gaussian",
    revision: 1,
    claim: "Where the model class does not contain the truth, the model of VAML has a smaller worst-case error over the \
            value functions than the model of MLE. Where it contains what the value functions see, both are equal.",
    source: "lecture, slide \"VAML vs. MLE: Mismatched Model Class\"; Farahmand et al., AISTATS 2017",
    parameters: &[
        Parameter::count("dimensions", 10, [2, 50], "coordinates d"),
        Parameter::count("groups", 1, [1, 50], "variances of the model (its capacity)"),
        Parameter::real("spread", 4.0, [1.0, 100.0], "largest over smallest scale of a coordinate, uneven case"),
        Parameter::count("samples", 30_000, [100, 10_000_000], "largest number of samples"),
    ],
    quantities: &[
        Quantity::expected(
            "even_ratio",
            "quadratic error of MLE over that of VAML with the largest number of samples, even case (the lecture's example)",
            Expectation::AtLeast(1.1),
        ),
        Quantity::expected(
            "uneven_ratio",
            "quadratic error of MLE over that of VAML with the largest number of samples, uneven case",
            Expectation::AtLeast(1.1),
        ),
        Quantity::expected(
            "full_ratio",
            "quadratic error of MLE over that of VAML with the largest number of samples, uneven case with a variance for \
             each coordinate: the class contains all moments",
            Expectation::Within(0.9, 1.1),
        ),
        Quantity::expected(
            "even_rate",
            "exponent of n in the squared quadratic error of VAML, even case; the lecture's bound has -1/2",
            Expectation::AtMost(-0.5),
        ),
        Quantity::reported(
            "uneven_population_ratio",
            "quadratic error of MLE over that of VAML for n → ∞, uneven case",
        ),
        Quantity::reported("uneven_linear_ratio", "linear error of MLE over that of quadratic VAML, uneven case"),
    ],
    seeds: [20, 200, 2000],
    check: |settings| {
        let (dimensions, groups) = (settings.count("dimensions"), settings.count("groups"));
        if !dimensions.is_multiple_of(groups) {
            return Err(format!(
                "groups={groups} does not divide dimensions={dimensions}\nhint: all groups have the same size, so choose a \
                 divisor of {dimensions}"
            ));
        }
        Ok(())
    },
    run,
    figure,
};

/// Mean and second moments of a distribution.
#[derive(Clone, Debug)]
pub struct Moments {
    /// `E x`, `[d]`.
    pub mean: Vec<f64>,
    /// `E x xᵀ`, `[d, d]`.
    pub second: Matrix,
}

/// A Gaussian with a diagonal covariance.
#[derive(Clone, Debug)]
pub struct Gaussian {
    /// The mean, `[d]`.
    pub mean: Vec<f64>,
    /// The variance of each coordinate, `[d]`.
    pub variance: Vec<f64>,
}

impl Gaussian {
    /// The moments.
    #[must_use]
    pub fn moments(&self) -> Moments {
        let d = self.mean.len();
        let second =
            Matrix::from_fn(d, d, |i, j| self.mean[i] * self.mean[j] + if i == j { self.variance[i] } else { 0.0 });
        Moments { mean: self.mean.clone(), second }
    }
}

/// The moments of independent exponential variables with these means.
#[must_use]
pub fn exponential_moments(scales: &[f64]) -> Moments {
    let d = scales.len();
    let second = Matrix::from_fn(d, d, |i, j| scales[i] * scales[j] * if i == j { 2.0 } else { 1.0 });
    Moments { mean: scales.to_vec(), second }
}

/// The worst-case error over linear functions.
#[must_use]
pub fn linear_error(truth: &Moments, model: &Moments) -> f64 {
    let difference = minus(&truth.mean, &model.mean);
    dot(&difference, &difference).sqrt()
}

/// The worst-case error over quadratic functions.
#[must_use]
pub fn quadratic_error(truth: &Moments, model: &Moments) -> f64 {
    let difference = truth.second.plus(-1.0, &model.second);
    let square: f64 = (0..difference.rows()).map(|i| dot(difference.row(i), difference.row(i))).sum();
    (square + linear_error(truth, model).powi(2)).sqrt()
}

/// Replaces each entry by the mean of its group.
fn pooled(entries: &[f64], groups: usize) -> Vec<f64> {
    let size = entries.len() / groups;
    entries.chunks_exact(size).flat_map(|group| vec![mean(group); size]).collect()
}

/// The maximum-likelihood model: the mean, and the mean of each group's variances.
#[must_use]
pub fn likelihood_fit(data: &Moments, groups: usize) -> Gaussian {
    let variances: Vec<f64> = (0..data.mean.len()).map(|i| data.second[(i, i)] - data.mean[i].powi(2)).collect();
    Gaussian { mean: data.mean.clone(), variance: pooled(&variances, groups) }
}

/// The best model with the mean `mu`, for quadratic functions: the mean over each group of `M_ii − μ_i²`, if it is above
/// zero.
fn with_mean(data: &Moments, mu: Vec<f64>, groups: usize) -> Gaussian {
    let wanted: Vec<f64> = mu.iter().enumerate().map(|(i, m)| data.second[(i, i)] - m * m).collect();
    Gaussian { mean: mu, variance: pooled(&wanted, groups).into_iter().map(|v| v.max(0.0)).collect() }
}

/// The model with the smallest quadratic error against the moments `data`, by gradient descent with backtracking from the
/// maximum-likelihood model. The variances are eliminated, so that only the mean is searched.
#[must_use]
pub fn value_aware_fit(data: &Moments, groups: usize) -> Gaussian {
    let square = |model: &Gaussian| quadratic_error(data, &model.moments()).powi(2);
    let mut model = with_mean(data, data.mean.clone(), groups);
    let mut value = square(&model);
    let mut step = 1.0 / (4.0 + 8.0 * dot(&data.mean, &data.mean));
    for _ in 0..10_000 {
        let moments = model.moments();
        let across = moments.second.plus(-1.0, &data.second).times(&model.mean);
        let gradient: Vec<f64> =
            (0..model.mean.len()).map(|i| 2.0 * (model.mean[i] - data.mean[i]) + 4.0 * across[i]).collect();
        let length = dot(&gradient, &gradient);
        let unit = 1.0 + dot(&data.mean, &data.mean);
        if length <= 1e-22 * unit.powi(3) {
            break;
        }
        step *= 2.0;
        loop {
            let moved = model.mean.iter().zip(&gradient).map(|(m, g)| m - step * g).collect();
            let candidate = with_mean(data, moved, groups);
            let reached = square(&candidate);
            if reached <= value - 0.3 * step * length {
                (model, value) = (candidate, reached);
                break;
            }
            step /= 2.0;
            if step < 1e-14 {
                // No step changes the error by more than rounding.
                return model;
            }
        }
    }
    model
}

fn scales(dimensions: usize, spread: f64) -> Vec<f64> {
    let last = dimensions as f64 - 1.0;
    (0..dimensions).map(|i| spread.powf(i as f64 / last - 0.5)).collect()
}

/// The numbers of samples: a geometric sequence of half decades from 10.
fn sample_sizes(most: usize) -> Vec<usize> {
    (2..).map(|k| 10.0_f64.powf(f64::from(k) / 2.0).round() as usize).take_while(|n| *n < most).chain([most]).collect()
}

/// The moments of the first `n` samples, for each `n` of `sizes`.
fn sampled_moments(scales: &[f64], sizes: &[usize], random: &mut Random) -> Vec<Moments> {
    let d = scales.len();
    let (mut sum, mut second) = (vec![0.0; d], Matrix::zeros(d, d));
    let mut out = Vec::new();
    let mut drawn = 0;
    for &size in sizes {
        while drawn < size {
            let x: Vec<f64> = scales.iter().map(|s| s * random.exponential()).collect();
            for i in 0..d {
                sum[i] += x[i];
                second.row_mut(i).iter_mut().zip(&x).for_each(|(entry, y)| *entry += x[i] * y);
            }
            drawn += 1;
        }
        let share = 1.0 / size as f64;
        let scaled = Matrix::from_fn(d, d, |i, j| second[(i, j)] * share);
        out.push(Moments { mean: sum.iter().map(|s| s * share).collect(), second: scaled });
    }
    out
}

fn run(settings: &Settings, seed: u64) -> Record {
    let dimensions = settings.count("dimensions");
    let sizes = sample_sizes(settings.count("samples"));
    let mut record = Record::default();
    let cases = [
        ("even", 1.0, settings.count("groups")),
        ("uneven", settings.real("spread"), settings.count("groups")),
        ("full", settings.real("spread"), dimensions),
    ];
    for (name, spread, groups) in cases {
        let scales = scales(dimensions, spread);
        let truth = exponential_moments(&scales);
        // The uneven and the full case have the same samples.
        let stream = if name == "even" { "even" } else { "uneven" };
        let mut random = Random::new(seed, &format!("study/vaml-gaussian/{stream}"), 0);
        let mut rate = Vec::new();
        for (&size, data) in sizes.iter().zip(sampled_moments(&scales, &sizes, &mut random)) {
            let likely = likelihood_fit(&data, groups).moments();
            let aware = value_aware_fit(&data, groups).moments();
            let errors = [quadratic_error(&truth, &likely), quadratic_error(&truth, &aware)];
            record.point(&format!("{name}_mle"), size as f64, errors[0]);
            record.point(&format!("{name}_vaml"), size as f64, errors[1]);
            rate.push([(size as f64).ln(), 2.0 * errors[1].ln()]);
            if Some(&size) == sizes.last() {
                record.set(&format!("{name}_ratio"), errors[0] / errors[1]);
                record
                    .set(&format!("{name}_linear_ratio"), linear_error(&truth, &likely) / linear_error(&truth, &aware));
            }
        }
        record.set(&format!("{name}_rate"), slope(&rate));
        let likely = quadratic_error(&truth, &likelihood_fit(&truth, groups).moments());
        let aware = quadratic_error(&truth, &value_aware_fit(&truth, groups).moments());
        // Where the class contains all moments both errors are rounding.
        let ratio = if likely < 1e-9 { 1.0 } else { likely / aware };
        record.set(&format!("{name}_population_ratio"), ratio);
        for groups in (1..=dimensions).filter(|groups| dimensions.is_multiple_of(*groups)) {
            let error = |model: Gaussian| quadratic_error(&truth, &model.moments());
            record.point(&format!("{name}_mle_capacity"), groups as f64, error(likelihood_fit(&truth, groups)));
            record.point(&format!("{name}_vaml_capacity"), groups as f64, error(value_aware_fit(&truth, groups)));
        }
    }
    record
}

fn figure(settings: &Settings, records: &[Record]) -> Figure {
    let line = |curve: &str, name: &str| Series::of(records, curve, name);
    let by_samples = |case: &str, title: String| Panel {
        title,
        x: Axis::log("samples n"),
        y: Axis::log("worst-case error over quadratic functions"),
        series: vec![line(&format!("{case}_mle"), "MLE"), line(&format!("{case}_vaml"), "VAML")],
    };
    let spread = settings.real("spread");
    Figure {
        panels: vec![
            by_samples("even", "Even scales: the lecture's example".into()),
            by_samples("uneven", format!("Uneven scales (spread {spread})")),
            Panel {
                title: format!("Capacity, n → ∞ (spread {spread})"),
                x: Axis::linear("variances of the model"),
                y: Axis::linear("worst-case error over quadratic functions"),
                series: vec![line("uneven_mle_capacity", "MLE"), line("uneven_vaml_capacity", "VAML")],
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments of 40 samples of three coordinates, with the samples.
    fn sampled(seed: u64) -> (Vec<Vec<f64>>, Moments) {
        let mut random = Random::new(seed, "test/vaml-gaussian", 0);
        let samples: Vec<Vec<f64>> =
            (0..40).map(|_| [0.5, 1.0, 2.0].map(|s| s * random.exponential()).to_vec()).collect();
        let average = |of: &dyn Fn(&[f64]) -> f64| mean(&samples.iter().map(|x| of(x)).collect::<Vec<_>>());
        let first = (0..3).map(|i| average(&|x| x[i])).collect();
        let second = Matrix::from_fn(3, 3, |i, j| average(&|x| x[i] * x[j]));
        (samples, Moments { mean: first, second })
    }

    #[test]
    fn moments_of_exponential_variables_are_those_of_samples() {
        let scales = [0.5, 1.0, 2.0];
        let mut random = Random::new(0, "test/vaml-gaussian", 1);
        let sampled = &sampled_moments(&scales, &[400_000], &mut random)[0];
        let exact = exponential_moments(&scales);
        // The largest standard error is that of x₃²: √(Var)/√n = 4·√20/√n.
        assert!(quadratic_error(&exact, sampled) < 5.0 * 9.0 * 4.0 * 20.0_f64.sqrt() / 400_000.0_f64.sqrt());
    }

    #[test]
    fn no_function_of_the_ball_has_a_larger_error_and_one_attains_it() {
        let (_, data) = sampled(1);
        let model = Gaussian { mean: vec![0.3, 0.9, 1.5], variance: vec![0.4, 0.5, 0.9] }.moments();
        let supremum = quadratic_error(&data, &model);
        let (first, second) = (minus(&data.mean, &model.mean), data.second.plus(-1.0, &model.second));
        let error = |a: &[f64], b: &[f64]| {
            let quadratic: f64 = (0..3).map(|i| dot(&a[3 * i..3 * i + 3], second.row(i))).sum();
            (quadratic + dot(b, &first)).abs()
        };
        let mut random = Random::new(2, "test/vaml-gaussian", 2);
        for _ in 0..2000 {
            let coefficients: Vec<f64> = (0..12).map(|_| random.normal()).collect();
            let norm = dot(&coefficients, &coefficients).sqrt();
            let unit: Vec<f64> = coefficients.iter().map(|c| c / norm).collect();
            assert!(error(&unit[..9], &unit[9..]) <= supremum + 1e-12);
        }
        let best: Vec<f64> = (0..3).flat_map(|i| second.row(i).to_vec()).map(|c| c / supremum).collect();
        let rest: Vec<f64> = first.iter().map(|c| c / supremum).collect();
        assert!((error(&best, &rest) - supremum).abs() < 1e-12);
    }

    #[test]
    fn the_samples_loss_is_the_closed_form_plus_a_number_without_the_model() {
        let (samples, data) = sampled(3);
        let models = [
            Gaussian { mean: vec![0.3, 0.9, 1.5], variance: vec![0.4, 0.4, 0.4] },
            Gaussian { mean: vec![1.0, 0.0, -0.5], variance: vec![2.0, 2.0, 2.0] },
        ];
        let rest = models.map(|model| {
            let moments = model.moments();
            let point = |x: &[f64]| Moments { mean: x.to_vec(), second: Matrix::from_fn(3, 3, |i, j| x[i] * x[j]) };
            let losses: Vec<f64> = samples.iter().map(|x| quadratic_error(&point(x), &moments).powi(2)).collect();
            mean(&losses) - quadratic_error(&data, &moments).powi(2)
        });
        assert!((rest[0] - rest[1]).abs() < 1e-10 * rest[0], "{rest:?}");
    }

    #[test]
    fn the_value_aware_fit_is_the_best_of_its_neighbours_and_of_random_starts() {
        for seed in 0..10 {
            let (_, data) = sampled(seed);
            for groups in [1, 3] {
                let error = |model: &Gaussian| quadratic_error(&data, &model.moments());
                let fit = value_aware_fit(&data, groups);
                let least = error(&fit);
                assert!(least <= error(&likelihood_fit(&data, groups)) + 1e-12);
                let mut random = Random::new(seed, "test/vaml-gaussian", 3);
                for _ in 0..2000 {
                    let size = 10.0_f64.powf(random.between(-4.0, 0.5));
                    let moved: Vec<f64> = fit.mean.iter().map(|m| m + size * random.normal()).collect();
                    let factor = 1.0 + size * random.between(-0.5, 0.5);
                    let variance = pooled(&fit.variance, groups).iter().map(|v| (v * factor).max(0.0)).collect();
                    assert!(error(&Gaussian { mean: moved, variance }) >= least - 1e-10);
                }
            }
        }
    }

    #[test]
    fn the_likelihood_fit_maximises_the_likelihood() {
        let (samples, data) = sampled(4);
        let likelihood = |model: &Gaussian| -> f64 {
            let term = |x: &Vec<f64>| -> f64 {
                (0..3)
                    .map(|i| -(x[i] - model.mean[i]).powi(2) / (2.0 * model.variance[i]) - model.variance[i].ln() / 2.0)
                    .sum()
            };
            samples.iter().map(term).sum()
        };
        for groups in [1, 3] {
            let fit = likelihood_fit(&data, groups);
            let most = likelihood(&fit);
            let mut random = Random::new(5, "test/vaml-gaussian", 4);
            for _ in 0..1000 {
                let moved = fit.mean.iter().map(|m| m + 0.1 * random.normal()).collect();
                let noise = (0..3).map(|_| (0.2 * random.normal()).exp()).collect::<Vec<_>>();
                let noise = pooled(&noise, groups);
                let variance = fit.variance.iter().zip(noise).map(|(v, factor)| v * factor).collect();
                assert!(likelihood(&Gaussian { mean: moved, variance }) <= most + 1e-9);
            }
        }
    }

    #[test]
    fn both_fits_are_exact_where_the_class_contains_the_moments() {
        let even = exponential_moments(&[1.0; 4]);
        let uneven = exponential_moments(&[0.5, 1.0, 1.5, 3.0]);
        for (truth, groups) in [(&even, 1), (&even, 2), (&uneven, 4)] {
            assert!(quadratic_error(truth, &likelihood_fit(truth, groups).moments()) < 1e-12);
            assert!(quadratic_error(truth, &value_aware_fit(truth, groups).moments()) < 1e-9);
        }
        assert!(quadratic_error(&uneven, &value_aware_fit(&uneven, 1).moments()) > 1.0);
    }
}
