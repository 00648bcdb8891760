//! An environment in Python as an [`Environment`].
//!
//! A Python environment cannot be saved. Its saved state therefore holds what is needed to replay the episode: the last
//! seed, numpy's generator before the last reset if that reset had no seed, and the actions since the reset. This is
//! the *history* of the state. A restore replays the history, in the same process or in another one, and must reach
//! the last observation bit for bit. A process that died or hung is replaced in the same manner in the middle of an
//! episode. The history is as long as the episode, so it is long for a task without a time limit.
//!
//! A run's seeds have 64 bits. numpy's older generators accept 32, and a simulator in C often accepts only signed
//! numbers of 32 bits, so Python gets the lowest [`SEED_BITS`] bits of a seed. A saved state holds the seed that Python
//! got. States that were saved when Python still got whole seeds can therefore be restored.

use std::path::PathBuf;
use std::time::Duration;

use foresee_core::{Array, State, StateError, state::Data};

use super::known;
use super::process::{Launch, Process};
use super::protocol::{Answer, Generator, Hello, MT19937_WORDS, PCG64_WORDS, ResetSource};
use crate::config::EnvConfig;
use crate::config::python_id::Package;
use crate::environment::{Environment, Reset, Spec, Step, Work};
use crate::error::{BridgeError, EnvError};
use crate::space::{Abbreviated, BoxSpace};

/// Name of the info scalar that holds the number of restarts so far. It is in an answer that needed a restart.
pub const RESTARTS: &str = "restarts";

/// Number of bits of a seed that Python gets. A smaller seed is unchanged.
pub const SEED_BITS: u32 = 31;

/// Shortest time limit of an answer. A socket would take a shorter one as no limit.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// An environment in a Python process.
pub struct GymEnvironment {
    spec: Spec,
    launch: Launch,
    /// The process, or the error that ended it.
    process: Result<Process, BridgeError>,
    history: History,
    /// Whether the process is in the state at the end of the history.
    in_sync: bool,
    restarts: u32,
    max_restarts: u32,
}

/// The history of a state: everything that a replay needs, and the observation that it must reach.
#[derive(Clone, Debug, Default, PartialEq)]
struct History {
    /// The last seed that Python got; `None` before the first reset.
    seed: Option<u64>,
    start: Start,
    /// Actions since the last reset, `[T, A]`.
    actions: Vec<f32>,
    /// The observation at the end of the history, `[O]`.
    obs: Vec<f64>,
}

/// The source of the random numbers of the last reset.
#[derive(Clone, Debug, Default, PartialEq)]
enum Start {
    #[default]
    Seed,
    /// The state of the generator before the reset, which had no seed.
    Generator(Generator),
    /// A generator that is neither numpy's PCG64 nor its `RandomState`. The episode cannot be replayed.
    Unknown,
}

impl GymEnvironment {
    /// Starts Python and makes the environment that `[env]` names.
    ///
    /// # Errors
    /// If it cannot be started or made, or has spaces other than boxes.
    pub fn new(config: &EnvConfig) -> Result<Self, EnvError> {
        config.check_gym()?;
        let timeout = Duration::from_secs_f64(config.gym.timeout).max(MIN_TIMEOUT);
        let (package, name) = Package::from_id(&config.id).unwrap_or((Package::Gymnasium, &config.id));
        let (name, kwargs) = (name.to_owned(), config.gym.kwargs.clone());
        let launch = Launch { id: config.id.clone(), package, name, python: interpreter(config), kwargs, timeout };
        let (process, hello) = Process::start(&launch)?;
        check_actions(&config.id, &hello.actions)?;

        let (termination, dropped_rule) = match (&config.termination, package, &hello.task) {
            (Some(rule), ..) => {
                config.check_termination(rule, hello.observations[0].len())?;
                (Some(rule.clone()), None)
            }
            (None, Package::DmControl, _) => (known::termination_of_suite(&launch.name), None),
            (None, Package::Gymnasium, Some(task)) => known::termination(task, &launch.kwargs),
            (None, Package::Gymnasium, None) => (None, None),
        };
        let spec = Spec {
            id: config.id.clone(),
            observation_space: to_f32_box(&hello.observations),
            action_space: to_f32_box(&hello.actions),
            rescaled_to: None,
            max_episode_steps: hello.limit,
            action_repeat: 1,
            termination,
            dropped_rule,
            work: Work::ExternalProcess,
            versions: hello.versions,
        };
        let max_restarts = config.gym.restarts;
        let history = History::default();
        Ok(Self { spec, launch, process: Ok(process), history, in_sync: true, restarts: 0, max_restarts })
    }

    /// Makes a call that returns an observation. If the call needed a new process, the answer's info has the number of
    /// restarts.
    fn answer(
        &mut self,
        needs_history: bool,
        call: impl Fn(&mut Process) -> Result<Answer, BridgeError>,
    ) -> Result<Answer, BridgeError> {
        let restarts = self.restarts;
        let mut answer = self.call(needs_history, call)?;
        if self.restarts > restarts {
            answer.info.insert(RESTARTS.into(), self.restarts.into());
        }
        Ok(answer)
    }

    /// Makes a call, and repeats it in a new process if this one is lost during the call. `needs_history` is false for
    /// a reset with a seed, whose result does not depend on the history so far.
    fn call<T>(
        &mut self,
        needs_history: bool,
        call: impl Fn(&mut Process) -> Result<T, BridgeError>,
    ) -> Result<T, BridgeError> {
        let outcome = self.call_once(needs_history, &call);
        if outcome.as_ref().is_err_and(BridgeError::is_loss) && self.restarts < self.max_restarts {
            return self.call_once(needs_history, &call);
        }
        outcome
    }

    fn call_once<T>(
        &mut self,
        needs_history: bool,
        call: impl Fn(&mut Process) -> Result<T, BridgeError>,
    ) -> Result<T, BridgeError> {
        let in_sync = core::mem::replace(&mut self.in_sync, false);
        let lost = match &self.process {
            Ok(_) => None,
            Err(lost) if self.restarts < self.max_restarts && lost.is_loss() => Some(lost.clone()),
            Err(lost) => return Err(lost.clone()),
        };
        if lost.is_some() {
            self.restarts += 1;
            self.process = self.restarted();
        }
        let process = self.process.as_mut().map_err(|lost| lost.clone())?;
        let replayed = if in_sync || !needs_history { Ok(()) } else { self.history.replay(process, &self.spec) };
        let outcome = match replayed {
            Ok(()) => call(process),
            Err(BridgeError::NotReproducible { id, reason, .. }) => {
                Err(BridgeError::NotReproducible { id, reason, lost: lost.map(Box::new) })
            }
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(_) => self.in_sync = true,
            Err(error) if error.process_survives() => {}
            Err(error) => self.process = Err(error.clone()),
        }
        outcome
    }

    /// Starts a new process, whose environment must have the same spec.
    fn restarted(&self) -> Result<Process, BridgeError> {
        let (process, hello) = Process::start(&self.launch)?;
        let Hello { limit, observations, actions, .. } = &hello;
        if *limit == self.spec.max_episode_steps
            && to_f32_box(observations) == self.spec.observation_space
            && to_f32_box(actions) == self.spec.action_space
        {
            return Ok(process);
        }
        let reason = "its spaces or its time limit differ in a new process".into();
        Err(BridgeError::NotReproducible { id: self.spec.id.clone(), reason, lost: None })
    }

    /// Reads the arrays that [`Environment::save`] wrote.
    fn read(&self, mut state: State) -> Result<History, StateError> {
        let mismatch = |path: &str, found: String, expected: &str| {
            Err(StateError::Mismatch { path: path.into(), found, expected: expected.into() })
        };
        let seed = match state.u64s("seed")?.1[..] {
            [] => None,
            [seed] => Some(seed),
            ref found => return mismatch("seed", Abbreviated(found).to_string(), "at most one seed"),
        };
        let start = match state.u64s("generator")?.1[..] {
            [] => Start::Seed,
            [_] => Start::Unknown,
            ref words if [PCG64_WORDS, MT19937_WORDS].contains(&words.len()) => Start::Generator(words.to_vec()),
            ref found => {
                return mismatch("generator", Abbreviated(found).to_string(), "the state of a numpy generator");
            }
        };
        let (shape, actions) = state.f32s("actions")?;
        if shape.len() != 2 || shape[1] != self.spec.action_space.dim() || actions.iter().any(|x| !x.is_finite()) {
            return mismatch("actions", format!("of shape {shape:?}"), "actions of this environment");
        }
        let obs = state.f64s("obs")?.1;
        if obs.len() != seed.map_or(0, |_| self.spec.observation_space.dim()) {
            return mismatch("obs", format!("of length {}", obs.len()), "an observation of this environment");
        }
        state.finish()?;
        Ok(History { seed, start, actions, obs })
    }
}

impl History {
    /// Replays the history and checks that it ends at the same observation as before.
    fn replay(&self, process: &mut Process, spec: &Spec) -> Result<(), BridgeError> {
        let not_reproducible = |reason| BridgeError::NotReproducible { id: spec.id.clone(), reason, lost: None };
        let Some(seed) = self.seed else { return Ok(()) };
        // Also before a reset without a seed, because an environment may keep numbers that it drew with the seed.
        let mut answer = process.reset(ResetSource::Seed(seed))?;
        match &self.start {
            Start::Seed => {}
            Start::Generator(words) => answer = process.reset(ResetSource::Saved(words.clone()))?,
            Start::Unknown => {
                return Err(not_reproducible("its `np_random` is neither numpy's PCG64 nor its `RandomState`".into()));
            }
        }
        for action in self.actions.chunks_exact(spec.action_space.dim()) {
            answer = process.step(action)?;
        }
        let differs = answer.obs.iter().zip(&self.obs).position(|(found, before)| found.to_bits() != before.to_bits());
        differs.map_or(Ok(()), |index| {
            let steps = self.actions.len() / spec.action_space.dim();
            let (found, before) = (answer.obs[index], self.obs[index]);
            Err(not_reproducible(format!(
                "after the same reset and the same {steps} actions, entry {index} of the observation is {found} instead of {before}"
            )))
        })
    }
}

impl Environment for GymEnvironment {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        // Gymnasium seeds a new environment from the operating system; here a new environment has seed 0.
        let seed = seed.map(python_seed).or(if self.history.seed.is_none() { Some(0) } else { None });
        let source = seed.map_or(ResetSource::Current, ResetSource::Seed);
        let answer = self.answer(seed.is_none(), |process| process.reset(source.clone()))?;
        let start = match (seed, answer.generator) {
            (Some(_), _) => Start::Seed,
            (None, Some(words)) => Start::Generator(words),
            (None, None) => Start::Unknown,
        };
        let obs = answer.obs.iter().map(|&x| x as f32).collect();
        self.history = History { seed: seed.or(self.history.seed), start, actions: Vec::new(), obs: answer.obs };
        Ok(Reset { obs, info: answer.info })
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        if self.history.seed.is_none() {
            return Err(EnvError::NeedsReset { id: self.spec.id.clone() });
        }
        let action = self.spec.action_space.clamp(action);
        let answer = self.answer(true, |process| process.step(&action))?;
        let Answer { obs, reward, terminated, truncated, info, .. } = answer;
        let step = Step { obs: obs.iter().map(|&x| x as f32).collect(), reward, terminated, truncated, info };
        self.history.actions.extend(action);
        self.history.obs = obs;
        Ok(step)
    }

    /// Arrays: `seed` u64 `[1]`, as Python got it, or `[0]` before the first reset; `generator` u64, empty if the last
    /// reset had a seed, `[6]` for numpy's PCG64, `[315]` for a `RandomState`, `[1]` for any other generator; `actions`
    /// f32 `[T, A]` since the reset; `obs` f64 `[O]`, the last observation.
    fn save(&self) -> State {
        let History { seed, start, actions, obs } = &self.history;
        let dim = self.spec.action_space.dim();
        let mut state = State::new();
        state.put("seed", seed.iter().copied().collect::<Vec<u64>>());
        state.put(
            "generator",
            match start {
                Start::Seed => vec![],
                Start::Generator(words) => words.to_vec(),
                Start::Unknown => vec![0],
            },
        );
        state.put("actions", Array::new(vec![actions.len() / dim, dim], Data::F32(actions.clone())));
        state.put("obs", obs.clone());
        state
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        let history = self.read(state).map_err(EnvError::bad_state(&self.spec.id))?;
        let before = core::mem::replace(&mut self.history, history);
        self.in_sync = false;
        let outcome = self.call(true, |_| Ok(()));
        if outcome.is_err() {
            self.history = before;
            self.in_sync = false;
        }
        Ok(outcome?)
    }
}

/// Returns the seed that Python gets.
fn python_seed(seed: u64) -> u64 {
    seed & ((1 << SEED_BITS) - 1)
}

/// Returns the interpreter of the config, of the virtual environment, or of the search path.
fn interpreter(config: &EnvConfig) -> PathBuf {
    let of_virtual_env = || {
        let folder = std::env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty())?;
        Some(PathBuf::from(folder).join("bin").join("python"))
    };
    config.gym.python.clone().or_else(of_virtual_env).unwrap_or_else(|| "python3".into())
}

/// Checks that no finite bound of the action space is infinite in f32.
fn check_actions(id: &str, ends: &[Vec<f64>; 2]) -> Result<(), BridgeError> {
    BoxSpace::narrowed_to_infinity(ends).map_or(Ok(()), |(index, end)| {
        let reason = format!(
            "entry {index} of its action space has the bound {end:e}, which is beyond the range of f32 (3.4e38)\nhint: give the action space the bounds within which actions make a difference"
        );
        Err(BridgeError::Space { id: id.into(), reason })
    })
}

/// Rounds a box to f32. Rounding keeps the order of numbers, so a point inside a box, when rounded, is inside the
/// rounded box.
fn to_f32_box([low, high]: &[Vec<f64>; 2]) -> BoxSpace {
    let [low, high] = [low, high].map(|ends| ends.iter().map(|&x| x as f32).collect());
    BoxSpace::new(low, high)
}
