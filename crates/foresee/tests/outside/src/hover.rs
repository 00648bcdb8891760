//! `Hover-v0`: hold a craft at a height of one metre by its thrust. The episode ends early below 0.2 m and above 1.8 m.
//!
//! State and observation: height h (m), climb rate v (m/s). Action: thrust u in [0, 2], relative to the craft's weight.
//! v' = v + 5 (u − 1) dt; h' = h + v' dt with dt = 0.05 s; reward 1 − (h' − 1)². At the start h is uniform in 1 ± 0.3
//! and v uniform in ±0.3.

use std::sync::atomic::{AtomicU64, Ordering};

use foresee::env::{BoxSpace, EnvError, Environment, Info, Reset, Spec, Step};
use foresee::termination::Bound;
use foresee::{State, StateError, Stream, Termination};

/// The environment's id.
pub const ID: &str = "Hover-v0";
/// Largest number of steps of an episode.
pub const LIMIT: u32 = 60;
/// Time step in seconds.
const DT: f64 = 0.05;

/// Number of steps of all instances in this process. With it a test verifies that this environment was stepped.
pub static STEPS: AtomicU64 = AtomicU64::new(0);

/// The task without wrappers.
pub struct Hover {
    spec: Spec,
    /// h and v.
    state: [f64; 2],
    seed: u64,
    /// Number of resets since the seed was set.
    resets: u64,
}

impl Hover {
    /// Returns the task before its first reset.
    #[must_use]
    pub fn new() -> Self {
        let rule = Termination::outside(vec![Bound { quantity: 0.into(), low: 0.2, high: 1.8, closed: true }]);
        let observations = BoxSpace::symmetric(&[f32::INFINITY; 2]);
        let actions = BoxSpace::new(vec![0.0], vec![2.0]);
        Self { spec: Spec::new(ID, observations, actions, rule), state: [1.0, 0.0], seed: 0, resets: 0 }
    }
}

impl Default for Hover {
    fn default() -> Self {
        Self::new()
    }
}

impl Environment for Hover {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        if let Some(seed) = seed {
            (self.seed, self.resets) = (seed, 0);
        }
        let mut draws = Stream::new(self.seed, "hover").at(self.resets, 0);
        self.resets += 1;
        self.state = [1.0, 0.0].map(|middle| middle + 0.6 * f64::from(draws.uniform()) - 0.3);
        Ok(Reset { obs: observe(self.state), info: Info::new() })
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        STEPS.fetch_add(1, Ordering::Relaxed);
        let thrust = f64::from(self.spec.action_space.clamp(action)[0]);
        let before = observe(self.state);
        let [h, v] = self.state;
        let v = v + 5.0 * (thrust - 1.0) * DT;
        let h = h + v * DT;
        self.state = [h, v];
        let obs = observe(self.state);
        let terminated = self.spec.terminates(&before, &obs);
        Ok(Step { obs, reward: 1.0 - (h - 1.0) * (h - 1.0), terminated, truncated: false, info: Info::new() })
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.put("state", self.state.to_vec());
        state.put("seed", self.seed);
        state.put("resets", self.resets);
        state
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        let read = read(state).map_err(|source| EnvError::BadState { id: ID.into(), source })?;
        (self.state, self.seed, self.resets) = read;
        Ok(())
    }
}

fn observe(state: [f64; 2]) -> Vec<f32> {
    state.map(|x| x as f32).into()
}

fn read(mut saved: State) -> Result<([f64; 2], u64, u64), StateError> {
    let wrong = |found: Vec<f64>| StateError::Mismatch {
        path: "state".into(),
        found: format!("{found:?}"),
        expected: "a height and a climb rate".into(),
    };
    let state = <[f64; 2]>::try_from(saved.f64s("state")?.1).map_err(wrong)?;
    let (seed, resets) = (saved.u64("seed")?, saved.u64("resets")?);
    saved.finish()?;
    Ok((state, seed, resets))
}
