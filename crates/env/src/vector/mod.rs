//! Environments side by side: N copies of one task, stepped together.
//!
//! What happens at the end of an episode is one of Gymnasium's three modes (`gymnasium.vector.AutoresetMode` of
//! Gymnasium 1.4.0, `SyncVectorEnv`), [`Autoreset`]. Nothing depends on who steps whom when: environments share
//! nothing, and results come in their order.
//!
//! An error in one names it. What can be refused beforehand, as an action that is not finite, changes nothing. After
//! any other error each environment that the call was about needs a reset, since some have moved and some have not.

mod hands;

use foresee_core::{State, StateError, Stream};

use crate::environment::{Environment, Reset, Spec, Step};
use crate::error::EnvError;
use crate::tasks::EnvFactory;
use hands::Hands;

/// What follows the end of an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Autoreset {
    /// The next step ignores its action and resets: reward 0, no flag set.
    #[default]
    NextStep,
    /// The step that ends an episode resets too: it gives the new episode's first observation, and the old one's last
    /// beside it.
    SameStep,
    /// The caller resets; a step before that is an error.
    Disabled,
}

/// What a step of one of the environments gives.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorStep {
    /// The step; in [`Autoreset::SameStep`], where an episode ended, with the observation and info of the reset.
    pub step: Step,
    /// Gymnasium's `final_obs` and `final_info`: the last of the episode that ended. In [`Autoreset::SameStep`] alone.
    pub last: Option<Reset>,
}

/// Where an environment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// It was never reset, or failed.
    Unready = 0,
    /// In an episode.
    Running = 1,
    /// At the end of one, with no reset yet.
    Over = 2,
}

/// One of the environments.
struct SubEnvironment {
    env: Box<dyn Environment>,
    stand: Stand,
}

/// N environments of one task.
pub struct VectorEnvironment {
    envs: Vec<SubEnvironment>,
    autoreset: Autoreset,
    hands: Hands,
}

impl VectorEnvironment {
    /// `count` environments of a factory. They wait for their first reset.
    ///
    /// # Errors
    /// As the factory.
    #[track_caller]
    pub fn new(factory: &EnvFactory, count: usize, autoreset: Autoreset) -> Result<Self, EnvError> {
        Self::beside(factory()?, factory, count, autoreset)
    }

    /// As [`VectorEnvironment::new`] where the first of them is there already.
    ///
    /// # Errors
    /// If the factory fails for one of the others.
    #[track_caller]
    pub fn beside(
        first: Box<dyn Environment>,
        factory: &EnvFactory,
        count: usize,
        autoreset: Autoreset,
    ) -> Result<Self, EnvError> {
        assert!(count > 0, "a vector of no environments");
        let hands = Hands::of(first.spec().work, count)?;
        let others = hands.each(&mut vec![(); count - 1], |_, ()| factory());
        let (mut envs, mut failure) = (vec![first], None);
        for (i, other) in (1..).zip(others) {
            match other {
                Ok(env) => envs.push(env),
                Err(error) => failure = failure.or(Some(error.of_environment(i, count))),
            }
        }
        // Before anything fails: a vector closes all of its environments at once.
        let vector = Self::with(hands, envs, autoreset);
        failure.map_or_else(|| vector.checked(), Err)
    }

    /// Environments with the same spaces, of whatever origin.
    ///
    /// # Errors
    /// If their spaces are not the same, or the system has no threads left.
    #[track_caller]
    pub fn of(envs: Vec<Box<dyn Environment>>, autoreset: Autoreset) -> Result<Self, EnvError> {
        assert!(!envs.is_empty(), "a vector of no environments");
        let hands = Hands::of(envs[0].spec().work, envs.len())?;
        Self::with(hands, envs, autoreset).checked()
    }

    fn with(hands: Hands, envs: Vec<Box<dyn Environment>>, autoreset: Autoreset) -> Self {
        let envs = envs.into_iter().map(|env| SubEnvironment { env, stand: Stand::Unready }).collect();
        Self { envs, autoreset, hands }
    }

    /// Itself, if all have the same spaces.
    fn checked(self) -> Result<Self, EnvError> {
        let spec = |i: usize| self.envs[i].env.spec();
        let spaces = |i: usize| [&spec(i).observation_space, &spec(i).action_space];
        if let Some(i) = (1..self.count()).find(|&i| spaces(i) != spaces(0)) {
            let (id, [o, a], [first_o, first_a]) = (&spec(i).id, spaces(i), spaces(0));
            let error = EnvError::Config(format!(
                "`{id}` has observations {o} and actions {a}, and environment 0 {first_o} and {first_a}\nhint: environments side by side have the same spaces"
            ));
            return Err(error.of_environment(i, self.count()));
        }
        Ok(self)
    }

    /// What the first environment says of itself; all have its spaces.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        self.envs[0].env.spec()
    }

    /// How many there are, `N`.
    #[must_use]
    pub fn count(&self) -> usize {
        self.envs.len()
    }

    /// A seed for each environment: environment `i` has its own lane, so another one beside it shifts nothing.
    #[must_use]
    pub fn seeds(&self, stream: Stream) -> Vec<Option<u64>> {
        (0..self.count() as u32).map(|lane| Some(stream.at(0, lane).bits64())).collect()
    }

    /// Begins an episode everywhere, `seeds` `[N]` as in [`Environment::reset`].
    ///
    /// # Errors
    /// If an environment fails.
    pub fn reset(&mut self, seeds: &[Option<u64>]) -> Result<Vec<Reset>, EnvError> {
        let resets = self.reset_where(&vec![true; self.count()], seeds)?;
        Ok(resets.into_iter().flatten().collect())
    }

    /// Begins an episode where `mask` `[N]` says so.
    ///
    /// # Errors
    /// If an environment fails.
    pub fn reset_where(&mut self, mask: &[bool], seeds: &[Option<u64>]) -> Result<Vec<Option<Reset>>, EnvError> {
        let n = self.count();
        assert_eq!([mask.len(), seeds.len()], [n; 2], "a mask entry and a seed for each environment");
        self.each_of(mask, |i, sub| {
            let reset = sub.env.reset(seeds[i])?;
            sub.stand = Stand::Running;
            Ok(reset)
        })
    }

    /// One step everywhere, under actions `[N, A]`.
    ///
    /// # Errors
    /// If an action is not finite, a reset is due, or an environment fails.
    pub fn step(&mut self, actions: &[f32]) -> Result<Vec<VectorStep>, EnvError> {
        let steps = self.step_where(&vec![true; self.count()], actions)?;
        Ok(steps.into_iter().flatten().collect())
    }

    /// One step where `mask` `[N]` says so; the other rows of the actions `[N, A]` are not looked at.
    ///
    /// # Errors
    /// As [`VectorEnvironment::step`].
    pub fn step_where(&mut self, mask: &[bool], actions: &[f32]) -> Result<Vec<Option<VectorStep>>, EnvError> {
        let (n, dim, autoreset) = (self.count(), self.spec().action_space.dim(), self.autoreset);
        assert_eq!([mask.len(), actions.len()], [n, n * dim], "a mask entry and an action for each environment");
        let action = |i: usize| &actions[i * dim..(i + 1) * dim];
        for (i, sub) in self.envs.iter().enumerate().filter(|&(i, _)| mask[i]) {
            let spec = sub.env.spec();
            let possible = match (sub.stand, autoreset) {
                (Stand::Running, _) => spec.check_action(action(i)),
                (Stand::Over, Autoreset::NextStep) => Ok(()),
                (Stand::Over | Stand::Unready, _) => Err(EnvError::NeedsReset { id: spec.id.clone() }),
            };
            possible.map_err(|error| error.of_environment(i, n))?;
        }
        self.each_of(mask, |i, sub| sub.step(action(i), autoreset))
    }

    /// Does `job` where `mask` says so. If one fails, all of those need a reset.
    fn each_of<R: Send>(
        &mut self,
        mask: &[bool],
        job: impl Fn(usize, &mut SubEnvironment) -> Result<R, EnvError> + Sync,
    ) -> Result<Vec<Option<R>>, EnvError> {
        let n = self.count();
        let outcomes = self.hands.each(&mut self.envs, |i, sub| {
            mask[i].then(|| job(i, sub).map_err(|error| error.of_environment(i, n))).transpose()
        });
        let outcome: Result<_, _> = outcomes.into_iter().collect();
        if outcome.is_err() {
            self.envs.iter_mut().zip(mask).filter(|(_, of)| **of).for_each(|(sub, _)| sub.stand = Stand::Unready);
        }
        outcome
    }

    /// `stand` u8 `[N]`: 0 where a reset is needed, 1 in an episode, 2 at its end; `0.*` … of the environments.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("stand", self.envs.iter().map(|sub| sub.stand as u8).collect::<Vec<_>>());
        for (i, sub) in self.envs.iter().enumerate() {
            state.nest(&i.to_string(), sub.env.save());
        }
        state
    }

    /// Goes back to a saved state, of as many environments of the same task.
    ///
    /// What cannot be brought back, because it does not repeat itself, needs a reset: those environments' errors are the
    /// answer, `[N]`.
    ///
    /// # Errors
    /// If it is another's, or an environment refuses its part: then all need a reset.
    pub fn restore(&mut self, mut state: State) -> Result<Vec<Option<EnvError>>, EnvError> {
        let (n, id) = (self.count(), self.spec().id.clone());
        let parts: Vec<State> = (0..n).map(|i| state.part(&i.to_string())).collect();
        let stands = read_stands(state, n).map_err(EnvError::bad_state(&id))?;
        let mut items: Vec<_> = self.envs.iter_mut().zip(parts).collect();
        let outcomes = self.hands.each(&mut items, |i, (sub, part)| {
            sub.stand = Stand::Unready;
            match sub.env.restore(std::mem::take(part)) {
                Err(error) if error.is_not_repeatable() => Ok(Some(error.of_environment(i, n))),
                outcome => outcome.map(|()| None).map_err(|error| error.of_environment(i, n)),
            }
        });
        let lost: Vec<Option<EnvError>> = outcomes.into_iter().collect::<Result<_, _>>()?;
        let there = self.envs.iter_mut().zip(stands).zip(&lost).filter(|(_, lost)| lost.is_none());
        there.for_each(|((sub, stand), _)| sub.stand = stand);
        Ok(lost)
    }
}

/// All are closed at the same time: a process is given some seconds for its end.
impl Drop for VectorEnvironment {
    fn drop(&mut self) {
        let mut envs: Vec<_> = self.envs.drain(..).map(Some).collect();
        self.hands.each(&mut envs, |_, env| drop(env.take()));
    }
}

impl SubEnvironment {
    fn step(&mut self, action: &[f32], autoreset: Autoreset) -> Result<VectorStep, EnvError> {
        if self.stand == Stand::Over {
            let Reset { obs, info } = self.env.reset(None)?;
            self.stand = Stand::Running;
            let step = Step { obs, reward: 0.0, terminated: false, truncated: false, info };
            return Ok(VectorStep { step, last: None });
        }
        let step = self.env.step(action)?;
        if !(step.terminated || step.truncated) {
            return Ok(VectorStep { step, last: None });
        }
        if autoreset != Autoreset::SameStep {
            self.stand = Stand::Over;
            return Ok(VectorStep { step, last: None });
        }
        let Reset { obs, info } = self.env.reset(None)?;
        let last = Reset { obs: step.obs, info: step.info };
        Ok(VectorStep { step: Step { obs, info, ..step }, last: Some(last) })
    }
}

fn read_stands(mut state: State, count: usize) -> Result<Vec<Stand>, StateError> {
    let found = state.u8s("stand")?.1;
    let stand = |word: &u8| [Stand::Unready, Stand::Running, Stand::Over].into_iter().find(|s| *s as u8 == *word);
    let stands: Option<Vec<Stand>> = found.iter().map(stand).collect();
    let stands = stands.filter(|stands| stands.len() == count).ok_or_else(|| StateError::Mismatch {
        path: "stand".into(),
        found: format!("{found:?}"),
        expected: format!("{count} numbers from 0 to 2"),
    })?;
    state.finish()?;
    Ok(stands)
}
