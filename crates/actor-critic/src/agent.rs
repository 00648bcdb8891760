//! The interface between a run and its agent, and an agent's choice by a config.
//!
//! A run draws a batch, lends it to [`Agent::update`] together with the draws of that update, and acts by
//! [`Agent::actor`]; a model's loss that knows what the agent needs asks [`Agent::values`]. How many networks there are,
//! how their values become a target, and which noise an update draws are the agent's own business.

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::Device;
use foresee_core::{Kinds, State, StateError};
use foresee_nn::{Dynamics, ValueHeads, ValueView};

use crate::actor::Actor;
use crate::batch::BatchRef;
use crate::noise::Noise;
use crate::preparation::Experienced;

/// The inputs of one update.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// The transitions to learn from.
    pub batch: BatchRef<'a>,
    /// The update's random draws.
    pub noise: &'a dyn Noise,
    /// The model to imagine in, where the run has one.
    pub dynamics: Option<&'a dyn Dynamics>,
    /// True for an update of the critics and their targets alone: actor and temperature keep their values.
    pub critic_only: bool,
}

/// Discount and temperature of an agent's values Σ γᵏ (r_k + α entropy_k), in which the entropy of k = 0 is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// Discount of a step's future, γ.
    pub discount: f64,
    /// Temperature α, reward units a nat; 0 where entropy counts nothing.
    pub temperature: f64,
}

/// A learner of actions: its networks, their optimisers, and one update of them all.
pub trait Agent: Send {
    /// One update of everything that learns. A batch without rows moves nothing, and counts.
    ///
    /// # Panics
    /// If the batch's numbers do not fill their shapes.
    fn update(&mut self, update: Update<'_>);

    /// Updates made so far. The number addresses the next batch and its noise: it rises by one at every update, and is
    /// saved.
    fn updates(&self) -> u64;

    /// The numbers of the last update by their metric's name ([`metrics`](crate::metrics)), in the order of a record;
    /// none before the first. What is on a device is read back only now.
    fn report(&self) -> Vec<(&'static str, f64)>;

    /// The actor that is learned.
    fn actor(&self) -> &dyn Actor;

    /// The values at the actor's mean action, of these heads; critics first, then target critics. With `through_policy` a
    /// derivative by the state includes what the action does; without, it holds the action fixed. An agent without values
    /// returns [`NoValues`](foresee_nn::NoValues).
    fn values(&self, heads: ValueHeads, through_policy: bool) -> Box<dyn ValueView + '_>;

    /// Discount and temperature of the agent's values; a run compares them with the returns of real episodes. `None` for an
    /// agent without values, or with values of another kind.
    fn counted(&self) -> Option<Counted> {
        None
    }

    /// Streams of standard normals `[B, A]` that an update may draw at every row of its batch, so that a device can fill
    /// them together with the batch. A hint: an update asks its [`Noise`] for whatever it wants.
    fn noise_streams(&self) -> &'static [&'static str] {
        &[]
    }

    /// Real transitions of training that its running statistics hold; `None` for an agent that keeps none.
    fn observed(&self) -> Option<u64> {
        None
    }

    /// Takes real transitions of training into the running statistics; from now on networks see observations and rewards
    /// scaled by them.
    fn observe(&mut self, seen: Experienced<'_>) {
        let _ = seen;
    }

    /// Forgets the moments of all optimisers.
    fn forget_moments(&mut self) {}

    /// Networks, optimisers and counters as arrays.
    fn save(&self) -> State;

    /// Reads all of it back.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn load(&mut self, state: State) -> Result<(), StateError>;
}

/// Makes agents from the keys of `[agent]`.
pub trait AgentFactory: Debug + Send + Sync {
    /// A fresh agent for observations and actions of `dims` = `[O, A]` entries.
    fn build(&self, dims: [usize; 2], seed: u64, device: &Device) -> Box<dyn Agent>;

    /// True for agents that learn from imagined steps alone, so that an update without a model changes nothing.
    fn needs_model(&self) -> bool {
        false
    }

    /// The keys with the defaults that depend on the task written out.
    fn resolved(&self, dims: [usize; 2]) -> toml::Table;
}

/// The agents that a config can name.
pub type AgentKinds = Kinds<Arc<dyn AgentFactory>>;
