//! One training call of the ensemble, as slices that can be saved between.
//!
//! At the start of a call the normaliser is recomputed over all real rows, rows are split and bootstrapped, and value
//! gradients are taken of every row if the loss asks for them. Then gradient steps alternate with holdout scores until
//! patience runs out ([`EarlyStopping`]); the best weights are restored and the elites are named.
//!
//! Weights and moments are carried over from call to call (warm start). The budget counts gradient steps: with few
//! data an epoch is one to three of them, so scores are taken at the end of an epoch, and no closer than
//! `STEPS_BETWEEN_SCORES`.

use burn::tensor::{Device, Tensor};
use foresee_core::{Batch, State, StateError};
use foresee_nn::host;
use foresee_nn::{Adam, AdamConfig, Mlp, Parameters, ValueView, tensors};

mod report;
mod steps;
#[cfg(test)]
mod tests;

pub use report::{Diverged, FitReport, TrainLoss};

use crate::config::{ModelConfig, Snapshot};
use crate::early_stopping::EarlyStopping;
use crate::ensemble::{Bounds, Ensemble, predict};
use crate::fit_data::FitData;
use crate::loss::lanes::LaneLoss;
use crate::loss::{self, LossInput};
use crate::value_weights::ValueWeights;
use steps::HostSteps;

/// Gradient steps between two holdout scores at least: with few data an epoch is cheaper than a score.
const STEPS_BETWEEN_SCORES: u64 = 20;
/// Gradient steps in one slice: well under a second with 7 members of 4×200 and batches of 256 on two cores.
const STEPS_A_SLICE: u64 = 25;
/// Holdout rows that are scored at once: bounds the memory of one pass.
const ROWS_AT_ONCE: usize = 4096;

/// A training call under way.
#[derive(Clone, Debug)]
pub struct Fit {
    call: u64,
    real_step: u64,
    data: FitData,
    stopping: EarlyStopping,
    /// The weights to restore at the end: under `snapshot = "member"` those before the call, until a member's own best
    /// replaces them. Bounds are shared by all members and follow under `snapshot = "shared"` only.
    kept: Option<(Mlp, Option<Bounds>)>,
    epoch: u32,
    /// The order of this epoch; derived, never saved.
    order: Vec<usize>,
    batch: usize,
    /// The replay rows of one batch, `[E, B]`: a buffer.
    rows: Vec<u32>,
    steps: u64,
    scored_at: u64,
    train_loss: f64,
}

/// The ensemble with its optimisers.
#[derive(Clone, Debug)]
pub struct Trainer {
    config: ModelConfig,
    /// The model that is trained.
    pub ensemble: Ensemble,
    net_adam: Adam,
    bounds_adam: Option<Adam>,
    /// Where the device is host memory.
    host: Option<HostSteps>,
    seed: u64,
    device: Device,
}

impl Trainer {
    /// A fresh ensemble for observations and actions of `[O, A]` entries.
    #[must_use]
    pub fn new(config: &ModelConfig, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let ensemble = Ensemble::new(&config.ensemble, config.head(), dims, seed, device);
        let fit = &config.fit;
        let adam = AdamConfig { decay: fit.decay, decay_form: fit.decay_form, ..AdamConfig::new(fit.lr) };
        Self {
            net_adam: Adam::new(adam, &ensemble.net),
            // Decay would pull the bounds to a variance of one.
            bounds_adam: ensemble.bounds.as_ref().map(|bounds| Adam::new(AdamConfig::new(fit.lr), bounds)),
            host: host::is_host(device).then(|| HostSteps::new(&ensemble)),
            ensemble,
            config: config.clone(),
            seed,
            device: device.clone(),
        }
    }

    /// Begins training call number `call` on all real rows, at real step `real_step`.
    #[must_use]
    pub fn begin(&mut self, rows: &Batch, view: &dyn ValueView, call: u64, real_step: u64) -> Fit {
        self.ensemble.normalizer = FitData::normalizer(rows);
        let data = self.derive(rows, view, call, real_step);
        let fit = &self.config.fit;
        // What a warm start scores on rows that it was trained on says nothing; the reference lets it count.
        let (to_beat, kept) = match fit.snapshot {
            Snapshot::Shared => (self.holdout_scores(&data), None),
            Snapshot::Member => {
                let before = (self.ensemble.net.clone(), self.ensemble.bounds.clone());
                (vec![f64::INFINITY; self.ensemble.members()], Some(before))
            }
        };
        let stopping = EarlyStopping::new(fit.snapshot, fit.patience, fit.threshold, to_beat);
        Fit {
            call,
            real_step,
            order: data.split.order(0),
            data,
            stopping,
            kept,
            epoch: 0,
            batch: 0,
            rows: Vec::new(),
            steps: 0,
            scored_at: 0,
            train_loss: f64::NAN,
        }
    }

    /// One slice of gradient steps; a report once the fit is over.
    ///
    /// # Errors
    /// If fewer members than there are elites have finite weights at the end.
    pub fn advance(&mut self, fit: &mut Fit) -> Result<Option<FitReport>, Diverged> {
        let config = self.config.fit.clone();
        for _ in 0..STEPS_A_SLICE {
            let loss = self.gradient_step(fit);
            let epoch_over = fit.batch == 0;
            let spent = fit.steps >= config.max_steps || config.max_epochs.is_some_and(|most| fit.epoch >= most);
            if spent || (epoch_over && fit.steps >= fit.scored_at + STEPS_BETWEEN_SCORES) {
                fit.train_loss = loss.read();
                fit.scored_at = fit.steps;
                let scores = self.holdout_scores(&fit.data);
                let verdict = fit.stopping.update(&scores);
                self.keep(fit, &verdict.keep);
                if spent || (verdict.stop && fit.steps >= config.min_steps) {
                    return self.finish(fit, &scores).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// The fit's next gradient step; the loss before it.
    pub fn gradient_step(&mut self, fit: &mut Fit) -> TrainLoss {
        let batch = self.config.fit.batch;
        fit.data.split.batch(&fit.order, fit.batch, batch, &mut fit.rows);
        let loss = self.step(&fit.data, &fit.rows);
        fit.steps += 1;
        fit.batch += 1;
        if fit.batch == fit.data.split.batches(batch) {
            (fit.epoch, fit.batch) = (fit.epoch + 1, 0);
            fit.data.split.reorder(fit.epoch, &mut fit.order);
        }
        loss
    }

    /// One gradient step on replay rows `[E, B]`; the loss before it.
    fn step(&mut self, data: &FitData, rows: &[u32]) -> TrainLoss {
        let loss = self.lane_loss(data);
        match &mut self.host {
            Some(host) => {
                let adams = (&mut self.net_adam, self.bounds_adam.as_mut());
                TrainLoss::Host(host.step(&loss, data, rows, &mut self.ensemble, adams))
            }
            None => TrainLoss::Device(self.step_in_tensors(data, rows)),
        }
    }

    /// The same in ordinary tensor operations: the specification, and what runs where memory is not the host's.
    fn step_in_tensors(&mut self, data: &FitData, rows: &[u32]) -> Tensor<1> {
        // Targets and weights: gathered by replay row.
        let members = self.ensemble.members();
        let (inputs, target) = data.gather(rows, members, &self.device);
        let value_gradients = data.weights.as_ref().map(|w| w.gather(rows, members, &self.device));

        // Prediction and loss, on a copy that lives for one gradient.
        let (net, bounds) = (self.ensemble.net.tracked(), self.ensemble.bounds.as_ref().map(Parameters::tracked));
        let prediction = predict(&net, bounds.as_ref(), inputs, self.ensemble.obs_dim() + 1);
        let input = LossInput { prediction, target, value_gradients, add_mse: data.add_mse };
        let loss = loss::reduce(loss::per_row(&self.config.loss, &input), bounds.as_ref());

        // Gradient and step.
        let mut gradients = loss.backward();
        let of_net = net.gradient(&mut gradients);
        let of_bounds = bounds.as_ref().map(|bounds| bounds.gradient(&mut gradients));
        drop((net, bounds));
        self.net_adam.step(&mut self.ensemble.net, of_net);
        if let (Some(adam), Some(bounds), Some(gradient)) =
            (&mut self.bounds_adam, &mut self.ensemble.bounds, of_bounds)
        {
            adam.step(bounds, gradient);
        }
        loss.inner()
    }

    fn lane_loss(&self, data: &FitData) -> LaneLoss {
        let heads = data.weights.as_ref().map_or(0, ValueWeights::heads);
        LaneLoss::new(&self.config.loss, data.add_mse, self.ensemble.obs_dim() + 1, heads)
    }

    /// Every member's mean score on the holdout, `[E]`.
    fn holdout_scores(&self, data: &FitData) -> Vec<f64> {
        let lanes = self.lane_loss(data).score();
        self.mean_over_holdout(data, &lanes, |input| loss::score_per_row(&self.config.loss, &input))
    }

    /// Every member's mean squared error on the holdout, `[E]`.
    fn holdout_mse(&self, data: &FitData) -> Vec<f64> {
        let lanes = LaneLoss::mse(self.ensemble.obs_dim() + 1);
        self.mean_over_holdout(data, &lanes, |input| loss::mse::per_row(input.prediction.mean, input.target))
    }

    /// Every member's mean of a row function, given in both forms, over the holdout, `[E]`.
    fn mean_over_holdout(
        &self,
        data: &FitData,
        lanes: &LaneLoss,
        per_row: impl Fn(LossInput) -> Tensor<2>,
    ) -> Vec<f64> {
        let holdout = &data.split.holdout;
        let mut sums = vec![0.0; self.ensemble.members()];
        if self.host.is_some() {
            sums = steps::scores(&self.ensemble, lanes, data, holdout);
        } else {
            for rows in holdout.chunks(ROWS_AT_ONCE) {
                let (inputs, target) = data.gather(rows, 1, &self.device);
                let input = LossInput {
                    prediction: self.ensemble.predict(inputs),
                    target,
                    value_gradients: data.weights.as_ref().map(|w| w.gather(rows, 1, &self.device)),
                    add_mse: data.add_mse,
                };
                let scores = tensors::to_vec(per_row(input).sum_dim(1));
                sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += f64::from(score));
            }
        }
        sums.into_iter().map(|sum| sum / holdout.len() as f64).collect()
    }

    fn keep(&self, fit: &mut Fit, members: &[usize]) {
        if members.is_empty() {
            return;
        }
        match (&mut fit.kept, self.config.fit.snapshot) {
            (Some((net, _)), Snapshot::Member) => {
                for &member in members {
                    net.copy_member(&self.ensemble.net, member);
                }
            }
            (kept, _) => *kept = Some((self.ensemble.net.clone(), self.ensemble.bounds.clone())),
        }
    }

    fn finish(&mut self, fit: &mut Fit, last_scores: &[f64]) -> Result<FitReport, Diverged> {
        for member in (0..last_scores.len()).filter(|&member| !last_scores[member].is_finite()) {
            // Its weights go back to finite ones; moments that hold a NaN would spoil them at the next step.
            self.net_adam.reset_member(member);
        }
        if let Some((net, bounds)) = fit.kept.take() {
            self.ensemble.net = net;
            if self.config.fit.snapshot == Snapshot::Shared {
                self.ensemble.bounds = bounds;
            }
        }
        self.ensemble.elites = fit.stopping.elites(self.config.ensemble.elites);
        let mean_over_elites = |scores: &[f64]| {
            self.ensemble.elites.iter().map(|&e| scores[e]).sum::<f64>() / self.ensemble.elites.len() as f64
        };
        let holdout_score = mean_over_elites(fit.stopping.best());
        let holdout_mse = mean_over_elites(&self.holdout_mse(&fit.data));
        let bounds = self.ensemble.bounds.as_ref().map(Parameters::save).unwrap_or_default();
        let sound = bounds.iter().all(|(_, bound)| bound.is_finite());
        if !(holdout_score.is_finite() && holdout_mse.is_finite() && sound) {
            return Err(Diverged { steps: fit.steps });
        }
        Ok(FitReport {
            steps: fit.steps,
            epochs: fit.epoch + u32::from(fit.batch > 0),
            train_loss: fit.train_loss,
            holdout_score,
            holdout_mse,
            value_gradient_norm: fit.data.weights.as_ref().map(ValueWeights::mean_norm),
        })
    }

    fn derive(&self, rows: &Batch, view: &dyn ValueView, call: u64, real_step: u64) -> FitData {
        let normalizer = &self.ensemble.normalizer;
        FitData::new(&self.config, rows, normalizer, view, [self.seed, call, real_step], &self.device)
    }

    /// The ensemble and its optimisers as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("ensemble", self.ensemble.save());
        state.nest("net_adam", self.net_adam.save(&self.ensemble.net));
        if let (Some(adam), Some(bounds)) = (&self.bounds_adam, &self.ensemble.bounds) {
            state.nest("bounds_adam", adam.save(bounds));
        }
        state
    }

    /// Reads all of it back.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.ensemble.load(state.part("ensemble"))?;
        self.net_adam.load(&self.ensemble.net, state.part("net_adam"))?;
        if let (Some(adam), Some(bounds)) = (&mut self.bounds_adam, &self.ensemble.bounds) {
            adam.load(bounds, state.part("bounds_adam"))?;
        }
        state.finish()
    }

    /// Takes up a saved fit on the rows and the agent that it began with.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    pub fn resume(&self, mut state: State, rows: &Batch, view: &dyn ValueView) -> Result<Fit, StateError> {
        let (call, real_step) = (state.u64("call")?, state.u64("real_step")?);
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
        let data = self.derive(rows, view, call, real_step);
        let epoch = state.u64("epoch")? as u32;
        let fit = Fit {
            call,
            real_step,
            order: data.split.order(epoch),
            data,
            stopping,
            kept,
            epoch,
            batch: state.u64("batch")? as usize,
            rows: Vec::new(),
            steps: state.u64("steps")?,
            scored_at: state.u64("scored_at")?,
            train_loss: state.f64("train_loss")?,
        };
        state.finish()?;
        Ok(fit)
    }
}

impl Fit {
    /// Where the fit stands; what it derived from the replay is derived again on resume.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("call", self.call);
        state.put("real_step", self.real_step);
        state.put("epoch", u64::from(self.epoch));
        state.put("batch", self.batch as u64);
        state.put("steps", self.steps);
        state.put("scored_at", self.scored_at);
        state.put("train_loss", self.train_loss);
        state.nest("stopping", self.stopping.save());
        if let Some((net, bounds)) = &self.kept {
            state.nest("kept.net", net.save());
            if let Some(bounds) = bounds {
                state.nest("kept.bounds", bounds.save());
            }
        }
        state
    }
}
