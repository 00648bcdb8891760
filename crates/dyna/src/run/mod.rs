//! A run: the Dyna loop as a state machine. A checkpoint can follow every slice.
//!
//! One real step of each of the `env.count` environments passes through the phases
//!
//! act → (every `model.fit.every` steps) fit → imagine → update → periodic jobs that are due → act
//!
//! [`Run::advance`] does one slice of at most about a second: one act, some gradient steps of the model, one imagined
//! step of all rollouts, or some updates of the agent. The slice of an act that a fit follows also begins the fit: it
//! computes the values of the agent that the loss needs at all real rows. Between slices the run is a plain
//! [`RunState`] ([`Run::snapshot`], [`Run::restore`]). A run that is cut there and restored continues bit for bit.
//!
//! A step of any one environment counts as a real step. A periodic job, such as an evaluation, is due when the steps
//! taken together reach or cross a multiple of its period. Environment `i` has substream `i` of the streams
//! `env/reset`, `policy/explore` and `policy/act`; the step of their addresses is the environment's own step count.
//! Before learning starts, a trajectory is therefore independent of `env.count`.
//!
//! No training happens before `training.explore_steps` real steps are done. With `algo = "model_free"` the phases fit
//! and imagine never occur.
//!
//! The run joins parts that do not depend on each other: an agent, a world model, a controller and a source of
//! experience. The parts, and the form in which each computes, are chosen once, before the first slice.

mod act;
mod clock;
mod diagnosis;
mod error;
mod evaluation;
mod experience;
mod learn;
mod live;
mod report;
mod state;
mod terminations;

pub use error::RunError;
pub use state::RunState;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foresee_actor_critic::Agent;
use foresee_core::Termination;
use foresee_env::{Autoreset, EnvError, Spec, VectorEnvironment};
use foresee_nn::device::{DeviceFailure, guarded};
use foresee_world_model::config::TerminationSource;
use foresee_world_model::{ModelRequest, WorldModel};

use self::clock::Clock;
use self::experience::Experience;
use self::live::Live;
use self::terminations::Ends;
use crate::config::Config;
use crate::control::{Controller, ControllerFactory, Knowledge};
use crate::ends::{EndRule, LearnedEnds};
use crate::evaluate::{Episodes, Evaluator};
use crate::record::Record;
use crate::replay::Replay;
use crate::rollout::{self, Rollout};
use crate::setup::Setup;

/// The phase of the loop that the run is in.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a run")]
enum Phase {
    /// The next slice takes a real step in every environment.
    Act,
    /// The model is being fitted.
    Fit,
    /// Rollouts are in progress. `gathered` is the number of imagined transitions of earlier rollouts in this call;
    /// `done` is the number of agent updates already made after the current real step.
    Imagine { rollout: Rollout, gathered: u64, done: u64 },
    /// The agent is being updated; holds the number of updates already made after the current real step.
    Update(u64),
}

/// Counts since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    episodes: u64,
    fits: u64,
    /// Number of calls of rollouts; with `mbpo` there is one per fit.
    rollouts: u64,
    imagined_steps: u64,
    /// Number of real transitions whose termination differs from the rule for imagined transitions.
    mismatches: u64,
    /// Ends of the task and of the rule for imagined transitions. A run of an older version counted none.
    ends: Ends,
}

impl Counters {
    /// Returns the model if it was fitted at least once.
    fn fitted<'a>(&self, model: Option<&'a dyn WorldModel>) -> Option<&'a dyn WorldModel> {
        model.filter(|_| self.fits > 0)
    }
}

/// A run of the training loop.
pub struct Run {
    config: Config,
    device: Device,
    experience: Box<dyn Experience>,
    clock: Clock,
    agent: Box<dyn Agent>,
    model: Option<Box<dyn WorldModel>>,
    /// The form in which rollouts are computed.
    rollouts: rollout::Form,
    controller: Box<dyn Controller>,
    replay: Replay,
    /// The task's termination rule.
    termination: Termination,
    /// The classifier that ends imagined episodes in place of the rule, with `model.termination = "learned"`.
    ends: Option<LearnedEnds>,
    /// Whether real terminations are compared with the rule.
    checks_terminations: bool,
    phase: Phase,
    counters: Counters,
    evaluator: Evaluator,
    /// The evaluation in progress, with its controller. Not part of the saved state: a restored run starts it again.
    evaluation: Option<(Episodes, Box<dyn Controller>)>,
    /// Factory of the controllers for evaluations.
    controllers: ControllerFactory,
    last_eval: Option<f64>,
    best_eval: Option<f64>,
    stop: Arc<AtomicBool>,
}

/// Opens the setup's device and calls `work` with it, before there is a run. A device failure becomes an error.
fn on_device<R>(setup: Setup, work: impl FnOnce(Setup, Device) -> Result<R, RunError>) -> Result<R, RunError> {
    let choice = setup.config.device;
    let device = choice.open()?;
    guarded(&device, || work(setup, device.clone()))
        .unwrap_or_else(|failure| Err(RunError::DeviceFailed { env_step: 0, device: choice, failure }))
}

/// Returns an untrained classifier of ends, if the configuration of a run with a model asks for one.
fn learned_ends(config: &Config, dims: [usize; 2], device: &Device) -> Option<LearnedEnds> {
    let learned = config.model.termination == TerminationSource::Learned;
    learned.then(|| LearnedEnds::new(dims, config.model.fit.holdout, config.seed, device))
}

impl Run {
    /// Begins a run with the shipped parts, and resets its environments.
    ///
    /// # Errors
    /// If the configuration is impossible, the device is unavailable, or an environment fails.
    pub fn new(config: &Config) -> Result<Self, RunError> {
        Self::begin(config.clone().open()?)
    }

    /// Begins a run of a checked configuration, with the parts that it chose, and resets its environments.
    ///
    /// # Errors
    /// If the configuration does not fit the device, the device is unavailable, or an environment fails.
    pub fn begin(setup: Setup) -> Result<Self, RunError> {
        let seed = setup.config.seed;
        on_device(setup, |setup, device| {
            let mut run = Self::prepare_with(setup, device, |live| live.reset(seed))?;
            (0..run.clock.turn as usize).for_each(|env| run.controller.begin(env));
            Ok(run)
        })
    }

    /// Prepares a run without resetting its environments.
    fn prepare(setup: Setup, device: Device) -> Result<Self, RunError> {
        Self::prepare_with(setup, device, |_| Ok(()))
    }

    fn prepare_with(
        setup: Setup,
        device: Device,
        begin: impl FnOnce(&mut Live) -> Result<(), RunError>,
    ) -> Result<Self, RunError> {
        setup.check_buffers(&device)?;
        let Setup { config, env, factory, shipped, agent, model, controller } = setup;
        let envs = VectorEnvironment::with_first(env, &factory, config.env.count, Autoreset::SameStep)
            .map_err(|error| RunError::Env { env_step: 0, error })?;
        let spec = envs.spec();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        let evaluator = Evaluator::new(factory, config.seed, Evaluator::max_environments(spec.work, config.env.count));
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
        let ends = model.as_ref().and_then(|_| learned_ends(&config, dims, &device));
        let rollouts = match &model {
            Some(model) => {
                let rule = EndRule::of(ends.as_ref(), &termination);
                rollout::Form::fastest(&**model, agent.actor(), rule, &device)
            }
            None => rollout::Form::Tensors,
        };
        let checks_terminations = ends.is_none() && terminations::is_checked(spec, shipped);
        let mut live = Live::new(envs, checks_terminations);
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
            ends,
            checks_terminations,
            phase: Phase::Act,
            counters: Counters::default(),
            evaluator,
            evaluation: None,
            last_eval: None,
            best_eval: None,
            stop: Arc::default(),
            config,
            device,
        })
    }

    /// Whether the run has taken all its real steps and finished the work after the last one.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Act) && self.clock.now >= self.config.training.env_steps
    }

    /// Does one slice of work, and appends its reports to `records`.
    ///
    /// # Errors
    /// If the environment fails, training diverges, or the device fails. If the environment is at fault
    /// ([`RunError::keeps_run`]), the run can be saved: it is then as before the slice, or at the point of the slice at
    /// which it continues, and `records` belong to it. After a device failure the run must be dropped.
    pub fn advance(&mut self, records: &mut Vec<Record>) -> Result<(), RunError> {
        let device = self.device.clone();
        guarded(&device, || self.slice(records)).unwrap_or_else(|failure| Err(self.failed(failure)))
    }

    /// Wraps a failure of the run's device.
    fn failed(&self, failure: DeviceFailure) -> RunError {
        RunError::DeviceFailed { env_step: self.clock.now, device: self.config.device, failure }
    }

    fn slice(&mut self, records: &mut Vec<Record>) -> Result<(), RunError> {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Act) {
            Phase::Act => self.act(records)?,
            Phase::Fit => self.fit(records)?,
            Phase::Imagine { rollout, gathered, done } => self.imagine(rollout, gathered, done, records)?,
            Phase::Update(done) => self.update(done, records)?,
        };
        Ok(())
    }

    /// Number of entries of observations and actions, `[O, A]`.
    fn dims(&self) -> [usize; 2] {
        [self.spec().observation_space.dim(), self.spec().action_space.dim()]
    }

    /// The task's spec.
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

    /// What ends imagined episodes.
    #[must_use]
    pub fn end_rule(&self) -> EndRule<'_> {
        EndRule::of(self.ends.as_ref(), &self.termination)
    }

    /// The world model, if there is one.
    #[must_use]
    pub fn model(&self) -> Option<&dyn WorldModel> {
        self.model.as_deref()
    }

    /// The buffers of real and imagined transitions.
    #[must_use]
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// The errors of environments that could not be restored when the run was resumed, and began a new episode instead.
    #[must_use]
    pub fn lost(&self) -> &[EnvError] {
        self.experience.lost()
    }

    /// Returns the message about a termination rule that most real ends so far contradict, if they do. Ends that came
    /// before a resume by an older version are not counted.
    #[must_use]
    pub fn contradicted_rule(&self) -> Option<String> {
        self.counters.ends.warning(self.spec())
    }

    /// Number of real steps taken.
    #[must_use]
    pub fn env_step(&self) -> u64 {
        self.clock.now
    }

    /// Number of real episodes finished.
    #[must_use]
    pub fn episodes(&self) -> u64 {
        self.counters.episodes
    }

    /// Number of imagined transitions so far.
    #[must_use]
    pub fn imagined_steps(&self) -> u64 {
        self.counters.imagined_steps
    }

    /// Mean returns of the last and of the best evaluation.
    #[must_use]
    pub fn evaluations(&self) -> [Option<f64>; 2] {
        [self.last_eval, self.best_eval]
    }

    /// A word for the phase of the next slice. The first slice of an evaluation begins after the last updates.
    #[must_use]
    pub fn phase(&self) -> &'static str {
        match self.phase {
            _ if self.evaluation.is_some() => "evaluate",
            Phase::Act => "act",
            Phase::Fit => "fit model",
            Phase::Imagine { .. } => "imagine",
            Phase::Update(_) => "update",
        }
    }

    /// Whether a periodic job with period `every` is due: the run is between two acts, and the last act reached or
    /// crossed a multiple of `every` real steps.
    #[must_use]
    pub fn is_due(&self, every: u64) -> bool {
        matches!(self.phase, Phase::Act) && self.clock.is_due(every)
    }
}
