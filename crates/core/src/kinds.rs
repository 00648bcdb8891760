//! Open choices of a config: a table whose key `kind` names one of several options and whose other keys configure it.
//!
//! ```toml
//! [model.loss]
//! kind = "vagram"
//! clip_quantile = 0.9      # a key of `vagram`
//! ```
//!
//! An option is described by a [`Kind`]: its keys are the fields of a type that serde reads, with a default for each
//! field ([`Kind::new`]). A program chooses among a list of them ([`Kinds`]), and users of the library can add their
//! own. A key of another kind in the list is ignored, so that changing the one word `kind` is enough to swap the
//! choice. A key that belongs to no kind is an error.

use core::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
use toml::{Table, Value};

use crate::explain::{Explained, among, explain_in};
use crate::reference::{KeyEntry, key_entries};

/// One option that a config can choose. It builds a `T`.
pub struct Kind<T> {
    name: &'static str,
    description: &'static str,
    /// All keys that belong to this kind.
    keys: &'static [&'static str],
    /// The entries of the keys in a reference.
    entries: Arc<[KeyEntry]>,
    read: Arc<Read<T>>,
}

/// Maps the section's path and the kind's own keys to the built thing and to those keys with all defaults filled in.
type Read<T> = dyn Fn(&[&str], Table) -> Result<(T, Table), Explained> + Send + Sync;

impl<T> Clone for Kind<T> {
    fn clone(&self) -> Self {
        Self { read: Arc::clone(&self.read), entries: Arc::clone(&self.entries), ..*self }
    }
}

impl<T> fmt::Debug for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").field("name", &self.name).field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl<T> Kind<T> {
    /// Creates a choice for a config: the value `name` of a key `kind` selects it. `description` is its line in a list
    /// for users. `build` makes the part from the keys `K`. If the keys are impossible, `build` returns the message,
    /// optionally followed by `"\nhint: "` and a hint.
    ///
    /// `K` is a struct that serde reads with `#[serde(default, deny_unknown_fields)]`, without flattened fields; `K {}`
    /// has no keys. A kind must not use the name of a key that the section itself has.
    #[must_use]
    pub fn new<K>(
        name: &'static str,
        description: &'static str,
        build: impl Fn(K) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self
    where
        K: Clone + Serialize + DeserializeOwned + 'static,
    {
        let read = move |section: &[&str], own: Table| {
            let tree = Value::Table(own);
            let keys: K =
                serde_path_to_error::deserialize(tree.clone()).map_err(|error| explain_in(section, &error, &tree))?;
            let complete = Table::try_from(&keys).map_err(|error| Explained {
                keys: section.iter().map(|&key| key.to_owned()).collect(),
                what: format!(
                    "the defaults of the keys of `{name}` in `{}` cannot be written as TOML: {error}",
                    section.join(".")
                ),
                hint: Some("use numbers, strings, booleans or lists of them as defaults".into()),
            })?;
            let thing = build(keys).map_err(|message| {
                let (what, hint) = message.split_once("\nhint: ").unwrap_or((&message, ""));
                Explained {
                    keys: at_fault(section, what),
                    what: what.to_owned(),
                    hint: (!hint.is_empty()).then(|| hint.to_owned()),
                }
            })?;
            Ok((thing, complete))
        };
        let keys = field_names::<K>();
        Self { name, description, keys, entries: Arc::new([]), read: Arc::new(read) }
    }

    /// Adds the descriptions of the keys to a reference of them, such as `foresee check --explain`: the doc comments of
    /// the fields of `K`, the struct that [`Kind::new`] reads the keys from.
    #[must_use]
    pub fn with_reference<K: JsonSchema>(mut self) -> Self {
        self.entries = key_entries::<K>(self.keys).into();
        self
    }

    /// The kind's name in a config.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A description in one line.
    #[must_use]
    pub fn description(&self) -> &'static str {
        self.description
    }

    /// The names of the keys that belong to this kind.
    #[must_use]
    pub fn keys(&self) -> &'static [&'static str] {
        self.keys
    }

    /// The entries of the kind's keys in a reference; empty if the kind was built without
    /// [`with_reference`](Self::with_reference).
    #[must_use]
    pub fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }
}

/// The kinds that a config can choose among, in the order in which they are listed for users.
#[derive(Clone, Debug)]
pub struct Kinds<T>(Vec<Kind<T>>);

impl<T> Kinds<T> {
    /// Creates the list from these kinds.
    #[must_use]
    pub fn new(kinds: impl IntoIterator<Item = Kind<T>>) -> Self {
        Self(kinds.into_iter().collect())
    }

    /// Adds a kind, or replaces the kind that has its name.
    pub fn add(&mut self, kind: Kind<T>) {
        match self.0.iter_mut().find(|known| known.name == kind.name) {
            Some(known) => *known = kind,
            None => self.0.push(kind),
        }
    }

    /// Iterates over all kinds of the list.
    pub fn iter(&self) -> impl Iterator<Item = &Kind<T>> {
        self.0.iter()
    }

    /// Builds the thing that `kind` names. `section` is the path of the table, and `keys` are the table's keys without
    /// `shared`, the keys that belong to the table itself. `shared` is used for hints only.
    ///
    /// Returns the thing and a table: the chosen kind's keys with all defaults filled in, and the keys of other kinds
    /// as they were given.
    ///
    /// # Errors
    /// If there is no such kind, a key belongs to no kind, or a value does not fit its key.
    pub fn choose(&self, section: &[&str], shared: &[&str], kind: &str, keys: &Table) -> Result<(T, Table), Explained> {
        let path = |key: &str| -> Vec<String> { section.iter().chain([&key]).map(|&key| key.to_owned()).collect() };
        let names: Vec<&str> = self.0.iter().map(|known| known.name).collect();
        let explained = |key: &str, what: String, hint: Option<String>| Explained { keys: path(key), what, hint };
        let Some(chosen) = self.0.iter().find(|known| known.name == kind) else {
            let what = format!("`{}` cannot be `{kind}`", path("kind").join("."));
            return Err(explained("kind", what, among(kind, &names, "values")));
        };
        let known = |key: &str| self.0.iter().any(|kind| kind.keys.contains(&key));
        if let Some(key) = keys.keys().find(|key| !known(key)) {
            let what = format!("unknown key `{}`", path(key).join("."));
            return Err(explained(key, what, among(key, &[shared, chosen.keys].concat(), "keys")));
        }
        let (own, others): (Vec<_>, Vec<_>) =
            keys.clone().into_iter().partition(|(key, _)| chosen.keys.contains(&key.as_str()));
        let (thing, mut complete) = (chosen.read)(section, own.into_iter().collect())?;
        complete.extend(others);
        Ok((thing, complete))
    }
}

/// The key at the start of a message, if that key is in the section; otherwise the section.
fn at_fault(section: &[&str], what: &str) -> Vec<String> {
    let first: Vec<&str> = what.split('`').nth(1).unwrap_or_default().split('.').collect();
    let keys = if what.starts_with('`') && first.starts_with(section) { &first[..] } else { section };
    keys.iter().map(|&key| key.to_owned()).collect()
}

/// The names of a struct's fields as serde reads them. Empty for a struct with flattened fields.
#[must_use]
pub fn field_names<K: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // This always ends in an error: `Names` only records the field names.
    drop(K::deserialize(Names(&mut names)));
    names
}

/// A deserializer that records the field names that a struct requests.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(Self::Error::custom("only the field names are requested"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("the keys of a kind must be a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Round {
        radius: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    }

    impl Default for Round {
        fn default() -> Self {
            Self { radius: 1.0, label: None }
        }
    }

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Square {
        side: f64,
        sides: Vec<u8>,
    }

    fn shapes() -> Kinds<String> {
        Kinds::new([
            Kind::new("round", "a disc", |round: Round| {
                if round.radius > 0.0 { Ok(format!("{round:?}")) } else { Err("it is flat\nhint: blow".into()) }
            }),
            Kind::new("square", "a square", |square: Square| Ok(format!("{square:?}"))),
        ])
    }

    fn choose(kind: &str, keys: &str) -> Result<(String, Table), String> {
        let keys: Table = keys.parse().unwrap();
        shapes().choose(&["a", "shape"], &["kind", "colour"], kind, &keys).map_err(|explained| explained.to_string())
    }

    #[test]
    fn a_kind_reads_its_own_keys_and_ignores_those_of_others() {
        let (thing, complete) = choose("round", "radius = 2.0\nside = 3.0").unwrap();
        assert_eq!(thing, "Round { radius: 2.0, label: None }");
        assert_eq!(complete, "radius = 2.0\nside = 3.0".parse().unwrap());
        let (_, complete) = choose("square", "label = \"x\"").unwrap();
        assert_eq!(complete, "side = 0.0\nsides = []\nlabel = \"x\"".parse().unwrap(), "the other kind's key stays");
    }

    #[test]
    fn what_cannot_be_chosen_is_answered_with_the_whole_key_and_what_can() {
        for (kind, keys, want) in [
            (
                "rond",
                "",
                "`a.shape.kind` cannot be `rond`\nhint: did you mean `round`? valid values here: `round`, `square`",
            ),
            (
                "round",
                "radios = 1",
                "unknown key `a.shape.radios`\nhint: did you mean `radius`? valid keys here: `kind`, `colour`, `radius`, `label`",
            ),
            (
                "round",
                "color = 1",
                "unknown key `a.shape.color`\nhint: did you mean `colour`? valid keys here: `kind`, `colour`, `radius`, `label`",
            ),
            ("round", "radius = \"x\"", "`a.shape.radius` is the string \"x\", expected a number"),
            (
                "square",
                "sides = [1, 300]",
                "`a.shape.sides[1]` is the integer `300`, expected a whole number from 0 to 255",
            ),
            ("round", "radius = -1.0", "it is flat\nhint: blow"),
        ] {
            assert_eq!(choose(kind, keys).unwrap_err(), want);
        }
    }

    #[test]
    fn a_kind_of_ones_own_joins_the_list_or_takes_a_place() {
        let mut shapes = shapes();
        shapes.add(Kind::new("line", "a line", |_: Square| Ok("line".into())));
        shapes.add(Kind::new("round", "another", |_: Square| Ok("mine".into())));
        assert_eq!(shapes.iter().map(Kind::name).collect::<Vec<_>>(), ["round", "square", "line"]);
        assert_eq!(shapes.choose(&[], &[], "round", &Table::new()).unwrap().0, "mine");
    }
}
