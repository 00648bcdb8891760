//! Model losses as pure functions: a row's loss from predictions, targets and weights, `[E, B]`.
//!
//! No state and no cache: what a value-aware loss needs to know of the agent is an argument. A loss's own terms are
//! averaged over rows and summed over members ([`reduce`]), whatever the loss, so that weight decay and step size mean
//! the same for all of them.
//!
//! These forms, in ordinary tensor operations, are the specification and serve every backend. In host memory a training
//! step takes [`lanes`]: the same losses with their gradients, panel by panel.

pub mod lanes;
pub mod mle;
pub mod mse;
pub mod vagram;

use burn::tensor::Tensor;

use crate::config::{Form, LossConfig, LossKind};
use crate::ensemble::{Bounds, Prediction};

/// Weight of the likelihood's pull on the log-variance bounds (PETS).
pub(crate) const BOUNDS_WEIGHT: f64 = 0.01;

/// All that a loss sees of a batch.
pub struct LossInput {
    /// What the members say.
    pub prediction: Prediction,
    /// (next_obs − obs, reward), `[E, B, O + 1]`.
    pub target: Tensor<3>,
    /// Value gradients at the true next states, `[N, E, B, O]`, for losses that ask for them.
    pub value_gradients: Option<Tensor<4>>,
    /// Whether the mean squared error is added.
    pub add_mse: bool,
}

/// Every row's loss under every member, `[E, B]`.
///
/// # Panics
/// If the loss needs a variance or value gradients that are not there; the config's check has refused such pairs.
#[must_use]
pub fn per_row(config: &LossConfig, input: &LossInput) -> Tensor<2> {
    let LossInput { prediction, target, value_gradients, add_mse } = input;
    let own = match config.kind {
        LossKind::Mle => {
            let logvar = prediction.logvar.clone().expect("`mle` needs a Gaussian head");
            return mle::per_row(prediction.mean.clone(), logvar, target.clone());
        }
        LossKind::Mse => mse::per_row(prediction.mean.clone(), target.clone()),
        LossKind::Vagram => {
            let gradients = value_gradients.clone().expect("`vagram` needs value gradients");
            let weighted = match config.form {
                Form::Bounded => vagram::bounded,
                Form::Unbounded => vagram::unbounded,
            };
            let own = weighted(prediction.mean.clone(), target.clone(), gradients);
            if *add_mse { own + mse::per_row(prediction.mean.clone(), target.clone()) } else { own }
        }
    };
    match &prediction.logvar {
        // The variance is fitted by the likelihood around the detached mean; of the likelihood's gradient the mean feels
        // what passes through the hidden layers that both outputs share.
        Some(logvar) => own + mle::per_row(prediction.mean.clone().detach(), logvar.clone(), target.clone()),
        None => own,
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

/// Every row's holdout score under every member, `[E, B]`: the squared error for the likelihood, whose own value can
/// fall by noise alone (as mbrl-lib scores it); the loss itself, without what fits a variance, for the others.
#[must_use]
pub fn score_per_row(config: &LossConfig, input: &LossInput) -> Tensor<2> {
    let mean = input.prediction.mean.clone();
    if config.kind == LossKind::Mle {
        return mse::per_row(mean, input.target.clone());
    }
    let noise_free = LossInput {
        prediction: Prediction { mean, logvar: None },
        target: input.target.clone(),
        value_gradients: input.value_gradients.clone(),
        add_mse: input.add_mse,
    };
    per_row(config, &noise_free)
}

/// `[E, B, C] -> [E, B]`, the mean over channels.
fn mean_over_channels(x: Tensor<3>) -> Tensor<2> {
    x.mean_dim(2).squeeze_dim(2)
}
