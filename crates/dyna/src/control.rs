//! Controllers, which turn observations into actions. Acting is thereby separate from learning.
//!
//! The default is the agent's own actor ([`ActorController`]). A planner would be another controller: it can read the
//! agent's values and the world model, and `eval` loads the model for it. A controller of another crate is added to a
//! run by a [`ControllerFactory`].

use std::sync::Arc;

use burn::tensor::Device;
use foresee_actor_critic::Agent;
use foresee_core::{State, StateError, Stream};
use foresee_world_model::WorldModel;

use crate::ends::EndRule;

/// The purpose of the actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Acting to collect transitions, with exploration.
    Explore,
    /// Acting in an evaluation, with the best known action.
    Evaluate,
}

/// A request for actions at `N` observations.
///
/// The random draws of row `n` are addressed by `ids[n]` and `steps[n]`. They depend neither on other rows nor on the
/// number of rows.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The purpose of the actions.
    pub mode: Mode,
    /// Index of each row's environment in training, or of its episode in an evaluation, `[N]`.
    pub ids: &'a [usize],
    /// Number of steps so far, of the environment in training or of the episode in an evaluation, `[N]`.
    pub steps: &'a [u64],
    /// Observations, `[N, O]`.
    pub obs: &'a [f32],
}

/// The learned networks and the settings that a controller may use.
#[derive(Clone, Copy)]
pub struct Knowledge<'a> {
    /// The agent, with its actor and values.
    pub agent: &'a dyn Agent,
    /// The world model, if the run has one and has fitted it at least once. [`Run::evaluate_snapshot`] loads it for a
    /// controller that [needs](Controller::needs_model) it.
    ///
    /// [`Run::evaluate_snapshot`]: crate::Run::evaluate_snapshot
    pub model: Option<&'a dyn WorldModel>,
    /// The rule by which imagined episodes end.
    pub termination: EndRule<'a>,
    /// The run's seed.
    pub seed: u64,
    /// The device of agent and model.
    pub device: &'a Device,
}

/// A map from observations to actions, which may have a memory.
pub trait Controller: Send {
    /// Returns actions `[N, A]` in [-1, 1] for `N` observations.
    fn act(&mut self, knowledge: &Knowledge<'_>, observed: &Observed<'_>) -> Vec<f32>;

    /// Starts an episode of the rows with this [id](Observed::ids): the controller forgets its memory of their last
    /// episode. Called before the first action of every episode.
    fn begin(&mut self, id: usize) {
        let _ = id;
    }

    /// Whether the controller uses the world model.
    fn needs_model(&self) -> bool {
        false
    }

    /// Returns the controller's memory between steps as arrays; empty for most controllers.
    fn save(&self) -> State {
        State::new()
    }

    /// Restores the controller's memory.
    ///
    /// # Errors
    /// If an array is missing, has another shape, or is unknown.
    fn load(&mut self, state: State) -> Result<(), StateError> {
        state.finish()
    }
}

/// A factory of the run's controllers: one for training, and a new one for every evaluation, so that evaluations do not
/// disturb training.
pub type ControllerFactory = Arc<dyn Fn() -> Box<dyn Controller> + Send + Sync>;

/// The agent's actor as a controller: sampled actions for exploration, the evaluation action otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActorController;

impl Controller for ActorController {
    fn act(&mut self, knowledge: &Knowledge<'_>, observed: &Observed<'_>) -> Vec<f32> {
        let Knowledge { agent, seed, device, .. } = *knowledge;
        let Observed { mode, ids, steps, obs } = *observed;
        let (actor, n) = (agent.actor(), ids.len());
        if mode == Mode::Evaluate {
            return actor.act(obs, n, None, device);
        }
        let stream = Stream::new(seed, "policy/act");
        let mut noise = Vec::with_capacity(n * actor.action_dim());
        for (&id, &step) in ids.iter().zip(steps) {
            let mut draws = stream.at(step, id as u32);
            noise.extend((0..actor.action_dim()).map(|_| draws.normal()));
        }
        actor.act(obs, n, Some(&noise), device)
    }
}
