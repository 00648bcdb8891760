//! All that a training call derives from replay, agent and streams: inputs, targets, split, what the agent says of the
//! rows.
//!
//! None of it is saved: a call that is cut and resumed derives the same again.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::{ValueView, tensors};

use crate::DeviceTransitions;
use crate::config::{EnsembleConfig, ModelConfig, Predicted};
use crate::fit_tensors::{Company, FitTensors};
use crate::loss::{CallRows, ModelLoss, Needs, RowTerms};
use crate::normalizer::Normalizer;
use crate::split::Split;

/// The rows of a training call, and what each of them counts.
#[derive(Clone, Copy, Debug)]
pub struct TrainingRows<'a> {
    batch: &'a Batch,
    weights: Option<&'a [f32]>,
    on_device: Option<DeviceTransitions<'a>>,
}

impl<'a> From<&'a Batch> for TrainingRows<'a> {
    /// Every row counts once.
    fn from(batch: &'a Batch) -> Self {
        Self { batch, weights: None, on_device: None }
    }
}

impl<'a> TrainingRows<'a> {
    /// Rows with a weight each, `[N]`: whatever the loss, a row's loss is multiplied by its weight, in gradient steps and
    /// in the holdout score. Means are taken over rows, not over weights.
    ///
    /// # Panics
    /// If there is not one finite weight of at least zero a row.
    #[track_caller]
    #[must_use]
    pub fn weighted(batch: &'a Batch, weights: &'a [f32]) -> Self {
        assert_eq!(weights.len(), batch.rows, "one weight a row");
        if let Some(weight) = weights.iter().find(|&&weight| !(weight >= 0.0 && weight.is_finite())) {
            panic!("a row's weight is {weight}");
        }
        Self { batch, weights: Some(weights), on_device: None }
    }

    /// The same rows where the device has them already, in their order, perhaps with room for more: what is computed there
    /// from them is not sent again.
    ///
    /// # Panics
    /// When a fit begins, if there are fewer of them.
    #[must_use]
    pub fn on_device(self, on_device: Option<DeviceTransitions<'a>>) -> Self {
        Self { on_device, ..self }
    }

    /// The rows.
    #[must_use]
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }
}

/// The data of one training call.
#[derive(Clone, Debug)]
pub(crate) struct FitData {
    pub(crate) split: Split,
    pub(crate) store: Store,
    /// Numbers about the call that are reported with the fit.
    pub(crate) diagnostics: Vec<(&'static str, f64)>,
    /// Mean square over the holdout of every entry's change and of the reward, in the targets' units, `[O + 1]`.
    pub(crate) of_no_change: Vec<f64>,
}

/// Where the rows are, for the form in which steps are taken.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a training call")]
pub(crate) enum Store {
    /// In host memory, for steps on panels.
    Host(HostRows),
    /// In tensors, for steps in tensor operations.
    Tensors(FitTensors),
}

/// Rows in host memory.
#[derive(Clone, Debug)]
pub(crate) struct HostRows {
    rows: usize,
    /// Normalised model inputs, `[rows, O + A]`.
    pub(crate) inputs: Vec<f32>,
    /// What predictions are compared with, normalised or not, `[rows, O + 1]`.
    pub(crate) targets: Vec<f32>,
    /// The terms as the loss's panel form reads them.
    pub(crate) terms: RowTerms,
    /// What a predicted state is added to, `[rows, O]`: observations, or zeros where next observations themselves are predicted;
    /// for a loss that needs predicted states.
    pub(crate) base: Option<Vec<f32>>,
    /// A factor on each row's loss, `[rows]`.
    pub(crate) row_weights: Option<Vec<f32>>,
    pub(crate) add_mse: bool,
    /// Of the targets, where they are normalised.
    pub(crate) of_targets: Option<Normalizer>,
}

impl HostRows {
    /// What an error of 1 is in the task's own unit, `[O + 1]`, where this loss sees that unit and targets are normalised.
    pub(crate) fn units(&self, loss: &dyn ModelLoss) -> Option<&[f32]> {
        self.of_targets.as_ref().filter(|_| loss.is_value_aware()).map(|normalizer| normalizer.moments()[1])
    }
}

/// What a training call's data depend on, beside its rows.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) loss: &'a dyn ModelLoss,
    pub(crate) view: &'a dyn ValueView,
    /// The run's seed, the call's number and the real steps since the end of exploration.
    pub(crate) seed: u64,
    pub(crate) call: u64,
    pub(crate) learning_step: u64,
    pub(crate) device: &'a Device,
    /// Whether steps are taken in tensor operations.
    pub(crate) in_tensors: bool,
}

impl FitData {
    /// The data of a call under the normalisers of inputs and, where they are normalised, targets.
    pub(crate) fn new(
        call: &Call<'_>,
        rows: TrainingRows<'_>,
        of_inputs: &Normalizer,
        of_targets: Option<&Normalizer>,
    ) -> Self {
        let Call { config, loss, view, device, in_tensors, .. } = *call;
        let TrainingRows { batch, weights, on_device } = rows;
        let n = batch.rows;
        let mut inputs = raw_inputs(batch);
        let split = Split::new(n, config.fit.holdout, config.ensemble.members, call.seed, call.call);
        let terms = loss.row_terms(&CallRows::new(batch, device).mirrored(on_device), view);
        let (given, heads) = (terms.rows(), terms.heads());
        assert!(heads == 0 || given == n, "{loss:?} gave terms for {given} rows of {n}");
        let diagnostics = loss.diagnostics(&terms);
        let predicted = config.ensemble.predict;
        let targets = || normalized_targets(batch, predicted, of_targets);
        let base = || match predicted {
            Predicted::Change => batch.obs.clone(),
            Predicted::NextObs => vec![0.0; batch.obs.len()],
        };
        let add_mse = loss.is_value_aware() && call.learning_step < config.loss.add_mse_until;
        let store = if in_tensors {
            let terms = loss.reduced_terms(terms);
            let with = Company {
                needs: loss.needs(),
                terms: &terms,
                row_weights: weights,
                split: &split,
                add_mse,
                of_targets,
            };
            Store::Tensors(if let Some(all) = on_device {
                FitTensors::mirrored(all, predicted, of_inputs, n, &with, device)
            } else {
                of_inputs.apply_rows(&mut inputs);
                FitTensors::sent([&inputs, &targets(), &base()], n, &with, device)
            })
        } else {
            of_inputs.apply_rows(&mut inputs);
            let panel = loss.panel().expect("steps on panels are those of a loss with a panel form");
            Store::Host(HostRows {
                rows: n,
                inputs,
                targets: targets(),
                terms: panel.terms(terms),
                base: (loss.needs() == Needs::PredictedStates).then(base),
                row_weights: weights.map(<[f32]>::to_vec),
                add_mse,
                of_targets: of_targets.cloned(),
            })
        };
        let of_no_change = mean_squares_of_change(batch, &split.holdout, of_targets);
        Self { split, store, diagnostics, of_no_change }
    }

    /// Inputs `[1, B, O + A]` and targets `[1, B, O + 1]` of a part of the holdout.
    pub(crate) fn of_holdout(&self, part: Range<usize>, device: &Device) -> (Tensor<3>, Tensor<3>) {
        let data = match &self.store {
            Store::Tensors(tensors) => return tensors.gather(&tensors.holdout(part)),
            Store::Host(data) => data,
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

/// The normaliser of the rows' inputs and, if asked for, that of their targets.
pub(crate) fn normalizers(rows: &Batch, config: &EnsembleConfig) -> (Normalizer, Option<Normalizer>) {
    let targets = config.normalize_targets.then(|| targets(rows, config.predict));
    let inputs = raw_inputs(rows);
    let width = |all: &[f32]| all.len() / rows.rows;
    let of_targets = targets.map(|targets| Normalizer::of_any_unit(&targets, width(&targets)));
    (Normalizer::from_rows(&inputs, width(&inputs)), of_targets)
}

/// The targets as predictions are compared with them, `[rows, O + 1]`.
fn normalized_targets(rows: &Batch, predicted: Predicted, normalizer: Option<&Normalizer>) -> Vec<f32> {
    let mut targets = targets(rows, predicted);
    if let Some(normalizer) = normalizer {
        normalizer.apply_rows(&mut targets);
    }
    targets
}

/// Mean square over the holdout of every entry's change and of the reward, in units of the targets' deviations, `[O + 1]`: the
/// errors of the forecast that nothing changes, and that there is no reward.
fn mean_squares_of_change(rows: &Batch, holdout: &[u32], of_targets: Option<&Normalizer>) -> Vec<f64> {
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
        let std = of_targets.map_or(1.0, |of_targets| f64::from(of_targets.moments()[1][c]));
        *square /= holdout.len() as f64 * std * std;
    }
    squares
}

/// (obs, action) of every row, `[rows, O + A]`, not normalised.
fn raw_inputs(rows: &Batch) -> Vec<f32> {
    let (obs_dim, action_dim) = (rows.obs.len() / rows.rows, rows.action.len() / rows.rows);
    let pairs = rows.obs.chunks_exact(obs_dim).zip(rows.action.chunks_exact(action_dim));
    pairs.flat_map(|(obs, action)| obs.iter().chain(action).copied()).collect()
}

/// (next_obs − obs, reward) or (next_obs, reward) of every row, `[rows, O + 1]`.
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
