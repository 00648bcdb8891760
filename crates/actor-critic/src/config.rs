//! The keys of `[agent]`: the agent's name, the number of rows in its batches, and the agent's own keys.

use std::sync::Arc;

use foresee_core::Explained;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::agent::{AgentFactory, AgentKinds};

/// Largest width of a hidden layer. A wider one is a typing error: one weight matrix between two such layers takes 16
/// GiB.
const WIDEST: usize = 1 << 16;
/// Largest number of rows in a batch. A larger one is a typing error.
const LARGEST_BATCH: usize = 1 << 24;

/// The section `[agent]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentConfig {
    /// Name of the agent in a list such as [`agents`](crate::agents). Unset: `dhmbpo` if the algorithm is `dhmbpo`,
    /// else `sac`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Number of rows in a batch, real and imagined together.
    pub batch: usize,
    /// The agent's own keys, such as [`SacConfig`](crate::SacConfig)'s.
    #[serde(flatten)]
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
    /// The agent's name.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or(DEFAULT)
    }

    /// Whether the agent is `sac`, which is also the agent of a config that names none.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.kind() == DEFAULT
    }

    /// Returns an error message with a hint if the number of rows in a batch is impossible.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.batch == 0 {
            return Some("`agent.batch` must be positive\nhint: remove the key to get its default".into());
        }
        (self.batch > LARGEST_BATCH).then(|| format!("`agent.batch` is {}\nhint: at most {LARGEST_BATCH}", self.batch))
    }

    /// Returns the named agent's factory, and its keys with all defaults that do not depend on the task.
    ///
    /// # Errors
    /// If no agent has that name, or a key is unknown or has an impossible value.
    pub fn choose(&self, agents: &AgentKinds) -> Result<(Arc<dyn AgentFactory>, Table), Explained> {
        agents.choose(&["agent"], &["kind", "batch"], self.kind(), &self.keys)
    }
}

/// Returns an error message with a hint if the widths of the hidden layers are impossible.
pub(crate) fn problem_of_hidden(hidden: &[usize]) -> Option<String> {
    (hidden.is_empty() || hidden.iter().any(|width| !(1..=WIDEST).contains(width)))
        .then(|| format!("`agent.hidden` is {hidden:?}\nhint: one or more widths of 1 to {WIDEST}"))
}

/// Returns an error message with a hint if the discount, or the rate of the target networks, is impossible.
pub(crate) fn problem_of_target(discount: f64, tau: f64) -> Option<String> {
    let tau_fits = tau > 0.0 && tau <= 1.0;
    (!tau_fits || !(0.0..=1.0).contains(&discount)).then(|| {
        format!("`agent.discount` is {discount} and `agent.tau` is {tau}\nhint: discount in [0, 1], tau in (0, 1]")
    })
}

/// Whether a rate is positive and finite.
pub(crate) fn is_positive(x: f64) -> bool {
    x > 0.0 && x.is_finite()
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
            ("batch = 0", "`agent.batch` must be positive"),
            ("batch = 16777217", "`agent.batch` is 16777217\nhint: at most 16777216"),
            ("kind = \"sak\"", "`agent.kind` cannot be `sak`\nhint: did you mean `sac`?"),
            ("hiden = [3]", "unknown key `agent.hiden`\nhint: did you mean `hidden`?"),
            ("hidden = []", "`agent.hidden` is []\nhint: one or more widths of 1 to 65536"),
            ("policy_delay = 0", "`agent.policy_delay` and `target_update_interval` must be positive"),
            ("tau = 0.0", "`agent.discount` is 0.99 and `agent.tau` is 0\nhint: discount in [0, 1], tau in (0, 1]"),
            ("critic_lr = -1.0", "`agent.critic_lr`, `actor_lr`, `temperature_lr` and `initial_temperature` must be"),
            ("target_entropy = nan", "`agent.target_entropy` is not finite\nhint: leave it out"),
            ("critics = 65", "`agent.critics` is 65\nhint: 1 to 64"),
            ("critics = 5\ntarget_subset = 6", "`agent.target_subset` is 6\nhint: 1 to `agent.critics`, which is 5"),
            ("target_reduction = \"max\"", "`agent.target_reduction` cannot be `max`\nhint: "),
        ] {
            let config = read(text);
            let got = config.problem().or_else(|| config.choose(&agents()).err().map(|found| found.to_string()));
            let got = got.unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(got.starts_with(want), "{text}: {got}");
        }
    }
}
