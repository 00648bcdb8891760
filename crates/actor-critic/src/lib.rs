//! Agents: actors and critics that learn from batches of transitions.
//!
//! In the order a reader needs it:
//! * [`agent`]: the interface that a run uses, and the choice of an agent by the config.
//! * [`batch`], [`noise`]: the inputs of an update.
//! * [`actor`]: maps from observations to actions, and [`policy`], the squashed Gaussian.
//! * [`observations`]: running moments of observations, and the normalisation that networks apply.
//! * [`preparation`]: observations and rewards scaled by running statistics.
//! * [`body`], [`critic`]: `N` action-value functions evaluated together, and the reduction of their values to one.
//! * [`values`]: an agent's values and value gradients for decision-aware losses.
//! * [`metrics`]: the names of the numbers that an update reports.
//! * [`sac`], [`td3`], [`dhmbpo`]: the agents, one folder each.
//!
//! An agent is a folder with a `kind()` function, and its name in the list below. Nothing else of the crate depends on
//! it. An agent of another crate is added to the list that [`agents`] returns, by [`Kinds::add`].

#[cfg(test)]
extern crate self as foresee_actor_critic;

pub mod actor;
pub mod agent;
pub mod batch;
pub mod body;
pub mod config;
pub mod critic;
#[cfg(test)]
#[path = "../../core/tests/support/fixtures.rs"]
mod fixture_files;
pub mod metrics;
pub mod noise;
pub mod observations;
mod panels;
pub mod policy;
pub mod preparation;
#[cfg(test)]
mod published;
mod temperature;
pub mod values;

pub use actor::Actor;
pub use agent::{Agent, AgentFactory, AgentKinds, ReturnParameters, Update};
pub use batch::{BatchRef, TensorBatch};
pub use body::Body;
pub use config::AgentConfig;
pub use critic::{Critic, Reduction};
pub use dhmbpo::{Dhmbpo, DhmbpoConfig};
pub use noise::{Noise, StreamNoise};
pub use policy::Policy;
pub use sac::{Sac, SacConfig};
pub use values::AgentValues;

use foresee_core::Kinds;

/// Declares the modules of the shipped agents and lists their kinds.
macro_rules! agents {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Returns the agents that come with foresee, in the order of a list for users.
        #[must_use]
        pub fn agents() -> AgentKinds {
            Kinds::new([$($name::kind()),*])
        }
    };
}

// `cargo fmt` does not find modules that a macro declares: `rustfmt crates/actor-critic/src/*/mod.rs` formats them.
agents! {
    sac,
    td3,
    dhmbpo,
}
