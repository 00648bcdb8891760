//! Keys and values of older versions. They are still accepted; a note gives the name that is valid now.

use toml::{Table, Value};

use super::ConfigError;

/// A key that has a new name in the same section.
#[derive(Clone, Copy, Debug)]
pub struct RenamedKey {
    /// Path of the section.
    pub section: &'static [&'static str],
    /// Name in older versions.
    pub old: &'static str,
    /// Name now.
    pub new: &'static str,
}

/// All renamed keys.
///
/// Hashes of configs that identify results use the old names, so that results of older versions are recognised.
pub const RENAMED_KEYS: [RenamedKey; 3] = [
    RenamedKey { section: &["agent"], old: "actor_every", new: "policy_delay" },
    RenamedKey { section: &["agent"], old: "target_every", new: "target_update_interval" },
    RenamedKey { section: &["rollout"], old: "retain", new: "retain_epochs" },
];

impl RenamedKey {
    /// Returns the whole path of a name in the section.
    fn path(&self, name: &str) -> String {
        [self.section, &[name][..]].concat().join(".")
    }

    fn note(&self) -> String {
        format!("`{}` is now `{}`", self.path(self.old), self.path(self.new))
    }
}

/// The error of a table in which a key is set under both of its names: the message and the hint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BothNames {
    what: String,
    hint: String,
}

impl BothNames {
    /// Returns the error under the name of the file or override that sets both.
    pub(super) fn at(self, origin: &str) -> ConfigError {
        ConfigError { origin: origin.to_owned(), what: self.what, hint: Some(self.hint) }
    }
}

/// Replaces old names by new ones in the table at the path `at` of a config. Returns a message for each replacement.
///
/// # Errors
/// If a key is set under both names.
pub(super) fn rename_in(at: &[String], table: &mut Table) -> Result<Vec<String>, BothNames> {
    let mut notes = Vec::new();
    for key in &RENAMED_KEYS {
        if key.section.len() < at.len() || !at.iter().eq(&key.section[..at.len()]) {
            continue;
        }
        let below = &key.section[at.len()..];
        let section = below.iter().try_fold(&mut *table, |table, &name| table.get_mut(name)?.as_table_mut());
        let Some(section) = section else { continue };
        let Some(value) = section.remove(key.old) else { continue };
        if section.contains_key(key.new) {
            let (old, new) = (key.path(key.old), key.path(key.new));
            let hint = format!("`{old}` is the old name of `{new}`: keep `{new}` alone");
            return Err(BothNames { what: format!("`{old}` and `{new}` are both set"), hint });
        }
        section.insert(key.new.into(), value);
        notes.push(key.note());
    }
    Ok(notes)
}

/// Replaces old names by new ones in a dotted key. Returns a message if there was one.
pub(super) fn rename_dotted(keys: &mut [String]) -> Option<String> {
    let key = RENAMED_KEYS.iter().find(|key| {
        let depth = key.section.len();
        keys.len() > depth && keys[..depth].iter().eq(key.section) && keys[depth] == key.old
    })?;
    keys[key.section.len()] = key.new.into();
    Some(key.note())
}

/// A value that has a new name.
struct RenamedValue {
    /// The key with this value.
    key: &'static [&'static str],
    old: &'static str,
    new: &'static str,
    /// The part of the message that follows the new name.
    note: &'static str,
}

/// All renamed values.
const RENAMED_VALUES: &[RenamedValue] = &[RenamedValue {
    key: &["algo"],
    old: "sac",
    new: "model_free",
    // Older versions had no key for the agent.
    note: "the agent is chosen by `agent.kind`, by default `sac`",
}];

/// Replaces old values by new ones. Returns the keys and the message of each replacement.
pub(super) fn rename_values(tree: &mut Value) -> Vec<(Vec<String>, String)> {
    let mut notes = Vec::new();
    for RenamedValue { key, old, new, note } in RENAMED_VALUES {
        let found = key.iter().try_fold(&mut *tree, |value, key| value.get_mut(key));
        let Some(value) = found.filter(|value| value.as_str() == Some(old)) else { continue };
        *value = Value::String((*new).into());
        let name = key.join(".");
        let keys = key.iter().map(|&key| key.into()).collect();
        notes.push((keys, format!("`{name} = \"{old}\"` is now `{name} = \"{new}\"`; {note}")));
    }
    notes
}
