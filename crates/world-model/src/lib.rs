//! The world model: a probabilistic ensemble that predicts what a transition changes, and what "right" means for it.
//!
//! In the order a reader needs it:
//! * [`config`]: the keys of `[model]`.
//! * [`model`]: a world model as a run sees it, and how one is chosen.
//! * [`prediction`]: what networks say of rows.
//! * [`normalizer`]: inputs to zero mean and unit deviation.
//! * [`ensemble`]: the networks, their prediction, one step under given actions, their elites.
//! * [`panels`]: that step on panels of rows in host memory, forward and back.
//! * [`loss`]: what a wrong prediction costs; the choice that this project is about. A folder a loss.
//! * [`split`]: holdout, bootstrap rows and the order of batches.
//! * [`early_stopping`]: when to stop, which weights to keep, who is elite.
//! * [`uncertainty`]: how far the members disagree, and how much noise they believe in.
//! * `fit_data`: all that a training call derives from the replay and the agent.
//! * `fit_tensors`: the same on a device, gathered there.
//! * [`trainer`]: one training call of the ensemble, as slices that can be saved between.

pub mod config;
pub mod early_stopping;
pub mod ensemble;
mod fit_data;
mod fit_tensors;
mod gather;
pub mod loss;
pub mod model;
pub mod normalizer;
pub mod panels;
pub mod prediction;
pub mod split;
pub mod trainer;
pub mod uncertainty;

pub use config::{Head, LossConfig, ModelConfig};
pub use ensemble::Ensemble;
pub use fit_data::TrainingRows;
pub use loss::{DeviceTransitions, LossKinds, ModelLoss};
pub use model::{FitRequest, ModelFactory, ModelKinds, ModelRequest, WorldModel};
pub use prediction::{ModelStep, Prediction};
pub use trainer::{ChannelError, Diverged, Fit, FitReport, Trainer};
pub use uncertainty::Measure;
