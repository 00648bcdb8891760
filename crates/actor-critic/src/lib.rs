//! The agent: a squashed Gaussian policy, twin critics, and SAC that trains both.
//!
//! In the order a reader needs it:
//! * [`config`]: the keys of `[agent]`.
//! * [`policy`]: the actor, its actions and their log-probabilities.
//! * [`critic`]: `N` action-value functions at once.
//! * [`sac`]: the update.
//! * [`values`]: the agent's values and value gradients, as decision-aware losses see them.

pub mod config;
pub mod critic;
pub mod policy;
pub mod sac;
pub mod values;

pub use config::AgentConfig;
pub use critic::Critic;
pub use policy::Policy;
pub use sac::{Sac, TensorBatch, UpdateMetrics};
pub use values::AgentValues;
