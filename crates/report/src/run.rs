//! A run: its evaluations, its task, its seed and its config.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A config as dotted keys with their values as text, such as `model.loss.kind` and `mle`.
pub type FlatConfig = BTreeMap<String, String>;

/// An evaluation of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Number of real environment steps before the evaluation.
    pub step: u64,
    /// Mean return of the evaluation's episodes.
    pub value: f64,
    /// Seconds of wall time since the start of the run, if they are known.
    pub seconds: Option<f64>,
}

/// A run of one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The folder or file.
    pub path: PathBuf,
    /// The name that the user gave to the runs of this path.
    pub label: Option<String>,
    /// Name of the experiment: the folder of its runs, or the column `exp_name`.
    pub name: String,
    /// The environment, if it is known.
    pub task: Option<String>,
    /// The seed, if it is known.
    pub seed: Option<u64>,
    /// All keys of the config, if the run has one.
    pub config: Option<FlatConfig>,
    /// Whether the runs of one name form a group. Otherwise runs with equal configs do.
    pub by_name: bool,
    /// Text that distinguishes configs of equal names if there is no `config`, such as a hash.
    pub fingerprint: String,
    /// The evaluations with finite returns, by step.
    pub points: Vec<Point>,
}

/// The runs of all given paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runs {
    /// The runs in the order of the paths; inside a folder by name. Every run has an evaluation, a task and a seed.
    pub runs: Vec<Run>,
    /// Remarks on what was left out or assumed.
    pub notes: Vec<String>,
}

impl Run {
    /// Returns the return at a step: that of the evaluation at this step, or the linear interpolation between the
    /// evaluations before and after it. None before the first and after the last evaluation.
    #[must_use]
    pub fn value_at(&self, step: u64) -> Option<f64> {
        self.between(step, |point| Some(point.value))
    }

    /// Returns the seconds at a step, interpolated between evaluations as in [`Run::value_at`].
    #[must_use]
    pub fn seconds_at(&self, step: u64) -> Option<f64> {
        self.between(step, |point| point.seconds)
    }

    /// Returns the first and the last step with an evaluation.
    ///
    /// # Panics
    /// If the run has no evaluation.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        let ends = self.points.first().zip(self.points.last()).expect("a run with an evaluation");
        (ends.0.step, ends.1.step)
    }

    fn between(&self, step: u64, of: impl Fn(&Point) -> Option<f64>) -> Option<f64> {
        let after = self.points.partition_point(|point| point.step < step);
        let next = self.points.get(after)?;
        if next.step == step {
            return of(next);
        }
        let last = self.points.get(after.checked_sub(1)?)?;
        let share = (step - last.step) as f64 / (next.step - last.step) as f64;
        let (from, to) = (of(last)?, of(next)?);
        Some(from + share * (to - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_interpolated_between_evaluations_and_not_carried_beyond_them() {
        let point = |(step, value, seconds)| Point { step, value, seconds };
        let run = Run {
            path: "a".into(),
            label: None,
            name: "a".into(),
            task: None,
            seed: Some(0),
            config: None,
            by_name: true,
            fingerprint: String::new(),
            points: [(100, -4.0, Some(1.0)), (200, 0.0, None), (400, 8.0, Some(7.0))].map(point).to_vec(),
        };
        let values: Vec<_> = [99, 100, 150, 200, 350, 400, 401].map(|step| run.value_at(step)).to_vec();
        assert_eq!(values, [None, Some(-4.0), Some(-2.0), Some(0.0), Some(6.0), Some(8.0), None]);
        assert_eq!([100, 150, 200, 400].map(|step| run.seconds_at(step)), [Some(1.0), None, None, Some(7.0)]);
        assert_eq!(run.span(), (100, 400));
    }
}
