//! Soft actor-critic (Haarnoja et al. 2018), as implemented in `pytorch_sac`.
//!
//! | symbol | shape | meaning |
//! |---|---|---|
//! | s, a, r, s' | `[B, O]`, `[B, A]`, `[B]`, `[B, O]` | a batch of transitions, real and imagined |
//! | not_terminated | `[B]` | 0 if the transition terminated at s', else 1; a time limit does not terminate |
//! | noise_next, noise | `[B, A]` | standard normals for the actions at s' and at s |
//!
//! y = r + γ not_terminated (min_n Q̄_n(s', a') − α log π(a'|s')); critic: Σ_n mean (Q_n(s, a) − y)²;
//! actor: mean(α log π(ã|s) − min_n Q_n(s, ã)); temperature: mean(α (−log π(ã|s) − H̄)).
//!
//! The minimum of y may be over a random subset of the target critics, drawn once per update. Either minimum may be a
//! mean instead ([`SacConfig`]). With ten critics, a subset of two and the actor's mean this is REDQ (Chen, Wang, Zhou,
//! Ross, "Randomized Ensembled Double Q-Learning", ICLR 2021).
//!
//! One update trains the critics. Every `policy_delay` updates it then trains actor and temperature; the temperature's
//! loss uses the log-probabilities before the actor's step. Every `target_update_interval` updates it then moves the
//! targets.
//!
//! [`Agent::update`] has three forms, and an agent's form is chosen when the agent is made:
//! * `by_tensors.rs`, with autodiff, is the specification. It supports every device and every combination of critics.
//! * `host.rs` runs in host memory, with derivatives written by hand. It allocates nothing once its buffers have their
//!   size.
//! * `device.rs` runs on a GPU (feature `wgpu`) in two dozen kernel launches, with derivatives written by hand.
//!
//! `host.rs` and `device.rs` support only the minimum over all critics.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use foresee_core::{Kind, State, StateError};
use foresee_nn::host::is_host;
use foresee_nn::{Adam, AdamConfig, Parameters, ValueHeads, ValueView, tensors};
use toml::Table;

use crate::actor::Actor;
use crate::agent::{Agent, AgentFactory, ReturnParameters, Update};
use crate::critic::Critic;
use crate::metrics;
use crate::policy::Policy;
use crate::preparation::{Preparation, RealTransitions};
use crate::temperature::LogTemperature;
use crate::values::AgentValues;

mod by_tensors;
mod config;
#[cfg(feature = "wgpu")]
mod device;
mod host;
mod losses;
mod panel;
#[cfg(test)]
mod tests;

pub use config::SacConfig;

use host::SacBuffers;
use losses::SacLosses;

/// Name of the stream of the normals `[B, A]` for the actions at next observations.
const NOISE_NEXT: &str = "agent/noise_next";
/// Name of the stream of the normals `[B, A]` for the actions at observations.
const NOISE: &str = "agent/noise";
/// Name of the stream of the words that choose target critics, one word per chosen critic.
const TARGET_SUBSET: &str = "agent/target_subset";

/// Returns SAC as an agent that a config can choose.
#[must_use]
pub fn kind() -> Kind<Arc<dyn AgentFactory>> {
    let line = "soft actor-critic: a squashed Gaussian policy and entropy-regularised returns";
    let build = |config: SacConfig| match config.problem() {
        Some(problem) => Err(problem),
        None => Ok(Arc::new(config) as Arc<dyn AgentFactory>),
    };
    Kind::new("sac", line, build).with_reference::<SacConfig>()
}

impl AgentFactory for SacConfig {
    fn build(&self, dims: [usize; 2], seed: u64, device: &Device) -> Box<dyn Agent> {
        Box::new(Sac::new(self, dims, seed, device))
    }

    fn resolved(&self, [_, action_dim]: [usize; 2]) -> Table {
        let target_entropy = Some(self.target_entropy.unwrap_or(-(action_dim as f64)));
        Table::try_from(Self { target_entropy, ..self.clone() }).expect("keys that came from TOML go back to TOML")
    }
}

/// The form of the updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpdateForm {
    /// On panels in host memory.
    Host,
    /// In kernels on a GPU.
    #[cfg(feature = "wgpu")]
    Kernels,
    /// In tensor operations with autodiff.
    Tensors,
}

impl UpdateForm {
    /// Returns the fastest form that supports the config, the networks and the device.
    fn of(config: &SacConfig, policy: &Policy, critic: &Critic, device: &Device) -> Self {
        let fused = config.is_lowest_of_all() && policy.net.is_fused() && critic.net.is_fused();
        #[cfg(feature = "wgpu")]
        if fused && config.spread == crate::policy::Spread::Bounded && foresee_nn::cube::is_cube(device) {
            return Self::Kernels;
        }
        if fused && is_host(device) { Self::Host } else { Self::Tensors }
    }
}

/// The steps, besides the critics', that are due in one update.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// Whether the actor and the temperature take a step.
    actor: bool,
    /// Whether the target critics move.
    target: bool,
}

/// A SAC agent with its optimisers.
#[derive(Clone, Debug)]
pub struct Sac {
    config: SacConfig,
    policy: Policy,
    critic: Critic,
    target: Critic,
    log_temperature: LogTemperature,
    actor_adam: Adam,
    critic_adam: Adam,
    temperature_adam: Adam,
    target_entropy: f64,
    preparation: Preparation,
    updates: u64,
    /// Losses of the last update.
    losses: Option<SacLosses>,
    form: UpdateForm,
    /// Buffers of the updates in host memory.
    buffers: SacBuffers,
    /// Noise `[B, A]` of the updates in host memory, at next observations and at observations.
    noise: [Vec<f32>; 2],
}

impl Sac {
    /// Returns a new agent for observations and actions of `[O, A]` entries.
    #[must_use]
    pub fn new(config: &SacConfig, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let policy = Policy::new(&config.actor_body(), dims, seed, device).with_spread(config.spread);
        let critic = Critic::new(config.critics, &config.critic_body(), dims, seed, device);
        let log_temperature = LogTemperature::new(config.initial_temperature, device);
        Self {
            actor_adam: Adam::new(AdamConfig::new(config.actor_lr), &policy),
            critic_adam: Adam::new(AdamConfig::new(config.critic_lr), &critic),
            temperature_adam: Adam::new(AdamConfig::new(config.temperature_lr), &log_temperature),
            target_entropy: config.target_entropy.unwrap_or(-(dims[1] as f64)),
            target: critic.clone(),
            config: config.clone(),
            form: UpdateForm::of(config, &policy, &critic, device),
            policy,
            critic,
            log_temperature,
            preparation: Preparation::new(
                dims[0],
                config.normalize_observations,
                config.scale_rewards.then_some(config.discount),
            ),
            updates: 0,
            losses: None,
            buffers: SacBuffers::default(),
            noise: [vec![], vec![]],
        }
    }

    /// The actor.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The online critics.
    #[must_use]
    pub fn critic(&self) -> &Critic {
        &self.critic
    }

    /// The target critics.
    #[must_use]
    pub fn target(&self) -> &Critic {
        &self.target
    }

    /// The temperature α, `[1]`.
    #[must_use]
    pub fn temperature(&self) -> Tensor<1> {
        self.log_temperature.0.get().clone().exp().reshape([1])
    }

    /// Number of entries of observations and actions, `[O, A]`.
    fn dims(&self) -> [usize; 2] {
        [self.policy.net().inputs(), self.policy.action_dim()]
    }

    fn device(&self) -> Device {
        self.log_temperature.0.get().device()
    }
}

impl Agent for Sac {
    fn update(&mut self, Update { batch, noise, critic_only, .. }: Update<'_>) {
        let [actor, target] = [self.config.policy_delay, self.config.target_update_interval]
            .map(|every| self.updates.is_multiple_of(every));
        let due = Due { actor: actor && !critic_only, target };
        self.updates += 1;
        if batch.rows() == 0 {
            self.losses = Some(SacLosses::NONE);
            return;
        }
        // The batch is already scaled, so the policy must not scale it again.
        self.policy.scale = None;
        let in_tensors = |agent: &Self| agent.preparation.prepare_tensors(batch.tensors(agent.dims(), &agent.device()));
        let losses = match self.form {
            UpdateForm::Host if self.preparation.is_none() => self.update_host(&batch.host(), noise, due),
            UpdateForm::Host => self.update_host(&self.preparation.prepare_host(&batch.host()), noise, due),
            #[cfg(feature = "wgpu")]
            UpdateForm::Kernels => self.update_device(&in_tensors(self), noise, due),
            UpdateForm::Tensors => self.update_tensors(&in_tensors(self), noise, due),
        };
        self.policy.scale = self.preparation.scale().cloned();
        self.losses = Some(losses);
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn report(&self) -> Vec<(&'static str, f64)> {
        let Some(losses) = &self.losses else { return vec![] };
        let ([critic_loss, target_mean, temperature], actor) = losses.read(self.temperature());
        // Converts to the task's own reward units.
        let unit = self.preparation.unit();
        let mut values = vec![
            (metrics::CRITIC_LOSS, critic_loss * unit * unit),
            (metrics::TARGET_VALUE, target_mean * unit),
            (metrics::TEMPERATURE, temperature * unit),
        ];
        if let Some([loss, entropy]) = actor {
            values.extend([(metrics::ACTOR_LOSS, loss * unit), (metrics::ENTROPY, entropy)]);
        }
        values.push((metrics::UPDATES, self.updates as f64));
        values
    }

    fn actor(&self) -> &dyn Actor {
        &self.policy
    }

    fn values(&self, heads: ValueHeads, through_policy: bool) -> Box<dyn ValueView + '_> {
        let view = AgentValues::prepared(heads, &self.policy, &self.critic, &self.target, &self.preparation);
        Box::new(view.through_policy(through_policy))
    }

    fn return_parameters(&self) -> Option<ReturnParameters> {
        Some(ReturnParameters {
            discount: self.config.discount,
            temperature: f64::from(tensors::to_f32(self.temperature())) * self.preparation.unit(),
        })
    }

    fn observed(&self) -> Option<u64> {
        self.preparation.seen()
    }

    fn observe(&mut self, seen: RealTransitions<'_>) {
        self.preparation.observe(seen);
        self.policy.scale = self.preparation.scale().cloned();
    }

    fn noise_streams(&self) -> &'static [&'static str] {
        &[NOISE_NEXT, NOISE]
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.nest("actor", self.policy.save());
        state.nest("critic", self.critic.save());
        state.nest("target", self.target.save());
        state.nest("temperature", self.log_temperature.save());
        state.nest("actor_adam", self.actor_adam.save(&self.policy));
        state.nest("critic_adam", self.critic_adam.save(&self.critic));
        state.nest("temperature_adam", self.temperature_adam.save(&self.log_temperature));
        state.nest("preparation", self.preparation.save());
        state.put("updates", self.updates);
        state
    }

    fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.policy.load(state.part("actor"))?;
        self.critic.load(state.part("critic"))?;
        self.target.load(state.part("target"))?;
        self.log_temperature.load(state.part("temperature"))?;
        self.actor_adam.load(&self.policy, state.part("actor_adam"))?;
        self.critic_adam.load(&self.critic, state.part("critic_adam"))?;
        self.temperature_adam.load(&self.log_temperature, state.part("temperature_adam"))?;
        self.preparation.load(state.part("preparation"))?;
        self.policy.scale = self.preparation.scale().cloned();
        self.updates = state.u64("updates")?;
        self.losses = None;
        state.finish()
    }
}
