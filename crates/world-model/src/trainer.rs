//! One training call of the ensemble, in slices between which its state can be saved.
//!
//! At the start of a call the normaliser is computed over all real rows, the rows are split and bootstrapped, and a
//! value-aware loss computes its row terms from the agent. Then gradient steps alternate with holdout scores until
//! patience is exhausted ([`EarlyStopping`]). At the end the best weights are restored and the elites are chosen.
//!
//! Weights and Adam moments are carried over from call to call (warm start). The budget counts gradient steps. With few
//! data an epoch has one to three of them. Scores are therefore taken at the end of an epoch, but at least
//! `STEPS_BETWEEN_SCORES` steps apart.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor};
use foresee_nn::host;
use foresee_nn::{Adam, AdamConfig, Mlp, Parameters, ValueView, tensors};

mod noise;
mod report;
mod saved;
mod steps;
#[cfg(test)]
pub(crate) mod tests;

pub use report::{ChannelError, Diverged, FitReport, TrainLoss};

use crate::config::{Head, ModelConfig, Snapshot, Stopping};
use crate::early_stopping::{EarlyStopping, PairedTest};
use crate::ensemble::{Bounds, Ensemble, predict};
use crate::fit_data::{FitCall, FitData, FitRows, HostRows, TrainingRows, normalizers};
use crate::fit_tensors::{EpochRows, FitTensors};
use crate::loss::{self, ModelLoss};
use crate::normalizer::Normalizer;
use noise::LearnedNoise;
use steps::{HostSteps, PanelObjective};

/// Smallest number of gradient steps between two holdout scores. With few data an epoch is cheaper than a score.
const STEPS_BETWEEN_SCORES: u64 = 20;
/// Number of gradient steps in one slice. It takes well under a second with 7 members of 4×200 and batches of 256 on
/// two cores.
const STEPS_A_SLICE: u64 = 25;
/// Number of holdout rows that are scored together. It bounds the memory of one pass.
const HOLDOUT_ROWS_PER_PASS: usize = 4096;

/// A training call in progress.
#[derive(Clone, Debug)]
pub struct Fit {
    call: u64,
    learning_step: u64,
    data: FitData,
    stopping: EarlyStopping,
    /// The weights to restore at the end. With `snapshot = "member"` they are the weights before the call, until a
    /// member's own best weights replace them. Bounds are shared by all members; they are restored only with
    /// `snapshot = "shared"` or the paired test.
    best_weights: Option<(Mlp, Option<Bounds>)>,
    /// The paired test of the holdout rows' scores, if the fit stops by one.
    paired: Option<PairedTest>,
    epoch: u32,
    /// The order of this epoch. It is derived and never saved.
    order: Vec<usize>,
    batch: usize,
    /// Buffer for the replay rows of one batch, `[E, B]`.
    rows: Vec<u32>,
    /// The replay rows of this epoch's batches, if steps are taken in tensor operations. Derived when needed.
    epoch_rows: Option<EpochRows>,
    steps: u64,
    scored_at: u64,
    train_loss: f64,
}

/// The form in which gradient steps and holdout scores are computed. It is chosen when the trainer is made.
#[derive(Clone, Debug)]
enum StepForm {
    /// On panels in host memory, if the device is the host and the loss has a panel form.
    Panels(HostSteps),
    /// In ordinary tensor operations. This form is the specification. It runs on every device and for every loss.
    Tensors,
}

/// The ensemble with its optimisers and its loss.
#[derive(Clone, Debug)]
pub struct Trainer {
    config: ModelConfig,
    loss: Arc<dyn ModelLoss>,
    /// The model that is trained.
    pub ensemble: Ensemble,
    /// The normaliser of the targets, if they are normalised and a training call has begun.
    pub(crate) target_normalizer: Option<Normalizer>,
    /// If targets are normalised: the model in the task's own units after the last finished training call.
    pub(crate) rollout_model: Option<Ensemble>,
    net_adam: Adam,
    bounds_adam: Option<Adam>,
    form: StepForm,
    /// Keeps the log-variance of a homoscedastic head independent of the input. `None` for other heads.
    noise: Option<LearnedNoise>,
    seed: u64,
    /// The device of the ensemble.
    pub(crate) device: Device,
    /// The training call in progress, if it was begun through the trait [`WorldModel`](crate::WorldModel).
    pub(crate) current_fit: Option<Box<Fit>>,
}

impl Trainer {
    /// Returns a trainer with a new ensemble for observations and actions of `[O, A]` entries.
    ///
    /// # Panics
    /// If the loss fits a variance and the config's head has none, which [`ModelConfig::problem`] reports; or if
    /// another loss scores its holdout and is value-aware.
    #[must_use]
    pub fn new(config: &ModelConfig, loss: Arc<dyn ModelLoss>, dims: [usize; 2], seed: u64, device: &Device) -> Self {
        let alone = loss.score().is_none_or(|score| !score.is_value_aware());
        assert!(
            alone,
            "{:?} scores the holdout of {loss:?}, and asks the agent, which only the loss itself may",
            loss.score()
        );
        let ensemble = Ensemble::new(&config.ensemble, config.head(&*loss), dims, seed, device);
        let fit = &config.fit;
        let adam = AdamConfig { decay: fit.decay, decay_form: fit.decay_form, ..AdamConfig::new(fit.lr) };
        Self {
            net_adam: Adam::new(adam, &ensemble.net),
            // Weight decay would pull the bounds towards a variance of one.
            bounds_adam: ensemble.bounds.as_ref().map(|bounds| Adam::new(AdamConfig::new(fit.lr), bounds)),
            form: match loss.panel().and(loss.scoring().panel()) {
                Some(_) if host::is_host(device) => StepForm::Panels(HostSteps::new(&ensemble)),
                _ => StepForm::Tensors,
            },
            noise: (config.head(&*loss) == Head::Homoscedastic).then(|| LearnedNoise::new(&ensemble.net)),
            rollout_model: config.ensemble.normalize_targets.then(|| ensemble.clone()),
            target_normalizer: None,
            ensemble,
            loss,
            config: config.clone(),
            seed,
            device: device.clone(),
            current_fit: None,
        }
    }

    /// Begins training call number `call` on all real rows, with or without row weights. `learning_step` is the number
    /// of real steps since the end of exploration.
    #[must_use]
    pub fn begin<'a>(
        &mut self,
        rows: impl Into<TrainingRows<'a>>,
        view: &dyn ValueView,
        call: u64,
        learning_step: u64,
    ) -> Fit {
        let rows = rows.into();
        let (input_normalizer, target_normalizer) = normalizers(rows.batch(), &self.config.ensemble);
        let fit_call = self.fit_call(view, call, learning_step);
        let data = FitData::new(&fit_call, rows, &input_normalizer, target_normalizer.as_ref());
        self.ensemble.normalizer = input_normalizer;
        self.target_normalizer = target_normalizer;
        let fit = &self.config.fit;
        // The initial score says nothing, because earlier calls trained the weights on rows that are now in the
        // holdout. The paired test and the shared snapshot still count it, as their reference codes do. `member` starts
        // from infinity.
        let paired = (fit.stopping == Stopping::Paired).then(|| PairedTest::new(fit.patience, self.row_scores(&data)));
        let (to_beat, best_weights) = match fit.snapshot {
            _ if paired.is_some() => {
                let before = (self.ensemble.net.clone(), self.ensemble.bounds.clone());
                (self.holdout_scores(&data, view), Some(before))
            }
            Snapshot::Shared => (self.holdout_scores(&data, view), None),
            Snapshot::Member => {
                let before = (self.ensemble.net.clone(), self.ensemble.bounds.clone());
                (vec![f64::INFINITY; self.ensemble.members()], Some(before))
            }
        };
        let stopping = EarlyStopping::new(fit.snapshot, fit.patience, fit.threshold, to_beat);
        Fit {
            call,
            learning_step,
            order: data.split.order(0),
            data,
            stopping,
            best_weights,
            paired,
            epoch: 0,
            batch: 0,
            rows: Vec::new(),
            epoch_rows: None,
            steps: 0,
            scored_at: 0,
            train_loss: f64::NAN,
        }
    }

    /// Runs one slice of gradient steps. Returns a report once the fit is over. `view` must show the agent that the fit
    /// began with.
    ///
    /// # Errors
    /// If at the end fewer members than there are elites have finite weights.
    pub fn advance(&mut self, fit: &mut Fit, view: &dyn ValueView) -> Result<Option<FitReport>, Diverged> {
        let config = self.config.fit.clone();
        for _ in 0..STEPS_A_SLICE {
            let loss = self.gradient_step(fit, view);
            let epoch_over = fit.batch == 0;
            let spent =
                fit.steps >= config.steps_of(fit.call) || config.max_epochs.is_some_and(|most| fit.epoch >= most);
            if spent || (epoch_over && fit.steps >= fit.scored_at + STEPS_BETWEEN_SCORES) {
                fit.train_loss = loss.read();
                fit.scored_at = fit.steps;
                let scores = self.holdout_scores(&fit.data, view);
                let stop = self.judge(fit, &scores);
                if spent || (stop && fit.steps >= config.min_steps) {
                    return self.finish(fit, &scores).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Takes the next gradient step of the fit and returns the loss before it. `view` must show the agent that the fit
    /// began with.
    pub fn gradient_step(&mut self, fit: &mut Fit, view: &dyn ValueView) -> TrainLoss {
        let batch = self.config.fit.batch;
        let before = self.noise.as_ref().map(|noise| noise.before(&mut self.ensemble.net));
        let loss = match &fit.data.store {
            FitRows::Tensors(data) => {
                let new = || EpochRows::new(&fit.data.split, &fit.order, batch, &self.device);
                let rows = fit.epoch_rows.get_or_insert_with(new).batch(fit.batch);
                TrainLoss::Device(self.step_in_tensors(data, &rows, view))
            }
            FitRows::Host(data) => {
                fit.data.split.batch(&fit.order, fit.batch, batch, &mut fit.rows);
                TrainLoss::Host(self.step(data, &fit.rows, view))
            }
        };
        if let (Some(noise), Some(before)) = (&self.noise, before) {
            noise.after(&mut self.ensemble.net, before);
        }
        fit.steps += 1;
        fit.batch += 1;
        if fit.batch == fit.data.split.batches(batch) {
            (fit.epoch, fit.batch) = (fit.epoch + 1, 0);
            fit.data.split.reorder(fit.epoch, &mut fit.order);
            fit.epoch_rows = None;
        }
        loss
    }

    /// Takes one gradient step on replay rows `[E, B]` in host memory and returns the loss before it.
    fn step(&mut self, data: &HostRows, rows: &[u32], view: &dyn ValueView) -> f64 {
        let StepForm::Panels(steps) = &mut self.form else { unreachable!("rows for panels are made where steps are") };
        let loss = self.loss.panel().expect("a loss with a panel form");
        let objective = PanelObjective { loss, add_mse: data.add_mse, units: data.units(&*self.loss) };
        steps.step(objective, data, rows, view, &mut self.ensemble, (&mut self.net_adam, self.bounds_adam.as_mut()))
    }

    /// Takes one gradient step on replay rows `[E, B]` in ordinary tensor operations and returns the loss before it.
    /// This is the specification of [`Trainer::step`], and the form that runs on other devices than the host.
    fn step_in_tensors(&mut self, data: &FitTensors, rows: &Tensor<2, Int>, view: &dyn ValueView) -> Tensor<1> {
        // Prediction, target and loss, on a tracked copy of the parameters that exists for one gradient.
        let channels = self.ensemble.obs_dim() + 1;
        let (net, bounds) = (self.ensemble.net.tracked(), self.ensemble.bounds.as_ref().map(Parameters::tracked));
        let predict = |inputs| predict(&net, bounds.as_ref(), inputs, channels);
        let (input, extras) = data.loss_input(rows, predict, view);
        let loss = loss::reduce(loss::training_per_row(&*self.loss, &input, &extras), bounds.as_ref());
        drop(input);

        // Gradient and step.
        let mut gradients = loss.backward();
        let grad_net = net.gradient(&mut gradients);
        let grad_bounds = bounds.as_ref().map(|bounds| bounds.gradient(&mut gradients));
        drop((net, bounds));
        self.net_adam.step(&mut self.ensemble.net, grad_net);
        if let (Some(adam), Some(bounds), Some(gradient)) =
            (&mut self.bounds_adam, &mut self.ensemble.bounds, grad_bounds)
        {
            adam.step(bounds, gradient);
        }
        loss.inner()
    }

    /// Computes every member's mean score on the holdout, `[E]`.
    fn holdout_scores(&self, data: &FitData, view: &dyn ValueView) -> Vec<f64> {
        match &data.store {
            FitRows::Host(rows) => {
                let scoring = self.loss.scoring();
                let panel = scoring.panel().expect("a scoring loss with a panel form");
                let add_mse = rows.add_mse && scoring.is_value_aware();
                let objective = PanelObjective { loss: panel, add_mse, units: rows.units(scoring) };
                self.mean_over(data, steps::scores(&self.ensemble, objective, rows, &data.split.holdout, view))
            }
            FitRows::Tensors(tensors) => self.mean_in_tensors(data, tensors, |rows| {
                let predict = |inputs| self.ensemble.predict(inputs);
                let (input, extras) = tensors.loss_input(rows, predict, view);
                loss::score_per_row(&*self.loss, &input, &extras)
            }),
        }
    }

    /// Computes every member's mean over the holdout of a function of replay rows, `[E]`, in tensor operations. The
    /// result is read back from a device once.
    fn mean_in_tensors(
        &self,
        data: &FitData,
        tensors: &FitTensors,
        per_row: impl Fn(&Tensor<2, Int>) -> Tensor<2>,
    ) -> Vec<f64> {
        let (holdout, members) = (data.split.holdout.len(), self.ensemble.members());
        if holdout == 0 {
            return self.mean_over(data, vec![0.0; members]);
        }
        let part = |start: usize| tensors.holdout(start..holdout.min(start + HOLDOUT_ROWS_PER_PASS));
        let parts = (0..holdout).step_by(HOLDOUT_ROWS_PER_PASS).map(|start| per_row(&part(start)).sum_dim(1));
        let parts = tensors::to_vec(Tensor::cat(parts.collect(), 1));
        let sum = |parts: &[f32]| parts.iter().map(|&part| f64::from(part)).sum();
        self.mean_over(data, parts.chunks_exact(parts.len() / members).map(sum).collect())
    }

    /// Divides sums over the holdout, `[E]`, by its number of rows.
    fn mean_over(&self, data: &FitData, sums: Vec<f64>) -> Vec<f64> {
        let holdout = data.split.holdout.len();
        sums.into_iter().map(|sum| sum / holdout as f64).collect()
    }

    /// Keeps weights that are better than the best ones so far. Returns true if patience is exhausted.
    fn judge(&self, fit: &mut Fit, scores: &[f64]) -> bool {
        let Some(paired) = &mut fit.paired else {
            let verdict = fit.stopping.update(scores);
            self.keep(fit, &verdict.keep);
            return verdict.stop;
        };
        let (keep, stop) = paired.update(&self.row_scores(&fit.data));
        if keep {
            fit.best_weights = Some((self.ensemble.net.clone(), self.ensemble.bounds.clone()));
            fit.stopping.set_best(scores);
        }
        stop
    }

    fn keep(&self, fit: &mut Fit, members: &[usize]) {
        if members.is_empty() {
            return;
        }
        match (&mut fit.best_weights, self.config.fit.snapshot) {
            (Some((net, _)), Snapshot::Member) => {
                for &member in members {
                    net.copy_member(&self.ensemble.net, member);
                }
            }
            (best_weights, _) => *best_weights = Some((self.ensemble.net.clone(), self.ensemble.bounds.clone())),
        }
    }

    fn finish(&mut self, fit: &mut Fit, last_scores: &[f64]) -> Result<FitReport, Diverged> {
        for member in (0..last_scores.len()).filter(|&member| !last_scores[member].is_finite()) {
            // The member's weights are restored to finite ones. Moments with a NaN would spoil them at the next step.
            self.net_adam.reset_member(member);
        }
        if let Some((net, bounds)) = fit.best_weights.take() {
            self.ensemble.net = net;
            if self.config.fit.snapshot == Snapshot::Shared || fit.paired.is_some() {
                self.ensemble.bounds = bounds;
            }
        }
        self.ensemble.elites = fit.stopping.elites(self.config.ensemble.elites);
        let mean_over_elites = |scores: &[f64]| {
            self.ensemble.elites.iter().map(|&e| scores[e]).sum::<f64>() / self.ensemble.elites.len() as f64
        };
        self.rollout_model = self.in_task_units();
        let holdout_score = mean_over_elites(fit.stopping.best());
        let channels = self.channel_errors(&fit.data);
        let holdout_mse = channels.iter().map(|channel| channel.mse).sum::<f64>() / channels.len() as f64;
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
            diagnostics: fit.data.diagnostics.clone(),
            channels,
        })
    }

    /// Returns the model in the task's own units. It is the model that imagines rollouts.
    #[must_use]
    pub fn rollout_model(&self) -> &Ensemble {
        self.rollout_model.as_ref().unwrap_or(&self.ensemble)
    }

    /// Computes the model in the task's own units, or returns `None` if the trained model is in these units already.
    pub(crate) fn in_task_units(&self) -> Option<Ensemble> {
        let normalizes = self.config.ensemble.normalize_targets;
        normalizes.then(|| {
            self.target_normalizer.as_ref().map_or_else(|| self.ensemble.clone(), |t| self.ensemble.in_units_of(t))
        })
    }

    fn fit_call<'a>(&'a self, view: &'a dyn ValueView, call: u64, learning_step: u64) -> FitCall<'a> {
        FitCall {
            config: &self.config,
            loss: &*self.loss,
            view,
            seed: self.seed,
            call,
            learning_step,
            device: &self.device,
            in_tensors: matches!(self.form, StepForm::Tensors),
        }
    }
}
