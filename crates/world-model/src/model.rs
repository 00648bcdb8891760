//! The interface between a run and its world model: a model is fitted in slices, stepped under given actions, saved and
//! loaded.
//!
//! The ensemble is the implementation that this crate ships ([`Trainer`]). A model of another crate implements
//! [`WorldModel`] and is added to a run by a [`ModelFactory`].

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

/// The arguments of a model's training call besides its rows.
#[derive(Clone, Copy)]
pub struct FitRequest<'a> {
    /// The agent's values. The agent does not change until the fit is over.
    pub view: &'a dyn ValueView,
    /// Number of the training call, from 0.
    pub call: u64,
    /// Number of real steps since the end of exploration.
    pub learning_step: u64,
}

/// A model of a task's dynamics and reward.
pub trait WorldModel: Send {
    /// Begins a training call on all real rows.
    fn begin_fit(&mut self, rows: TrainingRows<'_>, request: FitRequest<'_>);

    /// Runs one slice of the training call, of at most one second. Returns a report once the call is over.
    ///
    /// # Errors
    /// If training diverged.
    fn advance_fit(&mut self, view: &dyn ValueView) -> Result<Option<FitReport>, Diverged>;

    /// Returns the state of the training call as arrays. The data that the call derived from its rows and the agent are
    /// not saved; [`WorldModel::resume_fit`] derives them again.
    fn save_fit(&self) -> State;

    /// Resumes a saved training call. `rows` and the agent must be those that the call began with.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn resume_fit(&mut self, state: State, rows: TrainingRows<'_>, view: &dyn ValueView) -> Result<(), StateError>;

    /// Columns of noise that a step needs; 0 if predictions have no noise.
    fn noise_width(&self) -> usize;

    /// Returns one step from observations `[B, O]` under actions `[B, A]` and random draws. The result is
    /// differentiable in observations and actions if they are tracked. The model's parameters are constants.
    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ModelStep;

    /// Returns the form of [`WorldModel::step`] on panels of rows in host memory, forward and backward, if the model
    /// has such a form.
    fn on_panels(&self) -> Option<Box<dyn PanelDynamics + '_>> {
        None
    }

    /// Returns the ensemble behind the model. The fused rollouts use it in place of [`WorldModel::step`]. A model that
    /// changes the ensemble's prediction returns `None`.
    fn ensemble(&self) -> Option<&Ensemble> {
        None
    }

    /// Returns everything that the model has learned as arrays.
    fn save(&self) -> State;

    /// Restores the state that [`WorldModel::save`] returned.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn load(&mut self, state: State) -> Result<(), StateError>;
}

/// The arguments from which a [`ModelFactory`] builds a model.
#[derive(Clone, Copy)]
pub struct ModelRequest<'a> {
    /// The config section `[model]`.
    pub config: &'a ModelConfig,
    /// The loss that fits it.
    pub loss: &'a Arc<dyn ModelLoss>,
    /// Numbers of entries of an observation and of an action, `[O, A]`.
    pub dims: [usize; 2],
    /// The run's seed.
    pub seed: u64,
    /// The device of the model's parameters.
    pub device: &'a Device,
}

/// A builder of models, chosen by name in a config.
pub trait ModelFactory: Debug + Send + Sync {
    /// Returns a new, untrained model.
    fn build(&self, request: &ModelRequest<'_>) -> Box<dyn WorldModel>;
}

/// The models that a config can choose, by name. The keys of a model of another crate are in the section `[model.own]`.
pub type ModelKinds = Kinds<Arc<dyn ModelFactory>>;

/// Returns the models that this crate ships.
#[must_use]
pub fn shipped() -> ModelKinds {
    let line = "a probabilistic ensemble of networks (PETS, MBPO)";
    Kinds::new([Kind::new(ENSEMBLE, line, |_: EnsembleFactory| {
        Ok(Arc::new(EnsembleFactory {}) as Arc<dyn ModelFactory>)
    })])
}

/// The builder of ensembles. Its keys are those of `[model]`.
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
        self.current_fit = Some(Box::new(self.begin(rows, view, call, learning_step)));
    }

    fn advance_fit(&mut self, view: &dyn ValueView) -> Result<Option<FitReport>, Diverged> {
        let mut fit =
            self.current_fit.take().expect("`advance_fit` needs a call of `begin_fit` or `resume_fit` before it");
        let report = self.advance(&mut fit, view)?;
        if report.is_none() {
            self.current_fit = Some(fit);
        }
        Ok(report)
    }

    fn save_fit(&self) -> State {
        self.current_fit.as_ref().map(|fit| fit.save()).unwrap_or_default()
    }

    fn resume_fit(&mut self, state: State, rows: TrainingRows<'_>, view: &dyn ValueView) -> Result<(), StateError> {
        self.current_fit = Some(Box::new(self.resume(state, rows, view)?));
        Ok(())
    }

    fn noise_width(&self) -> usize {
        self.ensemble.noise_width()
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ModelStep {
        self.rollout_model().step(obs, action, draws)
    }

    fn on_panels(&self) -> Option<Box<dyn PanelDynamics + '_>> {
        let ensemble = self.rollout_model();
        let in_host_memory = is_host(&self.device) && ensemble.net.is_fused();
        in_host_memory.then(|| Box::new(EnsemblePanels::new(ensemble)) as Box<dyn PanelDynamics>)
    }

    fn ensemble(&self) -> Option<&Ensemble> {
        Some(self.rollout_model())
    }

    fn save(&self) -> State {
        self.save()
    }

    fn load(&mut self, state: State) -> Result<(), StateError> {
        self.load(state)
    }
}
