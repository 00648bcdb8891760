//! Evaluation of a run's controller: periodically in training, on request, and from a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use foresee_env::Work;
use foresee_nn::device::guarded;
use foresee_world_model::ModelRequest;

use super::{Counters, Knowledge, Run, RunError, RunState, learned_ends, on_device};
use crate::ends::EndRule;
use crate::evaluate::{Evaluation, EvaluationProgress, Evaluator};
use crate::metrics;
use crate::record::Record;
use crate::setup::Setup;

/// Number of steps of every environment in one slice of an evaluation.
const STEPS_A_SLICE: usize = 250;

impl Run {
    /// Plays a part of an evaluation; after the last one, appends the record. Returns whether the evaluation is over.
    pub(super) fn evaluate_now(&mut self, records: &mut Vec<Record>) -> Result<bool, RunError> {
        let (env_step, stop) = (self.clock.now, Arc::clone(&self.stop));
        let knowledge = Knowledge {
            agent: &*self.agent,
            model: self.counters.fitted(self.model.as_deref()),
            termination: EndRule::of(self.ends.as_ref(), &self.termination),
            seed: self.config.seed,
            device: &self.device,
        };
        let failed = |error| RunError::Env { env_step, error };
        let (mut play, mut controller) = match self.evaluation.take() {
            Some(in_progress) => in_progress,
            None => {
                let episodes = self.config.training.eval_episodes;
                (self.evaluator.begin(episodes).map_err(failed)?, (self.controllers)())
            }
        };
        let stopped = || stop.load(Ordering::Relaxed);
        let over = self.evaluator.advance(&mut play, STEPS_A_SLICE, &stopped, &mut *controller, &knowledge);
        if !over.map_err(failed)? {
            self.evaluation = Some((play, controller));
            return Ok(false);
        }
        let outcome = play.outcome;
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

    /// How far the evaluation in progress is; `None` between evaluations.
    #[must_use]
    pub fn evaluation_progress(&self) -> Option<EvaluationProgress> {
        self.evaluation.as_ref().map(|(play, _)| play.progress())
    }

    /// Sets a flag that ends a slice of an evaluation early. The next slice goes on with the evaluation. A snapshot does
    /// not contain it, so a restored run starts it again.
    pub fn stop_by(&mut self, flag: Arc<AtomicBool>) {
        self.stop = flag;
    }

    /// Evaluates the current controller without changing the run.
    ///
    /// # Errors
    /// If an environment or the device fails.
    pub fn evaluate(&mut self, episodes: usize) -> Result<Evaluation, RunError> {
        let device = self.device.clone();
        guarded(&device, || self.play(episodes)).unwrap_or_else(|failure| Err(self.failed(failure)))
    }

    /// Compares the first observation of the first training environment with that of an environment for evaluations
    /// under the same seed, and the first steps of the latter with its own under the same seed and actions. Returns the
    /// message about a difference. The environments for evaluations are created here instead of at the first evaluation.
    /// Only environments in other processes are compared, before the first step of training.
    ///
    /// # Errors
    /// If an environment fails.
    pub fn unrepeatable(&mut self) -> Result<Option<String>, RunError> {
        if self.spec().work != Work::ExternalProcess {
            return Ok(None);
        }
        let Some((seed, before)) = self.experience.first_reset() else { return Ok(None) };
        let mut beginning = || {
            let beginning = self.evaluator.beginning(seed, self.config.training.eval_episodes);
            beginning.map_err(|error| RunError::Env { env_step: self.clock.now, error })
        };
        let Some(other) = beginning()? else { return Ok(None) };
        let difference = match difference(before, &other.first) {
            Some((index, x, y)) => Some(format!(
                "after the same seed, entry {index} of its first observation is {x} in one process and {y} in another"
            )),
            None => beginning()?.and_then(|again| difference_of_steps(&other.steps, &again.steps)),
        };
        let id = &self.spec().id;
        Ok(difference
            .map(|difference| format!("`{id}` does not repeat itself: {difference}; the run cannot be reproduced")))
    }

    fn play(&mut self, episodes: usize) -> Result<Evaluation, RunError> {
        let env_step = self.clock.now;
        // It uses the same environments, and starts again in the next slice.
        self.evaluation = None;
        let knowledge = Knowledge {
            agent: &*self.agent,
            model: self.counters.fitted(self.model.as_deref()),
            termination: EndRule::of(self.ends.as_ref(), &self.termination),
            seed: self.config.seed,
            device: &self.device,
        };
        let outcome = self.evaluator.evaluate(&mut *(self.controllers)(), &knowledge, episodes);
        outcome.map_err(|error| RunError::Env { env_step, error })
    }

    /// Evaluates the controller of a snapshot in `episodes` episodes. Returns the outcome, and the number of real steps
    /// of training in the snapshot. The model is loaded only if the controller needs it; training environments are not
    /// restored.
    ///
    /// # Errors
    /// If the state does not belong to a run of the configuration, or an environment or the device fails.
    pub fn evaluate_snapshot(setup: Setup, state: RunState, episodes: usize) -> Result<(Evaluation, u64), RunError> {
        on_device(setup, |setup, device| Self::play_snapshot(setup, device, state, episodes))
    }

    fn play_snapshot(
        setup: Setup,
        device: Device,
        mut state: RunState,
        episodes: usize,
    ) -> Result<(Evaluation, u64), RunError> {
        let Setup { config, env, factory, agent, model, controller, .. } = setup;
        let spec = env.spec().clone();
        let dims = [spec.observation_space.dim(), spec.action_space.dim()];
        let mut agent = agent.build(dims, config.seed, &device);
        agent.load(state.part("agent"))?;
        let mut controller = controller();
        let model = match model.filter(|_| controller.needs_model()) {
            Some((factory, loss)) => {
                let (seed, device) = (config.seed, &device);
                let mut model = factory.build(&ModelRequest { config: &config.model, loss: &loss, dims, seed, device });
                model.load(state.part("model"))?;
                Some(model)
            }
            None => None,
        };
        let mut ends = model.as_ref().and_then(|_| learned_ends(&config, dims, &device));
        if let Some(ends) = &mut ends {
            ends.load(state.part("ends"))?;
        }
        let (_, env_step) = Counters::restore(state.part("counters"))?;
        let rule = spec.termination.clone().unwrap_or_default();
        let knowledge = Knowledge {
            agent: &*agent,
            model: model.as_deref(),
            termination: EndRule::of(ends.as_ref(), &rule),
            seed: config.seed,
            device: &device,
        };
        let mut evaluator =
            Evaluator::new(factory, config.seed, Evaluator::max_environments(spec.work, config.env.count));
        let outcome = evaluator.evaluate(&mut *controller, &knowledge, episodes);
        Ok((outcome.map_err(|error| RunError::Env { env_step, error })?, env_step))
    }
}

/// Returns the first entry at which two observations differ, and its two values.
fn difference(one: &[f32], other: &[f32]) -> Option<(usize, f32, f32)> {
    let index = one.iter().zip(other).position(|(x, y)| x.to_bits() != y.to_bits())?;
    Some((index, one[index], other[index]))
}

/// Returns a message about the first difference between two beginnings of an episode after one seed and under the same
/// actions.
fn difference_of_steps(one: &[(Vec<f32>, f64)], other: &[(Vec<f32>, f64)]) -> Option<String> {
    one.iter().zip(other).enumerate().find_map(|(step, ((obs, reward), (other_obs, other_reward)))| {
        let (what, x, y) = match difference(obs, other_obs) {
            Some((index, x, y)) => (format!("entry {index} of its observation"), f64::from(x), f64::from(y)),
            None if reward.to_bits() != other_reward.to_bits() => ("its reward".into(), *reward, *other_reward),
            None => return None,
        };
        Some(format!("after the same seed and actions, {what} in step {} is {x} once and then {y}", step + 1))
    })
}
