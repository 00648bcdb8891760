//! The keys of `[env]` and its tables, and the checks of their values and of which keys may be combined.
//! [`tasks`](crate::tasks) creates the environment that they describe.

mod family;
pub mod kwargs;
mod paths;
pub(crate) mod python_id;

use core::fmt::Display;
use std::path::PathBuf;

use foresee_core::Termination;
use foresee_core::limits::refusal;
use foresee_core::reference::any_table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::EnvError;
use kwargs::Kwargs;

pub use family::{FamilyConfig, Range, Steps};

/// Largest number of distractors. Their dynamics are square matrices, one pair in each environment.
const MAX_DISTRACTORS: usize = 256;
/// Largest number of environments. Each of them may be a process.
pub const MAX_ENVIRONMENTS: usize = 1024;
/// Largest number of frames in a step, which is longer than whole episodes of most tasks.
const MAX_ACTION_REPEAT: u32 = 1000;
/// Longest `env.gym.timeout`, in seconds: a day.
const MAX_TIMEOUT: f64 = 86_400.0;

/// The keys of `[env]`: the task, and changes to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvConfig {
    /// Id of the environment; `foresee list envs` shows the ids.
    pub id: String,
    /// Number of distractors: entries added to the observation that have nothing to do with the task (the experiment of
    /// VaGraM). 0 for none.
    #[serde(default)]
    pub distractors: usize,
    /// Number of entries of the observation that are kept, from the first; all if not given. 27 for `gym:Ant-v5` and 45
    /// for `gym:Humanoid-v5` give MBPO's truncated observations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_entries: Option<usize>,
    /// Number of frames (steps of the task itself) for which an action is held; their rewards are added. Everything
    /// else counts the agent's steps: `training.env_steps`, intervals, lengths of episodes. 2 is usual for `dmc:`
    /// tasks: their 1,000 frames are then 500 steps.
    #[serde(default = "one_frame", skip_serializing_if = "is_one_frame")]
    #[schemars(extend("default" = 1))]
    pub action_repeat: u32,
    /// The termination rule for imagined states, for an environment in Python or a program's own task that has no rule.
    /// Environments that are known here have their own rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination: Option<Termination>,
    /// Number of environments that training steps together. Each of them adds its own real steps, so
    /// `training.env_steps` is a multiple of this number.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(extend("default" = 1))]
    pub count: usize,
    /// The keys of `[env.family]`.
    #[serde(default)]
    pub family: FamilyConfig,
    /// The keys of `[env.mujoco]`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mujoco: MujocoConfig,
    /// The keys of `[env.gym]`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gym: GymConfig,
}

/// The keys of `[env.mujoco]`: the locations of MuJoCo's files, used by its tasks alone. A file that is not given is
/// searched for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MujocoConfig {
    /// The library file, such as `libmujoco.so.3.17.0` or `~/mujoco/lib/libmujoco.so`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// The folder of Gymnasium's models, `gymnasium/envs/mujoco/assets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assets: Option<PathBuf>,
}

/// The keys of `[env.gym]`: settings of an environment in Python, `gym:ID` or `dmc:DOMAIN-TASK`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GymConfig {
    /// The Python interpreter. If it is not given: `$VIRTUAL_ENV/bin/python`, or else `python3`. The interpreter of
    /// another virtual environment, such as `~/dmc-venv/bin/python`, uses that environment's packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
    /// Keyword arguments of `gymnasium.make`, or of `dm_control.suite.load`.
    #[schemars(schema_with = "any_table")]
    pub kwargs: Kwargs,
    /// Number of seconds without an answer after which the environment counts as hung.
    pub timeout: f64,
    /// Number of times that the process of an environment is restarted after it died or hung, over the whole run of the
    /// program.
    pub restarts: u32,
}

impl Default for GymConfig {
    fn default() -> Self {
        Self { python: None, kwargs: Kwargs::default(), timeout: 60.0, restarts: 3 }
    }
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(count: &usize) -> bool {
    *count == 1
}

fn one_frame() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one_frame(repeat: &u32) -> bool {
    *repeat == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl EnvConfig {
    /// The configuration of the unmodified task with this id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            distractors: 0,
            first_entries: None,
            action_repeat: 1,
            termination: None,
            count: 1,
            family: FamilyConfig::default(),
            mujoco: MujocoConfig::default(),
            gym: GymConfig::default(),
        }
    }

    /// Checks the number of distractors.
    ///
    /// # Errors
    /// If it is too large.
    pub(crate) fn check_distractors(&self) -> Result<(), EnvError> {
        let found = self.distractors;
        ensure(found <= MAX_DISTRACTORS, "distractors", found, &format!("at most {MAX_DISTRACTORS}"), 0)
    }

    /// Checks the number of frames for which an action is held.
    ///
    /// # Errors
    /// If it is 0 or too large.
    pub(crate) fn check_repeat(&self) -> Result<(), EnvError> {
        let found = self.action_repeat;
        let allowed = format!("1 to {MAX_ACTION_REPEAT} frames");
        ensure((1..=MAX_ACTION_REPEAT).contains(&found), "action_repeat", found, &allowed, 1)
    }

    /// Checks the number of environments.
    ///
    /// # Errors
    /// If it is 0 or too large.
    pub(crate) fn check_count(&self) -> Result<(), EnvError> {
        let found = self.count;
        ensure((1..=MAX_ENVIRONMENTS).contains(&found), "count", found, &format!("1 to {MAX_ENVIRONMENTS}"), 1)
    }

    /// Checks the keys for environments in Python.
    ///
    /// # Errors
    /// If such a key is given for another environment, or has an impossible value.
    pub(crate) fn check_gym(&self) -> Result<(), EnvError> {
        let Self { id, termination, gym, .. } = self;
        if !python_id::is_python(id) {
            let hint = "remove the key: native tasks have their own termination rule";
            self.refuse(&[("termination", termination.is_some())], hint)?;
            let hint = format!("remove the key: only environments in Python, such as `gym:{id}`, read it");
            return self.refuse(&[("gym", *gym != GymConfig::default())], &hint);
        }
        python_id::check(id)?;
        let (found, default) = (gym.timeout, GymConfig::default().timeout);
        let allowed = format!("a positive number of seconds, at most {MAX_TIMEOUT}");
        ensure(found > 0.0 && found <= MAX_TIMEOUT, "gym.timeout", found, &allowed, default)?;
        gym.kwargs.check()
    }

    /// Checks that no key of `[env.mujoco]` is given for an environment that does not read it.
    ///
    /// # Errors
    /// If one is given: the message, with this hint.
    pub(crate) fn refuse_mujoco(&self, hint: &str) -> Result<(), EnvError> {
        let MujocoConfig { library, assets } = &self.mujoco;
        let given = [("mujoco.library", library.is_some()), ("mujoco.assets", assets.is_some())];
        self.refuse(&given, hint)
    }

    /// Checks that a program's own task is given no key that only other tasks read.
    ///
    /// # Errors
    /// If one is given.
    pub(crate) fn check_added(&self) -> Result<(), EnvError> {
        let hint = "this program supplies the task itself: remove the key";
        self.refuse_mujoco(hint)?;
        self.refuse(&[("gym", self.gym != GymConfig::default())], hint)
    }

    /// Checks that an environment that the program creates itself is given no key that describes how to create it.
    ///
    /// # Errors
    /// If one is given.
    pub(crate) fn check_own_factory(&self) -> Result<(), EnvError> {
        let Self { id: _, count: _, distractors, first_entries, action_repeat, termination, family, mujoco, gym } =
            self;
        let given = [
            ("distractors", *distractors != 0),
            ("first_entries", first_entries.is_some()),
            ("action_repeat", *action_repeat != 1),
            ("termination", termination.is_some()),
            ("family", *family != FamilyConfig::default()),
            ("mujoco", *mujoco != MujocoConfig::default()),
            ("gym", *gym != GymConfig::default()),
        ];
        self.refuse(&given, "this program creates the environment itself: remove the key")
    }

    fn refuse(&self, given: &[(&str, bool)], hint: &str) -> Result<(), EnvError> {
        given.iter().find(|(_, given)| *given).map_or(Ok(()), |(key, _)| {
            Err(EnvError::Config(format!("`env.{key}` does not apply to `{}`\nhint: {hint}", self.id)))
        })
    }

    /// Checks a termination rule for observations of `dim` entries.
    ///
    /// # Errors
    /// If the rule is inconsistent, or has a bound on an entry that does not exist.
    pub(crate) fn check_termination(&self, rule: &Termination, dim: usize) -> Result<(), EnvError> {
        if let Some([problem, hint]) = rule.problem() {
            return Err(EnvError::Config(format!("`env.termination`: {problem}\nhint: {hint}")));
        }
        let Some((bound, index)) = rule.beyond(dim) else { return Ok(()) };
        let (id, keys) = (&self.id, bound.quantity.keys_of_entries());
        let hint = format!("hint: {keys} must be below {dim}, the number of observation entries of `{id}`");
        Err(EnvError::Config(format!("`env.termination` has a bound on obs[{index}]\n{hint}")))
    }
}

/// Checks the value of a key of `[env]`. `allowed` completes the sentence "it must be …".
fn ensure(holds: bool, key: &str, value: impl Display, allowed: &str, default: impl Display) -> Result<(), EnvError> {
    if holds { Ok(()) } else { Err(EnvError::Config(refusal(&format!("env.{key}"), value, allowed, default))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EnvConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_parameter_is_a_number_or_two_and_what_is_not_given_is_the_task() {
        let family = r#"{"mass": [0.8, 1.2], "gravity": 2, "delay": [0, 3], "sensor_noise": 0.1}"#;
        let config = read(&format!(r#"{{"id": "Pendulum-v1", "distractors": 10, "family": {family}}}"#)).unwrap();
        let want = FamilyConfig {
            mass: Range::Uniform([0.8, 1.2]),
            gravity: Range::Fixed(2.0),
            delay: Steps::Uniform([0, 3]),
            sensor_noise: Range::Fixed(0.1),
            ..FamilyConfig::default()
        };
        assert_eq!(config, EnvConfig { distractors: 10, family: want, ..EnvConfig::new("Pendulum-v1") });
        assert!(!want.is_nominal() && config.problem().is_none());

        let bare = read(r#"{"id": "Pendulum-v1"}"#).unwrap();
        assert_eq!(bare, EnvConfig::new("Pendulum-v1"));
        assert!(bare.family.is_nominal() && bare.problem().is_none());
        assert!(FamilyConfig { mass: Range::Uniform([1.0; 2]), ..FamilyConfig::default() }.is_nominal());
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_is_expected() {
        for (family, message) in [
            (r#"{"mas": 1}"#, "unknown field `mas`, expected one of `mass`, `length`"),
            (r#"{"mass": [1, 2, 3]}"#, "a number, or two numbers [low, high]"),
            (r#"{"delay": 1.5}"#, "a whole number, or two whole numbers [low, high]"),
            (r#"{"delay": -1}"#, "a whole number, or two whole numbers [low, high]"),
        ] {
            let error = read(&format!(r#"{{"id": "Pendulum-v1", "family": {family}}}"#)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn what_is_impossible_is_named_by_its_key_with_a_hint() {
        let nominal = FamilyConfig::default();
        let factor = "0.001 to 1000, or [low, high] in this range\nhint: the default is 1";
        let from_0 = "0 to 1000, or [low, high] in this range\nhint: the default is 0";
        for (family, what, allowed) in [
            (FamilyConfig { mass: Range::Fixed(0.0), ..nominal }, "mass` is 0", factor),
            (FamilyConfig { length: Range::Uniform([1.2, 0.8]), ..nominal }, "length` is [1.2, 0.8]", factor),
            (FamilyConfig { gravity: Range::Fixed(f64::NAN), ..nominal }, "gravity` is NaN", factor),
            (FamilyConfig { gravity: Range::Uniform([1.0, 1e4]), ..nominal }, "gravity` is [1, 10000]", factor),
            (FamilyConfig { delay: Steps::Fixed(1001), ..nominal }, "delay` is 1001", from_0),
            (FamilyConfig { delay: Steps::Uniform([3, 2]), ..nominal }, "delay` is [3, 2]", from_0),
            (FamilyConfig { sensor_noise: Range::Fixed(-0.5), ..nominal }, "sensor_noise` is -0.5", from_0),
        ] {
            let problem = EnvConfig { family, ..EnvConfig::new("Pendulum-v1") }.problem().expect(what);
            assert_eq!(problem, format!("`env.family.{what}; it must be {allowed}"));
        }
        for count in [0, 1025] {
            let problem = EnvConfig { count, ..EnvConfig::new("Pendulum-v1") }.problem().unwrap();
            assert_eq!(problem, format!("`env.count` is {count}; it must be 1 to 1024\nhint: the default is 1"));
        }
        for action_repeat in [0, 1001] {
            let problem = EnvConfig { action_repeat, ..EnvConfig::new("Pendulum-v1") }.problem().unwrap();
            let allowed = "it must be 1 to 1000 frames\nhint: the default is 1";
            assert_eq!(problem, format!("`env.action_repeat` is {action_repeat}; {allowed}"));
        }
        let problem = EnvConfig { distractors: 257, ..EnvConfig::new("Pendulum-v1") }.problem().unwrap();
        assert_eq!(problem, "`env.distractors` is 257; it must be at most 256\nhint: the default is 0");
        for (key, hint, config) in [
            (
                "termination",
                "native tasks have their own termination rule",
                EnvConfig { termination: Some(Termination::never()), ..EnvConfig::new("Pendulum-v1") },
            ),
            (
                "gym",
                "only environments in Python, such as `gym:Pendulum-v1`, read it",
                EnvConfig { gym: GymConfig { restarts: 0, ..GymConfig::default() }, ..EnvConfig::new("Pendulum-v1") },
            ),
        ] {
            let want = format!("`env.{key}` does not apply to `Pendulum-v1`\nhint: remove the key: {hint}");
            assert_eq!(config.problem().unwrap(), want);
        }
        for timeout in [0.0, f64::NAN, 1e6] {
            let gym = GymConfig { timeout, ..GymConfig::default() };
            let problem = EnvConfig { gym, ..EnvConfig::new("gym:Pendulum-v1") }.problem().unwrap();
            let allowed = "it must be a positive number of seconds, at most 86400\nhint: the default is 60";
            assert_eq!(problem, format!("`env.gym.timeout` is {timeout}; {allowed}"));
        }
        let problem = EnvConfig::new("Pendulum-v9").problem().unwrap();
        assert!(problem.starts_with("`env.id`: unknown environment `Pendulum-v9`\nhint: "), "{problem}");
    }
}
