//! The phases after a turn: fitting the model, imagining rollouts, updating the agent.
//!
//! With `mbpo` the updates after a real step follow one another. With `dhmbpo` a block of updates begins with updates
//! of the critics alone; between the other updates, rollouts refill the pool.

use foresee_actor_critic::Update;
use foresee_nn::Dynamics;

use super::{Phase, Run, RunError, diagnosis, report};
use crate::config::{Algo, Config};
use crate::ends::EndRule;
use crate::metrics;
use crate::record::Record;
use crate::rollout::tensors::TaskDynamics;
use crate::rollout::{Rollout, RolloutContext};

/// Number of agent updates in one slice.
const UPDATES_A_SLICE: u64 = 50;

impl Run {
    /// Takes some gradient steps of the classifier of ends, if there is one and its training is not over, or else of the
    /// model. After the last one, reports the fit and begins rollouts.
    pub(super) fn fit(&mut self, records: &mut Vec<Record>) -> Result<Phase, RunError> {
        let env_step = self.clock.now;
        if let Some(ends) = self.ends.as_mut().filter(|ends| ends.is_training()) {
            let errors = ends.advance(self.replay.real.rows(), self.counters.fits);
            records.extend(errors.map(|values| Record { env_step, values }));
            return Ok(Phase::Fit);
        }
        let (loss, distractors) = (&self.config.model.loss, self.config.env.distractors);
        let view = self.agent.values(loss.heads, loss.through_policy);
        let model = self.model.as_mut().expect("a fit has a model");
        let report = model.advance_fit(&*view);
        drop(view);
        let Some(report) = report.map_err(|error| RunError::Model { env_step, error })? else {
            return Ok(Phase::Fit);
        };
        let mut values = vec![
            (metrics::MODEL_TRAIN_LOSS, report.train_loss),
            (metrics::MODEL_HOLDOUT_SCORE, report.holdout_score),
            (metrics::MODEL_HOLDOUT_MSE, report.holdout_mse),
            (metrics::MODEL_STEPS, report.steps as f64),
            (metrics::MODEL_EPOCHS, f64::from(report.epochs)),
        ];
        values.extend(report.diagnostics);
        if distractors > 0 && !report.channels.is_empty() {
            let errors: Vec<f64> = report.channels.iter().map(|channel| channel.mse).collect();
            values.extend(report::split_holdout_mse(&errors, distractors));
        }
        values.extend(diagnosis::of_channels(&report.channels));
        records.push(Record { env_step, values });

        self.counters.fits += 1;
        if self.config.algo == Algo::Dhmbpo {
            let of_blocks = &self.config.double_horizon;
            if of_blocks.empty_pool {
                self.replay.imagined.clear();
            }
            if of_blocks.fresh_moments {
                self.agent.forget_moments();
            }
        }
        self.replay.imagined.resize(self.config.imagined_rows(env_step));
        Ok(self.begin_rollouts(0, 0))
    }

    /// Begins rollouts from real states. `gathered` is the number of imagined transitions of earlier rollouts in this
    /// call; `done` is the number of agent updates already made after this real step.
    fn begin_rollouts(&mut self, gathered: u64, done: u64) -> Phase {
        let Config { rollout, double_horizon, model, .. } = &self.config;
        let (starts, horizon) = match self.config.algo {
            Algo::Dhmbpo => (double_horizon.rollouts, double_horizon.horizon),
            _ => (rollout.starts_per_step * model.fit.every as usize, rollout.horizon.floor(self.clock.now)),
        };
        let call = self.counters.rollouts;
        self.counters.rollouts += 1;
        Phase::Imagine { rollout: Rollout::undrawn(starts, horizon, call), gathered, done }
    }

    /// Takes one imagined step of all rollouts; with kernels on a GPU, all their steps.
    pub(super) fn imagine(
        &mut self,
        mut rollout: Rollout,
        gathered: u64,
        done: u64,
        records: &mut Vec<Record>,
    ) -> Result<Phase, RunError> {
        let (env_step, rows) = (self.clock.now, rollout.next_rows());
        self.replay.imagined.reserve(rows).map_err(|error| RunError::Memory { env_step, rows, error })?;
        let context = RolloutContext {
            model: &**self.model.as_ref().expect("a rollout has a model"),
            actor: self.agent.actor(),
            termination: EndRule::of(self.ends.as_ref(), &self.termination),
            seed: self.config.seed,
            device: &self.device,
        };
        let before = rollout.transitions();
        let over = rollout.advance(self.rollouts, &context, &self.replay.real, &mut self.replay.imagined);
        self.counters.imagined_steps += rollout.transitions() - before;
        if let Some(explosion) = rollout.explosion() {
            return Err(RunError::Imagination { env_step, explosion, algo: self.config.algo });
        }
        if !over {
            return Ok(Phase::Imagine { rollout, gathered, done });
        }
        let blocks = self.config.algo == Algo::Dhmbpo;
        let gathered = gathered + rollout.transitions();
        if blocks && gathered < self.config.double_horizon.refill {
            return Ok(self.begin_rollouts(gathered, done));
        }
        if blocks && done > 0 {
            // Only the first refill of a block is reported.
            return Ok(Phase::Update(done));
        }
        let mut values = vec![
            (metrics::IMAGINED_HORIZON, rollout.horizon() as f64),
            (metrics::IMAGINED_REWARD, rollout.mean_reward()),
            (metrics::IMAGINED_TERMINATED, rollout.terminated_share()),
            (metrics::IMAGINED_ROWS, self.replay.imagined.len() as f64),
            (metrics::REAL_RATIO, self.real_ratio()),
            (metrics::IMAGINED_STEPS, self.counters.imagined_steps as f64),
        ];
        values.extend(self.share_outside(&rollout).map(|share| (metrics::IMAGINED_OUTSIDE, share)));
        records.push(Record { env_step, values });
        Ok(Phase::Update(0))
    }

    /// Share of real rows in a batch.
    fn real_ratio(&self) -> f64 {
        match self.config.algo {
            // The agent uses only the first states of its batch, which imagined rollouts visited.
            Algo::Dhmbpo => 0.0,
            _ => self.config.rollout.real_ratio.at(self.clock.now),
        }
    }

    /// Returns the number of agent updates that are due after the last turn, and the number of them, at the beginning,
    /// that train the critics alone.
    fn updates_due(&self) -> [u64; 2] {
        let Config { training, double_horizon: blocks, .. } = &self.config;
        // Counts the real steps just taken after exploration ended.
        let steps = self.clock.since(training.explore_steps);
        let per_step = self.config.updates_per_step();
        if self.config.algo != Algo::Dhmbpo {
            return [steps * per_step, 0];
        }
        if steps == 0 || !self.clock.is_due(blocks.block) || self.counters.fits == 0 {
            return [0, 0];
        }
        let times = if self.counters.fits == 1 { blocks.first_block } else { 1 };
        [blocks.critic_updates + times * blocks.block * per_step, blocks.critic_updates]
    }

    /// Makes some updates of the agent. After the last one, does the periodic jobs that are due.
    pub(super) fn update(&mut self, done: u64, records: &mut Vec<Record>) -> Result<Phase, RunError> {
        let (env_step, real_ratio) = (self.clock.now, self.real_ratio());
        let [total, of_critics] = self.updates_due();
        let mut end = total.min(done + UPDATES_A_SLICE);
        let blocks = (self.config.algo == Algo::Dhmbpo).then_some(&self.config.double_horizon);
        if let Some(blocks) = blocks {
            end = end.min(blocks.next_refill(done));
        }
        let Config { agent, seed, .. } = &self.config;
        // The agent does not learn from a model that was never fitted.
        let fitted = self.counters.fitted(self.model.as_deref());
        let dynamics =
            fitted.map(|model| TaskDynamics { model, termination: EndRule::of(self.ends.as_ref(), &self.termination) });
        let streams = self.agent.noise_streams();
        for update in done..end {
            let counter = [*seed, self.agent.updates()];
            let drawn = self.replay.draw(agent.batch, real_ratio, counter, streams);
            let dynamics = dynamics.as_ref().map(|dynamics| dynamics as &dyn Dynamics);
            let critic_only = update < of_critics;
            self.agent.update(Update { batch: drawn.batch(), noise: drawn.noise(), dynamics, critic_only });
            if update == done {
                // Lets a GPU begin with the first update while the host prepares the others. A failure is reported by
                // the next read-back.
                let _ = self.device.flush();
            }
        }
        if end < total {
            let refill = blocks.is_some_and(|blocks| blocks.refills_at(end));
            return Ok(if refill { self.begin_rollouts(0, end) } else { Phase::Update(end) });
        }
        if done < end && (blocks.is_some() || self.clock.is_due(self.config.training.log_every)) {
            records.push(self.training_record()?);
        }
        if self.clock.is_due(self.config.training.eval_every) || env_step == self.config.training.env_steps {
            // An evaluation that is not over goes on in the next slice; one that failed is repeated there.
            let again = Phase::Update(total);
            return match self.evaluate_now(records) {
                Ok(done) => Ok(if done { Phase::Act } else { again }),
                Err(error) => {
                    self.phase = again;
                    Err(error)
                }
            };
        }
        Ok(Phase::Act)
    }
}
