//! The choices of a sweep: from a sweep file and from the command line.
//!
//! ```toml
//! name = "losses"                       # the folder is sweeps/losses
//! config = "../pendulum-vagram.toml"    # or a list of configs; relative to the sweep file
//! seeds = "0..2"                        # or [0, 1, 2]
//! set = ["training.env_steps=2000"]     # overrides of every run
//!
//! [vary]                                # every combination of the values of all keys
//! model.loss.kind = ["mle", "vagram"]
//!
//! [[case]]                              # overrides that go together; every case is combined with all values
//! name = "small"
//! set = ["agent.hidden=[64, 64]", "model.ensemble.hidden=[64, 64]"]
//! ```
//!
//! On the command line `KEY=a,b` and `KEY=0..9` are choices, and `KEY=a` is an override of every run. A value with
//! brackets or quotes is one value. A key of the command line replaces the same key of the file.

use std::fs;
use std::path::{Path, PathBuf};

use foresee::config::{ConfigError, Source};
use serde::Deserialize;
use toml::{Table, Value};

use super::members::plain;

/// Largest number of values of one key.
const MOST_VALUES: i128 = 10_000;
/// Keys at the top of a sweep file that no config of a run has.
const OF_SWEEPS: [&str; 4] = ["config", "vary", "set", "case"];
/// The key of the seeds.
pub(super) const SEED: &str = "seed";

/// The choices of a sweep.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// The name of the sweep.
    pub name: String,
    /// The config files, at least one.
    pub configs: Vec<PathBuf>,
    /// Overrides of every run, before those of the cases.
    pub set: Vec<String>,
    /// Overrides that go together; none for one case without overrides.
    pub cases: Vec<Case>,
    /// The keys with several values, the seeds last.
    pub axes: Vec<Axis>,
    /// Overrides of every run from the command line.
    pub last: Vec<String>,
}

/// Overrides that go together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The name of the case, a part of the names of its runs.
    pub name: String,
    /// The overrides.
    pub set: Vec<String>,
}

/// A key with its values, each as the right side of an override.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// The dotted key.
    pub key: String,
    /// The values, at least one.
    pub values: Vec<String>,
}

/// A sweep file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepFile {
    name: Option<String>,
    config: Value,
    seeds: Option<Value>,
    #[serde(default)]
    set: Vec<String>,
    #[serde(default)]
    vary: Table,
    #[serde(default)]
    case: Vec<Case>,
}

/// Returns true if the file is a sweep file rather than the config of a run.
pub(crate) fn is_sweep_file(path: &Path) -> bool {
    let table: Option<Table> = fs::read_to_string(path).ok().and_then(|text| text.parse().ok());
    table.is_some_and(|table| OF_SWEEPS.iter().any(|key| table.contains_key(*key)))
}

impl Plan {
    /// Reads a sweep file or the config of a run, and the arguments of the command line.
    pub(crate) fn read(file: &Path, arguments: &[String]) -> Result<Self, ConfigError> {
        let stem = file.file_stem().map_or_else(|| "sweep".into(), |stem| plain(&stem.to_string_lossy()));
        let mut plan = if is_sweep_file(file) {
            Self::of_file(file, stem)?
        } else {
            let configs = vec![file.to_owned()];
            Self { name: stem, configs, set: Vec::new(), cases: Vec::new(), axes: Vec::new(), last: Vec::new() }
        };
        for argument in arguments {
            plan.add(argument)?;
        }
        // A stable sort: the other keys keep their order.
        plan.axes.sort_by_key(|axis| axis.key == SEED);
        Ok(plan)
    }

    fn of_file(file: &Path, stem: String) -> Result<Self, ConfigError> {
        let origin = file.display().to_string();
        let of_file = Source::file(file, &[])?.typed::<SweepFile>()?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let configs = match &of_file.config {
            Value::String(path) => vec![folder.join(path)],
            Value::Array(paths) if !paths.is_empty() && paths.iter().all(Value::is_str) => {
                paths.iter().filter_map(Value::as_str).map(|path| folder.join(path)).collect()
            }
            other => {
                let what = format!("`config` is {other}, not the path of a config or a list of paths");
                return Err(error(
                    &origin,
                    what,
                    "write `config = \"pendulum.toml\"`; paths are relative to this file",
                ));
            }
        };
        let mut axes = Vec::new();
        add_axes("", &of_file.vary, &origin, &mut axes)?;
        if let Some(seeds) = &of_file.seeds {
            axes.push(Axis { key: SEED.into(), values: values_of("seeds", seeds, &origin)? });
        }
        let plan = Self {
            name: of_file.name.unwrap_or(stem),
            configs,
            set: of_file.set,
            cases: of_file.case,
            axes,
            last: Vec::new(),
        };
        plan.refuse_double_keys(&origin)?;
        Ok(plan)
    }

    /// Refuses a file that gives one key of a run two values: one of them would have no effect.
    fn refuse_double_keys(&self, origin: &str) -> Result<(), ConfigError> {
        let is_set = |set: &[String], key: &str| set.iter().any(|text| key_of(text) == key);
        for (place, axis) in self.axes.iter().enumerate() {
            let key = &axis.key;
            let other = if self.axes[..place].iter().any(|other| other.key == *key) {
                Some("`vary`".to_owned())
            } else if is_set(&self.set, key) {
                Some("`set`".to_owned())
            } else {
                let case = self.cases.iter().find(|case| is_set(&case.set, key));
                case.map(|case| format!("the case `{}`", case.name))
            };
            if let Some(other) = other {
                let what = format!("`{key}` has several values, and another one in {other}");
                return Err(error(origin, what, "leave one of them out"));
            }
        }
        Ok(())
    }

    /// Adds an argument of the command line: a key with one value or with several.
    fn add(&mut self, argument: &str) -> Result<(), ConfigError> {
        let key = key_of(argument).to_owned();
        let values = match argument.split_once('=') {
            Some((_, value)) => {
                choices(&key, value).map_err(|(what, hint)| error(&format!("`{argument}`"), what, &hint))?
            }
            // The mistake is reported where the override is read.
            None => None,
        };
        self.axes.retain(|axis| axis.key != key);
        self.last.retain(|text| key_of(text) != key);
        match values {
            Some(values) => self.axes.push(Axis { key, values }),
            None => self.last.push(argument.to_owned()),
        }
        Ok(())
    }
}

/// Returns the key of an override.
pub(super) fn key_of(text: &str) -> &str {
    text.split('=').next().unwrap_or_default().trim()
}

/// Returns the values of a text such as `a,b` or `0..9`, or none if it is one value. An error has the mistake and a
/// hint.
fn choices(key: &str, text: &str) -> Result<Option<Vec<String>>, (String, String)> {
    let is_one = text.contains(['[', ']', '{', '}', '"', '\'']) || !(text.contains(',') || range(text).is_some());
    if is_one {
        return Ok(None);
    }
    let mut values = Vec::new();
    for part in text.split(',').map(str::trim) {
        match range(part) {
            Some((first, last)) if last < first => {
                return Err((
                    format!("`{part}` has no value: its end is below its start"),
                    format!("write `{key}={last}..{first}`"),
                ));
            }
            Some((first, last)) if last - first >= MOST_VALUES => {
                return Err((format!("`{part}` has more than {MOST_VALUES} values"), "write a shorter range".into()));
            }
            Some((first, last)) => values.extend((first..=last).map(|value| value.to_string())),
            None if part.is_empty() => {
                let hint = format!("write `{key}=a,b`; a value with a comma goes in quotes: '{key}=\"a,b\"'");
                return Err(("there is no value beside a comma".into(), hint));
            }
            None => values.push(part.to_owned()),
        }
    }
    refuse_doubles(key, &values)?;
    Ok(Some(values))
}

/// Returns the ends of a range of whole numbers such as `0..9`, both of which belong to it.
fn range(text: &str) -> Option<(i128, i128)> {
    let (first, last) = text.trim().split_once("..")?;
    let whole = |text: &str| text.parse::<i64>().ok().map(i128::from);
    Some((whole(first)?, whole(last)?))
}

fn refuse_doubles(key: &str, values: &[String]) -> Result<(), (String, String)> {
    let twice = values.iter().enumerate().find(|(place, value)| values[..*place].contains(value));
    twice.map_or(Ok(()), |(_, value)| {
        let hint = format!("leave one out; a list is one value in brackets: '{key}=[{value}, {value}]'");
        Err((format!("`{key}` has the value `{value}` twice"), hint))
    })
}

/// Adds the keys below `path` in the table `vary` of a sweep file.
fn add_axes(path: &str, table: &Table, origin: &str, axes: &mut Vec<Axis>) -> Result<(), ConfigError> {
    for (key, value) in table {
        let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(table) => add_axes(&key, table, origin, axes)?,
            value => {
                let values = values_of(&key, value, origin)?;
                axes.push(Axis { key, values });
            }
        }
    }
    Ok(())
}

/// Returns the values of a key in a sweep file: those of a list, or those of a text as on the command line.
fn values_of(key: &str, value: &Value, origin: &str) -> Result<Vec<String>, ConfigError> {
    let mistake = |(what, hint): (String, String)| error(origin, what, &hint);
    let found = match value {
        Value::Array(values) if !values.is_empty() => {
            let values: Vec<String> = values.iter().map(text_of).collect();
            refuse_doubles(key, &values).map_err(mistake)?;
            Some(values)
        }
        Value::String(text) => choices(key, text).map_err(mistake)?,
        _ => None,
    };
    found.ok_or_else(|| {
        let what = format!("`{key}` is {value}, not a list of values");
        error(origin, what, &format!("write `{key} = [0, 1, 2]` or `{key} = \"0..2\"`"))
    })
}

/// Returns a TOML value as the right side of an override: a plain word without quotes.
fn text_of(value: &Value) -> String {
    const OTHER_VALUES: [&str; 10] = ["true", "false", "nan", "inf", "none", "null", "nil", "undefined", "yes", "no"];
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !OTHER_VALUES.contains(&text)
    };
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        value => value.to_string(),
    }
}

fn error(origin: &str, what: String, hint: &str) -> ConfigError {
    ConfigError { origin: origin.into(), what, hint: Some(hint.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(key: &str, values: &[&str]) -> Axis {
        Axis { key: key.into(), values: values.iter().map(|&value| value.into()).collect() }
    }

    fn of_line(arguments: &[&str]) -> Result<Plan, String> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        // The file does not exist, so it is no sweep file.
        Plan::read(Path::new("none/pendulum.toml"), &arguments).map_err(|error| error.to_string())
    }

    fn of_file(text: &str, arguments: &[&str]) -> Result<Plan, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("losses.toml");
        fs::write(&file, text).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        let shown = format!("{}: ", file.display());
        Plan::read(&file, &arguments)
            .map_err(|error| error.to_string().strip_prefix(&shown).map_or(error.to_string(), str::to_owned))
            .map(|mut plan| {
                let inside = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().to_owned();
                plan.configs = plan.configs.iter().map(inside).collect();
                plan
            })
    }

    #[test]
    fn commas_and_ranges_are_choices_and_brackets_and_quotes_are_one_value() {
        for (text, values) in [
            ("0..3", Some(&["0", "1", "2", "3"][..])),
            ("-1..1", Some(&["-1", "0", "1"])),
            ("5..5", Some(&["5"])),
            ("0..2,7, 9", Some(&["0", "1", "2", "7", "9"])),
            ("mle,vagram", Some(&["mle", "vagram"])),
            ("1e-3,3e-4", Some(&["1e-3", "3e-4"])),
            ("3", None),
            ("mle", None),
            ("../venv/bin/python", None),
            ("0...3", None),
            ("[64, 64]", None),
            ("{a = 1, b = 2}", None),
            ("\"a,b\"", None),
            ("'0..3'", None),
        ] {
            let values = values.map(|values| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>());
            assert_eq!(choices("k", text), Ok(values), "{text}");
        }
        for (text, message) in [
            ("seed=3..1", "`seed=3..1`: `3..1` has no value: its end is below its start\nhint: write `seed=1..3`"),
            ("seed=0..10000", "`seed=0..10000`: `0..10000` has more than 10000 values\nhint: write a shorter range"),
            (
                "seed=1,,2",
                "`seed=1,,2`: there is no value beside a comma\nhint: write `seed=a,b`; a value with a comma goes in quotes: 'seed=\"a,b\"'",
            ),
            (
                "agent.hidden=64,64",
                "`agent.hidden=64,64`: `agent.hidden` has the value `64` twice\nhint: leave one out; a list is one value in brackets: 'agent.hidden=[64, 64]'",
            ),
        ] {
            assert_eq!(of_line(&[text]), Err(message.into()));
        }
    }

    #[test]
    fn the_line_alone_is_a_plan_with_the_seeds_last() {
        let plan = of_line(&["seed=0..1", "training.env_steps=300", "model.loss.kind=mle,vagram"]).unwrap();
        assert_eq!((plan.name.as_str(), &plan.configs), ("pendulum", &vec![PathBuf::from("none/pendulum.toml")]));
        assert_eq!(plan.axes, [axis("model.loss.kind", &["mle", "vagram"]), axis("seed", &["0", "1"])]);
        assert_eq!(plan.last, ["training.env_steps=300"]);
        // The last of several arguments with one key counts.
        assert_eq!(of_line(&["seed=0..1", "seed=3"]).unwrap().axes, []);
        assert_eq!(of_line(&["seed=3", "seed=0..1"]).unwrap().last, [""; 0]);
    }

    #[test]
    fn a_sweep_file_is_a_plan_and_the_line_replaces_its_keys() {
        let text = "config = ['a.toml', 'b.toml']\nseeds = '0..1'\nset = ['training.env_steps=300']\n\
                    [vary]\n'agent.hidden' = [[64, 64], [128]]\nmodel.loss.kind = ['mle', 'vagram']\n\
                    env.id = ['Pendulum-v1', 'true']\n[[case]]\nname = 'x'\nset = ['agent.batch=3']";
        let plan = of_file(text, &[]).unwrap();
        let mut axes = vec![
            axis("agent.hidden", &["[64, 64]", "[128]"]),
            axis("env.id", &["\"Pendulum-v1\"", "\"true\""]),
            axis("model.loss.kind", &["mle", "vagram"]),
            axis("seed", &["0", "1"]),
        ];
        axes[..3].sort_by(|one, other| one.key.cmp(&other.key));
        let mut found = plan.axes.clone();
        found[..3].sort_by(|one, other| one.key.cmp(&other.key));
        assert_eq!(found, axes);
        assert_eq!(plan.axes[3].key, "seed");
        assert_eq!((plan.name.as_str(), &plan.configs), ("losses", &["a.toml", "b.toml"].map(PathBuf::from).to_vec()));
        assert_eq!(plan.cases, [Case { name: "x".into(), set: vec!["agent.batch=3".into()] }]);
        assert_eq!(plan.set, ["training.env_steps=300"]);

        let plan = of_file(text, &["seed=4", "model.loss.kind=mse,huber", "agent.discount=0.9"]).unwrap();
        assert!(plan.axes.contains(&axis("model.loss.kind", &["mse", "huber"])), "{:?}", plan.axes);
        assert!(plan.axes.iter().all(|axis| axis.key != "seed"), "{:?}", plan.axes);
        assert_eq!(plan.last, ["seed=4", "agent.discount=0.9"]);
    }

    #[test]
    fn a_sweep_file_with_a_mistake_is_refused() {
        for (text, message) in [
            (
                "config = 3",
                "`config` is 3, not the path of a config or a list of paths\nhint: write `config = \"pendulum.toml\"`; paths are relative to this file",
            ),
            (
                "config = 'a.toml'\nseeds = 3",
                "`seeds` is 3, not a list of values\nhint: write `seeds = [0, 1, 2]` or `seeds = \"0..2\"`",
            ),
            (
                "config = 'a.toml'\nseeds = []",
                "`seeds` is [], not a list of values\nhint: write `seeds = [0, 1, 2]` or `seeds = \"0..2\"`",
            ),
            (
                "config = 'a.toml'\nseeds = [1, 1]",
                "`seeds` has the value `1` twice\nhint: leave one out; a list is one value in brackets: 'seeds=[1, 1]'",
            ),
            (
                "config = 'a.toml'\nseeds = [1]\nset = ['seed=3']",
                "`seed` has several values, and another one in `set`\nhint: leave one of them out",
            ),
            (
                "config = 'a.toml'\nseeds = [1]\nvary.seed = [2]",
                "`seed` has several values, and another one in `vary`\nhint: leave one of them out",
            ),
            (
                "config = 'a.toml'\nvary.seed = [2]\ncase = [{name = 'x', set = ['seed=1']}]",
                "`seed` has several values, and another one in the case `x`\nhint: leave one of them out",
            ),
        ] {
            assert_eq!(of_file(text, &[]), Err(message.into()), "{text}");
        }
        let unknown = of_file("config = 'a.toml'\nsed = [1]", &[]).unwrap_err();
        assert!(unknown.starts_with("unknown key `sed`\nhint: "), "{unknown}");
        let missing = of_file("set = ['seed=1']", &[]).unwrap_err();
        assert!(missing.contains("`config`"), "{missing}");
    }
}
