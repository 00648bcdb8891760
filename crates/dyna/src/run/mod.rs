//! A run: the Dyna loop as a state machine whose every slice can be followed by a checkpoint.
//!
//! One real step of each of the `env.count` environments passes through the phases
//!
//! act → (every `model.fit.every` steps) fit → imagine → update → clocks → act
//!
//! and [`Run::advance`] does one slice of at most about a second: one act, some gradient steps of the model, one
//! imagined step of all rollouts, some updates of the agent. (The action that a fit follows also begins it: what the
//! loss asks of the agent about all real rows is computed in that slice.) Between slices the run is a plain [`RunState`]
//! ([`Run::snapshot`], [`Run::restore`]); a run that is cut there and restored goes on bit for bit.
//!
//! Every environment's step is a real step of its own. What is done at a multiple of some steps is done where several at
//! once reach or cross it. Environment `i` has lane `i` of the streams `env/reset`, `policy/explore` and `policy/act`,
//! whose step is its own step count: what it is and does does not depend on how many there are, while nothing is learned.
//!
//! Nothing is trained before `training.explore_steps` real steps are over. With `algo = "sac"` the phases fit and
//! imagine never come.

mod act;
mod ends;
mod error;
mod evaluation;
mod report;
mod state;

pub use error::RunError;
pub use state::RunState;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foresee_actor_critic::{AgentValues, Sac};
use foresee_core::{Batch, Stream};
use foresee_env::{Autoreset, EnvError, Spec, VectorEnvironment};
use foresee_world_model::config::{Heads, LossConfig};
use foresee_world_model::{Fit, Trainer};

use crate::config::{Algo, Config, Opened};
use crate::evaluate::Evaluator;
use crate::metrics;
use crate::record::Record;
use crate::replay::{self, ImaginedBuffer, RealBuffer};
use crate::rollout::{Imagination, Rollout};
use crate::schedule::reached;

/// Agent updates in one slice.
const UPDATES_A_SLICE: u64 = 50;

/// Where in a real step the run is.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a run")]
enum Phase {
    /// The next slice takes a real step in every environment.
    Act,
    /// The model is being fitted.
    Fit(Box<Fit>),
    /// Rollouts are under way.
    Imagine(Rollout),
    /// So many of this step's agent updates are done.
    Update(u64),
}

/// Counts since the beginning of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    env_step: u64,
    episodes: u64,
    fits: u64,
    imagined_steps: u64,
    /// Real transitions that ended, or not, against the rule for imagined ones.
    mismatches: u64,
}

/// The episode under way in one environment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Episode {
    obs: Vec<f32>,
    reward_sum: f64,
    length: u64,
}

/// What an agent update reads in host memory: buffers, filled anew for each.
#[derive(Clone, Debug, Default)]
struct UpdateInput {
    batch: Batch,
    noise_next: Vec<f32>,
    noise: Vec<f32>,
}

/// A live run.
pub struct Run {
    config: Config,
    device: Device,
    envs: VectorEnvironment,
    agent: Sac,
    model: Option<Trainer>,
    real: RealBuffer,
    imagined: ImaginedBuffer,
    input: UpdateInput,
    phase: Phase,
    counters: Counters,
    /// One an environment.
    episodes: Vec<Episode>,
    evaluator: Evaluator,
    last_eval: Option<f64>,
    best_eval: Option<f64>,
    /// Why environments began a new episode when the run was resumed.
    lost: Vec<EnvError>,
    stop: Arc<AtomicBool>,
}

impl Run {
    /// A fresh run, its environments reset.
    ///
    /// # Errors
    /// If the configuration is impossible, the device cannot be had, or an environment fails.
    pub fn new(config: &Config) -> Result<Self, RunError> {
        Self::begin(config.clone().open().map_err(RunError::Config)?)
    }

    /// The same from a configuration that was checked.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub fn begin(opened: Opened) -> Result<Self, RunError> {
        let mut run = Self::prepare(opened)?;
        let seeds = run.envs.seeds(Stream::new(run.config.seed, "env/reset"));
        let resets = run.envs.reset(&seeds).map_err(|error| RunError::Env { env_step: 0, error })?;
        run.episodes = resets.into_iter().map(|reset| Episode::from(reset.obs)).collect();
        Ok(run)
    }

    /// Everything but the first resets.
    fn prepare(Opened { config, env }: Opened) -> Result<Self, RunError> {
        let device = config.device.open()?;
        let envs =
            VectorEnvironment::beside(env, config.env.count, Autoreset::SameStep, || config.env.make(config.seed))
                .map_err(|error| RunError::Env { env_step: 0, error })?;
        let spec = envs.spec();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        let capacity = match config.algo {
            Algo::Mbpo => config.rollout.capacity(0, config.model.fit.every, config.training.epoch_length),
            // Nothing is imagined, and nobody has checked `[model]` and `[rollout]`.
            Algo::Sac => 0,
        };
        Ok(Self {
            agent: Sac::new(&config.agent, dims, config.seed, &device),
            model: (config.algo == Algo::Mbpo).then(|| Trainer::new(&config.model, dims, config.seed, &device)),
            real: RealBuffer::new(dims, &device),
            imagined: ImaginedBuffer::on(capacity, dims, &device),
            input: UpdateInput::default(),
            phase: Phase::Act,
            counters: Counters::default(),
            episodes: Vec::new(),
            evaluator: Evaluator::new(config.env.clone(), config.seed, Evaluator::most(spec.work, &config.env)),
            last_eval: None,
            best_eval: None,
            lost: Vec::new(),
            stop: Arc::default(),
            config,
            device,
            envs,
        })
    }

    /// Whether the run has taken all its real steps and finished what follows the last one.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Act) && self.counters.env_step >= self.config.training.env_steps
    }

    /// Does one slice; reports are appended to `records`.
    ///
    /// # Errors
    /// If the environment fails or training diverged.
    pub fn advance(&mut self, records: &mut Vec<Record>) -> Result<(), RunError> {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Act) {
            Phase::Act => self.act(records)?,
            Phase::Fit(fit) => self.fit(fit, records)?,
            Phase::Imagine(rollout) => self.imagine(rollout, records),
            Phase::Update(done) => self.update(done, records)?,
        };
        Ok(())
    }

    /// Some gradient steps of the model.
    fn fit(&mut self, mut fit: Box<Fit>, records: &mut Vec<Record>) -> Result<Phase, RunError> {
        let env_step = self.counters.env_step;
        let model = self.model.as_mut().expect("a fit has a model");
        let view = value_view(&self.agent, &self.config.model.loss);
        let Some(report) = model.advance(&mut fit, &view).map_err(|error| RunError::Model { env_step, error })? else {
            return Ok(Phase::Fit(fit));
        };
        let mut values = vec![
            (metrics::MODEL_TRAIN_LOSS, report.train_loss),
            (metrics::MODEL_HOLDOUT_SCORE, report.holdout_score),
            (metrics::MODEL_HOLDOUT_MSE, report.holdout_mse),
            (metrics::MODEL_STEPS, report.steps as f64),
            (metrics::MODEL_EPOCHS, f64::from(report.epochs)),
        ];
        values.extend(report.value_gradient_norm.map(|norm| (metrics::VALUE_GRADIENT_NORM, norm)));
        let distractors = self.config.env.distractors;
        if distractors > 0 {
            values.extend(report::holdout_mse_apart(&model.holdout_mse_by_channel(&fit), distractors));
        }
        records.push(Record { env_step, values });

        let Config { rollout, training, model, seed, .. } = &self.config;
        self.imagined.resize(rollout.capacity(env_step, model.fit.every, training.epoch_length));
        let starts = rollout.starts_per_step * model.fit.every as usize;
        let horizon = rollout.horizon.floor(env_step);
        let call = self.counters.fits;
        self.counters.fits += 1;
        Ok(Phase::Imagine(Rollout::new(self.real.rows(), starts, horizon, *seed, call)))
    }

    /// One imagined step of all rollouts; on a GPU, all of them.
    fn imagine(&mut self, mut rollout: Rollout, records: &mut Vec<Record>) -> Phase {
        let imagination = Imagination {
            ensemble: &self.model.as_ref().expect("a rollout has a model").ensemble,
            policy: self.agent.policy(),
            termination: &self.envs.spec().termination.clone().unwrap_or_default(),
            seed: self.config.seed,
            device: &self.device,
            measures: &[],
        };
        let before = rollout.transitions();
        let over = rollout.complete(&imagination, &self.real, &mut self.imagined)
            || rollout.advance(&imagination, &mut self.imagined);
        self.counters.imagined_steps += rollout.transitions() - before;
        if !over {
            return Phase::Imagine(rollout);
        }
        let env_step = self.counters.env_step;
        let values = vec![
            (metrics::IMAGINED_HORIZON, rollout.horizon() as f64),
            (metrics::IMAGINED_REWARD, rollout.mean_reward()),
            (metrics::IMAGINED_TERMINATED, rollout.terminated_share()),
            (metrics::IMAGINED_ROWS, self.imagined.len() as f64),
            (metrics::REAL_RATIO, self.config.rollout.real_ratio.at(env_step)),
            (metrics::IMAGINED_STEPS, self.counters.imagined_steps as f64),
        ];
        records.push(Record { env_step, values });
        Phase::Update(0)
    }

    /// Some updates of the agent; after the last one, what the clocks ask for.
    fn update(&mut self, done: u64, records: &mut Vec<Record>) -> Result<Phase, RunError> {
        let Config { training, agent, rollout, seed, .. } = &self.config;
        let env_step = self.counters.env_step;
        // Of the steps just taken side by side, those from the end of the exploration on.
        let trained = self.count().min((env_step + 1).saturating_sub(training.explore_steps));
        let total = trained * training.updates_per_step;
        let end = total.min(done + UPDATES_A_SLICE);
        let action_dim = self.action_dim();
        let mut last = None;
        for _ in done..end {
            let update = self.agent.updates();
            let shares = replay::shares(agent.batch, rollout.real_ratio.at(env_step), self.imagined.len());
            let drawn = replay::draw(&self.real, &self.imagined, shares, [*seed, update]);
            last = Some(match drawn {
                Some((batch, [noise_next, noise])) => self.agent.update_rows(&batch, noise_next, noise),
                None => {
                    let UpdateInput { batch, noise_next, noise } = &mut self.input;
                    replay::mix(&self.real, &self.imagined, shares, [*seed, update], batch);
                    for (name, normals) in replay::NOISE.into_iter().zip([&mut *noise_next, &mut *noise]) {
                        Stream::new(*seed, name).normals_into(update, agent.batch, action_dim, normals);
                    }
                    self.agent.update_batch(batch, noise_next, noise)
                }
            });
        }
        if end < total {
            return Ok(Phase::Update(end));
        }
        if let Some(last) = last
            && self.reached(self.config.training.log_every)
        {
            records.push(self.training_record(last)?);
        }
        if self.reached(self.config.training.eval_every) || env_step == self.config.training.env_steps {
            // An evaluation that was stopped is begun anew, from here.
            return Ok(if self.evaluate_now(records)? { Phase::Act } else { Phase::Update(total) });
        }
        Ok(Phase::Act)
    }

    fn action_dim(&self) -> usize {
        self.spec().action_space.dim()
    }

    /// Entries of observations and actions, `[O, A]`.
    fn dims(&self) -> [usize; 2] {
        [self.spec().observation_space.dim(), self.action_dim()]
    }

    /// Environments side by side.
    fn count(&self) -> u64 {
        self.envs.count() as u64
    }

    /// Whether the last real steps, one of every environment, reached or crossed a multiple of `every`.
    fn reached(&self, every: u64) -> bool {
        reached(every, self.counters.env_step, self.count())
    }

    /// What its environments say of themselves.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        self.envs.spec()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Why environments could not be brought back when the run was resumed, and began a new episode.
    #[must_use]
    pub fn lost(&self) -> &[EnvError] {
        &self.lost
    }

    /// Real steps taken.
    #[must_use]
    pub fn env_step(&self) -> u64 {
        self.counters.env_step
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
            Phase::Fit(_) => "fit model",
            Phase::Imagine(_) => "imagine",
            Phase::Update(_) => "update",
        }
    }

    /// Whether a clock of so many real steps rings: the run stands between two acts, and the last one reached or crossed a
    /// multiple of them.
    #[must_use]
    pub fn rings(&self, every: u64) -> bool {
        matches!(self.phase, Phase::Act) && self.reached(every)
    }
}

/// The agent's values as the loss asks for them.
fn value_view<'a>(agent: &'a Sac, loss: &LossConfig) -> AgentValues<'a> {
    let heads = match loss.heads {
        Heads::All => agent.values(),
        Heads::Target => agent.target_values(),
    };
    heads.through_policy(loss.through_policy)
}
