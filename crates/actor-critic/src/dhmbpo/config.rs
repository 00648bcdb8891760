//! The keys of `[agent]` under `kind = "dhmbpo"`.

use foresee_nn::Activation;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::config::{is_positive, problem_of_hidden, problem_of_target};
use crate::policy::Spread;

/// Largest number of critics. More are a typing error.
const MOST_CRITICS: usize = 64;
/// Largest horizon. More imagined steps in one gradient are a typing error.
const LONGEST: usize = 100;

/// The keys of the double-horizon agent, whose actor and critics are trained through the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Whether the temperature is adapted to the target entropy.
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
        if let Some(problem) = problem_of_hidden(&self.hidden) {
            return Some(problem);
        }
        if let Some(problem) = problem_of_target(self.discount, self.tau) {
            return Some(problem);
        }
        if self.discount >= 1.0 {
            return Some(format!(
                "`agent.discount` is {}\nhint: below 1; bounds of the values divide by 1 − discount",
                self.discount
            ));
        }
        let rates = [self.critic_lr, self.actor_lr, self.temperature_lr, self.initial_temperature];
        if !rates.into_iter().all(is_positive) {
            return Some(
                "`agent.critic_lr`, `actor_lr`, `temperature_lr` and `initial_temperature` must be positive\nhint: remove the key to get its default"
                    .into(),
            );
        }
        if self.target_entropy.is_some_and(|entropy| !entropy.is_finite()) {
            return Some(
                "`agent.target_entropy` is not finite\nhint: leave it out for minus the number of action entries"
                    .into(),
            );
        }
        if !(1..=LONGEST).contains(&self.horizon) {
            return Some(format!("`agent.horizon` is {}\nhint: 1 to {LONGEST} imagined steps", self.horizon));
        }
        if !(1..=MOST_CRITICS).contains(&self.critics) {
            return Some(format!("`agent.critics` is {}\nhint: 1 to {MOST_CRITICS}", self.critics));
        }
        if !(1..=self.critics).contains(&self.target_subset) {
            return Some(format!(
                "`agent.target_subset` is {}\nhint: 1 to `agent.critics`, which is {}",
                self.target_subset, self.critics
            ));
        }
        let [low, high] = self.bound_quantiles;
        if !(0.0 <= low && low < high && high <= 1.0) {
            return Some(format!(
                "`agent.bound_quantiles` is [{low}, {high}]\nhint: two shares of 0 to 1, the lower one first"
            ));
        }
        (!(0.0..=1.0).contains(&self.bound_rate))
            .then(|| format!("`agent.bound_rate` is {}\nhint: a share, 0 to 1", self.bound_rate))
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
