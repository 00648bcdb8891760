//! The tests of the rules of an environment. Each test ends at the first broken rule.

use foresee_core::{State, Stream, Termination};

use super::check::Check;
use crate::environment::{Environment, Reset, Spec, Step, Work};
use crate::error::EnvError;
use crate::space::{Abbreviated, BoxSpace, MAX_SHOWN};
use crate::vector::{Autoreset, VectorEnvironment, VectorStep};
use crate::wrappers::rescale_action;

/// Number of episodes that are played to their end.
const EPISODES: u64 = 3;
/// Number of steps after which an episode without a (shorter) time limit is abandoned.
const MAX_CHECKED_STEPS: u32 = 10_000;
/// Number of steps compared after a restore: enough to cross the end of an episode from two steps before its time
/// limit.
const FUTURE_STEPS: u64 = 10;
/// Number of steps that environments take side by side.
const STEPS_SIDE_BY_SIDE: u64 = 50;
/// Number of resets of which one must differ from the first where starts are random. With two possible starts, all of
/// them agree by chance once in 30,000 checks.
pub(super) const RESETS: u64 = 16;
/// 64-bit seeds such as a run gives: the largest one, and one with high and low bits.
const LARGE_SEEDS: [u64; 2] = [u64::MAX, 0x9e37_79b9_7f4a_7c15];

/// A broken rule, with the place and the values.
pub(super) struct Violation(pub(super) Check, pub(super) String);

/// An error where none is allowed.
impl From<EnvError> for Violation {
    fn from(error: EnvError) -> Self {
        Self(Check::Runs, error.to_string())
    }
}

fn ensure(holds: bool, check: Check, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation(check, detail())) }
}

/// The environments under test, with their spec.
pub(super) struct Checker<'a> {
    pub(super) make: &'a dyn Fn() -> Result<Box<dyn Environment>, EnvError>,
    pub(super) spec: Spec,
}

impl Checker<'_> {
    fn make(&self) -> Result<Box<dyn Environment>, Violation> {
        Ok((self.make)()?)
    }

    fn action(&self, t: u64) -> Vec<f32> {
        self.spec.action_space.sample(&mut Stream::new(0, "checker/action").at(t, 0))
    }

    pub(super) fn spec_is_consistent(&self) -> Result<(), Violation> {
        self.spec.problem().map_or(Ok(()), |[problem, _]| Err(Violation(Check::Spec, problem)))?;
        rescale_action::check_range(&self.spec).map_err(|error| Violation(Check::Spec, error.to_string()))
    }

    /// Checks observations, rewards, flags and the order of calls, over whole episodes of one environment.
    pub(super) fn episodes(&self) -> Result<(), Violation> {
        let mut env = self.make()?;
        self.check_refusal(env.as_mut(), "before the first reset")?;
        for seed in 0..EPISODES {
            let mut before = env.reset(Some(seed))?.obs;
            self.check_observation(&before, 0)?;
            for t in 1..=self.spec.max_episode_steps.unwrap_or(u32::MAX).min(MAX_CHECKED_STEPS) {
                let step = env.step(&self.action(u64::from(t)))?;
                self.check_step(&before, &step, t)?;
                if step.terminated || step.truncated {
                    self.check_refusal(env.as_mut(), "after the end of an episode")?;
                    let mut other = self.make()?;
                    other.reset(None)?;
                    other.restore(env.save())?;
                    self.check_refusal(other.as_mut(), "after restoring the end of an episode")?;
                    break;
                }
                before = step.obs;
            }
        }
        Ok(())
    }

    fn check_observation(&self, obs: &[f32], t: u32) -> Result<(), Violation> {
        let space = &self.spec.observation_space;
        ensure(space.contains(obs), Check::Observations, || {
            let call = if t == 0 { "the reset".into() } else { format!("step {t}") };
            format!("{call} returned an observation with {}", entries_outside(space, obs))
        })
    }

    /// Checks the result of step `t`, which began at the observation `before`.
    fn check_step(&self, before: &[f32], step: &Step, t: u32) -> Result<(), Violation> {
        let Step { obs, reward, terminated, truncated, .. } = step;
        self.check_observation(obs, t)?;
        // As f32, which is how training stores a reward.
        let finite = (*reward as f32).is_finite();
        ensure(finite, Check::Rewards, || {
            let beyond = if reward.is_finite() { ", which is beyond the range of f32 (3.4e38)" } else { "" };
            format!("step {t} returned a reward of {reward:?}{beyond}")
        })?;
        let rule = self.spec.termination.as_ref();
        let agrees = rule.is_none_or(|rule| *terminated == rule.terminated(before, obs));
        ensure(agrees, Check::Termination, || {
            let (obs, expected) = (Abbreviated(obs), !terminated);
            let after = match rule.is_some_and(Termination::reads_previous) {
                true => format!(" after {}", Abbreviated(before)),
                false => String::new(),
            };
            format!(
                "step {t} returned terminated = {terminated}, but the termination rule gives {expected} for the observation {obs}{after}"
            )
        })?;
        let limit = self.spec.max_episode_steps;
        // An environment in another process may truncate an episode early for its own reasons.
        let early = *truncated && self.spec.work == Work::ExternalProcess && limit.is_none_or(|limit| t < limit);
        ensure(early || *truncated == (limit == Some(t)), Check::TimeLimit, || {
            let limit =
                limit.map_or("there is no time limit".into(), |limit| format!("the time limit is {limit} steps"));
            format!("step {t} returned truncated = {truncated}, and {limit}")
        })
    }

    fn check_refusal(&self, env: &mut dyn Environment, when: &str) -> Result<(), Violation> {
        let before = env.save();
        let outcome = env.step(&self.action(0));
        ensure(matches!(outcome, Err(EnvError::NeedsReset { .. })), Check::Order, || {
            format!("a step {when} must be refused with `EnvError::NeedsReset`, but returned {}", describe(&outcome))
        })?;
        ensure(env.save() == before, Check::Order, || format!("a step {when} was refused, but changed the state"))
    }

    pub(super) fn seeding(&self) -> Result<(), Violation> {
        let episode = |env: &mut dyn Environment, seed| -> Result<Vec<Bits>, Violation> {
            let mut bits = vec![Bits::from(env.reset(Some(seed))?)];
            bits.extend(self.future(env)?);
            Ok(bits)
        };
        let same = |holds, detail: &str| ensure(holds, Check::Seeding, || detail.into());
        let mut env = self.make()?;
        let first = episode(env.as_mut(), 7)?;
        same(first == episode(self.make()?.as_mut(), 7)?, "two environments differ after the same seed")?;
        same(first == episode(env.as_mut(), 7)?, "an environment that was used before differs after the same seed")?;
        // A task may begin every episode in the same way. Then neither kind of reset differs.
        let with_seeds = self.differ(env.as_mut(), (0..RESETS).map(Some))?;
        env.reset(Some(7))?;
        let without = self.differ(env.as_mut(), (0..RESETS).map(|_| None))?;
        same(with_seeds || !without, "resets with different seeds begin alike, but resets without a seed differ")?;
        same(
            without || !with_seeds,
            "a reset without a seed repeats the previous start, although different seeds give different starts",
        )?;
        for seed in LARGE_SEEDS {
            let refused = |error: EnvError| {
                Violation(
                    Check::Seeding,
                    format!("a run's seeds have 64 bits, and a reset with {seed} failed: {error}"),
                )
            };
            let first = Bits::from(env.reset(Some(seed)).map_err(refused)?);
            let again = Bits::from(env.reset(Some(seed)).map_err(refused)?);
            ensure(first == again, Check::Seeding, || format!("an environment differs after the same seed {seed}"))?;
        }
        Ok(())
    }

    /// Whether one of these resets differs from the first.
    fn differ(&self, env: &mut dyn Environment, seeds: impl Iterator<Item = Option<u64>>) -> Result<bool, Violation> {
        let mut first = None;
        for seed in seeds {
            let reset = Bits::from(env.reset(seed)?);
            if *first.get_or_insert_with(|| reset.clone()) != reset {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn actions(&self) -> Result<(), Violation> {
        let mut env = self.make()?;
        env.reset(Some(0))?;
        self.play(env.as_mut(), 0, 1)?;
        let before = env.save();
        let good = self.action(1);
        for action in [&good[1..], &[&good[..], &good[..1]].concat()] {
            let outcome = env.step(action);
            let refused = matches!(outcome, Err(EnvError::ActionLength { .. }));
            ensure(refused, Check::Actions, || {
                let (entries, found) = (action.len(), describe(&outcome));
                format!(
                    "an action with {entries} entries must be refused with `EnvError::ActionLength`, but returned {found}"
                )
            })?;
        }
        for (index, value) in (0..good.len()).flat_map(|i| [(i, f32::NAN), (i, f32::INFINITY), (i, f32::NEG_INFINITY)])
        {
            let mut action = good.clone();
            action[index] = value;
            let outcome = env.step(&action);
            let refused = matches!(outcome, Err(EnvError::NonFiniteAction { index: found, .. }) if found == index);
            ensure(refused, Check::Actions, || {
                let found = describe(&outcome);
                format!(
                    "an action with {value} in entry {index} must be refused with `EnvError::NonFiniteAction`, but returned {found}"
                )
            })?;
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
                let (beyond, nearest) = (Abbreviated(&beyond), Abbreviated(&nearest));
                format!(
                    "the action {beyond} is outside the space and does not act as the nearest action inside, {nearest}"
                )
            })?;
        }
        Ok(())
    }

    pub(super) fn save_and_restore(&self) -> Result<(), Violation> {
        let holds = |holds, detail: &str| ensure(holds, Check::SaveRestore, || detail.into());
        let near_the_end = self.spec.max_episode_steps.unwrap_or(0).min(MAX_CHECKED_STEPS).saturating_sub(2);
        for steps in [0, 5, u64::from(near_the_end)] {
            let mut env = self.make()?;
            env.reset(Some(1))?;
            self.play(env.as_mut(), 0, steps)?;
            let saved = env.save();
            holds(env.save() == saved, "saving twice gives two different states")?;
            let future = self.future(env.as_mut())?;
            for mut target in [env, self.make()?] {
                target.restore(saved.clone())?;
                holds(target.save() == saved, "the restored state is not the one that was saved")?;
                for (bad, name) in [(State::new(), "an empty state"), (with_unknown_array(&saved), "an unknown array")]
                {
                    let outcome = target.restore(bad);
                    let found = match &outcome {
                        Ok(()) => "succeeded".into(),
                        Err(error) => format!("returned {}", describe_error(error)),
                    };
                    holds(
                        matches!(outcome, Err(EnvError::BadState { .. })),
                        &format!("restoring {name} must be refused with `EnvError::BadState`, but {found}"),
                    )?;
                    holds(target.save() == saved, &format!("restoring {name} was refused, but changed the state"))?;
                }
                let detail =
                    format!("a state saved after {steps} steps and restored continues with other numbers or flags");
                holds(self.future(target.as_mut())? == future, &detail)?;
            }
        }
        let mut env = self.make()?;
        env.reset(None)?;
        env.restore(self.make()?.save())?;
        self.check_refusal(env.as_mut(), "after restoring a fresh environment")
    }

    /// Steps `count` environments together as training does, with seeds of the size that a run gives, and compares each
    /// of them with an environment that is alone.
    pub(super) fn side_by_side(&self, count: usize) -> Result<(), Violation> {
        let seeds: Vec<u64> = (0..count as u64).map(|i| LARGE_SEEDS[0].wrapping_sub(i)).collect();
        let action = |i: usize, t: u64| self.action(t + i as u64 * STEPS_SIDE_BY_SIDE);
        let environments = (0..count).map(|_| self.make()).collect::<Result<Vec<_>, _>>()?;
        let mut vector = VectorEnvironment::from_envs(environments, Autoreset::SameStep)?;
        let resets = vector.reset(&seeds.iter().copied().map(Some).collect::<Vec<_>>())?;
        let mut together: Vec<Vec<Bits>> = resets.into_iter().map(|reset| vec![reset.into()]).collect();
        for t in 0..STEPS_SIDE_BY_SIDE {
            let actions: Vec<f32> = (0..count).flat_map(|i| action(i, t)).collect();
            for (bits, VectorStep { step, last }) in together.iter_mut().zip(vector.step(&actions)?) {
                bits.push(step.into());
                bits.extend(last.map(Bits::from));
            }
        }
        drop(vector);
        for (i, (together, seed)) in together.into_iter().zip(seeds).enumerate() {
            let mut env = self.make()?;
            let mut alone = vec![Bits::from(env.reset(Some(seed))?)];
            for t in 0..STEPS_SIDE_BY_SIDE {
                let Step { obs, reward, terminated, truncated, info } = env.step(&action(i, t))?;
                let over = terminated || truncated;
                let last = over.then_some(Reset { obs: obs.clone(), info: info.clone() });
                let Reset { obs, info } = if over { env.reset(None)? } else { Reset { obs, info } };
                alone.push(Step { obs, reward, terminated, truncated, info }.into());
                alone.extend(last.map(Bits::from));
            }
            ensure(together == alone, Check::SideBySide, || {
                format!("environment {i} of {count} that are stepped together gives other numbers or flags than alone")
            })?;
        }
        Ok(())
    }

    /// Returns the results of some steps, a reset without a seed, and some more steps, so that every part of the state
    /// has an effect.
    fn future(&self, env: &mut dyn Environment) -> Result<Vec<Bits>, Violation> {
        let mut bits = self.play(env, 100, FUTURE_STEPS)?;
        bits.push(env.reset(None)?.into());
        bits.extend(self.play(env, 200, FUTURE_STEPS)?);
        Ok(bits)
    }

    /// Takes steps with the actions from `clock` on, and resets after each end.
    fn play(&self, env: &mut dyn Environment, clock: u64, steps: u64) -> Result<Vec<Bits>, Violation> {
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
fn entries_outside(space: &BoxSpace, obs: &[f32]) -> String {
    let (found, expected) = (obs.len(), space.dim());
    if found != expected {
        return format!("{found} numbers, but the space has {expected}");
    }
    let inside = |i: usize| space.low[i] <= obs[i] && obs[i] <= space.high[i];
    let outside: Vec<usize> = (0..found).filter(|&i| !inside(i)).collect();
    let entry = |&i: &usize| format!("{:?} in entry {i}, outside [{:?}, {:?}]", obs[i], space.low[i], space.high[i]);
    let mut shown: Vec<String> = outside.iter().take(MAX_SHOWN).map(entry).collect();
    if outside.len() > MAX_SHOWN {
        shown.push(format!("… {} of {found} entries are outside", outside.len()));
    }
    shown.join("; ")
}

/// Describes in one line the result of a step that should have been refused.
fn describe(outcome: &Result<Step, EnvError>) -> String {
    match outcome {
        Ok(step) => format!("the observation {}", Abbreviated(&step.obs)),
        Err(error) => describe_error(error),
    }
}

fn describe_error(error: &EnvError) -> String {
    format!("the error: {}", error.to_string().lines().next().unwrap_or_default())
}

fn with_unknown_array(saved: &State) -> State {
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
