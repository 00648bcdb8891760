//! A run as plain state, and back.

use foresee_core::{State, StateError};
use foresee_world_model::ModelConfig;

use super::{Counters, Episode, Phase, Run, RunError, value_view};
use crate::config::Config;
use crate::replay::RealBuffer;
use crate::rollout::Rollout;

/// A run's plain host snapshot: named arrays, no device, no generator.
pub type RunState = State;

const ACT: u64 = 0;
const FIT: u64 = 1;
const IMAGINE: u64 = 2;
const UPDATE: u64 = 3;

impl Run {
    /// All that the run needs to go on bit for bit: networks and moments, buffers, environment, counters, phase.
    /// Random streams have no state.
    #[must_use]
    pub fn snapshot(&self) -> RunState {
        let mut state = State::new();
        state.nest("agent", self.agent.save());
        if let Some(model) = &self.model {
            state.nest("model", model.save());
        }
        state.nest("replay.real", self.real.save());
        state.nest("replay.imagined", self.imagined.save());
        state.nest("env", self.env.save());
        state.nest("counters", self.counters.save());
        state.nest("episode", self.episode.save());
        state.nest("phase", self.phase.save());
        state.put("seed", self.config.seed);
        state.put("model_fingerprint", fingerprint(&self.config.model));
        let evals = [self.last_eval, self.best_eval];
        state.put("evaluations", evals.map(|eval| eval.unwrap_or(f64::NAN)).to_vec());
        state
    }

    /// The run that a snapshot was taken of, under its configuration.
    ///
    /// # Errors
    /// If the configuration is impossible or the state is not one of its runs.
    pub fn restore(config: &Config, mut state: RunState) -> Result<Self, RunError> {
        let mut run = Self::prepare(config)?;
        let seed = state.u64("seed")?;
        if seed != config.seed {
            return Err(RunError::Config(format!(
                "`seed` is {}, but the run began with {seed}\nhint: a run keeps its seed; start a new run for another",
                config.seed
            )));
        }
        let same_model = state.u64("model_fingerprint")? == fingerprint(&config.model);
        run.agent.load(state.part("agent"))?;
        if let Some(model) = &mut run.model {
            model.load(state.part("model"))?;
        }
        run.real = RealBuffer::restore(state.part("replay.real"), run.dims(), &run.device)?;
        run.imagined.load(state.part("replay.imagined"))?;
        // What does not fit is the state of another `[env]`.
        run.env.restore(state.part("env")).map_err(|error| RunError::Config(error.to_string()))?;
        run.counters = Counters::restore(state.part("counters"))?;
        run.episode = Episode::restore(state.part("episode"))?;
        let mut phase = state.part("phase");
        let kind = phase.u64("kind")?;
        if kind == FIT && !same_model {
            return Err(RunError::Config(
                "the run stands in the middle of a model fit, and `[model]` was changed\nhint: go on without changing `model.…` keys until the fit is over, or start a new run"
                    .into(),
            ));
        }
        run.phase = run.restore_phase(kind, phase)?;
        let evals = state.f64s("evaluations")?.1;
        let known = |i: usize| evals.get(i).copied().filter(|eval| !eval.is_nan());
        (run.last_eval, run.best_eval) = (known(0), known(1));
        state.finish()?;
        Ok(run)
    }

    fn restore_phase(&self, kind: u64, mut state: State) -> Result<Phase, StateError> {
        let phase = match (kind, &self.model) {
            (ACT, _) => Phase::Act,
            (FIT, Some(model)) => {
                let view = value_view(&self.agent, &self.config.model.loss);
                Phase::Fit(Box::new(model.resume(state.part("fit"), self.real.rows(), &view)?))
            }
            (IMAGINE, Some(_)) => Phase::Imagine(Rollout::restore(state.part("rollout"))?),
            (UPDATE, _) => Phase::Update(state.u64("done")?),
            _ => {
                return Err(StateError::Mismatch {
                    path: "phase.kind".into(),
                    found: kind.to_string(),
                    expected: "a phase of this algorithm".into(),
                });
            }
        };
        state.finish()?;
        Ok(phase)
    }
}

/// What a half-done fit depends on: the whole of `[model]`, as 64 bits.
fn fingerprint(model: &ModelConfig) -> u64 {
    let text = serde_json::to_vec(model).expect("a config is plain data");
    let hash = blake3::hash(&text);
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"))
}

impl Phase {
    fn save(&self) -> State {
        let mut state = State::new();
        let kind = match self {
            Self::Act => ACT,
            Self::Fit(fit) => {
                state.nest("fit", fit.save());
                FIT
            }
            Self::Imagine(rollout) => {
                state.nest("rollout", rollout.save());
                IMAGINE
            }
            Self::Update(done) => {
                state.put("done", *done);
                UPDATE
            }
        };
        state.put("kind", kind);
        state
    }
}

impl Counters {
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("env_step", self.env_step);
        state.put("episodes", self.episodes);
        state.put("fits", self.fits);
        state.put("imagined_steps", self.imagined_steps);
        state
    }

    fn restore(mut state: State) -> Result<Self, StateError> {
        let counters = Self {
            env_step: state.u64("env_step")?,
            episodes: state.u64("episodes")?,
            fits: state.u64("fits")?,
            imagined_steps: state.u64("imagined_steps")?,
        };
        state.finish()?;
        Ok(counters)
    }
}

impl Episode {
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("obs", self.obs.clone());
        state.put("reward_sum", self.reward_sum);
        state.put("length", self.length);
        state
    }

    fn restore(mut state: State) -> Result<Self, StateError> {
        let episode =
            Self { obs: state.f32s("obs")?.1, reward_sum: state.f64("reward_sum")?, length: state.u64("length")? };
        state.finish()?;
        Ok(episode)
    }
}
