//! The keys of `[model]`, `[model.ensemble]`, `[model.loss]` and `[model.fit]`.

use foresee_nn::Decay;
use serde::{Deserialize, Serialize};

/// More members are a slip of the finger.
const MOST_MEMBERS: usize = 1024;
/// Likewise: one weight of two layers that wide takes 16 GiB.
const WIDEST: usize = 1 << 16;
/// Rows of a batch, likewise.
const LARGEST_BATCH: usize = 1 << 24;

/// `[model]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// What a member predicts: `gaussian` (mean and log-variance) or `deterministic` (mean alone, noise-free rollouts).
    /// Unset: `gaussian` for `mle`, which needs it, and `deterministic` for every other loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// `[model.ensemble]`
    pub ensemble: EnsembleConfig,
    /// `[model.loss]`
    pub loss: LossConfig,
    /// `[model.fit]`
    pub fit: FitConfig,
}

impl ModelConfig {
    /// The head in force.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head.unwrap_or(match self.loss.kind {
            LossKind::Mle => Head::Gaussian,
            _ => Head::Deterministic,
        })
    }

    /// What is impossible about these values, if anything: the message, with its hint.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { ensemble, loss, fit, .. } = self;
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
        if loss.kind == LossKind::Mle && self.head() == Head::Deterministic {
            return Some(
                "`model.loss.kind` is mle, but `model.head` is deterministic\nhint: a likelihood needs a variance: set `model.head = \"gaussian\"` or leave it out"
                    .into(),
            );
        }
        if !(loss.clip_quantile > 0.0 && loss.clip_quantile <= 1.0) {
            return Some(format!(
                "`model.loss.clip_quantile` is {}\nhint: a quantile above 0 and up to 1; 1.0 clips nothing",
                loss.clip_quantile
            ));
        }
        if fit.every == 0 || fit.batch == 0 || fit.max_steps == 0 || fit.max_epochs == Some(0) {
            return Some(
                "`model.fit.every`, `batch`, `max_steps` and `max_epochs` must be positive\nhint: remove the key to get its default"
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

/// What a member predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Mean and log-variance of a diagonal Gaussian; imagined transitions are sampled.
    Gaussian,
    /// The mean; imagined transitions are noise-free.
    Deterministic,
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
}

impl Default for EnsembleConfig {
    /// PETS and MBPO.
    fn default() -> Self {
        Self { members: 7, elites: 5, hidden: vec![200; 4] }
    }
}

/// Which loss fits the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Gaussian likelihood.
    Mle,
    /// Squared error.
    Mse,
    /// Value-gradient weighted squared error.
    Vagram,
    /// Squared error of the value at the predicted state.
    Itervaml,
    /// Squared error weighted by the value.
    ValueWeighted,
}

impl LossKind {
    /// Every loss with a line on each, in the order `foresee list losses` prints.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Mle, "Gaussian likelihood: right everywhere (PETS, MBPO)"),
        (Self::Mse, "squared error: right everywhere, without a variance"),
        (Self::Vagram, "value-gradient weighted: right where the value function is steep (Voelcker et al. 2022)"),
        (Self::Itervaml, "error of the value at the predicted state: right about what follows (Farahmand 2018)"),
        (Self::ValueWeighted, "squared error weighted by the value's size: right where much is at stake"),
    ];

    /// Its name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mle => "mle",
            Self::Mse => "mse",
            Self::Vagram => "vagram",
            Self::Itervaml => "itervaml",
            Self::ValueWeighted => "value_weighted",
        }
    }

    /// Whether it asks for the agent's values.
    #[must_use]
    pub fn is_value_aware(self) -> bool {
        !matches!(self, Self::Mle | Self::Mse)
    }
}

/// Which of VaGraM's two bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Σ_d (∂_d V · err_d)²: the paper's, by Cauchy-Schwarz.
    #[default]
    Bounded,
    /// (∇V · err)²: rank one; directions along which the value does not change are free.
    Unbounded,
}

/// Which value heads a value-aware loss asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heads {
    /// Both critics and both target critics.
    #[default]
    All,
    /// The target critics alone.
    Target,
}

/// `[model.loss]`. Keys that a kind does not use are allowed, so that one word swaps the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// `mle`, `mse`, `vagram`, `itervaml` or `value_weighted`.
    pub kind: LossKind,
    /// `vagram`: `bounded` or `unbounded`.
    pub form: Form,
    /// `vagram`: gradients longer than this quantile of their head's norms are shortened to it; 1.0 clips nothing.
    pub clip_quantile: f64,
    /// `vagram`, `itervaml`, `value_weighted`: which value heads are asked, `all` or `target`.
    pub heads: Heads,
    /// `vagram`, `itervaml`: whether a value's derivative by the state goes through the policy too; without, the action
    /// is held fixed.
    pub through_policy: bool,
    /// `vagram`, `itervaml`, `value_weighted`: until this real step the mean squared error is added, because a young
    /// critic knows nothing yet.
    pub add_mse_until: u64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            kind: LossKind::Vagram,
            form: Form::Bounded,
            clip_quantile: 0.95,
            heads: Heads::All,
            through_policy: false,
            add_mse_until: 1000,
        }
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
    /// Holdout scores in a row without improvement before stopping.
    pub patience: u32,
    /// The least relative improvement that counts.
    pub threshold: f64,
    /// Gradient steps before early stopping may act. With few data an epoch is one to three gradient steps, and a
    /// likelihood fit budgeted in epochs is starved.
    pub min_steps: u64,
    /// Gradient steps at most.
    pub max_steps: u64,
    /// Epochs at most; unset for as many as `max_steps` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_epochs: Option<u32>,
    /// `member` or `shared`.
    pub snapshot: Snapshot,
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
            patience: 5,
            threshold: 0.01,
            min_steps: 0,
            max_steps: 10_000,
            max_epochs: None,
            snapshot: Snapshot::Member,
        }
    }
}
