//! The map from the agent's actions in [-1, 1] to the task's own range [low, high], entry by entry:
//! u = mid + half · clamp(a), with mid = (low + high)/2 and half = (high − low)/2.
//!
//! It is the map of Gymnasium's `RescaleAction(env, -1, 1)`, but may round differently. For a range that is symmetric
//! about 0 it is a plain product and keeps every bit of a small action.
//!
//! A range is refused if the sum or the difference of its ends is infinite in f32. Infinite ends are such a case, and so
//! is the range of all finite f32 numbers, which stands for "no bounds" in many environments.

use foresee_core::State;

use super::{restore_inner, save_inner};
use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;
use crate::space::BoxSpace;

/// A task whose actions are in [-1, 1].
pub struct RescaleAction {
    inner: Box<dyn Environment>,
    spec: Spec,
}

impl RescaleAction {
    /// Wraps an environment so that [-1, 1] maps to its action space.
    ///
    /// # Errors
    /// If that space has an infinite bound, or the map to a range overflows f32.
    pub fn new(inner: Box<dyn Environment>) -> Result<Self, EnvError> {
        check_range(inner.spec())?;
        let action_space = BoxSpace::symmetric(&vec![1.0; inner.spec().action_space.dim()]);
        let rescaled_to = Some(inner.spec().task_actions().clone());
        let spec = Spec { action_space, rescaled_to, ..inner.spec().clone() };
        Ok(Self { inner, spec })
    }
}

/// Checks that [-1, 1] can be mapped to every entry of the spec's action space.
///
/// # Errors
/// If an entry has an infinite bound, or the sum or the difference of its bounds overflows f32.
pub(crate) fn check_range(spec: &Spec) -> Result<(), EnvError> {
    let BoxSpace { low, high } = &spec.action_space;
    for (index, (&low, &high)) in low.iter().zip(high).enumerate() {
        let id = spec.id.clone();
        if !(low.is_finite() && high.is_finite()) {
            return Err(EnvError::UnboundedActions { id, index, low, high });
        }
        if !((high - low).is_finite() && (low + high).is_finite()) {
            return Err(EnvError::HugeActions { id, index, low, high });
        }
    }
    Ok(())
}

impl Environment for RescaleAction {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        self.inner.reset(seed)
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        self.spec.check_action(action)?;
        let range = &self.inner.spec().action_space;
        let rescaled: Vec<f32> = action
            .iter()
            .zip(range.low.iter().zip(&range.high))
            .map(|(a, (low, high))| 0.5 * (low + high) + 0.5 * (high - low) * a.clamp(-1.0, 1.0))
            .collect();
        // Rounding may put a result one unit in the last place outside the range.
        let rescaled = range.clamp(&rescaled);
        self.inner.step(&rescaled)
    }

    /// Arrays: only `inner.*`.
    fn save(&self) -> State {
        save_inner(&*self.inner)
    }

    fn restore(&mut self, state: State) -> Result<(), EnvError> {
        restore_inner(&mut *self.inner, state)
    }

    fn set_physics(&mut self, physics: Physics) -> Result<(), EnvError> {
        self.inner.set_physics(physics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Info;
    use foresee_core::Termination;

    /// Returns its action as the observation.
    struct Echo(Spec);

    impl Echo {
        fn boxed(low: f32, high: f32) -> Box<dyn Environment> {
            let everything = BoxSpace::symmetric(&[f32::INFINITY]);
            let actions = BoxSpace::new(vec![low], vec![high]);
            Box::new(Self(Spec::new("Echo-v0", everything, actions, Termination::never())))
        }
    }

    impl Environment for Echo {
        fn spec(&self) -> &Spec {
            &self.0
        }
        fn reset(&mut self, _: Option<u64>) -> Result<Reset, EnvError> {
            Ok(Reset { obs: vec![0.0], info: Info::new() })
        }
        fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
            let obs = action.to_vec();
            Ok(Step { obs, reward: 0.0, terminated: false, truncated: false, info: Info::new() })
        }
        fn save(&self) -> State {
            State::new()
        }
        fn restore(&mut self, _: State) -> Result<(), EnvError> {
            Ok(())
        }
    }

    #[test]
    fn the_ends_and_the_middle_meet_and_actions_beyond_are_clamped() {
        let mut env = RescaleAction::new(Echo::boxed(-0.4, 1.2)).unwrap();
        for (action, want) in [(-1.0, -0.4), (1.0, 1.2), (0.0, 0.4), (-7.0, -0.4), (1.5, 1.2), (0.5, 0.8)] {
            let got = env.step(&[action]).unwrap().obs[0];
            assert!((got - want).abs() <= f32::EPSILON && (-0.4..=1.2).contains(&got), "{action}: {got}");
        }
        assert_eq!(env.spec().action_space, BoxSpace::symmetric(&[1.0]));
    }

    #[test]
    fn a_symmetric_range_is_an_exact_product() {
        let mut env = RescaleAction::new(Echo::boxed(-2.0, 2.0)).unwrap();
        for action in [1e-30, -0.3, 0.999_999_9] {
            assert_eq!(env.step(&[action]).unwrap().obs, [2.0 * action]);
        }
    }

    #[test]
    fn a_nan_is_an_error_and_not_clamped_away() {
        let mut env = RescaleAction::new(Echo::boxed(-2.0, 2.0)).unwrap();
        assert!(matches!(env.step(&[f32::NAN]), Err(EnvError::NonFiniteAction { index: 0, .. })));
    }

    #[test]
    fn a_range_without_an_end_is_refused() {
        let error = RescaleAction::new(Echo::boxed(0.0, f32::INFINITY)).err().unwrap();
        assert!(error.to_string().starts_with("entry 0 of the action space of `Echo-v0` is unbounded: [0, inf]"));
    }

    #[test]
    fn a_range_is_refused_if_and_only_if_the_map_to_it_overflows() {
        let error = RescaleAction::new(Echo::boxed(-f32::MAX, f32::MAX)).err().unwrap();
        assert_eq!(
            error.to_string(),
            "entry 0 of the action space of `Echo-v0` is [-3.4028235e38, 3.4028235e38], and the map from [-1, 1] to this range overflows f32\nhint: give the action space the bounds within which actions make a difference"
        );
        let half = 0.5 * f32::MAX;
        for (low, high, refused) in [
            (-half, half, false),
            (-half * 1.001, half, true),
            (0.0, f32::MAX, false),
            (f32::MAX, f32::MAX, true),
            (half, half, false),
        ] {
            let env = RescaleAction::new(Echo::boxed(low, high));
            assert_eq!(env.is_err(), refused, "[{low:?}, {high:?}]");
            let Ok(mut env) = env else { continue };
            for (action, share) in [(-1.0, 0.0), (0.0, 0.5), (0.5, 0.75), (1.0, 1.0)] {
                let [got, low, high] = [env.step(&[action]).unwrap().obs[0], low, high].map(f64::from);
                let want = low + share * (high - low);
                assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "{action}: {got:e} instead of {want:e}");
            }
        }
    }
}
