//! From a configuration to the parts of a run: the lists that it chooses among, and what it chose.

use std::fmt;
use std::sync::Arc;

use burn::tensor::Device;
use foresee_actor_critic::{AgentFactory, AgentKinds};
use foresee_core::Explained;
use foresee_env::{EnvFactory, Environment, Tasks};
use foresee_nn::device::largest_buffer;
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

impl Setup {
    /// That no buffer of the run outgrows the largest that the kernels of `device` can be given, up to the last step of
    /// the schedules. Buffers stay below it there, or the run would end in its middle.
    ///
    /// # Errors
    /// The first buffer that does not fit, with the key to lower.
    pub fn fits(&self, device: &Device) -> Result<(), Problem> {
        let Some(largest) = largest_buffer(device) else { return Ok(()) };
        let spec = self.env.spec();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        self.config.outgrows(dims, largest).map_or(Ok(()), |problem| Err(problem.into()))
    }
}

impl Config {
    /// What is wrong where kernels take buffers of at most `largest` bytes, for observations and actions of `[O, A]`
    /// entries.
    fn outgrows(&self, [obs_dim, action_dim]: [usize; 2], largest: u64) -> Option<String> {
        let (t, r, every) = (&self.training, &self.rollout, self.model.fit.every);
        let numbers = largest as usize / size_of::<f32>();
        let bound = format!("`device={}` takes at most {} an array", self.device, megabytes(numbers));

        // The mirror of the real rows doubles; a fit has arrays of its inputs and targets.
        let (width, real) = (obs_dim.max(action_dim), t.env_steps as usize);
        let of_fit = if self.algo == Algo::ModelFree { width } else { obs_dim + action_dim.max(1) };
        let mirrored = (numbers / width).checked_ilog2().map_or(0, |power| 1_usize << power);
        let most_real = mirrored.min(numbers / of_fit);
        if real > most_real {
            let mirror = real.checked_next_power_of_two().unwrap_or(usize::MAX).saturating_mul(width);
            return Some(format!(
                "`training.env_steps` is {}: the real transitions come to {} an array, and {bound}\nhint: at most {most_real} steps there, or `device=cpu`",
                t.env_steps,
                megabytes(mirror.max(real.saturating_mul(of_fit))),
            ));
        }
        if self.algo == Algo::ModelFree {
            return None;
        }
        if self.algo == Algo::Dhmbpo {
            let most = numbers / width;
            let pool = self.double_horizon.pool;
            return (pool > most).then(|| {
                format!(
                    "`double_horizon.pool` is {pool}: that is {} an array, and {bound}\nhint: at most {most} states there, or `device=cpu`",
                    megabytes(pool.saturating_mul(width)),
                )
            });
        }
        let capacity = |step| r.capacity(step, every, t.epoch_length);
        let (first, last) = (capacity(0), capacity(t.env_steps));
        let rows = first.max(last);
        if rows.saturating_mul(width) > numbers {
            let per_start = rows / r.starts_per_step;
            let starts = numbers / width / per_start.max(1);
            let fewer = match starts {
                0 => "lower `rollout.horizon` or `rollout.retain`".into(),
                starts => format!("at most {starts} there, or lower `rollout.horizon` or `rollout.retain`"),
            };
            return Some(format!(
                "`rollout.starts_per_step` is {}: the imagined transitions come to {rows} rows, {} an array, and {bound}\nhint: {fewer}, or `device=cpu`",
                r.starts_per_step,
                megabytes(rows * width),
            ));
        }
        // A call has its states, and a number a transition.
        let [from, to] = [0, t.env_steps].map(|step| r.horizon.floor(step));
        let starts = r.starts_per_step * every as usize;
        let of_start = obs_dim.max(from).max(to).max(2);
        (starts.saturating_mul(of_start) > numbers).then(|| {
            format!(
                "`rollout.starts_per_step` is {}: a call of rollouts has an array of {}, and {bound}\nhint: at most {} there, or `device=cpu`",
                r.starts_per_step,
                megabytes(starts * of_start),
                numbers / of_start / every as usize,
            )
        })
    }

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
        self = self.with_defaults_of_algo();
        if let Some(problem) = self.problem_beside_env() {
            return Err(problem.into());
        }
        let (agent, keys) = self.agent.choose(&parts.agents)?;
        self.agent.keys = keys;
        if let Some(problem) = self.agent.problem() {
            return Err(problem.into());
        }
        if let Some(problem) = self.problem_of_agent(&*agent) {
            return Err(problem.into());
        }
        let model = match self.algo {
            Algo::Mbpo | Algo::Dhmbpo => Some(self.open_model(parts)?),
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

    /// What does not go together of the algorithm and the agent.
    fn problem_of_agent(&self, agent: &dyn AgentFactory) -> Option<String> {
        let kind = self.agent.kind();
        match self.algo {
            Algo::ModelFree if agent.needs_model() => Some(format!(
                "`agent.kind` is `{kind}`, which learns through a model, and `algo` is `model_free`\nhint: `algo = \"dhmbpo\"`, or another agent"
            )),
            Algo::Dhmbpo if !agent.needs_model() => Some(format!(
                "`agent.kind` is `{kind}`, which does not learn through a model, and `algo` is `dhmbpo`\nhint: `agent.kind = \"dhmbpo\"`, or another algorithm"
            )),
            _ => None,
        }
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
        let of_rollouts = || match self.algo {
            Algo::Dhmbpo => self.double_horizon.problem(),
            _ => self.rollout.problem(),
        };
        if let Some(problem) = self.model.problem(&*loss).or_else(of_rollouts) {
            return Err(problem.into());
        }
        self.model.head = Some(self.model.head(&*loss));
        let (model, own) = self.model_parts(parts)?;
        self.model.own = own;
        if self.algo == Algo::Dhmbpo {
            return Ok((model, loss));
        }
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

/// So many f32 numbers in megabytes.
fn megabytes(numbers: usize) -> String {
    format!("{:.0} MB", numbers as f64 * 4e-6)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The published configuration of Humanoid: `[O, A]` and text.
    const HUMANOID: ([usize; 2], &str) = ([45, 17], include_str!("../../../configs/mujoco/humanoid.toml"));
    /// What wgpu lets a kernel be given at most.
    const LARGEST: u64 = i32::MAX as u64;

    #[test]
    fn a_buffer_that_outgrows_the_device_is_found_and_the_number_that_fits_does_fit() {
        let (dims, text) = HUMANOID;
        let config: Config = toml::from_str(text).unwrap();
        let message = config.outgrows(dims, LARGEST).expect("9 GB are too many");
        let start =
            "`rollout.starts_per_step` is 400: the imagined transitions come to 50000000 rows, 9000 MB an array, and";
        assert!(message.starts_with(start), "{message}");
        let fits: usize = message.split("at most ").last().unwrap().split(' ').next().unwrap().parse().unwrap();
        let with = |starts| {
            let mut config = config.clone();
            config.rollout.starts_per_step = starts;
            config.outgrows(dims, LARGEST)
        };
        assert_eq!((with(fits), with(fits + 1).is_some()), (None, true), "{fits} starts");
        assert_eq!(Problem::from(message).keys, ["rollout", "starts_per_step"]);
    }

    #[test]
    fn a_horizon_that_shrinks_is_measured_where_it_is_longest() {
        let mut config: Config = toml::from_str(HUMANOID.1).unwrap();
        config.rollout.horizon = crate::schedule::Schedule::Linear([25.0, 1.0, 20_000.0, 300_000.0]);
        assert!(config.outgrows(HUMANOID.0, LARGEST).is_some());
        config.rollout.horizon = crate::schedule::Schedule::Linear([1.0, 25.0, 400_000.0, 500_000.0]);
        assert_eq!(config.outgrows(HUMANOID.0, LARGEST), None, "the run ends before the horizon grows");
    }

    #[test]
    fn real_rows_and_a_calls_own_arrays_are_bounded_too() {
        let mut config: Config = toml::from_str(HUMANOID.1).unwrap();
        config.algo = Algo::ModelFree;
        assert_eq!(config.outgrows(HUMANOID.0, LARGEST), None);
        config.training.env_steps = 20_000_000;
        let message = config.outgrows(HUMANOID.0, LARGEST).expect("a mirror of 33554432 rows");
        assert!(message.contains("6040 MB an array") && message.contains("at most 8388608 steps there"), "{message}");
        config.training.env_steps = 8_388_608;
        assert_eq!(config.outgrows(HUMANOID.0, LARGEST), None);

        let mut config: Config = toml::from_str(HUMANOID.1).unwrap();
        (config.rollout.horizon, config.rollout.retain) = (crate::schedule::Schedule::Constant(1.0), 1);
        config.rollout.starts_per_step = 500_000;
        assert!(config.outgrows(HUMANOID.0, LARGEST).is_some());
    }
}
