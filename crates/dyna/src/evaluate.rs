//! Evaluation of a controller: the undiscounted returns of its best actions.
//!
//! The resets of every evaluation restart the run's `eval/reset` stream. All losses, and all evaluations of a run,
//! therefore have the same starts. Episodes run side by side.

use foresee_core::Stream;
use foresee_env::config::MAX_ENVIRONMENTS;
use foresee_env::{Autoreset, EnvError, EnvFactory, VectorEnvironment, VectorStep, Work};

use crate::control::{Controller, Knowledge, Mode, Observed};

/// Number of steps after which an episode is cut if it has neither terminated nor reached a time limit.
pub const MAX_EPISODE_STEPS: u32 = 100_000;

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Undiscounted returns, one per episode.
    pub returns: Vec<f64>,
    /// Lengths in environment steps, one per episode.
    pub lengths: Vec<u32>,
}

impl Evaluation {
    /// Mean return.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.returns.iter().sum::<f64>() / self.returns.len() as f64
    }

    /// Standard deviation of the returns over episodes (ddof 1); 0 for a single one.
    #[must_use]
    pub fn std(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.returns.iter().map(|r| (r - mean).powi(2)).sum();
        (squares / (self.returns.len().max(2) - 1) as f64).sqrt()
    }

    /// Mean length.
    #[must_use]
    pub fn mean_length(&self) -> f64 {
        self.lengths.iter().map(|&l| f64::from(l)).sum::<f64>() / self.lengths.len() as f64
    }
}

/// An evaluation in progress.
pub(crate) struct Episodes {
    /// Returns and lengths so far.
    pub(crate) outcome: Evaluation,
    /// Number of episodes that have begun.
    begun: usize,
    /// The episode of each environment, `[N]`.
    playing: Vec<Option<usize>>,
    /// The observation of each environment that has an episode, `[N]`.
    obs: Vec<Vec<f32>>,
}

/// Number of steps of a [`Beginning`].
const BEGINNING_STEPS: usize = 3;

/// The beginning of an episode under actions at the middle of their range, for a comparison with another one.
pub(crate) struct Beginning {
    /// The first observation `[O]`.
    pub(crate) first: Vec<f32>,
    /// The observation `[O]` after each of the next steps, and its reward.
    pub(crate) steps: Vec<(Vec<f32>, f64)>,
}

/// How far an evaluation in progress is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationProgress {
    /// Number of episodes that are over.
    pub finished: usize,
    /// Number of episodes in all.
    pub episodes: usize,
    /// Length so far of the longest episode that is being played.
    pub step: u32,
}

impl Episodes {
    /// Returns how far the evaluation is.
    pub(crate) fn progress(&self) -> EvaluationProgress {
        let playing = self.playing.iter().flatten();
        EvaluationProgress {
            finished: self.begun - playing.clone().count(),
            episodes: self.outcome.returns.len(),
            step: playing.map(|&episode| self.outcome.lengths[episode]).max().unwrap_or(0),
        }
    }

    /// Begins the next episodes in the environments that have none.
    fn begin_free(
        &mut self,
        envs: &mut VectorEnvironment,
        starts: &Stream,
        controller: &mut dyn Controller,
    ) -> Result<(), EnvError> {
        let episodes = self.outcome.returns.len();
        let mut seeds = vec![None; envs.count()];
        for (playing, seed) in self.playing.iter_mut().zip(&mut seeds).filter(|(playing, _)| playing.is_none()) {
            if self.begun < episodes {
                *playing = Some(self.begun);
                *seed = Some(starts.at(0, self.begun as u32).bits64());
                self.begun += 1;
            }
        }
        let begins: Vec<bool> = seeds.iter().map(Option::is_some).collect();
        self.playing.iter().zip(&begins).filter(|(_, begins)| **begins).for_each(|(playing, _)| {
            controller.begin(playing.expect("an episode that begins"));
        });
        for (obs, reset) in self.obs.iter_mut().zip(envs.reset_where(&begins, &seeds)?) {
            *obs = reset.map_or(std::mem::take(obs), |reset| reset.obs);
        }
        Ok(())
    }

    /// Takes a step in every environment that has an episode.
    fn step(
        &mut self,
        envs: &mut VectorEnvironment,
        controller: &mut dyn Controller,
        knowledge: &Knowledge<'_>,
    ) -> Result<(), EnvError> {
        let Self { outcome, playing, obs, .. } = self;
        let (n, action_dim) = (playing.len(), envs.spec().action_space.dim());
        let alive: Vec<usize> = (0..n).filter(|&i| playing[i].is_some()).collect();
        let states: Vec<f32> = alive.iter().flat_map(|&i| &obs[i]).copied().collect();
        let ids: Vec<usize> = playing.iter().flatten().copied().collect();
        let steps: Vec<u64> = ids.iter().map(|&episode| u64::from(outcome.lengths[episode])).collect();
        let observed = Observed { mode: Mode::Evaluate, ids: &ids, steps: &steps, obs: &states };
        let best = controller.act(knowledge, &observed);
        assert_eq!(best.len(), alive.len() * action_dim, "a controller must return one action per observation");
        let mut actions = vec![0.0; n * action_dim];
        for (&i, action) in alive.iter().zip(best.chunks_exact(action_dim)) {
            actions[i * action_dim..][..action_dim].copy_from_slice(action);
        }

        let plays: Vec<bool> = playing.iter().map(Option::is_some).collect();
        for (i, taken) in envs.step_where(&plays, &actions)?.into_iter().enumerate() {
            let (Some(VectorStep { step, .. }), Some(episode)) = (taken, playing[i]) else { continue };
            outcome.returns[episode] += step.reward;
            outcome.lengths[episode] += 1;
            if step.terminated || step.truncated || outcome.lengths[episode] == MAX_EPISODE_STEPS {
                playing[i] = None;
            }
            obs[i] = step.obs;
        }
        Ok(())
    }
}

/// The environments for evaluations, made at the first evaluation and kept.
pub struct Evaluator {
    factory: EnvFactory,
    /// The run's seed.
    seed: u64,
    /// Largest number of environments side by side.
    max_count: usize,
    envs: Option<VectorEnvironment>,
}

impl Evaluator {
    /// Returns an evaluator with up to `max_count` environments of a factory, and with the starts of the run with this
    /// `seed`.
    #[must_use]
    pub fn new(factory: EnvFactory, seed: u64, max_count: usize) -> Self {
        Self { factory, seed, max_count, envs: None }
    }

    /// Largest number of environments in an evaluation. If each environment is a process, it is the larger of `count`,
    /// the number in training, and the machine's threads. Otherwise it is the limit of `env.count`.
    #[must_use]
    pub fn max_environments(work: Work, count: usize) -> usize {
        match work {
            Work::Light | Work::Heavy => MAX_ENVIRONMENTS,
            Work::ExternalProcess => count.max(rayon::current_num_threads()),
        }
    }

    /// Plays `episodes` episodes with a controller's best actions.
    ///
    /// Every free environment gets the next episode. An episode is determined by its own start. On the CPU, where a
    /// batch row does not depend on the others, no return depends on the number of environments.
    ///
    /// # Errors
    /// If the environment cannot be made, or refuses an action such as a NaN.
    pub fn evaluate(
        &mut self,
        controller: &mut dyn Controller,
        knowledge: &Knowledge<'_>,
        episodes: usize,
    ) -> Result<Evaluation, EnvError> {
        let mut play = self.begin(episodes)?;
        while !self.advance(&mut play, usize::MAX, &|| false, controller, knowledge)? {}
        Ok(play.outcome)
    }

    /// Begins an evaluation of `episodes` episodes, which [`Evaluator::advance`] plays.
    pub(crate) fn begin(&mut self, episodes: usize) -> Result<Episodes, EnvError> {
        let n = if episodes == 0 { 0 } else { self.envs(episodes)?.count() };
        Ok(Episodes {
            outcome: Evaluation { returns: vec![0.0; episodes], lengths: vec![0; episodes] },
            begun: 0,
            playing: vec![None; n],
            obs: vec![Vec::new(); n],
        })
    }

    /// Takes up to `steps` steps in every environment that has an episode; fewer if `stop` returns true. Returns whether
    /// all episodes are over. Nothing else may use the evaluator until they are.
    pub(crate) fn advance(
        &mut self,
        play: &mut Episodes,
        steps: usize,
        stop: &dyn Fn() -> bool,
        controller: &mut dyn Controller,
        knowledge: &Knowledge<'_>,
    ) -> Result<bool, EnvError> {
        let starts = Stream::new(self.seed, "eval/reset");
        let Some(envs) = &mut self.envs else { return Ok(play.outcome.returns.is_empty()) };
        for _ in 0..steps {
            if stop() {
                return Ok(false);
            }
            play.begin_free(envs, &starts, controller)?;
            if play.playing.iter().all(Option::is_none) {
                return Ok(true);
            }
            play.step(envs, controller, knowledge)?;
        }
        Ok(false)
    }

    /// Plays the beginning of an episode after a reset with `seed`. Creates the environments for `episodes` episodes,
    /// unless they exist. `None` if there are no episodes.
    pub(crate) fn beginning(&mut self, seed: u64, episodes: usize) -> Result<Option<Beginning>, EnvError> {
        if episodes == 0 {
            return Ok(None);
        }
        let envs = self.envs(episodes)?;
        let (mut mask, mut seeds) = (vec![false; envs.count()], vec![None; envs.count()]);
        (mask[0], seeds[0]) = (true, Some(seed));
        let Some(reset) = envs.reset_where(&mask, &seeds)?.swap_remove(0) else { return Ok(None) };
        let mut beginning = Beginning { first: reset.obs, steps: Vec::new() };

        let space = &envs.spec().action_space;
        let middle = space.low.iter().zip(&space.high).map(|(low, high)| 0.5 * low + 0.5 * high);
        let actions: Vec<f32> = middle.cycle().take(envs.count() * space.low.len()).collect();
        for _ in 0..BEGINNING_STEPS {
            let Some(VectorStep { step, .. }) = envs.step_where(&mask, &actions)?.swap_remove(0) else { break };
            beginning.steps.push((step.obs, step.reward));
            if step.terminated || step.truncated {
                break;
            }
        }
        Ok(Some(beginning))
    }

    /// Returns enough environments for `episodes` episodes, but at most `self.max_count`.
    fn envs(&mut self, episodes: usize) -> Result<&mut VectorEnvironment, EnvError> {
        let count = episodes.min(self.max_count);
        let envs = match self.envs.take() {
            Some(envs) if envs.count() >= count => envs,
            _ => VectorEnvironment::new(&self.factory, count, Autoreset::Disabled)?,
        };
        Ok(self.envs.insert(envs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_is_summed_up_by_mean_and_unbiased_deviation() {
        let outcome = Evaluation { returns: vec![1.0, 2.0, 6.0], lengths: vec![10, 10, 25] };
        assert_eq!((outcome.mean(), outcome.mean_length()), (3.0, 15.0));
        assert!((outcome.std() - 7_f64.sqrt()).abs() < 1e-15, "{}", outcome.std());
        assert_eq!(Evaluation { returns: vec![4.0], lengths: vec![1] }.std(), 0.0);
    }
}
