//! The keys of `[model]`, `[model.ensemble]`, `[model.loss]` and `[model.fit]`.

use std::sync::Arc;

use foresee_core::Explained;
use foresee_nn::{Decay, ValueHeads};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::loss::{LossKinds, ModelLoss};

/// More members are a slip of the finger.
const MOST_MEMBERS: usize = 1024;
/// Likewise: one weight of two layers that wide takes 16 GiB.
const WIDEST: usize = 1 << 16;
/// Rows of a batch, likewise.
const LARGEST_BATCH: usize = 1 << 24;

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Which model: `ensemble`, or one of another crate.
    pub kind: String,
    /// What a member predicts: `gaussian` (mean and log-variance), `homoscedastic` (the mean, and one log-variance a channel for
    /// all inputs) or `deterministic` (the mean alone, noise-free rollouts).
    /// Unset: `gaussian` for `mle`, which needs it, and `deterministic` for every other loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// `[model.ensemble]`
    pub ensemble: EnsembleConfig,
    /// `[model.loss]`
    pub loss: LossConfig,
    /// `[model.fit]`
    pub fit: FitConfig,
    /// `[model.own]`: keys of a model of another crate.
    #[serde(skip_serializing_if = "Table::is_empty")]
    pub own: Table,
}

/// The name of the ensemble in a config.
pub const ENSEMBLE: &str = "ensemble";

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            kind: ENSEMBLE.into(),
            head: None,
            ensemble: EnsembleConfig::default(),
            loss: LossConfig::default(),
            fit: FitConfig::default(),
            own: Table::new(),
        }
    }
}

impl ModelConfig {
    /// The head in force under a loss.
    #[must_use]
    pub fn head(&self, loss: &dyn ModelLoss) -> Head {
        self.head.unwrap_or(if loss.fits_variance() { Head::Gaussian } else { Head::Deterministic })
    }

    /// What is impossible about these values under a loss, if anything: the message, with its hint.
    #[must_use]
    pub fn problem(&self, loss: &dyn ModelLoss) -> Option<String> {
        let Self { ensemble, fit, .. } = self;
        if ensemble.members == 0 {
            return Some("`model.ensemble.members` is 0\nhint: an ensemble has at least one member".into());
        }
        if ensemble.elites == 0 || ensemble.elites > ensemble.members {
            return Some(format!(
                "`model.ensemble.elites` is {}, but `model.ensemble.members` is {}\nhint: elites are chosen among the members: 1 to {}",
                ensemble.elites, ensemble.members, ensemble.members
            ));
        }
        if ensemble.members > MOST_MEMBERS {
            return Some(format!("`model.ensemble.members` is {}\nhint: at most {MOST_MEMBERS}", ensemble.members));
        }
        if ensemble.hidden.iter().any(|width| !(1..=WIDEST).contains(width)) {
            return Some(format!("`model.ensemble.hidden` is {:?}\nhint: widths of 1 to {WIDEST}", ensemble.hidden));
        }
        if fit.batch > LARGEST_BATCH {
            return Some(format!("`model.fit.batch` is {}\nhint: at most {LARGEST_BATCH}", fit.batch));
        }
        if loss.fits_variance() && self.head(loss) == Head::Deterministic {
            return Some(format!(
                "`model.loss.kind` is {}, but `model.head` is deterministic\nhint: a likelihood needs a variance: set `model.head = \"gaussian\"` or leave it out",
                self.loss.kind
            ));
        }
        if fit.every == 0
            || fit.batch == 0
            || fit.max_steps == 0
            || [fit.first_max_steps, fit.max_epochs.map(u64::from)].contains(&Some(0))
        {
            return Some(
                "`model.fit.every`, `batch`, `max_steps`, `first_max_steps` and `max_epochs` must be positive\nhint: remove the key to get its default"
                    .into(),
            );
        }
        if fit.min_steps > fit.max_steps {
            return Some(format!(
                "`model.fit.min_steps` is {}, but `model.fit.max_steps` is {}\nhint: raise max_steps or lower min_steps",
                fit.min_steps, fit.max_steps
            ));
        }
        if !(fit.holdout > 0.0 && fit.holdout < 1.0) {
            return Some(format!(
                "`model.fit.holdout` is {}\nhint: a share of the rows, between 0 and 1; early stopping and elites need it",
                fit.holdout
            ));
        }
        if fit.stopping == Stopping::Paired && !(self.head(loss).has_variance() && ensemble.members > 1) {
            return Some(
                "`model.fit.stopping` is paired, which scores the variance of an ensemble's prediction\nhint: set `model.head = \"homoscedastic\"` or `\"gaussian\"` and two or more `model.ensemble.members`, or leave `stopping` out"
                    .into(),
            );
        }
        let not_negative = |x: f64| x >= 0.0 && x.is_finite();
        if !(fit.lr > 0.0 && [fit.lr, fit.decay, fit.threshold].into_iter().all(not_negative)) {
            return Some(format!(
                "`model.fit` has lr = {}, decay = {}, threshold = {}\nhint: lr is positive, the others are not negative, and all are finite",
                fit.lr, fit.decay, fit.threshold
            ));
        }
        None
    }
}

impl Head {
    /// Whether there is a variance.
    #[must_use]
    pub fn has_variance(self) -> bool {
        self != Self::Deterministic
    }
}

/// What a member predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Mean and log-variance of a diagonal Gaussian; imagined transitions are sampled.
    Gaussian,
    /// The mean, and one learned log-variance a channel and member, which does not depend on the input; imagined transitions are
    /// sampled. The likelihood's weight of a row does not depend on the row then, as that of a squared error.
    Homoscedastic,
    /// The mean; imagined transitions are noise-free.
    Deterministic,
}

/// The numbers that a network predicts of the next observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicted {
    /// next_obs − obs: an error of the network is an error of what happens in one step.
    #[default]
    Change,
    /// next_obs.
    NextObs,
}

impl Predicted {
    fn is_change(&self) -> bool {
        *self == Self::Change
    }
}

/// `[model.ensemble]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleConfig {
    /// Networks, `E`.
    pub members: usize,
    /// How many of them, the best on the holdout, imagine.
    pub elites: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// `true` trains members on (x − mean) / std of every change and of the reward, with the moments of all real
    /// transitions: entries of different scale count alike, in the loss and in the holdout score.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub normalize_targets: bool,
    /// Which numbers a network predicts, beside the reward: `change` (next_obs − obs) or `next_obs`, the next observation itself.
    #[serde(skip_serializing_if = "Predicted::is_change")]
    pub predict: Predicted,
    /// Layer normalisation of the hidden activations, without learned scale and shift; ε is 1 in the first layer, 0.1 in the
    /// second, 0.01 in all that follow (4kubo/erl_lib).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub layer_norm: bool,
}

impl Default for EnsembleConfig {
    /// PETS and MBPO.
    fn default() -> Self {
        Self {
            members: 7,
            elites: 5,
            hidden: vec![200; 4],
            normalize_targets: false,
            predict: Predicted::Change,
            layer_norm: false,
        }
    }
}

/// `[model.loss]`: a loss by name, what all value-aware losses share, and the loss's own keys beside them. Keys of other
/// losses are allowed, so that one word swaps the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossConfig {
    /// Which loss: `foresee list losses`.
    pub kind: String,
    /// Value-aware losses: which value heads are asked, `all` or `target`.
    pub heads: ValueHeads,
    /// Value-aware losses: whether a value's derivative by the state goes through the policy too; without, the action is
    /// held fixed.
    pub through_policy: bool,
    /// Value-aware losses: for so many real steps after the end of exploration the mean squared error is added, because a
    /// young critic knows nothing yet.
    pub add_mse_until: u64,
    /// The loss's own keys.
    #[serde(flatten)]
    pub keys: Table,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            kind: "vagram".into(),
            heads: ValueHeads::All,
            through_policy: false,
            add_mse_until: 1000,
            keys: Table::new(),
        }
    }
}

/// The keys that all losses share.
const SHARED_LOSS_KEYS: [&str; 4] = ["kind", "heads", "through_policy", "add_mse_until"];

impl LossConfig {
    /// The loss of this name, with its other keys at their defaults.
    #[must_use]
    pub fn named(kind: &str) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// The same with one of the loss's own keys set.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.insert(key.into(), value.into());
        self
    }

    /// The loss, among those that are known, and its own keys with all defaults.
    ///
    /// # Errors
    /// If there is none of that name, or a key does not fit it.
    pub fn choose(&self, losses: &LossKinds) -> Result<(Arc<dyn ModelLoss>, Table), Explained> {
        losses.choose(&["model", "loss"], &SHARED_LOSS_KEYS, &self.kind, &self.keys)
    }
}

/// Whose weights an improvement of the holdout score keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Snapshot {
    /// Each member keeps its own best (MBPO).
    #[default]
    Member,
    /// One member's improvement keeps all members' weights (mbrl-lib, the reference VaGraM code).
    Shared,
}

/// How a fit notices that it gets no better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopping {
    /// A member's mean score has to improve by a share of it (MBPO, mbrl-lib).
    #[default]
    Relative,
    /// The rows' scores under the whole ensemble have to be lower by a paired test (DHMBPO); the ensemble's weights are kept
    /// together.
    Paired,
}

impl Stopping {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[model.fit]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitConfig {
    /// Real steps between two training calls.
    pub every: u64,
    /// Rows a gradient step shows to each member.
    pub batch: usize,
    /// Adam's step size.
    pub lr: f64,
    /// Weight decay.
    pub decay: f64,
    /// How the decay enters: `decoupled` or `coupled`.
    pub decay_form: Decay,
    /// Share of the rows kept for early stopping and elites.
    pub holdout: f64,
    /// How a fit notices that it gets no better: `relative` or `paired`.
    #[serde(skip_serializing_if = "Stopping::is_default")]
    pub stopping: Stopping,
    /// Holdout scores in a row without improvement before stopping.
    pub patience: u32,
    /// The least relative improvement that counts.
    pub threshold: f64,
    /// Gradient steps before early stopping may act. With few data an epoch is one to three gradient steps, and a
    /// likelihood fit budgeted in epochs is starved.
    pub min_steps: u64,
    /// Gradient steps at most.
    pub max_steps: u64,
    /// Gradient steps of the first training call at most, which begins with random weights; unset: `max_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_max_steps: Option<u64>,
    /// Epochs at most; unset for as many as `max_steps` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_epochs: Option<u32>,
    /// `member` or `shared`.
    pub snapshot: Snapshot,
}

impl FitConfig {
    /// Gradient steps of training call number `call` at most.
    #[must_use]
    pub fn steps_of(&self, call: u64) -> u64 {
        self.first_max_steps.filter(|_| call == 0).unwrap_or(self.max_steps)
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
