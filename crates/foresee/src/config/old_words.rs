//! Words of older versions: they stay understood, with a line that gives the word of today.

use toml::Value;

/// A value that has another name now.
struct Renamed {
    /// The key that it stands at.
    key: &'static [&'static str],
    old: &'static str,
    new: &'static str,
    /// The rest of the message, which the new name alone does not tell.
    note: &'static str,
}

/// All of them.
const RENAMED: &[Renamed] = &[Renamed {
    key: &["algo"],
    old: "sac",
    new: "model_free",
    // What learns had no key of its own then.
    note: "`agent.kind` says which agent learns, and is `sac` unless it is set",
}];

/// Puts the words of today in the place of old ones; of each its keys, and what to tell.
pub fn replace(tree: &mut Value) -> Vec<(Vec<String>, String)> {
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
