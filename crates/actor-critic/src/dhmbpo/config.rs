//! The keys of `[agent]` under `kind = "dhmbpo"`.

use foresee_core::limits::{self, refusal};
use foresee_nn::Activation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::config::{layer_widths, positive, target_entropy, target_rate, within};
use crate::critic::MAX_CRITICS;
use crate::policy::Spread;

/// Largest horizon. More imagined steps in one gradient are a typing error.
const MAX_HORIZON: usize = 100;

/// The keys of the double-horizon agent, whose actor and critics are trained through the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DhmbpoConfig {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Number of imagined steps that the actor's gradient goes through, `H`.
    pub horizon: usize,
    /// Discount per step.
    pub discount: f64,
    /// Share of the online critics that enters the target critics at an update.
    pub tau: f64,
    /// Adam's step size for the critics.
    pub critic_lr: f64,
    /// Adam's step size for the actor.
    pub actor_lr: f64,
    /// Adam's step size for the temperature.
    pub temperature_lr: f64,
    /// The temperature at the start, which stays constant if it is not learned.
    pub initial_temperature: f64,
    /// If true, gradient steps adapt the temperature so that the policy's entropy approaches the target entropy.
    pub learn_temperature: bool,
    /// Target entropy of a learned temperature, nats; unset: −A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_entropy: Option<f64>,
    /// Number of critics, `N`.
    pub critics: usize,
    /// Number of target critics, drawn anew for every update, whose minimum is the value at the end of a rollout.
    pub target_subset: usize,
    /// Whether the critics' hidden activations are normalised by layer, without learned scale and shift.
    pub layer_norm: bool,
    /// Whether the actor's hidden activations are normalised by layer, without learned scale and shift.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub actor_layer_norm: bool,
    /// Form of the actor's standard deviation: `softplus`, `bounded` or `clipped`.
    pub spread: Spread,
    /// Whether actor and critics see (obs − mean) / std, with mean and deviation of all real observations up to the
    /// last block.
    pub normalize_observations: bool,
    /// Quantiles of the imagined r − α log π that determine the bounds of the values.
    pub bound_quantiles: [f64; 2],
    /// Share of an update's new bounds that enters the bounds.
    pub bound_rate: f64,
}

impl Default for DhmbpoConfig {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            horizon: 5,
            discount: 0.995,
            tau: 0.005,
            critic_lr: 3e-4,
            actor_lr: 3e-4,
            temperature_lr: 3e-4,
            initial_temperature: 0.1,
            learn_temperature: true,
            target_entropy: None,
            critics: 5,
            target_subset: 2,
            layer_norm: true,
            actor_layer_norm: false,
            spread: Spread::Softplus,
            normalize_observations: true,
            bound_quantiles: [0.01, 0.99],
            bound_rate: 3e-4,
        }
    }
}

impl DhmbpoConfig {
    /// Returns an error message with a hint if a value is impossible.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let default = Self::default();
        let [low, high] = self.bound_quantiles;
        layer_widths(&self.hidden, &default.hidden)
            .or_else(|| {
                let allowed = "at least 0 and below 1, because the bounds of the values are divided by 1 − discount";
                (!(0.0..1.0).contains(&self.discount))
                    .then(|| refusal("agent.discount", self.discount, allowed, default.discount))
                    .or_else(|| limits::rounds_to_one("agent.discount", self.discount))
            })
            .or_else(|| target_rate(self.tau, default.tau))
            .or_else(|| positive("critic_lr", self.critic_lr, default.critic_lr))
            .or_else(|| positive("actor_lr", self.actor_lr, default.actor_lr))
            .or_else(|| positive("temperature_lr", self.temperature_lr, default.temperature_lr))
            .or_else(|| positive("initial_temperature", self.initial_temperature, default.initial_temperature))
            .or_else(|| target_entropy(self.target_entropy))
            .or_else(|| within("horizon", self.horizon, 1..=MAX_HORIZON, default.horizon))
            .or_else(|| within("critics", self.critics, 1..=MAX_CRITICS, default.critics))
            .or_else(|| {
                let (subset, critics) = (self.target_subset, self.critics);
                let allowed = format!("1 to {critics}, the value of `agent.critics`");
                (!(1..=critics).contains(&subset)).then(|| {
                    format!(
                        "`agent.target_subset` is {subset}; it must be {allowed}\nhint: set it to at most {critics}, or raise `agent.critics`"
                    )
                })
            })
            .or_else(|| {
                let allowed = "two shares in [0, 1], the lower one first";
                (!(0.0 <= low && low < high && high <= 1.0)).then(|| {
                    let [value, default] = [self.bound_quantiles, default.bound_quantiles].map(|q| format!("{q:?}"));
                    refusal("agent.bound_quantiles", value, allowed, default)
                })
            })
            .or_else(|| {
                (!(0.0..=1.0).contains(&self.bound_rate))
                    .then(|| refusal("agent.bound_rate", self.bound_rate, "in [0, 1]", default.bound_rate))
            })
    }

    /// The actor's hidden layers.
    #[must_use]
    pub fn actor_body(&self) -> Body {
        Body {
            hidden: self.hidden.clone(),
            activation: Activation::Silu,
            hidden_norm: self.actor_layer_norm,
            ..Body::default()
        }
    }

    /// The critics' hidden layers.
    #[must_use]
    pub fn critic_body(&self) -> Body {
        Body { hidden_norm: self.layer_norm, ..self.actor_body() }
    }
}
