//! A result file of `benches/wanted.py` or `foresee-benches learn`: `<group>/<method>/seed-<n>.csv`.
//!
//! ```text
//! # AMD EPYC, 2 cores; commit 1a2b3c4; one thread; env Hopper-v5; with model.loss.kind=mle; config 0123456789ab; 512 s
//! env_step,mean_return,std_return,episodes,mean_length,seconds
//! ```
//!
//! The parts `env`, `from` and `with` and the columns after the second can be missing.

use std::path::Path;

use super::{ordered, rows, seed_in, text_of};
use crate::error::ReportError;
use crate::run::{FlatConfig, Point, Run};

/// Reads the file. Runs are named by their folder; without `env`, the task is the folder above it.
pub(super) fn read(path: &Path, notes: &mut Vec<String>) -> Result<Run, ReportError> {
    let text = text_of(path)?;
    let head = text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
    let part = |word: &str| head.split("; ").find_map(|part| part.strip_prefix(word)?.strip_prefix(' '));
    let mut points = Vec::new();
    rows(path, &text, |row| {
        let seconds = if row.text("seconds").is_empty() { None } else { Some(row.number("seconds")?) };
        points.push(Point { step: row.whole("env_step")?, value: row.number("mean_return")?, seconds });
        Ok(())
    })?;
    let absolute = path.canonicalize().map_err(ReportError::io(path))?;
    let folder = |level: usize| Some(absolute.ancestors().nth(level)?.file_name()?.to_string_lossy().into_owned());
    let mut config = FlatConfig::new();
    if let Some(from) = part("from") {
        config.insert("config".into(), from.into());
    }
    for (key, value) in part("with").unwrap_or_default().split(' ').filter_map(|text| text.split_once('=')) {
        config.insert(key.into(), value.into());
    }
    Ok(Run {
        path: path.to_owned(),
        label: None,
        name: folder(1).unwrap_or_default(),
        task: part("env").map(str::to_owned).or_else(|| folder(2)),
        seed: path.file_stem().and_then(|stem| seed_in(&stem.to_string_lossy())),
        config: (!config.is_empty()).then_some(config),
        fingerprint: part("config").unwrap_or_default().into(),
        points: ordered(path, points, notes),
        by_name: true,
    })
}
