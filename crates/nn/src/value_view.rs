//! What a value-aware model loss may ask of an agent: its values, and where they are steep.
//!
//! The trait stands here so that the world model and the agent need not know each other.

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::cpu::{LANES, panels};
use crate::tensors;

/// A state-value function with `N` heads, V_n(s) = Q_n(s, a(s)) for an actor-critic.
///
/// Whether a derivative holds the action fixed, ∂Q_n/∂s at a(s) (as in VaGraM, pairlab/vagram @ f20a0a3), or moves it
/// with the state is the view's to say, and the same for all methods. The networks' weights are constants.
pub trait ValueView: Sync {
    /// Heads, `N`.
    fn heads(&self) -> usize;

    /// `[B, O] -> [N, B]`, differentiable in `states` when they are tracked.
    fn values(&self, states: Tensor<2>) -> Tensor<2>;

    /// `[B, O] -> [N, B, O]`: dV_n/ds at every row, outside autodiff.
    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3>;

    /// One panel of states `[O][LANES]` ([`panels`]), every lane of it finite, in host memory and on this thread: values
    /// into `[N][LANES]`, and where they are wanted dV_n/ds into `[N][O][LANES]`.
    ///
    /// This form goes through tensors; a view that trains models in host memory brings a faster one.
    fn of_panel(&self, states: &[f32], values: &mut [f32], gradients: Option<&mut [f32]>) {
        let obs_dim = states.len() / LANES;
        let mut rows = vec![0.0; states.len()];
        panels::unpack(states, obs_dim, &mut rows);
        let rows = tensors::from_vec(rows, [LANES, obs_dim], &Device::flex());
        values.copy_from_slice(&tensors::to_vec(self.values(rows.clone())));
        if let Some(gradients) = gradients {
            let found = tensors::to_vec(self.value_gradients(rows));
            for (rows, panel) in found.chunks_exact(states.len()).zip(gradients.chunks_exact_mut(states.len())) {
                panels::pack(rows, obs_dim, panel);
            }
        }
    }
}

/// Which of an agent's value heads are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueHeads {
    /// All critics and all target critics.
    #[default]
    All,
    /// The target critics alone.
    Target,
}

/// The view of a loss that asks for nothing: no heads.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoValues;

impl ValueView for NoValues {
    fn heads(&self) -> usize {
        0
    }

    fn values(&self, states: Tensor<2>) -> Tensor<2> {
        Tensor::zeros([0, states.dims()[0]], &states.device())
    }

    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3> {
        let [rows, obs_dim] = states.dims();
        Tensor::zeros([0, rows, obs_dim], &states.device())
    }
}
