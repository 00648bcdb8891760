//! A training loop of one's own: Dyna by hand, from the parts of a [`foresee::Run`]. The other tasks of a run (saving
//! between slices, schedules, several environments) are left out.
//!
//! ```text
//! cargo run --release -p foresee --example own_loop
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use foresee::agent::{Agent, Sac, SacConfig, Update};
use foresee::env::make;
use foresee::loss::mse::Mse;
use foresee::model::{ModelConfig, Trainer};
use foresee::nn::NoValues;
use foresee::replay::Replay;
use foresee::rollout::{Form, Rollout, RolloutContext};
use foresee::tensor::{Device, from_vec, to_vec};
use foresee::{Stream, Transition, config};

/// Seed of all random streams.
const SEED: u64 = 0;
/// Number of real steps.
const STEPS: u64 = 1600;
/// Number of real steps with uniform actions at the start.
const EXPLORE: u64 = 300;
/// Number of real steps between two fits of the model.
const FIT_EVERY: u64 = 100;

/// Trains the agent and returns the returns of the real episodes in their order.
pub(crate) fn run(out: &mut impl Write) -> Result<Vec<f64>, Box<dyn Error>> {
    let device = Device::flex();
    let mut env = make("Pendulum-v1")?;
    let termination = env.spec().termination.clone().unwrap_or_default();
    let [o, a] = [env.spec().observation_space.dim(), env.spec().action_space.dim()];

    let agent_config = SacConfig { hidden: vec![64, 64], critic_lr: 1e-3, actor_lr: 1e-3, ..SacConfig::default() };
    let mut agent = Sac::new(&agent_config, [o, a], SEED, &device);
    let model_config = "ensemble = { members = 3, elites = 2, hidden = [64, 64] }\nfit.max_steps = 500";
    let model_config: ModelConfig = config::from_text(model_config, &[])?;
    let mut model = Trainer::new(&model_config, Arc::new(Mse {}), [o, a], SEED, &device);
    let form = Form::fastest(&model, agent.actor(), (&termination).into(), &device);
    let mut replay = Replay::new(20_000, [o, a], &device);

    let (mut returns, mut total, mut fits) = (Vec::new(), 0.0, 0);
    let mut obs = env.reset(Some(SEED))?.obs;
    for step in 0..STEPS {
        // Act, with uniform actions at first.
        let action = if step < EXPLORE {
            Stream::new(SEED, "policy/explore").uniforms(step, 1, a)
        } else {
            let noise = from_vec(Stream::new(SEED, "policy/act").normals(step, 1, a), [1, a], &device);
            to_vec(agent.actor().sample(from_vec(obs.clone(), [1, o], &device), noise))
        };
        let taken = env.step(&action)?;
        total += taken.reward;
        replay.real.push(&Transition {
            obs: std::mem::replace(&mut obs, taken.obs.clone()),
            action,
            reward: taken.reward as f32,
            next_obs: taken.obs,
            terminated: taken.terminated,
            truncated: taken.truncated,
        });
        if taken.terminated || taken.truncated {
            writeln!(out, "{:>5} steps, return {total:>8.1}", step + 1)?;
            returns.push(std::mem::take(&mut total));
            obs = env.reset(None)?.obs;
        }
        if step < EXPLORE {
            continue;
        }

        // Fit the model, and imagine one step from many real states.
        if step % FIT_EVERY == 0 {
            let mut fit = model.begin(replay.real.training_rows(), &NoValues, fits, step);
            while model.advance(&mut fit, &NoValues)?.is_none() {}
            let (model, actor, termination) = (&model, agent.actor(), (&termination).into());
            let context = RolloutContext { model, actor, termination, seed: SEED, device: &device };
            let mut rollout = Rollout::new(replay.real.rows(), 2000, 1, SEED, fits);
            while !rollout.advance(form, &context, &replay.real, &mut replay.imagined) {}
            fits += 1;
        }

        // Train the agent on both: a fifth of the 128 rows is real.
        for _ in 0..8 {
            let drawn = replay.draw(128, 0.2, [SEED, agent.updates()], agent.noise_streams());
            agent.update(Update { batch: drawn.batch(), noise: drawn.noise(), dynamics: None, critic_only: false });
        }
    }
    Ok(returns)
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut std::io::stdout()).map(drop)
}
