//! The interface between a run and its agent, and the choice of an agent by the config.
//!
//! A run draws a batch, passes it to [`Agent::update`] together with the draws of that update, and acts with
//! [`Agent::actor`]. A decision-aware loss of the model reads [`Agent::values`]. Only the agent knows how many networks
//! it has, how their values become a target, and which noise an update draws.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Device;
use foresee_core::{Kinds, State, StateError};
use foresee_nn::{Dynamics, ValueHeads, ValueView};

use crate::actor::Actor;
use crate::batch::BatchRef;
use crate::noise::Noise;
use crate::preparation::RealTransitions;

/// The inputs of one update.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// The transitions to learn from.
    pub batch: BatchRef<'a>,
    /// The update's random draws.
    pub noise: &'a dyn Noise,
    /// The model that imagined steps are taken in, if the run has one.
    pub dynamics: Option<&'a dyn Dynamics>,
    /// If true, the update trains only the critics and their targets. Actor and temperature keep their values.
    pub critic_only: bool,
}

/// Discount and temperature of an agent's values Σ γᵏ (r_k + α entropy_k). The sum leaves out the entropy of k = 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReturnParameters {
    /// Discount γ per step.
    pub discount: f64,
    /// Temperature α, reward units per nat; 0 if the values contain no entropy.
    pub temperature: f64,
}

/// An agent: its networks, their optimisers, and one update of them all.
pub trait Agent: Send {
    /// Updates everything that learns. A batch without rows changes no network, but counts as an update.
    ///
    /// # Panics
    /// If the length of an array in the batch does not match its shape.
    fn update(&mut self, update: Update<'_>);

    /// Number of updates so far. It addresses the next batch and its noise, rises by one at every update, and is saved.
    fn updates(&self) -> u64;

    /// Returns the numbers of the last update by the names of their metrics ([`metrics`](crate::metrics)), in the order
    /// of a record; empty before the first update. Numbers on a device are read back only by this call.
    fn report(&self) -> Vec<(&'static str, f64)>;

    /// The actor being trained.
    fn actor(&self) -> &dyn Actor;

    /// Returns the values of the given heads at the actor's mean action: critics first, then target critics. With
    /// `through_policy` a derivative with respect to the state includes the change of the action; without it the action
    /// is held fixed. An agent without values returns [`NoValues`](foresee_nn::NoValues).
    fn values(&self, heads: ValueHeads, through_policy: bool) -> Box<dyn ValueView + '_>;

    /// Discount and temperature of the agent's values, which a run compares with the returns of real episodes. `None`
    /// for an agent without values, or with values of another kind.
    fn return_parameters(&self) -> Option<ReturnParameters> {
        None
    }

    /// Names of the streams of standard normals `[B, A]` that an update may draw, one vector per batch row. A device
    /// can then draw them together with the batch. This is only a hint: an update may draw any stream from its
    /// [`Noise`].
    fn noise_streams(&self) -> &'static [&'static str] {
        &[]
    }

    /// Number of real training transitions in the agent's running statistics; `None` for an agent without running
    /// statistics.
    fn observed(&self) -> Option<u64> {
        None
    }

    /// Adds real training transitions to the running statistics. From then on the networks see observations and rewards
    /// scaled by the new statistics.
    fn observe(&mut self, seen: RealTransitions<'_>) {
        let _ = seen;
    }

    /// Resets the moments of all optimisers.
    fn forget_moments(&mut self) {}

    /// Returns networks, optimisers and counters as arrays.
    fn save(&self) -> State;

    /// Restores networks, optimisers and counters from arrays.
    ///
    /// # Errors
    /// If an array is missing, has another shape, or is unknown.
    fn load(&mut self, state: State) -> Result<(), StateError>;
}

/// A factory of agents, made from the keys of `[agent]`.
pub trait AgentFactory: Debug + Send + Sync {
    /// Returns a new agent for observations and actions of `dims` = `[O, A]` entries.
    fn build(&self, dims: [usize; 2], seed: u64, device: &Device) -> Box<dyn Agent>;

    /// Returns true if the agent learns from imagined steps only. Its update then needs [`Update::dynamics`].
    fn needs_model(&self) -> bool {
        false
    }

    /// Returns the agent's keys, with the defaults that depend on the task written out.
    fn resolved(&self, dims: [usize; 2]) -> toml::Table;
}

/// The list of agents that a config can name.
pub type AgentKinds = Kinds<Arc<dyn AgentFactory>>;
