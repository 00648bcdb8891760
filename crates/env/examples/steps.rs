//! Measures the steps per second of an environment under actions from a file: `steps ID ACTIONS [SEED]`. It prints one
//! JSON object for every line on its standard input. `benches/peers/mujoco_steps.py` times Gymnasium with the same
//! actions and resets, and compares.

use std::io::Write;
use std::time::Instant;

use foresee_env::{Environment, make_unscaled};
use serde_json::json;

/// Any error, for the messages of this program.
type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [id, path, rest @ ..] = &args[..] else { return Err("usage: steps ID ACTIONS [SEED]".into()) };
    let seed = rest.first().map_or(Ok(0), |seed| seed.parse())?;
    let mut env = make_unscaled(id)?;
    let actions = read(path, env.spec().action_space.dim())?;

    for line in std::io::stdin().lines() {
        line?;
        // A tenth of the steps first, to warm up the caches and the clock frequency.
        play(env.as_mut(), &actions[..actions.len() / 10], seed)?;
        let start = Instant::now();
        let (total, episodes) = play(env.as_mut(), &actions, seed)?;
        let seconds = start.elapsed().as_secs_f64();
        let steps = actions.len();
        writeln!(
            std::io::stdout(),
            "{}",
            json!({"id": id, "steps": steps, "seconds": seconds, "reward": total, "episodes": episodes})
        )?;
    }
    Ok(())
}

/// Reads actions `[N, A]` from a file of little-endian f32.
fn read(path: &str, dim: usize) -> Result<Vec<Vec<f32>>, AnyError> {
    let numbers: Vec<f32> =
        std::fs::read(path)?.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(numbers.chunks_exact(dim).map(Vec::from).collect())
}

/// Returns the sum of all rewards and the number of episodes that were begun.
fn play(env: &mut dyn Environment, actions: &[Vec<f32>], seed: u64) -> Result<(f64, u64), AnyError> {
    env.reset(Some(seed))?;
    let (mut total, mut episodes) = (0.0, 1);
    for action in actions {
        let step = env.step(action)?;
        total += step.reward;
        if step.terminated || step.truncated {
            env.reset(None)?;
            episodes += 1;
        }
    }
    Ok((total, episodes))
}
