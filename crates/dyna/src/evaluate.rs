//! What a policy is worth: the mean action's undiscounted return, from starts that every evaluation shares.
//!
//! Every evaluation begins its resets anew from the run's `eval/reset` stream, so that all losses and all moments of
//! training face the same starts. Episodes run side by side; each has its own environment.

use burn::tensor::Device;
use foresee_actor_critic::Policy;
use foresee_core::Stream;
use foresee_env::{EnvConfig, EnvError};
use foresee_nn::tensors;

/// Steps after which an episode is cut that neither ends nor has a limit of its own.
const LONGEST: u32 = 1_000_000;

/// An evaluation's outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Undiscounted returns, one an episode.
    pub returns: Vec<f64>,
    /// Lengths in environment steps, one an episode.
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

/// Plays `episodes` episodes with the policy's mean action, each in an environment of `[env]` of the run with this `seed`:
/// the one that was trained in.
///
/// # Errors
/// If the environment cannot be made or refuses an action, as it does a NaN.
pub fn evaluate(
    policy: &Policy,
    env: &EnvConfig,
    episodes: usize,
    seed: u64,
    device: &Device,
) -> Result<Evaluation, EnvError> {
    let resets = Stream::new(seed, "eval/reset");
    let mut envs = (0..episodes).map(|_| env.make(seed)).collect::<Result<Vec<_>, _>>()?;
    let mut obs = Vec::with_capacity(episodes);
    for (lane, env) in envs.iter_mut().enumerate() {
        obs.push(env.reset(Some(resets.at(0, lane as u32).bits64()))?.obs);
    }
    let mut outcome = Evaluation { returns: vec![0.0; episodes], lengths: vec![0; episodes] };
    let mut alive: Vec<usize> = (0..episodes).collect();
    while !alive.is_empty() {
        let obs_dim = obs[alive[0]].len();
        let states = alive.iter().flat_map(|&e| &obs[e]).copied().collect();
        let actions = tensors::to_vec(policy.mean_action(tensors::from_vec(states, [alive.len(), obs_dim], device)));
        let action_dim = actions.len() / alive.len();
        let mut going = Vec::with_capacity(alive.len());
        for (&episode, action) in alive.iter().zip(actions.chunks_exact(action_dim)) {
            let step = envs[episode].step(action)?;
            outcome.returns[episode] += step.reward;
            outcome.lengths[episode] += 1;
            if !(step.terminated || step.truncated || outcome.lengths[episode] == LONGEST) {
                obs[episode] = step.obs;
                going.push(episode);
            }
        }
        alive = going;
    }
    Ok(outcome)
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
