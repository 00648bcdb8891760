//! Names of what an update reports, each with its unit and which way is better.

/// Sum of the critics' squared errors at the last update, squared reward units; small is calm.
pub const CRITIC_LOSS: &str = "train/critic_loss";
/// Mean regression target of the critics at the last update, reward units.
pub const TARGET_VALUE: &str = "train/target_value";
/// The actor's loss at the last update, reward units; lower is better.
pub const ACTOR_LOSS: &str = "train/actor_loss";
/// Mean entropy of the policy at the last update, nats; drifts to the target entropy.
pub const ENTROPY: &str = "train/entropy";
/// Temperature α, reward units a nat.
pub const TEMPERATURE: &str = "train/ent_coef";
/// Lower bound of the values, reward units; `dhmbpo`.
pub const VALUE_LOW: &str = "train/value_low";
/// Upper bound of the values, reward units; `dhmbpo`.
pub const VALUE_HIGH: &str = "train/value_high";
/// Share of the differentiable rollouts that reach their horizon; `dhmbpo`.
pub const HORIZON_ALIVE: &str = "train/horizon_alive";
/// Mean reward of the differentiable rollouts, reward units; higher is better; `dhmbpo`.
pub const HORIZON_REWARD: &str = "train/horizon_reward";
/// `train/horizon_gradient/K`: norm of the gradient of a rollout's soft return at the state that its step K ≥ 1 reaches,
/// mean over the batch, reward units a deviation of an observation. It should neither vanish nor explode towards step 1;
/// `dhmbpo`.
pub const HORIZON_GRADIENT: &str = "train/horizon_gradient";
/// Updates of the agent so far.
pub const UPDATES: &str = "train/n_updates";
