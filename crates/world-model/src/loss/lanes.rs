//! The losses on panels: value and gradient at the network's output, one panel of rows at a time, in host memory.
//!
//! Panels are `[channels][LANES]` ([`foresee_nn::cpu::panels`]). The forms in [`super`] are the specification; the
//! derivatives are stated where they are taken.

use foresee_nn::cpu::LANES;
use foresee_nn::cpu::math;
use foresee_nn::cpu::simd::{self, Simd, Task};

use crate::config::{Form, LossConfig, LossKind};

type Row = [f32; LANES];

/// How the errors of the mean are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Likelihood,
    Squared,
    Bounded,
    Unbounded,
    Values,
    Weighted,
}

/// A loss as the panels' loop sees it.
#[derive(Clone, Copy, Debug)]
pub struct LaneLoss {
    own: Own,
    add_mse: bool,
    /// `O + 1`
    channels: usize,
    /// Value heads that are asked.
    heads: usize,
    /// Whether rows count by their weights, where they have any.
    row_weights: bool,
}

/// One panel's data.
pub struct Panel<'a> {
    /// The network's output: mean `[C]`, then the raw log-variance `[C]` if the head is Gaussian.
    pub output: &'a [f32],
    /// (next_obs − obs, reward), `[C]`.
    pub target: &'a [f32],
    /// What the agent said of the true next states, [`LaneLoss::terms`] numbers a row.
    pub terms: &'a [f32],
    /// What it says of the predicted ones, for a loss that looks ahead: values `[N]` and, for a gradient of the loss,
    /// their gradients `[N, O]`.
    pub predicted: [&'a [f32]; 2],
    /// What each row counts, `[1]`; once where there are none.
    pub row_weights: Option<&'a [f32]>,
    /// Bounds of the log-variance, low and high, `[C]` numbers each, where the head is Gaussian.
    pub bounds: Option<[&'a [f32]; 2]>,
    /// Rows that are in use.
    pub rows: usize,
}

impl LaneLoss {
    /// The loss of a config, for `channels` outputs and so many value heads.
    #[must_use]
    pub fn new(config: &LossConfig, add_mse: bool, channels: usize, heads: usize) -> Self {
        let own = match (config.kind, config.form) {
            (LossKind::Mle, _) => Own::Likelihood,
            (LossKind::Mse, _) => Own::Squared,
            (LossKind::Vagram, Form::Bounded) => Own::Bounded,
            (LossKind::Vagram, Form::Unbounded) => Own::Unbounded,
            (LossKind::Itervaml, _) => Own::Values,
            (LossKind::ValueWeighted, _) => Own::Weighted,
        };
        Self { own, add_mse: add_mse && config.kind.is_value_aware(), channels, heads, row_weights: true }
    }

    /// The squared error, every row counted once.
    #[must_use]
    pub fn mse(channels: usize) -> Self {
        Self { own: Own::Squared, add_mse: false, channels, heads: 0, row_weights: false }
    }

    /// The same loss as a holdout score: without what fits a variance ([`super::score_per_row`]).
    #[must_use]
    pub fn score(self) -> Self {
        Self { own: if self.own == Own::Likelihood { Own::Squared } else { self.own }, ..self }
    }

    /// What a row's true next state has to bring of the agent, numbers: mean squared value gradients `[O]`, the gradients
    /// of every head `[N, O]`, every head's value `[N]`, or a weight by the value `[1]`.
    #[must_use]
    pub fn terms(&self) -> usize {
        match self.own {
            Own::Likelihood | Own::Squared => 0,
            Own::Bounded => self.channels - 1,
            Own::Unbounded => self.heads * (self.channels - 1),
            Own::Values => self.heads,
            Own::Weighted => 1,
        }
    }

    /// Whether the terms are those of the bounded form.
    #[must_use]
    pub(crate) fn bounded(&self) -> bool {
        self.own == Own::Bounded
    }

    /// Whether the agent is asked about the predicted states, too.
    #[must_use]
    pub(crate) fn looks_ahead(&self) -> bool {
        self.own == Own::Values
    }

    /// Whether rows count by their weights.
    #[must_use]
    pub(crate) fn row_weights(&self) -> bool {
        self.row_weights
    }

    /// The sum of the rows' losses; its gradient at the output times `scale` into `gradient`, that at the bounds, low
    /// and high, times `scale` added to `bounds`, `[2 C]` numbers where the head is Gaussian.
    pub fn gradient(&self, panel: &Panel<'_>, scale: f32, gradient: &mut [f32], bounds: &mut [f32]) -> f32 {
        simd::dispatch(Whole { loss: *self, panel, scale, gradient, bounds })
    }

    /// The sum of the rows' losses of the mean alone; the log-variance is not looked at.
    #[must_use]
    pub fn value(&self, panel: &Panel<'_>) -> f32 {
        simd::dispatch(Value { loss: *self, panel })
    }
}

#[inline(always)]
fn row(panel: &[f32], i: usize) -> &Row {
    panel[i * LANES..][..LANES].try_into().expect("a panel has whole rows")
}

#[inline(always)]
fn row_mut(panel: &mut [f32], i: usize) -> &mut Row {
    (&mut panel[i * LANES..][..LANES]).try_into().expect("a panel has whole rows")
}

/// The sum of the lanes in use.
#[inline(always)]
fn total(lanes: &Row, rows: usize) -> f32 {
    let mut folded = [0.0; LANES];
    for j in 0..LANES {
        folded[j] = if j < rows { lanes[j] } else { 0.0 };
    }
    let mut half = LANES / 2;
    while half > 0 {
        for j in 0..half {
            folded[j] += folded[j + half];
        }
        half /= 2;
    }
    folded[0]
}

/// The loss of the mean, added to `loss`; its derivative by the mean, unscaled, to `at(channel, lane values)`.
#[inline(always)]
fn own_loss<S: Simd>(this: &LaneLoss, panel: &Panel<'_>, loss: &mut Row, mut at: impl FnMut(usize, &Row)) {
    let channels = this.channels;
    let obs = channels - 1;
    let all = 1.0 / channels as f32;
    // mse: mean over channels of err²; its derivative 2 err / C.
    let (shared_square, shared_slope) =
        if this.own == Own::Squared || this.add_mse { (all, 2.0 * all) } else { (0.0, 0.0) };
    // unbounded: (1/N) Σ_n (Σ_d g_nd err_d)²; its derivative (2/N) Σ_n g_nd (Σ_d g_nd err_d).
    let per_head = 1.0 / this.heads.max(1) as f32;
    let mut slope = [0.0_f32; LANES];
    for c in 0..channels {
        let (mean, target) = (row(panel.output, c), row(panel.target, c));
        for j in 0..LANES {
            let err = mean[j] - target[j];
            loss[j] = S::mul_add(shared_square, err * err, loss[j]);
            slope[j] = shared_slope * err;
        }
        let value_aware = !matches!(this.own, Own::Likelihood | Own::Squared);
        if value_aware && c == obs {
            for j in 0..LANES {
                let err = mean[j] - target[j];
                loss[j] = S::mul_add(err, err, loss[j]);
                slope[j] = S::mul_add(2.0, err, slope[j]);
            }
        } else if this.own == Own::Bounded || this.own == Own::Weighted {
            // bounded: (1/O) Σ_d mean_n(g_nd²) err_d²; its derivative (2/O) mean_n(g_nd²) err_d. With a weight a row the
            // same, w in the place of mean_n(g_nd²).
            let weight = row(panel.terms, if this.own == Own::Bounded { c } else { 0 });
            let share = 1.0 / obs as f32;
            for j in 0..LANES {
                let err = mean[j] - target[j];
                let w = share * weight[j];
                loss[j] = S::mul_add(w, err * err, loss[j]);
                slope[j] = S::mul_add(2.0 * w, err, slope[j]);
            }
        } else if this.own == Own::Unbounded {
            for n in 0..this.heads {
                let along = projection::<S>(panel, n, obs);
                let g = row(panel.terms, n * obs + c);
                for j in 0..LANES {
                    slope[j] = S::mul_add(2.0 * per_head * along[j], g[j], slope[j]);
                    if c == 0 {
                        loss[j] = S::mul_add(per_head * along[j], along[j], loss[j]);
                    }
                }
            }
        } else if this.own == Own::Values {
            // itervaml: (1/N) Σ_n (V̂_n − V_n)²; its derivative (2/N) Σ_n (V̂_n − V_n) ∂V̂_n/∂s_d.
            let [predicted, gradients] = panel.predicted;
            for n in 0..this.heads {
                let (predicted, value) = (row(predicted, n), row(panel.terms, n));
                let g = if gradients.is_empty() { &[0.0; LANES] } else { row(gradients, n * obs + c) };
                for j in 0..LANES {
                    let apart = predicted[j] - value[j];
                    slope[j] = S::mul_add(2.0 * per_head * apart, g[j], slope[j]);
                    if c == 0 {
                        loss[j] = S::mul_add(per_head * apart, apart, loss[j]);
                    }
                }
            }
        }
        at(c, &slope);
    }
}

/// Σ_d g_nd err_d of one head.
#[inline(always)]
fn projection<S: Simd>(panel: &Panel<'_>, head: usize, obs: usize) -> Row {
    let mut along = [0.0; LANES];
    for d in 0..obs {
        let (mean, target, g) = (row(panel.output, d), row(panel.target, d), row(panel.terms, head * obs + d));
        for j in 0..LANES {
            along[j] = S::mul_add(g[j], mean[j] - target[j], along[j]);
        }
    }
    along
}

/// What each row counts.
#[inline(always)]
fn row_weights(panel: &Panel<'_>) -> Row {
    panel.row_weights.map_or([1.0; LANES], |weights| *row(weights, 0))
}

/// The sum of the lanes in use, each as often as its row counts.
#[inline(always)]
fn weighted_total(lanes: &Row, weights: &Row, rows: usize) -> f32 {
    let mut products = [0.0; LANES];
    for j in 0..LANES {
        products[j] = weights[j] * lanes[j];
    }
    total(&products, rows)
}

struct Value<'a, 'b> {
    loss: LaneLoss,
    panel: &'a Panel<'b>,
}

impl Task for Value<'_, '_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let mut loss = [0.0; LANES];
        own_loss::<S>(&self.loss, self.panel, &mut loss, |_, _| ());
        weighted_total(&loss, &row_weights(self.panel), self.panel.rows)
    }
}

struct Whole<'a, 'b> {
    loss: LaneLoss,
    panel: &'a Panel<'b>,
    scale: f32,
    gradient: &'a mut [f32],
    bounds: &'a mut [f32],
}

impl Task for Whole<'_, '_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let Self { loss: this, panel, scale, gradient, bounds } = self;
        let weights = row_weights(panel);
        let mut loss = [0.0; LANES];
        own_loss::<S>(&this, panel, &mut loss, |c, slope| {
            let gradient = row_mut(gradient, c);
            for j in 0..LANES {
                gradient[j] = scale * weights[j] * slope[j];
            }
        });
        if let Some(both) = panel.bounds {
            likelihood::<S>(&this, panel, both, (scale, &weights), gradient, &mut loss, bounds);
        }
        weighted_total(&loss, &weights, panel.rows)
    }
}

/// The Gaussian likelihood mean_c [err² e^(−lv) + lv], with
/// u = max − softplus(max − raw), lv = min + softplus(u − min):
/// ∂/∂mean = 2 err e^(−lv) / C, only if the likelihood is the loss itself; ∂/∂lv = (1 − err² e^(−lv)) / C;
/// ∂lv/∂raw = σ(u − min) σ(max − raw), ∂lv/∂max = σ(u − min) (1 − σ(max − raw)), ∂lv/∂min = 1 − σ(u − min).
#[inline(always)]
fn likelihood<S: Simd>(
    this: &LaneLoss,
    panel: &Panel<'_>,
    [low, high]: [&[f32]; 2],
    (scale, weights): (f32, &Row),
    gradient: &mut [f32],
    loss: &mut Row,
    bounds: &mut [f32],
) {
    let channels = this.channels;
    let share = 1.0 / channels as f32;
    let fits_mean = this.own == Own::Likelihood;
    for c in 0..channels {
        let (min, max) = (low[c], high[c]);
        let (mean, target, raw) = (row(panel.output, c), row(panel.target, c), row(panel.output, channels + c));
        let (mut of_mean, mut of_raw) = ([0.0; LANES], [0.0; LANES]);
        let (mut of_low, mut of_high) = ([0.0; LANES], [0.0; LANES]);
        for j in 0..LANES {
            let (from_max, s_max) = softplus_and_slope::<S>(max - raw[j]);
            let u = max - from_max;
            let (above_min, s_min) = softplus_and_slope::<S>(u - min);
            let lv = min + above_min;
            let inverse = math::exp::<S>(-lv);
            let err = mean[j] - target[j];
            let square = err * err * inverse;
            loss[j] = S::mul_add(share, square + lv, loss[j]);
            of_mean[j] = 2.0 * share * err * inverse;
            let by_lv = share * (1.0 - square);
            of_raw[j] = by_lv * s_min * s_max;
            of_low[j] = by_lv * (1.0 - s_min);
            of_high[j] = by_lv * s_min * (1.0 - s_max);
        }
        if fits_mean {
            let gradient = row_mut(gradient, c);
            for j in 0..LANES {
                gradient[j] = S::mul_add(scale * weights[j], of_mean[j], gradient[j]);
            }
        }
        let gradient = row_mut(gradient, channels + c);
        for j in 0..LANES {
            gradient[j] = scale * weights[j] * of_raw[j];
        }
        bounds[c] += scale * weighted_total(&of_low, weights, panel.rows);
        bounds[channels + c] += scale * weighted_total(&of_high, weights, panel.rows);
    }
}

/// softplus(x) and its derivative σ(x), with one exponential.
#[inline(always)]
fn softplus_and_slope<S: Simd>(x: f32) -> (f32, f32) {
    let e = math::exp::<S>(-x.abs());
    let far = 1.0 / (1.0 + e);
    let positive = if x > 0.0 { x } else { 0.0 };
    (positive + math::ln_1p::<S>(e), if x > 0.0 { far } else { e * far })
}
