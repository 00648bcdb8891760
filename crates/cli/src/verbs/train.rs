//! The commands `train` and `resume`.

use std::path::{Path, PathBuf};

use foresee::evaluate::MAX_EPISODE_STEPS;
use foresee::shell::quoted;
use foresee::{Run, checkpoint};

use super::{DONE, counted, load, print_line, set_threads, warn_of_adapter, warn_of_skipped};
use crate::driver::{CheckpointExtra, Driver, Ended, INTERRUPTED};
use crate::failure::Failure;
use crate::records::Records;
use crate::run_dir::{self, RunDir};

/// Trains a new run.
pub(super) fn train(path: &Path, overrides: &[&str], run_dir: Option<PathBuf>) -> Result<u8, Failure> {
    let setup = load(path, overrides)?;
    let config = setup.config.clone();
    set_threads(&config);
    warn_of_adapter(config.device);
    let run = Run::begin(setup)?;
    if run.spec().max_episode_steps.is_none() {
        eprintln!(
            "warning: `{}` has no time limit; evaluations stop an episode after {MAX_EPISODE_STEPS} steps\nhint: set a time limit, for example `env.gym.kwargs.max_episode_steps=1000`",
            config.env.id
        );
    }
    let dir = RunDir::create(run_dir, &config)?;
    let mut records = Records::create(dir.path(), run.spec().action_repeat)?;
    let text = toml::to_string_pretty(&config).expect("a config that came from TOML goes back to TOML");
    records.write_text("config", &format!("```toml\n{text}```"))?;
    finish(Driver { run, dir, records, wall_s: 0.0, saved_step: 0 })
}

/// Resumes a run from its newest checkpoint.
pub(super) fn resume(path: &Path, overrides: &[&str]) -> Result<u8, Failure> {
    let (dir, setup) = RunDir::open(path, overrides)?;
    let config = setup.config.clone();
    set_threads(&config);
    let loaded = checkpoint::load(&dir.checkpoints())?;
    warn_of_skipped(&loaded);
    let extra: CheckpointExtra = serde_json::from_value(loaded.extra).map_err(|error| {
        let path = loaded.path.display();
        Failure::Input(format!(
            "the checkpoint `{path}` lacks the positions of the record files: {error}\nhint: another program or version wrote it; start a new run"
        ))
    })?;
    let run = Run::resume(setup, loaded.state).map_err(|error| match run_dir::read_config(path) {
        Ok((_, before)) => error.with_changes(&before, &config),
        Err(_) => error,
    })?;
    warn_of_adapter(config.device);
    if run.is_done() {
        print_line(format!(
            "the run is complete: {step} environment steps\nhint: to extend it, run `foresee resume {} training.env_steps=N` with N above {step}",
            quoted(path),
            step = run.env_step()
        ))?;
        return Ok(DONE);
    }
    for error in run.lost() {
        eprintln!(
            "warning: {error}\nthe environment begins a new episode, so the resumed run differs from an uninterrupted one"
        );
    }
    let before = run_dir::env_versions(path);
    for (name, version) in &run.spec().versions {
        if let Some(before) = before.get(name).filter(|before| *before != version) {
            eprintln!(
                "warning: the run began with {name} {before} and continues with {version}; from here it may differ from an uninterrupted run\nhint: to continue bit for bit, install {name} {before}"
            );
        }
    }
    let records = Records::resume(dir.path(), &extra.positions, run.env_step(), run.spec().action_repeat)?;
    if !overrides.is_empty() || dir.is_outdated() {
        dir.write_changed_config(&config)?;
    }
    let saved_step = run.env_step();
    finish(Driver { run, dir, records, wall_s: extra.wall_s, saved_step })
}

fn finish(mut driver: Driver) -> Result<u8, Failure> {
    let ended = driver.train()?;
    let dir = quoted(driver.dir.path());
    if ended == Ended::Interrupted {
        print_line(format!(
            "interrupted at environment step {} and saved\nto continue: foresee resume {dir}",
            driver.run.env_step()
        ))?;
        return Ok(INTERRUPTED);
    }
    let config = driver.run.config();
    if let [Some(last), Some(best)] = driver.run.evaluations() {
        print_line(format!(
            "final evaluation  {last:.1} (mean return of {}; best {best:.1})",
            counted(config.training.eval_episodes, "episode")
        ))?;
    }
    let (step, spec) = (driver.run.env_step(), driver.run.spec());
    let frames = if spec.action_repeat > 1 { format!(", {} frames,", spec.frames(step)) } else { String::new() };
    print_line(format!(
        "real steps        {step}{frames} in {:.0} s; {} imagined",
        driver.wall_s,
        driver.run.imagined_steps()
    ))?;
    print_line(format!("run               {}", driver.dir.path().display()))?;
    print_line(format!("curves            tensorboard --logdir {dir}"))?;
    print_line(format!("evaluate          foresee eval {dir}"))?;
    Ok(DONE)
}
