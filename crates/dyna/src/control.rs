//! Acting apart from learning: a controller turns observations into actions.
//!
//! The first is the agent's own actor ([`ActorController`]). A planner is another: it sees the agent's values and the
//! world model, and `eval` loads the model for it. A controller of another crate joins a run by a [`ControllerFactory`].

use std::sync::Arc;

use burn::tensor::Device;
use foresee_actor_critic::Agent;
use foresee_core::{State, StateError, Stream, Termination};
use foresee_nn::tensors;
use foresee_world_model::WorldModel;

/// What the actions are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To learn from: with exploration. The step of each environment so far addresses the draws.
    Explore {
        /// Steps of one environment.
        step: u64,
    },
    /// To be evaluated: the best that the controller knows.
    Evaluate,
}

/// What a controller may use.
#[derive(Clone, Copy)]
pub struct Knowledge<'a> {
    /// The agent: its actor and values.
    pub agent: &'a dyn Agent,
    /// The world model, where the run has one and the controller [needs](Controller::needs_model) it.
    pub model: Option<&'a dyn WorldModel>,
    /// When an episode ends.
    pub termination: &'a Termination,
    /// The run's seed.
    pub seed: u64,
    /// Where agent and model live.
    pub device: &'a Device,
}

/// Turns observations into actions.
pub trait Controller: Send {
    /// Actions `[N, A]` in [-1, 1] for observations `[N, O]` of as many environments; `envs` `[N]` are their numbers.
    fn act(&mut self, knowledge: &Knowledge<'_>, envs: &[usize], obs: &[f32], mode: Mode) -> Vec<f32>;

    /// An episode begins in environment number `env`: what is remembered of the last one is forgotten.
    fn begin(&mut self, env: usize) {
        let _ = env;
    }

    /// Whether it asks the world model.
    fn needs_model(&self) -> bool {
        false
    }

    /// What it remembers between steps, as arrays; nothing for most.
    fn save(&self) -> State {
        State::new()
    }

    /// Reads it back.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn load(&mut self, state: State) -> Result<(), StateError> {
        state.finish()
    }
}

/// Makes the controllers of a run: one for training and one for evaluations, so that neither disturbs the other.
pub type ControllerFactory = Arc<dyn Fn() -> Box<dyn Controller> + Send + Sync>;

/// The agent's actor: sampled actions to explore, its evaluated action else.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActorController;

impl Controller for ActorController {
    fn act(&mut self, knowledge: &Knowledge<'_>, envs: &[usize], obs: &[f32], mode: Mode) -> Vec<f32> {
        let Knowledge { agent, seed, device, .. } = *knowledge;
        let (actor, n) = (agent.actor(), envs.len());
        let (obs_dim, action_dim) = (obs.len() / n.max(1), actor.action_dim());
        let Mode::Explore { step } = mode else {
            return tensors::to_vec(actor.mean(tensors::from_vec(obs.to_vec(), [n, obs_dim], device)));
        };
        // One upload. Environment `i` reads lane `i`.
        let stream = Stream::new(seed, "policy/act");
        let mut rows = Vec::with_capacity(n * (obs_dim + action_dim));
        for (&env, obs) in envs.iter().zip(obs.chunks_exact(obs_dim)) {
            let mut draws = stream.at(step, env as u32);
            rows.extend_from_slice(obs);
            rows.extend((0..action_dim).map(|_| draws.normal()));
        }
        let both = tensors::from_vec(rows, [n, obs_dim + action_dim], device);
        let (obs, noise) = (both.clone().narrow(1, 0, obs_dim), both.narrow(1, obs_dim, action_dim));
        tensors::to_vec(actor.sample(obs, noise))
    }
}
