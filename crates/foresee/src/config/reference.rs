//! The reference of all config keys: the sections with their keys, a page about them, and a config with comments.

use std::fmt::Write;

use foresee_actor_critic::AgentConfig;
use foresee_core::kinds::field_names;
use foresee_core::reference::{KeyEntry, key_entries, section_description};
use foresee_core::{Kind, Kinds, Termination};
use foresee_env::{EnvConfig, FamilyConfig, GymConfig, MujocoConfig};
use foresee_world_model::ModelConfig;
use foresee_world_model::config::{EnsembleConfig, FitConfig, LossConfig};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Algo, Config, DoubleHorizonConfig, Parts, RolloutConfig, TrainingConfig, lookup};

/// Width of the comments in an explained config.
const WIDTH: usize = 100;

/// A section of a config with the entries of its keys.
#[derive(Clone, Debug)]
pub struct Section {
    /// The section's path, such as `model.fit`; empty for the keys at the top.
    pub path: &'static str,
    /// The section's content, in sentences.
    pub description: String,
    /// The keys, subsections included.
    pub keys: Vec<KeyEntry>,
    /// The parts that the key `kind` of the section chooses among; each has keys of its own.
    pub kinds: Vec<KindKeys>,
}

/// The keys of a part, such as an agent.
#[derive(Clone, Debug)]
pub struct KindKeys {
    /// The part's name.
    pub name: &'static str,
    /// The part's description, in one line.
    pub description: &'static str,
    /// The names of its keys.
    pub names: &'static [&'static str],
    /// The entries of its keys; empty if the part was added without a reference.
    pub keys: Vec<KeyEntry>,
}

impl Section {
    /// Returns the names of all keys: the section's own, and those of the parts, each once.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        for name in self.kinds.iter().flat_map(|kind| kind.names) {
            if !names.contains(name) {
                names.push(name);
            }
        }
        names
    }
}

/// Returns all sections of a config, with the keys of all agents and losses of `parts`.
#[must_use]
pub fn sections(parts: &Parts) -> Vec<Section> {
    let mut sections = vec![
        of::<Config>(""),
        of::<EnvConfig>("env"),
        of::<Termination>("env.termination"),
        of::<FamilyConfig>("env.family"),
        of::<MujocoConfig>("env.mujoco"),
        of::<GymConfig>("env.gym"),
        of::<TrainingConfig>("training"),
        named::<AgentConfig>("agent", &AgentConfig::SHARED_KEYS),
        of::<ModelConfig>("model"),
        of::<EnsembleConfig>("model.ensemble"),
        named::<LossConfig>("model.loss", &LossConfig::SHARED_KEYS),
        of::<FitConfig>("model.fit"),
        of::<RolloutConfig>("rollout"),
        of::<DoubleHorizonConfig>("double_horizon"),
    ];
    for section in &mut sections {
        match section.path {
            "agent" => section.kinds = kinds(&parts.agents),
            "model.loss" => section.kinds = kinds(&parts.losses),
            _ => {}
        }
    }
    sections
}

/// Returns the section that serde reads a `K` from.
fn of<K: JsonSchema + DeserializeOwned>(path: &'static str) -> Section {
    named::<K>(path, field_names::<K>())
}

/// Returns the section with these keys of `K`. Serde does not tell the names of the keys of a section that also has the
/// keys of a part.
fn named<K: JsonSchema>(path: &'static str, names: &[&str]) -> Section {
    Section { path, description: section_description::<K>(), keys: key_entries::<K>(names), kinds: Vec::new() }
}

fn kinds<T>(kinds: &Kinds<T>) -> Vec<KindKeys> {
    let keys = |kind: &Kind<T>| KindKeys {
        name: kind.name(),
        description: kind.description(),
        names: kind.keys(),
        keys: kind.entries().to_vec(),
    };
    kinds.iter().map(keys).collect()
}

/// Returns the meaning and the default of a key or a section of the built-in parts, for a hint. `None` for another key.
/// Indices at the end, as of an entry of a list, are left out.
pub(super) fn meaning(keys: &[String]) -> Option<String> {
    let is_index = |key: &&String| key.bytes().all(|byte| byte.is_ascii_digit());
    let keys = &keys[..keys.len() - keys.iter().rev().take_while(is_index).count()];
    let (name, section) = keys.split_last()?;
    let sections = sections(&Parts::default());
    let of = |keys: &[String]| sections.iter().find(|section| section.path == keys.join("."));
    let (description, default) = match of(keys) {
        Some(section) => (&section.description, None),
        None => {
            let section = of(section)?;
            let entries = section.keys.iter().chain(section.kinds.iter().flat_map(|kind| &kind.keys));
            let mut entries = entries.filter(|entry| entry.name == *name);
            let entry = entries.next()?;
            // Agents may have different defaults of one key.
            let is_common = entries.all(|other| other.default == entry.default);
            (&entry.description, entry.default.as_ref().filter(|_| is_common))
        }
    };
    let sentence = description.split_once(". ").map_or(description.trim_end_matches('.'), |(first, _)| first);
    let default = default.map(|default| format!("; its default is `{default}`")).unwrap_or_default();
    Some(format!("the meaning of `{}`: {sentence}{default}", keys.join(".")))
}

/// Returns the page `docs/config.md`: a table for each section, and one for the keys of each agent and loss.
#[must_use]
pub fn page(parts: &Parts) -> String {
    let sections = sections(parts);
    let is_section = |path: &str, key: &str| sections.iter().any(|section| section.path == join(path, key));
    let mut page = String::from(
        "# Config keys\n\n\
         Every key of a config, by section. A file needs only the keys whose values differ from their defaults, and an\n\
         override on the command line has the form `section.key=value`. `foresee check CONFIG --explain` prints the same\n\
         beside the values of a config.\n\n\
         This page is the output of `foresee list keys --markdown`.\n",
    );
    for section in &sections {
        let title = if section.path.is_empty() { "Top level".into() } else { format!("`[{}]`", section.path) };
        _ = write!(page, "\n## {title}\n\n{}\n", section.description);
        table(&mut page, section.keys.iter().filter(|key| !is_section(section.path, &key.name)));
        for kind in &section.kinds {
            _ = write!(
                page,
                "\n### `{} = \"{}\"`\n\n{}.\n",
                join(section.path, "kind"),
                kind.name,
                capital(kind.description)
            );
            table(&mut page, kind.keys.iter());
        }
    }
    page
}

/// Appends a table of keys, or a sentence if there are none.
fn table<'a>(page: &mut String, keys: impl Iterator<Item = &'a KeyEntry>) {
    let mut keys = keys.peekable();
    if keys.peek().is_none() {
        page.push_str("\nIt has no keys of its own.\n");
        return;
    }
    page.push_str("\n| key | values | default | meaning |\n|---|---|---|---|\n");
    for KeyEntry { name, values, default, required, description, .. } in keys {
        let default = match default {
            Some(default) => format!("`{default}`"),
            None if *required => "required".into(),
            None => "unset".into(),
        };
        let cells = [format!("`{name}`"), quoted(values), default, description.clone()];
        _ = writeln!(page, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}

/// Puts names of values, which are in double quotes, into backticks.
fn quoted(values: &str) -> String {
    let mut parts = values.split('"').enumerate();
    let mut text = parts.next().map(|(_, first)| first.to_owned()).unwrap_or_default();
    for (at, part) in parts {
        text += if at % 2 == 1 { "`\"" } else { "\"`" };
        text += part;
    }
    text
}

/// Returns the config as TOML, with every key that a config of these parts can have. Comments state the meaning, the
/// values and the default of each key. Keys that are not set, or that the chosen agent, loss or algorithm does not
/// read, are in comments themselves, so that the text is the same config again.
///
/// `config` is a checked one, such as [`Setup`](super::Setup) has: with the keys of its agent and loss written out.
#[must_use]
pub fn explained(config: &Config, parts: &Parts) -> String {
    let sections = sections(parts);
    let tree = Value::try_from(config).expect("a config that came from TOML goes back to TOML");
    let mut text = String::new();
    for section in &sections {
        let keys: Vec<String> = section.path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        let table = lookup(&tree, &keys).and_then(Value::as_table);
        let is_optional = sections
            .iter()
            .any(|parent| parent.keys.iter().any(|key| key.optional && join(parent.path, &key.name) == section.path));
        let writer = Writer { set: table, absent: table.is_none() && is_optional };
        if !section.path.is_empty() {
            text.push('\n');
            comment(&mut text, &section.description);
            if let Some(algo) = unread_by(section.path, config.algo) {
                comment(&mut text, &format!("`algo = \"{algo}\"` does not read this section."));
            }
            _ = writeln!(text, "{}[{}]", if writer.absent { "# Not set: " } else { "" }, section.path);
        }
        let is_section = |key: &str| sections.iter().any(|other| other.path == join(section.path, key));
        for key in section.keys.iter().filter(|key| !is_section(&key.name)) {
            writer.key(&mut text, key, "");
        }
        writer.kinds(&mut text, section);
    }
    text.trim_start().to_owned()
}

/// The algorithm's name, if it does not read the section.
fn unread_by(path: &str, algo: Algo) -> Option<&'static str> {
    let is_read = match path.split('.').next().unwrap_or_default() {
        "model" => algo != Algo::ModelFree,
        "rollout" => algo == Algo::Mbpo,
        "double_horizon" => algo == Algo::Dhmbpo,
        _ => true,
    };
    (!is_read).then(|| algo.name())
}

/// Writes the keys of a section with comments.
struct Writer<'a> {
    /// The section's keys that have a value; `None` if all of them have their defaults.
    set: Option<&'a Table>,
    /// Whether the section itself is not set, so that all its keys are in comments.
    absent: bool,
}

impl Writer<'_> {
    /// Writes a key under a comment. `remark` is a sentence at the end of the comment.
    fn key(&self, text: &mut String, key: &KeyEntry, remark: &str) {
        let KeyEntry { name, values, default, required, description, .. } = key;
        let value = self.set.and_then(|set| set.get(name)).map(Value::to_string);
        let default_text =
            default.as_deref().unwrap_or(if *required { "none, a config has to set it" } else { "unset" });
        text.push('\n');
        comment(text, description);
        comment(text, &format!("Values: {values}. Default: {default_text}.{remark}"));
        match value.as_ref().or(default.as_ref()) {
            Some(value) if self.absent || (!remark.is_empty() && self.value(name).is_none()) => {
                _ = writeln!(text, "# {name} = {value}");
            }
            Some(value) => _ = writeln!(text, "{name} = {value}"),
            None => _ = writeln!(text, "# {name} is not set"),
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.set.and_then(|set| set.get(name))
    }

    /// Writes the keys of the kinds of a section: those of the chosen kind, then those that only other kinds have.
    fn kinds(&self, text: &mut String, section: &Section) {
        let chosen = self.value("kind").and_then(Value::as_str).unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = section.kinds.iter().partition(|kind| kind.name == chosen);
        let mut written: Vec<&str> = Vec::new();
        for kind in &own {
            kind.keys.iter().for_each(|key| self.key(text, key, ""));
            written.extend(kind.keys.iter().map(|key| key.name.as_str()));
            // Keys of a part that was added without a reference.
            for name in kind.names.iter().filter(|name| !kind.keys.iter().any(|key| key.name == **name)) {
                _ = self.value(name).map(|value| writeln!(text, "\n{name} = {value}"));
                written.push(name);
            }
        }
        for kind in others {
            for key in &kind.keys {
                if !written.contains(&key.name.as_str()) {
                    self.key(text, key, &format!(" Only `kind = \"{}\"` reads it.", kind.name));
                    written.push(&key.name);
                }
            }
        }
    }
}

/// Appends comment lines of at most [`WIDTH`] columns.
fn comment(text: &mut String, sentences: &str) {
    let mut line = String::new();
    for word in sentences.split_whitespace() {
        if !line.is_empty() && 2 + line.chars().count() + 1 + word.chars().count() > WIDTH {
            _ = writeln!(text, "# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        _ = writeln!(text, "# {line}");
    }
}

/// Joins the path of a section and a key.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Returns a text with a capital at its start.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Setup, from_text};

    fn opened(text: &str, overrides: &[&str]) -> Setup {
        from_text::<Config>(text, overrides)
            .unwrap()
            .open()
            .unwrap_or_else(|problem| panic!("{overrides:?}: {problem}"))
    }

    #[test]
    fn a_key_at_its_documented_default_changes_nothing() {
        let parts = Parts::default();
        let mut tried = 0;
        for section in sections(&parts) {
            let own = section.keys.iter().map(|key| (None, key));
            let of_kinds = section.kinds.iter().flat_map(|kind| kind.keys.iter().map(|key| (Some(kind.name), key)));
            for (kind, key) in own.chain(of_kinds) {
                let Some(default) = &key.default else {
                    let is_section = sections(&parts).iter().any(|other| other.path == join(section.path, &key.name));
                    let known = key.required || key.optional || is_section;
                    assert!(known, "`{}` of `{}` has no default in its reference", key.name, section.path);
                    continue;
                };
                let id = if section.path == "env.gym" { "gym:Pendulum-v1" } else { "Pendulum-v1" };
                // A rule that is given at all is another one than none.
                let mut text = format!("env.id = '{id}'\n");
                text += if section.path == "env.termination" { "env.termination = {}\n" } else { "" };
                text += &kind.map(|kind| format!("{}.kind = '{kind}'\n", section.path)).unwrap_or_default();
                let change = format!("{}={default}", join(section.path, &key.name));
                let [without, with] = [&[][..], &[change.as_str()]].map(|overrides| {
                    from_text::<Config>(&text, overrides).unwrap_or_else(|error| panic!("{change}: {error}"))
                });
                let chosen = |config: &Config| {
                    let of_agent = config.agent.choose(&parts.agents).expect("known keys").1;
                    let of_loss = config.model.loss.choose(&parts.losses).expect("known keys").1;
                    let mut config = config.clone();
                    (config.agent.keys, config.model.loss.keys) = (of_agent, of_loss);
                    config
                };
                assert_eq!(chosen(&with), chosen(&without), "{change}");
                tried += 1;
            }
        }
        assert!(tried > 80, "{tried} keys");
    }

    #[test]
    fn every_entry_has_its_values_and_its_meaning() {
        for section in sections(&Parts::default()) {
            assert!(section.description.ends_with('.'), "[{}]: {}", section.path, section.description);
            for key in section.keys.iter().chain(section.kinds.iter().flat_map(|kind| &kind.keys)) {
                let KeyEntry { name, values, description, .. } = key;
                assert!(
                    !values.is_empty() && description.ends_with('.'),
                    "{}.{name}: {values}; {description}",
                    section.path
                );
            }
            for kind in &section.kinds {
                let names: Vec<&str> = kind.keys.iter().map(|key| key.name.as_str()).collect();
                assert_eq!(names, kind.names, "`{}`", kind.name);
            }
        }
    }

    #[test]
    fn an_explained_config_is_the_config_again_with_every_key() {
        for (text, overrides) in [
            ("env.id = 'Pendulum-v1'", &[][..]),
            (
                "env.id = 'Pendulum-v1'\nalgo = 'dhmbpo'",
                &["agent.horizon=3", "env.action_repeat=2", "agent.policy_noise=0.3"],
            ),
            (
                "env.id = 'Pendulum-v1'\nalgo = 'model_free'\nagent.kind = 'td3'",
                &["agent.hidden=[8]", "env.family.mass=[0.5, 2]"],
            ),
            (
                "env.id = 'Pendulum-v1'\nmodel.loss.kind = 'huber'",
                &["model.loss.delta=0.5", "rollout.horizon=[1, 5, 0, 99]"],
            ),
        ] {
            let setup = opened(text, overrides);
            let explained = explained(&setup.config, &Parts::default());
            assert_eq!(opened(&explained, &[]).config, setup.config, "{explained}");
            for section in sections(&Parts::default()) {
                let header = format!("[{}]\n", section.path);
                let start = if section.path.is_empty() { 0 } else { explained.find(&header).expect(&header) };
                for name in section.names().into_iter().filter(|name| join(section.path, name) != section.path) {
                    let is_section = explained.contains(&format!("[{}]\n", join(section.path, name)));
                    let stands = |form: &str| explained[start..].contains(&format!("\n{form}{name}"));
                    assert!(is_section || stands("") || stands("# "), "`{name}` of [{}]\n{explained}", section.path);
                }
            }
        }
    }

    #[test]
    fn values_that_differ_from_the_default_stand_beside_it() {
        let setup = opened("env.id = 'Pendulum-v1'", &["training.env_steps=500"]);
        let text = explained(&setup.config, &Parts::default());
        assert!(text.contains("Default: 100000.\nenv_steps = 500\n"), "{text}");
        assert!(text.contains("# `algo = \"mbpo\"` does not read this section.\n[double_horizon]\n"), "{text}");
        assert!(text.contains("Only `kind = \"td3\"` reads it.\n# policy_noise = 0.2\n"), "{text}");
        assert!(text.contains("# Not set: [env.termination]\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH || !line.starts_with("# ")), "{text}");
    }
}
