//! The keys of `[agent]`: the agent's name, the number of rows in its batches, and the agent's own keys.

use std::ops::RangeInclusive;
use std::sync::Arc;

use foresee_core::Explained;
use foresee_core::limits::{self, MAX_BATCH, MAX_WIDTH, refusal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::agent::{AgentFactory, AgentKinds};

/// The section `[agent]`: the agent's name, the size of its batches, and its own keys. Keys of other agents are allowed,
/// so that changing one word swaps the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AgentConfig {
    /// Name of the agent; `foresee list agents` shows the names. Unset: `dhmbpo` if the algorithm is `dhmbpo`, else `sac`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Number of rows in a batch, real and imagined together.
    pub batch: usize,
    /// The agent's own keys, such as [`SacConfig`](crate::SacConfig)'s.
    #[serde(flatten)]
    #[schemars(skip)]
    pub keys: Table,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self { kind: None, batch: 256, keys: Table::new() }
    }
}

/// The agent of a config that names none.
const DEFAULT: &str = "sac";

impl AgentConfig {
    /// The keys of `[agent]` that every agent has.
    pub const SHARED_KEYS: [&str; 2] = ["kind", "batch"];

    /// The agent's name.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(DEFAULT)
    }

    /// Returns true if the agent is `sac`: the config names `sac` or no agent.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.kind() == DEFAULT
    }

    /// Returns an error message with a hint if the number of rows in a batch is impossible.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        within("batch", self.batch, 1..=MAX_BATCH, Self::default().batch)
    }

    /// Returns the named agent's factory, and its keys with all defaults that do not depend on the task.
    ///
    /// # Errors
    /// If no agent has that name, or a key is unknown or has an impossible value.
    pub fn choose(&self, agents: &AgentKinds) -> Result<(Arc<dyn AgentFactory>, Table), Explained> {
        agents.choose(&["agent"], &Self::SHARED_KEYS, self.kind(), &self.keys)
    }
}

/// Returns an error message unless `hidden` holds one or more widths of 1 to [`MAX_WIDTH`].
pub(crate) fn layer_widths(hidden: &[usize], default: &[usize]) -> Option<String> {
    let allowed = !hidden.is_empty() && hidden.iter().all(|width| (1..=MAX_WIDTH).contains(width));
    (!allowed).then(|| {
        let allowed = format!("a list of at least one layer width, each from 1 to {MAX_WIDTH}");
        refusal("agent.hidden", format!("{hidden:?}"), allowed, format!("{default:?}"))
    })
}

/// Returns an error message unless the discount is in [0, 1], and below 1 in single precision too if it is below 1.
pub(crate) fn discount(value: f64, default: f64) -> Option<String> {
    let outside = !(0.0..=1.0).contains(&value);
    let refused = outside.then(|| refusal("agent.discount", value, "in [0, 1]", default));
    refused.or_else(|| limits::rounds_to_one("agent.discount", value))
}

/// Returns an error message unless the rate of the target networks is in (0, 1].
pub(crate) fn target_rate(tau: f64, default: f64) -> Option<String> {
    let allowed = tau > 0.0 && tau <= 1.0;
    let refused = (!allowed).then(|| refusal("agent.tau", tau, "above 0 and at most 1", default));
    refused.or_else(|| limits::single("agent.tau", tau, default))
}

/// Returns an error message unless the number `value` of the key `agent.<key>` is positive and usable in single
/// precision.
pub(crate) fn positive(key: &str, value: f64, default: f64) -> Option<String> {
    limits::positive(&format!("agent.{key}"), value, default)
}

/// Returns an error message unless the number `value` of the key `agent.<key>` is at least 0 and usable in single
/// precision.
pub(crate) fn not_negative(key: &str, value: f64, default: f64) -> Option<String> {
    limits::not_negative(&format!("agent.{key}"), value, default)
}

/// Returns an error message unless the interval `value` of the key `agent.<key>`, in updates, is positive.
pub(crate) fn interval(key: &str, value: u64, default: u64) -> Option<String> {
    (value == 0).then(|| refusal(&format!("agent.{key}"), value, "positive", default))
}

/// Returns an error message unless the count `value` of the key `agent.<key>` is in `range`.
pub(crate) fn within(key: &str, value: usize, range: RangeInclusive<usize>, default: usize) -> Option<String> {
    (!range.contains(&value)).then(|| {
        let allowed = format!("{} to {}", range.start(), range.end());
        refusal(&format!("agent.{key}"), value, allowed, default)
    })
}

/// Returns an error message if the target entropy is set and not finite, or not usable in single precision.
pub(crate) fn target_entropy(value: Option<f64>) -> Option<String> {
    let entropy = value?;
    if entropy.is_finite() {
        return limits::single("agent.target_entropy", entropy, "−A, where A is the number of action entries");
    }
    Some(format!(
        "`agent.target_entropy` is {entropy}; it must be finite\nhint: leave it out to use −A, where A is the number of action entries"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents;

    fn read(text: &str) -> AgentConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_left_out_is_the_default_agent() {
        let config = read("");
        assert_eq!(config, AgentConfig::default());
        let (_, keys) = config.choose(&agents()).unwrap();
        assert_eq!(keys, Table::try_from(crate::SacConfig::default()).unwrap());
    }

    #[test]
    fn an_agents_own_keys_stand_beside_its_kind_and_come_back_as_they_were() {
        let config = read("batch = 32\nhidden = [8]\ntau = 0.5");
        assert_eq!((config.batch, config.keys.len()), (32, 2));
        assert_eq!(read(&toml::to_string(&config).unwrap()), config);
        let (agent, keys) = config.choose(&agents()).unwrap();
        assert_eq!((keys["tau"].as_float(), keys.get("target_entropy")), (Some(0.5), None));
        assert_eq!(agent.resolved([3, 2])["target_entropy"].as_float(), Some(-2.0));
    }

    #[test]
    fn what_cannot_be_says_so_with_a_hint() {
        for (text, want) in [
            ("batch = 0", "`agent.batch` is 0; it must be 1 to 16777216\nhint: the default is 256"),
            ("batch = 16777217", "`agent.batch` is 16777217; it must be 1 to 16777216\nhint: "),
            ("kind = \"sak\"", "`agent.kind` cannot be `sak`\nhint: did you mean `sac`?"),
            ("hiden = [3]", "unknown key `agent.hiden`\nhint: did you mean `hidden`?"),
            (
                "hidden = []",
                "`agent.hidden` is []; it must be a list of at least one layer width, each from 1 to 65536\nhint: ",
            ),
            ("policy_delay = 0", "`agent.policy_delay` is 0; it must be positive\nhint: the default is 1"),
            (
                "target_update_interval = 0",
                "`agent.target_update_interval` is 0; it must be positive\nhint: the default is 1",
            ),
            ("discount = 1.5", "`agent.discount` is 1.5; it must be in [0, 1]\nhint: the default is 0.99"),
            ("tau = 0.0", "`agent.tau` is 0; it must be above 0 and at most 1\nhint: the default is 0.005"),
            ("critic_lr = -1.0", "`agent.critic_lr` is -1; it must be positive\nhint: the default is 0.0003"),
            ("critic_lr = 1e60", "`agent.critic_lr` is 1e60; it must be at most 1e37 in size, because "),
            ("actor_lr = 1e-60", "`agent.actor_lr` is 1e-60; it must be 1e-37 or larger, because "),
            ("tau = 1e-60", "`agent.tau` is 1e-60; it must be 1e-37 or larger, because "),
            (
                "discount = 0.99999999",
                "`agent.discount` is 0.99999999, which single precision rounds to 1\nhint: write 1, or at most 0.99999994",
            ),
            ("target_entropy = -1e60", "`agent.target_entropy` is -1e60; it must be at most 1e37 in size, because "),
            ("actor_lr = inf", "`agent.actor_lr` is inf; it must be finite\nhint: the default is 0.0003"),
            ("target_entropy = nan", "`agent.target_entropy` is NaN; it must be finite\nhint: leave it out"),
            ("critics = 65", "`agent.critics` is 65; it must be 1 to 64\nhint: the default is 2"),
            (
                "critics = 5\ntarget_subset = 6",
                "`agent.target_subset` is 6; it must be 1 to 5, the value of `agent.critics`\nhint: leave it out",
            ),
            ("target_reduction = \"max\"", "`agent.target_reduction` cannot be `max`\nhint: "),
        ] {
            let config = read(text);
            let got = config.problem().or_else(|| config.choose(&agents()).err().map(|found| found.to_string()));
            let got = got.unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(got.starts_with(want), "{text}: {got}");
        }
    }
}
