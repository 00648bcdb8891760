//! Names of the numbers that an update reports, with their units and, where it matters, which direction is better.

/// Sum of the critics' squared errors at the last update, squared reward units; small values are a sign of stable
/// training.
pub const CRITIC_LOSS: &str = "train/critic_loss";
/// Mean regression target of the critics at the last update, reward units.
pub const TARGET_VALUE: &str = "train/target_value";
/// The actor's loss at the last update, reward units; lower is better.
pub const ACTOR_LOSS: &str = "train/actor_loss";
/// Mean entropy of the policy at the last update, nats; moves towards the target entropy.
pub const ENTROPY: &str = "train/entropy";
/// Temperature α, reward units per nat.
pub const TEMPERATURE: &str = "train/ent_coef";
/// Lower bound of the values, reward units; reported by `dhmbpo`.
pub const VALUE_LOW: &str = "train/value_low";
/// Upper bound of the values, reward units; reported by `dhmbpo`.
pub const VALUE_HIGH: &str = "train/value_high";
/// Share of the differentiable rollouts that reach their horizon; reported by `dhmbpo`.
pub const HORIZON_ALIVE: &str = "train/horizon_alive";
/// Mean reward of the differentiable rollouts, reward units; higher is better; reported by `dhmbpo`.
pub const HORIZON_REWARD: &str = "train/horizon_reward";
/// Norm of the gradient of a differentiable rollout's soft return with respect to an imagined state; reported by
/// `dhmbpo`.
///
/// The full name is `train/horizon_gradient/K`, where step K ≥ 1 reaches the state. The number is a mean over the
/// batch, in reward units per standard deviation of an observation. It should neither vanish nor explode towards step
/// 1.
pub const HORIZON_GRADIENT: &str = "train/horizon_gradient";
/// Number of updates of the agent so far.
pub const UPDATES: &str = "train/n_updates";
