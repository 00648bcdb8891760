//! Predictions: what networks say of rows, and one imagined step made of it.
//!
//! A Gaussian head's log-variance is softly clamped between learned bounds (PETS; Chua et al. 2018, appendix A.1):
//! lv ← max − softplus(max − lv); lv ← min + softplus(lv − min).

use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};
use foresee_nn::cpu::Part;
use foresee_nn::host::Slot;
use foresee_nn::{Mlp, Parameters, tensors};

/// What every member predicts for every row; `O + 1` channels, reward last.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Mean of (next_obs − obs, reward), `[E, B, O + 1]`.
    pub mean: Tensor<3>,
    /// Log-variance, `[E, B, O + 1]`, where the head is Gaussian.
    pub logvar: Option<Tensor<3>>,
}

/// The bounds of the log-variance, low then high, `[1, 1, 2 (O + 1)]`.
#[derive(Clone, Debug)]
pub struct Bounds(Slot);

impl Bounds {
    /// Bounds `[O + 1]` each.
    #[must_use]
    pub fn new(min: &[f32], max: &[f32], device: &Device) -> Self {
        Self(Slot::new(tensors::from_vec([min, max].concat(), [1, 1, 2 * min.len()], device)))
    }

    /// Channels, `O + 1`.
    fn channels(&self) -> usize {
        self.0.get().dims()[2] / 2
    }

    fn both(&self) -> [Tensor<3>; 2] {
        let channels = self.channels();
        [0, channels].map(|start| self.0.get().clone().narrow(2, start, channels))
    }

    /// The soft clamp.
    #[must_use]
    pub fn clamp(&self, raw: Tensor<3>) -> Tensor<3> {
        let [min, max] = self.both();
        let below = max.clone() - softplus(max - raw, 1.0);
        min.clone() + softplus(below - min, 1.0)
    }

    /// Σ max − Σ min: what keeps the bounds from drifting apart.
    #[must_use]
    pub fn width(&self) -> Tensor<1> {
        let [min, max] = self.both();
        max.sum() - min.sum()
    }
}

impl Parameters for Bounds {
    fn slot(&self) -> &Slot {
        &self.0
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.0
    }

    fn parts(&self) -> Vec<Part> {
        let shape = [1, self.channels()];
        [("min_logvar", 0), ("max_logvar", shape[1])]
            .map(|(name, offset)| Part { name: name.into(), offset, shape })
            .into()
    }
}

/// A prediction of `B` rows.
#[derive(Clone, Debug)]
pub struct ModelStep {
    /// Next observations, `[B, O]`.
    pub next_obs: Tensor<2>,
    /// Rewards, `[B]`.
    pub reward: Tensor<1>,
}

/// The prediction of networks and bounds that may be tracked; `channels` is `O + 1`.
#[must_use]
pub fn predict(net: &Mlp, bounds: Option<&Bounds>, inputs: Tensor<3>, channels: usize) -> Prediction {
    let out = net.forward(inputs);
    let Some(bounds) = bounds else { return Prediction { mean: out, logvar: None } };
    let raw = out.clone().narrow(2, channels, channels);
    Prediction { mean: out.narrow(2, 0, channels), logvar: Some(bounds.clamp(raw)) }
}
