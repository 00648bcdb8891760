//! The failures of the program, by exit code: 2 for bad input, 1 for a failed run.

use std::fmt;

use foresee::RunError;
use foresee::checkpoint::CheckpointError;
use foresee::config::ConfigError;
use foresee_report::ReportError;

use crate::records::RecordsError;

/// The reason why the program could not do its task.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user's input cannot be used. Nothing was written.
    Input(String),
    /// The input was accepted, and the run failed later.
    Run(String),
    /// The run failed because the task terminated and has no termination rule. It continues only with a rule.
    NoTerminationRule(String),
    /// The run failed, and fails again if it is resumed with the same config.
    Repeats {
        /// The message.
        message: String,
        /// An override with which the run may continue.
        change: String,
    },
}

impl Failure {
    /// Returns 2 for bad input, 1 for a failed run.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Run(_) | Self::NoTerminationRule(_) | Self::Repeats { .. } => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message)
            | Self::Run(message)
            | Self::NoTerminationRule(message)
            | Self::Repeats { message, .. } => f.write_str(message),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Input(error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Config(_) | RunError::Device(_) | RunError::State(_) | RunError::OtherPart { .. } => {
                Self::Input(error.to_string())
            }
            RunError::NoTerminationRule { .. } => Self::NoTerminationRule(error.to_string()),
            RunError::DeviceFailed { .. }
            | RunError::Env { .. }
            | RunError::Model { .. }
            | RunError::Imagination { .. }
            | RunError::Memory { .. }
            | RunError::Agent { .. } => Self::Run(error.to_string()),
        }
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Io { .. } | CheckpointError::Unstorable { .. } => Self::Run(error.to_string()),
            _ => Self::Input(error.to_string()),
        }
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        Self::Input(error.to_string())
    }
}

impl From<RecordsError> for Failure {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Io { .. } => Self::Run(error.to_string()),
            RecordsError::Foreign { .. } => Self::Input(error.to_string()),
        }
    }
}
