//! Files of other tools: the interchange columns, and mbrl-lib's `results.csv`.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ordered, rows, seed_in, text_of};
use crate::error::ReportError;
use crate::run::{Point, Run};

/// The interchange columns.
pub(crate) const COLUMNS: [&str; 6] = ["exp_name", "env_name", "seed", "metric", "env_step", "value"];
/// The metric of returns that this program writes.
pub(crate) const RETURN: &str = "eval/mean_reward";
/// The metric of seconds that this program writes: the wall time since the start of the run.
pub(crate) const SECONDS: &str = "wall_s";
/// Metrics that are a return, in the order of preference.
const RETURNS: [&str; 8] = [
    RETURN,
    "eval/return",
    "eval/episode_reward",
    "episode_reward",
    "mean_return",
    "episode_return",
    "return",
    "reward",
];

/// A run of a file: its name, its task and its seed.
type Key = (String, String, u64);
/// The values of a metric: pairs of step and value.
type Values = Vec<(u64, f64)>;

/// Reads a file with the interchange columns. If it has several metrics, a known return is used.
pub(super) fn interchange(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Run>, ReportError> {
    let text = text_of(path)?;
    let mut order: Vec<Key> = Vec::new();
    let mut metrics: BTreeMap<Key, BTreeMap<String, Values>> = BTreeMap::new();
    rows(path, &text, |row| {
        let key = (row.text("exp_name").into(), row.text("env_name").into(), row.whole("seed")?);
        let of_run = metrics.entry(key.clone()).or_insert_with(|| {
            order.push(key);
            BTreeMap::new()
        });
        let value = (row.whole("env_step")?, row.number("value")?);
        of_run.entry(row.text("metric").into()).or_default().push(value);
        Ok(())
    })?;
    let mut runs = Vec::new();
    for key in order {
        let of_run = &metrics[&key];
        let wanted = wanted(of_run.keys().map(String::as_str)).ok_or_else(|| {
            let names: Vec<&str> = of_run.keys().map(String::as_str).collect();
            let why = format!("none of its metrics is a known return: {}", names.join(", "));
            ReportError::content(path, why, format!("name the metric of the return `{RETURN}`"))
        })?;
        let seconds: BTreeMap<u64, f64> = of_run.get(SECONDS).into_iter().flatten().copied().collect();
        let points = of_run[wanted].iter();
        let points = points.map(|&(step, value)| Point { step, value, seconds: seconds.get(&step).copied() }).collect();
        runs.push(Run {
            path: path.to_owned(),
            label: None,
            name: key.0,
            task: (!key.1.is_empty()).then_some(key.1),
            seed: Some(key.2),
            config: None,
            fingerprint: String::new(),
            points: ordered(path, points, notes),
            by_name: true,
        });
    }
    Ok(runs)
}

/// Returns the metric that is compared: a known return, or the only one.
fn wanted<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<&str> = names.filter(|&name| name != SECONDS).collect();
    let known = RETURNS.iter().find_map(|known| names.iter().find(|name| *name == known));
    known.or_else(|| (names.len() == 1).then(|| &names[0])).copied()
}

/// Reads a `results.csv` of mbrl-lib. Name, task and seed are in `.hydra/config.yaml` beside it, or in the folders'
/// names `ALGORITHM/EXPERIMENT/TASK/DATE/TIME`.
pub(super) fn mbrl_lib(path: &Path, notes: &mut Vec<String>) -> Result<Run, ReportError> {
    let mut points = Vec::new();
    rows(path, &text_of(path)?, |row| {
        points.push(Point { step: row.whole("env_step")?, value: row.number("episode_reward")?, seconds: None });
        Ok(())
    })?;
    let absolute = path.canonicalize().map_err(ReportError::io(path))?;
    let folder = |level: usize| Some(absolute.ancestors().nth(level)?.file_name()?.to_string_lossy().into_owned());
    let yaml = absolute.parent().map(|parent| parent.join(".hydra/config.yaml"));
    let yaml = yaml.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    let is_time =
        |level: usize| folder(level).is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    let hydra = is_time(1) && is_time(2);
    Ok(Run {
        path: path.to_owned(),
        label: None,
        name: yaml_value(&yaml, "algorithm", "name")
            .or_else(|| if hydra { folder(5) } else { folder(2) })
            .unwrap_or_default(),
        task: yaml_value(&yaml, "overrides", "env").or_else(|| hydra.then(|| folder(3)).flatten()),
        seed: yaml_value(&yaml, "", "seed")
            .and_then(|seed| seed.parse().ok())
            .or_else(|| if hydra { None } else { seed_in(&folder(1)?) }),
        config: None,
        fingerprint: String::new(),
        points: ordered(path, points, notes),
        by_name: true,
    })
}

/// Returns the value of `key` in a section of a YAML file; the section `` is the top level.
fn yaml_value(text: &str, section: &str, key: &str) -> Option<String> {
    let mut current = "";
    for line in text.lines() {
        let Some((name, value)) = line.trim().split_once(':') else { continue };
        let inside = line.starts_with(' ');
        if !inside {
            current = name;
        }
        if name == key && (if section.is_empty() { !inside } else { inside && current == section }) {
            return Some(value.trim().trim_matches(['"', '\'']).to_owned());
        }
    }
    None
}
