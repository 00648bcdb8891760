//! The keys of `[agent]` under `kind = "td3"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::config::{discount, interval, layer_widths, not_negative, positive, target_rate};

/// The keys of TD3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Td3Config {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Discount per step.
    pub discount: f64,
    /// Share of an online network that enters its target network at a target update.
    pub tau: f64,
    /// Adam's step size for the critics.
    pub critic_lr: f64,
    /// Adam's step size for the actor.
    pub actor_lr: f64,
    /// Standard deviation of the noise on the target's actions.
    pub policy_noise: f64,
    /// Bound on the absolute value of the noise on the target's actions.
    pub noise_clip: f64,
    /// Standard deviation of the noise on exploring actions.
    pub exploration_noise: f64,
    /// Number of updates per step of the actor and of all targets.
    pub policy_delay: u64,
    /// Whether each hidden layer of the critics is normalised before its activation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub layer_norm: bool,
    /// Whether each hidden layer of the actor is normalised before its activation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub actor_layer_norm: bool,
    /// Whether actor and critics see (obs − mean) / std, with mean and deviation of all real training observations.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub normalize_observations: bool,
    /// Whether rewards are divided by max(√(var G + 1e-8), max |G| / 5), where G are the discounted sums of the real
    /// rewards (SimbaV2).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub scale_rewards: bool,
}

impl Default for Td3Config {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            discount: 0.99,
            tau: 0.005,
            critic_lr: 3e-4,
            actor_lr: 3e-4,
            policy_noise: 0.2,
            noise_clip: 0.5,
            exploration_noise: 0.1,
            policy_delay: 2,
            layer_norm: false,
            actor_layer_norm: false,
            normalize_observations: false,
            scale_rewards: false,
        }
    }
}

impl Td3Config {
    /// Returns an error message with a hint if a value is impossible.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let default = Self::default();
        layer_widths(&self.hidden, &default.hidden)
            .or_else(|| discount(self.discount, default.discount))
            .or_else(|| target_rate(self.tau, default.tau))
            .or_else(|| interval("policy_delay", self.policy_delay, default.policy_delay))
            .or_else(|| positive("critic_lr", self.critic_lr, default.critic_lr))
            .or_else(|| positive("actor_lr", self.actor_lr, default.actor_lr))
            .or_else(|| not_negative("policy_noise", self.policy_noise, default.policy_noise))
            .or_else(|| not_negative("noise_clip", self.noise_clip, default.noise_clip))
            .or_else(|| not_negative("exploration_noise", self.exploration_noise, default.exploration_noise))
    }

    /// The actor's hidden layers.
    #[must_use]
    pub fn actor_body(&self) -> Body {
        Body { hidden: self.hidden.clone(), layer_norm: self.actor_layer_norm, ..Body::default() }
    }

    /// The critics' hidden layers.
    #[must_use]
    pub fn critic_body(&self) -> Body {
        Body { layer_norm: self.layer_norm, ..self.actor_body() }
    }
}
