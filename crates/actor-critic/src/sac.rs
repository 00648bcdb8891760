//! Soft actor-critic (Haarnoja et al. 2018) as `pytorch_sac` writes it.
//!
//! | symbol | shape | meaning |
//! |---|---|---|
//! | s, a, r, s' | `[B, O]`, `[B, A]`, `[B]`, `[B, O]` | a batch of transitions, real and imagined |
//! | not_terminated | `[B]` | 0 where the task ended at s'; a time limit does not end it |
//! | noise_next, noise | `[B, A]` | standard normals for the actions at s' and at s |
//!
//! y = r + γ not_terminated (min_n Q̄_n(s', a') − α log π(a'|s')); critic: Σ_n mean (Q_n(s, a) − y)²;
//! actor: mean(α log π(ã|s) − min_n Q_n(s, ã)); temperature: mean(α (−log π(ã|s) − H̄)).
//!
//! One update: critic, then every `actor_every` updates actor and temperature (with the log-probabilities before the
//! actor's step), then every `target_every` updates the targets.

use burn::tensor::{Device, Tensor};
use foresee_core::{State, StateError};
use foresee_nn::{Adam, AdamConfig, Parameters, tensors};

use crate::config::AgentConfig;
use crate::critic::Critic;
use crate::policy::Policy;
use crate::values::AgentValues;

/// A batch of transitions on the device.
#[derive(Clone, Debug)]
pub struct TensorBatch {
    /// `[B, O]`
    pub obs: Tensor<2>,
    /// `[B, A]`
    pub action: Tensor<2>,
    /// `[B]`
    pub reward: Tensor<1>,
    /// `[B, O]`
    pub next_obs: Tensor<2>,
    /// `[B]`
    pub not_terminated: Tensor<1>,
}

/// One number, `[1, 1, 1]`: log α.
#[derive(Clone, Debug)]
struct LogTemperature(Tensor<3>);

impl Parameters for LogTemperature {
    fn parameters(&self) -> Vec<(String, &Tensor<3>)> {
        vec![("log_temperature".into(), &self.0)]
    }

    fn parameters_mut(&mut self) -> Vec<&mut Tensor<3>> {
        vec![&mut self.0]
    }
}

/// What an update leaves to look at. Nothing is read back from the device until asked.
#[derive(Clone, Debug)]
pub struct UpdateMetrics {
    /// Sum of both critics' losses.
    pub critic_loss: Tensor<1>,
    /// Mean of the targets y.
    pub target_mean: Tensor<1>,
    /// The actor's loss and the mean entropy, nats; absent where the actor was not updated.
    pub actor: Option<[Tensor<1>; 2]>,
}

/// The agent with its optimisers.
#[derive(Clone, Debug)]
pub struct Sac {
    config: AgentConfig,
    policy: Policy,
    critic: Critic,
    target: Critic,
    log_temperature: LogTemperature,
    actor_adam: Adam,
    critic_adam: Adam,
    temperature_adam: Adam,
    target_entropy: f64,
    updates: u64,
}

impl Sac {
    /// A fresh agent for observations and actions of `[O, A]` entries.
    #[must_use]
    pub fn new(config: &AgentConfig, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let policy = Policy::new(config, dims, seed, device);
        let critic = Critic::new(config, dims, seed, device);
        let log_temperature =
            LogTemperature(tensors::from_vec(vec![config.initial_temperature.ln() as f32], [1, 1, 1], device));
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
            updates: 0,
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

    /// Updates made so far.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// α, `[1]`.
    #[must_use]
    pub fn temperature(&self) -> Tensor<1> {
        self.log_temperature.0.clone().exp().reshape([1])
    }

    /// Values with the critics' and the targets' heads.
    #[must_use]
    pub fn values(&self) -> AgentValues<'_> {
        AgentValues::new(&self.policy, vec![&self.critic, &self.target])
    }

    /// Values with the targets' heads alone.
    #[must_use]
    pub fn target_values(&self) -> AgentValues<'_> {
        AgentValues::new(&self.policy, vec![&self.target])
    }

    /// The regression target y of the critics, `[B]`.
    #[must_use]
    pub fn critic_target(&self, batch: &TensorBatch, noise_next: Tensor<2>) -> Tensor<1> {
        let next = self.policy.sample(batch.next_obs.clone(), noise_next);
        let value = self.target.lowest(batch.next_obs.clone(), next.action) - self.temperature() * next.log_prob;
        batch.reward.clone() + batch.not_terminated.clone() * value.mul_scalar(self.config.discount)
    }

    /// One update.
    pub fn update(&mut self, batch: &TensorBatch, noise_next: Tensor<2>, noise: Tensor<2>) -> UpdateMetrics {
        // Critic.
        let y = self.critic_target(batch, noise_next);
        let critic = self.critic.tracked();
        let q = critic.values(batch.obs.clone(), batch.action.clone());
        let critic_loss = (q - y.clone().unsqueeze_dim(0)).square().mean_dim(1).sum();
        let mut gradients = critic_loss.backward();
        let gradients = critic.gradients(&mut gradients);
        drop(critic);
        self.critic_adam.step(&mut self.critic, gradients);

        // Actor and temperature.
        let actor = self.updates.is_multiple_of(self.config.actor_every).then(|| self.update_actor(&batch.obs, noise));

        // Targets.
        if self.updates.is_multiple_of(self.config.target_every) {
            self.target.polyak(&self.critic, self.config.tau);
        }
        self.updates += 1;
        UpdateMetrics { critic_loss: critic_loss.inner(), target_mean: y.mean(), actor }
    }

    /// The actor's and the temperature's step; the actor's loss and the mean entropy before it.
    fn update_actor(&mut self, obs: &Tensor<2>, noise: Tensor<2>) -> [Tensor<1>; 2] {
        let policy = self.policy.tracked();
        let sampled = policy.sample(obs.clone(), noise);
        // The critics are constants here: their weights are not tracked.
        let q = self.critic.lowest(obs.clone(), sampled.action);
        let alpha = self.temperature();
        let loss = (alpha.clone() * sampled.log_prob.clone() - q).mean();
        let mut gradients = loss.backward();
        let gradients = policy.gradients(&mut gradients);
        drop(policy);
        self.actor_adam.step(&mut self.policy, gradients);

        let entropy = sampled.log_prob.inner().mean().neg();
        if self.config.learn_temperature {
            // d/d(log α) of α (entropy − H̄) is the loss itself.
            let gradient = alpha * entropy.clone().sub_scalar(self.target_entropy);
            self.temperature_adam.step(&mut self.log_temperature, vec![gradient.reshape([1, 1, 1])]);
        }
        [loss.inner(), entropy]
    }

    /// Networks, optimisers and counters as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("actor", self.policy.save());
        state.nest("critic", self.critic.save());
        state.nest("target", self.target.save());
        state.nest("temperature", self.log_temperature.save());
        state.nest("actor_adam", self.actor_adam.save(&self.policy));
        state.nest("critic_adam", self.critic_adam.save(&self.critic));
        state.nest("temperature_adam", self.temperature_adam.save(&self.log_temperature));
        state.put("updates", self.updates);
        state
    }

    /// Reads all of it back.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.policy.load(state.part("actor"))?;
        self.critic.load(state.part("critic"))?;
        self.target.load(state.part("target"))?;
        self.log_temperature.load(state.part("temperature"))?;
        self.actor_adam.load(&self.policy, state.part("actor_adam"))?;
        self.critic_adam.load(&self.critic, state.part("critic_adam"))?;
        self.temperature_adam.load(&self.log_temperature, state.part("temperature_adam"))?;
        self.updates = state.u64("updates")?;
        state.finish()
    }
}
