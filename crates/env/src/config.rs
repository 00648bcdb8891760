//! The keys of `[env]` and `[env.family]`, and which of them go together. [`tasks`](crate::tasks) makes the environment
//! that they describe.

mod family;

use std::path::PathBuf;

use foresee_core::Termination;
use serde::{Deserialize, Serialize};

use crate::error::EnvError;
use crate::gym::kwargs::Kwargs;

pub use family::{FamilyConfig, Range, Steps};

/// Their dynamics are square matrices, one pair an environment.
const MOST_DISTRACTORS: usize = 256;
/// Each may be a process.
pub const MOST_ENVIRONMENTS: usize = 1024;
/// Frames a step: longer than whole episodes of most tasks.
const LONGEST_REPEAT: u32 = 1000;
/// In seconds: a day.
const LONGEST_TIMEOUT: f64 = 86_400.0;

/// `[env]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvConfig {
    /// Which environment: `foresee list envs`.
    pub id: String,
    /// Entries that join the observation and have nothing to do with the task (VaGraM's experiment); 0 for none.
    #[serde(default)]
    pub distractors: usize,
    /// How many of the observation's first entries are observed; all if it is not given. 27 for `gym:Ant-v5` and 45 for
    /// `gym:Humanoid-v5` are MBPO's truncated observations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_entries: Option<usize>,
    /// How many frames, steps of the task itself, an action is held for; their rewards are added. Everything else counts
    /// steps of the agent: `training.env_steps`, intervals, lengths of episodes. 2 is usual for `dmc:` tasks, whose 1,000
    /// frames are 500 steps then.
    #[serde(default = "one_frame", skip_serializing_if = "is_one_frame")]
    pub action_repeat: u32,
    /// When an imagined state has terminated, of an environment of Python or of a task of the program's own without a rule of
    /// its own; those known here bring theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination: Option<Termination>,
    /// Environments that training steps side by side; each adds its own real steps, and `training.env_steps` is a
    /// multiple of it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: usize,
    /// `[env.family]`
    #[serde(default)]
    pub family: FamilyConfig,
    /// `[env.mujoco]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub mujoco: MujocoConfig,
    /// `[env.gym]`
    #[serde(default, skip_serializing_if = "is_default")]
    pub gym: GymConfig,
}

/// `[env.mujoco]`: where MuJoCo is found, for its tasks alone; what is not given is searched for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MujocoConfig {
    /// The library, `libmujoco.so.3.17.0` or its like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// The folder of Gymnasium's models, `gymnasium/envs/mujoco/assets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assets: Option<PathBuf>,
}

/// `[env.gym]`: how an environment of Python, `gym:ID` or `dmc:DOMAIN-TASK`, is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GymConfig {
    /// The interpreter; if it is not given, `$VIRTUAL_ENV/bin/python`, or else `python3`. One of another virtual
    /// environment, `dmc-venv/bin/python`, brings that environment's packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
    /// Keyword arguments of `gymnasium.make`, or of `dm_control.suite.load`.
    pub kwargs: Kwargs,
    /// Seconds without an answer after which the environment counts as hung.
    pub timeout: f64,
    /// How often the process of an environment is started again after it died or hung, until the program ends.
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
    /// The task of this id, as it is.
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

    /// Checks that the distractors are not too many.
    ///
    /// # Errors
    /// If they are.
    pub(crate) fn check_distractors(&self) -> Result<(), EnvError> {
        let found = self.distractors;
        if found > MOST_DISTRACTORS {
            return Err(EnvError::Config(format!("`env.distractors` is {found}\nhint: at most {MOST_DISTRACTORS}")));
        }
        Ok(())
    }

    /// Checks that an action is held for some frames, and not for too many.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn check_repeat(&self) -> Result<(), EnvError> {
        if !(1..=LONGEST_REPEAT).contains(&self.action_repeat) {
            let hint = format!("hint: an action is held for 1 to {LONGEST_REPEAT} frames");
            return Err(EnvError::Config(format!("`env.action_repeat` is {}\n{hint}", self.action_repeat)));
        }
        Ok(())
    }

    /// Checks that a number of environments can stand side by side.
    ///
    /// # Errors
    /// If there are none, or too many.
    pub(crate) fn check_count(&self) -> Result<(), EnvError> {
        if !(1..=MOST_ENVIRONMENTS).contains(&self.count) {
            let hint = format!("hint: 1 to {MOST_ENVIRONMENTS} environments side by side");
            return Err(EnvError::Config(format!("`env.count` is {}\n{hint}", self.count)));
        }
        Ok(())
    }

    /// Checks the keys that are for environments of Python.
    ///
    /// # Errors
    /// If one is given for another environment, or is none that can be used.
    pub(crate) fn check_gym(&self) -> Result<(), EnvError> {
        let Self { id, termination, gym, .. } = self;
        let refused = |message: String| Err(EnvError::Config(message));
        if !crate::gym::is_python(id) {
            let given = [("termination", termination.is_some()), ("gym", *gym != GymConfig::default())];
            return given.into_iter().find(|(_, given)| *given).map_or(Ok(()), |(key, _)| {
                refused(format!(
                    "`env.{key}` is given for `{id}`\nhint: it is for environments of Python, as `gym:{id}`"
                ))
            });
        }
        crate::gym::id::check(id)?;
        if !(gym.timeout > 0.0 && gym.timeout <= LONGEST_TIMEOUT) {
            return refused(format!("`env.gym.timeout` is {}\nhint: seconds, up to {LONGEST_TIMEOUT}", gym.timeout));
        }
        gym.kwargs.check()
    }

    /// Checks that nothing is said about a MuJoCo that the environment does not use.
    ///
    /// # Errors
    /// If something is: the message, with this hint.
    pub(crate) fn refuse_mujoco(&self, hint: &str) -> Result<(), EnvError> {
        let MujocoConfig { library, assets } = &self.mujoco;
        let given = [("mujoco.library", library.is_some()), ("mujoco.assets", assets.is_some())];
        self.refuse(&given, hint)
    }

    /// Checks that a task of the program's own is given no key that only others read.
    ///
    /// # Errors
    /// If it is.
    pub(crate) fn check_added(&self) -> Result<(), EnvError> {
        let hint = "this program brings the task itself: leave the key out";
        self.refuse_mujoco(hint)?;
        self.refuse(&[("gym", self.gym != GymConfig::default())], hint)
    }

    /// Checks that an environment which the program makes by itself is given no key that says how to make it.
    ///
    /// # Errors
    /// If it is.
    pub(crate) fn check_made(&self) -> Result<(), EnvError> {
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
        self.refuse(&given, "this program makes the environment itself: leave the key out")
    }

    fn refuse(&self, given: &[(&str, bool)], hint: &str) -> Result<(), EnvError> {
        given.iter().find(|(_, given)| *given).map_or(Ok(()), |(key, _)| {
            Err(EnvError::Config(format!("`env.{key}` is given for `{}`\nhint: {hint}", self.id)))
        })
    }

    /// Checks a rule for observations of `dim` entries.
    ///
    /// # Errors
    /// If it cannot be meant, or has a bound on an entry that is not there.
    pub(crate) fn check_termination(&self, rule: &Termination, dim: usize) -> Result<(), EnvError> {
        if let Some(problem) = rule.problem() {
            let hint = "hint: `low` is below `high`; a rule that never ends an episode is `env.termination = {}`";
            return Err(EnvError::Config(format!("`env.termination`: {problem}\n{hint}")));
        }
        for bound in rule.bounds.iter().chain(&rule.goal) {
            if bound.index >= dim {
                let (id, index) = (&self.id, bound.index);
                let hint = format!("hint: observations of `{id}` have {dim} entries, the first is 0");
                return Err(EnvError::Config(format!("`env.termination` has a bound on entry {index}\n{hint}")));
            }
        }
        Ok(())
    }
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
        let factor = "0.001 to 1000, or [low, high] within these";
        for (family, what, hint) in [
            (FamilyConfig { mass: Range::Fixed(0.0), ..nominal }, "mass` is 0", factor),
            (FamilyConfig { length: Range::Uniform([1.2, 0.8]), ..nominal }, "length` is [1.2, 0.8]", factor),
            (FamilyConfig { gravity: Range::Fixed(f64::NAN), ..nominal }, "gravity` is NaN", factor),
            (FamilyConfig { gravity: Range::Uniform([1.0, 1e4]), ..nominal }, "gravity` is [1, 10000]", factor),
            (FamilyConfig { delay: Steps::Fixed(1001), ..nominal }, "delay` is 1001", "0 to 1000, or"),
            (FamilyConfig { delay: Steps::Uniform([3, 2]), ..nominal }, "delay` is [3, 2]", "0 to 1000, or"),
            (FamilyConfig { sensor_noise: Range::Fixed(-0.5), ..nominal }, "sensor_noise` is -0.5", "0 to 1000, or"),
        ] {
            let problem = EnvConfig { family, ..EnvConfig::new("Pendulum-v1") }.problem().expect(what);
            assert!(problem.starts_with(&format!("`env.family.{what}\nhint: {hint}")), "{problem}");
        }
        for count in [0, 1025] {
            let problem = EnvConfig { count, ..EnvConfig::new("Pendulum-v1") }.problem().unwrap();
            assert_eq!(problem, format!("`env.count` is {count}\nhint: 1 to 1024 environments side by side"));
        }
        for action_repeat in [0, 1001] {
            let problem = EnvConfig { action_repeat, ..EnvConfig::new("Pendulum-v1") }.problem().unwrap();
            assert_eq!(
                problem,
                format!("`env.action_repeat` is {action_repeat}\nhint: an action is held for 1 to 1000 frames")
            );
        }
        let problem = EnvConfig { distractors: 257, ..EnvConfig::new("Pendulum-v1") }.problem().unwrap();
        assert_eq!(problem, "`env.distractors` is 257\nhint: at most 256");
        for (key, config) in [
            ("termination", EnvConfig { termination: Some(Termination::never()), ..EnvConfig::new("Pendulum-v1") }),
            (
                "gym",
                EnvConfig { gym: GymConfig { restarts: 0, ..GymConfig::default() }, ..EnvConfig::new("Pendulum-v1") },
            ),
        ] {
            let hint = "hint: it is for environments of Python, as `gym:Pendulum-v1`";
            assert_eq!(config.problem().unwrap(), format!("`env.{key}` is given for `Pendulum-v1`\n{hint}"));
        }
        for timeout in [0.0, f64::NAN, 1e6] {
            let gym = GymConfig { timeout, ..GymConfig::default() };
            let problem = EnvConfig { gym, ..EnvConfig::new("gym:Pendulum-v1") }.problem().unwrap();
            assert_eq!(problem, format!("`env.gym.timeout` is {timeout}\nhint: seconds, up to 86400"));
        }
        let problem = EnvConfig::new("Pendulum-v9").problem().unwrap();
        assert!(problem.starts_with("`env.id`: unknown environment `Pendulum-v9`\nhint: "), "{problem}");
    }
}
