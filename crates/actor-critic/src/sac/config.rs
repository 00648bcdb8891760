//! The keys of `[agent]` under `kind = "sac"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::config::{discount, interval, layer_widths, positive, target_entropy, target_rate, within};
use crate::critic::{MAX_CRITICS, Reduction};
use crate::policy::Spread;

/// The keys of soft actor-critic. With ten critics, `target_subset = 2` and `actor_reduction = "mean"` it is REDQ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SacConfig {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Discount per step.
    pub discount: f64,
    /// Share of the online critics that enters the target critics at a target update.
    pub tau: f64,
    /// Adam's step size for the critics.
    pub critic_lr: f64,
    /// Adam's step size for the actor.
    pub actor_lr: f64,
    /// Adam's step size for the temperature.
    pub temperature_lr: f64,
    /// The temperature at the start, which stays constant if it is not learned.
    pub initial_temperature: f64,
    /// Whether the temperature is learned.
    pub learn_temperature: bool,
    /// Target entropy of a learned temperature, nats; unset: −A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_entropy: Option<f64>,
    /// Number of updates per step of the actor and the temperature.
    pub policy_delay: u64,
    /// Number of updates per step of the target critics.
    pub target_update_interval: u64,
    /// Whether the last hidden activation of actor and critics is divided by its L2 norm.
    pub normalized_features: bool,
    /// Form of the actor's standard deviation: `bounded`, `softplus` or `clipped`.
    #[serde(skip_serializing_if = "Spread::is_default")]
    #[schemars(extend("default" = "bounded"))]
    pub spread: Spread,
    /// Whether each hidden layer of the critics is normalised before its activation.
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
    /// Number of critics, `N`.
    pub critics: usize,
    /// Number of target critics in an update's target, drawn anew for every update; unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_subset: Option<usize>,
    /// Reduction of the chosen target critics' values to the target's value: `min` or `mean`.
    pub target_reduction: Reduction,
    /// Reduction of the critics' values to the value that the actor maximises: `min` or `mean`.
    pub actor_reduction: Reduction,
}

impl Default for SacConfig {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            discount: 0.99,
            tau: 0.005,
            critic_lr: 3e-4,
            actor_lr: 3e-4,
            temperature_lr: 3e-4,
            initial_temperature: 0.1,
            learn_temperature: true,
            target_entropy: None,
            policy_delay: 1,
            target_update_interval: 1,
            normalized_features: false,
            spread: Spread::Bounded,
            layer_norm: false,
            actor_layer_norm: false,
            normalize_observations: false,
            scale_rewards: false,
            critics: 2,
            target_subset: None,
            target_reduction: Reduction::Min,
            actor_reduction: Reduction::Min,
        }
    }
}

impl SacConfig {
    /// Returns an error message with a hint if a value is impossible.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let default = Self::default();
        layer_widths(&self.hidden, &default.hidden)
            .or_else(|| interval("policy_delay", self.policy_delay, default.policy_delay))
            .or_else(|| interval("target_update_interval", self.target_update_interval, default.target_update_interval))
            .or_else(|| discount(self.discount, default.discount))
            .or_else(|| target_rate(self.tau, default.tau))
            .or_else(|| positive("critic_lr", self.critic_lr, default.critic_lr))
            .or_else(|| positive("actor_lr", self.actor_lr, default.actor_lr))
            .or_else(|| positive("temperature_lr", self.temperature_lr, default.temperature_lr))
            .or_else(|| positive("initial_temperature", self.initial_temperature, default.initial_temperature))
            .or_else(|| target_entropy(self.target_entropy))
            .or_else(|| within("critics", self.critics, 1..=MAX_CRITICS, default.critics))
            .or_else(|| {
                let critics = self.critics;
                self.target_subset.filter(|subset| !(1..=critics).contains(subset)).map(|subset| {
                    format!(
                        "`agent.target_subset` is {subset}; it must be 1 to {critics}, the value of `agent.critics`\nhint: leave it out to use all critics"
                    )
                })
            })
    }

    /// The actor's hidden layers.
    #[must_use]
    pub fn actor_body(&self) -> Body {
        Body { layer_norm: self.actor_layer_norm, ..self.critic_body() }
    }

    /// The critics' hidden layers.
    #[must_use]
    pub fn critic_body(&self) -> Body {
        let Self { hidden, layer_norm, normalized_features, .. } = self;
        Body {
            hidden: hidden.clone(),
            layer_norm: *layer_norm,
            normalized_features: *normalized_features,
            ..Body::default()
        }
    }

    /// Number of target critics in a target; `None` if all are used.
    pub(super) fn subset(&self) -> Option<usize> {
        self.target_subset.filter(|&subset| subset < self.critics)
    }

    /// Whether the target and the actor's loss both use the minimum over all critics. The fused forms support only this
    /// combination.
    pub(super) fn is_lowest_of_all(&self) -> bool {
        self.subset().is_none() && [self.target_reduction, self.actor_reduction] == [Reduction::Min; 2]
    }
}
