//! The update in tensors with autodiff, on any device and with any model: the specification.

use burn::tensor::{Device, Tensor};
use foresee_nn::{Dynamics, Parameters, StepDraws, tensors};

use super::{Dhmbpo, DhmbpoDraws, DhmbpoLosses};
use crate::observations::{in_deviations, scaled};

/// The discounted soft return of the imagined steps added so far: Σ γᵏ m_k (r_k − α l_k), where l_k is the
/// log-probability of the action of step k, and m_k is 0 after a termination.
#[derive(Clone)]
pub(super) struct SoftReturn {
    sum: Tensor<1>,
    /// 1 for a row that has not terminated, else 0, `[B]`.
    pub(super) not_terminated: Tensor<1>,
    steps: i32,
    discount: f64,
    alpha: f64,
}

impl SoftReturn {
    /// A soft return without steps.
    pub(super) fn new(rows: usize, discount: f64, alpha: f64, device: &Device) -> Self {
        let [sum, not_terminated] = [Tensor::zeros([rows], device), Tensor::ones([rows], device)];
        Self { sum, not_terminated, steps: 0, discount, alpha }
    }

    /// Adds a step, and returns its r − α l, `[B]`.
    pub(super) fn add(&mut self, reward: Tensor<1>, log_prob: Tensor<1>, not_terminated: Tensor<1>) -> Tensor<1> {
        let soft_reward = reward - log_prob.mul_scalar(self.alpha);
        let weight = self.not_terminated.clone().mul_scalar(self.discount.powi(self.steps));
        self.sum = self.sum.clone() + weight * soft_reward.clone();
        self.not_terminated = self.not_terminated.clone() * not_terminated;
        self.steps += 1;
        soft_reward
    }

    /// Returns the sum with γᴴ m_H (q − α l_H) added, for the state after the last step.
    pub(super) fn with_value(self, q: Tensor<1>, log_prob: Tensor<1>) -> Tensor<1> {
        let weight = self.not_terminated.mul_scalar(self.discount.powi(self.steps));
        self.sum + weight * (q - log_prob.mul_scalar(self.alpha))
    }

    /// Returns a copy outside autodiff.
    pub(super) fn inner(&self) -> Self {
        Self { sum: self.sum.clone().inner(), not_terminated: self.not_terminated.clone().inner(), ..self.clone() }
    }
}

/// Returns the minimum of some critics' values `[N, B]` in each row, clipped to the bounds.
pub(super) fn lowest_of(values: Tensor<2>, subset: &[usize], [low, high]: [f64; 2]) -> Tensor<1> {
    let chosen = subset.iter().map(|&n| values.clone().narrow(0, n, 1)).collect();
    let lowest: Tensor<1> = Tensor::cat(chosen, 0).min_dim(0).squeeze_dim(0);
    lowest.clamp_max(high).clamp_min(low)
}

impl Dhmbpo {
    /// Makes one update from states `[B, O]`, and returns its losses.
    pub(super) fn update_tensors(
        &mut self,
        starts: Tensor<2>,
        draws: &DhmbpoDraws,
        dynamics: &dyn Dynamics,
        critic_only: bool,
    ) -> DhmbpoLosses {
        let [rows, _] = starts.dims();
        let (device, horizon, discount, alpha) =
            (self.device(), self.config.horizon, self.config.discount, self.alpha());
        let columns = |all: &[f32], steps: usize, k: usize| {
            let width = all.len() / rows / steps;
            let of_step = all.chunks_exact((width * steps).max(1)).flat_map(|row| &row[k * width..(k + 1) * width]);
            tensors::from_vec::<2>(of_step.copied().collect(), [rows, width], &device)
        };
        let scale = self.policy.scale.clone();

        // Rollout: s_0 … s_H with actions, soft rewards r_k − α l_k weighted by γᵏ m_k, and the mask m_H.
        let policy = if critic_only { self.policy.clone() } else { self.policy.tracked() };
        let mut obs = starts.clone();
        let mut soft_return = SoftReturn::new(rows, discount, alpha, &device);
        let (mut soft_rewards, mut rewards, mut first) = (Vec::new(), Vec::new(), None);
        // Zeros are added to s_1 … s_H; the gradients of the zeros are the gradients at the states.
        let mut at_states = Vec::new();
        for k in 0..horizon {
            let sampled = policy.sample(obs.clone(), columns(&draws.action, horizon + 1, k));
            let words = draws.words[k * rows..(k + 1) * rows].to_vec();
            let noise = columns(&draws.model, horizon, k);
            let step = dynamics.step(obs, sampled.action.clone(), &StepDraws { words, noise });
            let soft_reward = soft_return.add(step.reward.clone(), sampled.log_prob.clone(), step.not_terminated);
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
        let alive = soft_return.not_terminated.clone();
        let (first_action, first_log_prob) = first.expect("a horizon of at least one step");

        // Bounds.
        let mut values = tensors::to_vec(Tensor::cat(soft_rewards, 0));
        let (quantiles, rate) = (self.config.bound_quantiles, self.config.bound_rate);
        self.bounds.follow(&mut values, quantiles, rate, discount);
        let [width, centre] = self.bounds.scale_and_shift();
        let bounded = |net: Tensor<2>| net.mul_scalar(width).add_scalar(centre);

        // Target.
        let of_last = scaled(scale.as_ref(), obs.clone().inner());
        let targets = bounded(self.target.values(of_last, last.action.clone().inner()));
        let lowest = lowest_of(targets, &draws.subset, self.bounds.ends());
        let y = soft_return.inner().with_value(lowest, last.log_prob.clone().inner())
            + first_log_prob.clone().mul_scalar(alpha);

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
            let objective = soft_return.with_value(q.squeeze_dim(0), last.log_prob);
            let loss = objective.mean().neg();
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
        DhmbpoLosses {
            critic_loss: number(critic_loss.inner()),
            target_mean: number(y.mean()),
            alive: number(alive.mean()),
            reward: number(Tensor::cat(rewards, 0).mean()),
            entropy,
            actor_loss,
            gradients,
        }
    }
}
