//! The numbers that an update reports.

foresee_core::metrics! {
    /// All metrics of this module.
    METRICS:
    /// Sum of the critics' squared errors at the last update.
    CRITIC_LOSS = "train/critic_loss", "squared reward units", Neither, "it settles; steady growth is a sign of divergence";
    /// Mean regression target of the critics at the last update.
    TARGET_VALUE = "train/target_value", "reward units", Neither, "near the discounted returns of recent episodes";
    /// The actor's loss at the last update.
    ACTOR_LOSS = "train/actor_loss", "reward units", Neither, "near the negative of train/target_value";
    /// Mean entropy of the policy at the last update.
    ENTROPY = "train/entropy", "nats", Neither, "it approaches agent.target_entropy";
    /// Temperature α: the weight of the entropy beside the reward.
    TEMPERATURE = "train/ent_coef", "reward units per nat", Neither, "small beside the rewards, and not shrinking to 0";
    /// Lower bound of the values; reported by `dhmbpo`.
    VALUE_LOW = "train/value_low", "reward units", Neither, "below train/target_value";
    /// Upper bound of the values; reported by `dhmbpo`.
    VALUE_HIGH = "train/value_high", "reward units", Neither, "above train/target_value";
    /// Share of the differentiable rollouts that reach their horizon; reported by `dhmbpo`.
    HORIZON_ALIVE = "train/horizon_alive", "share", Higher, "1, once the policy keeps episodes alive";
    /// Mean reward of the differentiable rollouts; reported by `dhmbpo`.
    HORIZON_REWARD = "train/horizon_reward", "reward units", Higher, "the mean reward of real steps";
    /// Norm of the gradient of a differentiable rollout's soft return with respect to an imagined state, mean over the
    /// batch; reported by `dhmbpo`. Step K, from 1, reaches the state.
    HORIZON_GRADIENT = "train/horizon_gradient" / "K", "reward units per standard deviation of an observation", Neither,
        "it neither vanishes nor explodes towards step 1";
    /// Number of updates of the agent so far.
    UPDATES = "train/n_updates", "updates", Neither, "as the config asks for";
}
