//! Bounds that the config keys of several crates share, and the message for a value outside its bounds.

use core::fmt::Display;

/// Largest allowed width of a hidden layer. The weights between two layers of this width take 16 GiB.
pub const MAX_WIDTH: usize = 1 << 16;

/// Largest allowed number of rows in a batch. A larger number is assumed to be a typing error.
pub const MAX_BATCH: usize = 1 << 24;

/// A smaller standard deviation of an observation entry counts as zero: the model takes the entry for constant.
pub const CONSTANT_DEVIATION: f64 = 1e-5;

/// Returns the message for a value that its key cannot have. `allowed` completes the sentence "it must be …".
///
/// ```
/// let message = foresee_core::limits::refusal("agent.tau", 2, "above 0 and at most 1", 0.005);
/// assert_eq!(message, "`agent.tau` is 2; it must be above 0 and at most 1\nhint: the default is 0.005");
/// ```
#[must_use]
pub fn refusal(key: &str, value: impl Display, allowed: impl Display, default: impl Display) -> String {
    format!("`{key}` is {value}; it must be {allowed}\nhint: the default is {default}")
}
