//! What a run's policy is worth: now and then while it is trained, when asked, and from a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foresee_actor_critic::Sac;

use super::{Counters, Run, RunError, RunState};
use crate::config::{Config, Opened};
use crate::evaluate::{Evaluation, Evaluator};
use crate::metrics;
use crate::record::Record;

impl Run {
    /// Whether it was not stopped.
    pub(super) fn evaluate_now(&mut self, records: &mut Vec<Record>) -> Result<bool, RunError> {
        let (env_step, stop) = (self.counters.env_step, Arc::clone(&self.stop));
        let outcome = self.evaluator.evaluate_unless(
            &|| stop.load(Ordering::Relaxed),
            self.agent.policy(),
            self.config.training.eval_episodes,
            &self.device,
        );
        let Some(outcome) = outcome.map_err(|error| RunError::Env { env_step, error })? else { return Ok(false) };
        let mean = outcome.mean();
        self.last_eval = Some(mean);
        self.best_eval = Some(self.best_eval.map_or(mean, |best| best.max(mean)));
        let values = vec![
            (metrics::EVAL_RETURN, mean),
            (metrics::EVAL_RETURN_STD, outcome.std()),
            (metrics::EVAL_LENGTH, outcome.mean_length()),
            (metrics::EVAL_EPISODES, outcome.returns.len() as f64),
        ];
        records.push(Record { env_step, values });
        Ok(true)
    }

    /// Lets a flag cut the slice under way short, where that is an evaluation: it is begun anew in the next one.
    pub fn stop_by(&mut self, flag: Arc<AtomicBool>) {
        self.stop = flag;
    }

    /// Evaluates the policy as it is; nothing of the run changes.
    ///
    /// # Errors
    /// If an environment fails.
    pub fn evaluate(&mut self, episodes: usize) -> Result<Evaluation, RunError> {
        let env_step = self.counters.env_step;
        let outcome = self.evaluator.evaluate(self.agent.policy(), episodes, &self.device);
        outcome.map_err(|error| RunError::Env { env_step, error })
    }

    /// What a snapshot's policy is worth: the outcome of `episodes` episodes, and the real steps that it was trained for.
    /// No environment is brought back to where it was.
    ///
    /// # Errors
    /// If the configuration is impossible, the state is not one of its runs, or an environment fails.
    pub fn evaluate_snapshot(
        config: &Config,
        mut state: RunState,
        episodes: usize,
    ) -> Result<(Evaluation, u64), RunError> {
        let Opened { config, env } = config.clone().open().map_err(RunError::Config)?;
        let device = config.device.open()?;
        let dims = [env.spec().observation_space.dim(), env.spec().action_space.dim()];
        let mut agent = Sac::new(&config.agent, dims, config.seed, &device);
        agent.load(state.part("agent"))?;
        let env_step = Counters::restore(state.part("counters"))?.env_step;
        let most = Evaluator::most(env.spec().work, &config.env);
        let outcome = Evaluator::new(config.env, config.seed, most).evaluate(agent.policy(), episodes, &device);
        Ok((outcome.map_err(|error| RunError::Env { env_step, error })?, env_step))
    }
}
