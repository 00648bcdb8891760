//! The policy's distribution on panels ([`foresee_nn::cpu::panels`]), and its derivatives.
//!
//! With ∂L/∂a and w = ∂L/∂log π:
//!
//! ∂ log π/∂u = 2 (1 − 2 σ(−2u)) = 2 tanh u = 2a, so ∂L/∂u = (1 − a²) ∂L/∂a + 2 w a;
//! ∂L/∂mu = ∂L/∂u; ∂L/∂log σ = σ ε ∂L/∂u − w.
//!
//! ∂ log σ/∂raw depends on the [`Spread`]: 3.5 (1 − tanh² raw) if bounded; sigmoid(raw) / σ if softplus; if clipped, 1
//! between the bounds and 0 elsewhere.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::math;
use foresee_nn::cpu::simd::{self, Simd, Task};

use super::{CLIPPED, LEAST_STD, LOG_STD, Spread};

/// One feature of a panel: a number for each of the panel's batch rows.
pub(crate) type Row = [f32; PANEL_ROWS];

#[inline(always)]
pub(crate) fn row(panel: &[f32], i: usize) -> &Row {
    panel[i * PANEL_ROWS..][..PANEL_ROWS].try_into().expect("a panel has whole rows")
}

#[inline(always)]
pub(crate) fn row_mut(panel: &mut [f32], i: usize) -> &mut Row {
    (&mut panel[i * PANEL_ROWS..][..PANEL_ROWS]).try_into().expect("a panel has whole rows")
}

/// Half the range of log σ; [`LOW`] is its lower end.
pub(crate) const HALF: f32 = 0.5 * (LOG_STD[1] - LOG_STD[0]) as f32;
pub(crate) const LOW: f32 = LOG_STD[0] as f32;
/// ln √(2π).
pub(crate) const LN_ROOT_2_PI: f32 = 0.918_938_5;

/// The inputs and outputs of sampling the actions of one panel.
pub struct Sample<'a> {
    /// The form of the standard deviation.
    pub spread: Spread,
    /// The network's output (mu, raw), `[2A]`.
    pub heads: &'a [f32],
    /// Standard normals, `[A]`.
    pub noise: &'a [f32],
    /// Output: tanh u, `[A]`.
    pub action: &'a mut [f32],
    /// Output: log π, `[PANEL_ROWS]`.
    pub log_prob: &'a mut Row,
    /// Output, needed if [`gradient`] follows: σ ε, then ∂ log σ/∂raw, `[2A]`.
    pub kept: Option<&'a mut [f32]>,
}

impl Sample<'_> {
    /// Computes the outputs.
    pub fn fill(self) {
        simd::dispatch(self);
    }
}

impl Task for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { spread: form, heads, noise, action, log_prob, mut kept } = self;
        let actions = action.len() / PANEL_ROWS;
        let mut sum = [0.0; PANEL_ROWS];
        for d in 0..actions {
            let (mu, raw, noise) = (row(heads, d), row(heads, actions + d), row(noise, d));
            let (mut a, mut spread, mut slope) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
            let mut log_stds = [0.0; PANEL_ROWS];
            match form {
                Spread::Bounded => {
                    for j in 0..PANEL_ROWS {
                        let t = math::tanh::<S>(raw[j]);
                        log_stds[j] = S::mul_add(HALF, t + 1.0, LOW);
                        spread[j] = math::exp::<S>(log_stds[j]) * noise[j];
                        slope[j] = HALF * S::mul_add(-t, t, 1.0);
                    }
                }
                Spread::Softplus => {
                    for j in 0..PANEL_ROWS {
                        let std = math::softplus::<S>(raw[j]) + LEAST_STD as f32;
                        log_stds[j] = math::ln::<S>(std);
                        spread[j] = std * noise[j];
                        slope[j] = math::sigmoid::<S>(raw[j]) / std;
                    }
                }
                Spread::Clipped => {
                    let [low, high] = CLIPPED.map(|end| end as f32);
                    for j in 0..PANEL_ROWS {
                        log_stds[j] = raw[j].max(low).min(high);
                        spread[j] = math::exp::<S>(log_stds[j]) * noise[j];
                        slope[j] = if low < raw[j] && raw[j] < high { 1.0 } else { 0.0 };
                    }
                }
            }
            for j in 0..PANEL_ROWS {
                let log_std = log_stds[j];
                let u = mu[j] + spread[j];
                a[j] = math::tanh::<S>(u);
                let gaussian = S::mul_add(-0.5 * noise[j], noise[j], -log_std) - LN_ROOT_2_PI;
                let squash = u + math::softplus::<S>(-2.0 * u) - std::f32::consts::LN_2;
                sum[j] += S::mul_add(2.0, squash, gaussian);
            }
            *row_mut(action, d) = a;
            if let Some(kept) = &mut kept {
                *row_mut(kept, d) = spread;
                *row_mut(kept, actions + d) = slope;
            }
        }
        *log_prob = sum;
    }
}

/// Replaces the numbers that [`Sample`] kept, `[2A]`, by ∂L/∂(mu, raw). Inputs are the actions and ∂L/∂a, `[A]` each,
/// and w = ∂L/∂log π of every batch row.
pub fn gradient(kept: &mut [f32], action: &[f32], by_action: &[f32], by_log_prob: &Row) {
    simd::dispatch(Gradient { kept, action, by_action, by_log_prob });
}

struct Gradient<'a> {
    kept: &'a mut [f32],
    action: &'a [f32],
    by_action: &'a [f32],
    by_log_prob: &'a Row,
}

impl Task for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { kept, action, by_action, by_log_prob } = self;
        let actions = action.len() / PANEL_ROWS;
        for d in 0..actions {
            let (a, by_action) = (row(action, d), row(by_action, d));
            let (spread, slope) = (*row(kept, d), *row(kept, actions + d));
            let (mut by_mu, mut by_raw) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
            for j in 0..PANEL_ROWS {
                by_mu[j] = S::mul_add(by_action[j], S::mul_add(-a[j], a[j], 1.0), 2.0 * by_log_prob[j] * a[j]);
                by_raw[j] = S::mul_add(by_mu[j], spread[j], -by_log_prob[j]) * slope[j];
            }
            *row_mut(kept, d) = by_mu;
            *row_mut(kept, actions + d) = by_raw;
        }
    }
}

/// Computes the mean actions tanh mu, `[A]`, from the network's output (mu, raw), `[2A]`.
pub fn mean(heads: &[f32], action: &mut [f32]) {
    simd::dispatch(Mean { heads, action });
}

struct Mean<'a> {
    heads: &'a [f32],
    action: &'a mut [f32],
}

impl Task for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (a, mu) in self.action.iter_mut().zip(self.heads) {
            *a = math::tanh::<S>(*mu);
        }
    }
}
