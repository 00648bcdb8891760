//! How well configs learn: every config with every seed, returns at every evaluation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, anyhow};
use foresee_dyna::{Config, Run, metrics};

use crate::machine;

/// What one run showed.
struct Curve {
    config: usize,
    seed: u64,
    /// (real step, mean return)
    points: Vec<(u64, f64)>,
    seconds: f64,
}

/// Runs everything and prints the table.
#[allow(clippy::print_stdout)]
pub fn run(paths: &[PathBuf], seeds: &[u64], jobs: usize, max_steps: Option<u64>) -> anyhow::Result<()> {
    let configs = paths.iter().map(|path| read(path, max_steps)).collect::<anyhow::Result<Vec<Config>>>()?;
    let tasks: Vec<(usize, u64)> = seeds.iter().flat_map(|&seed| (0..configs.len()).map(move |c| (c, seed))).collect();
    let next = AtomicUsize::new(0);
    let curves = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
                    while let Some(&(config, seed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (points, seconds) = pool.install(|| train(&configs[config], seed))?;
                        eprintln!("{} seed {seed}: {points:?}, {seconds:.0} s", paths[config].display());
                        curves.lock().expect("no worker panicked").push(Curve { config, seed, points, seconds });
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a run panicked"))?)
    })?;
    let mut curves = curves.into_inner().expect("no worker panicked");
    curves.sort_by_key(|curve| (curve.config, curve.seed));

    let steps: BTreeSet<u64> = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0)).collect();
    println!("{}; commit {}; {jobs} runs side by side, one thread each\n", machine::describe(), machine::commit());
    print!("| config | seed |");
    steps.iter().for_each(|step| print!(" {step} |"));
    println!(" s |\n|---|---|{}---|", "---|".repeat(steps.len()));
    for curve in &curves {
        print!("| {} | {} |", name(&paths[curve.config]), curve.seed);
        for step in &steps {
            match curve.points.iter().find(|point| point.0 == *step) {
                Some((_, value)) => print!(" {value:.0} |"),
                None => print!(" |"),
            }
        }
        println!(" {:.0} |", curve.seconds);
    }
    Ok(())
}

fn train(config: &Config, seed: u64) -> anyhow::Result<(Vec<(u64, f64)>, f64)> {
    let started = Instant::now();
    let config = Config { seed, ..config.clone() };
    let (mut run, mut records, mut points) = (Run::new(&config)?, Vec::new(), Vec::new());
    while !run.is_done() {
        run.advance(&mut records)?;
        for record in records.drain(..) {
            let value = record.values.iter().find(|(name, _)| *name == metrics::EVAL_RETURN);
            points.extend(value.map(|(_, value)| (record.env_step, *value)));
        }
    }
    Ok((points, started.elapsed().as_secs_f64()))
}

fn read(path: &Path, max_steps: Option<u64>) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut config: Config = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    if let Some(max_steps) = max_steps {
        config.model.fit.max_steps = max_steps;
    }
    Ok(config)
}

fn name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
