//! The keys of the config sections `[model]`, `[model.ensemble]`, `[model.loss]` and `[model.fit]`.

mod fit;

use std::sync::Arc;

use foresee_core::Explained;
use foresee_core::limits::{MAX_WIDTH, refusal};
use foresee_core::reference::any_table;
use foresee_nn::ValueHeads;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::loss::{LossKinds, ModelLoss};
pub use fit::{FitConfig, Snapshot, Stopping};

/// Largest allowed number of members. A larger number is assumed to be a typing error.
const MAX_MEMBERS: usize = 1024;

/// The config section `[model]`: the kind of the world model, and the outputs of its networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Name of the model: `ensemble`, or a model of another crate.
    pub kind: String,
    /// The rule by which imagined episodes end. `rule`: the task's termination rule, which `env.termination` sets where
    /// it is not known. `learned`: a classifier that is trained at each fit on the real steps and their ends; it takes
    /// the place of a rule that is known, too.
    #[serde(skip_serializing_if = "TerminationSource::is_rule")]
    #[schemars(extend("default" = "rule"))]
    pub termination: TerminationSource,
    /// Outputs of a member. `gaussian`: mean and log-variance. `homoscedastic`: the mean, and one log-variance per
    /// channel that is the same for all inputs. `deterministic`: the mean alone, with noise-free rollouts.
    ///
    /// Unset: `gaussian` for the loss `mle`, which needs it, and `deterministic` for every other loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// The config section `[model.ensemble]`.
    pub ensemble: EnsembleConfig,
    /// The config section `[model.loss]`.
    pub loss: LossConfig,
    /// The config section `[model.fit]`.
    pub fit: FitConfig,
    /// The config section `[model.own]`: the keys of a model of another crate.
    #[serde(skip_serializing_if = "Table::is_empty")]
    #[schemars(schema_with = "any_table", extend("default" = {}))]
    pub own: Table,
}

/// The name of the ensemble in the key `model.kind`.
pub const ENSEMBLE: &str = "ensemble";

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            kind: ENSEMBLE.into(),
            termination: TerminationSource::default(),
            head: None,
            ensemble: EnsembleConfig::default(),
            loss: LossConfig::default(),
            fit: FitConfig::default(),
            own: Table::new(),
        }
    }
}

impl ModelConfig {
    /// Returns the head that the model has under `loss`: the one that the config sets, or else Gaussian if the loss
    /// fits a variance and deterministic if it does not.
    #[must_use]
    pub fn head(&self, loss: &dyn ModelLoss) -> Head {
        self.head.unwrap_or(if loss.fits_variance() { Head::Gaussian } else { Head::Deterministic })
    }

    /// Returns a message with a hint if these values are impossible under `loss`.
    #[must_use]
    pub fn problem(&self, loss: &dyn ModelLoss) -> Option<String> {
        self.ensemble.problem().or_else(|| self.fit.problem()).or_else(|| self.problem_of_head(loss))
    }

    /// Returns a message with a hint if the head lacks a variance that the loss or the stopping rule needs.
    fn problem_of_head(&self, loss: &dyn ModelLoss) -> Option<String> {
        let has_variance = self.head(loss).has_variance();
        if loss.fits_variance() && !has_variance {
            return Some(format!(
                "`model.loss.kind` is `{}`, but `model.head` is `deterministic`\nhint: set `model.head = \"gaussian\"` or `\"homoscedastic\"`, or leave the key out, because a likelihood needs a variance",
                self.loss.kind
            ));
        }
        (self.fit.stopping == Stopping::Paired && !(has_variance && self.ensemble.members > 1)).then(|| {
            "`model.fit.stopping` is `paired`, which needs a head with a variance and at least two members\nhint: set `model.head = \"homoscedastic\"` or `\"gaussian\"` and two or more `model.ensemble.members`, or leave `stopping` out"
                .into()
        })
    }
}

impl Head {
    /// Returns true if the head predicts a variance.
    #[must_use]
    pub fn has_variance(self) -> bool {
        self != Self::Deterministic
    }
}

/// The rule by which imagined episodes end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TerminationSource {
    /// The task's termination rule.
    #[default]
    Rule,
    /// A classifier of steps, trained on the real ends.
    Learned,
}

impl TerminationSource {
    /// Whether it is the task's rule.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    #[must_use]
    pub fn is_rule(&self) -> bool {
        *self == Self::Rule
    }
}

/// The outputs of an ensemble member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Mean and log-variance of a diagonal Gaussian. Imagined transitions are sampled.
    Gaussian,
    /// The mean, and one learned log-variance per channel and member that does not depend on the input. Imagined
    /// transitions are sampled. The likelihood then weights all rows equally, as a squared error does.
    Homoscedastic,
    /// The mean alone. Imagined transitions are noise-free.
    Deterministic,
}

/// The quantity that a network predicts of the next observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Predicted {
    /// next_obs − obs: an error of the network is an error of the change in one step.
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

/// The config section `[model.ensemble]`: the networks of an ensemble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleConfig {
    /// Number of networks, `E`.
    pub members: usize,
    /// Number of elites: the members with the best holdout scores. Only elites imagine rollouts.
    pub elites: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// `true`: members are trained on targets (x − mean) / std, with the moments of all real transitions. Entries of
    /// different scale then count equally in the loss and in the holdout score.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub normalize_targets: bool,
    /// The quantity that a network predicts besides the reward: `change` (next_obs − obs) or `next_obs` (the next
    /// observation itself).
    #[serde(skip_serializing_if = "Predicted::is_change")]
    #[schemars(extend("default" = "change"))]
    pub predict: Predicted,
    /// `true`: layer normalisation of the hidden activations, without learned scale and shift. ε is 1 in the first
    /// layer, 0.1 in the second and 0.01 in all later ones (4kubo/erl_lib).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub layer_norm: bool,
}

impl Default for EnsembleConfig {
    /// The values of PETS and MBPO.
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

impl EnsembleConfig {
    /// Returns a message with a hint if a value is impossible.
    fn problem(&self) -> Option<String> {
        let Self { members, elites, ref hidden, .. } = *self;
        let default = Self::default();
        if !(1..=MAX_MEMBERS).contains(&members) {
            let allowed = format!("1 to {MAX_MEMBERS}");
            return Some(refusal("model.ensemble.members", members, allowed, default.members));
        }
        if !(1..=members).contains(&elites) {
            let hint = if elites == 0 { "raise it" } else { "lower it, or raise `model.ensemble.members`" };
            return Some(format!(
                "`model.ensemble.elites` is {elites}; it must be 1 to {members}, the value of `model.ensemble.members`\nhint: {hint}"
            ));
        }
        (!hidden.iter().all(|width| (1..=MAX_WIDTH).contains(width))).then(|| {
            let allowed = format!("a list of layer widths, each from 1 to {MAX_WIDTH}");
            refusal("model.ensemble.hidden", format!("{hidden:?}"), allowed, format!("{:?}", default.hidden))
        })
    }
}

/// The config section `[model.loss]`: the name of a loss, the keys that all value-aware losses share, and the loss's
/// own keys. Keys of other losses are allowed, so that changing one word swaps the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LossConfig {
    /// Name of the loss. `foresee list losses` lists the names.
    pub kind: String,
    /// For value-aware losses: the value heads that the loss uses, `all` or `target`.
    pub heads: ValueHeads,
    /// For value-aware losses: whether the derivative of a value with respect to the state also goes through the
    /// policy. If `false`, the action is held fixed.
    pub through_policy: bool,
    /// For value-aware losses: number of real steps after the end of exploration during which the mean squared error is
    /// added to the loss. A young critic has not learned anything yet.
    pub add_mse_until: u64,
    /// The loss's own keys.
    #[serde(flatten)]
    #[schemars(skip)]
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

impl LossConfig {
    /// The keys of `[model.loss]` that every loss has.
    pub const SHARED_KEYS: [&str; 4] = ["kind", "heads", "through_policy", "add_mse_until"];

    /// Returns the config of the loss of this name, with all other keys at their defaults.
    #[must_use]
    pub fn named(kind: &str) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    /// Returns this config with one of the loss's own keys set.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.keys.insert(key.into(), value.into());
        self
    }

    /// Returns the loss of this name among `losses`, and its own keys with all defaults filled in.
    ///
    /// # Errors
    /// If no loss has this name, or a key is not valid for it.
    pub fn choose(&self, losses: &LossKinds) -> Result<(Arc<dyn ModelLoss>, Table), Explained> {
        losses.choose(&["model", "loss"], &Self::SHARED_KEYS, &self.kind, &self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::mle::Mle;
    use crate::loss::mse::Mse;

    #[test]
    fn what_cannot_be_says_so_with_a_hint() {
        let read = |text: &str| -> ModelConfig { toml::from_str(text).expect("known keys") };
        assert_eq!(read("").problem(&Mse {}), None);
        assert_eq!(read("loss.kind = 'mle'").problem(&Mle {}), None);
        for (text, want) in [
            ("ensemble.members = 0", "`model.ensemble.members` is 0; it must be 1 to 1024\nhint: the default is 7"),
            ("ensemble.members = 1025", "`model.ensemble.members` is 1025; it must be 1 to 1024\nhint: "),
            (
                "ensemble.elites = 8",
                "`model.ensemble.elites` is 8; it must be 1 to 7, the value of `model.ensemble.members`\nhint: ",
            ),
            (
                "ensemble.hidden = [8, 0]",
                "`model.ensemble.hidden` is [8, 0]; it must be a list of layer widths, each from 1 to 65536\nhint: the default is [200, ",
            ),
            ("fit.every = 0", "`model.fit.every` is 0; it must be positive\nhint: the default is 250"),
            ("fit.max_steps = 0", "`model.fit.max_steps` is 0; it must be positive\nhint: the default is 10000"),
            ("fit.first_max_steps = 0", "`model.fit.first_max_steps` is 0; it must be positive\nhint: leave it out"),
            ("fit.max_epochs = 0", "`model.fit.max_epochs` is 0; it must be positive\nhint: leave it out"),
            ("fit.batch = 0", "`model.fit.batch` is 0; it must be 1 to 16777216\nhint: the default is 256"),
            (
                "fit.holdout = 1.0",
                "`model.fit.holdout` is 1; it must be a share of the rows, above 0 and below 1\nhint: ",
            ),
            ("fit.lr = 0.0", "`model.fit.lr` is 0; it must be positive\nhint: the default is 0.001"),
            ("fit.lr = inf", "`model.fit.lr` is inf; it must be finite\nhint: "),
            ("fit.lr = 1e-60", "`model.fit.lr` is 1e-60; it must be 1e-37 or larger, because "),
            ("fit.decay = 1e60", "`model.fit.decay` is 1e60; it must be at most 1e37 in size, because "),
            ("fit.decay = -0.5", "`model.fit.decay` is -0.5; it must be at least 0\nhint: the default is 0.00005"),
            ("fit.threshold = nan", "`model.fit.threshold` is NaN; it must be at least 0\nhint: "),
            ("fit.stopping = 'paired'", "`model.fit.stopping` is `paired`, which needs a head with a variance"),
        ] {
            let got = read(text).problem(&Mse {}).unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(got.starts_with(want) && got.contains("\nhint: "), "{text}: {got}");
        }
    }
}
