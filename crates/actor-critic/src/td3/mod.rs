//! TD3 (Fujimoto, van Hoof, Meger, "Addressing Function Approximation Error in Actor-Critic Methods", ICML 2018), in
//! tensor operations only.
//!
//! | symbol | shape | meaning |
//! |---|---|---|
//! | s, a, r, s' | `[B, O]`, `[B, A]`, `[B]`, `[B, O]` | a batch of transitions, real and imagined |
//! | not_terminated | `[B]` | 0 if the transition terminated at s', else 1; a time limit does not terminate |
//! | ε | `[B, A]` | standard normals for the target's actions at s' |
//!
//! a' = clip(mu̅(s') + clip(σ ε, −c, c), −1, 1); y = r + γ not_terminated min_n Q̄_n(s', a');
//! critic: Σ_n mean (Q_n(s, a) − y)²; actor: −mean Q_1(s, mu(s)).
//!
//! One update trains the critics. Every `policy_delay` updates it then trains the actor, and after it moves all
//! targets.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use foresee_core::{Kind, State, StateError};
use foresee_nn::{Adam, AdamConfig, Parameters, ValueHeads, ValueView, tensors};
use toml::Table;

use crate::actor::Actor;
use crate::agent::{Agent, AgentFactory, ReturnParameters, Update};
use crate::batch::TensorBatch;
use crate::critic::{Critic, Reduction};
use crate::metrics;
use crate::noise::Noise;
use crate::observations::Scale;
use crate::preparation::{Preparation, RealTransitions};
use crate::values::AgentValues;

mod actor;
mod config;
#[cfg(test)]
mod tests;

pub use actor::DeterministicActor;
pub use config::Td3Config;

/// Number of critics.
const CRITICS: usize = 2;
/// Name of the stream of the normals `[B, A]` for the target's actions at next observations.
const NOISE_NEXT: &str = "agent/noise_next";

/// Returns TD3 as an agent that a config can choose.
#[must_use]
pub fn kind() -> Kind<Arc<dyn AgentFactory>> {
    let build = |config: Td3Config| match config.problem() {
        Some(problem) => Err(problem),
        None => Ok(Arc::new(config) as Arc<dyn AgentFactory>),
    };
    Kind::new("td3", "TD3: a deterministic policy with exploration noise, and twin critics", build)
        .with_reference::<Td3Config>()
}

impl AgentFactory for Td3Config {
    fn build(&self, dims: [usize; 2], seed: u64, device: &Device) -> Box<dyn Agent> {
        Box::new(Td3::new(self, dims, seed, device))
    }

    fn resolved(&self, _: [usize; 2]) -> Table {
        Table::try_from(self).expect("keys that came from TOML go back to TOML")
    }
}

/// A network with its target network and its optimiser.
#[derive(Clone, Debug)]
struct Trained<N> {
    net: N,
    target: N,
    adam: Adam,
}

impl<N: Parameters> Trained<N> {
    fn new(net: N, lr: f64) -> Self {
        Self { target: net.clone(), adam: Adam::new(AdamConfig::new(lr), &net), net }
    }

    /// Takes one optimiser step down the gradient of `loss`, and returns the loss before the step, `[1]`.
    fn descend(&mut self, loss: impl FnOnce(&N) -> Tensor<1>) -> Tensor<1> {
        let tracked = self.net.tracked();
        let loss = loss(&tracked);
        let gradient = tracked.gradient(&mut loss.backward());
        drop(tracked);
        self.adam.step(&mut self.net, gradient);
        loss.inner()
    }
}

/// A TD3 agent with its optimisers.
#[derive(Clone, Debug)]
pub struct Td3 {
    config: Td3Config,
    dims: [usize; 2],
    device: Device,
    actor: Trained<DeterministicActor>,
    critic: Trained<Critic>,
    preparation: Preparation,
    updates: u64,
    /// Losses of the last update, `[1]` each: the critics' loss, the mean target, and the actor's loss if the actor was
    /// updated.
    losses: Option<(Tensor<1>, Tensor<1>, Option<Tensor<1>>)>,
}

impl Td3 {
    /// Returns a new agent for observations and actions of `[O, A]` entries.
    #[must_use]
    pub fn new(config: &Td3Config, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let actor = DeterministicActor::new(config, dims, seed, device);
        let critic = Critic::new(CRITICS, &config.critic_body(), dims, seed, device);
        Self {
            config: config.clone(),
            dims,
            device: device.clone(),
            actor: Trained::new(actor, config.actor_lr),
            critic: Trained::new(critic, config.critic_lr),
            preparation: Preparation::new(
                dims[0],
                config.normalize_observations,
                config.scale_rewards.then_some(config.discount),
            ),
            updates: 0,
            losses: None,
        }
    }

    /// Sets the map from the task's observations to the inputs of the actor and of its target.
    fn set_scale(&mut self, scale: Option<Arc<Scale>>) {
        self.actor.net.scale.clone_from(&scale);
        self.actor.target.scale = scale;
    }

    /// Returns the regression target y of the critics, `[B]`, for a batch that is already scaled for the networks.
    #[must_use]
    pub fn critic_target(&self, batch: &TensorBatch, noise: &dyn Noise) -> Tensor<1> {
        let Td3Config { policy_noise, noise_clip, discount, .. } = self.config;
        let normals = noise.normals(NOISE_NEXT, batch.action.dims(), &self.device);
        let smoothing = normals.mul_scalar(policy_noise).clamp(-noise_clip, noise_clip);
        let action = (self.actor.target.mean(batch.next_obs.clone()) + smoothing).clamp(-1.0, 1.0);
        let value = Reduction::Min.of(self.critic.target.values(batch.next_obs.clone(), action));
        batch.reward.clone() + batch.not_terminated.clone() * value.mul_scalar(discount)
    }
}

impl Agent for Td3 {
    fn update(&mut self, Update { batch, noise, critic_only, .. }: Update<'_>) {
        self.updates += 1;
        let actor_due = self.updates.is_multiple_of(self.config.policy_delay) && !critic_only;
        if batch.rows() == 0 {
            let zero = || Tensor::zeros([1], &self.device);
            self.losses = Some((zero(), zero(), None));
            return;
        }
        let batch = self.preparation.prepare_tensors(batch.tensors(self.dims, &self.device));
        // The batch is already scaled, so the actors must not scale it again.
        self.set_scale(None);

        // Critic.
        let y = self.critic_target(&batch, noise);
        let critic_loss = self.critic.descend(|critic| {
            let q = critic.values(batch.obs.clone(), batch.action.clone());
            (q - y.clone().unsqueeze_dim(0)).square().mean_dim(1).sum()
        });

        // Actor and targets.
        let actor_loss = actor_due.then(|| {
            // The critics are constants here, because their weights are not tracked.
            let critic = &self.critic.net;
            let loss = self.actor.descend(|actor| {
                let q = critic.values(batch.obs.clone(), actor.mean(batch.obs.clone()));
                q.narrow(0, 0, 1).mean().neg()
            });
            self.actor.target.polyak(&self.actor.net, self.config.tau);
            self.critic.target.polyak(&self.critic.net, self.config.tau);
            loss
        });
        self.set_scale(self.preparation.scale().cloned());
        let unit = self.preparation.unit();
        self.losses = Some((
            critic_loss.mul_scalar(unit * unit),
            y.mean().mul_scalar(unit),
            actor_loss.map(|loss| loss.mul_scalar(unit)),
        ));
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn report(&self) -> Vec<(&'static str, f64)> {
        let Some((critic_loss, target_mean, actor_loss)) = &self.losses else { return vec![] };
        // All numbers are read from the device together.
        let all = [critic_loss, target_mean].into_iter().chain(actor_loss).cloned().collect();
        let names = [metrics::CRITIC_LOSS, metrics::TARGET_VALUE, metrics::ACTOR_LOSS];
        let numbers = tensors::to_vec(Tensor::<1>::cat(all, 0)).into_iter().map(f64::from);
        let mut values: Vec<_> = names.into_iter().zip(numbers).collect();
        values.push((metrics::UPDATES, self.updates as f64));
        values
    }

    fn actor(&self) -> &dyn Actor {
        &self.actor.net
    }

    fn values(&self, heads: ValueHeads, through_policy: bool) -> Box<dyn ValueView + '_> {
        let view =
            AgentValues::prepared(heads, &self.actor.net, &self.critic.net, &self.critic.target, &self.preparation);
        Box::new(view.through_policy(through_policy))
    }

    fn return_parameters(&self) -> Option<ReturnParameters> {
        Some(ReturnParameters { discount: self.config.discount, temperature: 0.0 })
    }

    fn observed(&self) -> Option<u64> {
        self.preparation.seen()
    }

    fn observe(&mut self, seen: RealTransitions<'_>) {
        self.preparation.observe(seen);
        self.set_scale(self.preparation.scale().cloned());
    }

    fn noise_streams(&self) -> &'static [&'static str] {
        &[NOISE_NEXT]
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.nest("actor", self.actor.net.save());
        state.nest("actor_target", self.actor.target.save());
        state.nest("actor_adam", self.actor.adam.save(&self.actor.net));
        state.nest("critic", self.critic.net.save());
        state.nest("target", self.critic.target.save());
        state.nest("critic_adam", self.critic.adam.save(&self.critic.net));
        state.nest("preparation", self.preparation.save());
        state.put("updates", self.updates);
        state
    }

    fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.actor.net.load(state.part("actor"))?;
        self.actor.target.load(state.part("actor_target"))?;
        self.actor.adam.load(&self.actor.net, state.part("actor_adam"))?;
        self.critic.net.load(state.part("critic"))?;
        self.critic.target.load(state.part("target"))?;
        self.critic.adam.load(&self.critic.net, state.part("critic_adam"))?;
        self.preparation.load(state.part("preparation"))?;
        self.set_scale(self.preparation.scale().cloned());
        self.updates = state.u64("updates")?;
        self.losses = None;
        state.finish()
    }
}
