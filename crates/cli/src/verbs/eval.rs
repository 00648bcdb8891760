//! `eval`: evaluates the policy of a run. It reads the run's folder and changes nothing.

use std::path::Path;

use foresee::config::MAX_EPISODES;
use foresee::{Run, checkpoint};

use super::{DONE, say, set_threads, warn_of_adapter};
use crate::failure::Failure;
use crate::{configs, run_dir};

/// Evaluates the newest checkpoint's policy with its mean action, from the initial states of the run's own evaluations.
pub(super) fn eval(path: &Path, episodes: Option<u32>) -> Result<u8, Failure> {
    let (source, config) = run_dir::read_config(path)?;
    let episodes = episodes.map_or(config.training.eval_episodes, |n| n as usize);
    if episodes > MAX_EPISODES {
        return Err(Failure::Input(format!(
            "`--episodes` is {episodes}\nhint: at most {MAX_EPISODES}; they are played side by side"
        )));
    }
    set_threads(&config);
    let loaded = checkpoint::load(&path.join("checkpoints"))?;
    let id = config.env.id.clone();
    let device = config.device;
    let setup = configs::open(&source, config)?;
    let (outcome, env_step) = Run::evaluate_snapshot(setup, loaded.state, episodes)?;
    warn_of_adapter(device);
    say(format!("environment   {id}, {env_step} steps of training"))?;
    say(format!("mean return   {:.2}", outcome.mean()))?;
    say(format!("deviation     {:.2} over {episodes} episodes", outcome.std()))?;
    say(format!("mean length   {:.1} steps", outcome.mean_length()))?;
    Ok(DONE)
}
