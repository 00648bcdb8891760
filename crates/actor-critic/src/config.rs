//! The keys of `[agent]`.

use serde::{Deserialize, Serialize};

/// A wider layer is a slip of the finger: one weight of two such layers takes 16 GiB.
const WIDEST: usize = 1 << 16;
/// Rows of a batch, likewise.
const LARGEST_BATCH: usize = 1 << 24;

/// `[agent]`: soft actor-critic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Widths of the hidden layers of actor and critics.
    pub hidden: Vec<usize>,
    /// Rows in a batch, real and imagined together.
    pub batch: usize,
    /// Discount of a step's future.
    pub discount: f64,
    /// Share of the online critic that enters its target at a target update.
    pub tau: f64,
    /// Adam's step size for the critics.
    pub critic_lr: f64,
    /// Adam's step size for the actor.
    pub actor_lr: f64,
    /// Adam's step size for the temperature.
    pub temperature_lr: f64,
    /// The temperature at the start; for ever, if it is not learned.
    pub initial_temperature: f64,
    /// Whether the temperature is learned.
    pub learn_temperature: bool,
    /// Entropy that a learned temperature aims for, in nats; unset: −A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_entropy: Option<f64>,
    /// Updates between two steps of the actor and the temperature.
    pub actor_every: u64,
    /// Updates between two steps of the target critics.
    pub target_every: u64,
    /// Whether the last hidden activation is divided by its L2 norm, in actor and critics.
    pub normalized_features: bool,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            hidden: vec![256, 256],
            batch: 256,
            discount: 0.99,
            tau: 0.005,
            critic_lr: 3e-4,
            actor_lr: 3e-4,
            temperature_lr: 3e-4,
            initial_temperature: 0.1,
            learn_temperature: true,
            target_entropy: None,
            actor_every: 1,
            target_every: 1,
            normalized_features: false,
        }
    }
}

impl AgentConfig {
    /// What is impossible about these values, if anything: the message, with its hint.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.hidden.is_empty() || self.hidden.iter().any(|width| !(1..=WIDEST).contains(width)) {
            return Some(format!("`agent.hidden` is {:?}\nhint: one or more widths of 1 to {WIDEST}", self.hidden));
        }
        if self.batch > LARGEST_BATCH {
            return Some(format!("`agent.batch` is {}\nhint: at most {LARGEST_BATCH}", self.batch));
        }
        if self.batch == 0 || self.actor_every == 0 || self.target_every == 0 {
            return Some("`agent.batch`, `actor_every` and `target_every` must be positive\nhint: remove the key to get its default".into());
        }
        let tau_fits = self.tau > 0.0 && self.tau <= 1.0;
        if !tau_fits || !(0.0..=1.0).contains(&self.discount) {
            return Some(format!(
                "`agent.discount` is {} and `agent.tau` is {}\nhint: discount in [0, 1], tau in (0, 1]",
                self.discount, self.tau
            ));
        }
        let positive = |x: f64| x > 0.0 && x.is_finite();
        if ![self.critic_lr, self.actor_lr, self.temperature_lr, self.initial_temperature].into_iter().all(positive) {
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
        None
    }
}
