//! From a TOML file and overrides to a typed config, or to an error that says where and what to write instead.
//!
//! The type is a tree of structs that refuse unknown keys; this module knows nothing of its fields. An override is
//! `dotted.key=value`, applied to the file's tree before it is typed, so that file and overrides meet the same checks.
//!
//! ```text
//! configs/a.toml: unknown key `agent.learning_rat`
//! hint: did you mean `learning_rate`? valid keys here: `learning_rate`, `hidden`
//! ```

mod explain;
mod overrides;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use self::explain::{Explained, explain, lookup, nearest};
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
    let file = parse(path, &read(path)?)?;
    let overrides = overrides.iter().map(|text| Override::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut merged = file.clone();
    for change in &overrides {
        change.apply(&mut merged)?;
    }
    let merged = Value::Table(merged);
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
mod tests {
    use std::fs;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        seed: u64,
        #[serde(default)]
        agent: Agent,
        #[serde(default)]
        model: Model,
        env: Option<Env>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Env {
        #[serde(rename = "id")]
        _id: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Agent {
        learning_rate: f64,
        hidden: Vec<usize>,
    }

    impl Default for Agent {
        fn default() -> Self {
            Self { learning_rate: 3e-4, hidden: vec![64, 64] }
        }
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Model {
        loss: Loss,
        fit: Option<Fit>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Loss {
        kind: Kind,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        Mle,
        Mse,
        Vagram,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "by", rename_all = "lowercase", deny_unknown_fields)]
    enum Fit {
        Steps {
            #[serde(rename = "count")]
            _count: u32,
        },
        Epochs {
            #[serde(rename = "patience")]
            _patience: u32,
        },
    }

    const GOOD: &str = "seed = 3\n[agent]\nlearning_rate = 1\n";

    fn with<T>(text: &str, overrides: &[&str], check: impl FnOnce(Result<Config, ConfigError>, &str) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        fs::write(&path, text).unwrap();
        let overrides: Vec<_> = overrides.iter().map(|&text| text.to_owned()).collect();
        check(load(&path, &overrides), path.to_str().unwrap())
    }

    #[track_caller]
    fn accepts(text: &str, overrides: &[&str]) -> Config {
        with(text, overrides, |result, _| result.unwrap_or_else(|e| panic!("{e}")))
    }

    /// Checks a message, in which the file's path reads `a.toml`.
    #[track_caller]
    fn refuses(text: &str, overrides: &[&str], message: &str) {
        let found = with(text, overrides, |result, path| result.unwrap_err().to_string().replace(path, "a.toml"));
        assert_eq!(found, message);
    }

    #[test]
    fn a_config_has_the_files_values_and_else_defaults() {
        let config = accepts(GOOD, &[]);
        assert_eq!((config.seed, config.agent.learning_rate), (3, 1.0));
        assert_eq!((config.agent.hidden, config.model.loss.kind), (vec![64, 64], Kind::Mle));
        assert!(config.env.is_none());
    }

    #[test]
    fn overrides_win_and_later_ones_win_over_earlier_ones() {
        let config = accepts(
            GOOD,
            &[
                "model.loss.kind=mse",
                "agent.hidden = [8]",
                "seed=5",
                "model.loss.kind=vagram",
                "agent.learning_rate=1e-4",
            ],
        );
        assert_eq!((config.seed, config.agent.learning_rate), (5, 1e-4));
        assert_eq!((config.agent.hidden, config.model.loss.kind), (vec![8], Kind::Vagram));
    }

    #[test]
    fn overrides_may_be_quoted_strings_tables_or_hold_equal_signs() {
        let id = |text: &str| accepts(GOOD, &[text]).env.unwrap()._id;
        assert_eq!(id("env.id=Pendulum-v1"), "Pendulum-v1");
        assert_eq!(id("env.id=\"7\""), "7");
        assert_eq!(id("env={id = 'a=b'}"), "a=b");
        assert_eq!(id("env.id=a=b"), "a=b");
    }

    #[test]
    fn a_missing_file_is_named_with_the_nearest_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pendulm.toml");
        let error = || load::<Config>(&path, &[]).unwrap_err().to_string();
        assert_eq!(error(), format!("{}: no such file\nhint: give the path of a TOML file", path.display()));
        let near = directory.path().join("pendulum.toml");
        fs::write(&near, GOOD).unwrap();
        assert_eq!(error(), format!("{}: no such file\nhint: did you mean `{}`?", path.display(), near.display()));
    }

    #[test]
    fn a_directory_is_not_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let error = || load::<Config>(path, &[]).unwrap_err().to_string();
        let what = format!("{}: is a directory, expected a config file\nhint: ", path.display());
        assert_eq!(error(), format!("{what}give a config file"));
        fs::write(path.join("b.toml"), GOOD).unwrap();
        assert_eq!(error(), format!("{what}give a file in it, such as `{}`", path.join("b.toml").display()));
    }

    #[test]
    fn an_empty_file_is_an_error() {
        for text in ["", " \n\t\n"] {
            refuses(text, &["seed=3"], "a.toml: is empty\nhint: start from a copy of one of the configs in `configs/`");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let error = load::<Config>(&path, &[]).unwrap_err();
        assert_eq!(error.what, "is not text in UTF-8");
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let hint = "\nhint: this is not valid TOML; https://toml.io shows what is";
        let what = "a.toml: line 3, column 17: string values must be quoted, expected literal string\n";
        refuses("seed = 3\n[agent]\nlearning_rate = slow\n", &[], &format!("{what}  learning_rate = slow{hint}"));
        refuses("seed = 3\nseed = 4\n", &[], &format!("a.toml: line 2, column 1: duplicate key\n  seed = 4{hint}"));
    }

    #[test]
    fn a_wrong_type_names_the_key_the_value_and_what_is_expected() {
        for (text, message) in [
            ("seed = -1", "`seed` is integer `-1`, expected a whole number, 0 or more"),
            ("seed = 1.5", "`seed` is number `1.5`, expected a whole number, 0 or more"),
            ("seed = []", "`seed` is an array, expected a whole number, 0 or more"),
            ("seed = 3\nagent = 3", "`agent` is integer `3`, expected a table"),
            ("seed = 3\nagent.learning_rate = 'fast'", "`agent.learning_rate` is string \"fast\", expected a number"),
            ("seed = 3\nagent.hidden = 64", "`agent.hidden` is integer `64`, expected an array"),
            (
                "seed = 3\nagent.hidden = [64, true]",
                "`agent.hidden[1]` is boolean `true`, expected a whole number, 0 or more",
            ),
            ("seed = 3\nenv.id = 1", "`env.id` is integer `1`, expected a string"),
            ("seed = 3\nmodel.loss.kind = 3", "`model.loss.kind` is integer `3`, expected a string"),
            ("seed = 3\nmodel.loss.kind = {}", "`model.loss.kind` is a table, expected a string"),
        ] {
            refuses(text, &[], &format!("a.toml: {message}"));
        }
    }

    #[test]
    fn a_wrong_type_in_an_override_names_the_override() {
        refuses(
            GOOD,
            &["seed=4", "agent.learning_rate=.5"],
            "override `agent.learning_rate=.5`: `agent.learning_rate` is string \".5\", expected a number",
        );
        refuses(
            GOOD,
            &["agent.hidden=[64"],
            "override `agent.hidden=[64`: `agent.hidden` is string \"[64\", expected an array",
        );
        refuses("seed = 3\n", &["agent=fast"], "override `agent=fast`: `agent` is string \"fast\", expected a table");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        refuses(
            "seed = 3\n[agent]\nlearning_rat = 1\n",
            &["seed=4"],
            "a.toml: unknown key `agent.learning_rat`\n\
             hint: did you mean `learning_rate`? valid keys here: `learning_rate`, `hidden`",
        );
        refuses(
            "seed = 3\n[optimiser]\nlr = 1\n",
            &[],
            "a.toml: unknown key `optimiser`\nhint: valid keys here: `seed`, `agent`, `model`, `env`",
        );
    }

    #[test]
    fn an_unknown_key_in_an_override_names_the_override() {
        let hint = "hint: did you mean `learning_rate`? valid keys here: `learning_rate`, `hidden`";
        for text in ["agent.learning_rat=1", "agent={learning_rat=1}"] {
            refuses(GOOD, &["seed=4", text], &format!("override `{text}`: unknown key `agent.learning_rat`\n{hint}"));
        }
        refuses(
            GOOD,
            &["agnet.learning_rate=1"],
            "override `agnet.learning_rate=1`: unknown key `agnet`\n\
             hint: did you mean `agent`? valid keys here: `seed`, `agent`, `model`, `env`",
        );
    }

    #[test]
    fn a_key_of_another_variant_is_unknown() {
        refuses(
            "seed = 3\n[model.fit]\nby = 'steps'\ncount = 3\npatience = 4\n",
            &[],
            "a.toml: unknown key `model.fit.patience`\nhint: valid keys here: `count`",
        );
    }

    #[test]
    fn an_unknown_variant_is_refused_with_the_nearest_name() {
        let text = "`model.loss.kind` cannot be `vagran`\n\
                    hint: did you mean `vagram`? valid values here: `mle`, `mse`, `vagram`";
        refuses("seed = 3\nmodel.loss.kind = 'vagran'", &[], &format!("a.toml: {text}"));
        refuses(GOOD, &["model.loss.kind=vagran"], &format!("override `model.loss.kind=vagran`: {text}"));
        refuses(
            "seed = 3\nmodel.fit.by = 'time'",
            &[],
            "a.toml: `model.fit.by` cannot be `time`\nhint: valid values here: `steps`, `epochs`",
        );
    }

    #[test]
    fn a_missing_key_is_named_with_its_section() {
        refuses(
            "[agent]\nlearning_rate = 1",
            &[],
            "a.toml: `seed` is missing\nhint: add `seed = …` at the top, or give the override `seed=…`",
        );
        refuses(
            "seed = 3\n[env]\n",
            &[],
            "a.toml: `env.id` is missing\nhint: add `id = …` under `[env]`, or give the override `env.id=…`",
        );
        refuses(
            GOOD,
            &["model.fit.by=steps"],
            "override `model.fit.by=steps`: `model.fit.count` is missing\n\
             hint: add `count = …` under `[model.fit]`, or give the override `model.fit.count=…`",
        );
    }
}
