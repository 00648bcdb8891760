//! Errors that stop a run.

use std::collections::TryReserveError;

use foresee_core::StateError;
use foresee_env::EnvError;
use foresee_nn::device::{DeviceChoice, DeviceError, DeviceFailure};
use foresee_world_model::Diverged;
use thiserror::Error;

use crate::config::{Algo, Config};
use crate::rollout::{Exploded, Explosion};
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
        "at environment step {env_step}: `{id}` terminated at [{obs}], but `env.termination` is not set{}\nhint: resume the run with the rule as an override, such as `env.termination={{bounds=[{{index=0, low=0.2, high=1.0}}]}}`, which ends an episode when observation entry 0 leaves (0.2, 1.0); `env.termination={{}}` never ends one, and `model.termination=learned` learns the ends from the real ones",
        .dropped.as_ref().map_or(String::new(), |reason| format!(", and {reason}"))
    )]
    NoTerminationRule {
        /// Number of real steps taken.
        env_step: u64,
        /// The environment's id.
        id: String,
        /// The observation, or its first entries.
        obs: String,
        /// The reason why a rule that is known for the task does not hold, if there is one.
        dropped: Option<String>,
    },
    /// The model's training diverged.
    #[error("at environment step {env_step}: {error}")]
    Model {
        /// Number of real steps taken.
        env_step: u64,
        /// The description of the divergence.
        error: Diverged,
    },
    /// Imagined transitions cannot be used: the model has left its data far behind, or the actor diverged.
    #[error("at environment step {env_step}: {}\nhint: {}", exploded(explosion), explosion_hint(explosion, *algo))]
    Imagination {
        /// Number of real steps taken.
        env_step: u64,
        /// The first transition that cannot be used.
        explosion: Explosion,
        /// The algorithm, which names the key of the horizon.
        algo: Algo,
    },
    /// There is no memory for imagined transitions.
    #[error(
        "at environment step {env_step}: there is no memory for {rows} more imagined transitions: {error}\nhint: end other programs, or lower `rollout.starts_per_step`, `rollout.horizon`, `rollout.retain_epochs` or (for `dhmbpo`) `double_horizon.pool`"
    )]
    Memory {
        /// Number of real steps taken.
        env_step: u64,
        /// Number of transitions of the next imagined step.
        rows: usize,
        /// The error of the allocation.
        error: TryReserveError,
    },
    /// The agent's training diverged.
    #[error("at environment step {env_step}: the agent diverged: `{metric}` is {value}\nhint: {AGENT_HINT}")]
    Agent {
        /// Number of real steps taken.
        env_step: u64,
        /// Name of the diverged number.
        metric: &'static str,
        /// Its value.
        value: f64,
    },
    /// The saved state of the agent or the model was written under other keys of its section, such as another `kind`.
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
            Self::Env { error, .. } => !error.is_of_action() && !error.is_of_reward(),
            Self::NoTerminationRule { .. } => true,
            Self::Config(_)
            | Self::Device(_)
            | Self::DeviceFailed { .. }
            | Self::Model { .. }
            | Self::Imagination { .. }
            | Self::Memory { .. }
            | Self::Agent { .. }
            | Self::OtherPart { .. }
            | Self::State(_) => false,
        }
    }

    /// Returns an override that may let the run continue, if resuming with the same configuration repeats the error.
    #[must_use]
    pub fn remedy(&self, config: &Config) -> Option<String> {
        let slower_agent = || {
            let rate = config.agent.keys.get("critic_lr").and_then(toml::Value::as_float);
            rate.map(|rate| format!("agent.critic_lr={:.1e}", rate / 10.0))
        };
        let blocks = config.algo == Algo::Dhmbpo;
        match self {
            Self::Agent { .. } => slower_agent(),
            Self::Env { error, .. } if error.is_of_action() => slower_agent(),
            Self::Model { .. } => Some(format!("model.fit.lr={:.1e}", config.model.fit.lr / 10.0)),
            Self::Imagination { explosion, .. } => match (explosion.what, explosion.step / 2) {
                (Exploded::Action(_), _) => slower_agent(),
                (_, 0) => Some(format!("model.fit.lr={:.1e}", config.model.fit.lr / 10.0)),
                (_, horizon) if blocks => Some(format!("double_horizon.horizon={horizon}")),
                (_, horizon) => Some(format!("rollout.horizon={horizon}")),
            },
            Self::Memory { .. } if blocks => Some(format!("double_horizon.pool={}", config.double_horizon.pool / 2)),
            Self::Memory { .. } => {
                Some(format!("rollout.starts_per_step={}", (config.rollout.starts_per_step / 2).max(1)))
            }
            _ => None,
        }
    }
}

/// Describes an imagined transition that cannot be used.
fn exploded(explosion: &Explosion) -> String {
    let Explosion { step, what, value } = *explosion;
    let is = if value.is_finite() {
        format!("{value:e}, far outside the real states")
    } else {
        format!("{value}, not finite")
    };
    match what {
        Exploded::State(entry) => {
            format!("the model's imagination exploded: at step {step} of a rollout, entry {entry} of the state is {is}")
        }
        Exploded::Reward => {
            format!("the model's imagination exploded: at step {step} of a rollout, the reward is {is}")
        }
        Exploded::Rewards => {
            format!("the model's imagination exploded: the sum of the rewards of rollouts of {step} steps is {is}")
        }
        Exploded::Action(entry) => {
            format!("the agent diverged: at step {step} of a rollout, entry {entry} of its action is {is}")
        }
    }
}

/// Returns the advice for an imagined transition that cannot be used.
fn explosion_hint(explosion: &Explosion, algo: Algo) -> String {
    if let Exploded::Action(_) = explosion.what {
        return AGENT_HINT.into();
    }
    let key = if algo == Algo::Dhmbpo { "double_horizon.horizon" } else { "rollout.horizon" };
    let shorter = match (explosion.what, explosion.step) {
        (Exploded::Rewards, _) | (_, 1) => String::new(),
        (_, step) => format!(" below {step}"),
    };
    format!(
        "lower `{key}`{shorter}, or train the model longer before it imagines so far: raise `training.explore_steps` or `model.fit.max_steps`"
    )
}

/// The advice for an agent that diverged.
const AGENT_HINT: &str = "lower the agent's learning rates or `training.updates_per_step`; with `agent.kind = \"sac\"` also try `agent.normalized_features = true`";

/// Returns the advice for a failed device.
fn device_hint(failure: &DeviceFailure) -> &'static str {
    if failure.is_out_of_memory() {
        "close other programs that use its memory, lower `rollout.starts_per_step`, `rollout.retain_epochs` or (for `dhmbpo`) `double_horizon.pool`, or resume with `device=cpu`"
    } else {
        "resume the run once the device's driver works again, or resume it with `device=cpu`"
    }
}
