//! All numbers that a run records: their names, units, directions and good values.

use foresee_core::metric::Metric;

pub use foresee_actor_critic::metrics::{
    ACTOR_LOSS, CRITIC_LOSS, ENTROPY, HORIZON_ALIVE, HORIZON_GRADIENT, HORIZON_REWARD, TARGET_VALUE, TEMPERATURE,
    UPDATES, VALUE_HIGH, VALUE_LOW,
};
pub use foresee_world_model::loss::vagram::GRADIENT_NORM as VALUE_GRADIENT_NORM;

foresee_core::metrics! {
    /// The metrics of a run, without those of agents and losses: [`all`] has them too.
    METRICS:
    /// Number of environment frames so far: real steps times `env.action_repeat`. A frame is one step of the task
    /// itself. Reported only if an action is repeated. All other counts and lengths are in real steps.
    FRAMES = "env/frames", "frames", Neither, "-";
    /// Return of a real episode that just ended under exploring actions; a mean if several ended in the same step.
    /// `rollout/ep_rew_mean` in records of older versions.
    EPISODE_RETURN = "episode/return", "reward units", Higher, "somewhat below eval/mean_reward";
    /// Length of a real episode that just ended; a mean if several ended in the same step. `rollout/ep_len_mean` in
    /// records of older versions.
    EPISODE_LENGTH = "episode/length", "real steps", Neither, "the time limit, if staying alive is the task";
    /// Share of the real transitions so far whose termination differs from the rule for imagined transitions.
    TERMINATION_MISMATCH = "env/termination_mismatch", "share", Lower, "0";
    /// Of the real terminations so far, the share that are none by the rule for imagined transitions. Reported after the
    /// first real termination.
    TERMINATIONS_MISSED = "env/terminations_missed", "share", Lower, "0";
    /// Of the real transitions so far that the rule for imagined transitions ends, the share that are no real
    /// terminations. Reported after the first transition that the rule ends.
    TERMINATIONS_INVENTED = "env/terminations_invented", "share", Lower, "0";

    /// Mean undiscounted return of the evaluation's episodes under the actions of evaluation.
    EVAL_RETURN = "eval/mean_reward", "reward units", Higher, "docs/results has the returns on each task";
    /// Standard deviation of the returns of the evaluation's episodes (ddof 1).
    EVAL_RETURN_STD = "eval/std_reward", "reward units", Lower, "small beside eval/mean_reward";
    /// Mean length of the evaluation's episodes.
    EVAL_LENGTH = "eval/mean_ep_length", "real steps", Neither, "the time limit, if staying alive is the task";
    /// Number of episodes of the evaluation.
    EVAL_EPISODES = "eval/episodes", "episodes", Neither, "training.eval_episodes";

    /// Mean value at states of the last ten real episodes after exploration.
    VALUE_PREDICTED = "train/value_predicted", "reward units", Neither, "train/value_returned";
    /// Mean discounted soft return that followed the states of `train/value_predicted`.
    VALUE_RETURNED = "train/value_returned", "reward units", Higher, "it rises with the returns";
    /// `train/value_predicted` minus `train/value_returned`; a positive number is an overestimate.
    VALUE_BIAS = "train/value_bias", "reward units", Zero, "small beside train/value_returned";

    /// Training loss of the model at its last gradient step, summed over ensemble members. Comparable only within one
    /// loss.
    MODEL_TRAIN_LOSS = "model/train_loss", "units of the loss", Lower, "it falls from fit to fit";
    /// Best holdout score of the elites. Comparable only within one loss.
    MODEL_HOLDOUT_SCORE = "model/holdout_score", "units of the loss", Lower, "it falls from fit to fit";
    /// Squared error of the elites on the holdout set, mean over channels. Comparable across losses.
    MODEL_HOLDOUT_MSE = "model/holdout_mse", "squared units of the targets", Lower, "it falls from fit to fit";
    /// Squared error of the elites on the holdout set, mean over the task's own channels: its observation entries and the
    /// reward. Reported only if there are distractors.
    MODEL_HOLDOUT_MSE_TASK = "model/holdout_mse_task", "squared units of the targets", Lower,
        "that of model/holdout_mse without distractors";
    /// Squared error of the elites on the holdout set, mean over the distracting observation entries. The return does not
    /// depend on these entries.
    MODEL_HOLDOUT_MSE_DISTRACTORS = "model/holdout_mse_distractors", "squared units of the targets", Lower,
        "any: the task does not need it";
    /// Share of the holdout targets' variance that the elites explain, mean over the channels that vary: 1 is perfect, 0
    /// is no better than a constant.
    MODEL_EXPLAINED = "model/explained_variance", "share", Higher, "above 0.9";
    /// Share of explained variance of one channel: `obs_0`, `obs_1` and so on, and `reward`. Reported if there are at most
    /// 65 channels.
    MODEL_EXPLAINED_BY_CHANNEL = "model/explained_variance" / "CHANNEL", "share", Higher, "above 0 for every channel";
    /// Smallest share of explained variance among the channels.
    MODEL_LEAST_EXPLAINED = "model/explained_variance_min", "share", Higher, "above 0";
    /// Squared error of the elites relative to that of predicting no change, mean over observation entries: 0 is perfect,
    /// 1 is no better than predicting no change.
    MODEL_AGAINST_NO_CHANGE = "model/error_over_no_change", "ratio", Lower, "below 0.1";
    /// Number of gradient steps of the training call.
    MODEL_STEPS = "model/gradient_steps", "gradient steps", Neither, "below model.fit.max_steps: early stopping ended the call";
    /// Number of epochs of the training call.
    MODEL_EPOCHS = "model/epochs", "epochs", Neither, "-";

    /// Log-loss of the classifier of ends on its held-out rows: the mean over the ends and the mean over the other rows,
    /// averaged. Reported with `model.termination = "learned"`, after the first fit with a real end.
    ENDS_LOG_LOSS = "model/ends_log_loss", "nats", Lower, "below 0.1; guessing gives 0.69";
    /// Of the real ends among the held-out rows, the share that are none by the classifier of ends.
    ENDS_MISSED = "model/ends_missed", "share", Lower, "0";
    /// Of the ends by the classifier of ends among the held-out rows, the share that are not real.
    ENDS_INVENTED = "model/ends_invented", "share", Lower, "0";

    /// Largest number of imagined steps of a rollout.
    IMAGINED_HORIZON = "imagination/horizon", "imagined steps", Neither, "rollout.horizon";
    /// Mean reward of the imagined transitions of a call of rollouts.
    IMAGINED_REWARD = "imagination/reward_mean", "reward units", Neither, "the mean reward of real steps";
    /// Share of the rollouts of a call that terminated.
    IMAGINED_TERMINATED = "imagination/terminated_share", "share", Neither, "that of real steps in as many steps";
    /// Share of the imagined states of a call with an entry outside the range of that entry over all real states.
    /// Reported only if imagined states are in host memory.
    IMAGINED_OUTSIDE = "imagination/outside_share", "share", Lower, "below 0.1";
    /// Number of rows in the imagined buffer.
    IMAGINED_ROWS = "imagination/buffer_rows", "rows", Neither, "-";
    /// Share of real rows in a batch.
    REAL_RATIO = "imagination/real_ratio", "share", Neither, "rollout.real_ratio";
    /// Number of imagined transitions so far.
    IMAGINED_STEPS = "imagination/steps", "imagined transitions", Neither, "-";

    /// Real environment steps per second of wall clock.
    FPS = "time/fps", "real steps per second", Higher, "docs/results/mujoco.md has measured rates";
    /// Imagined transitions per second of wall clock.
    IMAGINED_FPS = "time/imagined_per_s", "imagined transitions per second", Higher, "-";
    /// Time spent in real steps since the last record of timings.
    TIME_ACT = "time/act_s", "seconds", Lower, "small beside the other phases";
    /// Time spent in fits of the model since the last record of timings.
    TIME_FIT = "time/fit_s", "seconds", Lower, "-";
    /// Time spent in imagined rollouts since the last record of timings.
    TIME_IMAGINE = "time/imagine_s", "seconds", Lower, "-";
    /// Time spent in updates of the agent since the last record of timings.
    TIME_UPDATE = "time/update_s", "seconds", Lower, "-";
    /// Time spent in evaluations since the last record of timings, including the few updates of the agent in the same
    /// slice.
    TIME_EVALUATE = "time/evaluate_s", "seconds", Lower, "small beside the other phases";
    /// Memory of the process.
    RESIDENT_MIB = "time/resident_mib", "MiB", Neither, "constant after the first fit";
}

/// Returns all metrics: those of a run, of the shipped agents and of the shipped losses.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain(foresee_actor_critic::metrics::METRICS).chain(foresee_world_model::loss::vagram::METRICS)
}
