//! All that a training call derives from replay, agent and streams: inputs, targets, split, what the agent says of the
//! rows.
//!
//! None of it is saved: a call that is cut and resumed derives the same again.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::{ValueView, tensors};

use crate::config::ModelConfig;
use crate::fit_tensors::FitTensors;
use crate::normalizer::Normalizer;
use crate::split::Split;
use crate::value_terms::ValueTerms;

/// The rows of a training call, and what each of them counts.
#[derive(Clone, Copy, Debug)]
pub struct TrainingRows<'a> {
    batch: &'a Batch,
    weights: Option<&'a [f32]>,
}

impl<'a> From<&'a Batch> for TrainingRows<'a> {
    /// Every row counts once.
    fn from(batch: &'a Batch) -> Self {
        Self { batch, weights: None }
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
        Self { batch, weights: Some(weights) }
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
    rows: usize,
    pub(crate) split: Split,
    /// Normalised model inputs, `[rows, O + A]`.
    pub(crate) inputs: Vec<f32>,
    /// (next_obs − obs, reward), `[rows, O + 1]`.
    pub(crate) targets: Vec<f32>,
    pub(crate) values: ValueTerms,
    /// What each row counts, `[rows]`.
    pub(crate) row_weights: Option<Vec<f32>>,
    pub(crate) add_mse: bool,
    /// The same on the device, where steps are taken in tensor operations.
    pub(crate) tensors: Option<FitTensors>,
}

impl FitData {
    /// The data of a call, from `[seed, call, real_step]`; on the device too if steps are taken there in tensor operations.
    pub(crate) fn new(
        config: &ModelConfig,
        rows: TrainingRows<'_>,
        normalizer: &Normalizer,
        view: &dyn ValueView,
        [seed, call, real_step]: [u64; 3],
        device: &Device,
        in_tensors: bool,
    ) -> Self {
        let TrainingRows { batch: rows, weights } = rows;
        let n = rows.rows;
        let obs_dim = rows.obs.len() / n;
        let mut inputs = raw_inputs(rows);
        normalizer.apply_rows(&mut inputs);
        let mut targets = Vec::with_capacity(n * (obs_dim + 1));
        let steps = rows.obs.chunks_exact(obs_dim).zip(rows.next_obs.chunks_exact(obs_dim)).zip(&rows.reward);
        for ((obs, next), &reward) in steps {
            targets.extend(next.iter().zip(obs).map(|(next, obs)| next - obs));
            targets.push(reward);
        }
        let mut data = Self {
            rows: n,
            split: Split::new(n, config.fit.holdout, config.ensemble.members, seed, call),
            inputs,
            targets,
            values: ValueTerms::new(&config.loss, view, [&rows.obs, &rows.next_obs], obs_dim, device),
            row_weights: weights.map(<[f32]>::to_vec),
            add_mse: real_step < config.loss.add_mse_until,
            tensors: None,
        };
        data.tensors = in_tensors.then(|| FitTensors::new(&data, device));
        data
    }

    /// The normaliser of these rows' inputs.
    pub(crate) fn normalizer(rows: &Batch) -> Normalizer {
        let inputs = raw_inputs(rows);
        Normalizer::from_rows(&inputs, inputs.len() / rows.rows)
    }

    /// Rows of the call.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs `[1, B, O + A]` and targets `[1, B, O + 1]` of a part of the holdout.
    pub(crate) fn of_holdout(&self, part: Range<usize>, device: &Device) -> (Tensor<3>, Tensor<3>) {
        if let Some(tensors) = &self.tensors {
            return tensors.gather(&tensors.holdout(part));
        }
        let gather = |all: &[f32]| {
            let width = all.len() / self.rows;
            let rows = self.split.holdout[part.clone()].iter().map(|&row| row as usize);
            let values = rows.flat_map(|row| &all[row * width..][..width]).copied().collect();
            tensors::from_vec(values, [1, part.len(), width], device)
        };
        (gather(&self.inputs), gather(&self.targets))
    }
}

/// (obs, action) of every row, `[rows, O + A]`, not normalised.
fn raw_inputs(rows: &Batch) -> Vec<f32> {
    let (obs_dim, action_dim) = (rows.obs.len() / rows.rows, rows.action.len() / rows.rows);
    let pairs = rows.obs.chunks_exact(obs_dim).zip(rows.action.chunks_exact(action_dim));
    pairs.flat_map(|(obs, action)| obs.iter().chain(action).copied()).collect()
}
