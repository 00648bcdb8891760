//! Environments that are stepped side by side.

use foresee_core::state::{Array, Data};
use foresee_core::{State, StateError, Stream, Transition};
use foresee_env::{EnvError, Spec, VectorEnvironment, VectorStep};

use super::experience::{Experience, Turn, TurnOutcome};
use super::{RunError, terminations};
use crate::control::{Mode, Observed};
use crate::replay::RealBuffer;

/// The current episode of one environment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Episode {
    obs: Vec<f32>,
    reward_sum: f64,
    length: u64,
}

/// The environments of the run, with their current episodes.
pub(super) struct Live {
    envs: VectorEnvironment,
    /// The current episode of each environment.
    episodes: Vec<Episode>,
    /// Seed of the first reset of environment 0, if it was not restored.
    first_seed: Option<u64>,
    /// Errors of saved environments that could not be restored.
    lost: Vec<EnvError>,
    /// Whether terminations are compared with the rule.
    checks_terminations: bool,
    /// Indices of the environments in `lost`.
    restarted: Vec<usize>,
}

impl Live {
    /// Environments that have not been reset yet.
    pub(super) fn new(envs: VectorEnvironment, checks_terminations: bool) -> Self {
        let (episodes, lost, restarted) = (Vec::new(), Vec::new(), Vec::new());
        Self { envs, episodes, first_seed: None, lost, checks_terminations, restarted }
    }

    /// Begins an episode in every environment.
    pub(super) fn reset(&mut self, seed: u64) -> Result<(), RunError> {
        let seeds = self.envs.seeds(Stream::new(seed, "env/reset"));
        let resets = self.envs.reset(&seeds).map_err(|error| RunError::Env { env_step: 0, error })?;
        self.episodes = resets.into_iter().map(|reset| Episode::from(reset.obs)).collect();
        self.first_seed = seeds[0];
        Ok(())
    }

    /// Number of entries of observations and actions, `[O, A]`.
    fn dims(&self) -> [usize; 2] {
        [self.spec().observation_space.dim(), self.spec().action_space.dim()]
    }

    /// Returns actions `[N, A]`: uniform during exploration, then the controller's.
    fn actions(&self, turn: &mut Turn<'_>) -> Vec<f32> {
        let (n, [_, actions]) = (self.envs.count(), self.dims());
        // The step count of a single environment. The environments differ in their substreams.
        let step = turn.now / self.ticks();
        if turn.exploring {
            return Stream::new(turn.knowledge.seed, "policy/explore").uniforms(step, n, actions);
        }
        let obs: Vec<f32> = self.episodes.iter().flat_map(|episode| &episode.obs).copied().collect();
        let (ids, steps): (Vec<usize>, _) = ((0..n).collect(), vec![step; n]);
        turn.controller.act(&turn.knowledge, &Observed { mode: Mode::Explore, ids: &ids, steps: &steps, obs: &obs })
    }

    /// Begins new episodes in the environments that could not be restored.
    fn restart_lost(
        &mut self,
        lost: Vec<Option<EnvError>>,
        now: u64,
        seed: u64,
        real: &mut RealBuffer,
    ) -> Result<(), RunError> {
        let mask: Vec<bool> = lost.iter().map(Option::is_some).collect();
        let stream = Stream::new(seed, "env/resume");
        let seeds: Vec<_> = (0..lost.len()).map(|env| Some(stream.at(now, env as u32).bits64())).collect();
        let resets = self.envs.reset_where(&mask, &seeds).map_err(|error| RunError::Env { env_step: now, error })?;
        for (i, (episode, reset)) in self.episodes.iter_mut().zip(resets).enumerate() {
            if let Some(reset) = reset {
                *episode = Episode::from(reset.obs);
                real.cut_episode(i);
            }
        }
        self.restarted = (0..mask.len()).filter(|&i| mask[i]).collect();
        self.lost = lost.into_iter().flatten().collect();
        Ok(())
    }
}

impl Experience for Live {
    fn spec(&self) -> &Spec {
        self.envs.spec()
    }

    fn ticks(&self) -> u64 {
        self.envs.count() as u64
    }

    /// Takes a real step of every environment. The transitions are stored in the order of the environments.
    fn turn(&mut self, mut turn: Turn<'_>) -> Result<TurnOutcome, RunError> {
        let actions = self.actions(&mut turn);
        let Turn { controller, now, check_terminations, real, .. } = turn;
        let taken = self.envs.step(&actions).map_err(|error| RunError::Env { env_step: now, error })?;
        // Checked before anything is stored.
        let bad = taken.iter().position(|taken| !(taken.step.reward as f32).is_finite());
        if let Some(i) = bad {
            let error = EnvError::Reward { id: self.envs.spec().id.clone(), reward: taken[i].step.reward };
            let env_step = now + i as u64 + 1;
            return Err(RunError::Env { env_step, error: error.in_vector(i, self.envs.count()) });
        }
        let mut outcome = TurnOutcome::default();
        let of_each = actions.chunks_exact(self.dims()[1]).zip(taken);
        for (i, (action, VectorStep { step, last })) in of_each.enumerate() {
            let episode = &mut self.episodes[i];
            episode.reward_sum += step.reward;
            episode.length += 1;
            let next_obs = last.map_or_else(|| step.obs.clone(), |last| last.obs);
            let spec = self.envs.spec();
            if check_terminations {
                outcome.ends.count(spec, self.checks_terminations, [&episode.obs, &next_obs], step.terminated);
                let rule = terminations::require_rule(spec, &next_obs, step.terminated, now + i as u64 + 1);
                outcome.missing_rule = outcome.missing_rule.or(rule.err());
            }
            real.push_from(
                i,
                &Transition {
                    obs: std::mem::replace(&mut episode.obs, step.obs),
                    action: action.to_vec(),
                    reward: step.reward as f32,
                    next_obs,
                    terminated: step.terminated,
                    truncated: step.truncated,
                },
            );
            if step.terminated || step.truncated {
                let fresh = Episode::from(std::mem::take(&mut episode.obs));
                let ended = std::mem::replace(episode, fresh);
                outcome.ended.push((ended.reward_sum, ended.length));
                controller.begin(i);
            }
        }
        Ok(outcome)
    }

    fn save(&self, state: &mut State) {
        state.nest("env", self.envs.save());
        state.nest("episode", Episode::save_all(&self.episodes));
    }

    fn restore(&mut self, state: &mut State, now: u64, seed: u64, real: &mut RealBuffer) -> Result<(), RunError> {
        // A mismatch means that the state belongs to another `[env]`.
        let mut lost = self.envs.restore(state.part("env")).map_err(|error| RunError::Config(error.to_string()))?;
        let (id, count) = (self.spec().id.clone(), self.envs.count());
        // A run that was saved after an environment failed.
        for i in self.envs.needs_reset() {
            lost[i].get_or_insert_with(|| EnvError::Cut { id: id.clone() }.in_vector(i, count));
        }
        self.episodes = Episode::restore_all(state.part("episode"), self.envs.count(), self.dims()[0])?;
        self.restart_lost(lost, now, seed, real)
    }

    fn first_reset(&self) -> Option<(u64, &[f32])> {
        let begins = |episode: &&Episode| episode.length == 0;
        Some((self.first_seed?, &self.episodes.first().filter(begins)?.obs))
    }

    fn lost(&self) -> &[EnvError] {
        &self.lost
    }

    fn restarted(&self) -> &[usize] {
        &self.restarted
    }
}

/// An episode that begins with an observation.
impl From<Vec<f32>> for Episode {
    fn from(obs: Vec<f32>) -> Self {
        Self { obs, ..Self::default() }
    }
}

impl Episode {
    /// Saves the episodes as `obs` f32 `[N, O]`, `reward_sum` f64 `[N]` and `length` u64 `[N]`.
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
