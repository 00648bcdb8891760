//! Agents: what learns to act, from batches of transitions.
//!
//! In the order a reader needs it:
//! * [`agent`]: what a run asks of an agent, and how a config chooses one.
//! * [`batch`], [`noise`]: what an update is given.
//! * [`actor`]: what acts, and [`policy`], the squashed Gaussian.
//! * [`observations`]: their running moments, and what networks see of them.
//! * [`body`], [`critic`]: `N` action-value functions at once, and what their targets make of them.
//! * [`values`]: an agent's values and value gradients, as decision-aware losses see them.
//! * [`metrics`]: the names of what an update reports.
//! * [`sac`] and its neighbours, a folder an agent.
//!
//! An agent is a folder with a `kind()`, and its name in the list below. Nothing else of the crate knows it; one from
//! another crate joins a list of its own making: [`agents`] and [`Kinds::add`].

#[cfg(test)]
extern crate self as foresee_actor_critic;

pub mod actor;
pub mod agent;
pub mod batch;
pub mod body;
pub mod config;
pub mod critic;
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
pub use agent::{Agent, AgentFactory, AgentKinds, Counted, Update};
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

macro_rules! agents {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// The agents that come with foresee, in the order of a list for users.
        #[must_use]
        pub fn agents() -> AgentKinds {
            Kinds::new([$($name::kind()),*])
        }
    };
}

// Modules that a macro names are unknown to `cargo fmt`: `rustfmt crates/actor-critic/src/*/mod.rs` formats them.
agents! {
    sac,
    td3,
    dhmbpo,
}
