//! The reference of config keys: what each key of a section means, the values that it takes, and its default.
//!
//! Everything is read off the struct that serde reads the section with: the description is the field's doc comment, and
//! the default is the one that serde fills in. [`schemars`] makes both available at run time. A field that serde leaves
//! out of a written config while it has its default states that default with `#[schemars(extend("default" = …))]`.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// One key of a config section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key, without its section.
    pub name: String,
    /// The values that it takes, in words, such as `whole number ≥ 0` or `"min" or "mean"`.
    pub values: String,
    /// The value of a config that does not set the key, as TOML; `None` if there is none: the key is then optional, or
    /// has to be set.
    pub default: Option<String>,
    /// True if a config without the key is refused.
    pub required: bool,
    /// Whether a config may leave the key unset without a default.
    pub optional: bool,
    /// The meaning of the key, in sentences.
    pub description: String,
}

/// Returns the entries of the keys with these names, which are fields of `K`. [`field_names`] returns the names of all
/// fields.
///
/// [`field_names`]: crate::kinds::field_names
///
/// ```
/// use foresee_core::kinds::field_names;
/// use foresee_core::reference::key_entries;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize, JsonSchema)]
/// #[serde(default)]
/// struct Keys {
///     /// Number of rows
///     /// in a batch.
///     batch: u64,
///     /// Weight of the penalty; unset: none.
///     penalty: Option<f64>,
/// }
///
/// let entries = key_entries::<Keys>(field_names::<Keys>());
/// assert_eq!(entries[0].description, "Number of rows in a batch.");
/// assert_eq!((entries[0].values.as_str(), entries[0].default.as_deref()), ("whole number ≥ 0", Some("0")));
/// assert_eq!((entries[1].name.as_str(), entries[1].default.as_deref()), ("penalty", None));
/// ```
#[must_use]
pub fn key_entries<K: JsonSchema>(names: &[&str]) -> Vec<KeyEntry> {
    let schema = schema_of::<K>();
    let (fields, required) = (schema.get("properties"), schema.get("required"));
    let is_required = |name: &str| required.and_then(Value::as_array).is_some_and(|names| names.contains(&name.into()));
    let field = |name: &str| fields.and_then(|fields| fields.get(name)).and_then(Value::as_object);
    names.iter().filter_map(|name| Some(entry(name, field(name)?, is_required(name)))).collect()
}

/// Returns the description of the section that serde reads a `K` from: the doc comment of the struct.
#[must_use]
pub fn section_description<K: JsonSchema>() -> String {
    schema_of::<K>().as_object().map(description).unwrap_or_default()
}

/// The schema of a table with any keys, for fields whose keys are not ours: `#[schemars(schema_with = "any_table")]`.
#[must_use]
pub fn any_table(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

fn schema_of<K: JsonSchema>() -> Schema {
    let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<K>()
}

fn entry(name: &str, field: &Map<String, Value>, required: bool) -> KeyEntry {
    let default = field.get("default").filter(|default| !default.is_null()).map(toml);
    let [name, values, description] = [name.to_owned(), values(field), description(field)];
    KeyEntry { name, values, default, required, optional: is_optional(field), description }
}

/// Whether a schema allows `null`.
fn is_optional(schema: &Map<String, Value>) -> bool {
    let has_null = |value: &Value| match value {
        Value::Array(names) => names.iter().any(|name| name == "null"),
        other => other == "null",
    };
    let of_option = |option: &Value| option.get("type").is_some_and(has_null);
    let options = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    schema.get("type").is_some_and(has_null) || options.is_some_and(|options| options.iter().any(of_option))
}

/// Returns the doc comment in a schema as one paragraph: lines are joined, and links are replaced by their texts.
fn description(schema: &Map<String, Value>) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    without_links(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Replaces each link of rustdoc, `` [`text`] `` or `` [`text`](target) ``, by its text.
fn without_links(text: &str) -> String {
    let Some((before, rest)) = text.split_once("[`") else { return text.to_owned() };
    let Some((name, after)) = rest.split_once("`]") else { return text.to_owned() };
    let after = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
        Some((_, after)) => after,
        None => after,
    };
    format!("{before}`{name}`{}", without_links(after))
}

/// Describes the values that a schema allows, in words. The `null` of an optional value is not mentioned.
fn values(schema: &Map<String, Value>) -> String {
    let options = |key: &str| schema.get(key).and_then(Value::as_array);
    if let Some(names) = options("enum") {
        return either(&names.iter().filter(|name| !name.is_null()).map(toml).collect::<Vec<_>>());
    }
    if let Some(name) = schema.get("const") {
        return toml(name);
    }
    if let Some(options) = options("oneOf").or_else(|| options("anyOf")) {
        let is_null = |option: &&Map<String, Value>| option.get("type").is_some_and(|name| name == "null");
        let options = options.iter().filter_map(Value::as_object).filter(|option| !is_null(option));
        return either(&options.map(values).filter(|words| !words.is_empty()).collect::<Vec<_>>());
    }
    let name = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().find(|name| *name != "null").and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    match name.unwrap_or_default() {
        "integer" if schema.get("minimum").is_some() => "whole number ≥ 0".into(),
        "integer" => "whole number".into(),
        "boolean" => "`true` or `false`".into(),
        "array" => list(schema),
        "object" => "table".into(),
        other => other.to_owned(),
    }
}

/// Describes a list: the number of its entries if it is fixed, and the values of an entry.
fn list(schema: &Map<String, Value>) -> String {
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let entry = schema.get("items").and_then(Value::as_object).map(values).unwrap_or_default();
    let entries =
        ["number", "string", "table"].iter().fold(entry, |text, &noun| text.replacen(noun, &format!("{noun}s"), 1));
    match (count("minItems"), count("maxItems")) {
        (Some(least), Some(most)) if least == most => format!("list of {least} {entries}"),
        _ => format!("list of {entries}"),
    }
}

/// Joins alternatives: `a`, `a or b`, `a, b or c`.
fn either(words: &[String]) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Writes a value as TOML does.
fn toml(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::kinds::field_names;

    /// A choice.
    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        /// The first.
        #[default]
        One,
        /// The second.
        TheOther,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(untagged)]
    enum Line {
        Constant(f64),
        Ends([f64; 2]),
    }

    impl Default for Line {
        fn default() -> Self {
            Self::Ends([1.0, 2.5])
        }
    }

    /// The section
    /// of [`Choice`]s.
    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    struct Section {
        /// The id. See [`Choice`] and [`Line`](crate::Line), or not.
        id: String,
        /// One of two.
        #[serde(default)]
        choice: Choice,
        #[serde(default)]
        line: Line,
        #[serde(default)]
        widths: Vec<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<f64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[schemars(extend("default" = false))]
        flag: bool,
        #[serde(default)]
        #[schemars(schema_with = "any_table")]
        other: toml::Table,
    }

    #[test]
    fn an_entry_has_the_fields_doc_type_and_default_in_the_order_of_the_struct() {
        let entries = key_entries::<Section>(field_names::<Section>());
        let found: Vec<_> =
            entries.iter().map(|e| (e.name.as_str(), e.values.as_str(), e.default.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("id", "string", None),
                ("choice", "\"one\" or \"the_other\"", Some("\"one\"")),
                ("line", "number or list of 2 numbers", Some("[1.0, 2.5]")),
                ("widths", "list of whole numbers ≥ 0", Some("[]")),
                ("rate", "number", None),
                ("flag", "`true` or `false`", Some("false")),
                ("other", "table", Some("{}")),
            ]
        );
        let names = |has: fn(&KeyEntry) -> bool| -> Vec<_> {
            entries.iter().filter(|entry| has(entry)).map(|entry| entry.name.as_str()).collect()
        };
        assert_eq!((names(|entry| entry.required), names(|entry| entry.optional)), (vec!["id"], vec!["rate"]));
        assert_eq!(entries[0].description, "The id. See `Choice` and `Line`, or not.");
        assert_eq!(section_description::<Section>(), "The section of `Choice`s.");
    }
}
