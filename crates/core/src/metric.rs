//! Metrics: what a number that a run records means, and names of those that have one value per part.
//!
//! [`metrics!`](crate::metrics) declares metrics, each as a constant with its name and as an entry of a list. The list
//! is printed by `foresee list metrics`.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The meaning of a number that a run records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name in records and in TensorBoard. A metric with one value per part has the kind of part at its end, in
    /// capitals, such as `train/horizon_gradient/K`.
    pub name: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// The direction in which the number should go.
    pub direction: Direction,
    /// A good value, in words.
    pub good: &'static str,
    /// The meaning, in sentences; lines of a doc comment, each after a space.
    pub description: &'static str,
}

impl Metric {
    /// Returns true if a recorded name is the name of this metric or of one of its parts.
    #[must_use]
    pub fn has_name(&self, recorded: &str) -> bool {
        match self.name.rsplit_once('/') {
            Some((base, part)) if part.chars().all(|c| c.is_ascii_uppercase()) => {
                recorded.strip_prefix(base).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
            }
            _ => recorded == self.name,
        }
    }
}

/// The direction in which a metric should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Higher is better.
    Higher,
    /// Lower is better.
    Lower,
    /// 0 is right; both signs are faults.
    Zero,
    /// Neither: the number describes the run.
    Neither,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::Zero => "0",
            Self::Neither => "-",
        })
    }
}

/// Declares metrics: a public constant with the name of each, and a list of [`Metric`]s.
///
/// An entry is a doc comment, the constant, the name, the unit, the [`Direction`] and a good value. A metric with one
/// value per part has the kind of part after a slash; its constant is the name without the part.
///
/// ```
/// foresee_core::metrics! {
///     /// The metrics of this module.
///     METRICS:
///     /// Loss at the last step.
///     LOSS = "train/loss", "squared reward units", Lower, "it settles";
///     /// Error of a channel.
///     ERROR = "train/error" / "CHANNEL", "-", Lower, "near 0";
/// }
/// assert_eq!((LOSS, ERROR), ("train/loss", "train/error"));
/// assert_eq!(METRICS[1].name, "train/error/CHANNEL");
/// assert!(METRICS[1].has_name("train/error/obs_3") && !METRICS[1].has_name("train/error"));
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$attribute:meta])* $list:ident:
        $(
            $(#[doc = $line:literal])+
            $constant:ident = $name:literal $(/ $part:literal)?, $unit:literal, $direction:ident, $good:literal;
        )+
    ) => {
        $(
            $(#[doc = $line])+
            #[doc = ""]
            #[doc = concat!("Unit: ", $unit, ". A good value: ", $good, ".")]
            pub const $constant: &str = $name;
        )+

        $(#[$attribute])*
        pub const $list: &[$crate::metric::Metric] = &[$(
            $crate::metric::Metric {
                name: concat!($name $(, "/", $part)?),
                unit: $unit,
                direction: $crate::metric::Direction::$direction,
                good: $good,
                description: concat!($($line),+),
            }
        ),+];
    };
}

/// Every name that [`of_part`] has returned.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Returns `base/part`. Each text is allocated once and kept until the program ends, so a caller may request a name at
/// every report.
#[must_use]
pub fn of_part(base: &str, part: impl fmt::Display) -> &'static str {
    let name = format!("{base}/{part}");
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let leaked: &'static str = name.leak();
    names.insert(leaked);
    leaked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once() {
        let [first, again] = [0; 2].map(|_| of_part("model/explained_variance", "reward"));
        assert_eq!(first, "model/explained_variance/reward");
        assert!(std::ptr::eq(first, again));
        assert_eq!(of_part("model/explained_variance", 3), "model/explained_variance/3");
    }
}
