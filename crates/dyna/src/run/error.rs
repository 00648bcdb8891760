//! Why a run cannot go on.

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

/// Why a run cannot begin or go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration asks for something impossible.
    #[error("{0}")]
    Config(String),
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device failed at work: it was lost, or its memory is full. The run is to be dropped, and goes on from a snapshot
    /// that was taken before.
    #[error("at environment step {env_step}: the device `{device}` failed: {failure}\nhint: {}", way_on(failure))]
    DeviceFailed {
        /// Real steps taken.
        env_step: u64,
        /// The device.
        device: DeviceChoice,
        /// What it said.
        failure: DeviceFailure,
    },
    /// The environment failed.
    #[error("at environment step {env_step}: {error}")]
    Env {
        /// Real steps taken.
        env_step: u64,
        /// What it said.
        error: EnvError,
    },
    /// A task ended, and nobody has said when imagined states do.
    #[error(
        "at environment step {env_step}: `{id}` terminated at [{obs}], and nothing says when imagined states do\nhint: give bounds on entries of the observation beyond which they do, as `env.termination = {{ bounds = [{{ index = 0, low = 0.2, high = 1.0 }}] }}`, or a goal; or, if they should never, `env.termination = {{}}`"
    )]
    NoTerminationRule {
        /// Real steps taken.
        env_step: u64,
        /// The environment.
        id: String,
        /// The observation, or its first entries.
        obs: String,
    },
    /// The model's training diverged.
    #[error("at environment step {env_step}: {error}")]
    Model {
        /// Real steps taken.
        env_step: u64,
        /// What happened.
        error: Diverged,
    },
    /// The agent's training diverged.
    #[error(
        "at environment step {env_step}: the agent diverged: `{metric}` is {value}\nhint: lower the agent's step sizes or `training.updates_per_step`; of `sac` also try `agent.normalized_features = true`"
    )]
    Agent {
        /// Real steps taken.
        env_step: u64,
        /// Which number.
        metric: &'static str,
        /// Its value.
        value: f64,
    },
    /// A part of a saved state is another's.
    #[error(
        "the saved {section} is not that of `[{section}]`: {error}\nhint: a run keeps its {section}; undo the change of `{section}.…`, or start a new run"
    )]
    OtherPart {
        /// `agent` or `model`.
        section: &'static str,
        /// What does not fit.
        error: StateError,
    },
    /// A saved state does not belong to this configuration or version.
    #[error("{0}\nhint: the checkpoint was made by another configuration or version; start a new run")]
    State(#[from] StateError),
}

/// What to do about a device that failed.
fn way_on(failure: &DeviceFailure) -> &'static str {
    if failure.is_out_of_memory() {
        "other programs may hold its memory; else lower `rollout.starts_per_step` or `rollout.retain`, or go on with `device=cpu`"
    } else {
        "the run can go on there once its driver answers again, or with `device=cpu`"
    }
}
