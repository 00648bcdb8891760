//! `eval`: evaluates the policy of a run. It reads the run's folder and changes nothing.

use std::path::Path;

use foresee::config::MAX_EPISODES;
use foresee::{Run, checkpoint};

use super::{DONE, counted, print_line, set_threads, warn_of_adapter, warn_of_skipped};
use crate::failure::Failure;
use crate::manifest::Use;
use crate::{configs, heartbeat, run_dir};

/// Evaluates the newest checkpoint's policy with its mean action, from the initial states of the run's own evaluations.
pub(super) fn eval(path: &Path, episodes: Option<u32>) -> Result<u8, Failure> {
    let (source, config, recorded) = run_dir::read_config(path)?;
    configs::print_notes(&source);
    let episodes = episodes.map_or(config.training.eval_episodes, |n| n as usize);
    if episodes > MAX_EPISODES {
        return Err(Failure::Input(format!(
            "`--episodes` is {episodes}; it must be at most {MAX_EPISODES}\nhint: a few hundred episodes are enough for a mean return"
        )));
    }
    set_threads(&config);
    let loaded = checkpoint::load(&path.join("checkpoints"))?;
    warn_of_skipped(&loaded);
    let id = config.env.id.clone();
    let device = config.device;
    let setup = configs::open(&source, config)?;
    for warning in recorded.compare(setup.env.spec(), Use::Evaluate)? {
        eprintln!("warning: {warning}");
    }
    let activity = || format!("evaluating {}", counted(episodes, "episode"));
    let work = || Run::evaluate_snapshot(setup, loaded.state, episodes);
    let (evaluation, env_step) = heartbeat::during(activity, work)?;
    warn_of_adapter(device);
    print_line(format!("environment   {id}"))?;
    print_line(format!("checkpoint    at {env_step} real steps"))?;
    print_line(format!("mean return   {:.2}", evaluation.mean()))?;
    print_line(format!("std           {:.2} ({})", evaluation.std(), counted(episodes, "episode")))?;
    print_line(format!("mean length   {:.1} steps", evaluation.mean_length()))?;
    Ok(DONE)
}
