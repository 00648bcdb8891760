//! Measures the steps per second of an environment in Python, in alternating rounds through the bridge and in Python
//! itself:
//!
//! `cargo run --release -p foresee-env --example gym_speed -- Pendulum-v1 Hopper-v5`
//!
//! Both sides play the same episodes, so the sums of their rewards must agree, and both reset at the same steps.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use foresee_env::{EnvConfig, Environment, gym};

/// Number of rounds; each measures both sides once.
const ROUNDS: usize = 5;
/// Number of steps of each side in a round.
const STEPS: usize = 10_000;
/// Absolute value of every action entry, which alternates in sign; exact in f32.
const ACTION: f32 = 0.25;

/// The Python program that plays the same episodes. It prints the steps per second and the sum of rewards.
const PYTHON: &str = "
import sys, time, gymnasium, numpy
name, steps, action = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
env = gymnasium.make(name, disable_env_checker=True)
actions = [numpy.full(env.action_space.shape, sign * action, numpy.float32) for sign in (1, -1)]
env.reset(seed=0)
total, start = 0.0, time.perf_counter()
for t in range(steps):
    obs, reward, terminated, truncated, info = env.step(actions[t % 2].copy())
    total += float(reward)
    if terminated or truncated:
        env.reset()
print(steps / (time.perf_counter() - start), total)
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout();
    for name in std::env::args().skip(1) {
        let mut rounds = Vec::new();
        let mut starts = Vec::new();
        for _ in 0..ROUNDS {
            let (start, bridged, total) = through_the_bridge(&name)?;
            let (direct, want) = in_python(&name)?;
            assert_eq!(total.to_bits(), want.to_bits(), "{name}: the two sides played different episodes");
            starts.push(start);
            rounds.push((bridged, direct));
        }
        let [bridged, direct] = [|pair: &(f64, f64)| pair.0, |pair: &(f64, f64)| pair.1]
            .map(|side| median(rounds.iter().map(side).collect()));
        let ratio = median(rounds.iter().map(|(bridged, direct)| bridged / direct).collect());
        let start = median(starts);
        writeln!(
            out,
            "{name}: start {start:.2} s, bridge {bridged:.0} steps/s, Python {direct:.0} steps/s, ratio {ratio:.2} (medians of {ROUNDS} rounds of {STEPS} steps)"
        )?;
    }
    Ok(())
}

/// Returns the seconds to the first observation, the steps per second, and the sum of rewards.
fn through_the_bridge(name: &str) -> Result<(f64, f64, f64), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut env: Box<dyn Environment> = gym::make(&EnvConfig::new(&format!("gym:{name}")))?;
    env.reset(Some(0))?;
    let started = start.elapsed().as_secs_f64();
    let actions = [ACTION, -ACTION].map(|action| vec![action; env.spec().action_space.dim()]);
    let start = Instant::now();
    let mut total = 0.0;
    for t in 0..STEPS {
        let step = env.step(&actions[t % 2])?;
        total += step.reward;
        if step.terminated || step.truncated {
            env.reset(None)?;
        }
    }
    Ok((started, STEPS as f64 / start.elapsed().as_secs_f64(), total))
}

/// Returns the steps per second and the sum of rewards.
fn in_python(name: &str) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let python =
        std::env::var_os("VIRTUAL_ENV").map_or_else(|| "python3".into(), |env| PathBuf::from(env).join("bin/python"));
    let output = Command::new(python).args(["-c", PYTHON, name, &STEPS.to_string(), &ACTION.to_string()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    match numbers[..] {
        [speed, total] => Ok((speed, total)),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// Returns the middle one of the sorted values; of an even number of values, the upper one of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
