//! Huber's loss with a weight per channel:
//!
//! mean_c w_c h(err_c), h(e) = e²/2 for |e| <= δ, else δ (|e| − δ/2)
//!
//! over the `O + 1` channels, the reward last. With a = |e| and q = min(a, δ), both cases are q²/2 + δ (a − q).

use foresee::loss::panel::{Panel, Row};
use foresee::loss::{ChannelLoss, LossInput, ModelLoss, PanelLoss};
use foresee::nn::cpu::simd::Simd;
use foresee::tensor::{Tensor, from_vec};
use serde::{Deserialize, Serialize};

/// The loss. Its fields are its keys in `[model.loss]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Huber {
    /// δ, in the channels' own units: the error at which the parabola becomes a line.
    pub delta: f64,
    /// The weights w_c, `[O + 1]`. Channels without a weight have weight 1.
    pub channel_weights: Vec<f64>,
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0, channel_weights: Vec::new() }
    }
}

impl Huber {
    /// Returns the loss if its keys are valid.
    ///
    /// # Errors
    /// A message with a hint.
    pub fn checked(self) -> Result<Self, String> {
        if self.delta.is_nan() || self.delta <= 0.0 {
            return Err(format!("`model.loss.delta` is {}; it must be positive\nhint: the default is 1", self.delta));
        }
        if !self.channel_weights.iter().all(|w| *w >= 0.0) {
            let weights = &self.channel_weights;
            return Err(format!("`model.loss.channel_weights` is {weights:?}; weights must be at least 0"));
        }
        Ok(self)
    }

    /// Returns w_c.
    #[must_use]
    pub fn weight(&self, channel: usize) -> f64 {
        self.channel_weights.get(channel).copied().unwrap_or(1.0)
    }
}

impl ModelLoss for Huber {
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        let channels = input.target.dims()[2];
        let weights = (0..channels).map(|c| self.weight(c) as f32).collect();
        let a = (input.prediction.mean.clone() - input.target.clone()).abs();
        let q = a.clone().clamp_max(self.delta);
        let h = q.clone().square().mul_scalar(0.5) + (a - q).mul_scalar(self.delta);
        (h * from_vec(weights, [1, 1, channels], &input.target.device())).mean_dim(2).squeeze_dim(2)
    }
}

/// [`Huber`] with a panel form.
#[derive(Clone, Debug)]
pub struct FusedHuber(pub Huber);

impl ModelLoss for FusedHuber {
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        self.0.per_row(input)
    }

    fn panel(&self) -> Option<&dyn PanelLoss> {
        Some(self)
    }
}

impl ChannelLoss for FusedHuber {
    #[inline(always)]
    fn channel<S: Simd>(&self, panel: &Panel<'_>, c: usize, loss: &mut Row, slope: &mut Row) {
        let (delta, weight) = (self.0.delta as f32, self.0.weight(c) as f32 / panel.channels as f32);
        for (j, e) in panel.error(c).into_iter().enumerate() {
            let a = e.abs();
            let q = a.min(delta);
            loss[j] += weight * (0.5 * q * q + delta * (a - q));
            // h'(e) is e, limited to ±δ.
            slope[j] += weight * e.clamp(-delta, delta);
        }
    }
}
