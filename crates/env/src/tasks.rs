//! Environments by id, and the layers around them. An id names a shipped task ([`registry`](crate::registry)), an
//! environment in Python (`gym:ID`, `dmc:DOMAIN-TASK`), or a task that the program adds ([`Tasks::add`]). All of them
//! get the same layers.
//!
//! The layers around a task, from the inside out:
//! 1. [`WithRule`]: the rule of `env.termination`, for an added task whose spec has no termination rule.
//! 2. [`FirstEntries`]: the first entries of the observation. No outer layer sees the other entries.
//! 3. [`Family`]: a family of tasks. It is next to the task because it sets the task's physics, and because it delays
//!    the task's actions and adds noise to its sensors.
//! 4. [`Distractors`]: distracting observation entries. They are not sensors of the task, so they get no sensor noise.
//! 5. [`TimeLimit`] and [`EnforceOrder`]: the time limit, for a task that has one from outside, and the order of calls.
//! 6. [`ActionRepeat`]: the action repeat. Inner layers count frames, outer layers count the agent's steps.
//! 7. [`RescaleAction`]: the agent's action range [-1, 1].
//!
//! Layers 1 to 4 and 6 exist only where `[env]` asks for them.

use core::fmt;
use std::sync::Arc;

use foresee_core::Termination;

use crate::config::EnvConfig;
use crate::environment::{Environment, Spec};
use crate::error::EnvError;
use crate::gym;
use crate::registry::{MUJOCO_KEYS_HINT, list};
use crate::space::BoxSpace;
use crate::wrappers::{
    ActionRepeat, Distractors, EnforceOrder, Family, FirstEntries, RescaleAction, TimeLimit, WithRule,
};

/// A function that creates the environments of a run: those for training, which are stepped together, and those for
/// evaluation.
///
/// [`EnvConfig::factory`] returns the factory of a task with an id. Any closure of this type is a factory too. Its
/// environments get no layers, so they must keep these rules themselves ([`wrap_task`] adds the layers for the first
/// three):
/// * Actions are in [-1, 1], and the whole range has an effect.
/// * Every episode ends, by the task or by a time limit.
/// * A step is refused before the first reset and after the end of an episode.
/// * All environments are alike: they have the same spec, and the same seed gives the same episode. Each can restore
///   the saved state of another.
///
/// [`check_environment`](crate::check_environment) tests these rules, and [`EnvConfig::open_from`] refuses environments
/// that a run cannot use.
///
/// ```
/// use std::sync::Arc;
///
/// use foresee_env::classic::Pendulum;
/// use foresee_env::{Autoreset, EnvFactory, VectorEnvironment, check_environment, wrap_task};
///
/// let short: EnvFactory = Arc::new(|| wrap_task(Box::new(Pendulum::new()), Some(50)));
/// check_environment(&*short)?;
/// let three = VectorEnvironment::new(&short, 3, Autoreset::SameStep)?;
/// assert_eq!(three.spec().max_episode_steps, Some(50));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type EnvFactory = Arc<dyn Fn() -> Result<Box<dyn Environment>, EnvError> + Send + Sync>;

/// The tasks that `env.id` can name: the shipped tasks and those that a program adds. Environments in Python, `gym:ID`
/// and `dmc:DOMAIN-TASK`, are always available.
#[derive(Clone, Default)]
pub struct Tasks {
    added: Vec<AddedTask>,
}

/// A task that a program added.
#[derive(Clone)]
struct AddedTask {
    id: String,
    max_episode_steps: Option<u32>,
    /// Builds the task alone, without a layer.
    build: EnvFactory,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Tasks {
    /// Adds a task. `build` creates one instance of the task alone; the time limit, the order of calls, the action
    /// range [-1, 1] and the keys of `[env]` apply to it as to a shipped task. The task replaces any task with the same
    /// id, also a shipped one.
    ///
    /// `id` is the id in the task's spec. A task that truncates its own episodes declares it in
    /// [`Spec::max_episode_steps`]; `max_episode_steps` is then `None`. A task whose spec has no termination rule gets
    /// the rule of `env.termination`.
    ///
    /// A mistake in the task, such as another id in its spec, is reported when an environment is created.
    ///
    /// ```
    /// use foresee_core::Termination;
    /// use foresee_env::classic::task::{ClassicEnvironment, ClassicTask};
    /// use foresee_env::numpy_random::NumpyRng;
    /// use foresee_env::{BoxSpace, EnvConfig, Physics, Spec, Tasks, check_environment};
    ///
    /// /// A cart on a rail: its position and speed, in m and m/s, and a force on it.
    /// struct Cart;
    ///
    /// impl ClassicTask<2> for Cart {
    ///     const PARAMETERS: &'static [&'static str] = &["mass"];
    ///
    ///     fn spec() -> Spec {
    ///         let anywhere = BoxSpace::symmetric(&[f32::INFINITY; 2]);
    ///         Spec::new("Cart-v0", anywhere, BoxSpace::symmetric(&[2.0]), Termination::never())
    ///     }
    ///     fn begin(rng: &mut NumpyRng) -> [f64; 2] {
    ///         [rng.uniform(-1.0, 1.0), 0.0]
    ///     }
    ///     fn advance([x, speed]: [f64; 2], force: f32, factors: Physics) -> ([f64; 2], f64) {
    ///         let speed = speed + 0.1 * f64::from(force) / factors.mass;
    ///         ([x + 0.1 * speed, speed], -x * x)
    ///     }
    ///     fn observe(state: [f64; 2]) -> Vec<f32> {
    ///         state.map(|x| x as f32).to_vec()
    ///     }
    /// }
    ///
    /// let mut tasks = Tasks::default();
    /// tasks.add("Cart-v0", Some(100), || Ok(Box::new(ClassicEnvironment::<Cart, 2>::new())));
    ///
    /// let carts = EnvConfig::new("Cart-v0").factory(&tasks, 0);
    /// check_environment(&*carts)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add(
        &mut self,
        id: &str,
        max_episode_steps: Option<u32>,
        build: impl Fn() -> Result<Box<dyn Environment>, EnvError> + Send + Sync + 'static,
    ) {
        self.added.retain(|task| task.id != id);
        self.added.push(AddedTask { id: id.into(), max_episode_steps, build: Arc::new(build) });
    }

    /// Returns all ids except those of Python, each once: the shipped ids in the order of [`list`], then the added ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let shipped = || list().iter().map(|info| info.id);
        let added = self.added.iter().map(|task| task.id.as_str());
        shipped().chain(added.filter(move |id| !shipped().any(|shipped| shipped == *id)))
    }

    /// Whether a program added a task with this id.
    #[must_use]
    pub fn is_added(&self, id: &str) -> bool {
        self.added.iter().any(|task| task.id == id)
    }

    /// Returns the task of `[env]` without layers, and the time limit to put around it.
    fn task(&self, config: &EnvConfig) -> Result<(Box<dyn Environment>, Option<u32>), EnvError> {
        let id = &config.id;
        if let Some(added) = self.added.iter().find(|task| task.id == *id) {
            return Ok((added.task(config)?, added.max_episode_steps));
        }
        config.check_gym()?;
        if gym::is_python(id) {
            config.refuse_mujoco(MUJOCO_KEYS_HINT)?;
            return Ok((gym::make(config)?, None));
        }
        let info = list().iter().find(|info| info.id == id);
        let info = info.ok_or_else(|| EnvError::UnknownId { id: id.clone(), nearest: self.nearest(id) })?;
        Ok((info.task(config)?, info.max_episode_steps))
    }

    /// Returns up to three known ids, the most similar first, by Jaro-Winkler similarity without regard to case.
    fn nearest(&self, id: &str) -> Vec<String> {
        let similarity = |known: &str| strsim::jaro_winkler(&id.to_lowercase(), &known.to_lowercase());
        let mut known: Vec<&str> = self.ids().collect();
        known.sort_by(|a, b| similarity(b).total_cmp(&similarity(a)));
        known.into_iter().take(3).map(str::to_owned).collect()
    }
}

impl AddedTask {
    fn task(&self, config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
        let Self { id, max_episode_steps, build } = self;
        config.check_added()?;
        if gym::is_python(id) {
            return Err(unusable(
                id,
                "its id is that of an environment in Python",
                "add it under an id that does not begin with `gym:` or `dmc:`",
            ));
        }
        let task = build()?;
        let spec = task.spec();
        if spec.id != *id {
            let problem = format!("it was added under this id, but its spec has the id `{}`", spec.id);
            return Err(unusable(id, &problem, "pass the id of the spec to `Tasks::add`"));
        }
        check_spec(spec, *max_episode_steps)?;
        let Some(rule) = &config.termination else { return Ok(task) };
        if spec.termination.is_some() {
            let problem = format!("`env.termination` is set, but the spec of `{id}` already has a termination rule");
            return Err(EnvError::Config(format!("{problem}\nhint: remove the key")));
        }
        config.check_termination(rule, spec.observation_space.dim())?;
        Ok(Box::new(WithRule::new(task, rule.clone())))
    }
}

fn unusable(id: &str, problem: &str, hint: &str) -> EnvError {
    EnvError::Task { id: id.into(), problem: problem.into(), hint: hint.into() }
}

/// Checks the spec of a program's own task or environment, and the time limit to put around it.
fn check_spec(spec: &Spec, max_episode_steps: Option<u32>) -> Result<(), EnvError> {
    let limited = Spec { max_episode_steps: max_episode_steps.or(spec.max_episode_steps), ..spec.clone() };
    if let Some([problem, hint]) = spec.problem().or_else(|| limited.problem()) {
        return Err(unusable(&spec.id, &problem, &hint));
    }
    match (spec.max_episode_steps, max_episode_steps) {
        (Some(own), Some(given)) if own != given => {
            let problem =
                format!("its spec has a time limit of {own} steps, but the argument `max_episode_steps` is {given}");
            Err(unusable(&spec.id, &problem, "pass `None` for a task that truncates its own episodes"))
        }
        _ => Ok(()),
    }
}

/// Adds the layers that a run needs: episodes are truncated after `max_episode_steps` (`None` for a task that ends or
/// truncates its own episodes), steps are allowed only within an episode, and actions are in [-1, 1] instead of the
/// task's own range. Tasks with an id have the same layers.
///
/// # Errors
/// If the task's spec is inconsistent, its own time limit differs from `max_episode_steps`, or its action space has an
/// infinite bound.
pub fn wrap_task(task: Box<dyn Environment>, max_episode_steps: Option<u32>) -> Result<Box<dyn Environment>, EnvError> {
    check_spec(task.spec(), max_episode_steps)?;
    Ok(Box::new(RescaleAction::new(with_limit_and_order(task, max_episode_steps))?))
}

fn with_limit_and_order(mut env: Box<dyn Environment>, max_episode_steps: Option<u32>) -> Box<dyn Environment> {
    if let Some(limit) = max_episode_steps {
        env = Box::new(TimeLimit::new(env, limit));
    }
    Box::new(EnforceOrder::new(env))
}

/// Creates the environment with this id, a shipped task or one in Python, as an agent sees it: with actions in [-1, 1],
/// the time limit, and the order of calls enforced.
///
/// # Errors
/// If no environment has this id, or it cannot be built here.
pub fn make(id: &str) -> Result<Box<dyn Environment>, EnvError> {
    EnvConfig::new(id).make(0)
}

/// Creates the environment with this id as [`make`] does, but with actions in the task's own range and units, as
/// `gymnasium.make` returns it.
///
/// # Errors
/// As [`make`].
pub fn make_unscaled(id: &str) -> Result<Box<dyn Environment>, EnvError> {
    EnvConfig::new(id).make_unscaled(0)
}

impl EnvConfig {
    /// Returns the factory of the environments of `[env]` as an agent sees them, in the run with this `seed`. The id
    /// may name one of `tasks`. All environments of the factory are alike. Creating one fails as [`EnvConfig::make`]
    /// does.
    #[must_use]
    pub fn factory(&self, tasks: &Tasks, seed: u64) -> EnvFactory {
        let (config, tasks) = (self.clone(), tasks.clone());
        Arc::new(move || config.scaled(&tasks, seed))
    }

    /// Returns the factory as [`EnvConfig::factory`] does, but with actions in the task's own range and units.
    #[must_use]
    pub fn unscaled_factory(&self, tasks: &Tasks, seed: u64) -> EnvFactory {
        let (config, tasks) = (self.clone(), tasks.clone());
        Arc::new(move || config.unscaled(&tasks, seed))
    }

    /// Creates an environment of [`EnvConfig::factory`], without added tasks.
    ///
    /// # Errors
    /// If no environment has this id, it cannot be built here, or a key has an impossible value.
    pub fn make(&self, seed: u64) -> Result<Box<dyn Environment>, EnvError> {
        self.scaled(&Tasks::default(), seed)
    }

    /// Creates an environment as [`EnvConfig::make`] does, but with actions in the task's own range and units.
    ///
    /// # Errors
    /// As [`EnvConfig::make`].
    pub fn make_unscaled(&self, seed: u64) -> Result<Box<dyn Environment>, EnvError> {
        self.unscaled(&Tasks::default(), seed)
    }

    fn scaled(&self, tasks: &Tasks, seed: u64) -> Result<Box<dyn Environment>, EnvError> {
        Ok(Box::new(RescaleAction::new(self.unscaled(tasks, seed)?)?))
    }

    fn unscaled(&self, tasks: &Tasks, seed: u64) -> Result<Box<dyn Environment>, EnvError> {
        self.check_distractors()?;
        self.check_repeat()?;
        let (mut env, max_episode_steps) = tasks.task(self)?;
        if let Some(entries) = self.first_entries {
            let last = env.spec().termination.as_ref().and_then(Termination::last_entry);
            // A rule that foresee knows for a task in Python can be replaced by one of the config.
            if let Some(last) = last.filter(|last| *last >= entries && entries > 0)
                && gym::is_python(&self.id)
                && self.termination.is_none()
            {
                let reason = format!("the rule known for it reads entry {last}, which `env.first_entries` cuts off");
                env = Box::new(WithRule::without(env, reason));
            }
            env = Box::new(FirstEntries::new(env, entries)?);
        }
        if !self.family.is_nominal() {
            env = Box::new(Family::new(env, self.family)?);
        }
        if self.distractors > 0 {
            env = Box::new(Distractors::new(env, self.distractors, seed));
        }
        env = with_limit_and_order(env, max_episode_steps);
        if self.action_repeat > 1 {
            env = Box::new(ActionRepeat::new(env, self.action_repeat));
        }
        Ok(env)
    }

    /// Creates an environment as [`EnvConfig::make`] does, from values that a user gave, after checking all of them.
    ///
    /// # Errors
    /// The message about the impossible value, with its hint.
    pub fn open(&self, seed: u64) -> Result<Box<dyn Environment>, String> {
        self.open_with(&Tasks::default(), seed)
    }

    /// Creates an environment as [`EnvConfig::open`] does, where the id may also name one of `tasks`.
    ///
    /// # Errors
    /// As [`EnvConfig::open`].
    pub fn open_with(&self, tasks: &Tasks, seed: u64) -> Result<Box<dyn Environment>, String> {
        self.check_count().and_then(|()| self.scaled(tasks, seed)).map_err(user_message)
    }

    /// Creates the first environment of a program's own factory. Of `[env]`, only `env.id` and `env.count` are read for
    /// such a factory. The id must be that in the environment's spec, so that the run cannot be mistaken for one of
    /// another task.
    ///
    /// # Errors
    /// The message about the impossible value or about the environment's mistake, with its hint.
    pub fn open_from(&self, factory: &EnvFactory) -> Result<Box<dyn Environment>, String> {
        let checked = || {
            self.check_count()?;
            self.check_own_factory()?;
            let env = factory()?;
            let Spec { id, action_space, .. } = env.spec();
            if *id != self.id {
                let message = format!("`env.id` is `{}`, but this program's environment is `{id}`", self.id);
                return Err(EnvError::Config(format!("{message}\nhint: set `env.id = \"{id}\"`")));
            }
            check_spec(env.spec(), None)?;
            if *action_space != BoxSpace::symmetric(&vec![1.0; action_space.dim()]) {
                let problem = format!("its action space is {action_space}, but an agent's actions are in [-1, 1]");
                return Err(unusable(id, &problem, "`foresee_env::wrap_task` rescales the actions"));
            }
            Ok(env)
        };
        checked().map_err(user_message)
    }

    /// Returns the message about the first impossible value of `[env]`, with its hint, if there is one.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem_with(&Tasks::default())
    }

    /// Returns the message as [`EnvConfig::problem`] does, where the id may also name one of `tasks`.
    #[must_use]
    pub fn problem_with(&self, tasks: &Tasks) -> Option<String> {
        self.open_with(tasks, 0).err()
    }
}

/// Returns an error's message for the user who set the values of `[env]`.
fn user_message(error: EnvError) -> String {
    match error {
        EnvError::Config(problem) => problem,
        error => format!("`env.id`: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_is_answered_with_the_nearest() {
        let error = make("pendulum-v0").err().unwrap();
        assert!(matches!(&error, EnvError::UnknownId { nearest, .. } if nearest[0] == "Pendulum-v1"), "{error:?}");
        let message = error.to_string();
        assert!(
            message.starts_with("unknown environment `pendulum-v0`\nhint: the nearest known ids are `Pendulum-v1`")
        );
    }
}
