//! From a configuration to the parts of a run: the lists of parts that a config can choose, and the chosen parts.

use std::fmt;
use std::sync::Arc;

use burn::tensor::Device;
use foresee_actor_critic::{AgentFactory, AgentKinds};
use foresee_core::Explained;
use foresee_env::{EnvFactory, Environment, Tasks};
use foresee_nn::device::largest_buffer;
use foresee_world_model::config::TerminationSource;
use foresee_world_model::{LossKinds, ModelFactory, ModelKinds, ModelLoss};

use crate::config::{Algo, Config};
use crate::control::{ActorController, ControllerFactory};

/// Limit on the rows of a buffer. A random stream has as many substreams, and memory holds fewer rows.
const MAX_ROWS: u128 = 1 << 32;

/// The parts that a config can choose: the shipped ones, and those that a program adds.
///
/// Every part that a config names is in a list here. A program adds its own parts to a list, and opens its configs
/// [with it](Config::open_with).
#[derive(Clone)]
pub struct Parts {
    /// Losses, chosen by `model.loss.kind`.
    pub losses: LossKinds,
    /// Models, chosen by `model.kind`.
    pub models: ModelKinds,
    /// Agents, chosen by `agent.kind`.
    pub agents: AgentKinds,
    /// Tasks, chosen by `env.id`.
    pub tasks: Tasks,
    /// Factory of an environment that is in no list. If it is given, only the id and the count are taken from `[env]`.
    pub env: Option<EnvFactory>,
    /// Factory of the controllers.
    pub controller: ControllerFactory,
}

impl Default for Parts {
    /// All shipped parts.
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

/// A checked configuration with its chosen parts, from which a run begins.
pub struct Setup {
    /// The configuration to be saved, with absolute paths and with the defaults that depend on other keys written out.
    pub config: Config,
    /// The first of the run's environments.
    pub env: Box<dyn Environment>,
    /// Factory of the other environments.
    pub factory: EnvFactory,
    /// Whether the task is shipped. Its termination rule is then the task's own code.
    pub shipped: bool,
    /// Factory of the agent.
    pub agent: Arc<dyn AgentFactory>,
    /// Factory of the model, and its loss; `None` without a model.
    pub model: Option<ModelChoice>,
    /// Factory of the controllers.
    pub controller: ControllerFactory,
}

impl Setup {
    /// Checks that no buffer of the run outgrows the largest that the kernels of `device` accept, up to the last step
    /// of the schedules. Otherwise the run would fail half-way.
    ///
    /// # Errors
    /// If a buffer does not fit: names the first one, and the key to lower.
    pub fn check_buffers(&self, device: &Device) -> Result<(), Problem> {
        let Some(largest) = largest_buffer(device) else { return Ok(()) };
        let spec = self.env.spec();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        self.config.problem_of_buffers(dims, largest).map_or(Ok(()), |problem| Err(problem.into()))
    }
}

impl Config {
    /// Returns an error message if a buffer is larger than `largest` bytes, for observations and actions of `[O, A]`
    /// entries.
    fn problem_of_buffers(&self, [obs_dim, action_dim]: [usize; 2], largest: u64) -> Option<String> {
        let (t, r, every) = (&self.training, &self.rollout, self.model.fit.every);
        let numbers = largest as usize / size_of::<f32>();
        let refused = |key: &str, value: u64, most: usize, rows: &str, array: usize, hint: &str| {
            let (allowed, lower) = if most > 0 {
                (format!("it must be at most {most}"), format!("lower it{hint}, or "))
            } else {
                let others = hint.strip_prefix(", ").map(|others| format!("lower {others}, or "));
                ("no value fits".into(), others.unwrap_or_default())
            };
            Some(format!(
                "`{key}` is {value}; {allowed} with `device={}`: {rows} need an array of {}, and the device allows {}\nhint: {lower}use `device=cpu`",
                self.device,
                megabytes(array),
                megabytes(numbers),
            ))
        };

        // The mirror of the real rows doubles when it grows. A fit has arrays of its inputs and targets.
        let (width, real) = (obs_dim.max(action_dim), t.env_steps as usize);
        let of_fit = if self.algo == Algo::ModelFree { width } else { obs_dim + action_dim.max(1) };
        let mirrored = (numbers / width).checked_ilog2().map_or(0, |power| 1_usize << power);
        let max_real = mirrored.min(numbers / of_fit);
        if real > max_real {
            let mirror = real.checked_next_power_of_two().unwrap_or(usize::MAX).saturating_mul(width);
            let array = mirror.max(real.saturating_mul(of_fit));
            return refused("training.env_steps", t.env_steps, max_real, "the real transitions", array, "");
        }
        if self.algo == Algo::ModelFree {
            return None;
        }
        if self.algo == Algo::Dhmbpo {
            let (pool, max_pool) = (self.double_horizon.pool, numbers / width);
            if pool > max_pool {
                let array = pool.saturating_mul(width);
                return refused("double_horizon.pool", pool as u64, max_pool, "the pool's states", array, "");
            }
            return None;
        }
        let capacity = |step| r.capacity(step, every, t.epoch_length);
        let (first, last) = (capacity(0), capacity(t.env_steps));
        let rows = first.max(last);
        if rows.saturating_mul(width) > numbers {
            let per_start = rows / r.starts_per_step;
            let max_starts = numbers / width / per_start.max(1);
            let what = format!("{rows} imagined transitions");
            let others = ", `rollout.horizon` or `rollout.retain_epochs`";
            return refused(
                "rollout.starts_per_step",
                r.starts_per_step as u64,
                max_starts,
                &what,
                rows * width,
                others,
            );
        }
        // A call of rollouts has an array of its states, and arrays with one number per transition.
        let [from, to] = [0, t.env_steps].map(|step| r.horizon.floor(step));
        let starts = r.starts_per_step * every as usize;
        let of_start = obs_dim.max(from).max(to).max(2);
        if starts.saturating_mul(of_start) > numbers {
            let max_starts = numbers / of_start / every as usize;
            let what = "the rollouts of one call";
            let array = starts * of_start;
            return refused("rollout.starts_per_step", r.starts_per_step as u64, max_starts, what, array, "");
        }
        None
    }

    /// Checks everything, chooses among the shipped parts, and makes the environment.
    ///
    /// # Errors
    /// If this configuration is impossible: one message, with its hint.
    pub fn open(self) -> Result<Setup, Problem> {
        self.open_with(&Parts::default())
    }

    /// Checks everything, chooses among `parts`, and makes the environment. A bridge starts slowly, so the environment
    /// is made once, for both the check and the run.
    ///
    /// # Errors
    /// If this configuration is impossible: one message, with its hint.
    pub fn open_with(mut self, parts: &Parts) -> Result<Setup, Problem> {
        self = self.with_defaults_of_algo();
        self.env = self.env.with_absolute_paths();
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
                // The model is not used, but an unknown name or key is still an error.
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

    /// Returns an error message if algorithm and agent are incompatible.
    fn problem_of_agent(&self, agent: &dyn AgentFactory) -> Option<String> {
        let kind = self.agent.kind();
        match self.algo {
            Algo::ModelFree if agent.needs_model() => Some(format!(
                "`agent.kind` is `{kind}`, which needs a model, but `algo` is `model_free`\nhint: set `algo = \"dhmbpo\"`, or choose another agent"
            )),
            Algo::Dhmbpo if !agent.needs_model() => Some(format!(
                "`agent.kind` is `{kind}`, which cannot learn through a model, but `algo` is `dhmbpo`\nhint: leave `agent.kind` out, or set `algo = \"mbpo\"`"
            )),
            _ => None,
        }
    }

    /// Returns the model's factory and its own keys, which are in the table `[model.own]`.
    fn model_parts(&self, parts: &Parts) -> Result<(Arc<dyn ModelFactory>, toml::Table), Problem> {
        let kind = &self.model.kind;
        let known = parts.models.iter().any(|model| model.name() == kind);
        let section: &[&str] = if known { &["model", "own"] } else { &["model"] };
        Ok(parts.models.choose(section, &[], kind, &self.model.own)?)
    }

    /// Chooses the loss and the model, and writes out their keys.
    fn open_model(&mut self, parts: &Parts) -> Result<ModelChoice, Problem> {
        let (loss, keys) = self.model.loss.choose(&parts.losses)?;
        self.model.loss.keys = keys;
        if self.model.termination == TerminationSource::Learned && self.env.termination.is_some() {
            return Err(Problem::from(String::from(
                "`model.termination` is `learned`, but `env.termination` sets a rule\nhint: remove one of the two keys",
            )));
        }
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
        let rows = starts.saturating_mul(calls * longest).saturating_mul(self.rollout.retain_epochs as u128);
        if rows >= MAX_ROWS {
            return Err(format!(
                "the imagined buffer has a capacity of {rows} rows; it must be below {MAX_ROWS}\nhint: lower `rollout.starts_per_step`, `rollout.horizon`, `rollout.retain_epochs`, `training.epoch_length` or `model.fit.every`"
            )
            .into());
        }
        Ok((model, loss))
    }
}

/// Formats the size of `numbers` f32 numbers in megabytes.
fn megabytes(numbers: usize) -> String {
    format!("{:.0} MB", numbers as f64 * 4e-6)
}

/// An error in a configuration: the message, with its hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key at fault; empty if there is none.
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
    /// Takes the key at fault from the beginning of the message, where it is in backticks.
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

    /// The published configuration of Humanoid: `[O, A]`, and its text.
    const HUMANOID: ([usize; 2], &str) = ([45, 17], include_str!("../../../configs/mujoco/humanoid.toml"));
    /// The largest buffer that wgpu accepts for a kernel, in bytes.
    const LARGEST: u64 = i32::MAX as u64;

    #[test]
    fn a_buffer_that_outgrows_the_device_is_found_and_the_number_that_fits_does_fit() {
        let (dims, text) = HUMANOID;
        let config: Config = toml::from_str(text).unwrap();
        let message = config.problem_of_buffers(dims, LARGEST).expect("9 GB are too many");
        let parts = [
            "`rollout.starts_per_step` is 400; it must be at most 95 with `device=",
            "`: 50000000 imagined transitions need an array of 9000 MB, and the device allows 2147 MB\nhint: lower it, ",
        ];
        assert!(message.starts_with(parts[0]) && message.contains(parts[1]), "{message}");
        let fits: usize = message.split("at most ").last().unwrap().split(' ').next().unwrap().parse().unwrap();
        let with = |starts| {
            let mut config = config.clone();
            config.rollout.starts_per_step = starts;
            config.problem_of_buffers(dims, LARGEST)
        };
        assert_eq!((with(fits), with(fits + 1).is_some()), (None, true), "{fits} starts");
        assert_eq!(Problem::from(message).keys, ["rollout", "starts_per_step"]);
    }

    #[test]
    fn a_horizon_that_shrinks_is_measured_where_it_is_longest() {
        let mut config: Config = toml::from_str(HUMANOID.1).unwrap();
        config.rollout.horizon = crate::schedule::Schedule::Linear([25.0, 1.0, 20_000.0, 300_000.0]);
        assert!(config.problem_of_buffers(HUMANOID.0, LARGEST).is_some());
        config.rollout.horizon = crate::schedule::Schedule::Linear([1.0, 25.0, 400_000.0, 500_000.0]);
        assert_eq!(config.problem_of_buffers(HUMANOID.0, LARGEST), None, "the run ends before the horizon grows");
    }

    #[test]
    fn real_rows_and_a_calls_own_arrays_are_bounded_too() {
        let mut config: Config = toml::from_str(HUMANOID.1).unwrap();
        config.algo = Algo::ModelFree;
        assert_eq!(config.problem_of_buffers(HUMANOID.0, LARGEST), None);
        config.training.env_steps = 20_000_000;
        let message = config.problem_of_buffers(HUMANOID.0, LARGEST).expect("a mirror of 33554432 rows");
        assert!(message.contains("an array of 6040 MB") && message.contains("at most 8388608 with"), "{message}");
        config.training.env_steps = 8_388_608;
        assert_eq!(config.problem_of_buffers(HUMANOID.0, LARGEST), None);

        let mut config: Config = toml::from_str(HUMANOID.1).unwrap();
        (config.rollout.horizon, config.rollout.retain_epochs) = (crate::schedule::Schedule::Constant(1.0), 1);
        config.rollout.starts_per_step = 500_000;
        assert!(config.problem_of_buffers(HUMANOID.0, LARGEST).is_some());
    }
}
