//! The keys of a config by section, and the keys that an unknown key most likely means.

use super::reference::{Section, sections};
use super::{Parts, habits};

/// Returns the dotted paths of all keys, subsections included. The sections of agents and losses have the keys of all
/// shipped ones.
pub(super) fn all() -> Vec<String> {
    let path = |section: &str, key: &str| if section.is_empty() { key.into() } else { format!("{section}.{key}") };
    let of = |section: &Section| section.names().iter().map(|key| path(section.path, key)).collect::<Vec<_>>();
    sections(&Parts::default()).iter().flat_map(of).collect()
}

/// Splits a dotted path into its section and its last name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Returns the keys that an unknown key may mean, and a remark on them. They are known under its name in other programs,
/// or have its name in other sections. `top` are the names at the top of the config that is read, empty if they are not
/// known.
fn meant(unknown: &str, top: &[&str]) -> (Vec<String>, &'static str) {
    let (section, word) = split(unknown);
    let word = word.to_lowercase().replace('-', "_");
    let (mut keys, remark) = match habits::of(&word) {
        Some(habit) => (habit.keys.iter().map(|&key| key.to_owned()).collect(), habit.remark),
        None => (all().into_iter().filter(|key| split(key).1 == word).collect::<Vec<_>>(), ""),
    };
    keys.retain(|key| {
        let known = top.is_empty() || top.contains(&key.split('.').next().unwrap_or_default());
        known && key != unknown && !unknown.starts_with(&format!("{key}."))
    });
    (nearest_to(section, keys), remark)
}

/// Returns those of the keys that are in the section, or else those below it, or else those with the same first name, or
/// else all.
fn nearest_to(section: &str, keys: Vec<String>) -> Vec<String> {
    let first = |path: &str| path.split('.').next().map(str::to_owned);
    let near: [&dyn Fn(&str) -> bool; 3] =
        [&|key| split(key).0 == section, &|key| key.starts_with(&format!("{section}.")), &|key| {
            first(key) == first(section)
        }];
    let mut found = near.iter().map(|is_near| keys.iter().filter(|key| is_near(key)).cloned().collect::<Vec<_>>());
    let nearest = found.find(|found| !found.is_empty());
    nearest.unwrap_or(keys)
}

/// Returns the hint about an unknown key: the keys that it may mean, followed by the list of valid keys in `hint`. If
/// nothing is known about it, returns `hint`.
pub(super) fn hint(unknown: &[String], hint: Option<String>, top: &[&str]) -> Option<String> {
    let unknown = unknown.join(".");
    let (keys, remark) = meant(&unknown, top);
    let names: Vec<String> = keys
        .iter()
        .map(|key| match split(key) {
            (section, name) if section == split(&unknown).0 => format!("`{name}`"),
            _ => format!("`{key}`"),
        })
        .collect();
    let (last, others) = match names.split_last() {
        Some((last, others)) => (last, others.join(", ")),
        None => return hint,
    };
    let or = if others.is_empty() { "" } else { " or " };
    let valid = hint.as_deref().and_then(|hint| hint.find("valid keys here: ").map(|at| &hint[at..]));
    Some(format!("did you mean {others}{or}{last}{remark}? {}", valid.unwrap_or_default()).trim_end().to_owned())
}

/// Returns the keys that a word most likely means: the key itself, keys of that name in any section, or the keys that
/// other programs call so. Empty if there are none.
///
/// ```
/// use foresee::config::suggestions;
///
/// assert_eq!(suggestions("seed"), ["seed"]);
/// assert_eq!(suggestions("env-steps"), ["training.env_steps"]);
/// assert_eq!(suggestions("gamma"), ["agent.discount"]);
/// ```
#[must_use]
pub fn suggestions(word: &str) -> Vec<String> {
    let word = word.replace('-', "_");
    if all().contains(&word) { vec![word] } else { meant(&word, &[]).0 }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    /// Serde's own list of the keys of a section, from the message about an unknown key in it.
    fn valid_in(section: &str) -> Vec<String> {
        let unknown = if section.is_empty() { "no_key=1".to_owned() } else { format!("{section}.no_key=1") };
        let source = super::super::Source::text("env.id = 'Pendulum-v1'", &[&unknown]).unwrap();
        let error = match source.typed::<Config>() {
            Err(error) => error,
            Ok(config) => source.blame(&config.open().err().expect("an unknown key")),
        };
        let hint = error.hint.expect("the valid keys");
        let (_, list) = hint.split_once("valid keys here: ").unwrap_or_else(|| panic!("{section}: {hint}"));
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_sections_have_the_keys_that_loading_accepts() {
        for section in sections(&Parts::default()) {
            let (path, keys, valid) = (section.path, section.names(), valid_in(section.path));
            assert!(valid.iter().all(|key| keys.contains(&key.as_str())), "[{path}]: {keys:?} and {valid:?}");
            // `[agent]` and `[model.loss]` also have the keys of the kinds that were not chosen.
            assert!(!section.kinds.is_empty() || valid.len() == keys.len(), "[{path}]: {keys:?} and {valid:?}");
        }
    }

    #[test]
    fn every_subsection_is_a_section() {
        for section in sections(&Parts::default()).iter().filter(|section| !section.path.is_empty()) {
            assert!(all().iter().any(|key| key == section.path), "[{}]", section.path);
        }
    }

    #[test]
    fn the_keys_nearest_to_the_section_are_suggested() {
        for (unknown, keys) in [
            ("agent.env_steps", &["training.env_steps"][..]),
            ("model.members", &["model.ensemble.members"]),
            ("model.fit.members", &["model.ensemble.members"]),
            ("training.horizon", &["agent.horizon", "rollout.horizon", "double_horizon.horizon"]),
            ("agent.seed", &["seed"]),
            ("agent.lr", &["agent.critic_lr", "agent.actor_lr", "agent.temperature_lr"]),
            ("model.lr", &["model.fit.lr"]),
            ("training.env-steps", &["training.env_steps"]),
            ("agent.policy.hidden", &["agent.hidden"]),
            ("no_key", &[]),
            // A config that is read without all sections may not have this one.
            ("training", &[]),
        ] {
            assert_eq!(meant(unknown, &[]).0, keys, "{unknown}");
        }
        assert_eq!(meant("count", &["env"]).0, ["env.count"]);
        assert_eq!(meant("env_steps", &["env"]).0, [""; 0]);
    }
}
