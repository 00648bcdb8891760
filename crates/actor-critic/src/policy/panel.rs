//! The policy's distribution on panels ([`foresee_nn::cpu::panels`]), and its derivatives.
//!
//! With ∂L/∂a and w = ∂L/∂log π:
//!
//! ∂ log π/∂u = 2 (1 − 2 σ(−2u)) = 2 tanh u = 2a, so ∂L/∂u = (1 − a²) ∂L/∂a + 2 w a;
//! ∂L/∂mu = ∂L/∂u; ∂L/∂log σ = σ ε ∂L/∂u − w.
//!
//! ∂ log σ/∂raw depends on the [`Spread`]: [`LOG_STD_HALF_RANGE`] (1 − tanh² raw) if bounded; sigmoid(raw) / σ if
//! softplus; if clipped, 1 between the bounds and 0 elsewhere.
//!
//! [`Policy::sample`](super::Policy::sample) is the specification.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::math;
use foresee_nn::cpu::panels::{PerRow, feature, feature_mut};
use foresee_nn::cpu::simd::{self, Simd, Task};

use super::{CLIPPED_LOG_STD, LOG_STD_BOUNDS, MIN_STD, Spread};

/// The lower bound of log σ in [`Spread::Bounded`].
pub const LOG_STD_LOW: f32 = LOG_STD_BOUNDS[0] as f32;
/// [`super::LOG_STD_HALF_RANGE`] in f32.
pub const LOG_STD_HALF_RANGE: f32 = super::LOG_STD_HALF_RANGE as f32;
/// ln √(2π).
pub(crate) const LN_ROOT_2_PI: f32 = 0.918_938_5;

/// The inputs and outputs of sampling the actions of one panel.
pub struct Sample<'a> {
    /// The form of the standard deviation.
    pub spread: Spread,
    /// The network's output (mu, raw), `[2A]`.
    pub output: &'a [f32],
    /// Standard normals, `[A]`.
    pub noise: &'a [f32],
    /// Result: tanh u, `[A]`.
    pub action: &'a mut [f32],
    /// Result: log π, `[PANEL_ROWS]`.
    pub log_prob: &'a mut PerRow,
    /// Result, needed if [`gradient`] follows: σ ε, then ∂ log σ/∂raw, `[2A]`.
    pub saved: Option<&'a mut [f32]>,
}

impl Sample<'_> {
    /// Computes the results.
    pub fn fill(self) {
        simd::dispatch(self);
    }
}

impl Task for Sample<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { spread, output, noise, action, log_prob, mut saved } = self;
        let actions = action.len() / PANEL_ROWS;
        let mut sum = [0.0; PANEL_ROWS];
        for d in 0..actions {
            let (mu, raw, noise) = (feature(output, d), feature(output, actions + d), feature(noise, d));
            let (mut a, mut scaled_noise, mut slope) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
            let mut log_stds = [0.0; PANEL_ROWS];
            match spread {
                Spread::Bounded => {
                    for j in 0..PANEL_ROWS {
                        let t = math::tanh::<S>(raw[j]);
                        log_stds[j] = S::mul_add(LOG_STD_HALF_RANGE, t + 1.0, LOG_STD_LOW);
                        scaled_noise[j] = math::exp::<S>(log_stds[j]) * noise[j];
                        slope[j] = LOG_STD_HALF_RANGE * S::mul_add(-t, t, 1.0);
                    }
                }
                Spread::Softplus => {
                    for j in 0..PANEL_ROWS {
                        let std = math::softplus::<S>(raw[j]) + MIN_STD as f32;
                        log_stds[j] = math::ln::<S>(std);
                        scaled_noise[j] = std * noise[j];
                        slope[j] = math::sigmoid::<S>(raw[j]) / std;
                    }
                }
                Spread::Clipped => {
                    let [low, high] = CLIPPED_LOG_STD.map(|end| end as f32);
                    for j in 0..PANEL_ROWS {
                        log_stds[j] = raw[j].max(low).min(high);
                        scaled_noise[j] = math::exp::<S>(log_stds[j]) * noise[j];
                        slope[j] = if low < raw[j] && raw[j] < high { 1.0 } else { 0.0 };
                    }
                }
            }
            for j in 0..PANEL_ROWS {
                let log_std = log_stds[j];
                let u = mu[j] + scaled_noise[j];
                a[j] = math::tanh::<S>(u);
                let gaussian = S::mul_add(-0.5 * noise[j], noise[j], -log_std) - LN_ROOT_2_PI;
                let squash = u + math::softplus::<S>(-2.0 * u) - std::f32::consts::LN_2;
                sum[j] += S::mul_add(2.0, squash, gaussian);
            }
            *feature_mut(action, d) = a;
            if let Some(saved) = &mut saved {
                *feature_mut(saved, d) = scaled_noise;
                *feature_mut(saved, actions + d) = slope;
            }
        }
        *log_prob = sum;
    }
}

/// Replaces the numbers that [`Sample`] saved, `[2A]`, by ∂L/∂(mu, raw). Inputs are the actions and ∂L/∂a, `[A]` each,
/// and w = ∂L/∂log π of every batch row.
pub fn gradient(saved: &mut [f32], action: &[f32], grad_action: &[f32], grad_log_prob: &PerRow) {
    simd::dispatch(Gradient { saved, action, grad_action, grad_log_prob });
}

struct Gradient<'a> {
    saved: &'a mut [f32],
    action: &'a [f32],
    grad_action: &'a [f32],
    grad_log_prob: &'a PerRow,
}

impl Task for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { saved, action, grad_action, grad_log_prob } = self;
        let actions = action.len() / PANEL_ROWS;
        for d in 0..actions {
            let (a, grad_a) = (feature(action, d), feature(grad_action, d));
            let (scaled_noise, slope) = (*feature(saved, d), *feature(saved, actions + d));
            let (mut grad_mu, mut grad_raw) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
            for j in 0..PANEL_ROWS {
                grad_mu[j] = S::mul_add(grad_a[j], S::mul_add(-a[j], a[j], 1.0), 2.0 * grad_log_prob[j] * a[j]);
                grad_raw[j] = S::mul_add(grad_mu[j], scaled_noise[j], -grad_log_prob[j]) * slope[j];
            }
            *feature_mut(saved, d) = grad_mu;
            *feature_mut(saved, actions + d) = grad_raw;
        }
    }
}

/// Computes the mean actions tanh mu, `[A]`, from the network's output (mu, raw), `[2A]`.
pub fn mean(output: &[f32], action: &mut [f32]) {
    simd::dispatch(Mean { output, action });
}

struct Mean<'a> {
    output: &'a [f32],
    action: &'a mut [f32],
}

impl Task for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (a, mu) in self.action.iter_mut().zip(self.output) {
            *a = math::tanh::<S>(*mu);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use foresee_core::Stream;
    use foresee_nn::cpu::panels::pack;
    use foresee_nn::tensors;

    use super::*;
    use crate::body::Body;
    use crate::policy::Policy;

    const SPREADS: [Spread; 3] = [Spread::Bounded, Spread::Softplus, Spread::Clipped];
    const OBS: usize = 3;
    const ACTIONS: usize = 2;

    /// Returns standard normals `[PANEL_ROWS, columns]`.
    fn normals(name: &str, columns: usize) -> Vec<f32> {
        Stream::new(4, name).normals(0, PANEL_ROWS, columns)
    }

    /// Returns rows `[PANEL_ROWS, columns]` as a panel.
    fn packed(rows: &[f32], columns: usize) -> Vec<f32> {
        let mut panel = vec![0.0; rows.len()];
        pack(rows, columns, &mut panel);
        panel
    }

    #[test]
    fn the_panel_form_is_the_tensor_form() {
        let device = Device::flex();
        let (obs, noise) = (normals("obs", OBS), normals("noise", ACTIONS));
        let rows = |values: &[f32], columns| tensors::from_vec::<2>(values.to_vec(), [PANEL_ROWS, columns], &device);
        for spread in SPREADS {
            let body = Body { hidden: vec![8], ..Body::default() };
            let policy = Policy::new(&body, [OBS, ACTIONS], 0, &device).with_spread(spread);
            let want = policy.sample(rows(&obs, OBS), rows(&noise, ACTIONS));
            let output: Tensor<3> = policy.net().forward(rows(&obs, OBS).unsqueeze_dim(0));
            let output = packed(&tensors::to_vec(output), 2 * ACTIONS);
            let (mut action, mut log_prob) = (vec![0.0; ACTIONS * PANEL_ROWS], [0.0; PANEL_ROWS]);
            let noise = packed(&noise, ACTIONS);
            let (action_out, log_prob_out) = (&mut action, &mut log_prob);
            let sample = Sample {
                spread,
                output: &output,
                noise: &noise,
                action: action_out,
                log_prob: log_prob_out,
                saved: None,
            };
            sample.fill();
            let got = action.into_iter().chain(log_prob);
            let want = packed(&tensors::to_vec(want.action), ACTIONS).into_iter().chain(tensors::to_vec(want.log_prob));
            for (got, want) in got.zip(want) {
                assert!((got - want).abs() <= 1e-5 * (1.0 + want.abs()), "{spread:?}: {got}, expected {want}");
            }
        }
    }

    /// Computes c a + w log π(a) of one action entry a = tanh(mu + σ noise), in f64.
    fn loss(spread: Spread, [mu, raw]: [f64; 2], noise: f64, [c, w]: [f64; 2]) -> f64 {
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let log_std = match spread {
            Spread::Bounded => -5.0 + 3.5 * (raw.tanh() + 1.0),
            Spread::Softplus => (softplus(raw) + 1e-5).ln(),
            Spread::Clipped => raw.clamp(-20.0, 2.0),
        };
        let u = mu + log_std.exp() * noise;
        let gaussian = -0.5 * noise * noise - log_std - 0.5 * (2.0 * std::f64::consts::PI).ln();
        c * u.tanh() + w * (gaussian + 2.0 * (u + softplus(-2.0 * u) - std::f64::consts::LN_2))
    }

    #[test]
    fn gradients_are_finite_differences_of_a_scalar_program() {
        const STEP: f64 = 1e-5;
        let noise = normals("noise", ACTIONS);
        let (grad_action, grad_log_prob) = (normals("grad_action", ACTIONS), normals("grad_log_prob", 1));
        for spread in SPREADS {
            let mut output = normals("output", 2 * ACTIONS);
            if spread == Spread::Clipped {
                // Raw outputs beyond both bounds.
                let raws = output.chunks_exact_mut(2 * ACTIONS).flat_map(|row| &mut row[ACTIONS..]);
                raws.for_each(|raw| *raw *= 15.0);
                let raws = || output.chunks_exact(2 * ACTIONS).flat_map(|row| &row[ACTIONS..]);
                assert!(raws().any(|&raw| raw < -20.0) && raws().any(|&raw| raw > 2.0));
            }
            let (mut action, mut log_prob) = (vec![0.0; ACTIONS * PANEL_ROWS], [0.0; PANEL_ROWS]);
            let mut saved = vec![0.0; 2 * ACTIONS * PANEL_ROWS];
            Sample {
                spread,
                output: &packed(&output, 2 * ACTIONS),
                noise: &packed(&noise, ACTIONS),
                action: &mut action,
                log_prob: &mut log_prob,
                saved: Some(&mut saved),
            }
            .fill();
            gradient(&mut saved, &action, &packed(&grad_action, ACTIONS), feature(&grad_log_prob, 0));
            for i in 0..PANEL_ROWS * ACTIONS {
                let (batch_row, d) = (i / ACTIONS, i % ACTIONS);
                let point = [d, ACTIONS + d].map(|column| f64::from(output[batch_row * 2 * ACTIONS + column]));
                let weights = [grad_action[i], grad_log_prob[batch_row]].map(f64::from);
                for (which, column) in [d, ACTIONS + d].into_iter().enumerate() {
                    let [above, below] = [STEP, -STEP].map(|step| {
                        let mut moved = point;
                        moved[which] += step;
                        loss(spread, moved, f64::from(noise[i]), weights)
                    });
                    let (got, want) =
                        (f64::from(saved[column * PANEL_ROWS + batch_row]), (above - below) / (2.0 * STEP));
                    assert!((got - want).abs() <= 3e-4 * (1.0 + want.abs()), "{spread:?}: {got}, expected {want}");
                }
            }
        }
    }
}
