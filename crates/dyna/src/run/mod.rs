//! A run: the Dyna loop as a state machine whose every slice can be followed by a checkpoint.
//!
//! One real step of each of the `env.count` environments passes through the phases
//!
//! act → (every `model.fit.every` steps) fit → imagine → update → what is due → act
//!
//! and [`Run::advance`] does one slice of at most about a second: one act, some gradient steps of the model, one
//! imagined step of all rollouts, some updates of the agent. (The action that a fit follows also begins it: what the
//! loss asks of the agent about all real rows is computed in that slice.) Between slices the run is a plain [`RunState`]
//! ([`Run::snapshot`], [`Run::restore`]); a run that is cut there and restored goes on bit for bit.
//!
//! Every environment's step is a real step of its own. What is due at a multiple of some steps is done where several at
//! once reach or cross it. Environment `i` has lane `i` of the streams `env/reset`, `policy/explore` and `policy/act`,
//! whose step is its own step count: before learning starts, a trajectory is independent of `env.count`.
//!
//! Nothing is trained before `training.explore_steps` real steps are over. With `algo = "model_free"` the phases fit and
//! imagine never come.
//!
//! The run joins parts that do not know each other: an agent, a world model, a controller, a source of experience. Which
//! they are, and in which form they compute, is decided once, before the first slice.

mod act;
mod clock;
mod diagnosis;
mod ends;
mod error;
mod evaluation;
mod experience;
mod learn;
mod live;
mod report;
mod state;

pub use error::RunError;
pub use state::RunState;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foresee_actor_critic::Agent;
use foresee_core::Termination;
use foresee_env::{Autoreset, EnvError, Spec, VectorEnvironment};
use foresee_nn::device::{DeviceFailure, guarded};
use foresee_world_model::{ModelRequest, WorldModel};

use self::clock::Clock;
use self::experience::Experience;
use self::live::Live;
use crate::config::Config;
use crate::control::{Controller, ControllerFactory, Knowledge};
use crate::evaluate::Evaluator;
use crate::record::Record;
use crate::replay::Replay;
use crate::rollout::{self, Rollout};
use crate::setup::Setup;

/// Where in a real step the run is.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a run")]
enum Phase {
    /// The next slice takes a real step in every environment.
    Act,
    /// The model is being fitted.
    Fit,
    /// Rollouts are under way; so many imagined transitions came before them in this call, and so many updates of this step
    /// are done.
    Imagine { rollout: Rollout, gathered: u64, done: u64 },
    /// So many of this step's agent updates are done.
    Update(u64),
}

/// Counts since the beginning of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    episodes: u64,
    fits: u64,
    /// Calls of rollouts; those of `mbpo` are one a fit.
    rollouts: u64,
    imagined_steps: u64,
    /// Real transitions that ended, or not, against the rule for imagined ones.
    mismatches: u64,
}

/// A live run.
pub struct Run {
    config: Config,
    device: Device,
    experience: Box<dyn Experience>,
    clock: Clock,
    agent: Box<dyn Agent>,
    model: Option<Box<dyn WorldModel>>,
    /// How rollouts are computed.
    rollouts: rollout::Form,
    controller: Box<dyn Controller>,
    replay: Replay,
    /// When an episode ends, and whether real ends are held against it.
    termination: Termination,
    watched: bool,
    phase: Phase,
    counters: Counters,
    evaluator: Evaluator,
    /// Makes who acts in an evaluation.
    controllers: ControllerFactory,
    last_eval: Option<f64>,
    best_eval: Option<f64>,
    stop: Arc<AtomicBool>,
}

/// Work on the device of a setup, before there is a run.
fn on_device<R>(setup: Setup, work: impl FnOnce(Setup, Device) -> Result<R, RunError>) -> Result<R, RunError> {
    let choice = setup.config.device;
    let device = choice.open()?;
    guarded(&device, || work(setup, device.clone()))
        .unwrap_or_else(|failure| Err(RunError::DeviceFailed { env_step: 0, device: choice, failure }))
}

impl Run {
    /// A fresh run of what this program ships, its environments reset.
    ///
    /// # Errors
    /// If the configuration is impossible, the device cannot be had, or an environment fails.
    pub fn new(config: &Config) -> Result<Self, RunError> {
        Self::begin(config.clone().open()?)
    }

    /// A fresh run of a configuration that was checked, with parts of one's own or without.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub fn begin(setup: Setup) -> Result<Self, RunError> {
        let seed = setup.config.seed;
        on_device(setup, |setup, device| {
            let mut run = Self::prepare_with(setup, device, |live| live.reset(seed))?;
            (0..run.clock.turn as usize).for_each(|lane| run.controller.begin(lane));
            Ok(run)
        })
    }

    /// Everything but the first resets.
    fn prepare(setup: Setup, device: Device) -> Result<Self, RunError> {
        Self::prepare_with(setup, device, |_| Ok(()))
    }

    fn prepare_with(
        setup: Setup,
        device: Device,
        begin: impl FnOnce(&mut Live) -> Result<(), RunError>,
    ) -> Result<Self, RunError> {
        setup.fits(&device)?;
        let Setup { config, env, factory, shipped, agent, model, controller } = setup;
        let envs = VectorEnvironment::beside(env, &factory, config.env.count, Autoreset::SameStep)
            .map_err(|error| RunError::Env { env_step: 0, error })?;
        let spec = envs.spec();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        let evaluator = Evaluator::new(factory, config.seed, Evaluator::most(spec.work, config.env.count));
        let termination = spec.termination.clone().unwrap_or_default();
        let capacity = config.imagined_rows(0);
        let agent = agent.build(dims, config.seed, &device);
        let model = model.map(|(factory, loss)| {
            factory.build(&ModelRequest {
                config: &config.model,
                loss: &loss,
                dims,
                seed: config.seed,
                device: &device,
            })
        });
        let rollouts = match &model {
            Some(model) => rollout::Form::fastest(&**model, agent.actor(), &device),
            None => rollout::Form::Tensors,
        };
        let watched = ends::watched(spec, shipped);
        let mut live = Live::new(envs, watched);
        begin(&mut live)?;
        Ok(Self {
            clock: Clock::new(live.ticks()),
            experience: Box::new(live),
            agent,
            model,
            rollouts,
            controller: controller(),
            controllers: controller,
            replay: Replay::new(capacity, dims, &device),
            termination,
            watched,
            phase: Phase::Act,
            counters: Counters::default(),
            evaluator,
            last_eval: None,
            best_eval: None,
            stop: Arc::default(),
            config,
            device,
        })
    }

    /// Whether the run has taken all its real steps and finished what follows the last one.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Act) && self.clock.now >= self.config.training.env_steps
    }

    /// Does one slice; reports are appended to `records`.
    ///
    /// # Errors
    /// If the environment fails, training diverged, or the device failed. A run whose device failed is to be dropped.
    pub fn advance(&mut self, records: &mut Vec<Record>) -> Result<(), RunError> {
        let device = self.device.clone();
        guarded(&device, || self.slice(records)).unwrap_or_else(|failure| Err(self.failed(failure)))
    }

    /// The failure of the run's device.
    fn failed(&self, failure: DeviceFailure) -> RunError {
        RunError::DeviceFailed { env_step: self.clock.now, device: self.config.device, failure }
    }

    fn slice(&mut self, records: &mut Vec<Record>) -> Result<(), RunError> {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Act) {
            Phase::Act => self.act(records)?,
            Phase::Fit => self.fit(records)?,
            Phase::Imagine { rollout, gathered, done } => self.imagine(rollout, gathered, done, records),
            Phase::Update(done) => self.update(done, records)?,
        };
        Ok(())
    }

    /// Entries of observations and actions, `[O, A]`.
    fn dims(&self) -> [usize; 2] {
        [self.spec().observation_space.dim(), self.spec().action_space.dim()]
    }

    /// The spec of the task.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        self.experience.spec()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &dyn Agent {
        &*self.agent
    }

    /// The world model, where there is one.
    #[must_use]
    pub fn model(&self) -> Option<&dyn WorldModel> {
        self.model.as_deref()
    }

    /// Real and imagined transitions.
    #[must_use]
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// Why environments could not be brought back when the run was resumed, and began a new episode.
    #[must_use]
    pub fn lost(&self) -> &[EnvError] {
        self.experience.lost()
    }

    /// Real steps taken.
    #[must_use]
    pub fn env_step(&self) -> u64 {
        self.clock.now
    }

    /// Real episodes finished.
    #[must_use]
    pub fn episodes(&self) -> u64 {
        self.counters.episodes
    }

    /// Imagined transitions so far.
    #[must_use]
    pub fn imagined_steps(&self) -> u64 {
        self.counters.imagined_steps
    }

    /// The last and the best evaluation's mean return.
    #[must_use]
    pub fn evaluations(&self) -> [Option<f64>; 2] {
        [self.last_eval, self.best_eval]
    }

    /// What the next slice does, in a word.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Act => "act",
            Phase::Fit => "fit model",
            Phase::Imagine { .. } => "imagine",
            Phase::Update(_) => "update",
        }
    }

    /// Whether what is done every so many real steps is due: the run stands between two acts, and the last one reached or
    /// crossed a multiple of them.
    #[must_use]
    pub fn is_due(&self, every: u64) -> bool {
        matches!(self.phase, Phase::Act) && self.clock.is_due(every)
    }
}
