//! The update in tensors with autodiff, on any device and for any combination of critics. The other forms are tested
//! against it.

use burn::tensor::Tensor;
use foresee_nn::Parameters;

use super::losses::SacLosses;
use super::{Due, NOISE, NOISE_NEXT, Sac, TARGET_SUBSET};
use crate::batch::TensorBatch;
use crate::critic::subset;
use crate::noise::Noise;

impl Sac {
    /// Returns the regression target y of the critics, `[B]`, for a batch that is already scaled for the networks.
    #[must_use]
    pub fn critic_target(&self, batch: &TensorBatch, noise: &dyn Noise) -> Tensor<1> {
        let shape = batch.action.dims();
        let next = self.policy.sample(batch.next_obs.clone(), noise.normals(NOISE_NEXT, shape, &self.device()));
        let mut values = self.target.values(batch.next_obs.clone(), next.action);
        if let Some(size) = self.config.subset() {
            let chosen = subset(&noise.words(TARGET_SUBSET, size), self.config.critics);
            values = Tensor::cat(chosen.into_iter().map(|n| values.clone().narrow(0, n, 1)).collect(), 0);
        }
        let value = self.config.target_reduction.of(values) - self.temperature() * next.log_prob;
        batch.reward.clone() + batch.not_terminated.clone() * value.mul_scalar(self.config.discount)
    }

    /// Makes one update, and returns its losses.
    pub(super) fn update_tensors(&mut self, batch: &TensorBatch, noise: &dyn Noise, due: Due) -> SacLosses {
        // Critic.
        let y = self.critic_target(batch, noise);
        let critic = self.critic.tracked();
        let q = critic.values(batch.obs.clone(), batch.action.clone());
        let critic_loss = (q - y.clone().unsqueeze_dim(0)).square().mean_dim(1).sum();
        let mut gradients = critic_loss.backward();
        let gradient = critic.gradient(&mut gradients);
        drop(critic);
        self.critic_adam.step(&mut self.critic, gradient);

        // Actor and temperature.
        let actor = due.actor.then(|| {
            let noise = noise.normals(NOISE, batch.action.dims(), &self.device());
            self.update_actor(&batch.obs, noise)
        });

        // Targets.
        if due.target {
            self.target.polyak(&self.critic, self.config.tau);
        }
        SacLosses::Tensors { critic_loss: critic_loss.inner(), target_mean: y.mean(), actor }
    }

    /// Takes the steps of actor and temperature. Returns the actor's loss and the mean entropy before the steps.
    fn update_actor(&mut self, obs: &Tensor<2>, noise: Tensor<2>) -> [Tensor<1>; 2] {
        let policy = self.policy.tracked();
        let sampled = policy.sample(obs.clone(), noise);
        // The critics are constants here, because their weights are not tracked.
        let q = self.config.actor_reduction.of(self.critic.values(obs.clone(), sampled.action));
        let alpha = self.temperature();
        let loss = (alpha.clone() * sampled.log_prob.clone() - q).mean();
        let mut gradients = loss.backward();
        let gradient = policy.gradient(&mut gradients);
        drop(policy);
        self.actor_adam.step(&mut self.policy, gradient);

        let entropy = sampled.log_prob.inner().mean().neg();
        if self.config.learn_temperature {
            // d/d(log α) of α (entropy − H̄) equals the loss α (entropy − H̄).
            let gradient = alpha * entropy.clone().sub_scalar(self.target_entropy);
            self.temperature_adam.step(&mut self.log_temperature, gradient.reshape([1, 1, 1]));
        }
        [loss.inner(), entropy]
    }
}
