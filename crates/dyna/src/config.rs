//! The configuration of a run: one typed struct per section. Every key has its default here or in the section's crate.

use foresee_actor_critic::AgentConfig;
use foresee_core::limits::refusal;
pub use foresee_env::EnvConfig;
use foresee_env::config::MAX_ENVIRONMENTS;
use foresee_nn::device::DeviceChoice;
use foresee_world_model::ModelConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod double_horizon;
mod oversights;
mod rollout;

pub use double_horizon::DoubleHorizonConfig;
pub use rollout::RolloutConfig;

/// Largest number of episodes in an evaluation.
pub const MAX_EPISODES: usize = 100_000;
/// Largest number of threads: more than any machine has cores.
const MAX_THREADS: usize = 4096;

/// The training algorithm: the source of the transitions that the agent learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algo {
    /// The task and a learned model of it (MBPO, Janner et al. 2019).
    #[default]
    Mbpo,
    /// The task alone, without a model: the baseline of every model-based curve.
    ModelFree,
    /// Alternating blocks of acting and of training. Long ordinary rollouts visit states, from which short
    /// differentiable rollouts train actor and critics (DHMBPO, Kubo, Dinh, Tanaka 2025).
    Dhmbpo,
}

impl Algo {
    /// The algorithm's name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mbpo => "mbpo",
            Self::ModelFree => "model_free",
            Self::Dhmbpo => "dhmbpo",
        }
    }

    /// Every algorithm with a line of description, in the order of `foresee list algos`.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Mbpo, "a learned model imagines short rollouts; the agent learns from real and imagined transitions"),
        (Self::ModelFree, "the agent learns from real transitions only: the baseline without a model"),
        (
            Self::Dhmbpo,
            "long imagined rollouts collect states; short differentiable rollouts from these states train the agent `dhmbpo`",
        ),
    ];
}

/// A whole configuration: the keys at the top of a file, and a field for each section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Seed of all random streams of the run. Up to 2⁶³ − 1, TOML's largest integer.
    #[serde(default)]
    pub seed: u64,
    /// Device of the networks: `cpu`, `ndarray`, `wgpu`, `wgpu:<n>` or `wgpu:cpu`.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Number of CPU threads; 0 for one per core. Results do not depend on it.
    #[serde(default)]
    pub threads: usize,
    /// The training algorithm: `mbpo`, `model_free` or `dhmbpo`.
    #[serde(default)]
    pub algo: Algo,
    /// The section `[env]`.
    pub env: EnvConfig,
    /// The section `[training]`.
    #[serde(default)]
    pub training: TrainingConfig,
    /// The section `[agent]`.
    #[serde(default)]
    pub agent: AgentConfig,
    /// The section `[model]`; not used by `algo = "model_free"`.
    #[serde(default)]
    pub model: ModelConfig,
    /// The section `[rollout]`; used by `algo = "mbpo"`.
    #[serde(default)]
    pub rollout: RolloutConfig,
    /// The section `[double_horizon]`; used by `algo = "dhmbpo"`.
    #[serde(default, skip_serializing_if = "DoubleHorizonConfig::is_default")]
    pub double_horizon: DoubleHorizonConfig,
}

/// The section `[training]`: the length of a run, and the periods of its updates, evaluations, records and checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Number of real environment steps of the run, exploration included, in all environments together. A multiple of
    /// `env.count`.
    pub env_steps: u64,
    /// Number of real steps with uniform actions at the start. No training happens before they are done.
    pub explore_steps: u64,
    /// Number of agent updates per real step; unset: 20, or 1 with `algo = "dhmbpo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates_per_step: Option<u64>,
    /// Number of real steps in an epoch, the unit of `rollout.retain_epochs`.
    pub epoch_length: u64,
    /// Number of real steps between evaluations.
    pub eval_every: u64,
    /// Number of episodes in an evaluation.
    pub eval_episodes: usize,
    /// Number of real steps between records of the agent's training metrics.
    pub log_every: u64,
    /// Number of real steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            env_steps: 100_000,
            explore_steps: 5000,
            updates_per_step: None,
            epoch_length: 1000,
            eval_every: 1000,
            eval_episodes: 20,
            log_every: 100,
            checkpoint_every: 5000,
        }
    }
}

impl Config {
    /// Returns this configuration with the defaults that depend on the algorithm written out: the agent's name, and the
    /// number of updates per real step.
    #[must_use]
    pub fn with_defaults_of_algo(mut self) -> Self {
        self.training.updates_per_step = Some(self.updates_per_step());
        let of_algo = (self.algo == Algo::Dhmbpo).then(|| Algo::Dhmbpo.name().to_owned());
        self.agent.kind = self.agent.kind.or(of_algo).or_else(|| Some(AgentConfig::default().kind().to_owned()));
        self
    }

    /// Number of agent updates per real step.
    #[must_use]
    pub fn updates_per_step(&self) -> u64 {
        let of_algo = if self.algo == Algo::Dhmbpo { 1 } else { 20 };
        self.training.updates_per_step.unwrap_or(of_algo)
    }

    /// Number of real steps between two training calls of the model.
    #[must_use]
    pub fn fit_every(&self) -> u64 {
        if self.algo == Algo::Dhmbpo { self.double_horizon.block } else { self.model.fit.every }
    }

    /// Capacity of the imagined buffer at a real step, in rows.
    #[must_use]
    pub fn imagined_rows(&self, step: u64) -> usize {
        match self.algo {
            Algo::Mbpo => self.rollout.capacity(step, self.model.fit.every, self.training.epoch_length),
            // Nothing is imagined, and `[model]` and `[rollout]` have not been checked.
            Algo::ModelFree => 0,
            Algo::Dhmbpo => self.double_horizon.pool,
        }
    }

    /// The loss's name, or `none` without a model.
    #[must_use]
    pub fn loss_name(&self) -> &str {
        match self.algo {
            Algo::Mbpo | Algo::Dhmbpo => &self.model.loss.kind,
            Algo::ModelFree => "none",
        }
    }

    /// The name of runs with this configuration, such as `mbpo-vagram`, `mbpo-td3-vagram` or `sac-none`.
    #[must_use]
    pub fn name(&self) -> String {
        let agent = self.agent.kind();
        match self.algo {
            Algo::Mbpo if self.agent.is_default() => format!("mbpo-{}", self.loss_name()),
            Algo::Mbpo => format!("mbpo-{agent}-{}", self.loss_name()),
            Algo::ModelFree => format!("{agent}-none"),
            Algo::Dhmbpo => format!("dhmbpo-{}", self.loss_name()),
        }
    }

    /// Returns an error message with a hint if the configuration is invalid with the shipped parts.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.clone().open().err().map(|problem| problem.to_string())
    }

    /// Returns an error message with a hint about keys that can be checked without parts and environment.
    pub(crate) fn problem_beside_env(&self) -> Option<String> {
        let (t, default) = (&self.training, TrainingConfig::default());
        let positive = [
            ("training.env_steps", t.env_steps, default.env_steps),
            ("training.epoch_length", t.epoch_length, default.epoch_length),
            ("training.eval_every", t.eval_every, default.eval_every),
            ("training.log_every", t.log_every, default.log_every),
            ("training.checkpoint_every", t.checkpoint_every, default.checkpoint_every),
        ];
        if let Some((key, value, default)) = positive.into_iter().find(|&(_, value, _)| value == 0) {
            return Some(refusal(key, value, "positive", default));
        }
        if !(1..=MAX_EPISODES).contains(&t.eval_episodes) {
            let allowed = format!("1 to {MAX_EPISODES}");
            return Some(refusal("training.eval_episodes", t.eval_episodes, allowed, default.eval_episodes));
        }
        if let Some(problem) = self.problem_of_count() {
            return Some(problem);
        }
        (self.threads > MAX_THREADS)
            .then(|| refusal("threads", self.threads, format!("0 to {MAX_THREADS}"), "0, one thread per core"))
    }

    /// Returns an error message with a hint about keys that are incompatible with `env.count`. The range of `env.count`
    /// itself is checked by `[env]`.
    fn problem_of_count(&self) -> Option<String> {
        let (count, steps, every) = (self.env.count as u64, self.training.env_steps, self.fit_every());
        if (1..=MAX_ENVIRONMENTS).contains(&self.env.count) && !steps.is_multiple_of(count) {
            let (below, above) = (steps / count * count, steps.next_multiple_of(count));
            let nearest =
                if below == 0 { format!("multiple is {above}") } else { format!("multiples are {below} and {above}") };
            return Some(format!(
                "`training.env_steps` is {steps}; it must be a multiple of {count}, the value of `env.count`\nhint: the nearest {nearest}"
            ));
        }
        if self.algo != Algo::ModelFree && (1..count).contains(&every) {
            let key = if self.algo == Algo::Dhmbpo { "double_horizon.block" } else { "model.fit.every" };
            return Some(format!(
                "`env.count` is {count}; it must be at most {every}, the value of `{key}`\nhint: raise `{key}` to {count} or more, or lower `env.count`"
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;
    use foresee_env::config::Range;
    use toml::Value;

    #[test]
    fn what_is_impossible_is_named_by_its_key_with_a_hint_and_only_where_it_is_used() {
        let sound: Config = serde_json::from_str(r#"{"env": {"id": "Pendulum-v1"}}"#).unwrap();
        assert_eq!(sound.problem(), None);
        type Change = fn(&mut Config);
        let changes: [(&str, Change); 13] = [
            ("env.id", |c| c.env.id = "Pendulum-v9".into()),
            ("env.count", |c| c.env.count = 0),
            ("env.count", |c| c.env.count = 1025),
            ("env.count", |c| c.env.count = 300),
            ("env.distractors", |c| c.env.distractors = 1000),
            ("env.family.mass", |c| c.env.family.mass = Range::Uniform([1.2, 0.8])),
            ("training.env_steps", |c| c.training.env_steps = 0),
            ("agent.hidden", |c| _ = c.agent.keys.insert("hidden".into(), Value::Array(vec![]))),
            ("rollout.starts_per_step", |c| c.rollout.starts_per_step = 0),
            ("rollout.horizon", |c| c.rollout.horizon = Schedule::Constant(0.5)),
            ("rollout.horizon", |c| c.rollout.horizon = Schedule::Linear([1.0, 5.0, 20.0, 10.0])),
            ("rollout.real_ratio", |c| c.rollout.real_ratio = Schedule::Constant(f64::NAN)),
            ("model.fit", |c| c.model.fit.every = 0),
        ];
        for (key, change) in changes {
            let mut config = sound.clone();
            change(&mut config);
            let message = config.problem().unwrap_or_else(|| panic!("`{key}` passed"));
            assert!(message.contains(&format!("`{key}")) && message.contains("\nhint: "), "{key}: {message}");
            config.algo = Algo::ModelFree;
            let shared = ["env", "training", "agent"].iter().any(|section| key.starts_with(section));
            assert_eq!(config.problem().is_some(), shared, "`{key}` without a model");
        }
    }

    #[test]
    fn environments_side_by_side_reach_the_end_together_and_take_no_more_steps_at_once_than_lie_between_fits() {
        let mut config: Config = serde_json::from_str(r#"{"env": {"id": "Pendulum-v1", "count": 8}}"#).unwrap();
        assert_eq!(config.problem(), None);
        for (steps, nearest) in [(20, "multiples are 16 and 24"), (5, "multiple is 8")] {
            config.training.env_steps = steps;
            let message = config.problem().unwrap();
            let want =
                format!("`training.env_steps` is {steps}; it must be a multiple of 8, the value of `env.count`\n");
            assert!(message.starts_with(&want) && message.ends_with(&format!("the nearest {nearest}")), "{message}");
        }
        config.training.env_steps = 80;
        config.model.fit.every = 7;
        let message = config.problem().unwrap();
        assert!(
            message.starts_with("`env.count` is 8; it must be at most 7, the value of `model.fit.every`\n"),
            "{message}"
        );
        config.algo = Algo::ModelFree;
        assert_eq!(config.problem(), None);
    }
}
