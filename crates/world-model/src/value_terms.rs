//! What a value-aware loss knows of the agent, by replay row.
//!
//! The agent stands still while the model is fitted, so all of it but the values at predicted states is computed once a
//! training call, and shared by all members, epochs, training and holdout alike.

use burn::tensor::Device;
use foresee_nn::{ValueView, tensors};

use crate::config::{LossConfig, LossKind};
use crate::loss::value_weighted;
use crate::value_weights::ValueWeights;

/// Rows whose values are taken at once: bounds the memory of one pass.
const ROWS_AT_ONCE: usize = 8192;

/// By the kind of loss.
#[derive(Clone, Debug)]
pub(crate) enum ValueTerms {
    /// `mle`, `mse`.
    None,
    /// `vagram`.
    Gradients(ValueWeights),
    /// `itervaml`.
    Values(ValueTargets),
    /// `value_weighted`: a weight by its value for every row, `[rows]`.
    Weights(Vec<f32>),
}

/// What values at predicted states start from and are compared with.
#[derive(Clone, Debug)]
pub(crate) struct ValueTargets {
    pub(crate) heads: usize,
    /// Observations, `[rows, O]`.
    pub(crate) obs: Vec<f32>,
    /// V_n at the true next states, `[rows, N]`.
    pub(crate) values: Vec<f32>,
}

impl ValueTerms {
    /// What a loss has to know of rows with these observations and next observations, `[rows, O]`.
    pub(crate) fn new(
        config: &LossConfig,
        view: &dyn ValueView,
        [obs, next_obs]: [&[f32]; 2],
        obs_dim: usize,
        device: &Device,
    ) -> Self {
        let heads = view.heads();
        let values = || values(view, next_obs, obs_dim, device);
        match config.kind {
            LossKind::Mle | LossKind::Mse => Self::None,
            LossKind::Vagram => {
                Self::Gradients(ValueWeights::new(view, next_obs, obs_dim, config.clip_quantile, device))
            }
            LossKind::Itervaml => Self::Values(ValueTargets { heads, obs: obs.to_vec(), values: values() }),
            LossKind::ValueWeighted => Self::Weights(value_weighted::weights(&values(), heads)),
        }
    }

    /// Heads, `N`, as far as the loss sees them one by one.
    pub(crate) fn heads(&self) -> usize {
        match self {
            Self::None | Self::Weights(_) => 0,
            Self::Gradients(all) => all.heads(),
            Self::Values(all) => all.heads,
        }
    }

    /// The mean norm of the value gradients, where the loss uses them.
    pub(crate) fn gradient_norm(&self) -> Option<f64> {
        match self {
            Self::Gradients(all) => Some(all.mean_norm()),
            _ => None,
        }
    }
}

/// V_n at every state `[rows, O]`: `[rows, N]`.
fn values(view: &dyn ValueView, states: &[f32], obs_dim: usize, device: &Device) -> Vec<f32> {
    let mut all = Vec::with_capacity(states.len() / obs_dim * view.heads());
    for states in states.chunks(ROWS_AT_ONCE * obs_dim) {
        let states = tensors::from_vec(states.to_vec(), [states.len() / obs_dim, obs_dim], device);
        all.extend(tensors::to_vec(view.values(states).transpose()));
    }
    all
}
