//! All that a training call derives from replay, agent and streams: inputs, targets, split, value gradients.
//!
//! None of it is saved: a call that is cut and resumed derives the same again.

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::{ValueView, tensors};

use crate::config::{LossKind, ModelConfig};
use crate::normalizer::Normalizer;
use crate::split::Split;
use crate::value_weights::ValueWeights;

/// The data of one training call.
#[derive(Clone, Debug)]
pub(crate) struct FitData {
    rows: usize,
    pub(crate) split: Split,
    /// Normalised model inputs, `[rows, O + A]`.
    pub(crate) inputs: Vec<f32>,
    /// (next_obs − obs, reward), `[rows, O + 1]`.
    pub(crate) targets: Vec<f32>,
    /// By replay row, where the loss asks for them.
    pub(crate) weights: Option<ValueWeights>,
    pub(crate) add_mse: bool,
}

impl FitData {
    /// The data of a call, from `[seed, call, real_step]`.
    pub(crate) fn new(
        config: &ModelConfig,
        rows: &Batch,
        normalizer: &Normalizer,
        view: &dyn ValueView,
        [seed, call, real_step]: [u64; 3],
        device: &Device,
    ) -> Self {
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
        let loss = &config.loss;
        let weights = (loss.kind == LossKind::Vagram)
            .then(|| ValueWeights::new(view, &rows.next_obs, obs_dim, loss.clip_quantile, device));
        Self {
            rows: n,
            split: Split::new(n, config.fit.holdout, config.ensemble.members, seed, call),
            inputs,
            targets,
            weights,
            add_mse: real_step < loss.add_mse_until,
        }
    }

    /// The normaliser of these rows' inputs.
    pub(crate) fn normalizer(rows: &Batch) -> Normalizer {
        let inputs = raw_inputs(rows);
        Normalizer::from_rows(&inputs, inputs.len() / rows.rows)
    }

    /// Inputs `[E, B, O + A]` and targets `[E, B, O + 1]` of replay rows `[E, B]`.
    pub(crate) fn gather(&self, rows: &[u32], members: usize, device: &Device) -> (Tensor<3>, Tensor<3>) {
        let gather = |all: &[f32]| {
            let width = all.len() / self.rows;
            let mut out = Vec::with_capacity(rows.len() * width);
            for &row in rows {
                out.extend_from_slice(&all[row as usize * width..][..width]);
            }
            tensors::from_vec(out, [members, rows.len() / members, width], device)
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
