//! Run folders and files with made-up numbers.

// Every test program uses a part of this module.
#![allow(dead_code)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use foresee_report::{Input, Options, Report, Runs, compare, read};

/// A run folder to be written.
pub(crate) struct Folder<'a> {
    pub task: &'a str,
    pub loss: &'a str,
    pub seed: u64,
    /// Further lines of `config.toml`: top-level keys, then tables.
    pub config: &'a str,
    /// Step and return of the evaluations.
    pub points: &'a [(u64, f64)],
}

impl Folder<'_> {
    /// Writes the folder `ROOT/TASK/LOSS/SEED-TIME`. The time at step `s` is `s / 100` seconds.
    pub(crate) fn write(&self, root: &Path) -> PathBuf {
        let path = root.join(self.task).join(self.loss).join(format!("{}-20260101-120000", self.seed));
        fs::create_dir_all(&path).unwrap();
        let head = if self.loss == "mse" { "deterministic" } else { "gaussian" };
        let config = format!(
            "# foresee config, format 2\nseed = {}\nthreads = 1\nalgo = \"mbpo\"\n{}\n[env]\nid = \"{}\"\n\n\
             [model]\nkind = \"ensemble\"\nhead = \"{head}\"\n\n[model.loss]\nkind = \"{}\"\n",
            self.seed, self.config, self.task, self.loss
        );
        fs::write(path.join("config.toml"), config).unwrap();
        let mut results = String::from("env_step,episode_reward,episode_reward_std,episode_length,episodes\n");
        let mut timing = String::new();
        for (step, value) in self.points {
            writeln!(results, "{step},{value},1.5,200.0,5.0").unwrap();
            writeln!(timing, "{{\"env_step\":{step},\"wall_s\":{},\"time/fps\":\"NaN\"}}", *step as f64 / 100.0)
                .unwrap();
        }
        fs::write(path.join("results.csv"), results).unwrap();
        fs::write(path.join("timing.jsonl"), timing).unwrap();
        path
    }
}

/// Writes runs of a loss that differ in nothing but their seeds. Run `n` has the returns `points` plus `offsets[n]`.
pub(crate) fn write_group(root: &Path, task: &str, loss: &str, points: &[(u64, f64)], offsets: &[f64]) {
    for (seed, offset) in offsets.iter().enumerate() {
        let points: Vec<(u64, f64)> = points.iter().map(|(step, value)| (*step, value + offset)).collect();
        Folder { task, loss, seed: seed as u64, config: "", points: &points }.write(root);
    }
}

/// Reads all runs in these paths.
pub(crate) fn read_all(paths: &[&Path]) -> Runs {
    let inputs: Vec<Input> = paths.iter().map(|path| Input { label: None, path: path.to_path_buf() }).collect();
    read(&inputs).unwrap_or_else(|error| panic!("{error}"))
}

/// Compares all runs in a folder.
pub(crate) fn report(root: &Path, options: &Options) -> Report {
    compare(&read_all(&[root]), options).unwrap_or_else(|error| panic!("{error}"))
}

/// Options with few resamples.
pub(crate) fn quick() -> Options {
    Options { resamples: 500, ..Options::default() }
}

/// The folder of committed results.
pub(crate) fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results/runs")
}
