//! All that a training call derives from replay, agent and streams: inputs, targets, split, what the agent says of the
//! rows.
//!
//! None of it is saved: a call that is cut and resumed derives the same again.

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::ValueView;

use crate::config::ModelConfig;
use crate::ensemble::Prediction;
use crate::loss::LossInput;
use crate::normalizer::Normalizer;
use crate::split::Split;
use crate::value_terms::{ValueTerms, gather};

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
}

impl FitData {
    /// The data of a call, from `[seed, call, real_step]`.
    pub(crate) fn new(
        config: &ModelConfig,
        rows: TrainingRows<'_>,
        normalizer: &Normalizer,
        view: &dyn ValueView,
        [seed, call, real_step]: [u64; 3],
        device: &Device,
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
        Self {
            rows: n,
            split: Split::new(n, config.fit.holdout, config.ensemble.members, seed, call),
            inputs,
            targets,
            values: ValueTerms::new(&config.loss, view, [&rows.obs, &rows.next_obs], obs_dim, device),
            row_weights: weights.map(<[f32]>::to_vec),
            add_mse: real_step < config.loss.add_mse_until,
        }
    }

    /// The normaliser of these rows' inputs.
    pub(crate) fn normalizer(rows: &Batch) -> Normalizer {
        let inputs = raw_inputs(rows);
        Normalizer::from_rows(&inputs, inputs.len() / rows.rows)
    }

    /// Inputs `[E, B, O + A]` and targets `[E, B, O + 1]` of replay rows `[E, B]`.
    pub(crate) fn gather(&self, rows: &[u32], members: usize, device: &Device) -> (Tensor<3>, Tensor<3>) {
        let gather = |all: &[f32]| gather(all, all.len() / self.rows, rows, members, device);
        (gather(&self.inputs), gather(&self.targets))
    }

    /// All that a loss sees of replay rows `[E, B]`, or of `[1, B]` shown to every member, under a prediction.
    pub(crate) fn loss_input(
        &self,
        rows: &[u32],
        members: usize,
        predict: impl FnOnce(Tensor<3>) -> Prediction,
        view: &dyn ValueView,
        device: &Device,
    ) -> LossInput {
        let (inputs, target) = self.gather(rows, members, device);
        let prediction = predict(inputs);
        let values = self.values.gather(rows, members, &prediction.mean, view, device);
        let row_weights = self.row_weights.as_ref().map(|all| gather(all, 1, rows, members, device).squeeze_dim(2));
        LossInput { prediction, target, values, add_mse: self.add_mse, row_weights }
    }
}

/// (obs, action) of every row, `[rows, O + A]`, not normalised.
fn raw_inputs(rows: &Batch) -> Vec<f32> {
    let (obs_dim, action_dim) = (rows.obs.len() / rows.rows, rows.action.len() / rows.rows);
    let pairs = rows.obs.chunks_exact(obs_dim).zip(rows.action.chunks_exact(action_dim));
    pairs.flat_map(|(obs, action)| obs.iter().chain(action).copied()).collect()
}
