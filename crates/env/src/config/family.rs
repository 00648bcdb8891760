//! The keys of `[env.family]`, which describe variants of a task. Every reset draws one variant.

use core::fmt::Display;

use foresee_core::limits::refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, Physics};
use crate::error::EnvError;

/// Range of the factors. A factor beyond it leaves nothing of the task.
const FACTORS: [f64; 2] = [1e-3, 1e3];
/// Longest delay, in frames.
const MAX_DELAY: u32 = 1000;
/// Largest standard deviation of the sensor noise, in units of the observation.
const MAX_SENSOR_NOISE: f64 = 1e3;

/// The keys of `[env.family]`: the differences from the task that the id names. A number is used in every episode; from
/// an interval `[low, high]` every reset draws a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FamilyConfig {
    /// Factor on every mass.
    pub mass: Range,
    /// Factor on every length.
    pub length: Range,
    /// Factor on the acceleration of gravity.
    pub gravity: Range,
    /// Delay of the actions, in frames (steps of the task itself). Before the first action takes effect, the task gets
    /// the action nearest to zero.
    pub delay: Steps,
    /// Standard deviation of the Gaussian noise on every observation entry, in the entry's unit.
    pub sensor_noise: Range,
}

/// A number, or an interval from which a number is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a number, or two numbers [low, high]")]
pub enum Range {
    /// The same number in every episode.
    Fixed(f64),
    /// `[low, high]`: uniform between the two.
    Uniform([f64; 2]),
}

/// A number of steps, or an interval from which one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a whole number, or two whole numbers [low, high]")]
pub enum Steps {
    /// The same number in every episode.
    Fixed(u32),
    /// `[low, high]`: all whole numbers from `low` to `high` are equally likely.
    Uniform([u32; 2]),
}

impl Range {
    /// Returns the least and the largest value.
    #[must_use]
    pub fn ends(self) -> [f64; 2] {
        match self {
            Self::Fixed(value) => [value; 2],
            Self::Uniform(ends) => ends,
        }
    }
}

impl Steps {
    /// Returns the least and the largest value.
    #[must_use]
    pub fn ends(self) -> [u32; 2] {
        match self {
            Self::Fixed(value) => [value; 2],
            Self::Uniform(ends) => ends,
        }
    }
}

impl Default for FamilyConfig {
    fn default() -> Self {
        let [factor, noise] = [1.0, 0.0].map(Range::Fixed);
        Self { mass: factor, length: factor, gravity: factor, delay: Steps::Fixed(0), sensor_noise: noise }
    }
}

impl FamilyConfig {
    /// Whether the only member of the family is the task itself.
    #[must_use]
    pub fn is_nominal(&self) -> bool {
        let Self { mass, length, gravity, delay, sensor_noise } = self;
        [mass, length, gravity].iter().all(|factor| factor.ends() == [1.0; 2])
            && delay.ends() == [0; 2]
            && sensor_noise.ends() == [0.0; 2]
    }

    /// Checks that the task can take the physics of every member of the family. Afterwards the task has its nominal
    /// physics again.
    ///
    /// # Errors
    /// If an interval is empty or too wide, or the task does not have the parameter.
    pub(crate) fn check(&self, task: &mut dyn Environment) -> Result<(), EnvError> {
        let Self { mass, length, gravity, delay, sensor_noise } = *self;
        let nominal = Physics::default();
        type WithFactor = fn(Physics, f64) -> Physics;
        let factors: [(&str, Range, WithFactor); 3] = [
            ("mass", mass, |physics, mass| Physics { mass, ..physics }),
            ("length", length, |physics, length| Physics { length, ..physics }),
            ("gravity", gravity, |physics, gravity| Physics { gravity, ..physics }),
        ];
        for (key, range, with_factor) in factors {
            within(key, range.ends(), FACTORS, 1.0)?;
            for end in range.ends() {
                let outcome = task.set_physics(with_factor(nominal, end));
                outcome.map_err(|error| EnvError::Config(format!("`env.family.{key}`: {error}")))?;
            }
        }
        within("delay", delay.ends(), [0, MAX_DELAY], 0)?;
        within("sensor_noise", sensor_noise.ends(), [0.0, MAX_SENSOR_NOISE], 0.0)?;
        task.set_physics(nominal)
    }
}

/// Checks that an interval is not empty and is within two bounds.
fn within<T: PartialOrd + Display>(
    key: &str,
    [low, high]: [T; 2],
    [min, max]: [T; 2],
    default: T,
) -> Result<(), EnvError> {
    if min <= low && low <= high && high <= max {
        return Ok(());
    }
    let [low, high] = [low, high].map(|end| end.to_string());
    let found = if low == high { low } else { format!("[{low}, {high}]") };
    let allowed = format!("{min} to {max}, or [low, high] in this range");
    Err(EnvError::Config(refusal(&format!("env.family.{key}"), found, allowed, default)))
}
