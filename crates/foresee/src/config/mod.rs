//! Reading of configs: a TOML file and overrides become a typed config, or an error that names the place of the mistake
//! and its correction.
//!
//! The type of a config is a tree of structs that refuse unknown keys, such as [`Config`]. The loading does not depend
//! on its fields. An override is `dotted.key=value`. It is applied to the file's tree before the tree is typed, so file
//! and overrides go through the same checks. [`Config::open`] checks the remaining conditions: the keys of the losses,
//! models and agents that a config selects by name, and conditions on several keys.
//!
//! ```
//! use foresee::config::{self, Config};
//!
//! let text = "env.id = 'Pendulum-v1'\nmodel.loss.kind = 'vagram'";
//! let config: Config = config::from_text(text, &["seed=3", "model.loss.clip_quantile=1"])?;
//! assert_eq!((config.seed, config.loss_name()), (3, "vagram"));
//!
//! let error = config::from_text::<Config>(text, &["training.env_stps=500"]).unwrap_err();
//! assert!(error.to_string().contains("did you mean `env_steps`?"));
//! let config: Config = config::from_text(text, &["agent.discout=0.9"])?;
//! let problem = config.open().err().expect("no such key");
//! assert!(problem.to_string().contains("did you mean `discount`?"));
//! # Ok::<(), foresee::config::ConfigError>(())
//! ```
//!
//! An error in a file:
//!
//! ```text
//! configs/a.toml: unknown key `rollout.horizn`
//! hint: did you mean `horizon`? valid keys here: `starts_per_step`, `horizon`, `real_ratio`, `retain_epochs`
//! ```

mod old_words;
mod overrides;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use foresee_core::explain::{Explained, date_in, describe, explain, lookup, nearest};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use foresee_dyna::config::*;
pub use foresee_dyna::setup::*;

use self::overrides::Override;

/// The error of a config that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file or the override that contains the mistake.
    pub origin: String,
    /// The mistake.
    pub what: String,
    /// The way to correct it.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.what)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads a config from a TOML file and overrides. Later overrides win.
///
/// # Errors
/// If the file cannot be read, or something in it or in an override does not fit the config.
pub fn load<T: DeserializeOwned>(path: impl AsRef<Path>, overrides: &[&str]) -> Result<T, ConfigError> {
    Source::file(path, overrides)?.typed()
}

/// Reads a config from a TOML text and overrides. Later overrides win.
///
/// # Errors
/// If the text is not TOML, or something in it or in an override does not fit the config.
pub fn from_text<T: DeserializeOwned>(text: &str, overrides: &[&str]) -> Result<T, ConfigError> {
    Source::text(text, overrides)?.typed()
}

/// The source of a config before it is typed: a tree of keys with the file or override that wrote each of them.
///
/// [`load`] and [`from_text`] read a config in one step. A program with a user keeps the source, for its notes and for
/// the names of files and overrides in error messages.
///
/// ```
/// use foresee::config::{Config, Source};
///
/// let source = Source::text("algo = 'sac'\nenv.id = 'Pendulum-v1'", &["agent.kind=dacs"])?;
/// assert!(source.notes()[0].starts_with("config: `algo = \"sac\"` is now `algo = \"model_free\"`"));
///
/// let config: Config = source.typed()?;
/// let error = config.open().map_err(|problem| source.blame(&problem)).err().unwrap();
/// assert!(error.to_string().starts_with("override `agent.kind=dacs`: `agent.kind` cannot be `dacs`"));
/// # Ok::<(), foresee::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Source {
    /// The file's path, or the name of a source that is not a file.
    name: String,
    /// The tree of keys before the overrides.
    base: Value,
    overrides: Vec<Override>,
    /// The tree after the overrides, with the words of older versions replaced.
    merged: Value,
    notes: Vec<String>,
}

impl Source {
    /// Reads a TOML file and overrides. Later overrides win.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML, or an override is malformed.
    pub fn file(path: impl AsRef<Path>, overrides: &[&str]) -> Result<Self, ConfigError> {
        let (path, name) = (path.as_ref(), path.as_ref().display().to_string());
        let base = parse(&name, &read(path)?)?;
        Self::tree(&name, base, overrides)
    }

    /// Reads a TOML text and overrides. Messages call the text `config`.
    ///
    /// # Errors
    /// If the text is not TOML, or an override is malformed.
    pub fn text(text: &str, overrides: &[&str]) -> Result<Self, ConfigError> {
        Self::tree("config", parse("config", text)?, overrides)
    }

    /// Takes a tree of keys that is not from a file, such as one built from command-line arguments, and overrides.
    /// Messages call the tree `name`.
    ///
    /// # Errors
    /// If an override is malformed.
    pub fn tree(name: &str, base: Table, overrides: &[&str]) -> Result<Self, ConfigError> {
        let overrides = overrides.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let mut merged = base.clone();
        for change in &overrides {
            change.apply(&mut merged)?;
        }
        let (base, merged) = (Value::Table(base), Value::Table(merged));
        let mut source = Self { name: name.into(), base, overrides, merged, notes: Vec::new() };
        source.notes = old_words::replace(&mut source.merged)
            .into_iter()
            .map(|(keys, note)| format!("{}: {note}", source.writer(&keys)))
            .collect();
        Ok(source)
    }

    /// Returns one line for each word of an older version that was replaced: the file or override that wrote it, and
    /// the word that is valid now.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the typed config.
    ///
    /// # Errors
    /// If something does not fit the config.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        // Deserialization would silently convert a date to a string.
        if let Some(keys) = date_in(&self.merged) {
            let found = lookup(&self.merged, &keys).map(describe).unwrap_or_default();
            let what = format!("`{}` is {found}, which no key takes", keys.join("."));
            let hint = Some("write it as a string, in quotes".into());
            return Err(ConfigError { origin: self.writer(&keys), what, hint });
        }
        serde_path_to_error::deserialize(self.merged.clone()).map_err(|error| {
            let Explained { keys, what, hint } = explain(&error, &self.merged);
            ConfigError { origin: self.writer(&keys), what, hint }
        })
    }

    /// Converts a problem of the config to an error under the name of the file or override that wrote the key.
    #[must_use]
    pub fn blame(&self, problem: &Problem) -> ConfigError {
        let text = problem.to_string();
        let (what, hint) = text.split_once("\nhint: ").map_or((&*text, None), |(what, hint)| (what, Some(hint.into())));
        ConfigError { origin: self.writer(&problem.keys), what: what.into(), hint }
    }

    /// Returns the writer of the value at these keys: the last override that touches them, or else the file.
    fn writer(&self, keys: &[String]) -> String {
        let in_file = keys.is_empty() || lookup(&self.base, keys).is_some();
        let touches =
            |change: &&Override| keys.starts_with(&change.keys) || (!in_file && change.keys.starts_with(keys));
        self.overrides.iter().rev().find(touches).map_or_else(|| self.name.clone(), Override::origin)
    }
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

/// Returns the paths of the TOML files in a directory, sorted.
fn configs_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| directory.join(entry.file_name())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let text = |path: PathBuf| path.strip_prefix(".").unwrap_or(&path).display().to_string();
    paths.into_iter().map(text).collect()
}

fn parse(name: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count();
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let excerpt = text.lines().nth(line).unwrap_or_default().trim_end();
        let message = error.message().replace('\n', ", ");
        ConfigError {
            origin: name.into(),
            what: format!("line {}, column {column}: {message}\n  {excerpt}", line + 1),
            hint: Some("this is not valid TOML; https://toml.io shows what is".into()),
        }
    })
}

#[cfg(test)]
mod tests;
