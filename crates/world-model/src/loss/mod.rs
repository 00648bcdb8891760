//! The losses that train a model. A loss maps a prediction and its target to one number per row.
//!
//! A loss is a type that implements [`ModelLoss`]. The implementation states what the loss needs from the agent, and
//! computes the loss of every row in ordinary tensor operations. This tensor form is the specification and runs on
//! every device. A loss may add a faster second form that works on panels of rows in host memory ([`panel`]); a test
//! beside it checks that both forms agree. A loss without a panel form trains on every device through the fused network
//! and autodiff.
//!
//! A loss covers the error of the predicted mean; only the likelihood [`mle`] covers the variance too. The parts that
//! are common to all losses are added here: the squared error while the critic is young ([`Extras::add_mse`]), the
//! likelihood that fits the variance of the head around the mean of any other loss, and the row weights. The
//! training loss is the mean over rows and the sum over members ([`reduce`]), so weight decay and step size mean the
//! same for all losses.
//!
//! Every loss has a folder with its specification, its panel form and the test that both agree. A new loss is a new
//! folder and one word in the list below. A loss of another crate is added to the list at run time
//! ([`foresee_core::Kinds::add`]).

pub mod panel;
mod terms;

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::{Kind, Kinds};
use foresee_nn::ValueView;
use schemars::JsonSchema;

use crate::prediction::{Bounds, Prediction};
pub use panel::{ChannelLoss, PanelLoss};
pub use terms::{CallRows, DeviceTransitions, RowTerms, VALUE_ROWS_PER_PASS};

/// Weight of the width of the log-variance bounds in the training loss (PETS). It pulls the bounds together.
pub(crate) const BOUNDS_WEIGHT: f64 = 0.01;

/// The losses that a config can choose, by name.
pub type LossKinds = Kinds<Arc<dyn ModelLoss>>;

/// Declares the modules of the shipped losses and lists their kinds.
macro_rules! losses {
    ($($loss:ident),* $(,)?) => {
        $(pub mod $loss;)*

        /// Returns the losses that this crate ships, in the order in which they are listed for users.
        #[must_use]
        pub fn shipped() -> LossKinds {
            Kinds::new([$($loss::kind()),*])
        }
    };
}

losses![mle, mse, huber, vagram, itervaml, value_weighted];

/// The information about the agent that a loss needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the loss is the same for every agent.
    #[default]
    Nothing,
    /// Row terms derived from the true next states, once per training call ([`ModelLoss::row_terms`]).
    NextStates,
    /// Row terms as with [`Needs::NextStates`], and in every gradient step the values of the predicted states
    /// ([`LossInput::predicted_values`]).
    PredictedStates,
}

/// A loss that trains a model's mean.
///
/// ```
/// use burn::tensor::Tensor;
/// use foresee_world_model::loss::{LossInput, ModelLoss};
///
/// /// The absolute error, mean over observation entries and reward.
/// #[derive(Debug)]
/// struct Absolute;
///
/// impl ModelLoss for Absolute {
///     fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
///         (input.prediction.mean.clone() - input.target.clone()).abs().mean_dim(2).squeeze_dim(2)
///     }
/// }
/// ```
pub trait ModelLoss: Debug + Send + Sync {
    /// Returns the information that the loss needs from the agent. A loss that needs information from the agent is
    /// called *value-aware*. During the first `model.loss.add_mse_until` real steps after exploration, the squared
    /// error is added to a value-aware loss, because the critics have not learned enough yet.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// Returns true if the loss itself fits the variance, and therefore requires a head with a variance. For any other
    /// loss, the likelihood fits the variance, if the head has one, around the detached mean.
    fn fits_variance(&self) -> bool {
        false
    }

    /// Returns the numbers that the loss needs from the agent for every row of a training call, in the order of the
    /// rows. They are computed once per call, because the agent does not change during the call. The trainer panics if
    /// the number of rows differs from the call's.
    fn row_terms(&self, rows: &CallRows<'_>, view: &dyn ValueView) -> RowTerms {
        let _ = (rows, view);
        RowTerms::default()
    }

    /// Returns smaller row terms that can replace `terms` in tensor operations: [`ModelLoss::per_row`] must give the
    /// same loss with them up to rounding. These terms are kept on a device and gathered for every batch. By default
    /// `terms` are returned unchanged.
    fn reduced_terms(&self, terms: RowTerms) -> RowTerms {
        terms
    }

    /// Computes the loss of every row under every member, `[E, B]`, differentiable in the prediction.
    ///
    /// If targets are normalised, a value-aware loss receives predictions and targets in the task's own units, which
    /// are the units of the agent's values. Any other loss receives them normalised.
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2>;

    /// Returns the loss that scores the holdout, if it is not this one. The scoring loss must [need](ModelLoss::needs)
    /// nothing from the agent.
    fn score(&self) -> Option<&dyn ModelLoss> {
        None
    }

    /// Returns the panel form, if the loss has one: `Some(self)` for a type that implements [`ChannelLoss`].
    fn panel(&self) -> Option<&dyn PanelLoss> {
        None
    }

    /// Returns numbers about the row terms of a training call by metric name. They are reported with the fit.
    fn diagnostics(&self, terms: &RowTerms) -> Vec<(&'static str, f64)> {
        let _ = terms;
        Vec::new()
    }
}

impl dyn ModelLoss + '_ {
    /// Returns true if the loss needs information from the agent.
    #[must_use]
    pub fn is_value_aware(&self) -> bool {
        self.needs() != Needs::Nothing
    }

    /// Returns the loss that scores the holdout: [`ModelLoss::score`], or else this loss.
    #[must_use]
    pub fn scoring(&self) -> &dyn ModelLoss {
        self.score().unwrap_or(self)
    }
}

/// The inputs of a loss for one batch.
pub struct LossInput<'a> {
    /// Every member's prediction for every row.
    pub prediction: Prediction,
    /// Target of the prediction: (next_obs − obs, reward), or (next_obs, reward) if the model predicts next
    /// observations. `[E, B, O + 1]`, or `[1, B, O + 1]` for rows that all members share.
    pub target: Tensor<3>,
    /// The rows' terms, `[N, E, B, K]` or `[N, 1, B, K]`, if the loss has any.
    pub terms: Option<Tensor<4>>,
    /// Offset of the predicted states, `[E, B, O]` or `[1, B, O]`: a predicted state is `state_offset` plus the
    /// predicted mean. It holds the observations, or zeros if the model predicts next observations. Only for a loss
    /// that needs [predicted states](Needs::PredictedStates).
    pub state_offset: Option<Tensor<3>>,
    /// The agent's values.
    pub view: &'a dyn ValueView,
}

impl LossInput<'_> {
    /// Returns the rows' terms, `[N, E, B, K]` or `[N, 1, B, K]`.
    ///
    /// # Panics
    /// If the loss has none.
    #[track_caller]
    #[must_use]
    pub fn terms(&self) -> Tensor<4> {
        self.terms.clone().expect("a loss with row terms")
    }

    /// Returns the error of the observation, `[E, B, O]`, and the squared error of the reward, `[E, B]`.
    #[must_use]
    pub fn errors(&self) -> (Tensor<3>, Tensor<2>) {
        errors(self.prediction.mean.clone(), self.target.clone())
    }

    /// Computes V_n at the predicted next states, `[N, E, B]`, differentiable in the prediction.
    ///
    /// # Panics
    /// If the loss does not need [predicted states](Needs::PredictedStates).
    #[track_caller]
    #[must_use]
    pub fn predicted_values(&self) -> Tensor<3> {
        let state_offset = self.state_offset.clone().expect("a loss that needs predicted states");
        itervaml::predicted_values(self.view, state_offset, self.prediction.mean.clone())
    }
}

/// The parts of the training loss that are common to all losses.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Whether the mean squared error is added to a value-aware loss.
    pub add_mse: bool,
    /// Factors on the rows' losses, `[E, B]` or `[1, B]`. `None` means 1.
    pub row_weights: Option<Tensor<2>>,
    /// Standard deviations and means of normalised targets, `[1, 1, O + 1]` each. With them a value-aware loss receives
    /// predictions and targets in the task's own units.
    pub units: Option<[Tensor<3>; 2]>,
}

/// Computes the training loss of every row under every member, `[E, B]`: the loss and all parts that are added to it.
///
/// # Panics
/// If the loss fits a variance and the prediction has none. [`ModelConfig::problem`](crate::ModelConfig::problem)
/// refuses such a combination.
#[must_use]
pub fn training_per_row(loss: &dyn ModelLoss, input: &LossInput<'_>, extras: &Extras) -> Tensor<2> {
    let Prediction { mean, logvar } = &input.prediction;
    assert!(logvar.is_some() || !loss.fits_variance(), "a loss that fits a variance needs a head with a variance");
    let own = loss_of_mean(loss, input, extras);
    weighted(
        match logvar {
            // The mean is detached, so the likelihood's gradient reaches the mean only through the hidden layers that
            // mean and log-variance share.
            Some(logvar) if !loss.fits_variance() => {
                own + mle::per_row(mean.clone().detach(), logvar.clone(), input.target.clone())
            }
            _ => own,
        },
        extras,
    )
}

/// Computes the holdout score of every row under every member, `[E, B]`: the scoring loss, without the likelihood that
/// fits a variance.
#[must_use]
pub fn score_per_row(loss: &dyn ModelLoss, input: &LossInput<'_>, extras: &Extras) -> Tensor<2> {
    weighted(loss_of_mean(loss.scoring(), input, extras), extras)
}

fn loss_of_mean(loss: &dyn ModelLoss, input: &LossInput<'_>, extras: &Extras) -> Tensor<2> {
    let own = match &extras.units {
        Some([std, mean]) if loss.is_value_aware() => {
            let in_units = |x: &Tensor<3>| x.clone() * std.clone() + mean.clone();
            let Prediction { mean, logvar } = &input.prediction;
            loss.per_row(&LossInput {
                prediction: Prediction { mean: in_units(mean), logvar: logvar.clone() },
                target: in_units(&input.target),
                terms: input.terms.clone(),
                state_offset: input.state_offset.clone(),
                view: input.view,
            })
        }
        _ => loss.per_row(input),
    };
    if extras.add_mse && loss.is_value_aware() {
        own + mse::per_row(input.prediction.mean.clone(), input.target.clone())
    } else {
        own
    }
}

fn weighted(per_row: Tensor<2>, extras: &Extras) -> Tensor<2> {
    match &extras.row_weights {
        Some(weights) => per_row * weights.clone(),
        None => per_row,
    }
}

/// A loss without its panel form. Tests compare it with the panel form on the same device.
#[derive(Clone, Debug)]
pub struct TensorsOnly(pub Arc<dyn ModelLoss>);

impl ModelLoss for TensorsOnly {
    fn needs(&self) -> Needs {
        self.0.needs()
    }

    fn fits_variance(&self) -> bool {
        self.0.fits_variance()
    }

    fn row_terms(&self, rows: &CallRows<'_>, view: &dyn ValueView) -> RowTerms {
        self.0.row_terms(rows, view)
    }

    fn reduced_terms(&self, terms: RowTerms) -> RowTerms {
        self.0.reduced_terms(terms)
    }

    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2> {
        self.0.per_row(input)
    }

    fn score(&self) -> Option<&dyn ModelLoss> {
        self.0.score()
    }

    fn diagnostics(&self, terms: &RowTerms) -> Vec<(&'static str, f64)> {
        self.0.diagnostics(terms)
    }
}

/// Computes the number to minimise: the mean over rows, summed over members, plus the weighted width of the
/// log-variance bounds.
#[must_use]
pub fn reduce(per_row: Tensor<2>, bounds: Option<&Bounds>) -> Tensor<1> {
    let loss = per_row.mean_dim(1).sum();
    match bounds {
        Some(bounds) => loss + bounds.width().mul_scalar(BOUNDS_WEIGHT),
        None => loss,
    }
}

/// Returns the error of the observation, `[E, B, O]`, and the squared error of the reward, `[E, B]`.
fn errors(mean: Tensor<3>, target: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
    let channels = mean.dims()[2];
    let err = mean - target;
    let reward = err.clone().narrow(2, channels - 1, 1).square().squeeze_dim(2);
    (err.narrow(2, 0, channels - 1), reward)
}

/// Computes the mean over channels, `[E, B, C] -> [E, B]`.
fn mean_over_channels(x: Tensor<3>) -> Tensor<2> {
    x.mean_dim(2).squeeze_dim(2)
}

/// Returns the [`Kind`] of the loss type `L`, whose fields are its config keys. `problem` returns a message if the keys
/// are impossible.
fn kind_of<L>(
    name: &'static str,
    description: &'static str,
    problem: fn(&L) -> Option<String>,
) -> Kind<Arc<dyn ModelLoss>>
where
    L: ModelLoss + Clone + serde::Serialize + serde::de::DeserializeOwned + JsonSchema + 'static,
{
    let build = move |loss: L| match problem(&loss) {
        Some(problem) => Err(problem),
        None => Ok(Arc::new(loss) as Arc<dyn ModelLoss>),
    };
    Kind::new(name, description, build).with_reference::<L>()
}
