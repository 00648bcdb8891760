//! The keys of `[env.family]`: variants of a task, of which every reset draws one.

use core::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::environment::{Environment, Physics};
use crate::error::EnvError;

/// Beyond them nothing is left of a task.
const FACTORS: [f64; 2] = [1e-3, 1e3];
/// Frames.
const LONGEST_DELAY: u32 = 1000;
/// In units of the observation.
const LOUDEST_NOISE: f64 = 1e3;

/// `[env.family]`: what differs from the task that the id names. A number holds always; of `[low, high]` every reset
/// draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FamilyConfig {
    /// Factor on every mass.
    pub mass: Range,
    /// Factor on every length.
    pub length: Range,
    /// Factor on the acceleration of gravity.
    pub gravity: Range,
    /// Frames, steps of the task itself, until an action acts; no action acts before the first one does.
    pub delay: Steps,
    /// Standard deviation of the Gaussian noise on every observation entry, in the entry's unit.
    pub sensor_noise: Range,
}

/// A number, or an interval to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, or two numbers [low, high]")]
pub enum Range {
    /// Always this.
    Fixed(f64),
    /// `[low, high]`: uniform between them.
    Uniform([f64; 2]),
}

/// A number of steps, or an interval to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a whole number, or two whole numbers [low, high]")]
pub enum Steps {
    /// Always this.
    Fixed(u32),
    /// `[low, high]`: each of them and of those between equally likely.
    Uniform([u32; 2]),
}

impl Range {
    /// The least and the largest value.
    #[must_use]
    pub fn ends(self) -> [f64; 2] {
        match self {
            Self::Fixed(value) => [value; 2],
            Self::Uniform(ends) => ends,
        }
    }
}

impl Steps {
    /// The least and the largest value.
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
    /// Whether it is the task itself.
    #[must_use]
    pub fn is_nominal(&self) -> bool {
        let Self { mass, length, gravity, delay, sensor_noise } = self;
        [mass, length, gravity].iter().all(|factor| factor.ends() == [1.0; 2])
            && delay.ends() == [0; 2]
            && sensor_noise.ends() == [0.0; 2]
    }

    /// Checks that a task can have all of the family's members; it is itself again after.
    ///
    /// # Errors
    /// If an interval is empty or too wide, or the task does not have the parameter.
    pub(crate) fn check(&self, task: &mut dyn Environment) -> Result<(), EnvError> {
        let Self { mass, length, gravity, delay, sensor_noise } = *self;
        let nominal = Physics::default();
        type Turned = fn(Physics, f64) -> Physics;
        let factors: [(&str, Range, Turned); 3] = [
            ("mass", mass, |physics, mass| Physics { mass, ..physics }),
            ("length", length, |physics, length| Physics { length, ..physics }),
            ("gravity", gravity, |physics, gravity| Physics { gravity, ..physics }),
        ];
        for (key, range, turned) in factors {
            within(key, range.ends(), FACTORS)?;
            for end in range.ends() {
                let outcome = task.set_physics(turned(nominal, end));
                outcome.map_err(|error| EnvError::Config(format!("`env.family.{key}`: {error}")))?;
            }
        }
        within("delay", delay.ends(), [0, LONGEST_DELAY])?;
        within("sensor_noise", sensor_noise.ends(), [0.0, LOUDEST_NOISE])?;
        task.set_physics(nominal)
    }
}

/// Checks that an interval is one and lies between two bounds.
fn within<T: PartialOrd + Display>(key: &str, [low, high]: [T; 2], [least, most]: [T; 2]) -> Result<(), EnvError> {
    if least <= low && low <= high && high <= most {
        return Ok(());
    }
    let [low, high] = [low, high].map(|end| end.to_string());
    let found = if low == high { low } else { format!("[{low}, {high}]") };
    let hint = format!("hint: {least} to {most}, or [low, high] within these");
    Err(EnvError::Config(format!("`env.family.{key}` is {found}\n{hint}")))
}
