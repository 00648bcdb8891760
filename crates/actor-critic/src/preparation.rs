//! Observations and rewards as an agent's networks see them: scaled by running statistics of the real transitions.
//!
//! Observations become (obs − mean) / std, with the moments of all real observations ([`RunningMoments`]). Rewards
//! become r / σ with σ = max(√(var G + 1e-8), max |G| / 5), over the discounted sums G ← γ (1 − ended) G + r of the
//! real steps. The moments of G start as 1e-4 observations of mean 0 and variance 1.
//!
//! The reward scale follows Lee et al., "Hyperspherical Normalization for Scalable Deep Reinforcement Learning", 2025,
//! and its code SimbaV2 @ 86899c2. As in that code, a step that ends an episode drops the earlier sum and keeps its own
//! reward.
//!
//! Both use the current statistics each time a batch is used. Replay buffers store the task's own numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use foresee_core::{Batch, State, StateError};

use crate::batch::TensorBatch;
use crate::observations::{RunningMoments, Scale};

/// Weight of the prior of mean 0 and variance 1 of G, as a number of observations.
const PRIOR: f64 = 1e-4;
/// Largest |G| after scaling.
const LARGEST: f64 = 5.0;

/// `N` real training transitions, in the order in which they happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealTransitions<'a> {
    /// `[N, O]`
    pub obs: &'a [f32],
    /// `[N]`
    pub reward: &'a [f32],
    /// Whether the transition ended an episode, by termination or by a time limit, `[N]`.
    pub ended: &'a [bool],
    /// Index of the environment of each transition, `[N]`.
    pub env: &'a [u64],
}

/// The scale of rewards: running moments of their discounted sums G.
#[derive(Clone, Debug, PartialEq)]
pub struct ReturnScale {
    discount: f64,
    moments: RunningMoments,
    /// max |G|.
    largest: f64,
    /// Current G of every environment.
    sums: BTreeMap<u64, f64>,
}

impl ReturnScale {
    /// A scale without any reward so far.
    #[must_use]
    pub fn new(discount: f64) -> Self {
        Self { discount, moments: RunningMoments::with_prior(1, PRIOR), largest: 0.0, sums: BTreeMap::new() }
    }

    /// Adds the rewards of transitions.
    pub fn observe(&mut self, seen: RealTransitions<'_>) {
        for ((&reward, &ended), &env) in seen.reward.iter().zip(seen.ended).zip(seen.env) {
            let sum = self.sums.entry(env).or_default();
            *sum = self.discount * if ended { 0.0 } else { *sum } + f64::from(reward);
            self.moments.observe_exactly(&[*sum]);
            self.largest = self.largest.max(sum.abs());
        }
    }

    /// The unit σ, in the task's reward units; 1 before the first reward.
    #[must_use]
    pub fn unit(&self) -> f64 {
        if self.moments.count() == 0 {
            return 1.0;
        }
        let [_, variance] = self.moments.moments();
        (variance[0] + 1e-8).sqrt().max(self.largest / LARGEST)
    }

    fn save(&self) -> State {
        let mut state = State::new();
        state.nest("moments", self.moments.save());
        state.put("largest", self.largest);
        state.put("env", self.sums.keys().copied().collect::<Vec<_>>());
        state.put("sum", self.sums.values().copied().collect::<Vec<_>>());
        state
    }

    fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.moments.load(state.part("moments"))?;
        self.largest = state.f64("largest")?;
        let (envs, sums) = (state.u64s("env")?.1, state.f64s("sum")?.1);
        if envs.len() != sums.len() {
            return Err(StateError::Mismatch {
                path: "sum".into(),
                found: format!("{} numbers", sums.len()),
                expected: format!("{} environments", envs.len()),
            });
        }
        self.sums = envs.into_iter().zip(sums).collect();
        state.finish()
    }
}

/// The scaling of observations and of rewards, each only if the agent's config enables it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preparation {
    moments: Option<RunningMoments>,
    returns: Option<ReturnScale>,
    scale: Option<Arc<Scale>>,
}

impl Preparation {
    /// A preparation for observations of `O` entries. Rewards are scaled if `rewards` gives the discount of their sums.
    #[must_use]
    pub fn new(obs_dim: usize, observations: bool, rewards: Option<f64>) -> Self {
        let moments = observations.then(|| RunningMoments::new(obs_dim));
        let scale = moments.as_ref().map(|moments| Arc::new(moments.scale()));
        Self { moments, scale, returns: rewards.map(ReturnScale::new) }
    }

    /// Whether neither observations nor rewards are scaled.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.moments.is_none() && self.returns.is_none()
    }

    /// Number of transitions seen; `None` if nothing is scaled.
    #[must_use]
    pub fn seen(&self) -> Option<u64> {
        let of_rewards = self.returns.as_ref().map(|returns| returns.moments.count());
        self.moments.as_ref().map(RunningMoments::count).or(of_rewards)
    }

    /// Adds real training transitions to the statistics.
    pub fn observe(&mut self, seen: RealTransitions<'_>) {
        if let Some(moments) = &mut self.moments {
            moments.observe(seen.obs);
            self.scale = Some(Arc::new(moments.scale()));
        }
        if let Some(returns) = &mut self.returns {
            returns.observe(seen);
        }
    }

    /// The map from the task's observations to those that the networks see; `None` for the identity.
    #[must_use]
    pub fn scale(&self) -> Option<&Arc<Scale>> {
        self.scale.as_ref()
    }

    /// The networks' unit of reward, in the task's reward units; 1 if rewards are not scaled.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.returns.as_ref().map_or(1.0, ReturnScale::unit)
    }

    /// Returns the batch as the networks see it, in host memory.
    #[must_use]
    pub fn prepare_host(&self, batch: &Batch) -> Batch {
        let mut batch = batch.clone();
        if let Some(scale) = &self.scale {
            scale.apply_rows(&mut batch.obs);
            scale.apply_rows(&mut batch.next_obs);
        }
        if self.returns.is_some() {
            let factor = (1.0 / self.unit()) as f32;
            batch.reward.iter_mut().for_each(|reward| *reward *= factor);
        }
        batch
    }

    /// Returns the batch as the networks see it, on its device.
    #[must_use]
    pub fn prepare_tensors(&self, batch: TensorBatch) -> TensorBatch {
        let TensorBatch { mut obs, action, mut reward, mut next_obs, not_terminated } = batch;
        if let Some(scale) = &self.scale {
            (obs, next_obs) = (scale.apply(obs), scale.apply(next_obs));
        }
        if self.returns.is_some() {
            reward = reward.mul_scalar((1.0 / self.unit()) as f32);
        }
        TensorBatch { obs, action, reward, next_obs, not_terminated }
    }

    /// Returns the statistics as arrays; empty if nothing is scaled.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        if let Some(moments) = &self.moments {
            state.nest("observations", moments.save());
        }
        if let Some(returns) = &self.returns {
            state.nest("returns", returns.save());
        }
        state
    }

    /// Restores the statistics from arrays.
    ///
    /// # Errors
    /// If an array is missing, has another shape, or is unknown.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        if let Some(moments) = &mut self.moments {
            moments.load(state.part("observations"))?;
            self.scale = Some(Arc::new(moments.scale()));
        }
        if let Some(returns) = &mut self.returns {
            returns.load(state.part("returns"))?;
        }
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchRef;
    use crate::published::{entries, numbers};
    use burn::tensor::Device;

    #[test]
    fn rewards_are_scaled_as_the_published_code_scales_them() {
        let entry = &entries()["reward_scaling"];
        let inputs = &entry["inputs"];
        let rewards = numbers(&inputs["rewards"]);
        let ends = [numbers(&inputs["terminated"]), numbers(&inputs["truncated"])];
        let mut returns = ReturnScale::new(inputs["gamma"].as_f64().expect("a discount"));
        let wants = entry["outputs"]["simbaV2"].as_array().expect("a row a reward");
        for (i, (&reward, want)) in rewards.iter().zip(wants).enumerate() {
            let ended = [ends.iter().any(|ends| ends[i] == 1.0)];
            returns.observe(RealTransitions { obs: &[], reward: &[reward as f32], ended: &ended, env: &[7] });
            let want = |name: &str| want[name].as_f64().expect("a number");
            // The file's rewards are not exact in f32.
            for (name, got) in [
                ("G", returns.sums[&7]),
                ("var", returns.moments.moments()[1][0]),
                ("g_abs_max", returns.largest),
                ("scaled_of_1", 1.0 / returns.unit()),
            ] {
                assert!(
                    (got - want(name)).abs() <= 5e-7 * (1.0 + want(name).abs()),
                    "{i}: {name} {got}, {}",
                    want(name)
                );
            }
        }
    }

    #[test]
    fn every_environment_has_its_own_sum_and_a_saved_state_goes_on() {
        let mut both = Preparation::new(1, true, Some(0.5));
        both.observe(RealTransitions {
            obs: &[1.0, 3.0, 5.0],
            reward: &[1.0, 10.0, 2.0],
            ended: &[false; 3],
            env: &[0, 1, 0],
        });
        let returns = both.returns.as_ref().expect("rewards are scaled");
        assert_eq!(returns.sums, BTreeMap::from([(0, 2.5), (1, 10.0)]));
        let mut again = Preparation::new(1, true, Some(0.5));
        again.load(both.save()).expect("its own state");
        assert_eq!(again, both);
        assert_eq!((again.seen(), Preparation::default().seen()), (Some(3), None));
        assert!(Preparation::default().save().iter().next().is_none());
        // Rewards in two different units give equal scaled rewards, as far as the prior is negligible.
        let mut larger = ReturnScale::new(0.5);
        larger.observe(RealTransitions { obs: &[], reward: &[1e3, 1e4, 2e3], ended: &[false; 3], env: &[0, 1, 0] });
        assert!((larger.unit() / returns.unit() - 1e3).abs() < 1e-1, "{}", larger.unit());
    }

    #[test]
    fn a_batch_is_prepared_alike_in_host_memory_and_in_tensors() {
        let mut batch = Batch::default();
        batch.push(&[1.0, 2.0], &[0.5], 3.0, &[4.0, 5.0], false);
        batch.push(&[6.0, 7.0], &[-0.5], 8.0, &[9.0, 10.0], true);
        let mut preparation = Preparation::new(2, true, Some(0.9));
        let (env, ended) = ([0, 0], [false; 2]);
        preparation.observe(RealTransitions { obs: &batch.obs, reward: &batch.reward, ended: &ended, env: &env });
        let host = preparation.prepare_host(&batch);
        let device = preparation.prepare_tensors(BatchRef::Host(&batch).tensors([2, 1], &Device::flex()));
        assert_eq!(device.read(), host);
        assert_eq!((host.obs[0], host.obs[2], host.action), (-1.0, 1.0, batch.action));
        assert!((f64::from(host.reward[0]) * preparation.unit() - 3.0).abs() < 1e-6 && preparation.unit() > 1.5);
    }
}
