//! From a TOML file and overrides to a typed config, or to an error that says where and what to write instead.
//!
//! The type is a tree of structs that refuse unknown keys; this module knows nothing of its fields. An override is
//! `dotted.key=value`, applied to the file's tree before it is typed, so that file and overrides meet the same checks.
//!
//! ```text
//! configs/a.toml: unknown key `agent.learning_rat`
//! hint: did you mean `learning_rate`? valid keys here: `learning_rate`, `hidden`
//! ```

mod overrides;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use foresee_core::explain::{Explained, date_in, describe, explain, lookup, nearest};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use self::overrides::Override;

/// Why a config cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or the override, that is to blame.
    pub origin: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads a config from a TOML file and overrides, of which later ones win.
///
/// # Errors
/// If the file cannot be read, or something in it or in an override does not fit the config.
pub fn load<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> Result<T, ConfigError> {
    typed(path, parse(path, &read(path)?)?, overrides)
}

/// As [`load`], with a tree that no file holds, such as what an argument says.
///
/// # Errors
/// If something in an override does not fit the config.
pub fn from_tree<T: DeserializeOwned>(origin: &str, tree: Table, overrides: &[String]) -> Result<T, ConfigError> {
    typed(Path::new(origin), tree, overrides)
}

fn typed<T: DeserializeOwned>(path: &Path, file: Table, overrides: &[String]) -> Result<T, ConfigError> {
    let overrides = overrides.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut merged = file.clone();
    for change in &overrides {
        change.apply(&mut merged)?;
    }
    let merged = Value::Table(merged);
    // Typed, it would become a string in silence.
    if let Some(keys) = date_in(&merged) {
        let found = lookup(&merged, &keys).map(describe).unwrap_or_default();
        let what = format!("`{}` is {found}, which no key takes", keys.join("."));
        let hint = Some("write it as a string, in quotes".into());
        return Err(ConfigError { origin: origin(&keys, path, &file, &overrides), what, hint });
    }
    serde_path_to_error::deserialize(merged.clone()).map_err(|error| {
        let Explained { keys, what, hint } = explain(&error, &merged);
        ConfigError { origin: origin(&keys, path, &file, &overrides), what, hint }
    })
}

/// Who wrote what stands at these keys: the last override that touches them, else the file.
fn origin(keys: &[String], path: &Path, file: &Table, overrides: &[Override]) -> String {
    let in_file = keys.is_empty() || lookup(&Value::Table(file.clone()), keys).is_some();
    let touches = |change: &&Override| keys.starts_with(&change.keys) || (!in_file && change.keys.starts_with(keys));
    overrides.iter().rev().find(touches).map_or_else(|| path.display().to_string(), Override::origin)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |what: String, hint: Option<String>| ConfigError { origin: path.display().to_string(), what, hint };
    if path.is_dir() {
        let example = configs_in(path).into_iter().next();
        let hint = example.map_or("give a config file".into(), |file| format!("give a file in it, such as `{file}`"));
        return Err(failed("is a directory, expected a config file".into(), Some(hint)));
    }
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => {
            Err(failed("is empty".into(), Some("start from a copy of one of the configs in `configs/`".into())))
        }
        Ok(text) => Ok(text),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            let there = configs_in(parent);
            let near = nearest(&path.display().to_string(), there.iter().map(String::as_str));
            let hint = near.map_or("give the path of a TOML file".into(), |near| format!("did you mean `{near}`?"));
            Err(failed("no such file".into(), Some(hint)))
        }
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            Err(failed("is not text in UTF-8".into(), Some("give the path of a TOML file".into())))
        }
        Err(e) => {
            let hint = "give the path of a TOML file that can be read";
            Err(failed(format!("cannot be read: {e}"), Some(hint.into())))
        }
    }
}

/// The paths of the TOML files in a directory, sorted.
fn configs_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| directory.join(entry.file_name())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let text = |path: PathBuf| path.strip_prefix(".").unwrap_or(&path).display().to_string();
    paths.into_iter().map(text).collect()
}

fn parse(path: &Path, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count();
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let excerpt = text.lines().nth(line).unwrap_or_default().trim_end();
        let message = error.message().replace('\n', ", ");
        ConfigError {
            origin: path.display().to_string(),
            what: format!("line {}, column {column}: {message}\n  {excerpt}", line + 1),
            hint: Some("this is not valid TOML; https://toml.io shows what is".into()),
        }
    })
}

#[cfg(test)]
mod tests;
