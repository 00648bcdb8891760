//! Model losses as pure functions: a row's loss from predictions, targets and weights, `[E, B]`.
//!
//! No state and no cache: what a value-aware loss needs to know of the agent is an argument. A loss's own terms are
//! averaged over rows and summed over members ([`reduce`]), whatever the loss, so that weight decay and step size mean
//! the same for all of them.
//!
//! These forms, in ordinary tensor operations, are the specification and serve every backend. In host memory a training
//! step takes [`lanes`]: the same losses with their gradients, panel by panel.

pub mod itervaml;
pub mod lanes;
pub mod mle;
pub mod mse;
pub mod vagram;
pub mod value_weighted;

use burn::tensor::Tensor;

use crate::config::{Form, LossConfig, LossKind};
use crate::ensemble::{Bounds, Prediction};

/// Weight of the likelihood's pull on the log-variance bounds (PETS).
pub(crate) const BOUNDS_WEIGHT: f64 = 0.01;

/// What a value-aware loss asks of the agent.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a batch")]
pub enum ValueInput {
    /// `mle`, `mse`: nothing.
    None,
    /// `vagram`: value gradients at the true next states, `[N, E, B, O]`.
    Gradients(Tensor<4>),
    /// `itervaml`: values at the predicted and at the true next states, `[N, E, B]` each.
    Values {
        /// Differentiable in the prediction.
        predicted: Tensor<3>,
        /// Constants.
        target: Tensor<3>,
    },
    /// `value_weighted`: the rows' weights by their values, `[E, B]`.
    Weights(Tensor<2>),
}

/// All that a loss sees of a batch.
pub struct LossInput {
    /// What the members say.
    pub prediction: Prediction,
    /// (next_obs − obs, reward), `[E, B, O + 1]`.
    pub target: Tensor<3>,
    /// What the loss asks of the agent.
    pub values: ValueInput,
    /// Whether a value-aware loss is given the mean squared error too.
    pub add_mse: bool,
    /// What each row counts, `[E, B]`; once where there are none.
    pub row_weights: Option<Tensor<2>>,
}

/// Every row's loss under every member, `[E, B]`.
///
/// # Panics
/// If the loss needs a variance or an answer of the agent that is not there; the config's check has refused such pairs.
#[must_use]
pub fn per_row(config: &LossConfig, input: &LossInput) -> Tensor<2> {
    let LossInput { prediction: Prediction { mean, logvar }, target, .. } = input;
    let loss = match logvar {
        Some(logvar) if config.kind == LossKind::Mle => mle::per_row(mean.clone(), logvar.clone(), target.clone()),
        // The variance is fitted by the likelihood around the detached mean; of the likelihood's gradient the mean feels
        // what passes through the hidden layers that both outputs share.
        Some(logvar) => of_mean(config, input) + mle::per_row(mean.clone().detach(), logvar.clone(), target.clone()),
        None if config.kind == LossKind::Mle => panic!("`mle` needs a Gaussian head"),
        None => of_mean(config, input),
    };
    weighted(loss, input)
}

/// Every row's holdout score under every member, `[E, B]`: the squared error for the likelihood, whose own value can
/// fall by noise alone (as mbrl-lib scores it); the loss itself, without what fits a variance, for the others.
#[must_use]
pub fn score_per_row(config: &LossConfig, input: &LossInput) -> Tensor<2> {
    weighted(of_mean(config, input), input)
}

/// What a row's error of the mean costs, `[E, B]`.
fn of_mean(config: &LossConfig, input: &LossInput) -> Tensor<2> {
    let (mean, target) = (input.prediction.mean.clone(), input.target.clone());
    let own = match (config.kind, input.values.clone()) {
        (LossKind::Mle | LossKind::Mse, _) => return mse::per_row(mean, target),
        (LossKind::Vagram, ValueInput::Gradients(gradients)) => {
            let form = match config.form {
                Form::Bounded => vagram::bounded,
                Form::Unbounded => vagram::unbounded,
            };
            form(mean.clone(), target.clone(), gradients)
        }
        (LossKind::Itervaml, ValueInput::Values { predicted, target: values }) => {
            itervaml::per_row(mean.clone(), target.clone(), predicted, values)
        }
        (LossKind::ValueWeighted, ValueInput::Weights(weights)) => {
            value_weighted::per_row(mean.clone(), target.clone(), weights)
        }
        (kind, values) => panic!("`{}` cannot do with {values:?}", kind.name()),
    };
    if input.add_mse { own + mse::per_row(mean, target) } else { own }
}

fn weighted(per_row: Tensor<2>, input: &LossInput) -> Tensor<2> {
    match &input.row_weights {
        Some(weights) => per_row * weights.clone(),
        None => per_row,
    }
}

/// The number to minimise: mean over rows, sum over members, and the likelihood's pull on the bounds.
#[must_use]
pub fn reduce(per_row: Tensor<2>, bounds: Option<&Bounds>) -> Tensor<1> {
    let loss = per_row.mean_dim(1).sum();
    match bounds {
        Some(bounds) => loss + bounds.width().mul_scalar(BOUNDS_WEIGHT),
        None => loss,
    }
}

/// The error over the observation `[E, B, O]`, and the squared error of the reward `[E, B]`.
fn errors(mean: Tensor<3>, target: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
    let channels = mean.dims()[2];
    let err = mean - target;
    let reward = err.clone().narrow(2, channels - 1, 1).square().squeeze_dim(2);
    (err.narrow(2, 0, channels - 1), reward)
}

/// `[E, B, C] -> [E, B]`, the mean over channels.
fn mean_over_channels(x: Tensor<3>) -> Tensor<2> {
    x.mean_dim(2).squeeze_dim(2)
}
