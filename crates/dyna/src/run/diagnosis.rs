//! Diagnostics of the model and of the values, computed from data that a run has anyway. The run does not depend on
//! them.

use foresee_core::Stream;
use foresee_core::metric::of_part;
use foresee_nn::{ValueHeads, tensors};
use foresee_world_model::ChannelError;

use super::Run;
use crate::metrics;
use crate::rollout::Rollout;

/// Largest number of channels that are reported individually.
const MAX_CHANNELS: usize = 65;
/// Number of episodes whose returns are compared with the values.
const COMPARED_EPISODES: usize = 10;
/// Largest number of states at which the values are evaluated.
const MAX_STATES: usize = 512;

type Values = Vec<(&'static str, f64)>;

/// Returns metrics of how well a fitted model predicts each of its channels, `[O + 1]`, where the reward is last.
pub(super) fn of_channels(channels: &[ChannelError]) -> Values {
    let mut values = Vec::new();
    let Some((_, of_obs)) = channels.split_last() else { return values };
    let explained: Vec<(usize, f64)> = channels
        .iter()
        .enumerate()
        .filter_map(|(channel, error)| error.explained_variance().map(|explained| (channel, explained)))
        .collect();
    if !explained.is_empty() {
        let (count, all) = (explained.len() as f64, explained.iter().map(|&(_, explained)| explained));
        values.push((metrics::MODEL_EXPLAINED, all.clone().sum::<f64>() / count));
        values.push((metrics::MODEL_LEAST_EXPLAINED, all.fold(f64::INFINITY, f64::min)));
    }
    let ratios: Vec<f64> = of_obs.iter().filter_map(ChannelError::relative_to_no_change).collect();
    if !ratios.is_empty() {
        values.push((metrics::MODEL_AGAINST_NO_CHANGE, ratios.iter().sum::<f64>() / ratios.len() as f64));
    }
    if channels.len() <= MAX_CHANNELS {
        values.extend(explained.into_iter().map(|(channel, explained)| {
            let name = match channel == of_obs.len() {
                true => of_part(metrics::MODEL_EXPLAINED_BY_CHANNEL, "reward"),
                false => of_part(metrics::MODEL_EXPLAINED_BY_CHANNEL, format_args!("obs_{channel}")),
            };
            (name, explained)
        }));
    }
    values
}

impl Run {
    /// Returns the mean value at states of the last real episodes, the mean discounted soft return that followed them,
    /// and the difference.
    ///
    /// The return is G = r + γ m (α H + G′), where H is the policy's mean entropy at these states and m is 0 after a
    /// termination, else 1. If a time limit cut an episode, the value of its last state replaces the future return.
    /// Empty until an episode has ended after exploration.
    pub(super) fn values_against_returns(&self) -> Values {
        let Some(return_parameters) = self.agent.return_parameters() else { return Vec::new() };
        let episodes = self.replay.real.last_episodes(COMPARED_EPISODES, self.config.training.explore_steps as usize);
        let view = self.agent.values(ValueHeads::Target, false);
        if episodes.is_empty() || view.heads() == 0 {
            return Vec::new();
        }
        let rows = self.replay.real.rows();
        let [obs_dim, _] = self.dims();
        let total: usize = episodes.iter().map(Vec::len).sum();
        let every = total.div_ceil(MAX_STATES);
        let sampled: Vec<usize> = episodes.iter().flatten().copied().step_by(every).collect();
        let ends: Vec<usize> = episodes.iter().filter_map(|rows| rows.last().copied()).collect();
        let mut states: Vec<f32> = sampled.iter().flat_map(|&row| row_of(&rows.obs, obs_dim, row)).copied().collect();
        states.extend(ends.iter().flat_map(|&row| row_of(&rows.next_obs, obs_dim, row)));
        let count = sampled.len() + ends.len();
        let states = tensors::from_vec(states, [count, obs_dim], &self.device);

        let head_values = tensors::to_vec(view.values(states.clone()));
        let heads = head_values.len() / count;
        let value = |state: usize| {
            (0..heads).map(|head| f64::from(head_values[head * count + state])).sum::<f64>() / heads as f64
        };
        let bonus = match self.agent.actor().policy().filter(|_| return_parameters.temperature > 0.0) {
            Some(policy) => {
                let noise = Stream::new(self.config.seed, "diagnosis/entropy").normals(0, count, policy.action_dim());
                let noise = tensors::from_vec(noise, [count, policy.action_dim()], &self.device);
                let log_prob = policy.sample(states, noise).log_prob.mean();
                -return_parameters.temperature * f64::from(tensors::to_f32(log_prob))
            }
            None => 0.0,
        };

        let (mut returned, mut end) = (Vec::with_capacity(total), sampled.len());
        for of_episode in &episodes {
            let mut future = value(end);
            end += 1;
            let start = returned.len();
            for &row in of_episode.iter().rev() {
                let goes_on = f64::from(rows.not_terminated[row]);
                future = f64::from(rows.reward[row]) + return_parameters.discount * goes_on * (bonus + future);
                returned.push(future);
            }
            returned[start..].reverse();
        }
        let mean = |sum: f64| sum / sampled.len() as f64;
        let predicted = mean((0..sampled.len()).map(value).sum());
        let returned = mean(returned.iter().step_by(every).sum());
        vec![
            (metrics::VALUE_PREDICTED, predicted),
            (metrics::VALUE_RETURNED, returned),
            (metrics::VALUE_BIAS, predicted - returned),
        ]
    }

    /// Returns the share of a rollout's imagined states with an entry outside the range of that entry over all real
    /// states; `None` if imagined states are not in host memory.
    pub(super) fn share_outside(&self, rollout: &Rollout) -> Option<f64> {
        let imagined = &self.replay.imagined;
        if imagined.is_on_device() {
            return None;
        }
        let new = (rollout.transitions() as usize).min(imagined.len());
        let first = imagined.position() + imagined.len() - new;
        let rows = imagined.rows();
        let [obs_dim, _] = self.dims();
        let range = self.replay.real.rows().range();
        let outside = |state: &[f32]| state.iter().zip(&range).any(|(x, [low, high])| !(low..=high).contains(&x));
        let count =
            (first..first + new).filter(|row| outside(row_of(&rows.next_obs, obs_dim, row % imagined.len()))).count();
        (new > 0).then(|| count as f64 / new as f64)
    }
}

fn row_of(all: &[f32], width: usize, row: usize) -> &[f32] {
    &all[row * width..(row + 1) * width]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_told_by_its_error_beside_that_of_a_constant_and_of_no_change() {
        let channel = |mse, variance, no_change_mse| ChannelError { mse, variance, no_change_mse };
        let channels = [channel(0.1, 0.4, 2.0), channel(0.0, 0.0, 0.0), channel(3.0, 2.0, 6.0), channel(0.5, 1.0, 9.0)];
        let want = [
            (metrics::MODEL_EXPLAINED, (0.75 - 0.5 + 0.5) / 3.0),
            (metrics::MODEL_LEAST_EXPLAINED, -0.5),
            (metrics::MODEL_AGAINST_NO_CHANGE, (0.05 + 0.5) / 2.0),
            ("model/explained_variance/obs_0", 0.75),
            ("model/explained_variance/obs_2", -0.5),
            ("model/explained_variance/reward", 0.5),
        ];
        assert_eq!(of_channels(&channels), want);
        assert_eq!(of_channels(&[]), []);
    }
}
