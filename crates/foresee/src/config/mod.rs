//! Reading of configs: a TOML file and overrides become a typed config, or an error that names the place of the mistake
//! and its correction.
//!
//! The type of a config is a tree of structs that refuse unknown keys, such as [`Config`]. The loading does not depend
//! on its fields. An override is `dotted.key=value`. It is applied to the file's tree before the tree is typed, so file
//! and overrides go through the same checks. [`Config::open`] checks the remaining conditions: the keys of the losses,
//! models and agents that a config selects by name, and conditions on several keys. Keys of older versions
//! ([`RENAMED_KEYS`]) get their new names before the overrides are applied.
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
//! An error names the file or the override that set the key. A key that other programs have, or that is in another
//! section, is answered with the key of this one:
//!
//! ```text
//! configs/a.toml: unknown key `rollout.horizn`
//! hint: did you mean `horizon`? valid keys here: `starts_per_step`, `horizon`, `real_ratio`, `retain_epochs`
//!
//! override `rollout.total_timesteps=5000`: unknown key `rollout.total_timesteps`
//! hint: did you mean `training.env_steps`? valid keys here: `starts_per_step`, `horizon`, `real_ratio`, `retain_epochs`
//! ```

pub mod changes;
mod habits;
mod keys;
mod overrides;
pub mod reference;
mod renamed;

use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use foresee_core::explain::{Explained, date_in, describe, explain, lookup, nearest};
use foresee_core::kinds::field_names;
use foresee_core::literal::{hint_in_file, shortened_to};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use foresee_dyna::config::*;
pub use foresee_dyna::setup::*;

pub use self::keys::suggestions;
pub use self::renamed::{RENAMED_KEYS, RenamedKey};

use self::overrides::Override;

/// Largest number of characters of a line that a message repeats.
const SHOWN: usize = 120;

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

/// The source of a config before it is typed: a tree of keys, and the file and overrides that set them.
///
/// [`load`] and [`from_text`] read a config in one step. A program with a user keeps the source, for its notes and for
/// the names of files and overrides in error messages.
///
/// ```
/// use foresee::config::{Config, Source};
///
/// let source = Source::text("env.id = 'Pendulum-v1'\nrollout.retain = 2", &["agent.kind=dacs"])?;
/// assert_eq!(source.notes(), ["config: `rollout.retain` is now `rollout.retain_epochs`"]);
///
/// let config: Config = source.typed()?;
/// assert_eq!(config.rollout.retain_epochs, 2);
/// let error = config.open().map_err(|problem| source.blame(&problem)).err().unwrap();
/// assert!(error.to_string().starts_with("override `agent.kind=dacs`: `agent.kind` cannot be `dacs`"));
/// # Ok::<(), foresee::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Source {
    /// The file's path, or the name of a source that is not a file.
    name: String,
    /// The file's keys before the overrides; renamed keys have their current names.
    base: Value,
    overrides: Vec<Override>,
    /// The tree after the overrides.
    merged: Value,
    notes: Vec<String>,
}

impl Source {
    /// Reads a TOML file and overrides. Later overrides win.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML, an override is malformed, or one of them sets a key under its old and
    /// its new name.
    pub fn file(path: impl AsRef<Path>, overrides: &[&str]) -> Result<Self, ConfigError> {
        let (path, name) = (path.as_ref(), path.as_ref().display().to_string());
        let base = parse(&name, &read(path)?)?;
        Self::tree(&name, base, overrides)
    }

    /// Reads a TOML text and overrides. Messages call the text `config`.
    ///
    /// # Errors
    /// If the text is not TOML, an override is malformed, or one of them sets a key under its old and its new name.
    pub fn text(text: &str, overrides: &[&str]) -> Result<Self, ConfigError> {
        Self::tree("config", parse("config", text)?, overrides)
    }

    /// Takes a tree of keys that is not from a file, such as one built from command-line arguments, and overrides.
    /// Messages call the tree `name`.
    ///
    /// # Errors
    /// If an override is malformed, or the tree or an override sets a key under its old and its new name.
    pub fn tree(name: &str, mut base: Table, overrides: &[&str]) -> Result<Self, ConfigError> {
        let mut overrides = overrides.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let in_tree = renamed::rename_in(&[], &mut base).map_err(|both| both.at(name))?;
        let mut replaced = vec![(name.to_owned(), in_tree)];
        for change in &mut overrides {
            let messages = change.rename()?;
            replaced.push((change.origin(), messages));
        }
        let mut merged = base.clone();
        for change in &overrides {
            change.apply(&mut merged)?;
        }
        let (base, merged) = (Value::Table(base), Value::Table(merged));
        let mut source = Self { name: name.to_owned(), base, overrides, merged, notes: notes_of(replaced) };
        for (keys, message) in renamed::rename_values(&mut source.merged) {
            let origin = source.origin(&keys);
            source.notes.push(format!("{origin}: {message}"));
        }
        Ok(source)
    }

    /// Returns one line for each file or override with old names of keys or values: who used them, and the names that
    /// are valid now.
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
            let what = format!("`{}` is {found}, but no key is a date", keys.join("."));
            let hint = Some("write it as a string, in quotes".into());
            return Err(ConfigError { origin: self.origin(&keys), what, hint });
        }
        serde_path_to_error::deserialize(self.merged.clone()).map_err(|error| {
            let Explained { keys, what, hint } = explain(&error, &self.merged);
            let hint = hint_about(&keys, &what, hint, field_names::<T>());
            ConfigError { origin: self.origin(&keys), what, hint }
        })
    }

    /// Converts a problem of the config to an error under the name of the override that set a key in its message, or
    /// else of the file.
    #[must_use]
    pub fn blame(&self, problem: &Problem) -> ConfigError {
        self.blame_keys(&problem.keys, &problem.to_string())
    }

    /// Converts an error about the value of a key, such as a device that does not exist, to an error under the name of
    /// the override or file that set the key.
    #[must_use]
    pub fn blame_key(&self, key: &str, error: &dyn fmt::Display) -> ConfigError {
        let keys: Vec<String> = key.split('.').map(str::to_owned).collect();
        self.blame_keys(&keys, &error.to_string())
    }

    fn blame_keys(&self, keys: &[String], message: &str) -> ConfigError {
        let (what, hint) = message.split_once("\nhint: ").map_or((message, None), |(what, hint)| (what, Some(hint)));
        let origin = self.override_of(keys).or_else(|| self.override_in(what, hint, keys));
        let origin = origin.unwrap_or_else(|| self.name.clone());
        let hint = hint_about(keys, what, hint.map(str::to_owned), field_names::<Config>());
        ConfigError { origin, what: what.into(), hint }
    }

    /// Returns the name of the override that set a key in a message, or else in its hint. The key `about` itself has the
    /// file's value or its default, which another one does not go with.
    fn override_in(&self, what: &str, hint: Option<&str>, about: &[String]) -> Option<String> {
        if is_unknown_key(what) {
            // The keys in its hint are the ones that it could be.
            return None;
        }
        let keys = [what, hint.unwrap_or_default()].map(|text| mentioned_keys(text, about)).concat();
        let change = keys.iter().find_map(|keys| self.overrides.iter().rev().find(|change| change.sets(keys)));
        change.map(Override::origin)
    }

    /// Returns the name of the override that set the value at these keys, or else the name of the file.
    fn origin(&self, keys: &[String]) -> String {
        self.override_of(keys).unwrap_or_else(|| self.name.clone())
    }

    /// Returns the name of the last override that set the value at these keys. If the file has no such key, an override
    /// of a part of it counts too.
    fn override_of(&self, keys: &[String]) -> Option<String> {
        let in_file = keys.is_empty() || lookup(&self.base, keys).is_some();
        let touches = |change: &&Override| change.sets(keys) || (!in_file && change.keys.starts_with(keys));
        self.overrides.iter().rev().find(touches).map(Override::origin)
    }
}

/// Returns a note for each origin of old names. A renamed key is in one note only.
fn notes_of(replaced: Vec<(String, Vec<String>)>) -> Vec<String> {
    let mut known = BTreeSet::new();
    let note = |(origin, messages): (String, Vec<String>)| {
        let new: Vec<String> = messages.into_iter().filter(|message| known.insert(message.clone())).collect();
        (!new.is_empty()).then(|| format!("{origin}: {}", new.join(", ")))
    };
    replaced.into_iter().filter_map(note).collect()
}

/// Returns the hint of an error. If it is about an unknown key, the hint names the keys that it may mean. `top` are the
/// names at the top of the config.
fn hint_about(keys: &[String], what: &str, hint: Option<String>, top: &[&str]) -> Option<String> {
    if is_unknown_key(what) {
        return keys::hint(keys, hint, top);
    }
    // The message of a key with rules of its own may have a hint.
    let lacks_hint = what.contains(", expected ") && !what.contains("\nhint: ");
    hint.or_else(|| reference::meaning(keys).filter(|_| lacks_hint))
}

/// Whether a message is about a key that does not exist.
fn is_unknown_key(what: &str) -> bool {
    what.starts_with("unknown key `")
}

/// Returns the keys in backticks in a message. A name without a section is in the section of the key that the message is
/// about.
fn mentioned_keys(message: &str, about: &[String]) -> Vec<Vec<String>> {
    let section = about.split_last().map_or(&[][..], |(_, section)| section);
    let is_key = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || "_.".contains(c));
    let whole = |word: &str| word.split('.').map(str::to_owned).collect::<Vec<_>>();
    let words = message.split('`').skip(1).step_by(2).filter(is_key);
    words.flat_map(|word| [whole(word), [section, &whole(word)[..]].concat()]).collect()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |what: String, hint: Option<String>| ConfigError { origin: path.display().to_string(), what, hint };
    if path.is_dir() {
        let example = configs_in(path).into_iter().next();
        let hint = example.map_or("give a config file".into(), |file| format!("give a file in it, such as `{file}`"));
        return Err(failed("this is a folder, not a config file".into(), Some(hint)));
    }
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(failed(
            "the file is empty".into(),
            Some("start from a copy of one of the configs in `configs/`".into()),
        )),
        Ok(text) => Ok(text),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            let there = configs_in(parent);
            let near = nearest(&path.display().to_string(), there.iter().map(String::as_str));
            let hint = near.map_or("give the path of a TOML file".into(), |near| format!("did you mean `{near}`?"));
            Err(failed("no such file".into(), Some(hint)))
        }
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            Err(failed("the file is not text in UTF-8".into(), Some("give the path of a TOML file".into())))
        }
        Err(e) => {
            let hint = "check the path and the permissions of the file";
            Err(failed(format!("the file cannot be read: {e}"), Some(hint.into())))
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
        let hint = hint_about_line(excerpt)
            .unwrap_or_else(|| "correct the TOML syntax in this line; https://toml.io describes it".into());
        ConfigError {
            origin: name.into(),
            what: format!("line {}, column {column}: {message}\n  {}", line + 1, shortened_to(excerpt, SHOWN)),
            hint: Some(hint),
        }
    })
}

/// Returns a hint about a line that is not valid TOML, if its value most likely means another one.
fn hint_about_line(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let value = if value.contains(['"', '\'']) { value } else { value.split('#').next().unwrap_or_default() };
    // The key has to be correct for the value to be at fault.
    format!("{key}=0").parse::<Table>().ok()?;
    hint_in_file(value)
}

#[cfg(test)]
mod tests;
