//! A wrapper that keeps the first entries of the observation. It gives MBPO's truncated observations of Ant (27,
//! without the contact forces) and of Humanoid (45), whose full observations MBPO's model could not learn (Janner et
//! al. 2019, and `AntTruncatedObs` in its code).

use foresee_core::{State, Termination};

use super::{restore_inner, save_inner};
use crate::environment::{Environment, Physics, Reset, Spec, Step};
use crate::error::EnvError;
use crate::space::BoxSpace;

/// A task whose observation is cut to its first entries.
pub struct FirstEntries {
    inner: Box<dyn Environment>,
    spec: Spec,
}

impl FirstEntries {
    /// Keeps the first `entries` entries of the task's observation.
    ///
    /// # Errors
    /// If `entries` is 0 or more than the observation has, or if the task's termination rule needs a later entry.
    pub fn new(inner: Box<dyn Environment>, entries: usize) -> Result<Self, EnvError> {
        let full = inner.spec();
        let (id, dim) = (&full.id, full.observation_space.dim());
        let refused = |allowed: String| {
            let hint = format!("hint: leave it out to keep all {dim} entries");
            EnvError::Config(format!("`env.first_entries` is {entries}; it must be {allowed}\n{hint}"))
        };
        if !(1..=dim).contains(&entries) {
            return Err(refused(format!("1 to {dim}, the number of observation entries of `{id}`")));
        }
        if let Some(last) = full.termination.as_ref().and_then(Termination::last_entry)
            && last >= entries
        {
            return Err(refused(format!("at least {}, because the termination rule reads entry {last}", last + 1)));
        }
        let BoxSpace { low, high } = &full.observation_space;
        let observation_space = BoxSpace::new(low[..entries].to_vec(), high[..entries].to_vec());
        let spec = Spec { observation_space, ..full.clone() };
        Ok(Self { inner, spec })
    }

    fn truncated(&self, mut obs: Vec<f32>) -> Vec<f32> {
        obs.truncate(self.spec.observation_space.dim());
        obs
    }
}

impl Environment for FirstEntries {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: Option<u64>) -> Result<Reset, EnvError> {
        let reset = self.inner.reset(seed)?;
        Ok(Reset { obs: self.truncated(reset.obs), ..reset })
    }

    fn step(&mut self, action: &[f32]) -> Result<Step, EnvError> {
        let step = self.inner.step(action)?;
        Ok(Step { obs: self.truncated(step.obs), ..step })
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
    use crate::classic::{CartPoleContinuous, Pendulum};

    #[test]
    fn what_is_left_is_what_the_task_gives_and_the_future_is_the_tasks() {
        let mut whole = Pendulum::new();
        let mut env = FirstEntries::new(Box::<Pendulum>::default(), 2).unwrap();
        assert_eq!(env.spec().observation_space, BoxSpace::symmetric(&[1.0, 1.0]));
        assert_eq!(env.reset(Some(5)).unwrap().obs, whole.reset(Some(5)).unwrap().obs[..2]);
        for action in [0.3, -1.2, 0.7] {
            let (got, want) = (env.step(&[action]).unwrap(), whole.step(&[action]).unwrap());
            assert_eq!((&got.obs[..], got.reward), (&want.obs[..2], want.reward));
        }
    }

    #[test]
    fn what_is_impossible_is_named_with_a_hint() {
        let message = |env: Box<dyn Environment>, entries| FirstEntries::new(env, entries).err().unwrap().to_string();
        for entries in [0, 4] {
            assert_eq!(
                message(Box::<Pendulum>::default(), entries),
                format!(
                    "`env.first_entries` is {entries}; it must be 1 to 3, the number of observation entries of `Pendulum-v1`\nhint: leave it out to keep all 3 entries"
                )
            );
        }
        let message = message(Box::<CartPoleContinuous>::default(), 2);
        assert!(
            message.contains("; it must be at least 3, because the termination rule reads entry 2\nhint: "),
            "{message}"
        );
    }
}
