//! Environments by id, and the layers around them. An id names a task that is shipped ([`registry`](crate::registry)),
//! one of Python's (`gym:ID`, `dmc:DOMAIN-TASK`), or one that the program adds ([`Tasks::add`]); all get the same layers.
//!
//! Around the task go, from the inside out:
//! 1. the rule of `env.termination`, for a task that says nothing of its own end;
//! 2. the first entries of its observation: no layer further out sees the others;
//! 3. the family, next to the task because it turns its physics and stands between its motors and sensors and the rest;
//! 4. the distractors: no sensor of the task, so no sensor noise;
//! 5. time limit and order of calls, as around every task;
//! 6. the action repeat: whatever is further in counts frames, whatever is further out the agent's steps;
//! 7. the agent's [-1, 1], as around every task.
//!
//! A layer is there only where `[env]` asks for it.

use core::fmt;
use std::sync::Arc;

use crate::config::EnvConfig;
use crate::environment::{Environment, Spec};
use crate::error::EnvError;
use crate::gym;
use crate::registry::{NO_MUJOCO, list};
use crate::space::BoxSpace;
use crate::wrappers::{
    ActionRepeat, Distractors, EnforceOrder, Family, FirstEntries, RescaleAction, TimeLimit, WithRule,
};

/// The source of a run's environments: those that are trained in side by side, and those that are evaluated in.
///
/// [`EnvConfig::factory`] gives the one for a task with an id. Any closure is one too; it gets no layers, so each of its
/// environments keeps these rules by itself ([`dress`] adds the first three to a task):
/// * actions lie in [-1, 1], and all of that range acts;
/// * an episode ends, by the task or by a time limit;
/// * a step is refused before the first reset and after the end of an episode;
/// * all of them are alike: the same spec, and the same episode from the same seed. One goes on from the saved state of
///   another.
///
/// [`check_environment`](crate::check_environment) tests the rules, and [`EnvConfig::open_from`] refuses what a run
/// cannot use.
///
/// ```
/// use std::sync::Arc;
///
/// use foresee_env::classic::Pendulum;
/// use foresee_env::{Autoreset, EnvFactory, VectorEnvironment, check_environment, dress};
///
/// let short: EnvFactory = Arc::new(|| dress(Box::new(Pendulum::new()), Some(50)));
/// check_environment(&*short)?;
/// let three = VectorEnvironment::new(&short, 3, Autoreset::SameStep)?;
/// assert_eq!(three.spec().max_episode_steps, Some(50));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type EnvFactory = Arc<dyn Fn() -> Result<Box<dyn Environment>, EnvError> + Send + Sync>;

/// The tasks that `env.id` can name: those that are shipped, and those that a program adds. Environments of Python,
/// `gym:ID` and `dmc:DOMAIN-TASK`, are always there.
#[derive(Clone, Default)]
pub struct Tasks {
    added: Vec<Added>,
}

/// A task of the program's own.
#[derive(Clone)]
struct Added {
    id: String,
    max_episode_steps: Option<u32>,
    /// The task alone, without a layer.
    build: EnvFactory,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl Tasks {
    /// Adds a task, without any layer: `build` makes one copy, and the time limit, the order of calls, the agent's
    /// [-1, 1] and the keys of `[env]` come around it as around a shipped task. It takes the place of a task with the
    /// same id, shipped ones included.
    ///
    /// The id is that of the task's spec. A task that truncates its episodes by itself says so in
    /// [`Spec::max_episode_steps`], and `max_episode_steps` is `None` then. A task whose spec has no termination rule
    /// takes that of `env.termination`.
    ///
    /// A mistake in the task, such as another id in its spec, is found where an environment is made.
    ///
    /// ```
    /// use foresee_core::Termination;
    /// use foresee_env::classic::task::{Classic, Task};
    /// use foresee_env::numpy_random::NumpyRng;
    /// use foresee_env::{BoxSpace, EnvConfig, Physics, Spec, Tasks, check_environment};
    ///
    /// /// A cart on a rail: its position and speed, in m and m/s, and a force on it.
    /// struct Cart;
    ///
    /// impl Task<2> for Cart {
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
    /// tasks.add("Cart-v0", Some(100), || Ok(Box::new(Classic::<Cart, 2>::new())));
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
        self.added.push(Added { id: id.into(), max_episode_steps, build: Arc::new(build) });
    }

    /// All ids, those of Python aside, each once: the shipped ones in the order of [`list`], then the added ones.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let shipped = || list().iter().map(|info| info.id);
        let added = self.added.iter().map(|task| task.id.as_str());
        shipped().chain(added.filter(move |id| !shipped().any(|shipped| shipped == *id)))
    }

    /// Whether a program added the task of this id.
    #[must_use]
    pub fn is_added(&self, id: &str) -> bool {
        self.added.iter().any(|task| task.id == id)
    }

    /// The task of `[env]` alone, and its time limit from outside.
    fn task(&self, config: &EnvConfig) -> Result<(Box<dyn Environment>, Option<u32>), EnvError> {
        let id = &config.id;
        if let Some(added) = self.added.iter().find(|task| task.id == *id) {
            return Ok((added.task(config)?, added.max_episode_steps));
        }
        config.check_gym()?;
        if gym::is_python(id) {
            config.refuse_mujoco(NO_MUJOCO)?;
            return Ok((gym::make(config)?, None));
        }
        let info = list().iter().find(|info| info.id == id);
        let info = info.ok_or_else(|| EnvError::UnknownId { id: id.clone(), nearest: self.nearest(id) })?;
        Ok((info.task(config)?, info.max_episode_steps))
    }

    /// Up to three known ids, by Jaro-Winkler similarity without regard to case.
    fn nearest(&self, id: &str) -> Vec<String> {
        let similarity = |known: &str| strsim::jaro_winkler(&id.to_lowercase(), &known.to_lowercase());
        let mut known: Vec<&str> = self.ids().collect();
        known.sort_by(|a, b| similarity(b).total_cmp(&similarity(a)));
        known.into_iter().take(3).map(str::to_owned).collect()
    }
}

impl Added {
    fn task(&self, config: &EnvConfig) -> Result<Box<dyn Environment>, EnvError> {
        let Self { id, max_episode_steps, build } = self;
        config.check_added()?;
        if gym::is_python(id) {
            return Err(unusable(
                id,
                "its id is that of an environment of Python",
                "add it under an id without `gym:` or `dmc:`",
            ));
        }
        let task = build()?;
        let spec = task.spec();
        if spec.id != *id {
            let problem = format!("it was added under this id, and its spec calls it `{}`", spec.id);
            return Err(unusable(id, &problem, "`Tasks::add` takes the id of the task's spec"));
        }
        check(spec, *max_episode_steps)?;
        let Some(rule) = &config.termination else { return Ok(task) };
        if spec.termination.is_some() {
            let hint = "hint: its spec has a rule already: leave the key out";
            return Err(EnvError::Config(format!("`env.termination` is given for `{id}`\n{hint}")));
        }
        config.check_termination(rule, spec.observation_space.dim())?;
        Ok(Box::new(WithRule::new(task, rule.clone())))
    }
}

fn unusable(id: &str, problem: &str, hint: &str) -> EnvError {
    EnvError::Task { id: id.into(), problem: problem.into(), hint: hint.into() }
}

/// Checks a spec that is not ours, and its time limit from outside.
fn check(spec: &Spec, max_episode_steps: Option<u32>) -> Result<(), EnvError> {
    let limited = Spec { max_episode_steps: max_episode_steps.or(spec.max_episode_steps), ..spec.clone() };
    if let Some([problem, hint]) = spec.problem().or_else(|| limited.problem()) {
        return Err(unusable(&spec.id, &problem, &hint));
    }
    match (spec.max_episode_steps, max_episode_steps) {
        (Some(own), Some(given)) if own != given => {
            let problem = format!("its spec has a time limit of {own} steps, and the one around it is of {given}");
            Err(unusable(&spec.id, &problem, "a task that truncates by itself needs no other limit: give `None`"))
        }
        _ => Ok(()),
    }
}

/// A task as a run takes it, and as a task with an id is: truncated after `max_episode_steps` (`None` for a task that ends
/// or truncates by itself), steps only within an episode, actions in [-1, 1] for those of the task's own range.
///
/// # Errors
/// If the task's spec makes no sense, its own time limit is another, or its action space has no finite bounds.
pub fn dress(task: Box<dyn Environment>, max_episode_steps: Option<u32>) -> Result<Box<dyn Environment>, EnvError> {
    check(task.spec(), max_episode_steps)?;
    Ok(Box::new(RescaleAction::new(limited(task, max_episode_steps))?))
}

fn limited(mut env: Box<dyn Environment>, max_episode_steps: Option<u32>) -> Box<dyn Environment> {
    if let Some(limit) = max_episode_steps {
        env = Box::new(TimeLimit::new(env, limit));
    }
    Box::new(EnforceOrder::new(env))
}

/// The environment with this id, of the shipped tasks or of Python, as an agent sees it: actions in [-1, 1], time limit,
/// order of calls enforced.
///
/// # Errors
/// If there is none of that id, or it cannot be built here.
pub fn make(id: &str) -> Result<Box<dyn Environment>, EnvError> {
    EnvConfig::new(id).make(0)
}

/// As [`make`], with actions in the task's own range and units: the result of `gymnasium.make`.
///
/// # Errors
/// As [`make`].
pub fn make_unscaled(id: &str) -> Result<Box<dyn Environment>, EnvError> {
    EnvConfig::new(id).make_unscaled(0)
}

impl EnvConfig {
    /// The environments of `[env]` in the run with this `seed`, as an agent sees them, with the id's task among `tasks`.
    /// All of them are alike; they fail as [`EnvConfig::make`].
    #[must_use]
    pub fn factory(&self, tasks: &Tasks, seed: u64) -> EnvFactory {
        let (config, tasks) = (self.clone(), tasks.clone());
        Arc::new(move || config.scaled(&tasks, seed))
    }

    /// As [`EnvConfig::factory`], with actions in the task's own range and units.
    #[must_use]
    pub fn unscaled_factory(&self, tasks: &Tasks, seed: u64) -> EnvFactory {
        let (config, tasks) = (self.clone(), tasks.clone());
        Arc::new(move || config.unscaled(&tasks, seed))
    }

    /// An environment of [`EnvConfig::factory`], where no task is added.
    ///
    /// # Errors
    /// If there is none of that id, it cannot be built here, or a key asks for something impossible.
    pub fn make(&self, seed: u64) -> Result<Box<dyn Environment>, EnvError> {
        self.scaled(&Tasks::default(), seed)
    }

    /// As [`EnvConfig::make`], with actions in the task's own range and units.
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
            env = Box::new(FirstEntries::new(env, entries)?);
        }
        if !self.family.is_nominal() {
            env = Box::new(Family::new(env, self.family)?);
        }
        if self.distractors > 0 {
            env = Box::new(Distractors::new(env, self.distractors, seed));
        }
        env = limited(env, max_episode_steps);
        if self.action_repeat > 1 {
            env = Box::new(ActionRepeat::new(env, self.action_repeat));
        }
        Ok(env)
    }

    /// [`EnvConfig::make`] from values that a user gave, all of them checked.
    ///
    /// # Errors
    /// The impossible value: the message, with its hint.
    pub fn open(&self, seed: u64) -> Result<Box<dyn Environment>, String> {
        self.open_with(&Tasks::default(), seed)
    }

    /// As [`EnvConfig::open`], with the id's task among `tasks`.
    ///
    /// # Errors
    /// As [`EnvConfig::open`].
    pub fn open_with(&self, tasks: &Tasks, seed: u64) -> Result<Box<dyn Environment>, String> {
        self.check_count().and_then(|()| self.scaled(tasks, seed)).map_err(told)
    }

    /// The first environment of a factory of the program's own, for which `[env]` gives the id and the count and nothing
    /// else: the id of the environment's spec, so that nobody takes the run for one of another task.
    ///
    /// # Errors
    /// The impossible value, or the environment's mistake: the message, with its hint.
    pub fn open_from(&self, factory: &EnvFactory) -> Result<Box<dyn Environment>, String> {
        let checked = || {
            self.check_count()?;
            self.check_made()?;
            let env = factory()?;
            let Spec { id, action_space, .. } = env.spec();
            if *id != self.id {
                let message = format!("`env.id` is `{}`, and the environment of this program `{id}`", self.id);
                return Err(EnvError::Config(format!("{message}\nhint: the two are the same: `env.id = \"{id}\"`")));
            }
            check(env.spec(), None)?;
            if *action_space != BoxSpace::symmetric(&vec![1.0; action_space.dim()]) {
                let problem = format!("its action space goes {action_space}, and that of an agent from -1 to 1");
                return Err(unusable(id, &problem, "`foresee_env::dress` maps the one to the other"));
            }
            Ok(env)
        };
        checked().map_err(told)
    }

    /// The impossible value among these, if there is one: the message, with its hint.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem_with(&Tasks::default())
    }

    /// As [`EnvConfig::problem`], with the id's task among `tasks`.
    #[must_use]
    pub fn problem_with(&self, tasks: &Tasks) -> Option<String> {
        self.open_with(tasks, 0).err()
    }
}

/// An error as an answer to values of `[env]`.
fn told(error: EnvError) -> String {
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
