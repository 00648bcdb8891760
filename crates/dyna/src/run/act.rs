//! A turn of the loop: collecting experience, and choosing the next phase.

use foresee_actor_critic::preparation::RealTransitions;
use foresee_world_model::FitRequest;

use super::experience::Turn;
use super::{Phase, Run, RunError};
use crate::config::Algo;
use crate::control::Knowledge;
use crate::ends::EndRule;
use crate::metrics;
use crate::record::Record;

impl Run {
    /// Collects experience: with live environments, one real step of each.
    pub(super) fn act(&mut self, records: &mut Vec<Record>) -> Result<Phase, RunError> {
        let exploring = self.clock.now < self.config.training.explore_steps;
        let turn = Turn {
            knowledge: Knowledge {
                agent: &*self.agent,
                model: self.counters.fitted(self.model.as_deref()),
                termination: EndRule::of(self.ends.as_ref(), &self.termination),
                seed: self.config.seed,
                device: &self.device,
            },
            controller: &mut *self.controller,
            now: self.clock.now,
            exploring,
            check_terminations: self.config.algo != Algo::ModelFree && self.ends.is_none(),
            real: &mut self.replay.real,
        };
        let outcome = self.experience.turn(turn)?;
        self.clock.advance();
        self.counters.mismatches += outcome.ends.missed + outcome.ends.invented;
        self.counters.ends.add(outcome.ends);
        let ended = outcome.ended;
        if !ended.is_empty() {
            self.counters.episodes += ended.len() as u64;
            let mean = |of: fn(&(f64, u64)) -> f64| ended.iter().map(of).sum::<f64>() / ended.len() as f64;
            let values = vec![
                (metrics::EPISODE_RETURN, mean(|episode| episode.0)),
                (metrics::EPISODE_LENGTH, mean(|episode| episode.1 as f64)),
            ];
            records.push(Record { env_step: self.clock.now, values });
        }
        let phase = self.after_act(records);
        if let Some(error) = outcome.missing_rule {
            // The turn is complete, so the run can be saved and resumed here.
            self.phase = phase;
            return Err(error);
        }
        Ok(phase)
    }

    /// Passes the real transitions that the agent has not yet seen to its running statistics, if it keeps any.
    fn observe(&mut self) {
        let Some(seen) = self.agent.observed() else { return };
        let real = &self.replay.real;
        let (rows, from) = (real.rows(), seen as usize);
        if from == rows.rows {
            return;
        }
        let obs_dim = rows.obs.len() / rows.rows;
        let ended: Vec<bool> = (from..rows.rows).map(|row| real.ends(row)).collect();
        self.agent.observe(RealTransitions {
            obs: &rows.obs[from * obs_dim..],
            reward: &rows.reward[from..],
            ended: &ended,
            env: &real.envs()[from..],
        });
    }

    fn after_act(&mut self, records: &mut Vec<Record>) -> Phase {
        let explored = self.clock.now >= self.config.training.explore_steps;
        let block = self.model.is_some() && explored && self.clock.is_due(self.config.fit_every());
        if self.config.algo == Algo::Dhmbpo && block {
            // The episodes since the last block were played by the current policy, which that block produced.
            let values = self.values_against_returns();
            if !values.is_empty() {
                records.push(Record { env_step: self.clock.now, values });
            }
        }
        // Between two blocks the agent does not change.
        if self.config.algo != Algo::Dhmbpo || block {
            self.observe();
        }
        let loss = &self.config.model.loss;
        match &mut self.model {
            // A holdout set needs at least two rows.
            Some(model) if block && self.replay.real.rows().rows >= 2 => {
                let view = self.agent.values(loss.heads, loss.through_policy);
                let learning_step = self.clock.now - self.config.training.explore_steps;
                let request = FitRequest { view: &*view, call: self.counters.fits, learning_step };
                model.begin_fit(self.replay.real.training_rows(), request);
                if let Some(ends) = &mut self.ends {
                    ends.begin(self.replay.real.rows());
                }
                Phase::Fit
            }
            _ => Phase::Update(0),
        }
    }
}
