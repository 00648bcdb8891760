//! The outputs of the networks for a batch of rows, and one imagined step that is computed from them.
//!
//! The log-variance of a head with a variance is softly clamped between learned bounds (PETS; Chua et al. 2018,
//! appendix A.1): lv ← max − softplus(max − lv); lv ← min + softplus(lv − min).

use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor};
use foresee_nn::cpu::Part;
use foresee_nn::host::TensorSlot;
use foresee_nn::{Mlp, Parameters, tensors};

/// The prediction of every member for every row. There are `O + 1` channels, the reward last.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Mean of (next_obs − obs, reward), or of (next_obs, reward) if the model predicts next observations,
    /// `[E, B, O + 1]`.
    pub mean: Tensor<3>,
    /// Log-variance, `[E, B, O + 1]`, if the head has a variance.
    pub logvar: Option<Tensor<3>>,
}

/// The learned bounds of the log-variance, low then high, `[1, 1, 2 (O + 1)]`.
#[derive(Clone, Debug)]
pub struct Bounds(TensorSlot);

impl Bounds {
    /// Returns bounds with the values `min` and `max`, `[O + 1]` each.
    #[must_use]
    pub fn new(min: &[f32], max: &[f32], device: &Device) -> Self {
        Self(TensorSlot::new(tensors::from_vec([min, max].concat(), [1, 1, 2 * min.len()], device)))
    }

    /// Number of channels, `O + 1`.
    fn channels(&self) -> usize {
        self.0.get().dims()[2] / 2
    }

    fn both(&self) -> [Tensor<3>; 2] {
        let channels = self.channels();
        [0, channels].map(|start| self.0.get().clone().narrow(2, start, channels))
    }

    /// Computes the soft clamp of raw log-variances.
    #[must_use]
    pub fn clamp(&self, raw: Tensor<3>) -> Tensor<3> {
        let [min, max] = self.both();
        let below = max.clone() - softplus(max - raw, 1.0);
        min.clone() + softplus(below - min, 1.0)
    }

    /// Computes Σ max − Σ min. The training loss contains this width with a small weight, which keeps the bounds from
    /// drifting apart.
    #[must_use]
    pub fn width(&self) -> Tensor<1> {
        let [min, max] = self.both();
        max.sum() - min.sum()
    }
}

impl Parameters for Bounds {
    fn slot(&self) -> &TensorSlot {
        &self.0
    }

    fn slot_mut(&mut self) -> &mut TensorSlot {
        &mut self.0
    }

    fn parts(&self) -> Vec<Part> {
        let shape = [1, self.channels()];
        [("min_logvar", 0), ("max_logvar", shape[1])]
            .map(|(name, offset)| Part { name: name.into(), offset, shape })
            .into()
    }
}

/// One imagined step of `B` rows.
#[derive(Clone, Debug)]
pub struct ModelStep {
    /// Next observations, `[B, O]`.
    pub next_obs: Tensor<2>,
    /// Rewards, `[B]`.
    pub reward: Tensor<1>,
}

/// Returns the prediction of `net` for normalised inputs; `channels` is `O + 1`. The parameters of `net` and `bounds`
/// may be tracked by autodiff.
#[must_use]
pub fn predict(net: &Mlp, bounds: Option<&Bounds>, inputs: Tensor<3>, channels: usize) -> Prediction {
    let out = net.forward(inputs);
    let Some(bounds) = bounds else { return Prediction { mean: out, logvar: None } };
    let raw = out.clone().narrow(2, channels, channels);
    Prediction { mean: out.narrow(2, 0, channels), logvar: Some(bounds.clamp(raw)) }
}
