//! The agent of DHMBPO (Kubo, Dinh, Tanaka, "Double Horizon Model-Based Policy Optimization", TMLR 2025).
//!
//! Actor and critics are trained through the model, on short differentiable rollouts. The rollouts start from states
//! that longer ordinary rollouts visited.
//!
//! | symbol | shape | meaning |
//! |---|---|---|
//! | s_0 | `[B, O]` | observations of the batch; nothing else of the batch is used |
//! | a_k, l_k | `[B, A]`, `[B]` | the policy's sampled action at s_k and log π(a_k\|s_k), k = 0 … H |
//! | s_{k+1}, r_k | `[B, O]`, `[B]` | the model's prediction for (s_k, a_k), k = 0 … H − 1 |
//! | m_k | `[B]` | 1 until the imagined episode terminates, then 0: m_0 = 1, m_{k+1} = m_k not_terminated(s_{k+1}) |
//!
//! The bounds of the values follow the quantiles of all r_k − α l_k, divided by 1 − γ (`bounds`). With w half the
//! distance between the bounds and c their middle, the critics are Q = c + w net.
//!
//! Target: y = r_0 + Σ_{k=1}^{H−1} γᵏ m_k (r_k − α l_k) + γᴴ m_H (Q̄(s_H, a_H) − α l_H), where Q̄ is the minimum of
//! some of the target critics, clipped to the bounds. Critics: Σ_n mean (Q_n(s_0, a_0) − y)²; after their step the
//! target critics move.
//!
//! Actor: −mean( Σ_{k=0}^{H−1} γᵏ m_k (r_k − α l_k) + γᴴ m_H (mean_n Q_n(s_H, a_H) − α l_H) ). It uses the critics
//! after their step. Its gradient goes through actions, log-probabilities, rewards and next states; masks and α are
//! constants. Temperature: mean(α (−l_0 − H̄)).
//!
//! An update may train the critics alone. An update has two forms:
//! * `by_tensors.rs`, with autodiff, is the specification, for every device and every model.
//! * `host.rs` has its derivatives written by hand, on panels in host memory. It needs a model that has such a form
//!   too. `dyna/tests/double_horizon.rs`, which has a model, compares both forms.
//!
//! The published code (4kubo/erl_lib @ 024b0b5) has an error that is not reproduced here: it takes the mean and the
//! noise of a prediction from different ensemble members. Here both come from one member.

mod bounds;
mod by_tensors;
mod config;
mod draws;
mod host;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::tensor::Device;
use foresee_core::metric::of_part;
use foresee_core::{Kind, State, StateError};
use foresee_nn::host::is_host;
use foresee_nn::{Adam, AdamConfig, Init, Parameters, ValueHeads, ValueView, tensors};
use toml::Table;

pub use bounds::ValueBounds;
pub use config::DhmbpoConfig;
pub use draws::{DhmbpoDraws, UpdateSizes};
use host::DhmbpoBuffers;

use crate::actor::Actor;
use crate::agent::{Agent, AgentFactory, ReturnParameters, Update};
use crate::critic::Critic;
use crate::metrics;
use crate::observations::RunningMoments;
use crate::policy::Policy;
use crate::preparation::RealTransitions;
use crate::temperature::LogTemperature;
use crate::values::AgentValues;

/// Returns DHMBPO as an agent that a config can choose.
#[must_use]
pub fn kind() -> Kind<Arc<dyn AgentFactory>> {
    let line = "DHMBPO: actor and critics trained through the model, on short differentiable rollouts";
    let build = |config: DhmbpoConfig| match config.problem() {
        Some(problem) => Err(problem),
        None => Ok(Arc::new(config) as Arc<dyn AgentFactory>),
    };
    Kind::new("dhmbpo", line, build).with_reference::<DhmbpoConfig>()
}

impl AgentFactory for DhmbpoConfig {
    fn build(&self, dims: [usize; 2], seed: u64, device: &Device) -> Box<dyn Agent> {
        Box::new(Dhmbpo::new(self, dims, seed, device))
    }

    fn resolved(&self, [_, action_dim]: [usize; 2]) -> Table {
        let target_entropy = Some(self.target_entropy.unwrap_or(-(action_dim as f64)));
        Table::try_from(Self { target_entropy, ..self.clone() }).expect("keys that came from TOML go back to TOML")
    }

    fn needs_model(&self) -> bool {
        true
    }
}

/// A DHMBPO agent with its optimisers.
#[derive(Clone, Debug)]
pub struct Dhmbpo {
    config: DhmbpoConfig,
    policy: Policy,
    /// Critics of normalised observations; the bounds scale their outputs.
    critic: Critic,
    target: Critic,
    log_temperature: LogTemperature,
    actor_adam: Adam,
    critic_adam: Adam,
    temperature_adam: Adam,
    target_entropy: f64,
    bounds: ValueBounds,
    moments: RunningMoments,
    updates: u64,
    /// Losses and estimates of the last update.
    losses: Option<DhmbpoLosses>,
    draws: DhmbpoDraws,
    buffers: DhmbpoBuffers,
}

/// Means over the rows of an update, computed before its optimiser steps.
#[derive(Clone, Debug, PartialEq)]
struct DhmbpoLosses {
    /// Σ_n mean (Q_n − y)².
    critic_loss: f64,
    target_mean: f64,
    /// mean m_H.
    alive: f64,
    /// mean r_k over all rows and steps.
    reward: f64,
    /// −mean l_0, nats.
    entropy: f64,
    /// The actor's loss; `None` if the actor was not updated.
    actor_loss: Option<f64>,
    /// Norms of the gradient of a row's soft return with respect to s_k, k = 1 … H, in standard deviations of the
    /// observations, mean over rows; empty if the actor was not updated.
    gradients: Vec<f64>,
}

impl Dhmbpo {
    /// Returns a new agent for observations and actions of `[O, A]` entries. Initially every value is the middle of the
    /// bounds.
    #[must_use]
    pub fn new(config: &DhmbpoConfig, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let policy = Policy::new(&config.actor_body(), dims, seed, device).with_spread(config.spread);
        let critic = Critic::drawn(config.critics, &config.critic_body(), dims, Init::Kaiming, seed, device);
        let critic = Critic { net: critic.net.with_zero_output() };
        let log_temperature = LogTemperature::new(config.initial_temperature, device);
        Self {
            actor_adam: Adam::new(AdamConfig::new(config.actor_lr), &policy),
            critic_adam: Adam::new(AdamConfig::new(config.critic_lr), &critic),
            temperature_adam: Adam::new(AdamConfig::new(config.temperature_lr), &log_temperature),
            target_entropy: config.target_entropy.unwrap_or(-(dims[1] as f64)),
            target: critic.clone(),
            config: config.clone(),
            policy,
            critic,
            log_temperature,
            bounds: ValueBounds::default(),
            moments: RunningMoments::new(dims[0]),
            updates: 0,
            losses: None,
            draws: DhmbpoDraws::default(),
            buffers: DhmbpoBuffers::default(),
        }
    }

    /// The actor.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The online critics of normalised observations, without the scaling by the bounds.
    #[must_use]
    pub fn critic(&self) -> &Critic {
        &self.critic
    }

    /// The bounds of the values.
    #[must_use]
    pub fn bounds(&self) -> ValueBounds {
        self.bounds
    }

    /// Number of entries of observations and actions, `[O, A]`.
    fn dims(&self) -> [usize; 2] {
        [self.policy.net().inputs(), self.policy.action_dim()]
    }

    fn device(&self) -> Device {
        self.log_temperature.0.get().device()
    }

    /// The temperature α.
    fn alpha(&self) -> f64 {
        f64::from(tensors::to_f32(self.log_temperature.0.get().clone().reshape([1]))).exp()
    }

    /// Sets the normalisation of the networks' observations to the current moments.
    fn rescale(&mut self) {
        self.policy.scale = self.config.normalize_observations.then(|| Arc::new(self.moments.scale()));
    }

    /// Takes the temperature's step, if it is learned. d/d(log α) of α (entropy − H̄) is α (entropy − H̄).
    fn update_temperature(&mut self, alpha: f64, entropy: f64) {
        if self.config.learn_temperature {
            let gradient = (alpha * (entropy - self.target_entropy)) as f32;
            let gradient = tensors::from_vec(vec![gradient], [1, 1, 1], &self.device());
            self.temperature_adam.step(&mut self.log_temperature, gradient);
        }
    }
}

impl Agent for Dhmbpo {
    /// Makes one update. Without a model, or without rows, nothing changes except the number of updates.
    fn update(&mut self, Update { batch, noise, dynamics, critic_only }: Update<'_>) {
        self.updates += 1;
        let Some(dynamics) = dynamics.filter(|_| batch.rows() > 0) else { return };
        let rows = batch.rows();
        let sizes = UpdateSizes {
            rows,
            horizon: self.config.horizon,
            action_dim: self.dims()[1],
            noise_width: dynamics.noise_width(),
            critics: self.config.critics,
            subset: self.config.target_subset,
        };
        let mut draws = std::mem::take(&mut self.draws);
        draws.fill(noise, sizes);
        let fused = is_host(&self.device()) && self.policy.net.is_fused() && self.critic.net.is_fused();
        let losses = match dynamics.on_panels().filter(|_| fused) {
            Some(panels) => self.update_host(&batch.host().obs, &draws, sizes, &*panels, critic_only),
            None => {
                let starts = batch.tensors(self.dims(), &self.device()).obs;
                self.update_tensors(starts, &draws, dynamics, critic_only)
            }
        };
        self.draws = draws;
        self.losses = Some(losses);
    }

    fn updates(&self) -> u64 {
        self.updates
    }

    fn report(&self) -> Vec<(&'static str, f64)> {
        let Some(losses) = &self.losses else { return vec![] };
        let [low, high] = self.bounds.ends();
        let mut values = vec![
            (metrics::CRITIC_LOSS, losses.critic_loss),
            (metrics::TARGET_VALUE, losses.target_mean),
            (metrics::TEMPERATURE, self.alpha()),
        ];
        values.extend(losses.actor_loss.map(|loss| (metrics::ACTOR_LOSS, loss)));
        values.extend([
            (metrics::ENTROPY, losses.entropy),
            (metrics::VALUE_LOW, low),
            (metrics::VALUE_HIGH, high),
            (metrics::HORIZON_ALIVE, losses.alive),
            (metrics::HORIZON_REWARD, losses.reward),
        ]);
        let of_step = |(k, &norm): (usize, &f64)| (of_part(metrics::HORIZON_GRADIENT, k + 1), norm);
        values.extend(losses.gradients.iter().enumerate().map(of_step));
        values.push((metrics::UPDATES, self.updates as f64));
        values
    }

    fn actor(&self) -> &dyn Actor {
        &self.policy
    }

    fn values(&self, heads: ValueHeads, through_policy: bool) -> Box<dyn ValueView + '_> {
        let fold = |critic: &Critic| {
            std::borrow::Cow::Owned(critic.folded(self.policy.scale(), self.bounds.scale_and_shift()))
        };
        let critics = match heads {
            ValueHeads::All => vec![fold(&self.critic), fold(&self.target)],
            ValueHeads::Target => vec![fold(&self.target)],
        };
        Box::new(AgentValues::with(&self.policy, critics).through_policy(through_policy))
    }

    fn return_parameters(&self) -> Option<ReturnParameters> {
        Some(ReturnParameters { discount: self.config.discount, temperature: self.alpha() })
    }

    fn observed(&self) -> Option<u64> {
        self.config.normalize_observations.then(|| self.moments.count())
    }

    fn observe(&mut self, seen: RealTransitions<'_>) {
        self.moments.observe(seen.obs);
        self.rescale();
    }

    fn forget_moments(&mut self) {
        for adam in [&mut self.actor_adam, &mut self.critic_adam, &mut self.temperature_adam] {
            adam.reset();
        }
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
        state.nest("bounds", self.bounds.save());
        state.nest("observations", self.moments.save());
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
        self.bounds = ValueBounds::restore(state.part("bounds"))?;
        self.moments.load(state.part("observations"))?;
        self.rescale();
        self.updates = state.u64("updates")?;
        self.losses = None;
        state.finish()
    }
}
