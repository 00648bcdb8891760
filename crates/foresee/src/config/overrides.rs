//! Overrides of a config: `dotted.key=value` on the command line, a change to the tree of keys.

use foresee_core::explain::describe;
use foresee_core::literal::{self, for_shell, shortened_to};
use toml::{Table, Value};

use super::{ConfigError, renamed};

/// Largest number of characters of an override that a message repeats.
const SHOWN: usize = 120;

/// One override.
#[derive(Debug)]
pub(super) struct Override {
    text: String,
    /// The parts of the dotted key, at least one.
    pub keys: Vec<String>,
    value: Value,
}

impl Override {
    /// Parses an override. The text after the first `=` is a TOML value, or else a string without quotes if it does not
    /// look like another value.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let error = |what: String, hint: String| ConfigError { origin: origin(text), what, hint: Some(hint) };
        let malformed = |what: &str| {
            let hint = if text.ends_with([']', '}', '"', '\'']) {
                "a shell splits words at spaces; put '…' around an override with spaces, such as 'agent.hidden=[64, 64]'"
            } else {
                "write `key=value` without spaces, such as `model.loss.kind=vagram`"
            };
            error(what.into(), hint.into())
        };
        let (key, value) = text.split_once('=').ok_or_else(|| malformed("there is no `=`"))?;
        let keys: Vec<_> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(malformed("a part of the key is empty"));
        }
        let (key, value) = (keys.join("."), value.trim());
        if value.is_empty() {
            let empty = for_shell(&format!("{key}=\"\""));
            let hint = format!(
                "write `{key}=value` without spaces; leave the override out for the default; an empty text is {empty}"
            );
            return Err(error("there is no value after `=`".into(), hint));
        }
        let value = literal::read(value).map_err(|mistake| error(mistake.what(value), mistake.hint(&key, value)))?;
        Ok(Self { text: text.to_owned(), keys, value })
    }

    /// Replaces old names of keys by new ones. Returns a message for each replacement.
    pub(super) fn rename(&mut self) -> Result<Vec<String>, ConfigError> {
        let mut notes = Vec::from_iter(renamed::rename_dotted(&mut self.keys));
        if let Value::Table(table) = &mut self.value {
            let below = renamed::rename_in(&self.keys, table);
            notes.extend(below.map_err(|both| both.at(&self.origin()))?);
        }
        Ok(notes)
    }

    /// Whether the override sets the value at this path, or a table that contains it.
    pub(super) fn sets(&self, keys: &[String]) -> bool {
        keys.starts_with(&self.keys)
    }

    /// Returns the name of the override in error messages.
    pub(super) fn origin(&self) -> String {
        origin(&self.text)
    }

    /// Sets the value in the tree. Missing tables on the way are created.
    pub(super) fn apply(&self, tree: &mut Table) -> Result<(), ConfigError> {
        let mut table = tree;
        let (last, way) = self.keys.split_last().expect("an override has a key");
        for (depth, key) in way.iter().enumerate() {
            table = match table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())) {
                Value::Table(inner) => inner,
                other => {
                    let found = self.keys[..=depth].join(".");
                    return Err(ConfigError {
                        origin: self.origin(),
                        what: format!(
                            "`{found}` is {}, not a section, so it has no key `{}`",
                            describe(other),
                            self.keys[depth + 1]
                        ),
                        hint: Some(format!("check the key, or set `{found}` itself")),
                    });
                }
            };
        }
        table.insert(last.clone(), self.value.clone());
        Ok(())
    }
}

/// Returns the name of an override in error messages.
fn origin(text: &str) -> String {
    format!("override `{}`", shortened_to(text, SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn applied(tree: &str, overrides: &[&str]) -> Result<String, String> {
        let mut tree: Table = tree.parse().unwrap();
        for text in overrides {
            Override::parse(text).and_then(|change| change.apply(&mut tree)).map_err(|e| e.to_string())?;
        }
        Ok(tree.to_string())
    }

    #[test]
    fn the_right_side_is_toml_or_else_a_bare_string() {
        for (text, value) in [
            ("a=1", Value::Integer(1)),
            ("a = 1e-4", Value::Float(1e-4)),
            ("a=true", Value::Boolean(true)),
            ("a=\"1\"", Value::String("1".into())),
            ("a=\"\"", Value::String(String::new())),
            ("a=vagram", Value::String("vagram".into())),
            ("a=Hopper-v5", Value::String("Hopper-v5".into())),
            ("a=1\nb=2", Value::String("1\nb=2".into())),
            ("a=[1, 2]", Value::Array(vec![Value::Integer(1), Value::Integer(2)])),
        ] {
            assert_eq!(Override::parse(text).map(|change| change.value), Ok(value), "{text}");
        }
    }

    #[test]
    fn tables_on_the_way_are_made_and_siblings_stay() {
        assert_eq!(applied("", &["a.b.c=1"]).unwrap(), "[a.b]\nc = 1\n");
        assert_eq!(applied("[a]\nx = 1\n", &["a.y=2"]).unwrap(), "[a]\nx = 1\ny = 2\n");
        assert_eq!(applied("[a]\nx = 1\n", &["a={y=2}"]).unwrap(), "[a]\ny = 2\n");
    }

    #[test]
    fn a_value_in_the_way_is_an_error() {
        for (tree, found) in
            [("a.b = 3", "the integer `3`"), ("a.b = [1]", "an array"), ("a.b = 'x'", "the string \"x\"")]
        {
            let message = format!(
                "override `a.b.c=1`: `a.b` is {found}, not a section, so it has no key `c`\n\
                 hint: check the key, or set `a.b` itself"
            );
            assert_eq!(applied(tree, &["a.b.c=1"]), Err(message));
        }
    }

    #[test]
    fn malformed_overrides_are_errors() {
        let plain = "write `key=value` without spaces, such as `model.loss.kind=vagram`";
        let shell =
            "a shell splits words at spaces; put '…' around an override with spaces, such as 'agent.hidden=[64, 64]'";
        let empty = |key: &str| {
            format!(
                "write `{key}=value` without spaces; leave the override out for the default; \
                 an empty text is '{key}=\"\"'"
            )
        };
        for (text, what, hint) in [
            ("seed", "there is no `=`", plain.to_owned()),
            ("--seed 3", "there is no `=`", plain.into()),
            ("", "there is no `=`", plain.into()),
            ("64]", "there is no `=`", shell.into()),
            ("=3", "a part of the key is empty", plain.into()),
            ("=", "a part of the key is empty", plain.into()),
            ("a..b=3", "a part of the key is empty", plain.into()),
            ("seed=", "there is no value after `=`", empty("seed")),
            ("agent.batch = ", "there is no value after `=`", empty("agent.batch")),
        ] {
            assert_eq!(applied("", &[text]), Err(format!("override `{text}`: {what}\nhint: {hint}")));
        }
    }

    #[test]
    fn what_looks_like_a_value_becomes_no_string() {
        for (text, message) in [
            (
                "env.gym.kwargs={mode=hard}",
                "`{mode=hard}` looks like a table, but is not valid TOML\n\
                 hint: strings inside a table need quotes: write 'env.gym.kwargs={ mode = \"hard\" }'",
            ),
            (
                "env.gym.kwargs.g=None",
                "`None` is not a TOML value\n\
                 hint: TOML has no null; leave the key out instead; \
                 for the text itself, write 'env.gym.kwargs.g=\"None\"'",
            ),
            (
                "seed=9223372036854775808",
                "the number `9223372036854775808` is too large\nhint: a whole number is at most 9223372036854775807",
            ),
            (
                "agent.hidden=64,64",
                "`64,64` looks like a list, but is not valid TOML\nhint: write 'agent.hidden=[64, 64]'",
            ),
            (
                "agent.learn_temperature = False",
                "`False` looks like a boolean, but is not valid TOML\n\
                 hint: write `agent.learn_temperature=false`; \
                 for the text itself, write 'agent.learn_temperature=\"False\"'",
            ),
        ] {
            assert_eq!(applied("", &[text]), Err(format!("override `{text}`: {message}")));
        }
        // The text itself is possible, in quotes.
        assert_eq!(applied("", &["g=\"None\""]).unwrap(), "g = \"None\"\n");
        // A long number is not written out.
        let (digits, short) = ("7".repeat(200), format!("{}…{}", "7".repeat(50), "7".repeat(8)));
        let message = applied("", &[&format!("seed={digits}")]).unwrap_err();
        let origin = format!("override `seed={}…{}`", "7".repeat(105), "7".repeat(8));
        assert_eq!(
            message,
            format!("{origin}: the number `{short}` is too large\nhint: a whole number is at most 9223372036854775807")
        );
    }
}
