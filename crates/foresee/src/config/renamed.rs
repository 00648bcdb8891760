//! Words of older versions in configs. They are still accepted; a note gives the word that is valid now.

use toml::Value;

/// A value that has a new name.
struct Renamed {
    /// The key with this value.
    key: &'static [&'static str],
    old: &'static str,
    new: &'static str,
    /// The part of the message that follows the new name.
    note: &'static str,
}

/// All renamed values.
const RENAMED: &[Renamed] = &[Renamed {
    key: &["algo"],
    old: "sac",
    new: "model_free",
    // Older versions had no key for the agent.
    note: "`agent.kind` says which agent learns, and is `sac` unless it is set",
}];

/// Replaces old words by new ones. Returns the keys and the message of each replacement.
pub(super) fn replace(tree: &mut Value) -> Vec<(Vec<String>, String)> {
    let mut told = Vec::new();
    for Renamed { key, old, new, note } in RENAMED {
        let place = key.iter().try_fold(&mut *tree, |value, key| value.get_mut(key));
        let Some(value) = place.filter(|value| value.as_str() == Some(old)) else { continue };
        *value = Value::String((*new).into());
        let name = key.join(".");
        let keys = key.iter().map(|&key| key.into()).collect();
        told.push((keys, format!("`{name} = \"{old}\"` is now `{name} = \"{new}\"`; {note}")));
    }
    told
}
