//! An environment of one's own: it is checked rule by rule, and an agent is trained and evaluated in it by its id.
//!
//! ```text
//! cargo run --release -p foresee --example own_env
//! ```

use std::error::Error;
use std::io::Write;

use foresee::env::{BoxSpace, EnvError, Environment, Info, Reset, Spec, Step, Tasks, check_environment};
use foresee::termination::Bound;
use foresee::{Config, Parts, Run, State, StateError, Stream, Termination, config, metrics};

/// The environment's id.
const ID: &str = "Ridge-v0";
/// Time step in seconds.
const DT: f64 = 0.05;

/// A ball on a ridge. It rolls down on either side unless it is pushed back. The episode ends when |x| reaches 1.
///
/// State and observation: position x (m) and speed v (m/s). Action: a push u in [-1, 1].
/// v' = v + (4 x + 6 u) dt; x' = x + v' dt; reward 1 − x'². At the start x and v are uniform in ±0.2.
struct Ridge {
    /// Spaces and termination rule.
    spec: Spec,
    /// x and v.
    state: [f64; 2],
    /// Seed of the last reset that had one.
    seed: u64,
    /// Number of resets since the seed was set. Seed and number determine the draws of the next reset.
    resets: u64,
}

impl Ridge {
    /// Returns the task before its first reset.
    fn new() -> Self {
        // The termination rule is data, so it can be applied to imagined states too.
        let rule = Termination::outside(vec![Bound { quantity: 0.into(), low: -1.0, high: 1.0, closed: false }]);
        let observations = BoxSpace::symmetric(&[f32::INFINITY, f32::INFINITY]);
        let spec = Spec::new(ID, observations, BoxSpace::symmetric(&[1.0]), rule);
        Self { spec, state: [0.0; 2], seed: 0, resets: 0 }
    }
}

/// Returns the observation of a state.
fn observe(state: [f64; 2]) -> Vec<f32> {
    state.map(|x| x as f32).into()
}

impl Environment for Ridge {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        if let Some(seed) = seed {
            (self.seed, self.resets) = (seed, 0);
        }
        let mut draws = Stream::new(self.seed, "ridge").at(self.resets, 0);
        self.resets += 1;
        self.state = [(); 2].map(|()| 0.4 * f64::from(draws.uniform()) - 0.2);
        Ok(Reset { obs: observe(self.state), info: Info::new() })
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        let before = observe(self.state);
        let [x, v] = self.state;
        let push = f64::from(self.spec.action_space.clamp(action)[0]);
        let v = v + (4.0 * x + 6.0 * push) * DT;
        let x = x + v * DT;
        self.state = [x, v];
        let obs = observe([x, v]);
        let terminated = self.spec.terminates(&before, &obs);
        Ok(Step { obs, reward: 1.0 - x * x, terminated, truncated: false, info: Info::new() })
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.put("state", self.state.to_vec());
        state.put("seed", self.seed);
        state.put("resets", self.resets);
        state
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        // Everything is read before anything changes.
        let read = read(state).map_err(|source| EnvError::BadState { id: ID.into(), source })?;
        (self.state, self.seed, self.resets) = read;
        Ok(())
    }
}

/// Reads the values that `save` wrote: x and v, the seed, and the number of resets.
fn read(mut saved: State) -> Result<([f64; 2], u64, u64), StateError> {
    let wrong = |found: Vec<f64>| StateError::Mismatch {
        path: "state".into(),
        found: format!("{found:?}"),
        expected: "a position and a speed".into(),
    };
    let state = <[f64; 2]>::try_from(saved.f64s("state")?.1).map_err(wrong)?;
    let (seed, resets) = (saved.u64("seed")?, saved.u64("resets")?);
    saved.finish()?;
    Ok((state, seed, resets))
}

/// The config of the run, which selects the environment by its id.
const CONFIG: &str = r#"
seed = 1
env.id = "Ridge-v0"
training = { env_steps = 1000, explore_steps = 200, updates_per_step = 5, eval_every = 200, eval_episodes = 10 }
agent = { hidden = [32, 32], batch = 64, critic_lr = 1e-3, actor_lr = 1e-3 }

[model]
ensemble = { members = 3, elites = 2, hidden = [64, 64] }
loss.kind = "mse"
fit = { every = 100, max_steps = 500 }

[rollout]
starts_per_step = 20
real_ratio = 0.2
"#;

/// Trains an agent and returns the mean episode length of each evaluation. An episode has at most 100 steps.
pub(crate) fn run(out: &mut impl Write) -> Result<Vec<f64>, Box<dyn Error>> {
    // The time limit, the check of the order of calls and the action range [-1, 1] are added around the task.
    let mut tasks = Tasks::default();
    tasks.add(ID, Some(100), || Ok(Box::new(Ridge::new())));
    let config: Config = config::from_text(CONFIG, &[])?;
    let make = config.env.factory(&tasks, config.seed);
    check_environment(&*make)?;
    writeln!(out, "`{ID}` keeps every rule of an environment")?;

    let mut run = Run::begin(config.open_with(&Parts { tasks, ..Parts::default() })?)?;
    let mut records = Vec::new();
    while !run.is_done() {
        run.advance(&mut records)?;
    }

    writeln!(out, "{:>5} {:>12} {:>12}", "step", "mean return", "mean length")?;
    let mut lengths = Vec::new();
    for record in &records {
        let number = |name| record.values.iter().find(|(known, _)| *known == name).map(|&(_, value)| value);
        if let (Some(mean), Some(length)) = (number(metrics::EVAL_RETURN), number(metrics::EVAL_LENGTH)) {
            writeln!(out, "{:>5} {mean:>12.1} {length:>12.1}", record.env_step)?;
            lengths.push(length);
        }
    }
    Ok(lengths)
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut std::io::stdout()).map(drop)
}
