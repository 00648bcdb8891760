//! Losses that fit a model: what a wrong prediction costs.
//!
//! A loss is a value of a type that implements [`ModelLoss`]: what it needs to know of the agent, and a row's loss in
//! ordinary tensor operations, which is its specification and runs on every device. For speed it may bring a second
//! form, on panels of rows in the processor's memory ([`panel`]), held to the first by a test beside it. A loss without
//! one trains on every device through the fused network and autodiff.
//!
//! A loss says what a row's error of the mean costs. What is the same for all is added here: the squared error while the
//! critic is young ([`Extras::add_mse`]), the likelihood that fits a Gaussian head's variance around a mean that the loss
//! itself fits, and the weights of rows. Rows are averaged and members summed ([`reduce`]), so that weight decay and step
//! size mean the same for all losses.
//!
//! Every loss has a folder: its specification, its panel form and the test that both agree. A new loss is a folder and a
//! word in the list below; a loss of another crate joins the list at run time ([`foresee_core::Kinds::add`]).

pub mod panel;
mod terms;

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_core::{Kind, Kinds};
use foresee_nn::ValueView;

use crate::prediction::{Bounds, Prediction};
pub use panel::{ChannelLoss, PanelLoss};
pub use terms::{CallRows, DeviceTransitions, RowTerms};

/// Weight of the likelihood's pull on the log-variance bounds (PETS).
pub(crate) const BOUNDS_WEIGHT: f64 = 0.01;

/// Losses by name.
pub type LossKinds = Kinds<Arc<dyn ModelLoss>>;

/// Declares the folders of the shipped losses and lists their kinds.
macro_rules! losses {
    ($($loss:ident),* $(,)?) => {
        $(pub mod $loss;)*

        /// The losses that this crate ships, in the order in which they are listed for users.
        #[must_use]
        pub fn shipped() -> LossKinds {
            Kinds::new([$($loss::kind()),*])
        }
    };
}

losses![mle, mse, huber, vagram, itervaml, value_weighted];

/// What a loss asks of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the same for every agent.
    #[default]
    Nothing,
    /// Numbers about the true next states, once a training call ([`ModelLoss::row_terms`]).
    NextStates,
    /// Those, and in every gradient step the values of the predicted states ([`LossInput::predicted_values`]).
    PredictedStates,
}

/// A loss that fits a model's mean.
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
    /// What it asks of the agent. A loss that asks for something is *value-aware*: until `model.loss.add_mse_until` real
    /// steps after exploration the squared error is added to it, because a young critic knows nothing yet.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// Whether it fits the variance of a Gaussian head itself, and needs one. Of any other loss a Gaussian head's variance
    /// is fitted by the likelihood around the detached mean.
    fn fits_variance(&self) -> bool {
        false
    }

    /// What it has to know of the agent about every row of a training call, in the order of the rows; the agent stands
    /// still during the call, so this is computed once. A number of rows other than the call's panics.
    fn row_terms(&self, rows: &CallRows<'_>, view: &dyn ValueView) -> RowTerms {
        let _ = (rows, view);
        RowTerms::default()
    }

    /// Fewer numbers in place of the row terms, where [`ModelLoss::per_row`] makes the same loss of them up to rounding:
    /// what tensor forms keep on a device, and gather for every batch.
    fn reduced_terms(&self, terms: RowTerms) -> RowTerms {
        terms
    }

    /// Every row's loss under every member, `[E, B]`, differentiable in the prediction. Where targets are normalised, a
    /// value-aware loss sees predictions and targets in the task's own units, those of the agent's values, and any other loss
    /// sees them normalised.
    fn per_row(&self, input: &LossInput<'_>) -> Tensor<2>;

    /// The loss that scores the holdout, where it is not this one; it [needs](ModelLoss::needs) nothing of the agent.
    fn score(&self) -> Option<&dyn ModelLoss> {
        None
    }

    /// The panel form, where there is one: `Some(self)` for a type that implements [`ChannelLoss`].
    fn panel(&self) -> Option<&dyn PanelLoss> {
        None
    }

    /// Numbers about a training call's row terms that are reported with the fit, by metric name.
    fn diagnostics(&self, terms: &RowTerms) -> Vec<(&'static str, f64)> {
        let _ = terms;
        Vec::new()
    }
}

impl dyn ModelLoss + '_ {
    /// Whether it asks something of the agent.
    #[must_use]
    pub fn is_value_aware(&self) -> bool {
        self.needs() != Needs::Nothing
    }

    /// The loss that scores the holdout.
    #[must_use]
    pub fn scoring(&self) -> &dyn ModelLoss {
        self.score().unwrap_or(self)
    }
}

/// All that a loss sees of a batch.
pub struct LossInput<'a> {
    /// Every member's prediction for every row.
    pub prediction: Prediction,
    /// (next_obs − obs, reward), `[E, B, O + 1]`, or `[1, B, O + 1]` for rows shown to all members.
    pub target: Tensor<3>,
    /// The rows' terms, `[N, E, B, K]` or `[N, 1, B, K]`, where the loss has any.
    pub terms: Option<Tensor<4>>,
    /// What a prediction is added to for the predicted state, `[E, B, O]` or `[1, B, O]`, for a loss that needs [predicted
    /// states](Needs::PredictedStates): the observations, or zeros where the model predicts next observations themselves.
    pub base: Option<Tensor<3>>,
    /// The agent's values.
    pub view: &'a dyn ValueView,
}

impl LossInput<'_> {
    /// The rows' terms, `[N, E, B, K]` or `[N, 1, B, K]`.
    ///
    /// # Panics
    /// If the loss has none.
    #[track_caller]
    #[must_use]
    pub fn terms(&self) -> Tensor<4> {
        self.terms.clone().expect("a loss with row terms")
    }

    /// The error over the observation, `[E, B, O]`, and the squared error of the reward, `[E, B]`.
    #[must_use]
    pub fn errors(&self) -> (Tensor<3>, Tensor<2>) {
        errors(self.prediction.mean.clone(), self.target.clone())
    }

    /// V_n at the predicted next states, `[N, E, B]`, differentiable in the prediction.
    ///
    /// # Panics
    /// If the loss does not need [predicted states](Needs::PredictedStates).
    #[track_caller]
    #[must_use]
    pub fn predicted_values(&self) -> Tensor<3> {
        let base = self.base.clone().expect("a loss that needs predicted states");
        itervaml::predicted_values(self.view, base, self.prediction.mean.clone())
    }
}

/// The terms that are added to a loss's own.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Whether a value-aware loss is given the mean squared error too.
    pub add_mse: bool,
    /// A factor on each row's loss, `[E, B]` or `[1, B]`; 1 where there are none.
    pub row_weights: Option<Tensor<2>>,
    /// Deviations and means of normalised targets, `[1, 1, O + 1]` each: a value-aware loss is then given predictions and
    /// targets in the task's own units.
    pub units: Option<[Tensor<3>; 2]>,
}

/// Every row's training loss under every member, `[E, B]`: the loss with all that is added to it.
///
/// # Panics
/// If the loss fits a variance and the prediction has none; the config's check refuses such pairs.
#[must_use]
pub fn training_per_row(loss: &dyn ModelLoss, input: &LossInput<'_>, extras: &Extras) -> Tensor<2> {
    let Prediction { mean, logvar } = &input.prediction;
    assert!(logvar.is_some() || !loss.fits_variance(), "a loss that fits a variance needs a Gaussian head");
    let own = of_mean(loss, input, extras);
    weighted(
        match logvar {
            // Of the likelihood's gradient the mean receives what passes through the hidden layers that both outputs
            // share.
            Some(logvar) if !loss.fits_variance() => {
                own + mle::per_row(mean.clone().detach(), logvar.clone(), input.target.clone())
            }
            _ => own,
        },
        extras,
    )
}

/// Every row's holdout score under every member, `[E, B]`: the loss that scores, without what fits a variance.
#[must_use]
pub fn score_per_row(loss: &dyn ModelLoss, input: &LossInput<'_>, extras: &Extras) -> Tensor<2> {
    weighted(of_mean(loss.scoring(), input, extras), extras)
}

fn of_mean(loss: &dyn ModelLoss, input: &LossInput<'_>, extras: &Extras) -> Tensor<2> {
    let own = match &extras.units {
        Some([std, mean]) if loss.is_value_aware() => {
            let in_units = |x: &Tensor<3>| x.clone() * std.clone() + mean.clone();
            let Prediction { mean, logvar } = &input.prediction;
            loss.per_row(&LossInput {
                prediction: Prediction { mean: in_units(mean), logvar: logvar.clone() },
                target: in_units(&input.target),
                terms: input.terms.clone(),
                base: input.base.clone(),
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

/// A loss without its panel form: what the panel form is held to, on the same device.
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

/// The kind of a loss without keys or with those of its own type.
fn kind_of<L>(
    name: &'static str,
    description: &'static str,
    problem: fn(&L) -> Option<String>,
) -> Kind<Arc<dyn ModelLoss>>
where
    L: ModelLoss + Clone + serde::Serialize + serde::de::DeserializeOwned + 'static,
{
    Kind::new(name, description, move |loss: L| match problem(&loss) {
        Some(problem) => Err(problem),
        None => Ok(Arc::new(loss) as Arc<dyn ModelLoss>),
    })
}
