//! Names that other programs give to the keys of a config: Stable-Baselines3, CleanRL, mbrl-lib, MBPO, Spinning Up, and
//! common usage.

/// Names of other programs for the same keys.
pub(super) struct Habit {
    /// The names, in lower case with underscores.
    words: &'static [&'static str],
    /// The keys that they mean.
    pub keys: &'static [&'static str],
    /// A remark about them: empty, or a text that continues the question "did you mean …".
    pub remark: &'static str,
}

/// Returns what a word means in other programs.
pub(super) fn of(word: &str) -> Option<&'static Habit> {
    HABITS.iter().find(|habit| habit.words.contains(&word))
}

const fn habit(words: &'static [&'static str], keys: &'static [&'static str]) -> Habit {
    Habit { words, keys, remark: "" }
}

const HABITS: &[Habit] = &[
    // Sections, and the keys beside them.
    habit(&["train", "trainer"], &["training"]),
    habit(&["eval", "evaluation"], &["training.eval_every", "training.eval_episodes"]),
    habit(&["environment"], &["env"]),
    habit(&["env_id", "env_name", "gym_id", "task", "domain"], &["env.id"]),
    habit(&["policy", "actor", "critic", "sac", "td3", "redq"], &["agent"]),
    habit(&["dynamics", "dynamics_model", "world_model"], &["model"]),
    habit(&["rollouts"], &["rollout.starts_per_step", "double_horizon.rollouts"]),
    habit(&["algorithm"], &["algo", "agent.kind"]),
    habit(&["name", "type"], &["env.id", "agent.kind", "model.kind", "model.loss.kind"]),
    habit(&["random_seed"], &["seed"]),
    habit(&["num_threads", "n_threads", "torch_threads", "cpus", "n_jobs"], &["threads"]),
    habit(&["gpu", "cuda", "accelerator"], &["device"]),
    // The task.
    habit(&["num_envs", "n_envs", "num_env", "n_env", "envs"], &["env.count"]),
    habit(&["frame_skip", "frameskip", "action_repeats"], &["env.action_repeat"]),
    habit(&["env_kwargs", "make_kwargs", "gym_kwargs"], &["env.gym.kwargs"]),
    // The training loop.
    habit(
        &[
            "total_timesteps",
            "total_steps",
            "timesteps",
            "n_timesteps",
            "num_timesteps",
            "num_steps",
            "steps",
            "num_env_steps",
            "max_env_steps",
            "num_train_steps",
        ],
        &["training.env_steps"],
    ),
    habit(&["max_steps"], &["training.env_steps", "model.fit.max_steps"]),
    habit(
        &[
            "learning_starts",
            "start_steps",
            "start_timesteps",
            "warmup_steps",
            "seed_steps",
            "num_seed_steps",
            "random_steps",
            "init_exploration_steps",
            "exploration_steps",
            "initial_exploration_steps",
        ],
        &["training.explore_steps"],
    ),
    habit(
        &[
            "gradient_steps",
            "utd",
            "utd_ratio",
            "num_updates",
            "num_updates_per_step",
            "updates_per_env_step",
            "num_sac_updates_per_step",
            "num_train_repeat",
            "n_train_repeat",
        ],
        &["training.updates_per_step"],
    ),
    habit(&["steps_per_epoch", "epoch_steps"], &["training.epoch_length"]),
    habit(&["eval_freq", "eval_frequency", "eval_interval", "evaluation_freq"], &["training.eval_every"]),
    habit(&["n_eval_episodes", "num_eval_episodes", "num_test_episodes", "eval_eps"], &["training.eval_episodes"]),
    habit(&["log_freq", "log_frequency", "log_interval"], &["training.log_every"]),
    habit(
        &["checkpoint_freq", "checkpoint_frequency", "checkpoint_interval", "save_freq", "save_every", "save_interval"],
        &["training.checkpoint_every"],
    ),
    // The agent.
    habit(&["gamma", "discount_factor"], &["agent.discount"]),
    habit(&["batch_size", "minibatch_size", "train_batch_size"], &["agent.batch", "model.fit.batch"]),
    habit(
        &["learning_rate", "lr", "step_size"],
        &["agent.critic_lr", "agent.actor_lr", "agent.temperature_lr", "model.fit.lr"],
    ),
    habit(&["policy_lr", "pi_lr", "lr_actor", "actor_learning_rate", "policy_learning_rate"], &["agent.actor_lr"]),
    habit(&["q_lr", "qf_lr", "lr_critic", "critic_learning_rate", "value_lr"], &["agent.critic_lr"]),
    habit(&["alpha_lr", "ent_coef_lr", "lr_alpha", "temp_lr"], &["agent.temperature_lr"]),
    habit(
        &[
            "alpha",
            "init_alpha",
            "initial_alpha",
            "ent_coef",
            "entropy_coef",
            "entropy_coefficient",
            "temperature",
            "init_temperature",
        ],
        &["agent.initial_temperature"],
    ),
    habit(
        &["autotune", "auto_alpha", "learn_alpha", "auto_entropy", "automatic_entropy_tuning"],
        &["agent.learn_temperature"],
    ),
    Habit { words: &["polyak"], keys: &["agent.tau"], remark: ", which is 1 − polyak" },
    habit(&["target_tau", "soft_target_tau", "target_smoothing_coefficient"], &["agent.tau"]),
    habit(
        &["hidden_size", "hidden_sizes", "hidden_dim", "hidden_dims", "hidden_layers", "net_arch", "layers", "units"],
        &["agent.hidden", "model.ensemble.hidden"],
    ),
    habit(
        &[
            "policy_freq",
            "policy_frequency",
            "policy_update_freq",
            "actor_update_freq",
            "actor_update_frequency",
            "actor_update_interval",
        ],
        &["agent.policy_delay"],
    ),
    habit(
        &[
            "target_update_freq",
            "target_update_frequency",
            "target_update_period",
            "target_network_frequency",
            "critic_target_update_frequency",
        ],
        &["agent.target_update_interval"],
    ),
    habit(&["target_noise", "target_policy_noise"], &["agent.policy_noise"]),
    habit(&["target_noise_clip"], &["agent.noise_clip"]),
    habit(&["act_noise", "action_noise", "expl_noise"], &["agent.exploration_noise"]),
    habit(&["n_critics", "num_critics", "num_qs", "num_q", "critic_ensemble_size"], &["agent.critics"]),
    habit(&["num_min_qs", "in_target_minimization"], &["agent.target_subset"]),
    habit(&["normalize_obs", "obs_norm", "norm_obs", "normalize_observation"], &["agent.normalize_observations"]),
    habit(&["norm_reward", "normalize_reward", "normalize_rewards", "reward_scale"], &["agent.scale_rewards"]),
    habit(&["use_layer_norm", "layernorm"], &["agent.layer_norm", "model.ensemble.layer_norm"]),
    // The world model.
    habit(&["loss", "loss_fn", "loss_type", "objective"], &["model.loss.kind"]),
    habit(
        &["ensemble_size", "num_ensemble", "num_ensembles", "num_members", "num_models", "n_models", "num_networks"],
        &["model.ensemble.members"],
    ),
    habit(&["num_elites", "n_elites", "num_elite", "elite_size"], &["model.ensemble.elites"]),
    habit(&["probabilistic", "deterministic"], &["model.head"]),
    habit(&["model_lr"], &["model.fit.lr"]),
    habit(&["model_batch_size"], &["model.fit.batch"]),
    habit(&["weight_decay", "wd", "model_wd"], &["model.fit.decay"]),
    habit(
        &["freq_train_model", "model_train_freq", "model_train_frequency", "model_update_interval"],
        &["model.fit.every"],
    ),
    habit(&["holdout_ratio", "validation_ratio", "val_ratio", "validation_split"], &["model.fit.holdout"]),
    habit(&["epochs", "num_epochs", "n_epochs"], &["model.fit.max_epochs"]),
    habit(&["improvement_threshold"], &["model.fit.threshold"]),
    // Imagination.
    habit(
        &["rollout_length", "rollout_horizon", "rollout_schedule", "model_horizon", "imagination_horizon"],
        &["rollout.horizon", "double_horizon.horizon"],
    ),
    habit(
        &["rollouts_per_step", "effective_model_rollouts_per_step", "num_rollouts", "rollout_batch_size"],
        &["rollout.starts_per_step"],
    ),
    habit(&["real_data_ratio", "real_fraction"], &["rollout.real_ratio"]),
    habit(&["retain", "model_retain_epochs", "num_epochs_to_retain_sac_buffer"], &["rollout.retain_epochs"]),
    Habit {
        words: &[
            "buffer_size",
            "buffer_capacity",
            "replay_size",
            "replay_buffer_size",
            "replay_capacity",
            "memory_size",
            "capacity",
        ],
        keys: &["rollout.retain_epochs", "double_horizon.pool"],
        remark: " (these bound the imagined data; all real transitions are kept)",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::keys;
    use super::*;

    #[test]
    fn every_word_means_keys_that_exist_and_has_one_entry() {
        let all = keys::all();
        let mut words = BTreeSet::new();
        for habit in HABITS {
            for key in habit.keys {
                assert!(all.iter().any(|known| known == key), "{key}");
            }
            for word in habit.words {
                assert!(words.insert(word), "`{word}` is in two entries");
                assert_eq!(word.to_lowercase().replace('-', "_"), *word);
            }
            assert!(habit.remark.is_empty() || habit.remark.starts_with([' ', ',']), "{}", habit.remark);
        }
    }
}
