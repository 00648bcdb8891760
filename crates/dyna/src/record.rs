//! A record: one row of named numbers that the training loop reports at one count of environment steps.

/// The numbers reported after an environment step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Number of real environment steps so far, exploration included.
    pub env_step: u64,
    /// Names and values of metrics, in the order in which they are written. Every name appears once.
    pub values: Vec<(&'static str, f64)>,
}
