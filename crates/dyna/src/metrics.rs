//! Names of everything a run reports. One place, each with its unit and which way is better.

/// Environment frames so far: real steps times `env.action_repeat`, steps of the task itself. Only where an action is held
/// for more than one of them; every other count and length is in real steps.
pub const FRAMES: &str = "env/frames";
/// Return of the episode that just ended under exploring actions, reward units; higher is better. Of several that ended
/// at once, the mean.
pub const EPISODE_RETURN: &str = "rollout/ep_rew_mean";
/// Its length, environment steps; of several, the mean.
pub const EPISODE_LENGTH: &str = "rollout/ep_len_mean";
/// Share of the real transitions so far that ended where the rule for imagined ones says otherwise, or did not where it
/// says so; 0 is right.
pub const TERMINATION_MISMATCH: &str = "env/termination_mismatch";

/// Mean undiscounted return of the mean action over the evaluation's episodes, reward units; higher is better.
pub const EVAL_RETURN: &str = "eval/mean_reward";
/// Standard deviation of those returns over episodes (ddof 1), reward units.
pub const EVAL_RETURN_STD: &str = "eval/std_reward";
/// Mean length of those episodes, environment steps.
pub const EVAL_LENGTH: &str = "eval/mean_ep_length";
/// Episodes of the evaluation.
pub const EVAL_EPISODES: &str = "eval/episodes";

/// Mean value at states of the last ten real episodes under the agent, reward units.
pub const VALUE_PREDICTED: &str = "train/value_predicted";
/// Mean discounted soft return that followed those states, reward units.
pub const VALUE_RETURNED: &str = "train/value_returned";
/// Their difference: 0 is right, positive too hopeful.
pub const VALUE_BIAS: &str = "train/value_bias";

pub use foresee_actor_critic::metrics::*;
pub use foresee_world_model::loss::vagram::GRADIENT_NORM as VALUE_GRADIENT_NORM;

/// Training loss of the model at its last gradient step, summed over members; lower is better, within one loss.
pub const MODEL_TRAIN_LOSS: &str = "model/train_loss";
/// Best holdout score of the elites, in the loss's own terms; lower is better, within one loss.
pub const MODEL_HOLDOUT_SCORE: &str = "model/holdout_score";
/// Squared error of the elites on the holdout, mean over channels; lower is better, comparable across losses.
pub const MODEL_HOLDOUT_MSE: &str = "model/holdout_mse";
/// The same over the task's own channels, its observation entries and the reward; only where there are distractors.
pub const MODEL_HOLDOUT_MSE_TASK: &str = "model/holdout_mse_task";
/// The same over the distracting observation entries; nothing of the return depends on it.
pub const MODEL_HOLDOUT_MSE_DISTRACTORS: &str = "model/holdout_mse_distractors";
/// Share of the holdout targets' variance that the elites explain, mean over the channels that vary: 1 is perfect, 0 is no better
/// than a constant. `model/explained_variance/obs_I` and `model/explained_variance/reward` are those of one channel, where there
/// are at most 65.
pub const MODEL_EXPLAINED: &str = "model/explained_variance";
/// The least of the channels.
pub const MODEL_LEAST_EXPLAINED: &str = "model/explained_variance_min";
/// Squared error of the elites beside that of the forecast that nothing changes, mean over observation entries; 0 is perfect,
/// 1 no better.
pub const MODEL_AGAINST_NO_CHANGE: &str = "model/error_over_no_change";
/// Gradient steps of the training call.
pub const MODEL_STEPS: &str = "model/gradient_steps";
/// Epochs of the training call.
pub const MODEL_EPOCHS: &str = "model/epochs";
/// Imagined steps of a rollout, at most.
pub const IMAGINED_HORIZON: &str = "imagination/horizon";
/// Mean reward of the imagined transitions of this call, reward units.
pub const IMAGINED_REWARD: &str = "imagination/reward_mean";
/// Share of this call's rollouts that terminated.
pub const IMAGINED_TERMINATED: &str = "imagination/terminated_share";
/// Share of this call's imagined states with an entry below or above that of every real state; 0 is inside the data. Only where
/// they are in host memory.
pub const IMAGINED_OUTSIDE: &str = "imagination/outside_share";
/// Rows in the imagined buffer.
pub const IMAGINED_ROWS: &str = "imagination/buffer_rows";
/// Share of real rows in a batch.
pub const REAL_RATIO: &str = "imagination/real_ratio";
/// Real environment steps a second of wall clock; higher is better.
pub const FPS: &str = "time/fps";
/// Imagined transitions a second of wall clock; higher is better.
pub const IMAGINED_FPS: &str = "time/imagined_per_s";
/// Seconds since the last line of this kind that went into real steps.
pub const TIME_ACT: &str = "time/act_s";
/// Into fits of the model.
pub const TIME_FIT: &str = "time/fit_s";
/// Into imagined rollouts.
pub const TIME_IMAGINE: &str = "time/imagine_s";
/// Into updates of the agent.
pub const TIME_UPDATE: &str = "time/update_s";
/// Into evaluations, with the few updates of the agent that are of the same slice.
pub const TIME_EVALUATE: &str = "time/evaluate_s";
/// Memory of the process, MiB; flat is well.
pub const RESIDENT_MIB: &str = "time/resident_mib";

/// Imagined transitions so far.
pub const IMAGINED_STEPS: &str = "imagination/steps";
