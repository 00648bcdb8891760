//! IterVAML: the squared error of the value at the predicted state. The model has to lead to states of the right value
//! (Farahmand, "Iterative Value-Aware Model Learning", NeurIPS 2018). This is the sample loss of a prediction without
//! noise.
//!
//! With the agent's values V_n and the error r_err of the reward:
//!
//! (1/N) Σ_n (V_n(obs + mean_obs) − V_n(next_obs))² + r_err²
//!
//! If the model predicts next observations, the predicted state is mean_obs itself. If the value is linear, the loss
//! equals VaGraM's unbounded form.

mod panel;

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::Kind;
use foresee_nn::ValueView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CallRows, LossInput, ModelLoss, Needs, PanelLoss, RowTerms, errors, kind_of};

/// IterVAML. It has no keys of its own. Its row terms are the values at the true next states, `[N, rows, 1]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IterVaml {}

pub(super) fn kind() -> Kind<Arc<dyn ModelLoss>> {
    let line = "squared error of the value at the predicted next state (Farahmand 2018)";
    kind_of::<IterVaml>("itervaml", line, |_| None)
}

impl ModelLoss for IterVaml {
    fn needs(&self) -> Needs {
        Needs::PredictedStates
    }

    fn row_terms(&self, rows: &CallRows<'_>, view: &dyn ValueView) -> RowTerms {
        rows.values(view)
    }

    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        let values = input.terms().squeeze_dim(3);
        per_row(input.prediction.mean.clone(), input.target.clone(), input.predicted_values(), values)
    }

    fn panel(&self) -> Option<&dyn PanelLoss> {
        Some(self)
    }
}

/// Computes V_n at the predicted next states, differentiable in the mean: offsets of the states `[E, B, O]` or `[1, B,
/// O]`, means `[E, B, O + 1]` -> `[N, E, B]`.
#[must_use]
pub fn predicted_values(view: &dyn ValueView, state_offset: Tensor<3>, mean: Tensor<3>) -> Tensor<3> {
    let [members, rows, channels] = mean.dims();
    let states = state_offset + mean.narrow(2, 0, channels - 1);
    view.values(states.reshape([members * rows, channels - 1])).reshape([view.heads(), members, rows])
}

/// Computes the loss of every row: means `[E, B, O + 1]`, targets `[E, B, O + 1]`, values at the predicted and at the
/// true next states `[N, E, B]` -> `[E, B]`. Targets and true values may also be shared by all members:
/// `[1, B, O + 1]`, `[N, 1, B]`.
#[must_use]
pub fn per_row(mean: Tensor<3>, target: Tensor<3>, predicted: Tensor<3>, values: Tensor<3>) -> Tensor<2> {
    let (_, reward) = errors(mean, target);
    (predicted - values).square().mean_dim(0).squeeze_dim::<2>(0) + reward
}
