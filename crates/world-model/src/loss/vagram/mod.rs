//! VaGraM: a squared error weighted by the gradient of the value function. The model has to be accurate where the value
//! function is steep (Voelcker, Liao, Garg, Farahmand, "Value Gradient weighted Model-Based Reinforcement Learning",
//! ICLR 2022, section 3).
//!
//! With g_n = ∇V_n(s') at the true next state, err = mean − target of the observation, and r_err the error of the
//! reward:
//!
//! ```text
//! bounded    (1/N) Σ_n (1/O) Σ_d (g_nd err_d)² + r_err²
//! unbounded  (1/N) Σ_n (Σ_d g_nd err_d)² + r_err²
//! ```
//!
//! A gradient belongs to a replay row. Each member's row therefore has its own gradient, in every batch, epoch and
//! split. (The cache of the reference code stores gradients by the position in the batch, so most members get the
//! gradient of another row.)

mod clip;
mod panel;

use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::Kind;
use foresee_core::limits::refusal;
use foresee_nn::ValueView;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use clip::root_mean_squares;
pub use clip::{clip_to_quantile, clipped_gradients, mean_norm, quantile};

use super::{CallRows, LossInput, ModelLoss, Needs, PanelLoss, RowTerms, errors, kind_of};

foresee_core::metrics! {
    /// All metrics of this loss.
    METRICS:
    /// Mean norm of the clipped value gradients over heads and real rows, the weights of the loss `vagram`.
    GRADIENT_NORM = "vagram/gradient_norm", "reward units per observation unit", Neither,
        "it settles; steady growth is a sign of diverging critics";
}

/// The form of the loss: the paper's upper bound, or the expression that it bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Σ_d (∂_d V · err_d)²: the paper's loss, by Cauchy-Schwarz.
    #[default]
    Bounded,
    /// (∇V · err)²: a form of rank one. Errors in directions along which the value does not change cost nothing.
    Unbounded,
}

/// VaGraM, with its keys of `[model.loss]`. Its row terms are the clipped value gradients, `[N, rows, O]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Vagram {
    /// Form of the loss: `bounded` or `unbounded`.
    pub form: Bound,
    /// Gradients longer than this quantile of their head's norms are shortened to it. 1.0 clips nothing.
    pub clip_quantile: f64,
}

impl Default for Vagram {
    fn default() -> Self {
        Self { form: Bound::Bounded, clip_quantile: 0.95 }
    }
}

pub(super) fn kind() -> Kind<Arc<dyn ModelLoss>> {
    let line = "squared error weighted by the gradient of the value function (Voelcker et al. 2022)";
    kind_of::<Vagram>("vagram", line, |&Vagram { clip_quantile, .. }| {
        let allowed = "above 0 and at most 1, where 1 clips nothing";
        (!(clip_quantile > 0.0 && clip_quantile <= 1.0))
            .then(|| refusal("model.loss.clip_quantile", clip_quantile, allowed, Vagram::default().clip_quantile))
    })
}

impl ModelLoss for Vagram {
    fn needs(&self) -> Needs {
        Needs::NextStates
    }

    fn row_terms(&self, rows: &CallRows<'_>, view: &dyn ValueView) -> RowTerms {
        clipped_gradients(rows, view, self.clip_quantile)
    }

    fn reduced_terms(&self, gradients: RowTerms) -> RowTerms {
        match self.form {
            Bound::Bounded => root_mean_squares(&gradients),
            Bound::Unbounded => gradients,
        }
    }

    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        let form = match self.form {
            Bound::Bounded => bounded,
            Bound::Unbounded => unbounded,
        };
        form(input.prediction.mean.clone(), input.target.clone(), input.terms())
    }

    fn panel(&self) -> Option<&dyn PanelLoss> {
        Some(self)
    }

    fn diagnostics(&self, terms: &RowTerms) -> Vec<(&'static str, f64)> {
        vec![(GRADIENT_NORM, mean_norm(terms))]
    }
}

/// Computes the bounded form: means `[E, B, O + 1]`, targets `[E, B, O + 1]`, gradients `[N, E, B, O]` -> `[E, B]`.
/// Targets and gradients may also be shared by all members: `[1, B, O + 1]`, `[N, 1, B, O]`.
#[must_use]
pub fn bounded(mean: Tensor<3>, target: Tensor<3>, gradients: Tensor<4>) -> Tensor<2> {
    let [members, rows, _] = mean.dims();
    let (err, reward) = errors(mean, target);
    // (g err)² = g² err²: the heads are averaged before the error enters, so autodiff has one term per row.
    let squares = gradients.square();
    let weight = if squares.dims()[0] == 1 { squares } else { squares.mean_dim(0) };
    (weight * err.unsqueeze_dim::<4>(0).square()).mean_dim(3).reshape([members, rows]) + reward
}

/// Computes the unbounded form: means `[E, B, O + 1]`, targets `[E, B, O + 1]`, gradients `[N, E, B, O]` -> `[E, B]`.
/// Targets and gradients may also be shared by all members: `[1, B, O + 1]`, `[N, 1, B, O]`.
#[must_use]
pub fn unbounded(mean: Tensor<3>, target: Tensor<3>, gradients: Tensor<4>) -> Tensor<2> {
    let [members, rows, _] = mean.dims();
    let (err, reward) = errors(mean, target);
    (gradients * err.unsqueeze_dim::<4>(0)).sum_dim(3).square().mean_dim(0).reshape([members, rows]) + reward
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::mse;
    use burn::tensor::Device;
    use foresee_core::Stream;
    use foresee_nn::tensors;

    fn random<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
        let values = Stream::new(5, name).normals(0, shape.iter().product(), 1);
        tensors::from_vec(values, shape, &Device::flex())
    }

    #[test]
    fn vagram_with_a_constant_gradient_is_a_scaled_mse() {
        let (mean, target) = (random("mean", [2, 5, 4]), random("target", [2, 5, 4]));
        let gradient = 1.7_f32;
        let gradients = tensors::from_vec(vec![gradient; 3 * 2 * 5 * 3], [3, 2, 5, 3], &Device::flex());
        let got = tensors::to_vec(bounded(mean.clone(), target.clone(), gradients));
        let obs = mse::per_row(mean.clone().narrow(2, 0, 3), target.clone().narrow(2, 0, 3));
        let reward = mse::per_row(mean.narrow(2, 3, 1), target.narrow(2, 3, 1));
        let want = tensors::to_vec(obs.mul_scalar(gradient * gradient) + reward);
        for (got, want) in got.iter().zip(&want) {
            assert!((got - want).abs() < 1e-5 * (1.0 + want.abs()), "{got}, expected {want}");
        }
    }

    #[test]
    fn the_unbounded_form_is_blind_across_the_gradient_and_the_bounded_one_is_not() {
        let device = Device::flex();
        let target = Tensor::<3>::zeros([1, 1, 3], &device);
        let mean = tensors::from_vec(vec![1.0, -1.0, 0.0], [1, 1, 3], &device);
        let gradients = tensors::from_vec(vec![2.0, 2.0], [1, 1, 1, 2], &device);
        assert_eq!(tensors::to_f32(unbounded(mean.clone(), target.clone(), gradients.clone())), 0.0);
        assert_eq!(tensors::to_f32(bounded(mean, target, gradients)), 4.0);
    }

    #[test]
    fn a_rows_loss_depends_on_neither_its_place_in_the_batch_nor_its_neighbours() {
        let (mean, target, gradients) =
            (random("mean", [2, 6, 4]), random("target", [2, 6, 4]), random("g", [3, 2, 6, 3]));
        for form in [bounded, unbounded] {
            let all = tensors::to_vec(form(mean.clone(), target.clone(), gradients.clone()));
            let flipped = form(mean.clone().flip([1]), target.clone().flip([1]), gradients.clone().flip([2])).flip([1]);
            assert_eq!(all, tensors::to_vec(flipped));
            let alone =
                form(mean.clone().narrow(1, 4, 1), target.clone().narrow(1, 4, 1), gradients.clone().narrow(2, 4, 1));
            assert_eq!(tensors::to_vec(alone), [all[4], all[10]]);
        }
    }
}
