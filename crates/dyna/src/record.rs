//! What the training loop reports: one row of named numbers, at one count of environment steps.

/// The numbers reported after an environment step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Real environment steps taken so far, exploration included.
    pub env_step: u64,
    /// Metric names and values, in the order in which they are written. A name appears once.
    pub values: Vec<(&'static str, f64)>,
}
