//! Learning results: trains every config with every method and every seed, and records the returns at every evaluation.
//!
//! A finished run is a file `RESULTS/<config>/<method>/seed-<n>.csv`, and a run with such a file is not repeated. A
//! later call may add seeds, and repeats runs that were shorter. A file of another config with the same name is an
//! error. Table and curves are made from all files in the folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use foresee::config::RENAMED_KEYS;
use foresee_dyna::{Algo, Config, Parts, Run, metrics};

use crate::machine;
use crate::report::{Curve, Group};

/// The method that trains in a config.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Method {
    /// The config unchanged.
    Unchanged,
    /// The agent without a model.
    Sac,
    /// A model that is fitted by this loss.
    Loss(String),
}

impl FromStr for Method {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word == "sac" {
            return Ok(Self::Sac);
        }
        let losses = Parts::default().losses;
        let loss = losses.iter().find(|loss| loss.name() == word);
        loss.map(|loss| Self::Loss(loss.name().into()))
            .ok_or_else(|| format!("`{word}` is not a method; expected `sac` or a loss of `foresee list losses`"))
    }
}

impl Method {
    fn of(&self, mut config: Config) -> Config {
        match self {
            Self::Unchanged => {}
            Self::Sac => config.algo = Algo::ModelFree,
            Self::Loss(loss) => {
                if config.algo == Algo::ModelFree {
                    config.algo = Algo::Mbpo;
                }
                config.model.loss.kind.clone_from(loss);
            }
        }
        config
    }
}

/// A config to be trained.
struct Learner {
    config: Config,
    name: String,
    method: String,
}

/// Trains the runs that have no file yet. Returns all results, in the order of the configs and methods.
pub(crate) fn run(
    paths: &[PathBuf],
    methods: &[Method],
    seeds: &[u64],
    jobs: usize,
    max_steps: Option<u64>,
    results: &Path,
) -> anyhow::Result<Vec<Group>> {
    let methods = if methods.is_empty() { &[Method::Unchanged][..] } else { methods };
    let mut learners = Vec::new();
    for path in paths {
        for method in methods {
            let config = method.of(read(path, max_steps)?);
            let method =
                if config.algo == Algo::ModelFree { config.agent.kind() } else { config.loss_name() }.to_owned();
            learners.push(Learner { config, name: name(path), method });
        }
    }
    let tasks: Vec<(&Learner, u64)> =
        seeds.iter().flat_map(|&seed| learners.iter().map(move |learner| (learner, seed))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
                    while let Some(&(learner, seed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let file = learner.folder(results).join(format!("seed-{seed}.csv"));
                        if !learner.has(seed, &file)? {
                            pool.install(|| learner.train(seed, &file))?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| anyhow!("a training run ended with a panic; its message is above"))?
        })
    })?;
    learners.iter().map(|learner| learner.collect(results)).collect()
}

impl Learner {
    fn folder(&self, results: &Path) -> PathBuf {
        results.join(&self.name).join(&self.method)
    }

    /// Returns a hash, in hexadecimal digits, of all keys that determine a run's numbers, except its seed and its
    /// length. Renamed keys count under their old names, so that files of older versions are recognised.
    fn fingerprint(&self) -> anyhow::Result<String> {
        let (mut config, parts) = (self.config.clone().with_defaults_of_algo(), Parts::default());
        // Missing keys count as their defaults.
        config.agent.keys = config.agent.choose(&parts.agents)?.1;
        // A TOML table is written in the order of its keys, so the old names are put in before.
        for key in RENAMED_KEYS.iter().filter(|key| key.section == ["agent"]) {
            if let Some(value) = config.agent.keys.remove(key.new) {
                config.agent.keys.insert(key.old.into(), value);
            }
        }
        config.model.loss.keys = config.model.loss.choose(&parts.losses)?.1;
        (config.seed, config.threads, config.training.env_steps) = (0, 0, 0);
        let text = with_old_names(&toml::to_string(&config)?);
        Ok(blake3::hash(text.as_bytes()).to_hex()[..12].to_owned())
    }

    /// Returns true if the file exists and its last evaluation is at the run's number of steps or later.
    ///
    /// # Errors
    /// If the file cannot be read, or its results are of another config.
    fn has(&self, seed: u64, file: &Path) -> anyhow::Result<bool> {
        if !file.exists() {
            return Ok(false);
        }
        let curve = Curve::from_csv(seed, &fs::read_to_string(file)?);
        let curve = curve.with_context(|| format!("in {}", file.display()))?;
        let own = self.fingerprint()?;
        ensure!(
            curve.config == own,
            "`{}` holds results of another config (hash {}, this one {own})\nhint: give another --results, or remove the file",
            file.display(),
            curve.config
        );
        Ok(curve.points.last().is_some_and(|point| point.0 >= self.config.training.env_steps))
    }

    /// Trains one run to its end, and writes its file.
    fn train(&self, seed: u64, file: &Path) -> anyhow::Result<()> {
        let started = Instant::now();
        let config = Config { seed, ..self.config.clone() };
        let (mut run, mut records, mut points) = (Run::new(&config)?, Vec::new(), Vec::new());
        while !run.is_done() {
            run.advance(&mut records)?;
            for record in records.drain(..) {
                let value = record.values.iter().find(|(name, _)| *name == metrics::EVAL_RETURN);
                if let Some(&(_, value)) = value {
                    points.push((record.env_step, value));
                    let seconds = started.elapsed().as_secs();
                    eprintln!(
                        "{} {} seed {seed}: {value:.1} at {}, {seconds} s",
                        self.name, self.method, record.env_step
                    );
                }
            }
        }
        let curve = Curve { seed, config: self.fingerprint()?, seconds: started.elapsed().as_secs_f64(), points };
        fs::create_dir_all(file.parent().expect("a file in a folder"))?;
        let text = curve.to_csv(&format!("{}; commit {}; one thread", machine::describe(), machine::commit()));
        fs::write(file, text).with_context(|| format!("writing {}", file.display()))
    }

    /// Reads the files of all seeds of this config and method.
    fn collect(&self, results: &Path) -> anyhow::Result<Group> {
        let mut curves = Vec::new();
        for entry in fs::read_dir(self.folder(results))? {
            let path = entry?.path();
            let seed = path.file_stem().and_then(|stem| stem.to_str()?.strip_prefix("seed-")?.parse().ok());
            if let Some(seed) = seed {
                let text = fs::read_to_string(&path)?;
                curves.push(Curve::from_csv(seed, &text).with_context(|| format!("in {}", path.display()))?);
            }
        }
        curves.sort_by_key(|curve| curve.seed);
        Ok(Group { name: self.name.clone(), method: self.method.clone(), curves })
    }
}

fn read(path: &Path, max_steps: Option<u64>) -> anyhow::Result<Config> {
    let mut config: Config = foresee::config::load(path, &[])?;
    if let Some(max_steps) = max_steps {
        config.model.fit.max_steps = max_steps;
    }
    Ok(config)
}

/// Returns a config's text with the old names of renamed keys.
fn with_old_names(text: &str) -> String {
    let line_of = |name: &str| format!("\n{name} = ");
    RENAMED_KEYS.iter().fold(text.to_owned(), |text, key| text.replace(&line_of(key.new), &line_of(key.old)))
}

fn name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes are those in `docs/results/runs/hopper-small` and `inverted-pendulum-small`, which older versions wrote.
    #[test]
    fn a_config_has_the_hash_that_older_versions_gave_it() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        for (name, hashes) in [
            ("hopper-small", ["fe14ef237c66", "4cb3cf19b3f2", "7334e86131c6"]),
            ("inverted-pendulum-small", ["200f0e5fd4e4", "22ed69ed2d3a", "775c6ee773ed"]),
        ] {
            let config = read(&folder.join(format!("configs/mujoco/{name}.toml")), None).unwrap();
            for (word, want) in ["mle", "vagram", "sac"].into_iter().zip(hashes) {
                let config = Method::from_str(word).unwrap().of(config.clone());
                let learner = Learner { config, name: name.into(), method: word.into() };
                assert_eq!(learner.fingerprint().unwrap(), want, "{name}, {word}");
            }
        }
    }
}
