//! The tests of the rules of an environment. Each test ends at the first broken rule.

use foresee_core::{State, Stream};

use super::Check;
use crate::environment::{Environment, Reset, Spec, Step, Work};
use crate::error::EnvError;
use crate::space::{BoxSpace, Few, SHOWN};

/// Number of episodes that are played to their end.
const EPISODES: u64 = 3;
/// Number of steps after which an episode without a (shorter) time limit is abandoned.
const LONGEST_EPISODE: u32 = 10_000;
/// Number of steps compared after a restore: enough to cross the end of an episode from two steps before its time
/// limit.
const FUTURE: u64 = 10;
/// Number of resets of which one must differ from the first where starts are random. With two possible starts, all of
/// them agree by chance once in 30,000 checks.
pub(super) const RESETS: u64 = 16;
/// 64-bit seeds such as a run gives: the largest one, and one with high and low bits.
const LARGE_SEEDS: [u64; 2] = [u64::MAX, 0x9e37_79b9_7f4a_7c15];

/// A broken rule, with the place and the values.
pub(super) struct Broken(pub(super) Check, pub(super) String);

/// An error where none is allowed.
impl From<EnvError> for Broken {
    fn from(error: EnvError) -> Self {
        Self(Check::Runs, error.to_string())
    }
}

fn ensure(holds: bool, check: Check, detail: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(check, detail())) }
}

/// The environments under test, with their spec.
pub(super) struct Checker<'a> {
    pub(super) make: &'a dyn Fn() -> Result<Box<dyn Environment>, EnvError>,
    pub(super) spec: Spec,
}

impl Checker<'_> {
    fn make(&self) -> Result<Box<dyn Environment>, Broken> {
        Ok((self.make)()?)
    }

    fn action(&self, t: u64) -> Vec<f32> {
        self.spec.action_space.sample(&mut Stream::new(0, "checker/action").at(t, 0))
    }

    pub(super) fn spec_makes_sense(&self) -> Result<(), Broken> {
        self.spec.problem().map_or(Ok(()), |[problem, _]| Err(Broken(Check::Spec, problem)))
    }

    /// Checks observations, rewards, flags and the order of calls, over whole episodes of one environment.
    pub(super) fn episodes(&self) -> Result<(), Broken> {
        let mut env = self.make()?;
        self.refuses_a_step(env.as_mut(), "before the first reset")?;
        for seed in 0..EPISODES {
            self.observation(&env.reset(Some(seed))?.obs, 0)?;
            for t in 1..=self.spec.max_episode_steps.unwrap_or(u32::MAX).min(LONGEST_EPISODE) {
                let step = env.step(&self.action(u64::from(t)))?;
                self.step_is_sound(&step, t)?;
                if step.terminated || step.truncated {
                    self.refuses_a_step(env.as_mut(), "after the end of an episode")?;
                    let mut other = self.make()?;
                    other.reset(None)?;
                    other.restore(env.save())?;
                    self.refuses_a_step(other.as_mut(), "after restoring the end of an episode")?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn observation(&self, obs: &[f32], t: u32) -> Result<(), Broken> {
        let space = &self.spec.observation_space;
        ensure(space.contains(obs), Check::Observations, || format!("step {t} gave {}", strays(space, obs)))
    }

    fn step_is_sound(&self, step: &Step, t: u32) -> Result<(), Broken> {
        let Step { obs, reward, terminated, truncated, .. } = step;
        self.observation(obs, t)?;
        ensure(reward.is_finite(), Check::Rewards, || format!("step {t} gave {reward}"))?;
        let known = self.spec.termination.is_some();
        ensure(!known || *terminated == self.spec.terminates(obs), Check::Termination, || {
            format!("step {t} gave {terminated} at {}", Few(obs))
        })?;
        let limit = self.spec.max_episode_steps;
        // An environment in another process may truncate an episode early for its own reasons.
        let early = *truncated && self.spec.work == Work::Outside && limit.is_none_or(|limit| t < limit);
        ensure(early || *truncated == (limit == Some(t)), Check::TimeLimit, || {
            format!("step {t} gave {truncated}, the limit is {limit:?}")
        })
    }

    fn refuses_a_step(&self, env: &mut dyn Environment, when: &str) -> Result<(), Broken> {
        let before = env.save();
        let outcome = env.step(&self.action(0));
        ensure(matches!(outcome, Err(EnvError::NeedsReset { .. })), Check::Order, || {
            format!("{when}: {}", told(&outcome))
        })?;
        ensure(env.save() == before, Check::Order, || format!("{when}: the refused step changed the state"))
    }

    pub(super) fn seeding(&self) -> Result<(), Broken> {
        let episode = |env: &mut dyn Environment, seed| -> Result<Vec<Bits>, Broken> {
            let mut bits = vec![Bits::from(env.reset(Some(seed))?)];
            bits.extend(self.future(env)?);
            Ok(bits)
        };
        let same = |holds, detail: &str| ensure(holds, Check::Seeding, || detail.into());
        let mut env = self.make()?;
        let first = episode(env.as_mut(), 7)?;
        same(first == episode(self.make()?.as_mut(), 7)?, "two environments differ after the same seed")?;
        same(first == episode(env.as_mut(), 7)?, "an environment differs after the same seed when it was used before")?;
        // A task may begin every episode in the same way. Then neither kind of reset differs.
        let with_seeds = self.differ(env.as_mut(), (0..RESETS).map(Some))?;
        env.reset(Some(7))?;
        let without = self.differ(env.as_mut(), (0..RESETS).map(|_| None))?;
        same(with_seeds || !without, "all seeds give the same reset, and resets without a seed differ")?;
        same(without || !with_seeds, "a reset without a seed repeats the one before")?;
        for seed in LARGE_SEEDS {
            let refused = |error: EnvError| {
                Broken(Check::Seeding, format!("a run's seeds have 64 bits, and a reset with {seed} failed: {error}"))
            };
            let first = Bits::from(env.reset(Some(seed)).map_err(refused)?);
            let again = Bits::from(env.reset(Some(seed)).map_err(refused)?);
            ensure(first == again, Check::Seeding, || format!("an environment differs after the same seed {seed}"))?;
        }
        Ok(())
    }

    /// Whether one of these resets differs from the first.
    fn differ(&self, env: &mut dyn Environment, seeds: impl Iterator<Item = Option<u64>>) -> Result<bool, Broken> {
        let mut first = None;
        for seed in seeds {
            let reset = Bits::from(env.reset(seed)?);
            if *first.get_or_insert_with(|| reset.clone()) != reset {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn actions(&self) -> Result<(), Broken> {
        let mut env = self.make()?;
        env.reset(Some(0))?;
        self.play(env.as_mut(), 0, 1)?;
        let before = env.save();
        let good = self.action(1);
        for action in [&good[1..], &[&good[..], &good[..1]].concat()] {
            let outcome = env.step(action);
            let refused = matches!(outcome, Err(EnvError::ActionLength { .. }));
            ensure(refused, Check::Actions, || format!("{} entries gave {}", action.len(), told(&outcome)))?;
        }
        for (index, value) in (0..good.len()).flat_map(|i| [(i, f32::NAN), (i, f32::INFINITY), (i, f32::NEG_INFINITY)])
        {
            let mut action = good.clone();
            action[index] = value;
            let outcome = env.step(&action);
            let refused = matches!(outcome, Err(EnvError::NonFiniteAction { index: found, .. }) if found == index);
            ensure(refused, Check::Actions, || format!("{value} in entry {index} gave {}", told(&outcome)))?;
        }
        ensure(env.save() == before, Check::Actions, || "a refused action changed the state".into())?;
        for sign in [1.0, -1.0] {
            let beyond: Vec<f32> = good.iter().map(|_| sign * f32::MAX).collect();
            let nearest = self.spec.action_space.clamp(&beyond);
            let outside = Bits::from(env.step(&beyond)?);
            env.restore(before.clone())?;
            let inside = Bits::from(env.step(&nearest)?);
            env.restore(before.clone())?;
            ensure(outside == inside, Check::Actions, || {
                format!("{} does not act as {}", Few(&beyond), Few(&nearest))
            })?;
        }
        Ok(())
    }

    pub(super) fn save_and_restore(&self) -> Result<(), Broken> {
        let holds = |holds, detail: &str| ensure(holds, Check::SaveRestore, || detail.into());
        let near_the_end = self.spec.max_episode_steps.unwrap_or(0).min(LONGEST_EPISODE).saturating_sub(2);
        for steps in [0, 5, u64::from(near_the_end)] {
            let mut env = self.make()?;
            env.reset(Some(1))?;
            self.play(env.as_mut(), 0, steps)?;
            let saved = env.save();
            holds(env.save() == saved, "saving twice gives two states")?;
            let future = self.future(env.as_mut())?;
            for mut target in [env, self.make()?] {
                target.restore(saved.clone())?;
                holds(target.save() == saved, "what is restored is not what was saved")?;
                for (bad, name) in [(State::new(), "an empty state"), (with_a_stranger(&saved), "an unknown array")] {
                    let outcome = target.restore(bad);
                    holds(matches!(outcome, Err(EnvError::BadState { .. })), &format!("{name} gave {outcome:?}"))?;
                    holds(target.save() == saved, &format!("{name} was refused and changed the state"))?;
                }
                let detail = format!("the future after {steps} steps differs after a restore");
                holds(self.future(target.as_mut())? == future, &detail)?;
            }
        }
        let mut env = self.make()?;
        env.reset(None)?;
        env.restore(self.make()?.save())?;
        self.refuses_a_step(env.as_mut(), "after restoring a fresh environment")
    }

    /// Returns the results of some steps, a reset without a seed, and some more steps, so that every part of the state
    /// has an effect.
    fn future(&self, env: &mut dyn Environment) -> Result<Vec<Bits>, Broken> {
        let mut bits = self.play(env, 100, FUTURE)?;
        bits.push(env.reset(None)?.into());
        bits.extend(self.play(env, 200, FUTURE)?);
        Ok(bits)
    }

    /// Takes steps with the actions from `clock` on, and resets after each end.
    fn play(&self, env: &mut dyn Environment, clock: u64, steps: u64) -> Result<Vec<Bits>, Broken> {
        let mut bits = Vec::new();
        for t in clock..clock + steps {
            let step = env.step(&self.action(t))?;
            let over = step.terminated || step.truncated;
            bits.push(step.into());
            if over {
                bits.push(env.reset(None)?.into());
            }
        }
        Ok(bits)
    }
}

/// Describes the entries of an observation that are outside its space: the first of them with their values.
fn strays(space: &BoxSpace, obs: &[f32]) -> String {
    let (found, expected) = (obs.len(), space.dim());
    if found != expected {
        return format!("{found} numbers, the space has {expected}");
    }
    let inside = |i: usize| space.low[i] <= obs[i] && obs[i] <= space.high[i];
    let outside: Vec<usize> = (0..found).filter(|&i| !inside(i)).collect();
    let stray = |&i: &usize| format!("{:?} in entry {i}, outside [{:?}, {:?}]", obs[i], space.low[i], space.high[i]);
    let mut strays: Vec<String> = outside.iter().take(SHOWN).map(stray).collect();
    if outside.len() > SHOWN {
        strays.push(format!("… {} of {found} entries lie outside", outside.len()));
    }
    strays.join("; ")
}

/// Describes in one line the result of a step that should have been refused.
fn told(outcome: &Result<Step, EnvError>) -> String {
    match outcome {
        Ok(step) => format!("the observation {}", Few(&step.obs)),
        Err(error) => format!("the error: {}", error.to_string().lines().next().unwrap_or_default()),
    }
}

fn with_a_stranger(saved: &State) -> State {
    let mut state = saved.clone();
    state.put("no_environment_has_this", 0_u64);
    state
}

/// The result of a call as bits, so that −0 differs from 0.
#[derive(Clone, Debug, PartialEq)]
struct Bits {
    obs: Vec<u32>,
    reward: u64,
    flags: [bool; 2],
    info: Vec<(String, u64)>,
}

impl From<Step> for Bits {
    fn from(step: Step) -> Self {
        Self {
            obs: step.obs.into_iter().map(f32::to_bits).collect(),
            reward: step.reward.to_bits(),
            flags: [step.terminated, step.truncated],
            info: step.info.into_iter().map(|(name, value)| (name, value.to_bits())).collect(),
        }
    }
}

impl From<Reset> for Bits {
    fn from(reset: Reset) -> Self {
        let Reset { obs, info } = reset;
        Step { obs, reward: 0.0, terminated: false, truncated: false, info }.into()
    }
}
