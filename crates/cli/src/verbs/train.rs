//! The commands `train` and `resume`.

use std::path::{Path, PathBuf};

use foresee::config::Algo;
use foresee::evaluate::MAX_EPISODE_STEPS;
use foresee::shell::quoted;
use foresee::{Config, Run, RunError, checkpoint, memory};

use super::{DONE, counted, load, print_line, set_threads, warn_of_adapter, warn_of_skipped};
use crate::driver::{CheckpointExtra, Driver, Ended, INTERRUPTED};
use crate::failure::Failure;
use crate::manifest::Use;
use crate::records::Records;
use crate::run_dir::{Resumption, RunDir, RunToResume};

/// Trains a new run. With `again`, a run in its folder that ended before its first checkpoint gives way to it.
pub(super) fn train(path: &Path, overrides: &[&str], run_dir: Option<PathBuf>, again: bool) -> Result<u8, Failure> {
    let (source, setup) = load(path, overrides)?;
    setup.check_memory(&memory::limits()).map_err(|problem| source.blame(&problem))?;
    let config = setup.config.clone();
    set_threads(&config);
    warn_of_adapter(config.device);
    let mut run = Run::begin(setup)?;
    warn_of_task(&mut run)?;
    let mut dir = RunDir::create(run_dir, &config, again)?;
    dir.begin_segment(&run, &[]);
    let mut records = Records::create(dir.path(), run.spec().action_repeat)?;
    show_config(&mut records, 0, &config)?;
    finish(Driver { run, dir, records, wall_s: 0.0, saved_step: 0 })
}

/// Prints warnings about properties of the task that do not prevent training, but that its user may not expect.
fn warn_of_task(run: &mut Run) -> Result<(), Failure> {
    let (id, spec) = (run.config().env.id.clone(), run.spec());
    if spec.max_episode_steps.is_none() {
        eprintln!(
            "warning: `{id}` has no time limit; evaluations stop an episode after {MAX_EPISODE_STEPS} steps\nhint: set a time limit, for example `env.gym.kwargs.max_episode_steps=1000`"
        );
    }
    let is_learned = !run.config().model.termination.is_rule();
    if run.config().algo != Algo::ModelFree && spec.termination.is_none() && !is_learned {
        let dropped = spec.dropped_rule.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
        eprintln!(
            "warning: `{id}` has no termination rule{dropped}; the run stops where the task first terminates\nhint: set `env.termination`, for example `env.termination={{bounds=[{{index=0, low=0.2, high=1.0}}]}}`, `env.termination={{}}` for a task that never terminates, or `model.termination=learned` for a rule that nobody knows"
        );
    }
    if let Some(difference) = run.unrepeatable()? {
        eprintln!(
            "warning: {difference}\nhint: let the environment pass its seed to `super().reset(seed=seed)`, and draw all random numbers from `self.np_random`"
        );
    }
    Ok(())
}

/// Writes the config for TensorBoard, as the one from `step` on.
fn show_config(records: &mut Records, step: u64, config: &Config) -> Result<(), Failure> {
    let text = toml::to_string_pretty(config).expect("a config that came from TOML goes back to TOML");
    Ok(records.write_text(step, "config", &format!("```toml\n{text}```"))?)
}

/// Resumes a run from its newest checkpoint.
pub(super) fn resume(path: &Path, resumption: &Resumption<'_>) -> Result<u8, Failure> {
    let RunToResume { mut dir, setup, changes, outdated, recorded } = RunDir::open(path, resumption)?;
    setup.check_memory(&memory::limits()).map_err(|problem| Failure::Input(problem.to_string()))?;
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
    let warnings = recorded.compare(setup.env.spec(), Use::Resume)?;
    let run = Run::resume(setup, loaded.state).map_err(|error| match error {
        RunError::Config(message) => {
            let command = format!("foresee resume {} ", quoted(path));
            Failure::Input(message.replace("foresee resume RUN ", &command))
        }
        RunError::NoTerminationRule { .. } => Failure::Input(error.to_string()),
        other => other.into(),
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
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let mut records = Records::resume(dir.path(), &extra.positions, run.env_step(), run.spec().action_repeat)?;
    if !changes.is_empty() || outdated {
        dir.write_changed_config(&config)?;
        show_config(&mut records, run.env_step(), &config)?;
    }
    dir.begin_segment(&run, &changes);
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
