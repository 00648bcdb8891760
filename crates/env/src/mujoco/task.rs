//! The parts that MuJoCo's tasks share: a simulation, numpy's generator for the resets, and observations and rewards
//! that are functions of positions and velocities. A task gives its model and its equations as plain functions
//! ([`MujocoTask`]), and [`MujocoEnvironment`] makes an environment of them.
//!
//! Rewards, terminations and resets are computed in the order and with the precision of Gymnasium 1.4.0: in f64 on the
//! simulation's state, with the control cost in f32 as in numpy (`control_cost`). Two things differ:
//! * Observations are the f32 nearest to Gymnasium's f64.
//! * An action outside the action space acts as the nearest one inside. MuJoCo clamps such controls as well, but
//!   Gymnasium computes the control cost from the action as given.

use core::marker::PhantomData;
use std::ffi::CStr;

use foresee_core::{State, StateError, Termination};

use super::library;
use super::model::{Islands, Model, Sizes, model_file};
use super::simulation::{Simulation, Snapshot};
use crate::config::MujocoConfig;
use crate::environment::{Environment, Info, Reset, Spec, Step, Work};
use crate::error::{EnvError, MujocoError};
use crate::numpy_random::NumpyRng;
use crate::space::BoxSpace;

/// The equations of a task.
pub trait MujocoTask: Send {
    /// Id of the task.
    const ID: &'static str;
    /// File name of the task's model among Gymnasium's.
    const MODEL: &'static str;
    /// Lengths of its states and actions.
    const SIZES: Sizes;
    /// Length of an observation, `O`.
    const OBS_DIM: usize;
    /// Largest absolute value of each action entry.
    const ACTION_BOUND: f32;
    /// Number of simulation steps in one step of the task.
    const FRAME_SKIP: u32;
    /// Names of the bodies whose positions the task reads.
    const BODIES: &'static [&'static CStr] = &[];
    /// Whether all joints of the model are in one kinematic tree. MuJoCo then need not search for constraint islands.
    const ONE_TREE: bool = true;

    /// Returns the termination rule on observations.
    fn termination() -> Termination;

    /// Draws positions `[nq]` and velocities `[nv]` for the start of an episode, around those of the model file.
    fn begin(rng: &mut NumpyRng, qpos: &[f64], qvel: &[f64]) -> (Vec<f64>, Vec<f64>);

    /// Returns the observation `[O]`.
    fn observe(simulation: &Simulation) -> Vec<f32>;

    /// Returns the additional scalars of a reset.
    fn reset_info(simulation: &Simulation) -> Info;

    /// Returns the outcome of the step that was just taken under this action and lasted `dt` seconds.
    fn outcome(simulation: &Simulation, action: &[f32], dt: f64) -> StepOutcome;
}

/// The result of a step without the observation.
pub struct StepOutcome {
    /// The reward.
    pub reward: f64,
    /// Whether the task ended, decided on the state in f64.
    pub terminated: bool,
    /// Additional scalars.
    pub info: Info,
}

/// A task of MuJoCo as an environment, without its time limit.
pub struct MujocoEnvironment<T> {
    spec: Spec,
    rng: NumpyRng,
    simulation: Simulation,
    /// Whether the environment was reset at least once.
    was_reset: bool,
    task: PhantomData<T>,
}

impl<T: MujocoTask> MujocoEnvironment<T> {
    /// Creates an environment, which needs a reset before the first step.
    ///
    /// # Errors
    /// If the library or the model is not found or cannot be used.
    pub fn new(config: &MujocoConfig) -> Result<Self, MujocoError> {
        let library = library::open(config.library.as_deref())?;
        let path = model_file(config, T::MODEL)?;
        let islands = if T::ONE_TREE { Islands::Disabled } else { Islands::AsInFile };
        let simulation = Simulation::new(Model::shared(library, &path, islands)?, &path)?;
        let (found, expected) = (simulation.sizes(), T::SIZES);
        if found != expected {
            let list = |sizes: Sizes| {
                let Sizes { positions, velocities, controls } = sizes;
                format!("{positions} positions, {velocities} velocities and {controls} controls")
            };
            let (found, expected) = (list(found), list(expected));
            let reason = format!("it has {found}, but `{}` has {expected}", T::ID);
            return Err(MujocoError::Model { path, reason });
        }
        if let Some(body) = T::BODIES.iter().find(|body| !simulation.has_body(body)) {
            let reason = format!("it has no body `{}`, which `{}` needs", body.to_string_lossy(), T::ID);
            return Err(MujocoError::Model { path, reason });
        }
        let observations = BoxSpace::symmetric(&vec![f32::INFINITY; T::OBS_DIM]);
        let actions = BoxSpace::symmetric(&vec![T::ACTION_BOUND; T::SIZES.controls]);
        let spec = Spec {
            work: Work::Heavy,
            versions: [("mujoco".to_owned(), library.version.clone())].into(),
            ..Spec::new(T::ID, observations, actions, T::termination())
        };
        Ok(Self { spec, rng: NumpyRng::from_seed(0), simulation, was_reset: false, task: PhantomData })
    }
}

impl<T: MujocoTask> Environment for MujocoEnvironment<T> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        if let Some(seed) = seed {
            self.rng = NumpyRng::from_seed(seed);
        }
        let (qpos, qvel) = self.simulation.initial();
        let (qpos, qvel) = T::begin(&mut self.rng, qpos, qvel);
        self.simulation.begin(&qpos, &qvel);
        self.was_reset = true;
        Ok(Reset { obs: T::observe(&self.simulation), info: T::reset_info(&self.simulation) })
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        if !self.was_reset {
            return Err(EnvError::NeedsReset { id: self.spec.id.clone() });
        }
        let action = self.spec.action_space.clamp(action);
        let controls: Vec<f64> = action.iter().map(|&x| f64::from(x)).collect();
        self.simulation.step(&controls, T::FRAME_SKIP);
        let dt = self.simulation.timestep() * f64::from(T::FRAME_SKIP);
        let StepOutcome { reward, terminated, info } = T::outcome(&self.simulation, &action, dt);
        Ok(Step { obs: T::observe(&self.simulation), reward, terminated, truncated: false, info })
    }

    /// Arrays: `time` f64, seconds; `qpos` f64 `[nq]`; `qvel` and `warmstart` f64 `[nv]`. All four are empty before the
    /// first reset. `rng.*` of [`NumpyRng::save`].
    fn save(&self) -> State {
        let mut state = State::new();
        let snapshot = self.was_reset.then(|| self.simulation.snapshot());
        let Snapshot { time, qpos, qvel, warmstart } = snapshot.unwrap_or_default();
        for (name, numbers) in [("time", time), ("qpos", qpos), ("qvel", qvel), ("warmstart", warmstart)] {
            state.put(name, numbers);
        }
        state.nest("rng", self.rng.save());
        state
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        let (snapshot, rng) = read(state, T::SIZES).map_err(EnvError::bad_state(&self.spec.id))?;
        self.was_reset = snapshot.is_some();
        if let Some(snapshot) = &snapshot {
            self.simulation.restore(snapshot);
        }
        self.rng = rng;
        Ok(())
    }
}

/// Reads the arrays that [`MujocoEnvironment::save`] wrote.
fn read(mut state: State, sizes: Sizes) -> Result<(Option<Snapshot>, NumpyRng), StateError> {
    let was_reset = !state.clone().f64s("time")?.1.is_empty();
    let mut take = |path: &str, length: usize| {
        let length = if was_reset { length } else { 0 };
        let found = state.f64s(path)?.1;
        if found.len() == length && found.iter().all(|x| x.is_finite()) {
            return Ok(found);
        }
        let expected = format!("{length} finite numbers");
        Err(StateError::Mismatch { path: path.into(), found: format!("{found:?}"), expected })
    };
    let snapshot = Snapshot {
        time: take("time", 1)?,
        qpos: take("qpos", sizes.positions)?,
        qvel: take("qvel", sizes.velocities)?,
        warmstart: take("warmstart", sizes.velocities)?,
    };
    let rng = NumpyRng::restored(state.part("rng"))?;
    state.finish()?;
    Ok((was_reset.then_some(snapshot), rng))
}

/// Computes `weight · Σ a²` of an action `[A]`, in f32 and from left to right, as numpy does for fewer than eight f32.
pub(super) fn control_cost(weight: f32, action: &[f32]) -> f64 {
    f64::from(weight * action.iter().fold(0.0, |sum, a| sum + a * a))
}

/// Adds uniform noise from [-scale, scale] to each number.
pub(super) fn with_uniform_noise(rng: &mut NumpyRng, around: &[f64], scale: f64) -> Vec<f64> {
    around.iter().map(|x| x + rng.uniform(-scale, scale)).collect()
}

/// Returns the scalars as an [`Info`].
pub(super) fn info<const N: usize>(entries: [(&str, f64); N]) -> Info {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Rounds the numbers to the f32 of an observation.
pub(super) fn to_f32<'a>(parts: impl IntoIterator<Item = &'a f64>) -> Vec<f32> {
    parts.into_iter().map(|&x| x as f32).collect()
}
