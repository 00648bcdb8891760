//! Errors that stop a run.

use foresee_core::StateError;
use foresee_env::EnvError;
use foresee_nn::device::{DeviceChoice, DeviceError, DeviceFailure};
use foresee_world_model::Diverged;
use thiserror::Error;

use crate::setup::Problem;

impl From<Problem> for RunError {
    fn from(problem: Problem) -> Self {
        Self::Config(problem.to_string())
    }
}

/// A reason why a run cannot begin or continue.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration asks for something impossible.
    #[error("{0}")]
    Config(String),
    /// The device is unavailable.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device failed during the run: it was lost, or its memory is full. The run must be dropped, and can continue
    /// from an earlier snapshot.
    #[error("at environment step {env_step}: the device `{device}` failed: {failure}\nhint: {}", device_hint(failure))]
    DeviceFailed {
        /// Number of real steps taken.
        env_step: u64,
        /// The device.
        device: DeviceChoice,
        /// The device's error.
        failure: DeviceFailure,
    },
    /// The environment failed.
    #[error("at environment step {env_step}: {error}")]
    Env {
        /// Number of real steps taken.
        env_step: u64,
        /// The environment's error.
        error: EnvError,
    },
    /// A task terminated, and there is no rule for imagined terminations.
    #[error(
        "at environment step {env_step}: `{id}` terminated at [{obs}], but `env.termination` is not set\nhint: resume the run with the rule as an override, such as `env.termination={{bounds=[{{index=0, low=0.2, high=1.0}}]}}`, which ends an episode when observation entry 0 leaves (0.2, 1.0); `env.termination={{}}` never ends one"
    )]
    NoTerminationRule {
        /// Number of real steps taken.
        env_step: u64,
        /// The environment's id.
        id: String,
        /// The observation, or its first entries.
        obs: String,
    },
    /// The model's training diverged.
    #[error("at environment step {env_step}: {error}")]
    Model {
        /// Number of real steps taken.
        env_step: u64,
        /// The description of the divergence.
        error: Diverged,
    },
    /// The agent's training diverged.
    #[error(
        "at environment step {env_step}: the agent diverged: `{metric}` is {value}\nhint: lower the agent's learning rates or `training.updates_per_step`; with `agent.kind = \"sac\"` also try `agent.normalized_features = true`"
    )]
    Agent {
        /// Number of real steps taken.
        env_step: u64,
        /// Name of the diverged number.
        metric: &'static str,
        /// Its value.
        value: f64,
    },
    /// The saved state of the agent or the model belongs to another kind or configuration of it.
    #[error(
        "the saved {section} does not fit `[{section}]`: {error}\nhint: undo the changes of `[{section}]`, or start a new run"
    )]
    OtherPart {
        /// `agent` or `model`.
        section: &'static str,
        /// The mismatch.
        error: StateError,
    },
    /// A saved state does not belong to this configuration or version.
    #[error("{0}\nhint: resume with the config and the program version that wrote the checkpoint, or start a new run")]
    State(#[from] StateError),
}

impl RunError {
    /// Whether the run can be saved after [`Run::advance`](super::Run::advance) returned this error: the environment is
    /// at fault, and agent, model and buffers are sound. A resumed run begins new episodes if the error cut the old ones.
    #[must_use]
    pub fn keeps_run(&self) -> bool {
        match self {
            Self::Env { error, .. } => !error.is_of_action(),
            Self::NoTerminationRule { .. } => true,
            Self::Config(_)
            | Self::Device(_)
            | Self::DeviceFailed { .. }
            | Self::Model { .. }
            | Self::Agent { .. }
            | Self::OtherPart { .. }
            | Self::State(_) => false,
        }
    }
}

/// Returns the advice for a failed device.
fn device_hint(failure: &DeviceFailure) -> &'static str {
    if failure.is_out_of_memory() {
        "close other programs that use its memory, lower `rollout.starts_per_step`, `rollout.retain_epochs` or (for `dhmbpo`) `double_horizon.pool`, or resume with `device=cpu`"
    } else {
        "resume the run once the device's driver works again, or resume it with `device=cpu`"
    }
}
