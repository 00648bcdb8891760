//! The values of an agent, and their gradients, as a value-aware model loss queries them.
//!
//! The trait is defined in this crate so that the world model and the agent do not depend on each other.

use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cpu::{PANEL_ROWS, panels};
use crate::tensors;

/// A state-value function with `N` heads, V_n(s) = Q_n(s, a(s)) for an actor-critic.
///
/// A derivative may hold the action fixed, ∂Q_n/∂s at a(s) (as in VaGraM, pairlab/vagram @ f20a0a3), or let it move
/// with the state. Each view decides, and all of its methods agree. The networks' weights are constants.
pub trait ValueView: Sync {
    /// Number of heads, `N`.
    fn heads(&self) -> usize;

    /// The values of states, `[B, O] -> [N, B]`, differentiable in `states` if they are tracked.
    fn values(&self, states: Tensor<2>) -> Tensor<2>;

    /// The gradients dV_n/ds at every row, `[B, O] -> [N, B, O]`, outside autodiff.
    fn value_gradients(&self, states: Tensor<2>) -> Tensor<3>;

    /// Computes the values of one panel of states `[O][PANEL_ROWS]` ([`panels`]) into `values`, `[N][PANEL_ROWS]`, and
    /// dV_n/ds into `gradients`, `[N][O][PANEL_ROWS]`, if given. It runs in host memory and on the calling thread.
    /// All of its rows must be finite.
    ///
    /// The default implementation goes through tensors; a view that trains models in host memory provides a faster one.
    fn of_panel(&self, states: &[f32], values: &mut [f32], gradients: Option<&mut [f32]>) {
        let obs_dim = states.len() / PANEL_ROWS;
        let mut rows = vec![0.0; states.len()];
        panels::unpack(states, obs_dim, &mut rows);
        let rows = tensors::from_vec(rows, [PANEL_ROWS, obs_dim], &Device::flex());
        values.copy_from_slice(&tensors::to_vec(self.values(rows.clone())));
        if let Some(gradients) = gradients {
            let found = tensors::to_vec(self.value_gradients(rows));
            for (rows, panel) in found.chunks_exact(states.len()).zip(gradients.chunks_exact_mut(states.len())) {
                panels::pack(rows, obs_dim, panel);
            }
        }
    }
}

/// The value heads of an agent that a loss queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueHeads {
    /// All critics and all target critics.
    #[default]
    All,
    /// The target critics only.
    Target,
}

/// The view for a loss that needs no values: it has no heads.
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
