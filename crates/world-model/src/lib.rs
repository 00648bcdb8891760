//! The world model: a probabilistic ensemble that predicts what a transition changes, and what "right" means for it.
//!
//! In the order a reader needs it:
//! * [`config`]: the keys of `[model]`.
//! * [`normalizer`]: inputs to zero mean and unit deviation.
//! * [`ensemble`]: the network, its prediction, its elites.
//! * [`loss`]: pure functions of predictions, targets and weights; the choice that this project is about.
//! * [`value_weights`]: the value gradients of every replay row, clipped once a training call.
//! * `value_terms`: what each value-aware loss knows of the agent, by replay row.
//! * [`split`]: holdout, bootstrap rows and the order of batches.
//! * [`early_stopping`]: when to stop, which weights to keep, who is elite.
//! * [`uncertainty`]: how far the members disagree, and how much noise they believe in.
//! * `fit_data`: all that a training call derives from the replay and the agent.
//! * `fit_tensors`: the same on a device, gathered there.
//! * [`trainer`]: one training call, as slices that can be saved between.

pub mod config;
pub mod early_stopping;
pub mod ensemble;
mod fit_data;
mod fit_tensors;
pub mod loss;
pub mod normalizer;
pub mod split;
pub mod trainer;
pub mod uncertainty;
mod value_terms;
pub mod value_weights;

pub use config::{Head, LossConfig, LossKind, ModelConfig};
pub use ensemble::{Ensemble, Prediction};
pub use fit_data::TrainingRows;
pub use trainer::{Diverged, Fit, FitReport, Trainer};
pub use uncertainty::Measure;
