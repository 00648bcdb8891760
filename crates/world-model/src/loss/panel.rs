//! The panel form of losses: the value of a loss and its gradient with respect to the network's output, for one panel
//! of rows at a time, in host memory.
//!
//! A panel is `[channels][PANEL_ROWS]`, with a column for each row of the batch ([`foresee_nn::cpu::panels`]). A loss
//! implements the loss of one channel of one panel ([`ChannelLoss`]). The parts that are common to all losses are here:
//! the loop over channels, the squared error while the critic is young, the likelihood that fits a variance and the row
//! weights. They are compiled once for every loss and every SIMD level.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::math;
use foresee_nn::cpu::panels::{PerRow, feature, feature_mut};
use foresee_nn::cpu::simd::{self, Simd, Task};

use super::{ModelLoss, RowTerms};

/// One number for each row of a panel.
pub type Row = PerRow;

/// The data of one panel. A shape `[C]` below stands for an array `[C][PANEL_ROWS]`.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// The network's output: the mean `[C]`, then the raw log-variance `[C]` if the head has a variance.
    pub output: &'a [f32],
    /// Target of the prediction, (next_obs − obs, reward) or (next_obs, reward), `[C]`.
    pub target: &'a [f32],
    /// The rows' terms, `[N K]`, in the layout of [`ChannelLoss::panel_terms`].
    pub terms: &'a [f32],
    /// For a loss that needs predicted states: the agent's values at these states, `[N]`, and their gradients,
    /// `[N, O]`. The gradients are used only for the gradient of the loss.
    pub predicted: [&'a [f32]; 2],
    /// Factors on the rows' losses, `[1]`. `None` means 1.
    pub row_weights: Option<&'a [f32]>,
    /// Factors from the units of normalised targets to the task's own units, one number per channel. Only if targets
    /// are normalised and the loss is value-aware.
    pub units: Option<&'a [f32]>,
    /// Low and high bounds of the log-variance, one number per channel each, if the head has a variance.
    pub bounds: Option<[&'a [f32]; 2]>,
    /// Number of channels, `C = O + 1`: observation entries, then the reward.
    pub channels: usize,
    /// Number of heads of the agent's values, `N`.
    pub heads: usize,
    /// Number of rows in use.
    pub rows: usize,
}

impl<'a> Panel<'a> {
    /// Returns the error of channel `c`, in the task's own unit if the loss is value-aware.
    #[inline(always)]
    #[must_use]
    pub fn error(&self, c: usize) -> Row {
        let mut err = self.error_of_target(c);
        if let Some(units) = self.units {
            err.iter_mut().for_each(|err| *err *= units[c]);
        }
        err
    }

    /// Returns the error of channel `c` in the unit of the target.
    #[inline(always)]
    fn error_of_target(&self, c: usize) -> Row {
        let (mean, target) = (feature(self.output, c), feature(self.target, c));
        let mut err = [0.0; PANEL_ROWS];
        for j in 0..PANEL_ROWS {
            err[j] = mean[j] - target[j];
        }
        err
    }

    /// Returns column `i` of the rows' terms.
    #[inline(always)]
    #[must_use]
    pub fn term(&self, i: usize) -> &'a Row {
        feature(self.terms, i)
    }

    /// Returns V_n at the predicted states.
    #[inline(always)]
    #[must_use]
    pub fn predicted_value(&self, n: usize) -> &'a Row {
        feature(self.predicted[0], n)
    }

    /// Returns ∂V_n/∂s_c at the predicted states; zeros if only the value of the loss is computed.
    #[inline(always)]
    #[must_use]
    pub fn predicted_slope(&self, n: usize, c: usize) -> &'a Row {
        let gradients = self.predicted[1];
        if gradients.is_empty() { &[0.0; PANEL_ROWS] } else { feature(gradients, n * (self.channels - 1) + c) }
    }
}

/// The role of the likelihood in a loss's panel form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likelihood {
    /// The likelihood fits the variance. The loss fits the mean.
    OfVariance,
    /// The likelihood fits mean and variance. It is the whole loss.
    OfBoth,
}

/// The part of the panel form that a loss implements. A loss that [fits the variance](ModelLoss::fits_variance) by
/// other means than the Gaussian likelihood has no panel form: it trains through tensors.
pub trait ChannelLoss: ModelLoss {
    /// Returns the role of the likelihood in the loss.
    fn likelihood(&self) -> Likelihood {
        Likelihood::OfVariance
    }

    /// Adds the loss of channel `c` to `loss`, and its derivative with respect to [the channel's error](Panel::error)
    /// to `slope`. The function is called for the channels 0 to `O` in order. A part of the loss that is not a sum over
    /// channels is added to `loss` at one of them.
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row);

    /// Converts the row terms of [`ModelLoss::row_terms`] to the row terms `[N', rows, K']` that this form reads.
    fn panel_terms(&self, terms: RowTerms) -> RowTerms {
        terms
    }
}

/// The panel form that the trainer calls. Every [`ChannelLoss`] implements it.
pub trait PanelLoss: Send + Sync {
    /// Converts the row terms of [`ModelLoss::row_terms`] to those that this form reads.
    fn terms(&self, terms: RowTerms) -> RowTerms;

    /// Returns the sum of the rows' losses. Writes `scale` times its gradient with respect to the network's output to
    /// `gradient`. Adds `scale` times its gradient with respect to the bounds, low then high, to `bounds`, `[2 C]`
    /// numbers if the head has a variance. With `add_mse` the mean squared error is added to the loss.
    fn gradient(&self, panel: &Panel<'_>, add_mse: bool, scale: f32, gradient: &mut [f32], bounds: &mut [f32]) -> f32;

    /// Returns the sum of the rows' losses of the mean. The log-variance is ignored.
    fn value(&self, panel: &Panel<'_>, add_mse: bool) -> f32;
}

impl<L: ChannelLoss> PanelLoss for L {
    fn terms(&self, terms: RowTerms) -> RowTerms {
        self.panel_terms(terms)
    }

    fn gradient(&self, panel: &Panel<'_>, add_mse: bool, scale: f32, gradient: &mut [f32], bounds: &mut [f32]) -> f32 {
        simd::dispatch(LossGradient { loss: self, panel, add_mse, scale, gradient, bounds })
    }

    fn value(&self, panel: &Panel<'_>, add_mse: bool) -> f32 {
        simd::dispatch(LossValue { loss: self, panel, add_mse })
    }
}

/// Adds w err² of one channel to `loss`, and its derivative 2 w err to `slope`. w is `share` times the row's weight.
#[inline(always)]
pub fn add_weighted_square<S: Simd>(err: &Row, weight: &Row, share: f32, loss: &mut Row, slope: &mut Row) {
    for j in 0..PANEL_ROWS {
        let w = share * weight[j];
        loss[j] = S::mul_add(w, err[j] * err[j], loss[j]);
        slope[j] = S::mul_add(2.0 * w, err[j], slope[j]);
    }
}

/// Adds err² of one channel to `loss`, and its derivative 2 err to `slope`.
#[inline(always)]
pub fn add_square<S: Simd>(err: &Row, loss: &mut Row, slope: &mut Row) {
    for j in 0..PANEL_ROWS {
        loss[j] = S::mul_add(err[j], err[j], loss[j]);
        slope[j] = S::mul_add(2.0, err[j], slope[j]);
    }
}

/// Returns the sum over the first `rows` rows.
#[inline(always)]
fn total(values: &Row, rows: usize) -> f32 {
    let mut folded = [0.0; PANEL_ROWS];
    for j in 0..PANEL_ROWS {
        folded[j] = if j < rows { values[j] } else { 0.0 };
    }
    let mut half = PANEL_ROWS / 2;
    while half > 0 {
        for j in 0..half {
            folded[j] += folded[j + half];
        }
        half /= 2;
    }
    folded[0]
}

/// Adds the loss of the mean to `loss`. Calls `at(channel, slope)` with its unscaled derivative with respect to the
/// mean, for every channel.
#[inline(always)]
fn loss_of_mean<S: Simd>(
    this: &impl ChannelLoss,
    panel: &Panel<'_>,
    add_mse: bool,
    loss: &mut Row,
    mut at: impl FnMut(usize, &Row),
) {
    // The mean squared error is the mean over channels of err²; its derivative is 2 err / C.
    let all = 1.0 / panel.channels as f32;
    let (square, slope_of) = if add_mse { (all, 2.0 * all) } else { (0.0, 0.0) };
    let mut slope = [0.0_f32; PANEL_ROWS];
    for c in 0..panel.channels {
        let err = panel.error_of_target(c);
        for j in 0..PANEL_ROWS {
            loss[j] = S::mul_add(square, err[j] * err[j], loss[j]);
            slope[j] = slope_of * err[j];
        }
        if let Some(units) = panel.units {
            let mut own = [0.0; PANEL_ROWS];
            this.channel::<S>(panel, c, loss, &mut own);
            for j in 0..PANEL_ROWS {
                slope[j] = S::mul_add(units[c], own[j], slope[j]);
            }
        } else {
            this.channel::<S>(panel, c, loss, &mut slope);
        }
        at(c, &slope);
    }
}

/// Returns the factors on the rows' losses.
#[inline(always)]
fn row_weights(panel: &Panel<'_>) -> Row {
    panel.row_weights.map_or([1.0; PANEL_ROWS], |weights| *feature(weights, 0))
}

/// Returns the sum over the first `rows` rows, each times its weight.
#[inline(always)]
fn weighted_total(values: &Row, weights: &Row, rows: usize) -> f32 {
    let mut products = [0.0; PANEL_ROWS];
    for j in 0..PANEL_ROWS {
        products[j] = weights[j] * values[j];
    }
    total(&products, rows)
}

struct LossValue<'a, 'b, L> {
    loss: &'a L,
    panel: &'a Panel<'b>,
    add_mse: bool,
}

impl<L: ChannelLoss> Task for LossValue<'_, '_, L> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let mut loss = [0.0; PANEL_ROWS];
        loss_of_mean::<S>(self.loss, self.panel, self.add_mse, &mut loss, |_, _| ());
        weighted_total(&loss, &row_weights(self.panel), self.panel.rows)
    }
}

struct LossGradient<'a, 'b, L> {
    loss: &'a L,
    panel: &'a Panel<'b>,
    add_mse: bool,
    scale: f32,
    gradient: &'a mut [f32],
    bounds: &'a mut [f32],
}

impl<L: ChannelLoss> Task for LossGradient<'_, '_, L> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self) -> f32 {
        let Self { loss: this, panel, add_mse, scale, gradient, bounds } = self;
        let weights = row_weights(panel);
        let mut loss = [0.0; PANEL_ROWS];
        loss_of_mean::<S>(this, panel, add_mse, &mut loss, |c, slope| {
            let gradient = feature_mut(gradient, c);
            for j in 0..PANEL_ROWS {
                gradient[j] = scale * weights[j] * slope[j];
            }
        });
        if let Some(both) = panel.bounds {
            let fits_mean = this.likelihood() == Likelihood::OfBoth;
            likelihood::<S>(fits_mean, panel, both, (scale, &weights), gradient, &mut loss, bounds);
        }
        weighted_total(&loss, &weights, panel.rows)
    }
}

/// Adds the Gaussian likelihood mean_c [err² e^(−lv) + lv] to `loss` and its derivatives to `gradient` and `bounds`.
/// With u = max − softplus(max − raw) and lv = min + softplus(u − min):
///
/// * ∂/∂mean = 2 err e^(−lv) / C, only if the likelihood fits the mean
/// * ∂/∂lv = (1 − err² e^(−lv)) / C
/// * ∂lv/∂raw = σ(u − min) σ(max − raw)
/// * ∂lv/∂max = σ(u − min) (1 − σ(max − raw))
/// * ∂lv/∂min = 1 − σ(u − min)
#[inline(always)]
fn likelihood<S: Simd>(
    fits_mean: bool,
    panel: &Panel<'_>,
    [low, high]: [&[f32]; 2],
    (scale, weights): (f32, &Row),
    gradient: &mut [f32],
    loss: &mut Row,
    bounds: &mut [f32],
) {
    let channels = panel.channels;
    let share = 1.0 / channels as f32;
    for c in 0..channels {
        let (min, max) = (low[c], high[c]);
        let (mean, target, raw) =
            (feature(panel.output, c), feature(panel.target, c), feature(panel.output, channels + c));
        let (mut grad_mean, mut grad_raw) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
        let (mut grad_low, mut grad_high) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
        for j in 0..PANEL_ROWS {
            let (from_max, s_max) = softplus_and_slope::<S>(max - raw[j]);
            let u = max - from_max;
            let (above_min, s_min) = softplus_and_slope::<S>(u - min);
            let lv = min + above_min;
            let inverse = math::exp::<S>(-lv);
            let err = mean[j] - target[j];
            let square = err * err * inverse;
            loss[j] = S::mul_add(share, square + lv, loss[j]);
            grad_mean[j] = 2.0 * share * err * inverse;
            let grad_logvar = share * (1.0 - square);
            grad_raw[j] = grad_logvar * s_min * s_max;
            grad_low[j] = grad_logvar * (1.0 - s_min);
            grad_high[j] = grad_logvar * s_min * (1.0 - s_max);
        }
        if fits_mean {
            let gradient = feature_mut(gradient, c);
            for j in 0..PANEL_ROWS {
                gradient[j] = S::mul_add(scale * weights[j], grad_mean[j], gradient[j]);
            }
        }
        let gradient = feature_mut(gradient, channels + c);
        for j in 0..PANEL_ROWS {
            gradient[j] = scale * weights[j] * grad_raw[j];
        }
        bounds[c] += scale * weighted_total(&grad_low, weights, panel.rows);
        bounds[channels + c] += scale * weighted_total(&grad_high, weights, panel.rows);
    }
}

/// Computes softplus(x) and its derivative σ(x) with one exponential.
#[inline(always)]
pub(crate) fn softplus_and_slope<S: Simd>(x: f32) -> (f32, f32) {
    let e = math::exp::<S>(-x.abs());
    let far = 1.0 / (1.0 + e);
    let positive = if x > 0.0 { x } else { 0.0 };
    (positive + math::ln_1p::<S>(e), if x > 0.0 { far } else { e * far })
}
