//! The update through tensors and their autodiff, on any device and with any model: the specification.

use burn::tensor::Tensor;
use foresee_nn::{Dynamics, Parameters, StepDraws, tensors};

use super::{Dhmbpo, Draws, Losses};
use crate::observations::{in_deviations, scaled};

impl Dhmbpo {
    /// One update from states `[B, O]`.
    pub(super) fn update_tensors(
        &mut self,
        starts: Tensor<2>,
        draws: &Draws,
        dynamics: &dyn Dynamics,
        critic_only: bool,
    ) -> Losses {
        let [rows, _] = starts.dims();
        let (device, horizon, discount, alpha) =
            (self.device(), self.config.horizon, self.config.discount, self.alpha());
        let columns = |all: &[f32], steps: usize, k: usize| {
            let width = all.len() / rows / steps;
            let of_step = all.chunks_exact((width * steps).max(1)).flat_map(|row| &row[k * width..(k + 1) * width]);
            tensors::from_vec::<2>(of_step.copied().collect(), [rows, width], &device)
        };
        let scale = self.policy.scale.clone();

        // Rollout: s_0 … s_H with actions, rewards r_k − α l_k weighted by γᵏ m_k, and the mask m_H.
        let policy = if critic_only { self.policy.clone() } else { self.policy.tracked() };
        let mut obs = starts.clone();
        let mut mask = Tensor::<1>::ones([rows], &device);
        let (mut soft_rewards, mut rewards, mut first) = (Vec::new(), Vec::new(), None);
        // Zeros added to s_1 … s_H: their gradients are those at the states.
        let mut at_states = Vec::new();
        let mut gain = Tensor::<1>::zeros([rows], &device);
        for k in 0..horizon {
            let sampled = policy.sample(obs.clone(), columns(&draws.action, horizon + 1, k));
            let words = draws.words[k * rows..(k + 1) * rows].to_vec();
            let noise = columns(&draws.model, horizon, k);
            let step = dynamics.step(obs, sampled.action.clone(), &StepDraws { words, noise });
            let soft_reward = step.reward.clone() - sampled.log_prob.clone().mul_scalar(alpha);
            gain = gain + mask.clone().mul_scalar(discount.powi(k as i32)) * soft_reward.clone();
            mask = mask * step.not_terminated;
            soft_rewards.push(soft_reward.inner());
            rewards.push(step.reward.inner());
            first.get_or_insert((sampled.action.inner(), sampled.log_prob.inner()));
            obs = step.next_obs;
            if !critic_only {
                let zeros = Tensor::zeros(obs.dims(), &device).autodiff().require_grad();
                obs = obs + zeros.clone();
                at_states.push(zeros);
            }
        }
        let last = policy.sample(obs.clone(), columns(&draws.action, horizon + 1, horizon));
        let (first_action, first_log_prob) = first.expect("a horizon of at least one step");
        let tail = mask.clone().mul_scalar(discount.powi(horizon as i32));

        // Bounds.
        let mut values = tensors::to_vec(Tensor::cat(soft_rewards, 0));
        let (quantiles, rate) = (self.config.bound_quantiles, self.config.bound_rate);
        self.bounds.follow(&mut values, quantiles, rate, discount);
        let [low, high] = self.bounds.ends();
        let [width, centre] = self.bounds.scale_and_shift();
        let bounded = |net: Tensor<2>| net.mul_scalar(width).add_scalar(centre);

        // Target.
        let of_last = scaled(scale.as_ref(), obs.clone().inner());
        let targets = self.target.values(of_last, last.action.clone().inner());
        let chosen = draws.subset.iter().map(|&n| targets.clone().narrow(0, n, 1)).collect();
        let lowest: Tensor<1> = bounded(Tensor::cat(chosen, 0)).min_dim(0).squeeze_dim(0);
        let continued = lowest.clamp_max(high).clamp_min(low) - last.log_prob.clone().inner().mul_scalar(alpha);
        let y = gain.clone().inner() + first_log_prob.clone().mul_scalar(alpha) + tail.clone() * continued;

        // Critics and targets.
        let critic = self.critic.tracked();
        let q = bounded(critic.values(scaled(scale.as_ref(), starts), first_action));
        let critic_loss = (q - y.clone().unsqueeze_dim(0)).square().mean_dim(1).sum();
        let mut gradients = critic_loss.backward();
        let gradient = critic.gradient(&mut gradients);
        drop(critic);
        self.critic_adam.step(&mut self.critic, gradient);
        self.target.polyak(&self.critic, self.config.tau);

        // Actor and temperature.
        let entropy = f64::from(tensors::to_f32(first_log_prob.mean().neg()));
        let (actor_loss, gradients) = if critic_only {
            (None, Vec::new())
        } else {
            let q = bounded(self.critic.values(scaled(scale.as_ref(), obs), last.action)).mean_dim(0);
            let continued = q.squeeze_dim::<1>(0) - last.log_prob.mul_scalar(alpha);
            let loss = (gain + tail * continued).mean().neg();
            let mut gradients = loss.backward();
            let gradient = policy.gradient(&mut gradients);
            drop(policy);
            self.actor_adam.step(&mut self.policy, gradient);
            self.update_temperature(alpha, entropy);
            let norm = |zeros: Tensor<2>| {
                let gradient = zeros.grad_remove(&mut gradients).unwrap_or_else(|| zeros.clone().inner());
                in_deviations(scale.as_ref(), gradient).square().sum_dim(1).sqrt().sum()
            };
            let norms: Vec<Tensor<1>> = at_states.into_iter().map(norm).collect();
            let norms = tensors::to_vec(Tensor::cat(norms, 0)).into_iter().map(f64::from).collect();
            (Some(f64::from(tensors::to_f32(loss.inner()))), norms)
        };

        let number = |x: Tensor<1>| f64::from(tensors::to_f32(x));
        Losses {
            critic_loss: number(critic_loss.inner()),
            target_mean: number(y.mean()),
            alive: number(mask.mean()),
            reward: number(Tensor::cat(rewards, 0).mean()),
            entropy,
            actor_loss,
            gradients,
        }
    }
}
