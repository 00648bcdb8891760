//! Real steps: one of every environment, side by side.

use foresee_core::{Stream, Transition};
use foresee_env::VectorStep;
use foresee_nn::tensors;

use super::{Episode, Phase, Run, RunError, ends, value_view};
use crate::config::Algo;
use crate::metrics;
use crate::record::Record;
use crate::schedule::reached;

impl Run {
    /// A real step of every environment. The transitions go to the buffer in the environments' order.
    pub(super) fn act(&mut self, records: &mut Vec<Record>) -> Result<Phase, RunError> {
        let env_step = self.counters.env_step;
        let actions = self.actions();
        let taken = self.envs.step(&actions).map_err(|error| RunError::Env { env_step, error })?;
        let mut ended = Vec::new();
        let of_each = actions.chunks_exact(self.action_dim()).zip(taken);
        for (i, (action, VectorStep { step, last })) in of_each.enumerate() {
            self.counters.env_step += 1;
            let episode = &mut self.episodes[i];
            episode.reward_sum += step.reward;
            episode.length += 1;
            let next_obs = last.map_or_else(|| step.obs.clone(), |last| last.obs);
            if self.config.algo == Algo::Mbpo
                && ends::mismatch(self.envs.spec(), &next_obs, step.terminated, self.counters.env_step)?
            {
                self.counters.mismatches += 1;
            }
            self.real.push(&Transition {
                obs: std::mem::replace(&mut episode.obs, step.obs),
                action: action.to_vec(),
                reward: step.reward as f32,
                next_obs,
                terminated: step.terminated,
                truncated: step.truncated,
            });
            if step.terminated || step.truncated {
                let fresh = Episode::from(std::mem::take(&mut episode.obs));
                ended.push(std::mem::replace(episode, fresh));
            }
        }
        if !ended.is_empty() {
            self.counters.episodes += ended.len() as u64;
            let mean = |of: fn(&Episode) -> f64| ended.iter().map(of).sum::<f64>() / ended.len() as f64;
            let values = vec![
                (metrics::EPISODE_RETURN, mean(|episode| episode.reward_sum)),
                (metrics::EPISODE_LENGTH, mean(|episode| episode.length as f64)),
            ];
            records.push(Record { env_step: self.counters.env_step, values });
        }
        Ok(self.after_act())
    }

    /// Actions `[N, A]`: uniform ones while exploring, sampled ones after.
    fn actions(&self) -> Vec<f32> {
        let (seed, n, [obs, actions]) = (self.config.seed, self.episodes.len(), self.dims());
        // Steps of one environment; each has its own lane.
        let step = self.counters.env_step / self.count();
        if self.counters.env_step < self.config.training.explore_steps {
            return Stream::new(seed, "policy/explore").uniforms(step, n, actions);
        }
        let noise = Stream::new(seed, "policy/act").normals(step, n, actions);
        // One upload.
        let rows = self.episodes.iter().zip(noise.chunks_exact(actions));
        let rows = rows.flat_map(|(episode, noise)| [&*episode.obs, noise]).collect::<Vec<_>>().concat();
        let both = tensors::from_vec(rows, [n, obs + actions], &self.device);
        let (obs, noise) = (both.clone().narrow(1, 0, obs), both.narrow(1, obs, actions));
        tensors::to_vec(self.agent.policy().sample(obs, noise).action)
    }

    fn after_act(&mut self) -> Phase {
        let step = self.counters.env_step;
        let explored = step >= self.config.training.explore_steps;
        let count = self.count();
        let Self { config, real, agent, .. } = self;
        match &mut self.model {
            Some(model) if explored && reached(config.model.fit.every, step, count) && real.rows().rows >= 2 => {
                let view = value_view(agent, &config.model.loss);
                Phase::Fit(Box::new(model.begin(real.rows(), &view, self.counters.fits, step)))
            }
            _ => Phase::Update(0),
        }
    }
}
