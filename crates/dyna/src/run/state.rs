//! A run as plain state, and back.

use foresee_core::state::{Array, Data};
use foresee_core::{State, StateError, Stream};
use foresee_env::EnvError;
use foresee_world_model::ModelConfig;

use super::{Counters, Episode, Phase, Run, RunError, value_view};
use crate::config::{Config, Opened};
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
        state.nest("env", self.envs.save());
        state.nest("counters", self.counters.save());
        state.nest("episode", Episode::save_all(&self.episodes));
        state.nest("phase", self.phase.save());
        state.put("env_id", self.config.env.id.as_bytes().to_vec());
        state.put("seed", self.config.seed);
        state.put("count", self.count());
        state.put("model_fingerprint", fingerprint(&self.config.model));
        let evals = [self.last_eval, self.best_eval];
        state.put("evaluations", evals.map(|eval| eval.unwrap_or(f64::NAN)).to_vec());
        state
    }

    /// The run that a snapshot was taken of, under its configuration.
    ///
    /// # Errors
    /// If the configuration is impossible or the state is not one of its runs.
    pub fn restore(config: &Config, state: RunState) -> Result<Self, RunError> {
        Self::resume(config.clone().open().map_err(RunError::Config)?, state)
    }

    /// The same under a configuration that was checked.
    ///
    /// # Errors
    /// As [`Run::restore`].
    pub fn resume(opened: Opened, mut state: RunState) -> Result<Self, RunError> {
        let config = opened.config.clone();
        let seed = state.u64("seed")?;
        if seed != config.seed {
            return Err(RunError::Config(format!(
                "`seed` is {}, but the run began with {seed}\nhint: a run keeps its seed; start a new run for another",
                config.seed
            )));
        }
        let id = state.u8s("env_id")?.1;
        if id != config.env.id.as_bytes() {
            return Err(RunError::Config(format!(
                "`env.id` is `{}`, but the run began with `{}`\nhint: a run keeps its task; start a new run for another",
                config.env.id,
                String::from_utf8_lossy(&id)
            )));
        }
        let count = state.u64("count")?;
        if count != config.env.count as u64 {
            return Err(RunError::Config(format!(
                "`env.count` is {}, but the run began with {count}\nhint: a run keeps its environments; start a new run for another number",
                config.env.count
            )));
        }
        let mut run = Self::prepare(opened)?;
        let same_model = state.u64("model_fingerprint")? == fingerprint(&config.model);
        run.agent.load(state.part("agent"))?;
        if let Some(model) = &mut run.model {
            model.load(state.part("model"))?;
        }
        run.real = RealBuffer::restore(state.part("replay.real"), run.dims(), &run.device)?;
        run.imagined.load(state.part("replay.imagined"))?;
        // What does not fit is the state of another `[env]`.
        let lost = run.envs.restore(state.part("env")).map_err(|error| RunError::Config(error.to_string()))?;
        run.counters = Counters::restore(state.part("counters"))?;
        run.episodes = Episode::restore_all(state.part("episode"), run.envs.count(), run.dims()[0])?;
        run.begin_anew(lost)?;
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

    /// Begins new episodes in the environments that could not be brought back.
    fn begin_anew(&mut self, lost: Vec<Option<EnvError>>) -> Result<(), RunError> {
        let env_step = self.counters.env_step;
        let mask: Vec<bool> = lost.iter().map(Option::is_some).collect();
        let stream = Stream::new(self.config.seed, "env/resume");
        let seeds: Vec<_> = (0..lost.len()).map(|lane| Some(stream.at(env_step, lane as u32).bits64())).collect();
        let resets = self.envs.reset_where(&mask, &seeds).map_err(|error| RunError::Env { env_step, error })?;
        for (episode, reset) in self.episodes.iter_mut().zip(resets) {
            *episode = reset.map_or(std::mem::take(episode), |reset| Episode::from(reset.obs));
        }
        self.lost = lost.into_iter().flatten().collect();
        Ok(())
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

/// What a half-done fit depends on: the whole of `[model]`, as 64 bits, with the head that it means.
fn fingerprint(model: &ModelConfig) -> u64 {
    let model = ModelConfig { head: Some(model.head()), ..model.clone() };
    let text = serde_json::to_vec(&model).expect("a config is plain data");
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
        state.put("mismatches", self.mismatches);
        state
    }

    pub(super) fn restore(mut state: State) -> Result<Self, StateError> {
        let counters = Self {
            env_step: state.u64("env_step")?,
            episodes: state.u64("episodes")?,
            fits: state.u64("fits")?,
            imagined_steps: state.u64("imagined_steps")?,
            mismatches: state.u64("mismatches")?,
        };
        state.finish()?;
        Ok(counters)
    }
}

/// An episode that begins with this observation.
impl From<Vec<f32>> for Episode {
    fn from(obs: Vec<f32>) -> Self {
        Self { obs, ..Self::default() }
    }
}

impl Episode {
    /// `obs` f32 `[N, O]`, `reward_sum` f64 `[N]`, `length` u64 `[N]`.
    fn save_all(episodes: &[Self]) -> State {
        let obs: Vec<f32> = episodes.iter().flat_map(|episode| &episode.obs).copied().collect();
        let mut state = State::new();
        state.put("obs", Array::new(vec![episodes.len(), obs.len() / episodes.len()], Data::F32(obs)));
        state.put("reward_sum", episodes.iter().map(|episode| episode.reward_sum).collect::<Vec<_>>());
        state.put("length", episodes.iter().map(|episode| episode.length).collect::<Vec<_>>());
        state
    }

    fn restore_all(mut state: State, count: usize, obs_dim: usize) -> Result<Vec<Self>, StateError> {
        let (shape, obs) = state.f32s("obs")?;
        let (sums, lengths) = (state.f64s("reward_sum")?.1, state.u64s("length")?.1);
        state.finish()?;
        if shape != [count, obs_dim] || [sums.len(), lengths.len()] != [count; 2] {
            return Err(StateError::Mismatch {
                path: "episode".into(),
                found: format!("of {shape:?} observed entries, {} returns and {} lengths", sums.len(), lengths.len()),
                expected: format!("{count} episodes with {obs_dim} entries"),
            });
        }
        let episodes = obs.chunks_exact(obs_dim).zip(sums).zip(lengths);
        Ok(episodes.map(|((obs, reward_sum), length)| Self { obs: obs.to_vec(), reward_sum, length }).collect())
    }
}
