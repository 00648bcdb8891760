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
//!
//! One update in three forms: [`Sac::update`], through tensors and their autodiff, is the specification and serves every
//! device; the others have their derivatives by hand: [`Sac::update_host`], in host memory, takes no memory
//! (`sac/host.rs`), and `Sac::update_device` is two dozen launches on a GPU (`sac/device.rs`, feature `wgpu`).

use burn::tensor::{Device, Tensor};
use foresee_core::{Batch, State, StateError};
use foresee_nn::cpu::Part;
use foresee_nn::host::{Numbers, Slot, is_host};
use foresee_nn::{Adam, AdamConfig, Parameters, tensors};

use crate::config::AgentConfig;
use crate::critic::Critic;
use crate::policy::Policy;
use crate::values::AgentValues;

#[cfg(feature = "wgpu")]
mod device;
mod host;
mod lanes;
mod metrics;

pub use metrics::UpdateMetrics;

use host::{Net, Pass, Workspace};

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

impl TensorBatch {
    /// A batch with observations and actions of `[O, A]` entries, sent to a device.
    #[must_use]
    pub fn new(batch: &Batch, [obs_dim, action_dim]: [usize; 2], device: &Device) -> Self {
        let rows = batch.rows;
        let send = |values: &[f32], columns| tensors::from_vec(values.to_vec(), [rows, columns], device);
        let column = |values: &[f32]| tensors::from_vec(values.to_vec(), [rows], device);
        Self {
            obs: send(&batch.obs, obs_dim),
            action: send(&batch.action, action_dim),
            reward: column(&batch.reward),
            next_obs: send(&batch.next_obs, obs_dim),
            not_terminated: column(&batch.not_terminated),
        }
    }
}

/// One number, `[1, 1, 1]`: log α.
#[derive(Clone, Debug)]
struct LogTemperature(Slot);

impl Parameters for LogTemperature {
    fn slot(&self) -> &Slot {
        &self.0
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.0
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part { name: "log_temperature".into(), offset: 0, shape: [1, 1] }]
    }
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
    /// Of the updates in host memory.
    workspace: Workspace,
}

impl Sac {
    /// A fresh agent for observations and actions of `[O, A]` entries.
    #[must_use]
    pub fn new(config: &AgentConfig, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let policy = Policy::new(config, dims, seed, device);
        let critic = Critic::new(config, dims, seed, device);
        let log_temperature = LogTemperature(Slot::new(tensors::from_vec(
            vec![config.initial_temperature.ln() as f32],
            [1, 1, 1],
            device,
        )));
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
            workspace: Workspace::default(),
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
        self.log_temperature.0.get().clone().exp().reshape([1])
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

    /// One update, in the form that the device asks for; `noise_next` and `noise` are `[B, A]`.
    pub fn update_batch(&mut self, batch: &Batch, noise_next: &[f32], noise: &[f32]) -> UpdateMetrics {
        let device = self.log_temperature.0.get().device();
        if batch.rows == 0 || is_host(&device) {
            return self.update_host(batch, noise_next, noise);
        }
        let dims = self.dims();
        let [noise_next, noise] =
            [noise_next, noise].map(|noise| tensors::from_vec(noise.to_vec(), [batch.rows, dims[1]], &device));
        self.update_rows(&TensorBatch::new(batch, dims, &device), noise_next, noise)
    }

    /// One update with a batch on the device, in the form that the device asks for; `noise_next` and `noise` are
    /// `[B, A]`.
    pub fn update_rows(&mut self, batch: &TensorBatch, noise_next: Tensor<2>, noise: Tensor<2>) -> UpdateMetrics {
        #[cfg(feature = "wgpu")]
        if foresee_nn::cube::is_cube(&noise.device()) && self.policy.net.is_fused() && self.critic.net.is_fused() {
            return self.update_device(batch, noise_next, noise);
        }
        self.update(batch, noise_next, noise)
    }

    /// Entries of observations and actions, `[O, A]`.
    fn dims(&self) -> [usize; 2] {
        [self.policy.net().inputs(), self.policy.action_dim()]
    }

    /// One update through tensors and their autodiff, on any device: what the other form is held to.
    pub fn update(&mut self, batch: &TensorBatch, noise_next: Tensor<2>, noise: Tensor<2>) -> UpdateMetrics {
        // Critic.
        let y = self.critic_target(batch, noise_next);
        let critic = self.critic.tracked();
        let q = critic.values(batch.obs.clone(), batch.action.clone());
        let critic_loss = (q - y.clone().unsqueeze_dim(0)).square().mean_dim(1).sum();
        let mut gradients = critic_loss.backward();
        let gradient = critic.gradient(&mut gradients);
        drop(critic);
        self.critic_adam.step(&mut self.critic, gradient);

        // Actor and temperature.
        let actor = self.updates.is_multiple_of(self.config.actor_every).then(|| self.update_actor(&batch.obs, noise));

        // Targets.
        if self.updates.is_multiple_of(self.config.target_every) {
            self.target.polyak(&self.critic, self.config.tau);
        }
        self.updates += 1;
        UpdateMetrics::device(critic_loss.inner(), y.mean(), actor)
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
        let gradient = policy.gradient(&mut gradients);
        drop(policy);
        self.actor_adam.step(&mut self.policy, gradient);

        let entropy = sampled.log_prob.inner().mean().neg();
        if self.config.learn_temperature {
            // d/d(log α) of α (entropy − H̄) is the loss itself.
            let gradient = alpha * entropy.clone().sub_scalar(self.target_entropy);
            self.temperature_adam.step(&mut self.log_temperature, gradient.reshape([1, 1, 1]));
        }
        [loss.inner(), entropy]
    }

    /// One update in host memory; `noise_next` and `noise` are `[B, A]`. A batch without rows moves nothing.
    ///
    /// # Panics
    /// If the agent lives elsewhere, or the numbers do not fill their shapes.
    #[track_caller]
    pub fn update_host(&mut self, batch: &Batch, noise_next: &[f32], noise: &[f32]) -> UpdateMetrics {
        let (rows, dims) = (batch.rows, self.dims());
        let [obs, action] = dims.map(|columns| rows * columns);
        let lengths = [&batch.obs, &batch.next_obs, &batch.action, &batch.reward, &batch.not_terminated].map(Vec::len);
        assert_eq!(lengths, [obs, obs, action, rows, rows], "numbers of {rows} rows");
        assert_eq!([noise_next.len(), noise.len()], [action; 2], "noise of {rows} rows");
        let Self { config, policy, critic, target, log_temperature, workspace, updates, .. } = self;
        let [actors_turn, targets_turn] =
            [config.actor_every, config.target_every].map(|every| updates.is_multiple_of(every));
        *updates += 1;
        if rows == 0 {
            return UpdateMetrics::host(0.0, 0.0, None);
        }
        workspace.fit(rows, &policy.net, &critic.net);
        let alpha = log_temperature.0.lend(|log| f64::from(log[0]).exp() as f32);
        let mean = |sums: [f64; 2]| sums.map(|sum| sum / rows as f64);

        // Critics and targets.
        let own = Numbers::of(policy.net.slot_mut().take());
        let mut targets = Numbers::of(target.net.slot_mut().take());
        let mut step = self.critic_adam.fused(&mut critic.net);
        let nets = [
            Net { layout: policy.net.layout(), weights: own.get() },
            Net { layout: target.net.layout(), weights: targets.get() },
        ];
        let noise = actors_turn.then_some(noise);
        let pass = Pass { batch, noise_next, noise, dims, alpha, discount: config.discount as f32 };
        workspace.critics(&pass, nets, |n| step.member(n));
        policy.net.slot_mut().put(own.into_tensor());
        let follow = targets_turn.then(|| (targets.get_mut(), config.tau as f32));
        step.apply(&workspace.of_critics(), follow);
        target.net.slot_mut().put(targets.into_tensor());
        let [critic_loss, target_mean] = mean(workspace.critic_sums());

        // Actor and temperature.
        let actor = actors_turn.then(|| {
            let mut own = self.actor_adam.fused(&mut policy.net);
            workspace.actor(&pass, own.member(0), |n| step.member(n));
            own.apply(&workspace.of_actor(), None);
            own.finish();
            let [loss, log_prob] = mean(workspace.actor_sums());
            if config.learn_temperature {
                let gradient = alpha * (-log_prob - self.target_entropy) as f32;
                self.temperature_adam.step_host(log_temperature, &[gradient]);
            }
            [loss, -log_prob]
        });
        step.finish();
        UpdateMetrics::host(critic_loss, target_mean, actor)
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
