//! The data of a training call where its steps are taken in tensor operations: on the device for the length of the call,
//! gathered there by index. What goes there later are an epoch's row numbers, once an epoch.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use foresee_nn::{ValueView, tensors};

use crate::ensemble::Prediction;
use crate::fit_data::FitData;
use crate::loss::{LossInput, ValueInput, itervaml};
use crate::split::Split;
use crate::value_terms::ValueTerms;

/// Rows by number.
#[derive(Clone, Debug)]
pub(crate) struct FitTensors {
    /// Normalised model inputs, `[rows, O + A]`.
    inputs: Tensor<2>,
    /// (next_obs − obs, reward), `[rows, O + 1]`.
    targets: Tensor<2>,
    values: ValueTensors,
    /// What each row counts, `[rows, 1]`.
    row_weights: Option<Tensor<2>>,
    holdout: Tensor<1, Int>,
    add_mse: bool,
}

/// [`ValueTerms`] on the device.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one a training call")]
enum ValueTensors {
    None,
    /// Gradients, `[N, rows, O]`.
    Gradients(Tensor<3>),
    /// Observations `[rows, O]`, and values at the true next states `[rows, N]`.
    Values {
        obs: Tensor<2>,
        values: Tensor<2>,
    },
    /// `[rows, 1]`
    Weights(Tensor<2>),
}

impl FitTensors {
    /// The call's data, sent to the device.
    pub(crate) fn new(data: &FitData, device: &Device) -> Self {
        let rows = data.rows();
        let send = |all: &[f32]| tensors::from_vec(all.to_vec(), [rows, all.len() / rows], device);
        Self {
            inputs: send(&data.inputs),
            targets: send(&data.targets),
            values: match &data.values {
                ValueTerms::None => ValueTensors::None,
                ValueTerms::Gradients(all) => ValueTensors::Gradients(all.tensor(device)),
                ValueTerms::Values(all) => ValueTensors::Values { obs: send(&all.obs), values: send(&all.values) },
                ValueTerms::Weights(all) => ValueTensors::Weights(send(all)),
            },
            row_weights: data.row_weights.as_deref().map(send),
            holdout: numbers(&data.split.holdout, device),
            add_mse: data.add_mse,
        }
    }

    /// A part of the holdout, `[1, B]`: all members see it.
    pub(crate) fn holdout(&self, part: Range<usize>) -> Tensor<2, Int> {
        self.holdout.clone().narrow(0, part.start, part.len()).unsqueeze_dim(0)
    }

    /// Inputs `[E, B, O + A]` and targets `[E, B, O + 1]` of replay rows `[E, B]`.
    pub(crate) fn gather(&self, rows: &Tensor<2, Int>) -> (Tensor<3>, Tensor<3>) {
        (gather(&self.inputs, rows), gather(&self.targets, rows))
    }

    /// All that a loss sees of replay rows `[E, B]`, or of `[1, B]` shown to every member, under a prediction.
    pub(crate) fn loss_input(
        &self,
        rows: &Tensor<2, Int>,
        predict: impl FnOnce(Tensor<3>) -> Prediction,
        view: &dyn ValueView,
    ) -> LossInput {
        let (inputs, target) = self.gather(rows);
        let prediction = predict(inputs);
        let values = match &self.values {
            ValueTensors::None => ValueInput::None,
            ValueTensors::Gradients(all) => ValueInput::Gradients(gather_heads(all, rows)),
            ValueTensors::Values { obs, values } => ValueInput::Values {
                predicted: itervaml::predicted_values(view, gather(obs, rows), prediction.mean.clone()),
                target: gather(values, rows).permute([2, 0, 1]),
            },
            ValueTensors::Weights(all) => ValueInput::Weights(gather(all, rows).squeeze_dim(2)),
        };
        let row_weights = self.row_weights.as_ref().map(|all| gather(all, rows).squeeze_dim(2));
        LossInput { prediction, target, values, add_mse: self.add_mse, row_weights }
    }

    #[cfg(test)]
    pub(crate) fn hold_out(&mut self, rows: &[u32]) {
        self.holdout = numbers(rows, &self.inputs.device());
    }
}

/// The replay rows of an epoch's batches on the device.
#[derive(Clone, Debug)]
pub(crate) struct EpochRows {
    /// Batch by batch `[E, B]`.
    rows: Tensor<1, Int>,
    members: usize,
    batch: usize,
}

impl EpochRows {
    /// The rows of an epoch in this order, in batches of `batch`: one upload.
    pub(crate) fn new(split: &Split, order: &[usize], batch: usize, device: &Device) -> Self {
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        for index in 0..split.batches(batch) {
            split.batch(order, index, batch, &mut rows);
            all.extend_from_slice(&rows);
        }
        Self { rows: numbers(&all, device), members: all.len() / order.len(), batch }
    }

    /// The rows of batch number `index`, `[E, B]`.
    pub(crate) fn batch(&self, index: usize) -> Tensor<2, Int> {
        let start = index * self.members * self.batch;
        let count = (self.members * self.batch).min(self.rows.dims()[0] - start);
        self.rows.clone().narrow(0, start, count).reshape([self.members, count / self.members])
    }
}

/// Replay rows on the device.
pub(crate) fn numbers(rows: &[u32], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&row| i32::try_from(row).expect("fewer than 2^31 rows")).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// Rows of `[rows, width]`: `[E, B]` numbers -> `[E, B, width]`.
fn gather(all: &Tensor<2>, rows: &Tensor<2, Int>) -> Tensor<3> {
    let ([members, batch], width) = (rows.dims(), all.dims()[1]);
    all.clone().select(0, rows.clone().reshape([members * batch])).reshape([members, batch, width])
}

/// Rows of `[N, rows, width]`: `[E, B]` numbers -> `[N, E, B, width]`.
pub(crate) fn gather_heads(all: &Tensor<3>, rows: &Tensor<2, Int>) -> Tensor<4> {
    let ([members, batch], [heads, _, width]) = (rows.dims(), all.dims());
    all.clone().select(1, rows.clone().reshape([members * batch])).reshape([heads, members, batch, width])
}
