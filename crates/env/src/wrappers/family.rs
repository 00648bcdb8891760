//! A family of tasks: factors on a task's masses, lengths and gravity, a delay of its actions, and noise on its
//! sensors. Each of these is fixed, or drawn uniformly at every reset ([`FamilyConfig`]). Every episode plays one
//! member.
//!
//! * The action of step t takes effect at step t + delay. Before the first action takes effect, the task gets the
//!   action in its space that is nearest to zero. The delayed actions are not part of the observation.
//! * The observation is that of the task plus σ z, z ~ N(0, 1) entry by entry, without bounds. The rewards and the ends
//!   of episodes are those of the task's own state, and the termination rule holds for the observation without noise.
//!
//! Members are drawn from the stream `env/family`, noise from the stream `env/sensor_noise`. Both streams are keyed by
//! the last seed that a reset was given, which a run derives from its own seed, and by a count since that reset: of
//! resets for the members, of observations for the noise.

use std::collections::VecDeque;

use foresee_core::state::{Array, Data};
use foresee_core::{Draws, State, StateError, Stream};

use super::resets::ResetCounter;
use crate::config::{FamilyConfig, Range};
use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;
use crate::space::BoxSpace;

/// The member of the family that an episode plays.
#[derive(Clone, Debug, Default, PartialEq)]
struct Member {
    physics: Physics,
    /// σ, in each observation entry's unit.
    sensor_noise: f64,
    /// Actions `[A]` that have not taken effect yet, the oldest first; as many as the delay has steps.
    actions: VecDeque<Vec<f32>>,
}

/// All mutable state of the wrapper.
#[derive(Clone, Debug, Default, PartialEq)]
struct FamilyState {
    resets: ResetCounter,
    /// Number of observations since the last reset with a seed.
    observations: u64,
    member: Member,
}

/// A task whose every episode is a member of a family. The family sets the task's physics, so
/// [`Environment::set_physics`] of this wrapper accepts only the nominal factors.
pub struct Family {
    inner: Box<dyn Environment>,
    spec: Spec,
    config: FamilyConfig,
    current: FamilyState,
}

impl Family {
    /// Wraps a task. Every layer between must pass [`Environment::set_physics`] on to the task.
    ///
    /// # Errors
    /// If a parameter is out of its bounds, or the task does not have it.
    pub fn new(mut inner: Box<dyn Environment>, config: FamilyConfig) -> Result<Self, EnvError> {
        config.check(inner.as_mut())?;
        let mut spec = inner.spec().clone();
        if config.sensor_noise.ends()[1] > 0.0 {
            spec.observation_space = BoxSpace::symmetric(&vec![f32::INFINITY; spec.observation_space.dim()]);
        }
        Ok(Self { inner, spec, config, current: FamilyState::default() })
    }

    /// Draws a member. Every parameter takes one word of the draws, also a fixed one, so that fixing one does not
    /// change the others.
    fn draw_member(&self, draws: &mut Draws) -> Member {
        let FamilyConfig { mass, length, gravity, delay, sensor_noise } = self.config;
        let mut draw = |range: Range| {
            let [low, high] = range.ends();
            (low + (high - low) * f64::from(draws.uniform())).min(high)
        };
        let physics = Physics { mass: draw(mass), length: draw(length), gravity: draw(gravity) };
        let sensor_noise = draw(sensor_noise);
        let [low, high] = delay.ends().map(|steps| steps as usize);
        let actions = &self.spec.action_space;
        let neutral = actions.clamp(&vec![0.0; actions.dim()]);
        Member { physics, sensor_noise, actions: vec![neutral; low + draws.below(high - low + 1)].into() }
    }

    /// Adds the noise of the next observation.
    fn add_sensor_noise(&mut self, obs: &mut [f32]) {
        let FamilyState { resets, observations, member } = &mut self.current;
        if member.sensor_noise > 0.0 {
            let mut draws = Stream::new(resets.seed, "env/sensor_noise").at(*observations, 0);
            obs.iter_mut().for_each(|x| *x += (member.sensor_noise * f64::from(draws.normal())) as f32);
        }
        *observations += 1;
    }

    /// Makes `call` under the physics of `next` and then stores `next` as the current state. If the call fails, nothing
    /// changes.
    fn transition<T>(
        &mut self,
        next: FamilyState,
        call: impl FnOnce(&mut dyn Environment) -> Result<T, EnvError>,
    ) -> Result<T, EnvError> {
        self.inner.set_physics(next.member.physics)?;
        match call(self.inner.as_mut()) {
            Ok(outcome) => {
                self.current = next;
                Ok(outcome)
            }
            Err(error) => {
                self.inner.set_physics(self.current.member.physics)?;
                Err(error)
            }
        }
    }

    /// Reads the arrays that [`Family::save`] wrote, without those of the inner environment.
    fn read(&self, mut state: State) -> Result<FamilyState, StateError> {
        let mismatch = |path: &str, found: String, expected: &str| {
            Err(StateError::Mismatch { path: path.into(), found, expected: expected.into() })
        };
        let resets = ResetCounter::restored(&mut state)?;
        let observations = state.u64("observations")?;
        let physics = match state.f64s("physics")?.1[..] {
            [mass, length, gravity] => Physics { mass, length, gravity },
            ref found => return mismatch("physics", format!("{found:?}"), "three factors"),
        };
        let sensor_noise = state.f64("sensor_noise")?;
        let width = self.spec.action_space.dim();
        let (shape, actions) = state.f32s("actions")?;
        if shape.len() != 2 || shape[1] != width {
            return mismatch("actions", format!("of shape {shape:?}"), &format!("rows of {width} numbers"));
        }
        if !(sensor_noise.is_finite() && actions.iter().all(|x| x.is_finite())) {
            return mismatch("sensor_noise or actions", "not finite".into(), "finite numbers");
        }
        state.finish()?;
        let actions = actions.chunks_exact(width).map(<[f32]>::to_vec).collect();
        Ok(FamilyState { resets, observations, member: Member { physics, sensor_noise, actions } })
    }
}

impl Environment for Family {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        let resets = self.current.resets.next(seed);
        let observations = if seed.is_some() { 0 } else { self.current.observations };
        let member = self.draw_member(&mut resets.draws("env/family"));
        let mut reset = self.transition(FamilyState { resets, observations, member }, |task| task.reset(seed))?;
        self.add_sensor_noise(&mut reset.obs);
        Ok(reset)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        let pending = &mut self.current.member.actions;
        let mut step = self.inner.step(pending.front().map_or(action, Vec::as_slice))?;
        pending.push_back(action.to_vec());
        pending.pop_front();
        self.add_sensor_noise(&mut step.obs);
        Ok(step)
    }

    /// Arrays: `resets` u64 `[2]`, the last seed and the number of resets since then; `observations` u64; `physics` f64
    /// `[3]`, factors on mass, length and gravity; `sensor_noise` f64; `actions` f32 `[delay, A]`; `inner.*`.
    fn save(&self) -> State {
        let FamilyState { resets, observations, member: Member { physics, sensor_noise, actions } } = &self.current;
        let mut state = State::new();
        resets.save(&mut state);
        state.put("observations", *observations);
        state.put("physics", vec![physics.mass, physics.length, physics.gravity]);
        state.put("sensor_noise", *sensor_noise);
        let shape = vec![actions.len(), self.spec.action_space.dim()];
        state.put("actions", Array::new(shape, Data::F32(actions.iter().flatten().copied().collect())));
        state.nest("inner", self.inner.save());
        state
    }

    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let inner = state.part("inner");
        let next = self.read(state).map_err(EnvError::bad_state(&self.spec.id))?;
        self.transition(next, |task| task.restore(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classic::Pendulum;
    use crate::config::Steps;
    use crate::environment::Info;
    use foresee_core::Termination;
    use foresee_core::termination::Bound;

    /// Counts its steps and terminates when the count is beyond a bound. It has no physical parameter.
    struct Counter(Spec, u8);

    impl Counter {
        fn boxed(bound: f32) -> Box<dyn Environment> {
            let bound = Bound { quantity: 0.into(), low: f32::NEG_INFINITY, high: bound, closed: false };
            Box::new(Self(
                Spec::new(
                    "Counter-v0",
                    BoxSpace::symmetric(&[100.0]),
                    BoxSpace::new(vec![1.0], vec![2.0]),
                    Termination::outside(vec![bound]),
                ),
                0,
            ))
        }
    }

    impl Environment for Counter {
        fn spec(&self) -> &Spec {
            &self.0
        }
        fn reset(&mut self, _: Option<u64>) -> Result<Reset, EnvError> {
            self.1 = 0;
            Ok(Reset { obs: vec![0.0], info: Info::new() })
        }
        fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
            self.1 += 1;
            let obs = vec![f32::from(self.1)];
            let terminated = self.0.terminates(&[], &obs);
            Ok(Step { obs, reward: f64::from(action[0]), terminated, truncated: false, info: Info::new() })
        }
        fn save(&self) -> State {
            State::new()
        }
        fn restore(&mut self, _: State) -> Result<(), EnvError> {
            Ok(())
        }
    }

    fn nominal() -> FamilyConfig {
        FamilyConfig::default()
    }

    #[test]
    fn the_end_is_that_of_the_true_state_and_what_is_observed_has_no_bounds() {
        let config = FamilyConfig { sensor_noise: Range::Fixed(50.0), ..nominal() };
        let mut env = Family::new(Counter::boxed(3.5), config).unwrap();
        assert_eq!(env.spec().observation_space, BoxSpace::symmetric(&[f32::INFINITY]));
        let mut against_the_rule = 0;
        for seed in 0..20 {
            env.reset(Some(seed)).unwrap();
            for t in 1..=4 {
                let step = env.step(&[1.5]).unwrap();
                assert_eq!(step.terminated, t == 4);
                against_the_rule += usize::from(env.spec().terminates(&[], &step.obs) != step.terminated);
            }
        }
        assert!(against_the_rule > 10, "the noise shows nothing that the rule would misread");
    }

    #[test]
    fn until_the_first_action_acts_the_task_rests_inside_its_action_space() {
        let config = FamilyConfig { delay: Steps::Fixed(2), ..nominal() };
        let mut env = Family::new(Counter::boxed(9.5), config).unwrap();
        env.reset(None).unwrap();
        // The reward is the action that takes effect. Zero is outside [1, 2].
        let acted = [1.25, 1.5, 1.75, 2.0].map(|action| env.step(&[action]).unwrap().reward);
        assert_eq!(acted, [1.0, 1.0, 1.25, 1.5]);
        env.reset(None).unwrap();
        assert_eq!(env.step(&[1.25]).unwrap().reward, 1.0, "nothing is under way after a reset");
    }

    #[test]
    fn a_refused_action_is_not_put_under_way() {
        let config = FamilyConfig { delay: Steps::Fixed(2), ..nominal() };
        let mut env = Family::new(Counter::boxed(9.5), config).unwrap();
        env.reset(None).unwrap();
        let before = env.save();
        env.step(&[f32::NAN]).unwrap_err();
        env.step(&[1.0, 1.0]).unwrap_err();
        assert_eq!(env.save(), before);
    }

    #[test]
    fn a_parameter_that_the_task_does_not_have_is_refused_by_its_key() {
        let config = FamilyConfig { length: Range::Uniform([1.0, 1.5]), ..nominal() };
        let problem = Family::new(Counter::boxed(9.5), config).err().unwrap().to_string();
        assert_eq!(
            problem,
            "`env.family.length`: the length of `Counter-v0` cannot be multiplied by 1.5\n\
             hint: the factor must be 1, because this task has no parameter that can be changed"
        );
    }

    #[test]
    fn fixing_one_parameter_leaves_the_others_as_they_are_drawn() {
        let wide = Range::Uniform([0.5, 2.0]);
        let delay = Steps::Uniform([0, 9]);
        let all = FamilyConfig { mass: wide, length: wide, gravity: wide, delay, sensor_noise: wide };
        let member = |config: FamilyConfig| {
            let mut env = Family::new(Box::new(Pendulum::new()), config).unwrap();
            env.reset(Some(11)).unwrap();
            env.current.member
        };
        let drawn = member(all);
        let fixed = member(FamilyConfig { mass: Range::Fixed(1.0), sensor_noise: Range::Fixed(0.0), ..all });
        let physics = Physics { mass: 1.0, ..drawn.physics };
        assert_eq!(fixed, Member { physics, sensor_noise: 0.0, ..drawn });
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
        let config = FamilyConfig { mass: Range::Uniform([0.5, 2.0]), delay: Steps::Fixed(1), ..nominal() };
        let mut env = Family::new(Box::new(Pendulum::new()), config).unwrap();
        env.reset(Some(3)).unwrap();
        let saved = env.save();
        let next = env.step(&[1.0]).unwrap();
        env.restore(saved.clone()).unwrap();
        let arrays: [(&str, Array); 5] = [
            ("resets", vec![1_u64].into()),
            ("physics", vec![1.0_f64].into()),
            ("physics", vec![-1.0_f64, 1.0, 1.0].into()),
            ("actions", vec![0.0_f32].into()),
            // Here the arrays of the family fit, with other physics, and those of the task do not.
            ("inner.physics", vec![f64::NAN, 0.0].into()),
        ];
        for (name, array) in arrays {
            let mut state = saved.clone();
            state.take(name).unwrap();
            state.put(name, array);
            if name == "inner.physics" {
                state.take("physics").unwrap();
                state.put("physics", vec![1.9_f64, 1.0, 1.0]);
            }
            assert!(env.restore(state).is_err(), "{name}");
            assert_eq!(env.save(), saved, "{name}");
        }
        assert_eq!(env.step(&[1.0]).unwrap(), next, "the task has its physics still");
    }
}
