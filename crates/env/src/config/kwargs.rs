//! Keyword arguments of `gymnasium.make`: TOML values with their types, written in the form that Python's `json` reads.
//!
//! Standard JSON is not enough, because it has no infinity. Gymnasium's own defaults use it: Hopper has
//! `healthy_z_range = [0.7, inf]`. Python writes and reads `Infinity`, `-Infinity` and `NaN`.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::EnvError;

/// Arguments that the bridge itself gives to `gymnasium.make`.
const RESERVED: [&str; 2] = ["id", "disable_env_checker"];
/// The only key of the map in which `toml` passes a date or a time.
const TOML_DATETIME_KEY: &str = "$__toml_private_datetime";

/// The keys of `[env.gym.kwargs]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Kwargs(Table);

type Table = BTreeMap<String, Argument>;

/// A TOML value other than a date or a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Argument {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Array(Vec<Argument>),
    Table(Table),
}

impl Kwargs {
    /// Whether there are no arguments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names of the arguments.
    #[cfg(unix)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns an argument that is a boolean; `default` if it is not given, `None` if it is something else.
    #[cfg(unix)]
    pub(crate) fn flag(&self, name: &str, default: bool) -> Option<bool> {
        match self.0.get(name) {
            None => Some(default),
            Some(Argument::Boolean(flag)) => Some(*flag),
            Some(_) => None,
        }
    }

    /// Returns an argument that is a range `[low, high]` with `low < high`; `default` if it is not given, `None` if it is
    /// something else.
    #[cfg(unix)]
    pub(crate) fn range(&self, name: &str, default: [f32; 2]) -> Option<[f32; 2]> {
        let Some(argument) = self.0.get(name) else { return Some(default) };
        let Argument::Array(ends) = argument else { return None };
        let [low, high] = ends.as_slice() else { return None };
        let number = |end: &Argument| match end {
            Argument::Integer(number) => Some(*number as f32),
            Argument::Float(number) => Some(*number as f32),
            _ => None,
        };
        Some([number(low)?, number(high)?]).filter(|[low, high]| low < high)
    }

    /// Checks that no argument is one that the bridge gives.
    pub(crate) fn check(&self) -> Result<(), EnvError> {
        RESERVED.iter().find(|name| self.0.contains_key(**name)).map_or(Ok(()), |name| {
            let hint = "hint: remove it; `env.id` names the environment, and Gymnasium's checker is off";
            Err(EnvError::Config(format!(
                "`env.gym.kwargs.{name}` is an argument of `gymnasium.make` that foresee sets itself\n{hint}"
            )))
        })
    }

    /// Returns the arguments in the form that Python's `json.loads` reads.
    #[cfg(unix)]
    pub(crate) fn to_json(&self) -> String {
        table_to_json(&self.0)
    }
}

#[cfg(unix)]
impl Argument {
    fn to_json(&self) -> String {
        match self {
            Self::Boolean(flag) => flag.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) if number.is_nan() => "NaN".into(),
            Self::Float(number) if number.is_infinite() => {
                if *number > 0.0 {
                    "Infinity".into()
                } else {
                    "-Infinity".into()
                }
            }
            // With a point or an exponent, by which Python recognises a float.
            Self::Float(number) => format!("{number:?}"),
            Self::Text(text) => text_to_json(text),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::to_json).collect();
                format!("[{}]", items.join(","))
            }
            Self::Table(table) => table_to_json(table),
        }
    }
}

#[cfg(unix)]
fn table_to_json(table: &Table) -> String {
    let entries: Vec<String> =
        table.iter().map(|(key, value)| format!("{}:{}", text_to_json(key), value.to_json())).collect();
    format!("{{{}}}", entries.join(","))
}

#[cfg(unix)]
fn text_to_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<'de> Deserialize<'de> for Kwargs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Argument::deserialize(deserializer)? {
            Argument::Table(table) => Ok(Self(table)),
            other => Err(Error::invalid_type(other.unexpected(), &"a table")),
        }
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyArgument)
    }
}

impl Argument {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Boolean(flag) => Unexpected::Bool(*flag),
            Self::Integer(number) => Unexpected::Signed(*number),
            Self::Float(number) => Unexpected::Float(*number),
            Self::Text(text) => Unexpected::Str(text),
            Self::Array(_) => Unexpected::Seq,
            Self::Table(_) => Unexpected::Map,
        }
    }
}

struct AnyArgument;

impl<'de> Visitor<'de> for AnyArgument {
    type Value = Argument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a string, an array or a table")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Argument, E> {
        Ok(Argument::Boolean(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Argument, E> {
        Ok(Argument::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Argument, E> {
        let integer = i64::try_from(number).map(Argument::Integer);
        integer.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &"a signed 64-bit integer"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Argument, E> {
        Ok(Argument::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Argument, E> {
        Ok(Argument::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Argument, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Argument::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Argument, A::Error> {
        let mut table = Table::new();
        while let Some(key) = access.next_key::<String>()? {
            if key == TOML_DATETIME_KEY {
                return Err(Error::invalid_type(Unexpected::Other("a date or time"), &self));
            }
            table.insert(key, access.next_value()?);
        }
        Ok(Argument::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EnvConfig, GymConfig};

    const TEXT: &str = "\
        id = \"gym:Hopper-v5\"\n[gym]\ntimeout = 5.0\n[gym.kwargs]\nhealthy_z_range = [0.7, inf]\nlow = -inf\n\
        undefined = nan\none = 1.0\nsmall = 1e-300\nwhole = 1\nleast = -9223372036854775808\nflag = true\n\
        text = \"a \\\"b\\\" \\\\ \\u0001 é\"\nnone = []\nmixed = [1, 1.0, \"x\", [false]]\nlayers = [{ n = 1 }, { n = 2.5 }]\n\
        empty = {}\n[gym.kwargs.track.far]\nlength = inf\n";

    fn read(text: &str) -> Result<EnvConfig, toml::de::Error> {
        toml::from_str(text)
    }

    /// Reads a config as the command line does, which merges trees.
    fn read_as_tree(text: &str) -> EnvConfig {
        toml::Value::Table(text.parse().unwrap()).try_into().unwrap()
    }

    #[test]
    fn a_config_written_as_toml_comes_back_with_every_value_and_type() {
        for config in [read(TEXT).unwrap(), read_as_tree(TEXT)] {
            let written = toml::to_string_pretty(&config).unwrap();
            let [before, after] =
                [TEXT, &written].map(|text| text.parse::<toml::Table>().unwrap()["gym"]["kwargs"].to_string());
            assert_eq!(before, after);
            for again in [read(&written).unwrap(), read_as_tree(&written)] {
                // Compared as text, because NaN does not equal itself.
                assert_eq!(format!("{again:?}"), format!("{config:?}"));
            }
        }
        assert_eq!(read("id = \"x\"\n[gym.kwargs]\n").unwrap().gym, GymConfig::default());
    }

    #[cfg(unix)]
    #[test]
    fn python_is_given_its_own_json() {
        let want = concat!(
            r#"{"empty":{},"flag":true,"healthy_z_range":[0.7,Infinity],"layers":[{"n":1},{"n":2.5}],"#,
            r#""least":-9223372036854775808,"low":-Infinity,"mixed":[1,1.0,"x",[false]],"none":[],"one":1.0,"#,
            r#""small":1e-300,"text":"a \"b\" \\ \u0001 é","track":{"far":{"length":Infinity}},"undefined":NaN,"whole":1}"#,
        );
        assert_eq!(read(TEXT).unwrap().gym.kwargs.to_json(), want);
    }

    #[test]
    fn what_is_no_argument_is_refused() {
        let any = "a boolean, a number, a string, an array or a table";
        for (kwargs, message) in [
            ("{ start = 2024-01-31 }", format!("invalid type: a date or time, expected {any}")),
            ("{ at = [{ time = 07:32:00 }] }", format!("invalid type: a date or time, expected {any}")),
            ("2024-01-31T07:32:00Z", format!("invalid type: a date or time, expected {any}")),
            ("3", "invalid type: integer `3`, expected a table".into()),
            ("[1]", "invalid type: sequence, expected a table".into()),
        ] {
            let error = read(&format!("id = \"gym:Hopper-v5\"\ngym.kwargs = {kwargs}")).unwrap_err();
            assert_eq!(error.message(), message, "{kwargs}");
        }
        let null = serde_json::from_str::<Kwargs>(r#"{"x": null}"#).unwrap_err().to_string();
        assert!(null.starts_with(&format!("invalid type: null, expected {any}")), "{null}");
        let large = serde_json::from_str::<Kwargs>(r#"{"x": 9223372036854775808}"#).unwrap_err().to_string();
        assert!(
            large.starts_with("invalid value: integer `9223372036854775808`, expected a signed 64-bit integer"),
            "{large}"
        );
    }

    #[test]
    fn arguments_that_the_bridge_gives_are_refused() {
        for name in RESERVED {
            let problem = read(&format!("id = \"gym:Hopper-v5\"\n[gym.kwargs]\n{name} = true")).unwrap().problem();
            let first =
                format!("`env.gym.kwargs.{name}` is an argument of `gymnasium.make` that foresee sets itself\nhint: ");
            assert!(problem.as_ref().is_some_and(|problem| problem.starts_with(&first)), "{problem:?}");
        }
    }
}
