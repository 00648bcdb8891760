//! The runs of a sweep: the product of configs, cases and values, each with a name and its overrides.
//!
//! A name has a part for every choice, such as `mle/seed-0`, and is the path of the run's folder in that of the sweep.
//! All names of a sweep have the same number of parts, so no run's folder is inside another one.

use std::path::{Path, PathBuf};

use foresee::config::ConfigError;
use serde::{Deserialize, Serialize};

use super::plan::{Axis, Plan, SEED};

/// Largest number of runs of a sweep.
const MOST_RUNS: usize = 10_000;
/// Largest number of characters of a part of a name.
const LONGEST: usize = 60;
/// Keys whose values are names by themselves.
const NAMING: [&str; 6] = ["algo", "agent.kind", "model.kind", "model.loss.kind", "model.head", "env.id"];

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The name, with `/` between its parts.
    pub name: String,
    /// The config file.
    pub config: PathBuf,
    /// The overrides of the config.
    pub overrides: Vec<String>,
}

/// A choice: its part of the name, its config if it is one, and its overrides.
#[derive(Clone, Default)]
struct Choice {
    part: Option<String>,
    config: Option<PathBuf>,
    overrides: Vec<String>,
}

impl Plan {
    /// Returns the runs. Those of the first seed come first, so that a part of a sweep has the same seeds of every
    /// choice.
    ///
    /// # Errors
    /// If there are too many runs.
    pub(crate) fn members(&self) -> Result<Vec<Member>, ConfigError> {
        let (seeds, others): (Vec<&Axis>, Vec<&Axis>) = self.axes.iter().partition(|axis| axis.key == SEED);
        let mut levels = vec![self.of_configs(), self.of_cases()];
        levels.extend(others.iter().map(|axis| self.of_axis(axis)));
        let seeds = seeds.first().map_or_else(|| vec![Choice::default()], |axis| self.of_axis(axis));
        let count = levels.iter().chain([&seeds]).try_fold(1_usize, |count, level| count.checked_mul(level.len()));
        if count.is_none_or(|count| count > MOST_RUNS) {
            return Err(ConfigError {
                origin: format!("the sweep `{}`", self.name),
                what: format!("it has more than {MOST_RUNS} runs"),
                hint: Some("vary fewer keys, or give them fewer values".into()),
            });
        }
        let combinations = product(&levels);
        let member = |seed: &Choice, choices: &[Choice]| {
            let all = || choices.iter().chain([seed]);
            let parts: Vec<&str> = all().filter_map(|choice| choice.part.as_deref()).collect();
            let config = all().find_map(|choice| choice.config.clone()).expect("a plan has a config");
            let name = if parts.is_empty() { plain(&stem(&config)) } else { parts.join("/") };
            let overrides = all().flat_map(|choice| &choice.overrides);
            let overrides = self.set.iter().chain(overrides).chain(&self.last).cloned().collect();
            Member { name, config, overrides }
        };
        Ok(seeds
            .iter()
            .flat_map(|seed| combinations.iter().map(move |choices| (seed, choices)))
            .map(|(seed, choices)| member(seed, choices))
            .collect())
    }

    fn of_configs(&self) -> Vec<Choice> {
        let parts = distinct(self.configs.iter().map(|config| plain(&stem(config))).collect());
        let several = self.configs.len() > 1;
        let choice = |(config, part): (&PathBuf, String)| Choice {
            part: several.then_some(part),
            config: Some(config.clone()),
            overrides: Vec::new(),
        };
        self.configs.iter().zip(parts).map(choice).collect()
    }

    fn of_cases(&self) -> Vec<Choice> {
        if self.cases.is_empty() {
            return vec![Choice::default()];
        }
        let parts = distinct(self.cases.iter().map(|case| plain(&case.name)).collect());
        let cases = self.cases.iter().zip(parts);
        cases.map(|(case, part)| Choice { part: Some(part), config: None, overrides: case.set.clone() }).collect()
    }

    fn of_axis(&self, axis: &Axis) -> Vec<Choice> {
        let key = axis.key.as_str();
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let ambiguous = self.axes.iter().any(|other| other.key != key && last(&other.key) == last(key));
        let short = if ambiguous { key.to_owned() } else { last(key) };
        let part = |value: &String| {
            let value = plain(value);
            if NAMING.contains(&key) { value } else { format!("{}-{value}", plain(&short)) }
        };
        let parts = distinct(axis.values.iter().map(part).collect());
        let values = axis.values.iter().zip(parts);
        values
            .map(|(value, part)| Choice { part: Some(part), config: None, overrides: vec![format!("{key}={value}")] })
            .collect()
    }
}

fn stem(config: &Path) -> String {
    config.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// Returns all combinations of a choice of each level. The last level changes fastest.
fn product(levels: &[Vec<Choice>]) -> Vec<Vec<Choice>> {
    levels.iter().fold(vec![Vec::new()], |combinations, level| {
        let with = |choices: &Vec<Choice>| {
            level.iter().map(|choice| [&choices[..], std::slice::from_ref(choice)].concat()).collect::<Vec<_>>()
        };
        combinations.iter().flat_map(with).collect()
    })
}

/// Converts a text to a part of a path: letters, digits, `_`, `-`, `+` and inner dots. Other characters become `-`.
pub(crate) fn plain(text: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || "_-+.".contains(c) { c } else { ' ' };
    let text: String = text.chars().map(kept).collect();
    let text: String = text.split_whitespace().collect::<Vec<_>>().join("-").chars().take(LONGEST).collect();
    // A leading dot hides a folder.
    match text.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if text.is_empty() => "empty".into(),
        None => text,
    }
}

/// Makes equal parts different by a number at their ends.
fn distinct(parts: Vec<String>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for part in parts {
        let numbered = (2..).map(|n| format!("{part}_{n}"));
        let free = std::iter::once(part.clone()).chain(numbered).find(|name| !taken.contains(name));
        taken.extend(free);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::super::plan::Case;
    use super::*;

    fn plan(configs: &[&str], axes: &[(&str, &[&str])]) -> Plan {
        let axis = |(key, values): &(&str, &[&str])| Axis {
            key: (*key).into(),
            values: values.iter().map(|&value| value.into()).collect(),
        };
        Plan {
            name: "test".into(),
            configs: configs.iter().map(PathBuf::from).collect(),
            set: Vec::new(),
            cases: Vec::new(),
            axes: axes.iter().map(axis).collect(),
            last: Vec::new(),
        }
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.members().unwrap().into_iter().map(|member| member.name).collect()
    }

    #[test]
    fn a_sweep_is_every_combination_and_every_choice_has_its_first_seed_first() {
        let mut plan = plan(&["c/a.toml"], &[("model.loss.kind", &["mle", "vagram"]), ("seed", &["0", "1", "2"])]);
        plan.set = vec!["training.env_steps=9".into()];
        plan.last = vec!["agent.batch=4".into()];
        assert_eq!(
            names(&plan),
            ["mle/seed-0", "vagram/seed-0", "mle/seed-1", "vagram/seed-1", "mle/seed-2", "vagram/seed-2"]
        );
        let member = plan.members().unwrap().swap_remove(3);
        assert_eq!(member.config, Path::new("c/a.toml"));
        assert_eq!(member.overrides, ["training.env_steps=9", "model.loss.kind=vagram", "seed=1", "agent.batch=4"]);
    }

    #[test]
    fn a_name_has_the_choices_alone() {
        assert_eq!(names(&plan(&["c/a.toml"], &[])), ["a"]);
        assert_eq!(names(&plan(&["a.toml"], &[("seed", &["4", "5"])])), ["seed-4", "seed-5"]);
        assert_eq!(names(&plan(&["x/a.toml", "b.toml", "y/a.toml"], &[])), ["a", "b", "a_2"]);
        let mut cases = plan(&["a.toml", "b.toml"], &[("seed", &["4"])]);
        cases.cases =
            ["small net", "large"].map(|name| Case { name: name.into(), set: vec![format!("x={name}")] }).into();
        assert_eq!(names(&cases), ["a/small-net/seed-4", "a/large/seed-4", "b/small-net/seed-4", "b/large/seed-4"]);
        assert_eq!(cases.members().unwrap()[1].overrides, ["x=large", "seed=4"]);
        let two =
            plan(&["a.toml"], &[("agent.batch", &["8"]), ("model.fit.batch", &["9"]), ("agent.hidden", &["[64, 64]"])]);
        assert_eq!(names(&two), ["agent.batch-8/model.fit.batch-9/hidden-64-64"]);
    }

    #[test]
    fn every_part_of_a_name_is_a_plain_word_and_no_two_are_equal() {
        for (text, part) in [
            ("0.99", "0.99"),
            ("-0.5", "-0.5"),
            ("1e-3", "1e-3"),
            ("[64, 64]", "64-64"),
            ("\"gym:Ant-v5\"", "gym-Ant-v5"),
            ("{ mode = \"hard\" }", "mode-hard"),
            ("../x/y", "_.-x-y"),
            ("..", "_."),
            ("\"\"", "empty"),
            ("ü b", "ü-b"),
        ] {
            assert_eq!(plain(text), part, "{text}");
        }
        let long = names(&plan(&["a.toml"], &[("env.id", &[&"x".repeat(80), &"x".repeat(90)])]));
        assert_eq!(long, ["x".repeat(60), format!("{}_2", "x".repeat(60))]);
    }

    #[test]
    fn too_many_runs_are_refused() {
        let seeds: Vec<String> = (0..101).map(|seed| seed.to_string()).collect();
        let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
        let message = plan(&["a.toml"], &[("agent.batch", &seeds), ("seed", &seeds)]).members().unwrap_err();
        assert_eq!(
            message.to_string(),
            "the sweep `test`: it has more than 10000 runs\nhint: vary fewer keys, or give them fewer values"
        );
    }
}
