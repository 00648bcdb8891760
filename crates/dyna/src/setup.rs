//! From a configuration to the parts of a run: the lists that it chooses among, and what it chose.

use std::fmt;
use std::sync::Arc;

use foresee_actor_critic::{AgentFactory, AgentKinds};
use foresee_core::Explained;
use foresee_env::{EnvFactory, Environment, Tasks};
use foresee_world_model::{LossKinds, ModelFactory, ModelKinds, ModelLoss};

use crate::config::{Algo, Config};
use crate::control::{ActorController, ControllerFactory};

/// Lanes of a random stream, and more rows than memory holds.
const MOST_ROWS: u128 = 1 << 32;

/// What a program can choose among: what is shipped, and parts of one's own.
///
/// Everything that a config names stands in a list here; a program adds to a list and opens its configs
/// [with it](Config::open_with).
#[derive(Clone)]
pub struct Parts {
    /// `model.loss.kind`
    pub losses: LossKinds,
    /// `model.kind`
    pub models: ModelKinds,
    /// `agent.kind`
    pub agents: AgentKinds,
    /// `env.id`
    pub tasks: Tasks,
    /// The environment, whatever `[env]` says, where it is in no list.
    pub env: Option<EnvFactory>,
    /// Who acts.
    pub controller: ControllerFactory,
}

impl Default for Parts {
    /// All that is shipped.
    fn default() -> Self {
        Self {
            losses: foresee_world_model::loss::shipped(),
            models: foresee_world_model::model::shipped(),
            agents: foresee_actor_critic::agents(),
            tasks: Tasks::default(),
            env: None,
            controller: Arc::new(|| Box::new(ActorController)),
        }
    }
}

/// The factory of a run's model, and the loss that fits the model.
pub type ModelChoice = (Arc<dyn ModelFactory>, Arc<dyn ModelLoss>);

/// A checked configuration with all that it chose, from which a run begins.
pub struct Setup {
    /// The configuration, with the defaults that depend on other keys written out: what a run saves.
    pub config: Config,
    /// The first of its environments.
    pub env: Box<dyn Environment>,
    /// Makes the others.
    pub factory: EnvFactory,
    /// Whether the task is a shipped one: the rule of its ends is then its own code.
    pub shipped: bool,
    /// Makes the agent.
    pub agent: Arc<dyn AgentFactory>,
    /// Makes the model, and fits it, where there is one.
    pub model: Option<ModelChoice>,
    /// Makes the controllers.
    pub controller: ControllerFactory,
}

impl Config {
    /// Checks everything, chooses among what this program ships, and makes the environment.
    ///
    /// # Errors
    /// What is impossible about this configuration: one message, with its hint.
    pub fn open(self) -> Result<Setup, Problem> {
        self.open_with(&Parts::default())
    }

    /// [`Config::open`] with parts of one's own among those to choose from. The environment is made once, which a bridge
    /// does slowly, for the check and for the run.
    ///
    /// # Errors
    /// As [`Config::open`].
    pub fn open_with(mut self, parts: &Parts) -> Result<Setup, Problem> {
        if let Some(problem) = self.problem_beside_env() {
            return Err(problem.into());
        }
        let (agent, keys) = self.agent.choose(&parts.agents)?;
        self.agent.keys = keys;
        if let Some(problem) = self.agent.problem() {
            return Err(problem.into());
        }
        let model = match self.algo {
            Algo::Mbpo => Some(self.open_model(parts)?),
            Algo::ModelFree => {
                // Not used, and still no place for a name that nothing has.
                self.model.loss.keys = self.model.loss.choose(&parts.losses)?.1;
                self.model.own = self.model_parts(parts)?.1;
                None
            }
        };
        let (env, factory) = match &parts.env {
            Some(factory) => (self.env.open_from(factory)?, factory.clone()),
            None => (self.env.open_with(&parts.tasks, self.seed)?, self.env.factory(&parts.tasks, self.seed)),
        };
        let spec = env.spec();
        self.agent.keys.extend(agent.resolved([spec.observation_space.dim(), spec.action_space.dim()]));
        let shipped = parts.env.is_none() && !parts.tasks.is_added(&self.env.id);
        let controller = Arc::clone(&parts.controller);
        Ok(Setup { config: self, env, factory, shipped, agent, model, controller })
    }

    /// The model's factory, and its own keys, which stand one table below its name.
    fn model_parts(&self, parts: &Parts) -> Result<(Arc<dyn ModelFactory>, toml::Table), Problem> {
        let kind = &self.model.kind;
        let known = parts.models.iter().any(|model| model.name() == kind);
        let section: &[&str] = if known { &["model", "own"] } else { &["model"] };
        Ok(parts.models.choose(section, &[], kind, &self.model.own)?)
    }

    /// The loss and the model in force, their keys written out.
    fn open_model(&mut self, parts: &Parts) -> Result<ModelChoice, Problem> {
        let (loss, keys) = self.model.loss.choose(&parts.losses)?;
        self.model.loss.keys = keys;
        if let Some(problem) = self.model.problem(&*loss).or_else(|| self.rollout.problem()) {
            return Err(problem.into());
        }
        self.model.head = Some(self.model.head(&*loss));
        let (model, own) = self.model_parts(parts)?;
        self.model.own = own;
        let (t, fit_every) = (&self.training, self.model.fit.every);
        let starts = self.rollout.starts_per_step as u128 * u128::from(fit_every);
        let calls = u128::from(t.epoch_length.div_ceil(fit_every));
        let longest = self.rollout.horizon.ends().into_iter().fold(1.0, f64::max) as u128;
        let rows = starts.saturating_mul(calls * longest).saturating_mul(self.rollout.retain as u128);
        if rows >= MOST_ROWS {
            return Err(format!(
                "the imagined buffer would hold {rows} rows\nhint: fewer than {MOST_ROWS}; lower `rollout.starts_per_step`, `rollout.horizon` or `rollout.retain`"
            )
            .into());
        }
        Ok((model, loss))
    }
}

/// A fault of a configuration: the message, with its hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key that is to blame, where one is.
    pub keys: Vec<String>,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl From<String> for Problem {
    /// The key to blame is the one that the message begins with, in backticks.
    fn from(message: String) -> Self {
        let first = message.strip_prefix('`').and_then(|rest| rest.split_once('`')).map_or("", |(key, _)| key);
        let is_key = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
        let keys = if first.chars().all(is_key) { first } else { "" };
        Self { keys: keys.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect(), message }
    }
}

impl From<Explained> for Problem {
    fn from(explained: Explained) -> Self {
        Self { message: explained.to_string(), keys: explained.keys }
    }
}
