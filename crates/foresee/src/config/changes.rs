//! The differences between two configs of a run: the keys that changed, and those among them that a run keeps.

use std::collections::BTreeMap;
use std::fmt;

use foresee_world_model::ModelConfig;
use toml::{Table, Value};

use super::reference::{self, Section};
use super::{Algo, Config, Parts};

/// The keys that a run keeps, because its random numbers, its task or the arrays of its saved state depend on them.
pub const KEPT_KEYS: [&str; 17] = [
    "algo",
    "seed",
    "env.id",
    "env.count",
    "env.action_repeat",
    "env.first_entries",
    "env.distractors",
    "agent.kind",
    "agent.hidden",
    "agent.critics",
    "agent.normalize_observations",
    "agent.scale_rewards",
    "model.kind",
    "model.head",
    "model.ensemble.members",
    "model.ensemble.hidden",
    "model.own",
];

/// A key with different values in two configs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The key, such as `model.fit.every`.
    pub key: String,
    /// The value in the earlier config, or the default; `None` if there is neither.
    pub before: Option<Value>,
    /// The value in the later config, or the default; `None` if there is neither.
    pub now: Option<Value>,
}

impl Change {
    /// Returns the two values as text: a string without quotes, and `unset` for no value.
    #[must_use]
    pub fn texts(&self) -> [String; 2] {
        [&self.before, &self.now].map(|value| match value {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "unset".into(),
        })
    }
}

impl fmt::Display for Change {
    /// Such as `` `training.env_steps` is 5000, and was 3000 ``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, now] = [&self.before, &self.now].map(quoted);
        write!(f, "`{}` is {now}, and was {before}", self.key)
    }
}

/// Returns a value for a message: a string in backticks, and `unset` for no value.
fn quoted(value: &Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value) => value.to_string(),
        None => "unset".into(),
    }
}

/// Returns the keys whose values differ, in alphabetical order. A key that a config does not have has its default.
///
/// ```
/// use foresee::Parts;
/// use foresee::config::{Config, changes::changes, from_text};
///
/// let before: Config = from_text("env.id = 'Pendulum-v1'\ntraining.env_steps = 3000", &[])?;
/// let now: Config = from_text("env.id = 'Pendulum-v1'\nenv.action_repeat = 1", &["training.env_steps=5000"])?;
/// let changes = changes(&before, &now, &Parts::default());
/// assert_eq!(changes.len(), 1);
/// assert_eq!(changes[0].to_string(), "`training.env_steps` is 5000, and was 3000");
/// # Ok::<(), foresee::config::ConfigError>(())
/// ```
#[must_use]
pub fn changes(before: &Config, now: &Config, parts: &Parts) -> Vec<Change> {
    let sections = reference::sections(parts);
    let [(before, of_before), (now, of_now)] = [before, now].map(|config| {
        let config = written_out(config, parts);
        let mut leaves = BTreeMap::new();
        let tree = Table::try_from(&config).expect("a config that came from TOML goes back to TOML");
        add_leaves("", tree, &mut leaves);
        (config, leaves)
    });
    let mut keys: Vec<&String> = of_before.keys().chain(of_now.keys()).collect();
    keys.sort();
    keys.dedup();
    let change = |key: &String| {
        let value = |config: &Config, leaves: &BTreeMap<String, Value>| {
            leaves.get(key).cloned().or_else(|| default(key, config, &sections))
        };
        let (before, now) = (value(&before, &of_before), value(&now, &of_now));
        (!same(before.as_ref(), now.as_ref())).then(|| Change { key: key.clone(), before, now })
    };
    keys.into_iter().filter_map(change).collect()
}

/// A change of keys that a run keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The keys.
    pub keys: Vec<String>,
    /// The changes in words, such as `` `algo` is `model_free`, but the run began with `mbpo` ``.
    pub what: String,
}

/// Returns the changes from a run's config that the run cannot take, if there are any. `now` need not be possible by
/// itself.
#[must_use]
pub fn refusal(before: &Config, now: &Config, parts: &Parts) -> Option<Refusal> {
    let changes = changes(before, now, parts);
    let has_model = before.algo != Algo::ModelFree;
    let is_kept = |key: &str| {
        let below = |kept: &&str| key.strip_prefix(*kept).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        KEPT_KEYS.iter().any(below) && (has_model || !key.starts_with("model."))
    };
    let kept: Vec<&Change> = changes.iter().filter(|change| is_kept(&change.key)).collect();
    if !kept.is_empty() {
        let of_one = |change: &&Change| {
            let Change { key, before, now } = change;
            let began = before.as_ref().map_or_else(|| "without it".into(), |_| format!("with {}", quoted(before)));
            format!("`{key}` is {}, but the run began {began}", quoted(now))
        };
        let what = kept.iter().map(of_one).collect::<Vec<_>>().join("; ");
        return Some(Refusal { keys: kept.into_iter().map(|change| change.key.clone()).collect(), what });
    }
    // The head is kept, so another loss has to fit it.
    let head = written_out(before, parts).model.head.filter(|head| has_model && !head.has_variance())?;
    let loss = now.model.loss.choose(&parts.losses).ok()?.0;
    (loss.fits_variance() && now.model.loss.kind != before.model.loss.kind).then(|| Refusal {
        keys: vec!["model.loss.kind".into()],
        what: format!(
            "`model.loss.kind` is `{}`, which needs a head with a variance, but the run began with the `model.head` {}",
            now.model.loss.kind,
            quoted(&Value::try_from(head).ok())
        ),
    })
}

/// Writes out the defaults that depend on other keys.
fn written_out(config: &Config, parts: &Parts) -> Config {
    let mut config = config.clone().with_defaults_of_algo();
    let ModelConfig { head, loss, .. } = &config.model;
    if let (None, Ok((loss, _))) = (head, loss.choose(&parts.losses)) {
        config.model.head = Some(config.model.head(&*loss));
    }
    config
}

/// Adds the values below `path` that are not tables, by their keys.
fn add_leaves(path: &str, tree: Table, leaves: &mut BTreeMap<String, Value>) {
    for (key, value) in tree {
        let key = if path.is_empty() { key } else { format!("{path}.{key}") };
        match value {
            Value::Table(table) => add_leaves(&key, table, leaves),
            value => _ = leaves.insert(key, value),
        }
    }
}

/// Returns the default of a key in a config with the agent and the loss of `config`.
fn default(key: &str, config: &Config, sections: &[Section]) -> Option<Value> {
    let (path, name) = key.rsplit_once('.').unwrap_or(("", key));
    let section = sections.iter().find(|section| section.path == path)?;
    let kind = if path == "agent" { config.agent.kind() } else { &config.model.loss.kind };
    let of_kind = section.kinds.iter().filter(|known| known.name == kind).flat_map(|known| &known.keys);
    let entry = section.keys.iter().chain(of_kind).find(|entry| entry.name == name)?;
    entry.default.as_ref()?.parse().ok()
}

/// Whether two values are the same; a whole number is the same as a floating-point number of its value.
fn same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    match (one, other) {
        (Some(Value::Integer(one)), Some(Value::Integer(other))) => one == other,
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(Some(one), Some(other)))
        }
        (Some(one), Some(other)) => match (number(one), number(other)) {
            (Some(one), Some(other)) => one == other || (one.is_nan() && other.is_nan()),
            _ => one == other,
        },
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    fn config(text: &str) -> Config {
        from_text(&format!("env.id = 'Pendulum-v1'\n{text}"), &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn found(before: &str, now: &str) -> Vec<String> {
        changes(&config(before), &config(now), &Parts::default()).iter().map(Change::to_string).collect()
    }

    #[test]
    fn a_key_that_one_config_lacks_has_its_default() {
        for (before, now, want) in [
            ("", "", &[][..]),
            ("", "env.action_repeat = 2", &["`env.action_repeat` is 2, and was 1"]),
            ("agent.spread = 'softplus'", "", &["`agent.spread` is `bounded`, and was `softplus`"]),
            (
                "",
                "agent.critics = 2\nagent.hidden = [256, 256]\nagent.target_entropy = -1.0",
                &["`agent.target_entropy` is -1.0, and was unset"],
            ),
            ("", "double_horizon.block = 20", &["`double_horizon.block` is 20, and was 1000"]),
            ("", "training.updates_per_step = 20\nagent.kind = 'sac'\nmodel.head = 'deterministic'", &[]),
            ("env.family.mass = 1", "env.family.mass = [1, 2]", &["`env.family.mass` is [1.0, 2.0], and was 1.0"]),
            ("model.loss.kind = 'mle'", "model.loss.kind = 'mle'\nmodel.head = 'gaussian'", &[]),
            (
                "",
                "algo = 'dhmbpo'",
                &[
                    "`agent.kind` is `dhmbpo`, and was `sac`",
                    "`algo` is `dhmbpo`, and was `mbpo`",
                    "`training.updates_per_step` is 1, and was 20",
                ],
            ),
        ] {
            assert_eq!(found(before, now), want, "{before:?} to {now:?}");
        }
    }

    #[test]
    fn a_checked_config_differs_from_its_source_only_in_what_the_task_determines() {
        let source = config("algo = 'dhmbpo'\nmodel.loss.kind = 'mle'");
        let opened = source.clone().open().unwrap_or_else(|problem| panic!("{problem}")).config;
        let changes = changes(&source, &opened, &Parts::default());
        assert_eq!(changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), ["agent.target_entropy"]);
    }

    #[test]
    fn what_a_run_keeps_is_refused_by_its_key() {
        let refused = |before: &str, now: &str| {
            refusal(&config(before), &config(now), &Parts::default()).map(|refusal| (refusal.keys, refusal.what))
        };
        for (before, now, key, what) in [
            ("", "algo = 'model_free'", "algo", "`algo` is `model_free`, but the run began with `mbpo`"),
            ("seed = 1", "seed = 2", "seed", "`seed` is 2, but the run began with 1"),
            ("", "agent.kind = 'td3'", "agent.kind", "`agent.kind` is `td3`, but the run began with `sac`"),
            (
                "agent.hidden = [8]",
                "agent.hidden = [8, 8]",
                "agent.hidden",
                "`agent.hidden` is [8, 8], but the run began with [8]",
            ),
            ("", "env.distractors = 3", "env.distractors", "`env.distractors` is 3, but the run began with 0"),
            (
                "",
                "env.first_entries = 2",
                "env.first_entries",
                "`env.first_entries` is 2, but the run began without it",
            ),
            (
                "",
                "model.ensemble.members = 9",
                "model.ensemble.members",
                "`model.ensemble.members` is 9, but the run began with 7",
            ),
            ("", "model.own.width = 3", "model.own.width", "`model.own.width` is 3, but the run began without it"),
            (
                "model.loss.kind = 'vagram'",
                "model.loss.kind = 'mle'\nmodel.head = 'deterministic'",
                "model.loss.kind",
                "`model.loss.kind` is `mle`, which needs a head with a variance, but the run began with the `model.head` `deterministic`",
            ),
            (
                "model.loss.kind = 'vagram'",
                "model.loss.kind = 'vagram'\nmodel.head = 'gaussian'",
                "model.head",
                "`model.head` is `gaussian`, but the run began with `deterministic`",
            ),
        ] {
            assert_eq!(refused(before, now), Some((vec![key.to_owned()], what.to_owned())), "{before:?} to {now:?}");
        }
        let (keys, what) = refused("", "seed = 1\nalgo = 'model_free'").expect("two keys");
        assert_eq!(keys, ["algo", "seed"]);
        assert_eq!(
            what,
            "`algo` is `model_free`, but the run began with `mbpo`; `seed` is 1, but the run began with 0"
        );
        for (before, now) in [
            ("", "training.env_steps = 7\nmodel.loss.kind = 'mse'\nagent.batch = 3\nmodel.ensemble.elites = 2"),
            ("model.loss.kind = 'vagram'\nmodel.head = 'gaussian'", "model.loss.kind = 'mle'\nmodel.head = 'gaussian'"),
            ("algo = 'model_free'", "algo = 'model_free'\nmodel.ensemble.hidden = [8]\nmodel.loss.kind = 'mle'"),
        ] {
            assert_eq!(refused(before, now), None, "{before:?} to {now:?}");
        }
    }

    #[test]
    fn every_kept_key_is_a_key() {
        let sections = reference::sections(&Parts::default());
        for kept in KEPT_KEYS {
            let (path, name) = kept.rsplit_once('.').unwrap_or(("", kept));
            let section = sections.iter().find(|section| section.path == path).unwrap_or_else(|| panic!("{kept}"));
            assert!(section.names().contains(&name), "{kept}");
        }
    }
}
