//! Names of all numbers that a run reports, with their units and, where it matters, which direction is better.

/// Number of environment frames so far: real steps times `env.action_repeat`. A frame is one step of the task itself.
/// Reported only if an action is repeated. All other counts and lengths are in real steps.
pub const FRAMES: &str = "env/frames";
/// Return of a real episode that just ended under exploring actions, reward units; higher is better. A mean if several
/// ended in the same step. `rollout/ep_rew_mean` in records of older versions.
pub const EPISODE_RETURN: &str = "episode/return";
/// Length of a real episode that just ended, environment steps; a mean if several ended in the same step.
/// `rollout/ep_len_mean` in records of older versions.
pub const EPISODE_LENGTH: &str = "episode/length";
/// Share of the real transitions so far whose termination differs from the rule for imagined transitions; 0 is right.
pub const TERMINATION_MISMATCH: &str = "env/termination_mismatch";

/// Mean undiscounted return of the evaluation's episodes under the actions of evaluation, reward units; higher is
/// better.
pub const EVAL_RETURN: &str = "eval/mean_reward";
/// Standard deviation of the returns of the evaluation's episodes (ddof 1), reward units.
pub const EVAL_RETURN_STD: &str = "eval/std_reward";
/// Mean length of the evaluation's episodes, environment steps.
pub const EVAL_LENGTH: &str = "eval/mean_ep_length";
/// Number of episodes of the evaluation.
pub const EVAL_EPISODES: &str = "eval/episodes";

/// Mean value at states of the last ten real episodes after exploration, reward units.
pub const VALUE_PREDICTED: &str = "train/value_predicted";
/// Mean discounted soft return that followed the states of [`VALUE_PREDICTED`], reward units.
pub const VALUE_RETURNED: &str = "train/value_returned";
/// [`VALUE_PREDICTED`] minus [`VALUE_RETURNED`]: 0 is right, a positive number is an overestimate.
pub const VALUE_BIAS: &str = "train/value_bias";

pub use foresee_actor_critic::metrics::*;
pub use foresee_world_model::loss::vagram::GRADIENT_NORM as VALUE_GRADIENT_NORM;

/// Training loss of the model at its last gradient step, summed over ensemble members; lower is better, comparable only
/// within one loss.
pub const MODEL_TRAIN_LOSS: &str = "model/train_loss";
/// Best holdout score of the elites, in the units of the loss; lower is better, comparable only within one loss.
pub const MODEL_HOLDOUT_SCORE: &str = "model/holdout_score";
/// Squared error of the elites on the holdout set, mean over channels; lower is better, comparable across losses.
pub const MODEL_HOLDOUT_MSE: &str = "model/holdout_mse";
/// Squared error of the elites on the holdout set, mean over the task's own channels: its observation entries and the
/// reward. Reported only if there are distractors.
pub const MODEL_HOLDOUT_MSE_TASK: &str = "model/holdout_mse_task";
/// Squared error of the elites on the holdout set, mean over the distracting observation entries. The return does not
/// depend on these entries.
pub const MODEL_HOLDOUT_MSE_DISTRACTORS: &str = "model/holdout_mse_distractors";
/// Share of the holdout targets' variance that the elites explain, mean over the channels that vary: 1 is perfect, 0 is
/// no better than a constant. `model/explained_variance/obs_I` and `model/explained_variance/reward` are the shares of
/// single channels; they are reported if there are at most 65 channels.
pub const MODEL_EXPLAINED: &str = "model/explained_variance";
/// Smallest share of explained variance among the channels.
pub const MODEL_LEAST_EXPLAINED: &str = "model/explained_variance_min";
/// Squared error of the elites relative to that of predicting no change, mean over observation entries; 0 is perfect, 1
/// is no better than predicting no change.
pub const MODEL_AGAINST_NO_CHANGE: &str = "model/error_over_no_change";
/// Number of gradient steps of the training call.
pub const MODEL_STEPS: &str = "model/gradient_steps";
/// Number of epochs of the training call.
pub const MODEL_EPOCHS: &str = "model/epochs";
/// Largest number of imagined steps of a rollout.
pub const IMAGINED_HORIZON: &str = "imagination/horizon";
/// Mean reward of the imagined transitions of a call of rollouts, reward units.
pub const IMAGINED_REWARD: &str = "imagination/reward_mean";
/// Share of the rollouts of a call that terminated.
pub const IMAGINED_TERMINATED: &str = "imagination/terminated_share";
/// Share of the imagined states of a call with an entry outside the range of that entry over all real states; 0 is
/// inside the data. Reported only if imagined states are in host memory.
pub const IMAGINED_OUTSIDE: &str = "imagination/outside_share";
/// Number of rows in the imagined buffer.
pub const IMAGINED_ROWS: &str = "imagination/buffer_rows";
/// Share of real rows in a batch.
pub const REAL_RATIO: &str = "imagination/real_ratio";
/// Real environment steps per second of wall clock; higher is better.
pub const FPS: &str = "time/fps";
/// Imagined transitions per second of wall clock; higher is better.
pub const IMAGINED_FPS: &str = "time/imagined_per_s";
/// Seconds spent in real steps since the last record of timings.
pub const TIME_ACT: &str = "time/act_s";
/// Seconds spent in fits of the model since the last record of timings.
pub const TIME_FIT: &str = "time/fit_s";
/// Seconds spent in imagined rollouts since the last record of timings.
pub const TIME_IMAGINE: &str = "time/imagine_s";
/// Seconds spent in updates of the agent since the last record of timings.
pub const TIME_UPDATE: &str = "time/update_s";
/// Seconds spent in evaluations since the last record of timings, including the few updates of the agent in the same
/// slice.
pub const TIME_EVALUATE: &str = "time/evaluate_s";
/// Memory of the process, MiB; it should stay constant.
pub const RESIDENT_MIB: &str = "time/resident_mib";

/// Number of imagined transitions so far.
pub const IMAGINED_STEPS: &str = "imagination/steps";
