//! Saving and restoring of the trainer and of a training call as arrays.

use foresee_core::{State, StateError};
use foresee_nn::{Parameters, ValueView};

use super::{Fit, Trainer};
use crate::config::Stopping;
use crate::early_stopping::{EarlyStopping, PairedTest};
use crate::fit_data::{FitData, TrainingRows};
use crate::normalizer::Normalizer;

impl Trainer {
    /// Returns the ensemble, its optimisers, the normaliser of the targets and, during a training call, the model that
    /// imagines rollouts as named arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("ensemble", self.ensemble.save());
        if let Some(target_normalizer) = &self.target_normalizer {
            state.nest("targets", target_normalizer.save());
        }
        if let Some(rollout_model) = self.rollout_model.as_ref().filter(|_| self.current_fit.is_some()) {
            // During a training call `ensemble` changes, so `rollout_model` cannot be computed from it again.
            state.nest("imagining", rollout_model.save());
        }
        state.nest("net_adam", self.net_adam.save(&self.ensemble.net));
        if let (Some(adam), Some(bounds)) = (&self.bounds_adam, &self.ensemble.bounds) {
            state.nest("bounds_adam", adam.save(bounds));
        }
        state
    }

    /// Restores the state that [`Trainer::save`] returned.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.ensemble.load(state.part("ensemble"))?;
        self.net_adam.load(&self.ensemble.net, state.part("net_adam"))?;
        if let (Some(adam), Some(bounds)) = (&mut self.bounds_adam, &self.ensemble.bounds) {
            adam.load(bounds, state.part("bounds_adam"))?;
        }
        let targets = state.part("targets");
        self.target_normalizer = if targets.is_empty() { None } else { Some(Normalizer::restore(targets)?) };
        self.rollout_model = self.in_task_units();
        let saved = state.part("imagining");
        if let Some(rollout_model) = self.rollout_model.as_mut().filter(|_| !saved.is_empty()) {
            rollout_model.load(saved)?;
        }
        state.finish()
    }

    /// Resumes a saved fit. The rows, their weights and the agent must be those that the fit began with.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn resume<'a>(
        &self,
        mut state: State,
        rows: impl Into<TrainingRows<'a>>,
        view: &dyn ValueView,
    ) -> Result<Fit, StateError> {
        let (call, learning_step) = (state.u64("call")?, state.u64("learning_step")?);
        let fit = &self.config.fit;
        let mut stopping = EarlyStopping::new(fit.snapshot, fit.patience, fit.threshold, vec![]);
        stopping.load(state.part("stopping"))?;
        let mut saved_weights = state.part("kept");
        let best_weights = if saved_weights.is_empty() {
            None
        } else {
            let mut best_weights = (self.ensemble.net.clone(), self.ensemble.bounds.clone());
            best_weights.0.load(saved_weights.part("net"))?;
            if let Some(bounds) = &mut best_weights.1 {
                bounds.load(saved_weights.part("bounds"))?;
            }
            Some(best_weights)
        };
        let saved_test = state.part("paired");
        let mut paired = (fit.stopping == Stopping::Paired).then(|| PairedTest::new(fit.patience, vec![]));
        if let Some(paired) = &mut paired {
            paired.load(saved_test)?;
        }
        let (fit_call, target_normalizer) = (self.fit_call(view, call, learning_step), self.target_normalizer.as_ref());
        let data = FitData::new(&fit_call, rows.into(), &self.ensemble.normalizer, target_normalizer);
        let epoch = state.u64("epoch")? as u32;
        let fit = Fit {
            call,
            learning_step,
            order: data.split.order(epoch),
            data,
            stopping,
            best_weights,
            paired,
            epoch,
            batch: state.u64("batch")? as usize,
            rows: Vec::new(),
            epoch_rows: None,
            steps: state.u64("steps")?,
            scored_at: state.u64("scored_at")?,
            train_loss: state.f64("train_loss")?,
        };
        state.finish()?;
        Ok(fit)
    }
}

impl Fit {
    /// Returns the progress of the fit as named arrays. The data derived from the replay buffer are not saved;
    /// [`Trainer::resume`] derives them again.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("call", self.call);
        state.put("learning_step", self.learning_step);
        state.put("epoch", u64::from(self.epoch));
        state.put("batch", self.batch as u64);
        state.put("steps", self.steps);
        state.put("scored_at", self.scored_at);
        state.put("train_loss", self.train_loss);
        state.nest("stopping", self.stopping.save());
        if let Some(paired) = &self.paired {
            state.nest("paired", paired.save());
        }
        if let Some((net, bounds)) = &self.best_weights {
            state.nest("kept.net", net.save());
            if let Some(bounds) = bounds {
                state.nest("kept.bounds", bounds.save());
            }
        }
        state
    }
}
