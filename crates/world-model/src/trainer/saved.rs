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
    /// imagines as named arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("ensemble", self.ensemble.save());
        if let Some(of_targets) = &self.of_targets {
            state.nest("targets", of_targets.save());
        }
        if let Some(imagining) = self.imagining.as_ref().filter(|_| self.under_way.is_some()) {
            // During a training call `ensemble` changes, so `imagining` cannot be computed from it again.
            state.nest("imagining", imagining.save());
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
        let of_targets = state.part("targets");
        self.of_targets = if of_targets.is_empty() { None } else { Some(Normalizer::restore(of_targets)?) };
        self.imagining = self.in_own_units();
        let imagining = state.part("imagining");
        if let Some(own) = self.imagining.as_mut().filter(|_| !imagining.is_empty()) {
            own.load(imagining)?;
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
        let mut kept_state = state.part("kept");
        let kept = if kept_state.is_empty() {
            None
        } else {
            let mut kept = (self.ensemble.net.clone(), self.ensemble.bounds.clone());
            kept.0.load(kept_state.part("net"))?;
            if let Some(bounds) = &mut kept.1 {
                bounds.load(kept_state.part("bounds"))?;
            }
            Some(kept)
        };
        let paired_state = state.part("paired");
        let mut paired = (fit.stopping == Stopping::Paired).then(|| PairedTest::new(fit.patience, vec![]));
        if let Some(paired) = &mut paired {
            paired.load(paired_state)?;
        }
        let (of_call, of_targets) = (self.call(view, call, learning_step), self.of_targets.as_ref());
        let data = FitData::new(&of_call, rows.into(), &self.ensemble.normalizer, of_targets);
        let epoch = state.u64("epoch")? as u32;
        let fit = Fit {
            call,
            learning_step,
            order: data.split.order(epoch),
            data,
            stopping,
            kept,
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
        if let Some((net, bounds)) = &self.kept {
            state.nest("kept.net", net.save());
            if let Some(bounds) = bounds {
                state.nest("kept.bounds", bounds.save());
            }
        }
        state
    }
}
