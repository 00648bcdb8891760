//! Overrides of a config: `dotted.key=value` on the command line, a change to the tree of keys.

use foresee_core::explain::describe;
use toml::{Table, Value};

use super::{ConfigError, renamed};

/// One override.
#[derive(Debug)]
pub(super) struct Override {
    text: String,
    /// The parts of the dotted key, at least one.
    pub keys: Vec<String>,
    value: Value,
}

impl Override {
    /// Parses an override. The text after the first `=` is a TOML value, or else a string without quotes.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let malformed = |what: &str| ConfigError {
            origin: format!("override `{text}`"),
            what: what.into(),
            hint: Some("write `key=value`, such as `model.loss.kind=vagram`".into()),
        };
        let (key, value) = text.split_once('=').ok_or_else(|| malformed("there is no `=`"))?;
        let keys: Vec<_> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(malformed("a part of the key is empty"));
        }
        let value = value.trim();
        if value.is_empty() {
            return Err(malformed("there is no value after `=`"));
        }
        let value = value.parse().unwrap_or_else(|_| Value::String(value.to_owned()));
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
        format!("override `{}`", self.text)
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
        for (text, what) in [
            ("seed", "there is no `=`"),
            ("--seed 3", "there is no `=`"),
            ("", "there is no `=`"),
            ("=3", "a part of the key is empty"),
            ("a..b=3", "a part of the key is empty"),
            ("seed=", "there is no value after `=`"),
        ] {
            let hint = "write `key=value`, such as `model.loss.kind=vagram`";
            assert_eq!(applied("", &[text]), Err(format!("override `{text}`: {what}\nhint: {hint}")));
        }
    }
}
