//! The actor of a checkpoint acts in an environment, without a run, a replay buffer or a model.
//!
//! ```text
//! cargo run --release -p foresee --example load_policy -- RUN
//! ```
//!
//! RUN is the folder of a run that `foresee train` wrote. Without RUN a small run is trained first.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use foresee::env::Tasks;
use foresee::tensor::{from_vec, to_vec};
use foresee::{Config, Parts, Run, checkpoint, config};

/// The config of the run that is trained if none is given.
const CONFIG: &str = r#"
seed = 0
algo = "model_free"
env.id = "Pendulum-v1"
training = { env_steps = 2000, explore_steps = 400, updates_per_step = 4, eval_every = 2000, eval_episodes = 10 }
agent = { hidden = [64, 64], batch = 128, critic_lr = 1e-3, actor_lr = 1e-3 }
"#;

/// Trains a run and saves its config and its state in a folder.
pub(crate) fn train(folder: &Path) -> Result<(), Box<dyn Error>> {
    let config: Config = config::from_text(CONFIG, &[])?;
    let mut run = Run::new(&config)?;
    while !run.is_done() {
        run.advance(&mut Vec::new())?;
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("config.toml"), toml::to_string(run.config())?)?;
    checkpoint::save(&folder.join("checkpoints"), run.env_step(), &run.snapshot()?, &serde_json::Value::Null, 1)?;
    Ok(())
}

/// Plays some episodes with the newest checkpoint's policy and returns their returns.
pub(crate) fn play(folder: &Path, episodes: u64, out: &mut impl Write) -> Result<Vec<f64>, Box<dyn Error>> {
    let config: Config = config::load(folder.join("config.toml"), &[])?;
    let mut env = config.env.factory(&Tasks::default(), config.seed)()?;
    let dims = [env.spec().observation_space.dim(), env.spec().action_space.dim()];
    let device = config.device.open()?;

    let mut state = checkpoint::load(&folder.join("checkpoints"))?.state;
    let (factory, _) = config.agent.choose(&Parts::default().agents)?;
    let mut agent = factory.build(dims, config.seed, &device);
    agent.load(state.part("agent"))?;

    let mut returns = Vec::new();
    for episode in 0..episodes {
        let mut obs = env.reset(Some(episode))?.obs;
        let mut total = 0.0;
        loop {
            let action = to_vec(agent.actor().mean(from_vec(obs, [1, dims[0]], &device)));
            let step = env.step(&action)?;
            total += step.reward;
            if step.terminated || step.truncated {
                break;
            }
            obs = step.obs;
        }
        writeln!(out, "episode {episode}: return {total:.1}")?;
        returns.push(total);
    }
    Ok(returns)
}

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args_os().nth(1);
    let folder = given.as_ref().map_or_else(|| std::env::temp_dir().join("foresee-load-policy"), Into::into);
    if given.is_none() {
        train(&folder)?;
    }
    play(&folder, 5, &mut std::io::stdout()).map(drop)
}
