//! The section `[model.fit]`.

use foresee_core::limits::{self, MAX_BATCH, refusal};
use foresee_nn::Decay;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scope of the weights that are kept when a holdout score improves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Snapshot {
    /// Each member keeps its own best weights (MBPO).
    #[default]
    Member,
    /// An improvement of one member keeps the weights of all members (mbrl-lib, the reference VaGraM code).
    Shared,
}

/// The rule that decides whether a fit still improves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stopping {
    /// A member's mean score has to improve by a share of its best score (MBPO, mbrl-lib).
    #[default]
    Relative,
    /// The scores of the holdout rows under the whole ensemble have to be lower by a paired test (DHMBPO). The weights
    /// of all members are kept together.
    Paired,
}

impl Stopping {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The config section `[model.fit]`: the training calls of the model, which early stopping ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Number of real steps between two training calls.
    pub every: u64,
    /// Number of rows per member in one gradient step.
    pub batch: usize,
    /// Adam's step size.
    pub lr: f64,
    /// Strength of the weight decay.
    pub decay: f64,
    /// Form of the weight decay: `decoupled` or `coupled`.
    pub decay_form: Decay,
    /// Share of the rows that is held out for early stopping and for the choice of elites.
    pub holdout: f64,
    /// Rule that decides whether a fit still improves: `relative` or `paired`.
    #[serde(skip_serializing_if = "Stopping::is_default")]
    #[schemars(extend("default" = "relative"))]
    pub stopping: Stopping,
    /// Number of consecutive holdout scores without improvement after which a fit stops. With `stopping = "paired"` it
    /// stops at the next one after them.
    pub patience: u32,
    /// Relative improvement that a score must exceed to count, with `stopping = "relative"`.
    pub threshold: f64,
    /// Number of gradient steps before early stopping may end a fit. With few data an epoch is one to three gradient
    /// steps, so a budget in epochs would be too small for a likelihood fit.
    pub min_steps: u64,
    /// Largest number of gradient steps.
    pub max_steps: u64,
    /// Largest number of gradient steps of the first training call, which begins with random weights. Unset:
    /// `max_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_max_steps: Option<u64>,
    /// Largest number of epochs. Unset: as many as `max_steps` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_epochs: Option<u32>,
    /// Scope of the weights that an improvement keeps: `member` or `shared`.
    pub snapshot: Snapshot,
}

impl FitConfig {
    /// Returns the largest number of gradient steps of training call number `call`.
    #[must_use]
    pub fn steps_of(&self, call: u64) -> u64 {
        self.first_max_steps.filter(|_| call == 0).unwrap_or(self.max_steps)
    }

    /// Returns a message with a hint if a value is impossible.
    pub(super) fn problem(&self) -> Option<String> {
        let default = Self::default();
        let counts = [("every", self.every, default.every), ("max_steps", self.max_steps, default.max_steps)];
        if let Some((key, value, default)) = counts.into_iter().find(|&(_, value, _)| value == 0) {
            return Some(refusal(&format!("model.fit.{key}"), value, "positive", default));
        }
        let optional = [("first_max_steps", self.first_max_steps), ("max_epochs", self.max_epochs.map(u64::from))];
        if let Some((key, _)) = optional.into_iter().find(|&(_, value)| value == Some(0)) {
            return Some(format!(
                "`model.fit.{key}` is 0; it must be positive\nhint: leave it out, and `model.fit.max_steps` alone is the limit"
            ));
        }
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return Some(refusal("model.fit.batch", self.batch, format!("1 to {MAX_BATCH}"), default.batch));
        }
        if self.min_steps > self.max_steps {
            return Some(format!(
                "`model.fit.min_steps` is {}, but `model.fit.max_steps` is {}\nhint: raise `model.fit.max_steps` or lower `model.fit.min_steps`",
                self.min_steps, self.max_steps
            ));
        }
        if !(self.holdout > 0.0 && self.holdout < 1.0) {
            let allowed = "a share of the rows, above 0 and below 1";
            return Some(refusal("model.fit.holdout", self.holdout, allowed, default.holdout));
        }
        let rates = [("decay", self.decay, default.decay), ("threshold", self.threshold, default.threshold)];
        let problem = limits::positive("model.fit.lr", self.lr, default.lr);
        problem.or_else(|| {
            rates
                .into_iter()
                .find_map(|(key, value, default)| limits::not_negative(&format!("model.fit.{key}"), value, default))
        })
    }
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            every: 250,
            batch: 256,
            lr: 1e-3,
            decay: 5e-5,
            decay_form: Decay::Decoupled,
            holdout: 0.2,
            stopping: Stopping::Relative,
            patience: 5,
            threshold: 0.01,
            min_steps: 0,
            max_steps: 10_000,
            first_max_steps: None,
            max_epochs: None,
            snapshot: Snapshot::Member,
        }
    }
}
