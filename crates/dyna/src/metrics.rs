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
/// Rows in the imagined buffer.
pub const IMAGINED_ROWS: &str = "imagination/buffer_rows";
/// Share of real rows in a batch.
pub const REAL_RATIO: &str = "imagination/real_ratio";
/// Real environment steps a second of wall clock; higher is better.
pub const FPS: &str = "time/fps";
/// Imagined transitions a second of wall clock; higher is better.
pub const IMAGINED_FPS: &str = "time/imagined_per_s";
/// Memory of the process, MiB; flat is well.
pub const RESIDENT_MIB: &str = "time/resident_mib";

/// Imagined transitions so far.
pub const IMAGINED_STEPS: &str = "imagination/steps";
