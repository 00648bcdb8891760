//! A run folder of this program.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ordered, rows, text_of};
use crate::error::ReportError;
use crate::run::{FlatConfig, Point, Run};

/// A line of `timing.jsonl`; its other values are not read.
#[derive(Deserialize)]
struct Reading {
    env_step: u64,
    wall_s: f64,
}

/// Reads the folder: its newest config, the evaluations of `results.csv`, and their seconds from `timing.jsonl`.
pub(super) fn read(path: &Path, notes: &mut Vec<String>) -> Result<Run, ReportError> {
    let (file, resumed) = newest_config(path);
    let config = config(&file)?;
    if resumed && config != self::config(&path.join("config.toml"))? {
        notes.push(format!(
            "the config of `{}` was changed when the run was resumed; the newest counts",
            path.display()
        ));
    }
    let results = path.join("results.csv");
    let text = if results.is_file() { text_of(&results)? } else { String::new() };
    // A killed process can leave a part of a line.
    let text = text.rfind('\n').map_or("", |end| &text[..=end]);
    let (clock, mut points) = (Clock::read(&path.join("timing.jsonl")), Vec::new());
    rows(&results, text, |row| {
        let step = row.whole("env_step")?;
        points.push(Point { step, value: row.number("episode_reward")?, seconds: clock.seconds_at(step) });
        Ok(())
    })?;
    Ok(Run {
        path: path.to_owned(),
        label: None,
        name: name(path),
        task: config.get("env.id").cloned(),
        seed: config.get("seed").and_then(|seed| seed.parse().ok()),
        points: ordered(path, points, notes),
        fingerprint: String::new(),
        config: Some(config),
        by_name: false,
    })
}

/// Returns the name of the experiment: the parent of a folder `SEED-TIME`, else the folder itself.
fn name(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    };
    let own = name(Some(&absolute));
    let mut parts = own.split('-');
    let numbers = [parts.next(), parts.next(), parts.next()];
    let digits = |part: &Option<&str>| part.is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let lengths = [1..=20, 8..=8, 6..=6];
    let has_form = numbers
        .iter()
        .zip(lengths)
        .all(|(part, length)| digits(part) && part.is_some_and(|part| length.contains(&part.len())));
    if has_form { name(absolute.parent()) } else { own }
}

/// Returns the newest config file, and whether it is that of a resumed run.
fn newest_config(path: &Path) -> (PathBuf, bool) {
    let resumed = (1..).map(|k| path.join(format!("config.resume-{k}.toml"))).take_while(|file| file.is_file());
    resumed.last().map_or_else(|| (path.join("config.toml"), false), |file| (file, true))
}

fn config(file: &Path) -> Result<FlatConfig, ReportError> {
    let table: toml::Table = text_of(file)?
        .parse()
        .map_err(|error: toml::de::Error| ReportError::content(file, error.to_string(), "restore the file"))?;
    let mut flat = FlatConfig::new();
    flatten("", &table, &mut flat);
    Ok(flat)
}

fn flatten(prefix: &str, table: &toml::Table, flat: &mut FlatConfig) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&path, table, flat),
            toml::Value::String(text) => _ = flat.insert(path, text.clone()),
            // The text of a value is one line.
            value => _ = flat.insert(path, value.to_string()),
        }
    }
}

/// The seconds of a run at its steps.
struct Clock(Vec<(u64, f64)>);

impl Clock {
    /// Reads `timing.jsonl`; a missing file has no readings. Lines without a step and seconds are left out.
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Reading>(line).ok());
        let mut readings: Vec<(u64, f64)> =
            std::iter::once((0, 0.0)).chain(lines.map(|line| (line.env_step, line.wall_s))).collect();
        readings.sort_by_key(|reading| reading.0);
        Self(readings)
    }

    /// Returns the last reading at this step, or the linear interpolation between the readings around it; none after the
    /// last reading.
    fn seconds_at(&self, step: u64) -> Option<f64> {
        let after = self.0.partition_point(|reading| reading.0 <= step);
        let before = self.0.get(after.checked_sub(1)?)?;
        if before.0 == step {
            return Some(before.1);
        }
        let next = self.0.get(after)?;
        Some(before.1 + (next.1 - before.1) * (step - before.0) as f64 / (next.0 - before.0) as f64)
    }
}
