//! The world model: a probabilistic ensemble that predicts the change of the observation and the reward of a
//! transition, and the losses that train it.
//!
//! The training rows are the real transitions of a run's replay buffer. The trained model imagines the steps of
//! rollouts.
//!
//! The modules in reading order:
//! * [`config`]: the keys of the config section `[model]`.
//! * [`model`]: the trait [`WorldModel`] by which a run uses a model, and the list from which a config chooses one.
//! * [`prediction`]: the outputs of the networks for a batch of rows.
//! * [`normalizer`]: the scaling of model inputs to zero mean and unit standard deviation.
//! * [`ensemble`]: the networks, their predictions, one step under given actions, and the elite members.
//! * [`panels`]: the ensemble's step on panels of rows in host memory, forward and backward.
//! * [`loss`]: the training losses, one folder each. The choice of the loss is the subject of this project.
//! * [`split`]: the holdout, the bootstrap rows of each member and the order of the batches.
//! * [`early_stopping`]: when a fit stops, which weights it keeps, and which members are elites.
//! * [`uncertainty`]: measures of the disagreement between members and of the noise that they predict.
//! * `fit_data`: the data that a training call derives from the replay buffer and the agent.
//! * `fit_tensors`: the data of a training call as tensors on a device, from which batches are gathered.
//! * [`trainer`]: one training call of the ensemble, in slices between which its state can be saved.

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
