//! The data that a training call derives from the replay buffer, the agent and the random streams: inputs, targets, the
//! split into training and holdout rows, and the loss's row terms.
//!
//! These data are not saved. A training call that is interrupted and resumed derives the same data again.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::{ValueView, tensors};

use crate::DeviceTransitions;
use crate::config::{EnsembleConfig, ModelConfig, Predicted};
use crate::fit_tensors::{FitContext, FitTensors};
use crate::loss::{CallRows, ModelLoss, Needs, RowTerms};
use crate::normalizer::Normalizer;
use crate::split::Split;

/// The rows of a training call, with an optional weight for each row.
#[derive(Clone, Copy, Debug)]
pub struct TrainingRows<'a> {
    batch: &'a Batch,
    weights: Option<&'a [f32]>,
    on_device: Option<DeviceTransitions<'a>>,
}

impl<'a> From<&'a Batch> for TrainingRows<'a> {
    /// Rows without weights: every row counts once.
    fn from(batch: &'a Batch) -> Self {
        Self { batch, weights: None, on_device: None }
    }
}

impl<'a> TrainingRows<'a> {
    /// Rows with one weight each, `[N]`. For every loss, the loss of a row is multiplied by the row's weight, in
    /// gradient steps and in the holdout score. Means are taken over the number of rows, not over the sum of weights.
    ///
    /// # Panics
    /// If the number of weights is not the number of rows, or a weight is negative or not finite.
    #[track_caller]
    #[must_use]
    pub fn weighted(batch: &'a Batch, weights: &'a [f32]) -> Self {
        assert_eq!(weights.len(), batch.rows, "one weight per row");
        if let Some(weight) = weights.iter().find(|&&weight| !(weight >= 0.0 && weight.is_finite())) {
            panic!("a row's weight is {weight}; weights must be finite and at least 0");
        }
        Self { batch, weights: Some(weights), on_device: None }
    }

    /// Adds a copy of the rows that the device already holds, in the same order and possibly with room for more rows.
    /// Tensors that can be computed from the copy are then not sent to the device again.
    ///
    /// # Panics
    /// When a fit begins, if the copy has fewer rows.
    #[must_use]
    pub fn on_device(self, on_device: Option<DeviceTransitions<'a>>) -> Self {
        Self { on_device, ..self }
    }

    /// The transitions.
    #[must_use]
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }
}

/// The data of one training call.
#[derive(Clone, Debug)]
pub(crate) struct FitData {
    /// The training and the holdout rows.
    pub(crate) split: Split,
    /// The rows.
    pub(crate) store: FitRows,
    /// Numbers about the training call that are reported with the fit.
    pub(crate) diagnostics: Vec<(&'static str, f64)>,
    /// Mean square over the holdout of the change of every observation entry and of the reward, `[O + 1]`, in the units
    /// of the (normalised) targets.
    pub(crate) no_change_mse: Vec<f64>,
}

/// The rows in the form that the gradient steps need.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a training call")]
pub(crate) enum FitRows {
    /// Arrays in host memory, for gradient steps on panels.
    Host(HostRows),
    /// Tensors, for gradient steps in tensor operations.
    Tensors(FitTensors),
}

/// The rows of a training call in host memory.
#[derive(Clone, Debug)]
pub(crate) struct HostRows {
    rows: usize,
    /// Normalised model inputs, `[rows, O + A]`.
    pub(crate) inputs: Vec<f32>,
    /// Targets of the predictions, normalised or not, `[rows, O + 1]`.
    pub(crate) targets: Vec<f32>,
    /// The row terms in the layout of the loss's panel form.
    pub(crate) terms: RowTerms,
    /// Offset of the predicted states, `[rows, O]`: a predicted state is `state_offset` plus the prediction. It holds
    /// the observations, or zeros if the model predicts next observations. Only for a loss that needs predicted states.
    pub(crate) state_offset: Option<Vec<f32>>,
    /// A factor on each row's loss, `[rows]`.
    pub(crate) row_weights: Option<Vec<f32>>,
    /// Whether the mean squared error is added to the loss.
    pub(crate) add_mse: bool,
    /// The normaliser of the targets, if they are normalised.
    pub(crate) target_normalizer: Option<Normalizer>,
}

impl HostRows {
    /// Returns the factors from the units of the normalised targets to the task's own units, `[O + 1]`. `None` if
    /// targets are not normalised, or if `loss` is not value-aware and therefore works on normalised targets.
    pub(crate) fn units(&self, loss: &dyn ModelLoss) -> Option<&[f32]> {
        self.target_normalizer.as_ref().filter(|_| loss.is_value_aware()).map(|normalizer| normalizer.moments()[1])
    }
}

/// The inputs besides the rows from which the data of a training call are derived.
#[derive(Clone, Copy)]
pub(crate) struct FitCall<'a> {
    /// The model's config.
    pub(crate) config: &'a ModelConfig,
    /// The training loss.
    pub(crate) loss: &'a dyn ModelLoss,
    /// The agent's values.
    pub(crate) view: &'a dyn ValueView,
    /// The run's seed.
    pub(crate) seed: u64,
    /// Number of the training call, from 0.
    pub(crate) call: u64,
    /// Number of real steps since the end of exploration.
    pub(crate) learning_step: u64,
    /// The device of the model.
    pub(crate) device: &'a Device,
    /// Whether gradient steps are taken in tensor operations.
    pub(crate) in_tensors: bool,
}

impl FitData {
    /// Derives the data of a training call. `input_normalizer` normalises the inputs, and `target_normalizer` the
    /// targets if they are normalised.
    pub(crate) fn new(
        call: &FitCall<'_>,
        rows: TrainingRows<'_>,
        input_normalizer: &Normalizer,
        target_normalizer: Option<&Normalizer>,
    ) -> Self {
        let FitCall { config, loss, view, device, in_tensors, .. } = *call;
        let TrainingRows { batch, weights, on_device } = rows;
        let n = batch.rows;
        let mut inputs = raw_inputs(batch);
        let split = Split::new(n, config.fit.holdout, config.ensemble.members, call.seed, call.call);
        let terms = loss.row_terms(&CallRows::new(batch, device).with_device_copy(on_device), view);
        let (given, heads) = (terms.rows(), terms.heads());
        assert!(heads == 0 || given == n, "{loss:?} gave terms for {given} rows of {n}");
        let diagnostics = loss.diagnostics(&terms);
        let predicted = config.ensemble.predict;
        let targets = || normalized_targets(batch, predicted, target_normalizer);
        let state_offset = || match predicted {
            Predicted::Change => batch.obs.clone(),
            Predicted::NextObs => vec![0.0; batch.obs.len()],
        };
        let add_mse = loss.is_value_aware() && call.learning_step < config.loss.add_mse_until;
        let store = if in_tensors {
            let terms = loss.reduced_terms(terms);
            let context = FitContext {
                needs: loss.needs(),
                terms: &terms,
                row_weights: weights,
                split: &split,
                add_mse,
                target_normalizer,
            };
            FitRows::Tensors(if let Some(all) = on_device {
                FitTensors::from_device(all, predicted, input_normalizer, n, &context, device)
            } else {
                input_normalizer.apply_rows(&mut inputs);
                FitTensors::from_host([&inputs, &targets(), &state_offset()], n, &context, device)
            })
        } else {
            input_normalizer.apply_rows(&mut inputs);
            let panel = loss.panel().expect("steps on panels are those of a loss with a panel form");
            FitRows::Host(HostRows {
                rows: n,
                inputs,
                targets: targets(),
                terms: panel.terms(terms),
                state_offset: (loss.needs() == Needs::PredictedStates).then(state_offset),
                row_weights: weights.map(<[f32]>::to_vec),
                add_mse,
                target_normalizer: target_normalizer.cloned(),
            })
        };
        let no_change_mse = mean_squares_of_change(batch, &split.holdout, target_normalizer);
        Self { split, store, diagnostics, no_change_mse }
    }

    /// Returns the inputs `[1, B, O + A]` and targets `[1, B, O + 1]` of a part of the holdout.
    pub(crate) fn holdout_batch(&self, part: Range<usize>, device: &Device) -> (Tensor<3>, Tensor<3>) {
        let data = match &self.store {
            FitRows::Tensors(tensors) => return tensors.gather(&tensors.holdout(part)),
            FitRows::Host(data) => data,
        };
        let gather = |all: &[f32]| {
            let width = all.len() / data.rows;
            let rows = self.split.holdout[part.clone()].iter().map(|&row| row as usize);
            let values = rows.flat_map(|row| &all[row * width..][..width]).copied().collect();
            tensors::from_vec(values, [1, part.len(), width], device)
        };
        (gather(&data.inputs), gather(&data.targets))
    }
}

/// Returns the normaliser of the rows' inputs and, if the config normalises targets, that of their targets.
pub(crate) fn normalizers(rows: &Batch, config: &EnsembleConfig) -> (Normalizer, Option<Normalizer>) {
    let targets = config.normalize_targets.then(|| targets(rows, config.predict));
    let inputs = raw_inputs(rows);
    let width = |all: &[f32]| all.len() / rows.rows;
    let target_normalizer = targets.map(|targets| Normalizer::of_any_unit(&targets, width(&targets)));
    (Normalizer::from_rows(&inputs, width(&inputs)), target_normalizer)
}

/// Returns the targets of all rows, `[rows, O + 1]`, normalised if there is a normaliser.
fn normalized_targets(rows: &Batch, predicted: Predicted, normalizer: Option<&Normalizer>) -> Vec<f32> {
    let mut targets = targets(rows, predicted);
    if let Some(normalizer) = normalizer {
        normalizer.apply_rows(&mut targets);
    }
    targets
}

/// Returns the mean square over the holdout of the change of every observation entry and of the reward, `[O + 1]`,
/// divided by the variances of the targets if targets are normalised. These are the errors of a forecast without any
/// change and with reward zero.
fn mean_squares_of_change(rows: &Batch, holdout: &[u32], target_normalizer: Option<&Normalizer>) -> Vec<f64> {
    let obs_dim = rows.obs.len() / rows.rows;
    let mut squares = vec![0.0; obs_dim + 1];
    for &row in holdout {
        let row = row as usize;
        let of_row = |all: &'_ [f32]| -> Vec<f64> {
            all[row * obs_dim..(row + 1) * obs_dim].iter().map(|&x| f64::from(x)).collect()
        };
        let changes = of_row(&rows.next_obs).into_iter().zip(of_row(&rows.obs)).map(|(next, obs)| next - obs);
        for (square, x) in squares.iter_mut().zip(changes.chain([f64::from(rows.reward[row])])) {
            *square += x * x;
        }
    }
    for (c, square) in squares.iter_mut().enumerate() {
        let std = target_normalizer.map_or(1.0, |normalizer| f64::from(normalizer.moments()[1][c]));
        *square /= holdout.len() as f64 * std * std;
    }
    squares
}

/// Returns (obs, action) of every row, `[rows, O + A]`, not normalised.
fn raw_inputs(rows: &Batch) -> Vec<f32> {
    let (obs_dim, action_dim) = (rows.obs.len() / rows.rows, rows.action.len() / rows.rows);
    let pairs = rows.obs.chunks_exact(obs_dim).zip(rows.action.chunks_exact(action_dim));
    pairs.flat_map(|(obs, action)| obs.iter().chain(action).copied()).collect()
}

/// Returns (next_obs − obs, reward) or (next_obs, reward) of every row, `[rows, O + 1]`.
fn targets(rows: &Batch, predicted: Predicted) -> Vec<f32> {
    let obs_dim = rows.obs.len() / rows.rows;
    let mut targets = Vec::with_capacity(rows.rows * (obs_dim + 1));
    let steps = rows.obs.chunks_exact(obs_dim).zip(rows.next_obs.chunks_exact(obs_dim)).zip(&rows.reward);
    for ((obs, next), &reward) in steps {
        match predicted {
            Predicted::Change => targets.extend(next.iter().zip(obs).map(|(next, obs)| next - obs)),
            Predicted::NextObs => targets.extend(next),
        }
        targets.push(reward);
    }
    targets
}
