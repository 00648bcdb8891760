//! Acting apart from learning: a controller turns observations into actions.
//!
//! The first is the agent's own actor ([`ActorController`]). A planner is another: it sees the agent's values and the
//! world model, and `eval` loads the model for it. A controller of another crate joins a run by a [`ControllerFactory`].

use std::sync::Arc;

use burn::tensor::Device;
use foresee_actor_critic::Agent;
use foresee_core::{State, StateError, Stream, Termination};
use foresee_world_model::WorldModel;

/// The purpose of the actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To learn from: with exploration.
    Explore,
    /// To be evaluated: the best that the controller knows.
    Evaluate,
}

/// `N` observations that ask for actions. A random draw of row `n` is addressed by `lanes[n]` and `steps[n]`, so that it
/// depends neither on the other rows nor on how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The purpose of the actions.
    pub mode: Mode,
    /// The number of each row's environment in training, of its episode in an evaluation, `[N]`.
    pub lanes: &'a [usize],
    /// Steps so far, of the environment in training and of the episode in an evaluation, `[N]`.
    pub steps: &'a [u64],
    /// Observations, `[N, O]`.
    pub obs: &'a [f32],
}

/// The learned networks and the settings that a controller may use.
#[derive(Clone, Copy)]
pub struct Knowledge<'a> {
    /// The agent: its actor and values.
    pub agent: &'a dyn Agent,
    /// The world model, where the run has one, from its first training call on. [`Run::evaluate_snapshot`] loads it for a
    /// controller that [needs](Controller::needs_model) it.
    ///
    /// [`Run::evaluate_snapshot`]: crate::Run::evaluate_snapshot
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
    /// Actions `[N, A]` in [-1, 1] for `N` observations.
    fn act(&mut self, knowledge: &Knowledge<'_>, observed: &Observed<'_>) -> Vec<f32>;

    /// An episode begins in a lane: what is remembered of the last one there is forgotten. It is called before the first
    /// action of every episode.
    fn begin(&mut self, lane: usize) {
        let _ = lane;
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

/// Makes the controllers of a run: one for training, and a fresh one for every evaluation, which disturbs nothing.
pub type ControllerFactory = Arc<dyn Fn() -> Box<dyn Controller> + Send + Sync>;

/// The agent's actor: sampled actions to explore, its evaluated action else.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActorController;

impl Controller for ActorController {
    fn act(&mut self, knowledge: &Knowledge<'_>, observed: &Observed<'_>) -> Vec<f32> {
        let Knowledge { agent, seed, device, .. } = *knowledge;
        let Observed { mode, lanes, steps, obs } = *observed;
        let (actor, n) = (agent.actor(), lanes.len());
        if mode == Mode::Evaluate {
            return actor.act(obs, n, None, device);
        }
        let stream = Stream::new(seed, "policy/act");
        let mut noise = Vec::with_capacity(n * actor.action_dim());
        for (&lane, &step) in lanes.iter().zip(steps) {
            let mut draws = stream.at(step, lane as u32);
            noise.extend((0..actor.action_dim()).map(|_| draws.normal()));
        }
        actor.act(obs, n, Some(&noise), device)
    }
}
