//! Several environments that are stepped together: N instances of one task.
//!
//! [`Autoreset`] chooses the behaviour at the end of an episode, one of Gymnasium's three modes
//! (`gymnasium.vector.AutoresetMode` of Gymnasium 1.4.0, `SyncVectorEnv`). Results do not depend on the threads and
//! their order: environments share nothing, and results are returned in the order of the environments.
//!
//! An error in one environment names that environment. A call that can be refused beforehand, such as one with an
//! action that is not finite, changes nothing. After any other error each environment of the call needs a reset,
//! because some of them took their step and some did not.

mod executor;

use foresee_core::{State, StateError, Stream};

use crate::environment::{Environment, Reset, Spec, Step};
use crate::error::EnvError;
use crate::tasks::EnvFactory;
use executor::Executor;

/// The behaviour after the end of an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Autoreset {
    /// The next step ignores its action and resets: its reward is 0 and no flag is set.
    #[default]
    NextStep,
    /// The step that ends an episode also resets. It returns the first observation of the new episode, and the last one
    /// of the old episode in [`VectorStep::last`].
    SameStep,
    /// The caller resets. A step before the reset is an error.
    Disabled,
}

/// The result of a step of one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorStep {
    /// The step. In [`Autoreset::SameStep`], where an episode ended, with the observation and info of the reset.
    pub step: Step,
    /// The last observation and info of an episode that ended, Gymnasium's `final_obs` and `final_info`. Only in
    /// [`Autoreset::SameStep`].
    pub last: Option<Reset>,
}

/// The episode status of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EpisodeStatus {
    /// It was never reset, or it failed.
    NeedsReset = 0,
    /// Within an episode.
    Running = 1,
    /// At the end of an episode, before the next reset.
    Ended = 2,
}

/// An environment with its episode status.
struct SubEnvironment {
    env: Box<dyn Environment>,
    status: EpisodeStatus,
}

/// N environments of one task.
pub struct VectorEnvironment {
    envs: Vec<SubEnvironment>,
    autoreset: Autoreset,
    executor: Executor,
}

impl VectorEnvironment {
    /// Creates `count` environments with a factory. They need a reset before the first step.
    ///
    /// # Errors
    /// As the factory.
    #[track_caller]
    pub fn new(factory: &EnvFactory, count: usize, autoreset: Autoreset) -> Result<Self, EnvError> {
        Self::with_first(factory()?, factory, count, autoreset)
    }

    /// Creates a vector as [`VectorEnvironment::new`] does, where the first environment already exists.
    ///
    /// # Errors
    /// If the factory fails for one of the others.
    #[track_caller]
    pub fn with_first(
        first: Box<dyn Environment>,
        factory: &EnvFactory,
        count: usize,
        autoreset: Autoreset,
    ) -> Result<Self, EnvError> {
        assert!(count > 0, "a vector of no environments");
        let executor = Executor::for_work(first.spec().work, count)?;
        let others = executor.map(&mut vec![(); count - 1], |_, ()| factory());
        let (mut envs, mut failure) = (vec![first], None);
        for (i, other) in (1..).zip(others) {
            match other {
                Ok(env) => envs.push(env),
                Err(error) => failure = failure.or(Some(error.in_vector(i, count))),
            }
        }
        // Before any error is returned: dropping a vector closes all of its environments in parallel.
        let vector = Self::new_unchecked(executor, envs, autoreset);
        failure.map_or_else(|| vector.checked(), Err)
    }

    /// Makes a vector of existing environments. Their spaces must be the same.
    ///
    /// # Errors
    /// If their spaces differ, or the system has no threads left.
    #[track_caller]
    pub fn from_envs(envs: Vec<Box<dyn Environment>>, autoreset: Autoreset) -> Result<Self, EnvError> {
        assert!(!envs.is_empty(), "a vector of no environments");
        let executor = Executor::for_work(envs[0].spec().work, envs.len())?;
        Self::new_unchecked(executor, envs, autoreset).checked()
    }

    fn new_unchecked(executor: Executor, envs: Vec<Box<dyn Environment>>, autoreset: Autoreset) -> Self {
        let envs = envs.into_iter().map(|env| SubEnvironment { env, status: EpisodeStatus::NeedsReset }).collect();
        Self { envs, autoreset, executor }
    }

    /// Returns the vector if all environments have the same spaces.
    fn checked(self) -> Result<Self, EnvError> {
        let spec = |i: usize| self.envs[i].env.spec();
        let spaces = |i: usize| [&spec(i).observation_space, &spec(i).action_space];
        if let Some(i) = (1..self.count()).find(|&i| spaces(i) != spaces(0)) {
            let (id, [o, a], [first_o, first_a]) = (&spec(i).id, spaces(i), spaces(0));
            let error = EnvError::Config(format!(
                "`{id}` has observations {o} and actions {a}, but environment 0 has observations {first_o} and actions {first_a}\nhint: all environments of a vector must have the same spaces"
            ));
            return Err(error.in_vector(i, self.count()));
        }
        Ok(self)
    }

    /// Returns the spec of the first environment. All environments have its spaces.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        self.envs[0].env.spec()
    }

    /// Returns the number of environments, `N`.
    #[must_use]
    pub fn count(&self) -> usize {
        self.envs.len()
    }

    /// Returns a seed for each environment. Environment `i` has substream `i` of the stream, so adding an environment
    /// does not change the others' seeds.
    #[must_use]
    pub fn seeds(&self, stream: Stream) -> Vec<Option<u64>> {
        (0..self.count() as u32).map(|i| Some(stream.at(0, i).bits64())).collect()
    }

    /// Returns the indices of the environments that need a reset by the caller: those that were never reset, or that
    /// failed.
    #[must_use]
    pub fn needs_reset(&self) -> Vec<usize> {
        (0..self.count()).filter(|&i| self.envs[i].status == EpisodeStatus::NeedsReset).collect()
    }

    /// Begins an episode in every environment. `seeds` `[N]` are as in [`Environment::reset`].
    ///
    /// # Errors
    /// If an environment fails.
    pub fn reset(&mut self, seeds: &[Option<u64>]) -> Result<Vec<Reset>, EnvError> {
        let resets = self.reset_where(&vec![true; self.count()], seeds)?;
        Ok(resets.into_iter().flatten().collect())
    }

    /// Begins an episode in the environments where `mask` `[N]` is true; `None` for the others.
    ///
    /// # Errors
    /// If an environment fails.
    pub fn reset_where(&mut self, mask: &[bool], seeds: &[Option<u64>]) -> Result<Vec<Option<Reset>>, EnvError> {
        let n = self.count();
        assert_eq!([mask.len(), seeds.len()], [n; 2], "a mask entry and a seed for each environment");
        self.map_where(mask, |i, sub| {
            let reset = sub.env.reset(seeds[i])?;
            sub.status = EpisodeStatus::Running;
            Ok(reset)
        })
    }

    /// Takes one step in every environment, under actions `[N, A]`.
    ///
    /// # Errors
    /// If an action is not finite, a reset is due, or an environment fails.
    pub fn step(&mut self, actions: &[f32]) -> Result<Vec<VectorStep>, EnvError> {
        let steps = self.step_where(&vec![true; self.count()], actions)?;
        Ok(steps.into_iter().flatten().collect())
    }

    /// Takes one step in the environments where `mask` `[N]` is true. The other rows of the actions `[N, A]` are
    /// ignored.
    ///
    /// # Errors
    /// As [`VectorEnvironment::step`].
    pub fn step_where(&mut self, mask: &[bool], actions: &[f32]) -> Result<Vec<Option<VectorStep>>, EnvError> {
        let (n, dim, autoreset) = (self.count(), self.spec().action_space.dim(), self.autoreset);
        assert_eq!([mask.len(), actions.len()], [n, n * dim], "a mask entry and an action for each environment");
        let action = |i: usize| &actions[i * dim..(i + 1) * dim];
        for (i, sub) in self.envs.iter().enumerate().filter(|&(i, _)| mask[i]) {
            let spec = sub.env.spec();
            let possible = match (sub.status, autoreset) {
                (EpisodeStatus::Running, _) => spec.check_action(action(i)),
                (EpisodeStatus::Ended, Autoreset::NextStep) => Ok(()),
                (EpisodeStatus::Ended | EpisodeStatus::NeedsReset, _) => {
                    Err(EnvError::NeedsReset { id: spec.id.clone() })
                }
            };
            possible.map_err(|error| error.in_vector(i, n))?;
        }
        self.map_where(mask, |i, sub| sub.step(action(i), autoreset))
    }

    /// Runs `job` on the environments where `mask` is true. If one fails, all of these need a reset.
    fn map_where<R: Send>(
        &mut self,
        mask: &[bool],
        job: impl Fn(usize, &mut SubEnvironment) -> Result<R, EnvError> + Sync,
    ) -> Result<Vec<Option<R>>, EnvError> {
        let n = self.count();
        let outcomes = self.executor.map(&mut self.envs, |i, sub| {
            mask[i].then(|| job(i, sub).map_err(|error| error.in_vector(i, n))).transpose()
        });
        let outcome: Result<_, _> = outcomes.into_iter().collect();
        if outcome.is_err() {
            self.envs
                .iter_mut()
                .zip(mask)
                .filter(|(_, selected)| **selected)
                .for_each(|(sub, _)| sub.status = EpisodeStatus::NeedsReset);
        }
        outcome
    }

    /// Arrays: `stand` u8 `[N]`, 0 where a reset is needed, 1 within an episode, 2 at its end; `0.*`, `1.*`, … of the
    /// environments.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("stand", self.envs.iter().map(|sub| sub.status as u8).collect::<Vec<_>>());
        for (i, sub) in self.envs.iter().enumerate() {
            state.nest(&i.to_string(), sub.env.save());
        }
        state
    }

    /// Restores a saved state of the same number of environments of the same task.
    ///
    /// An environment that is not reproducible cannot be restored and needs a reset. The result `[N]` holds the errors of
    /// these environments.
    ///
    /// # Errors
    /// If the state does not fit, or an environment refuses its part. All environments then need a reset.
    pub fn restore(&mut self, mut state: State) -> Result<Vec<Option<EnvError>>, EnvError> {
        let (n, id) = (self.count(), self.spec().id.clone());
        let parts: Vec<State> = (0..n).map(|i| state.part(&i.to_string())).collect();
        let statuses = read_statuses(state, n).map_err(EnvError::bad_state(&id))?;
        let mut items: Vec<_> = self.envs.iter_mut().zip(parts).collect();
        let outcomes = self.executor.map(&mut items, |i, (sub, part)| {
            sub.status = EpisodeStatus::NeedsReset;
            match sub.env.restore(std::mem::take(part)) {
                Err(error) if error.is_not_reproducible() => Ok(Some(error.in_vector(i, n))),
                outcome => outcome.map(|()| None).map_err(|error| error.in_vector(i, n)),
            }
        });
        let lost: Vec<Option<EnvError>> = outcomes.into_iter().collect::<Result<_, _>>()?;
        let restored = self.envs.iter_mut().zip(statuses).zip(&lost).filter(|(_, lost)| lost.is_none());
        restored.for_each(|((sub, status), _)| sub.status = status);
        Ok(lost)
    }
}

/// Closes all environments in parallel, because a process may take some seconds to end.
impl Drop for VectorEnvironment {
    fn drop(&mut self) {
        let mut envs: Vec<_> = self.envs.drain(..).map(Some).collect();
        self.executor.map(&mut envs, |_, env| drop(env.take()));
    }
}

impl SubEnvironment {
    fn step(&mut self, action: &[f32], autoreset: Autoreset) -> Result<VectorStep, EnvError> {
        if self.status == EpisodeStatus::Ended {
            let Reset { obs, info } = self.env.reset(None)?;
            self.status = EpisodeStatus::Running;
            let step = Step { obs, reward: 0.0, terminated: false, truncated: false, info };
            return Ok(VectorStep { step, last: None });
        }
        let step = self.env.step(action)?;
        if !(step.terminated || step.truncated) {
            return Ok(VectorStep { step, last: None });
        }
        if autoreset != Autoreset::SameStep {
            self.status = EpisodeStatus::Ended;
            return Ok(VectorStep { step, last: None });
        }
        let Reset { obs, info } = self.env.reset(None)?;
        let last = Reset { obs: step.obs, info: step.info };
        Ok(VectorStep { step: Step { obs, info, ..step }, last: Some(last) })
    }
}

/// Reads the array `stand` that [`VectorEnvironment::save`] wrote.
fn read_statuses(mut state: State, count: usize) -> Result<Vec<EpisodeStatus>, StateError> {
    let found = state.u8s("stand")?.1;
    let all = [EpisodeStatus::NeedsReset, EpisodeStatus::Running, EpisodeStatus::Ended];
    let statuses: Option<Vec<EpisodeStatus>> =
        found.iter().map(|word| all.into_iter().find(|status| *status as u8 == *word)).collect();
    let statuses = statuses.filter(|statuses| statuses.len() == count).ok_or_else(|| StateError::Mismatch {
        path: "stand".into(),
        found: format!("{found:?}"),
        expected: format!("{count} numbers from 0 to 2"),
    })?;
    state.finish()?;
    Ok(statuses)
}
