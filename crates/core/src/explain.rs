//! Translates serde's errors into messages for the author of a config.
//!
//! Serde provides its errors as text only, so this module parses that text. A message that it does not recognise passes
//! through unchanged. The tests of `load` check the messages that it does recognise.

use core::fmt;

use serde_path_to_error::Segment;
use toml::Value;

/// An error in a config, with a hint on how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The place of the error: keys and indices from the root.
    pub keys: Vec<String>,
    /// The error itself.
    pub what: String,
    /// A hint on how to fix it.
    pub hint: Option<String>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Explained {}

/// Explains why a tree is not the config that the caller expected.
#[must_use]
pub fn explain(error: &serde_path_to_error::Error<toml::de::Error>, tree: &Value) -> Explained {
    explain_in(&[], error, tree)
}

/// Explains an error as [`explain`] does, for a tree that is the table at the keys `section` of a larger tree. Messages
/// show keys from the root of the larger tree.
#[must_use]
pub fn explain_in(section: &[&str], error: &serde_path_to_error::Error<toml::de::Error>, tree: &Value) -> Explained {
    let found = explain_path(&section.join("."), error, tree);
    let keys = section.iter().map(|&key| key.to_owned()).chain(found.keys).collect();
    Explained { keys, ..found }
}

fn explain_path(section: &str, error: &serde_path_to_error::Error<toml::de::Error>, tree: &Value) -> Explained {
    let mut keys = keys_of(error.path());
    let mut path = match (section, keys.is_empty()) {
        (section, true) => section.to_owned(),
        ("", false) => error.path().to_string(),
        (section, false) => format!("{section}.{}", error.path()),
    };
    let message = error.inner().message();
    let value = lookup(tree, &keys);
    let child = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };

    if let Some((name, rest)) = quoted_after(message, "unknown field `") {
        // For a tagged enum, the path ends at the enum's table.
        if value.is_some_and(|value| value.get(name).is_some()) {
            path = child(name);
            keys.push(name.to_owned());
        }
        return Explained { keys, what: format!("unknown key `{path}`"), hint: choice(name, rest, "keys") };
    }
    if let Some((name, rest)) = quoted_after(message, "unknown variant `") {
        let what = format!("`{path}` cannot be `{name}`");
        return Explained { keys, what, hint: choice(name, rest, "values") };
    }
    if let Some((name, _)) = quoted_after(message, "missing field `") {
        let missing = child(name);
        let place = if path.is_empty() { "at the top".into() } else { format!("under `[{path}]`") };
        let hint = format!("add `{name} = …` {place}, or give the override `{missing}=…`");
        return Explained { keys, what: format!("`{missing}` is missing"), hint: Some(hint) };
    }
    if let Some((found, expected)) = lengths(message) {
        let entries = if found == 1 { "entry" } else { "entries" };
        return Explained { keys, what: format!("`{path}` has {found} {entries}, expected {expected}"), hint: None };
    }
    match mismatch(message, value) {
        Some((found, expected)) => {
            let hint = value.and_then(|value| conversion(value, &expected));
            Explained { keys, what: format!("`{path}` is {found}, expected {expected}"), hint }
        }
        None if path.is_empty() => Explained { keys, what: message.to_owned(), hint: None },
        None => Explained { keys, what: format!("`{path}`: {message}"), hint: None },
    }
}

/// Returns a hint with the value of the expected type that a value most likely means.
fn conversion(found: &Value, expected: &str) -> Option<String> {
    let whole = expected.starts_with("a whole number");
    let most = expected.rsplit_once(" to ").and_then(|(_, most)| most.parse().ok()).unwrap_or(i64::MAX);
    let least = if expected == "a whole number" { i64::MIN } else { 0 };
    let write = |value: &dyn fmt::Display| Some(format!("write `{value}`"));
    match found {
        Value::Float(number) if whole && number.fract() == 0.0 && number.abs() < 2_f64.powi(63) => {
            let integer = *number as i64;
            (least..=most).contains(&integer).then(|| format!("write `{integer}`"))
        }
        Value::Integer(flag @ 0..=1) if expected == "a boolean" => write(&(*flag == 1)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) if expected == "an array" => {
            write(&format!("[{found}]"))
        }
        Value::Array(_) if whole || ["a number", "a boolean", "a string"].contains(&expected) => {
            Some("write one value, not a list".into())
        }
        Value::String(text) => {
            let word = text.to_lowercase();
            if expected == "a boolean" && ["yes", "on", "no", "off"].contains(&word.as_str()) {
                return write(&(word == "yes" || word == "on"));
            }
            if (whole || expected.starts_with("a number"))
                && let Some((number, unit)) = with_unit(text)
            {
                let meant = factor(unit).map(|factor| factor * number);
                let fits =
                    |number: &f64| !whole || (number.fract() == 0.0 && (least as f64..=most as f64).contains(number));
                return meant
                    .filter(fits)
                    .map_or_else(|| Some("write the number alone, without a unit".into()), |number| write(&number));
            }
            let value = text.parse::<Value>().ok()?;
            let fits = match &value {
                Value::Integer(number) if whole => (least..=most).contains(number),
                Value::Integer(_) | Value::Float(_) => expected.starts_with("a number"),
                Value::Boolean(_) => expected == "a boolean",
                Value::Array(_) => expected == "an array",
                Value::Table(_) => expected == "a table",
                Value::String(_) | Value::Datetime(_) => false,
            };
            fits.then(|| format!("leave the quotes out: `{value}`"))
        }
        _ => None,
    }
}

/// Splits a text such as `50k` or `60s` into its number and its unit.
fn with_unit(text: &str) -> Option<(f64, &str)> {
    let number = text.trim_end_matches(|c: char| c.is_alphabetic() || c == '%');
    let (number, unit) = (number.trim_end(), &text[number.len()..]);
    let begins = number.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let value: f64 = number.parse().ok()?;
    (begins && !unit.is_empty() && unit.chars().count() <= 4).then_some((value, unit))
}

/// Returns the factor that a unit stands for; `None` for a unit of time or of something else.
fn factor(unit: &str) -> Option<f64> {
    match unit {
        "k" | "K" => Some(1e3),
        "M" => Some(1e6),
        "%" => Some(1e-2),
        _ => None,
    }
}

/// Returns the value at these keys and indices.
#[must_use]
pub fn lookup<'a>(tree: &'a Value, keys: &[String]) -> Option<&'a Value> {
    keys.iter().try_fold(tree, |value, key| match value {
        Value::Table(table) => table.get(key),
        Value::Array(array) => array.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Returns the keys and indices of the first date or time in the tree, if there is one.
#[must_use]
pub fn date_in(tree: &Value) -> Option<Vec<String>> {
    let found = |key: String, value: &Value| {
        let inner = date_in(value)?;
        Some([vec![key], inner].concat())
    };
    match tree {
        Value::Datetime(_) => Some(Vec::new()),
        Value::Table(table) => table.iter().find_map(|(key, value)| found(key.clone(), value)),
        Value::Array(array) => array.iter().enumerate().find_map(|(index, value)| found(index.to_string(), value)),
        _ => None,
    }
}

/// Describes a value for a message, for example ``the integer `3` ``.
#[must_use]
pub fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string {text:?}"),
        Value::Integer(number) => format!("the integer `{number}`"),
        // With an exponent if it is very large or very small.
        Value::Float(number) => format!("the number `{number:?}`"),
        Value::Boolean(flag) => format!("the boolean `{flag}`"),
        Value::Datetime(time) => format!("the date `{time}`"),
        Value::Array(_) => "an array".into(),
        Value::Table(_) => "a table".into(),
    }
}

/// Returns the candidate that a misspelt word most likely means. At most a third of the word's letters may differ, or
/// one letter of a short word.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    let near = candidates.min_by_key(distance)?;
    (distance(&near) <= (length / 3).max(1) && distance(&near) < length).then_some(near)
}

fn keys_of(path: &serde_path_to_error::Path) -> Vec<String> {
    let key = |segment: &Segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    };
    path.iter().map_while(key).collect()
}

/// Splits a message after `start` into the quoted name and the rest. The name itself may hold any characters.
fn quoted_after<'a>(message: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    let rest = message.strip_prefix(start)?;
    rest.split_once("`, ").or_else(|| Some((rest.strip_suffix('`')?, "")))
}

/// A hint from serde's ``expected one of `a`, `b` ``.
fn choice(name: &str, expected: &str, noun: &str) -> Option<String> {
    among(name, &expected.split('`').skip(1).step_by(2).collect::<Vec<_>>(), noun)
}

/// A hint that lists the valid names, after a question that suggests the one nearest to `name`.
pub(crate) fn among(name: &str, valid: &[&str], noun: &str) -> Option<String> {
    if valid.is_empty() {
        return Some(format!("this section has no {noun}"));
    }
    let list = valid.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let near = nearest(name, valid.iter().copied()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    Some(format!("{near}valid {noun} here: {list}"))
}

/// The found and the expected number of entries, from a message about an array of the wrong length.
fn lengths(message: &str) -> Option<(usize, String)> {
    let (found, expected) = message.strip_prefix("invalid length ")?.split_once(", expected ")?;
    let expected = match expected {
        "fewer elements in array" => "fewer",
        other => other.strip_prefix("a tuple of size ").or_else(|| other.strip_prefix("an array of length "))?,
    };
    Some((found.parse().ok()?, expected.to_owned()))
}

/// Descriptions of the found and of the expected value, from a message about a value of the wrong type or size.
fn mismatch(message: &str, value: Option<&Value>) -> Option<(String, String)> {
    // Toml's message for an enum that got something other than a name.
    if message.starts_with("invalid type: unit variant") || message.starts_with("wanted exactly 1 element") {
        return Some((describe(value?), "a string".into()));
    }
    // The message of an untagged enum is its `expecting` text and nothing else.
    if message.starts_with("a ") {
        return Some((describe(value?), message.to_owned()));
    }
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let found = match found {
        // Serde writes out all digits of a large number.
        _ if value.is_some_and(Value::is_float) && found.starts_with("floating point") => describe(value?),
        "map" => "a table".into(),
        "sequence" => "an array".into(),
        other => {
            let found = other.replacen("floating point", "number", 1);
            let is_value =
                ["integer `", "number `", "boolean `", "string \""].into_iter().any(|start| found.starts_with(start));
            if is_value { format!("the {found}") } else { found }
        }
    };
    let expected = match expected {
        "f32" | "f64" => "a number".into(),
        "u64" | "usize" => "a whole number, 0 or more".into(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "i64" | "isize" => "a whole number".into(),
        "a sequence" => "an array".into(),
        "a map" => "a table".into(),
        other if other.starts_with("struct ") => "a table".into(),
        other => other.to_owned(),
    };
    Some((found, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_close_or_none() {
        let names = ["learning_rate", "hidden", "tau"];
        let near = |word| nearest(word, names.into_iter());
        assert_eq!(near("learning_rat"), Some("learning_rate"));
        assert_eq!(near("laerning_rate"), Some("learning_rate"));
        assert_eq!(near("hiden"), Some("hidden"));
        assert_eq!(near("tua"), Some("tau"));
        for far in ["lr", "t", "", "optimiser"] {
            assert_eq!(near(far), None, "{far}");
        }
    }

    #[test]
    fn an_array_of_the_wrong_length_is_told_by_its_number_of_entries() {
        #[derive(Debug, serde::Deserialize)]
        struct Pair {
            #[serde(rename = "pair")]
            _pair: (f64, f64),
        }
        for (text, want) in [
            ("pair = [1]", "`pair` has 1 entry, expected 2"),
            ("pair = [1, 2, 3]", "`pair` has 3 entries, expected fewer"),
        ] {
            let tree: Value = Value::Table(text.parse().unwrap());
            let error = serde_path_to_error::deserialize::<_, Pair>(tree.clone()).unwrap_err();
            let explained = explain(&error, &tree);
            assert_eq!(explained.what, want);
            assert_eq!(explained.keys, ["pair"]);
        }
    }

    #[test]
    fn a_value_of_another_type_is_answered_with_the_one_that_it_means() {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        struct Keys {
            #[serde(rename = "count")]
            _count: u64,
            #[serde(rename = "small")]
            _small: u32,
            #[serde(rename = "step")]
            _step: f64,
            #[serde(rename = "flag")]
            _flag: bool,
            #[serde(rename = "list")]
            _list: Vec<usize>,
        }
        let whole = "expected a whole number, 0 or more";
        for (text, what, hint) in [
            ("count = 1e5", format!("`count` is the number `100000.0`, {whole}"), Some("write `100000`")),
            ("count = 1e60", format!("`count` is the number `1e60`, {whole}"), None),
            ("count = -1e5", format!("`count` is the number `-100000.0`, {whole}"), None),
            ("count = 1.5", format!("`count` is the number `1.5`, {whole}"), None),
            ("count = nan", format!("`count` is the number `NaN`, {whole}"), None),
            (
                "small = 1e10",
                "`small` is the number `10000000000.0`, expected a whole number from 0 to 4294967295".into(),
                None,
            ),
            ("count = '7'", format!("`count` is the string \"7\", {whole}"), Some("leave the quotes out: `7`")),
            ("count = '-7'", format!("`count` is the string \"-7\", {whole}"), None),
            ("count = '50k'", format!("`count` is the string \"50k\", {whole}"), Some("write `50000`")),
            ("count = '1.5 M'", format!("`count` is the string \"1.5 M\", {whole}"), Some("write `1500000`")),
            (
                "count = '-1k'",
                format!("`count` is the string \"-1k\", {whole}"),
                Some("write the number alone, without a unit"),
            ),
            (
                "step = '60s'",
                "`step` is the string \"60s\", expected a number".into(),
                Some("write the number alone, without a unit"),
            ),
            ("step = '99%'", "`step` is the string \"99%\", expected a number".into(), Some("write `0.99`")),
            ("step = '2d-e'", "`step` is the string \"2d-e\", expected a number".into(), None),
            ("count = 'many'", format!("`count` is the string \"many\", {whole}"), None),
            ("count = [1, 2]", format!("`count` is an array, {whole}"), Some("write one value, not a list")),
            (
                "step = '1e-3'",
                "`step` is the string \"1e-3\", expected a number".into(),
                Some("leave the quotes out: `0.001`"),
            ),
            ("flag = 1", "`flag` is the integer `1`, expected a boolean".into(), Some("write `true`")),
            ("flag = 2", "`flag` is the integer `2`, expected a boolean".into(), None),
            ("flag = 'off'", "`flag` is the string \"off\", expected a boolean".into(), Some("write `false`")),
            (
                "flag = 'true'",
                "`flag` is the string \"true\", expected a boolean".into(),
                Some("leave the quotes out: `true`"),
            ),
            ("list = 64", "`list` is the integer `64`, expected an array".into(), Some("write `[64]`")),
            (
                "list = '[64, 64]'",
                "`list` is the string \"[64, 64]\", expected an array".into(),
                Some("leave the quotes out: `[64, 64]`"),
            ),
            ("list = [1e3]", format!("`list[0]` is the number `1000.0`, {whole}"), Some("write `1000`")),
        ] {
            let tree: Value = Value::Table(text.parse().unwrap());
            let error = serde_path_to_error::deserialize::<_, Keys>(tree.clone()).unwrap_err();
            let explained = explain(&error, &tree);
            assert_eq!((explained.what, explained.hint.as_deref()), (what, hint), "{text}");
        }
    }

    #[test]
    fn a_message_that_is_not_known_passes_with_its_path() {
        fn refused<'de, D: serde::Deserializer<'de>>(_: D) -> Result<f64, D::Error> {
            Err(serde::de::Error::custom("no such number"))
        }
        #[derive(Debug, serde::Deserialize)]
        struct Odd {
            #[serde(rename = "odd", deserialize_with = "refused")]
            _odd: f64,
        }
        let tree: Value = Value::Table("odd = 1".parse().unwrap());
        let error = serde_path_to_error::deserialize::<_, Odd>(tree.clone()).unwrap_err();
        let explained = explain(&error, &tree);
        assert_eq!(explained.what, "`odd`: no such number");
        assert_eq!(explained.keys, ["odd"]);
    }
}
