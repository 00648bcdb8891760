//! One action for several steps of the task. The reward is r = Σ rᵢ over the frames for which the action is held.
//!
//! A *frame* is a step of the task that the id names. A *decision* is a step of this wrapper, which outer layers call a
//! step. A decision has `action_repeat` frames, or fewer where the episode ends within it: it stops there, so that no
//! frame is played after the end. Its observation, flags and info are those of its last frame. The time limit remains
//! the task's own and counts frames: 1,000 frames are 500 decisions of two.

use foresee_core::State;

use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;

/// Name of the info scalar that holds the number of frames of a decision.
pub const FRAMES: &str = "frames";

/// A task whose actions are held for several frames.
pub struct ActionRepeat {
    inner: Box<dyn Environment>,
    spec: Spec,
    repeat: u32,
}

impl ActionRepeat {
    /// Holds every action for `repeat` frames. The time limit must be inside, because this wrapper has to see its
    /// truncation.
    #[track_caller]
    #[must_use]
    pub fn new(inner: Box<dyn Environment>, repeat: u32) -> Self {
        assert!(repeat > 0, "an action for no frames");
        let task_spec = inner.spec();
        let action_repeat = task_spec.action_repeat * repeat;
        let max_episode_steps = task_spec.max_episode_steps.map(|frames| frames.div_ceil(repeat));
        let spec = Spec { max_episode_steps, action_repeat, ..task_spec.clone() };
        Self { inner, spec, repeat }
    }

    /// Plays all frames of a decision.
    fn frames(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let mut step = self.inner.step(action)?;
        let (mut reward, mut frames) = (step.reward, 1);
        while frames < self.repeat && !(step.terminated || step.truncated) {
            step = self.inner.step(action)?;
            reward += step.reward;
            frames += 1;
        }
        step.info.insert(FRAMES.into(), frames.into());
        Ok(Step { reward, ..step })
    }

    /// Checks the arrays that [`ActionRepeat::save`] wrote, without those of the inner environment.
    fn check(&self, mut state: State) -> Result<(), EnvError> {
        let mut read = || {
            let found = state.u64("action_repeat")?;
            core::mem::take(&mut state).finish()?;
            Ok(found)
        };
        let found = read().map_err(EnvError::bad_state(&self.spec.id))?;
        if found == u64::from(self.repeat) {
            return Ok(());
        }
        let hint = "hint: a run keeps its action repeat: restore the former value, or start a new run";
        let message = format!("`env.action_repeat` is {}, but the saved state has {found}", self.repeat);
        Err(EnvError::Config(format!("{message}\n{hint}")))
    }
}

impl Environment for ActionRepeat {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.inner.reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        // A frame after the first can fail where something outside fails, such as a process. The frames before it are
        // then undone.
        let before = self.inner.save();
        let outcome = self.frames(action);
        if outcome.is_err() && self.inner.save() != before {
            // If the restore fails too, the first error is reported.
            let _ = self.inner.restore(before);
        }
        outcome
    }

    /// Arrays: `action_repeat` u64, frames in a step; `inner.*`.
    fn save(&self) -> State {
        let mut state = State::new();
        state.put("action_repeat", u64::from(self.repeat));
        state.nest("inner", self.inner.save());
        state
    }

    fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
        let inner = state.part("inner");
        self.check(state)?;
        self.inner.restore(inner)
    }

    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        self.inner.set_physics(physics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classic::Pendulum;
    use crate::environment::Info;
    use crate::space::BoxSpace;
    use crate::wrappers::TimeLimit;
    use foresee_core::Termination;
    use foresee_core::termination::Bound;

    fn pendulum(limit: u32) -> Box<dyn Environment> {
        Box::new(TimeLimit::new(Box::new(Pendulum::new()), limit))
    }

    #[test]
    fn a_decision_is_its_frames_with_the_rewards_added() {
        for repeat in [1, 2, 3, 7] {
            let mut plain = pendulum(200);
            let mut env = ActionRepeat::new(pendulum(200), repeat);
            assert_eq!(env.spec().max_episode_steps, Some(200_u32.div_ceil(repeat)));
            assert_eq!(env.spec().action_repeat, repeat);
            assert_eq!(env.reset(Some(4)), plain.reset(Some(4)));
            let mut left = 200;
            while left > 0 {
                let action = [(f64::from(left) * 0.7).sin() as f32 * 2.0];
                let held = repeat.min(left);
                let frames: Vec<_> = (0..held).map(|_| plain.step(&action).unwrap()).collect();
                let reward = frames[1..].iter().fold(frames[0].reward, |sum, frame| sum + frame.reward);
                let mut want = Step { reward, ..frames.last().unwrap().clone() };
                want.info.insert("frames".into(), held.into());
                assert_eq!(env.step(&action), Ok(want));
                left -= held;
            }
        }
    }

    #[test]
    fn the_time_limit_counts_frames_and_the_last_decision_may_have_fewer() {
        let mut env = ActionRepeat::new(pendulum(5), 2);
        assert_eq!(env.spec().max_episode_steps, Some(3));
        for _ in 0..2 {
            env.reset(Some(0)).unwrap();
            let steps = [(); 3].map(|()| env.step(&[0.5]).unwrap());
            assert_eq!(steps.clone().map(|step| step.truncated), [false, false, true]);
            assert_eq!(steps.map(|step| step.info[FRAMES]), [2.0, 2.0, 1.0]);
        }
    }

    /// Counts its steps from 1; the count is also the reward. It terminates at 5, and fails once at the step in its
    /// last field.
    struct Counter(Spec, u32, Option<u32>);

    impl Counter {
        fn failing_at(fails: Option<u32>) -> Self {
            let bound = Bound { quantity: 0.into(), low: f32::NEG_INFINITY, high: 4.5, closed: false };
            let [there, moves] = [f32::INFINITY, 1.0].map(|bound| BoxSpace::symmetric(&[bound]));
            Self(Spec::new("Counter-v0", there, moves, Termination::outside(vec![bound])), 0, fails)
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
            self.0.check_action(action)?;
            if self.2.take_if(|fails| *fails == self.1 + 1).is_some() {
                return Err(EnvError::Config("it fails".into()));
            }
            self.1 += 1;
            let obs = vec![self.1 as f32];
            let terminated = self.0.terminates(&[], &obs);
            Ok(Step { obs, reward: self.1.into(), terminated, truncated: false, info: Info::new() })
        }
        fn save(&self) -> State {
            let mut state = State::new();
            state.put("count", u64::from(self.1));
            state
        }
        fn restore(&mut self, mut state: State) -> Result<(), EnvError> {
            self.1 = state.u64("count").unwrap() as u32;
            Ok(())
        }
    }

    #[test]
    fn a_decision_stops_at_the_end_of_the_task() {
        let mut env = ActionRepeat::new(Box::new(Counter::failing_at(None)), 3);
        assert_eq!(env.spec().max_episode_steps, None);
        env.reset(None).unwrap();
        let steps = [(); 2].map(|()| env.step(&[0.0]).unwrap());
        let seen = steps.map(|step| (step.obs[0], step.reward, step.terminated, step.info[FRAMES]));
        assert_eq!(seen, [(3.0, 6.0, false, 3.0), (5.0, 9.0, true, 2.0)]);
    }

    #[test]
    fn a_frame_that_fails_leaves_all_of_the_decision_undone() {
        for fails in [1, 2, 3] {
            let mut env = ActionRepeat::new(Box::new(Counter::failing_at(Some(fails))), 3);
            env.reset(None).unwrap();
            let before = env.save();
            env.step(&[f32::NAN]).unwrap_err();
            assert_eq!(env.step(&[0.0]), Err(EnvError::Config("it fails".into())));
            assert_eq!(env.save(), before, "{fails}");
            assert_eq!(env.step(&[0.0]).unwrap().reward, 6.0, "{fails}");
        }
    }

    #[test]
    fn a_state_of_another_repeat_is_refused_and_changes_nothing() {
        let of = |repeat| {
            let mut env = ActionRepeat::new(pendulum(200), repeat);
            env.reset(Some(1)).unwrap();
            env.step(&[0.1]).unwrap();
            env
        };
        let mut env = of(2);
        let before = env.save();
        let error = env.restore(of(4).save()).unwrap_err().to_string();
        assert!(error.starts_with("`env.action_repeat` is 2, but the saved state has 4\nhint: "), "{error}");
        env.restore(pendulum(200).save()).unwrap_err();
        assert_eq!(env.save(), before);
    }
}
