//! A world model as a run sees it: fitted in slices, stepped under given actions, saved and loaded.
//!
//! The ensemble is the first implementation ([`Trainer`]). A model of another crate implements [`WorldModel`] and joins a
//! run by a [`ModelFactory`].

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use foresee_core::{Kind, Kinds, State, StateError};
use foresee_nn::host::is_host;
use foresee_nn::{PanelDynamics, StepDraws, ValueView};
use serde::{Deserialize, Serialize};

use crate::config::{ENSEMBLE, ModelConfig};
use crate::ensemble::Ensemble;
use crate::fit_data::TrainingRows;
use crate::loss::ModelLoss;
use crate::panels::EnsemblePanels;
use crate::prediction::ModelStep;
use crate::trainer::{Diverged, FitReport, Trainer};

/// What a training call of a model is given beside its rows.
#[derive(Clone, Copy)]
pub struct FitRequest<'a> {
    /// The agent's values. The agent stands still until the fit is over.
    pub view: &'a dyn ValueView,
    /// Number of the call, from 0.
    pub call: u64,
    /// Real steps since the end of exploration.
    pub learning_step: u64,
}

/// A model of a task's dynamics and reward.
pub trait WorldModel: Send {
    /// Begins a training call on all real rows.
    fn begin_fit(&mut self, rows: TrainingRows<'_>, request: FitRequest<'_>);

    /// One slice of the training call, of a second at most; a report once it is over.
    ///
    /// # Errors
    /// If training diverged.
    fn advance_fit(&mut self, view: &dyn ValueView) -> Result<Option<FitReport>, Diverged>;

    /// Where the training call stands, as arrays; what it derives from rows and agent is derived again.
    fn save_fit(&self) -> State;

    /// Takes up a saved training call on the rows and the agent that it began with.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn resume_fit(&mut self, state: State, rows: TrainingRows<'_>, view: &dyn ValueView) -> Result<(), StateError>;

    /// Columns of the noise that a step draws; 0 where predictions have none.
    fn noise_width(&self) -> usize;

    /// One step from observations `[B, O]` under actions `[B, A]` and draws, differentiable in both where they are
    /// tracked; the model's parameters are constants.
    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ModelStep;

    /// [`WorldModel::step`] on panels of rows in host memory, forward and back, where there is that form.
    fn on_panels(&self) -> Option<Box<dyn PanelDynamics + '_>> {
        None
    }

    /// The ensemble behind it: opens the fused rollouts, which step it without [`WorldModel::step`]. A model that changes
    /// the ensemble's prediction returns `None`.
    fn ensemble(&self) -> Option<&Ensemble> {
        None
    }

    /// All that it has learned, as arrays.
    fn save(&self) -> State;

    /// Reads all of it back.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn load(&mut self, state: State) -> Result<(), StateError>;
}

/// What a model is made from.
#[derive(Clone, Copy)]
pub struct ModelRequest<'a> {
    /// `[model]`
    pub config: &'a ModelConfig,
    /// The loss that fits it.
    pub loss: &'a Arc<dyn ModelLoss>,
    /// Entries of observations and actions, `[O, A]`.
    pub dims: [usize; 2],
    /// The run's seed.
    pub seed: u64,
    /// Where it lives.
    pub device: &'a Device,
}

/// Makes models.
pub trait ModelFactory: Debug + Send + Sync {
    /// A fresh model.
    fn build(&self, request: &ModelRequest<'_>) -> Box<dyn WorldModel>;
}

/// Models by name; keys of their own stand in `[model.own]`.
pub type ModelKinds = Kinds<Arc<dyn ModelFactory>>;

/// The models that this crate ships.
#[must_use]
pub fn shipped() -> ModelKinds {
    let line = "independent networks of one shape, a probabilistic ensemble (PETS, MBPO)";
    Kinds::new([Kind::new(ENSEMBLE, line, |_: EnsembleFactory| {
        Ok(Arc::new(EnsembleFactory {}) as Arc<dyn ModelFactory>)
    })])
}

/// Makes ensembles; their keys are `[model]`'s.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EnsembleFactory {}

impl ModelFactory for EnsembleFactory {
    fn build(&self, request: &ModelRequest<'_>) -> Box<dyn WorldModel> {
        let ModelRequest { config, loss, dims, seed, device } = *request;
        Box::new(Trainer::new(config, Arc::clone(loss), dims, seed, device))
    }
}

impl WorldModel for Trainer {
    fn begin_fit(&mut self, rows: TrainingRows<'_>, FitRequest { view, call, learning_step }: FitRequest<'_>) {
        self.under_way = Some(Box::new(self.begin(rows, view, call, learning_step)));
    }

    fn advance_fit(&mut self, view: &dyn ValueView) -> Result<Option<FitReport>, Diverged> {
        let mut fit = self.under_way.take().expect("a fit under way");
        let report = self.advance(&mut fit, view)?;
        if report.is_none() {
            self.under_way = Some(fit);
        }
        Ok(report)
    }

    fn save_fit(&self) -> State {
        self.under_way.as_ref().map(|fit| fit.save()).unwrap_or_default()
    }

    fn resume_fit(&mut self, state: State, rows: TrainingRows<'_>, view: &dyn ValueView) -> Result<(), StateError> {
        self.under_way = Some(Box::new(self.resume(state, rows, view)?));
        Ok(())
    }

    fn noise_width(&self) -> usize {
        self.ensemble.noise_width()
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ModelStep {
        self.imagining().step(obs, action, draws)
    }

    fn on_panels(&self) -> Option<Box<dyn PanelDynamics + '_>> {
        let ensemble = self.imagining();
        let at_hand = is_host(&self.device) && ensemble.net.is_fused();
        at_hand.then(|| Box::new(EnsemblePanels::new(ensemble)) as Box<dyn PanelDynamics>)
    }

    fn ensemble(&self) -> Option<&Ensemble> {
        Some(self.imagining())
    }

    fn save(&self) -> State {
        self.save()
    }

    fn load(&mut self, state: State) -> Result<(), StateError> {
        self.load(state)
    }
}
