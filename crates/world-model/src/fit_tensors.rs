//! The data of a training call for gradient steps in tensor operations. They stay on the device for the whole call, and
//! batches are gathered there by row number. Transitions that the device already holds are not sent again. After the
//! start of the call only the row numbers of each epoch are sent.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};
use foresee_nn::{ValueView, tensors};

use crate::DeviceTransitions;
use crate::config::Predicted;
use crate::gather::{gather, gather_heads, numbers};
use crate::loss::{Extras, LossInput, Needs, RowTerms};
use crate::normalizer::Normalizer;
use crate::prediction::Prediction;
use crate::split::Split;

/// The rows of a training call as tensors on a device. A row is addressed by its replay row number.
#[derive(Clone, Debug)]
pub(crate) struct FitTensors {
    /// Normalised model inputs, `[rows, O + A]`.
    inputs: Tensor<2>,
    /// Targets of the predictions, normalised or not, `[rows, O + 1]`.
    targets: Tensor<2>,
    /// The loss's row terms, `[N, rows, K]`.
    terms: Option<Tensor<3>>,
    /// Offset of the predicted states, `[rows, O]`: a predicted state is `state_offset` plus the prediction. Only for a
    /// loss that needs predicted states.
    state_offset: Option<Tensor<2>>,
    /// Factors on the rows' losses, `[rows, 1]`.
    row_weights: Option<Tensor<2>>,
    holdout: Tensor<1, Int>,
    add_mse: bool,
    /// Standard deviations and means of the targets, `[1, 1, O + 1]` each, if targets are normalised.
    units: Option<[Tensor<3>; 2]>,
}

/// The inputs of [`FitTensors`] besides the model's inputs and targets.
pub(crate) struct FitContext<'a> {
    /// The information about the agent that the loss needs.
    pub(crate) needs: Needs,
    /// The loss's row terms, reduced.
    pub(crate) terms: &'a RowTerms,
    /// Factors on the rows' losses, `[rows]`.
    pub(crate) row_weights: Option<&'a [f32]>,
    /// The training and the holdout rows.
    pub(crate) split: &'a Split,
    /// Whether the mean squared error is added to the loss.
    pub(crate) add_mse: bool,
    /// The normaliser of the targets, if they are normalised.
    pub(crate) target_normalizer: Option<&'a Normalizer>,
}

impl FitTensors {
    /// Sends rows in host memory to the device: normalised inputs `[rows, O + A]`, targets `[rows, O + 1]` (normalised
    /// if the fit normalises them), and the `state_offset` of predicted states `[rows, O]`.
    pub(crate) fn from_host(
        [inputs, targets, state_offset]: [&[f32]; 3],
        rows: usize,
        context: &FitContext<'_>,
        device: &Device,
    ) -> Self {
        let send = |all: &[f32]| tensors::from_vec(all.to_vec(), [rows, all.len() / rows], device);
        Self::new(send(inputs), send(targets), || send(state_offset), context, device)
    }

    /// Computes the tensors from the first `rows` transitions that are on the device.
    pub(crate) fn from_device(
        all: DeviceTransitions<'_>,
        predicted: Predicted,
        normalizer: &Normalizer,
        rows: usize,
        context: &FitContext<'_>,
        device: &Device,
    ) -> Self {
        let [obs, action, next_obs] = [all.obs, all.action, all.next_obs].map(|all| all.clone().narrow(0, 0, rows));
        let reward = all.reward.clone().narrow(0, 0, rows).unsqueeze_dim(1);
        let [mean, std] = normalizer.moments().map(|all| tensors::from_vec(all.to_vec(), [1, all.len()], device));
        let inputs = (Tensor::cat(vec![obs.clone(), action], 1) - mean) / std;
        let state_offset = match predicted {
            Predicted::Change => obs,
            Predicted::NextObs => obs.zeros_like(),
        };
        let mut targets = Tensor::cat(vec![next_obs - state_offset.clone(), reward], 1);
        if let Some(normalizer) = context.target_normalizer {
            let [mean, std] = normalizer.moments().map(|all| tensors::from_vec(all.to_vec(), [1, all.len()], device));
            targets = (targets - mean) / std;
        }
        Self::new(inputs, targets, || state_offset, context, device)
    }

    fn new(
        inputs: Tensor<2>,
        targets: Tensor<2>,
        state_offset: impl FnOnce() -> Tensor<2>,
        context: &FitContext<'_>,
        device: &Device,
    ) -> Self {
        let column = |all: &[f32]| tensors::from_vec(all.to_vec(), [all.len(), 1], device);
        Self {
            inputs,
            targets,
            terms: (!context.terms.is_empty()).then(|| context.terms.tensor(device)),
            state_offset: (context.needs == Needs::PredictedStates).then(state_offset),
            row_weights: context.row_weights.map(column),
            holdout: numbers(&context.split.holdout, device),
            add_mse: context.add_mse,
            units: context.target_normalizer.map(|normalizer| {
                let [mean, std] = normalizer.moments();
                [std, mean].map(|all| tensors::from_vec(all.to_vec(), [1, 1, all.len()], device))
            }),
        }
    }

    /// Returns the replay row numbers of a part of the holdout, `[1, B]`. All members are scored on the same rows.
    pub(crate) fn holdout(&self, part: Range<usize>) -> Tensor<2, Int> {
        self.holdout.clone().narrow(0, part.start, part.len()).unsqueeze_dim(0)
    }

    /// Returns the inputs `[E, B, O + A]` and targets `[E, B, O + 1]` of replay rows `[E, B]`.
    pub(crate) fn gather(&self, rows: &Tensor<2, Int>) -> (Tensor<3>, Tensor<3>) {
        (gather(&self.inputs, rows), gather(&self.targets, rows))
    }

    /// Returns the loss's input for replay rows `[E, B]`, or for rows `[1, B]` that all members share, and the common
    /// parts of the training loss. `predict` computes the prediction from the inputs.
    pub(crate) fn loss_input<'v>(
        &self,
        rows: &Tensor<2, Int>,
        predict: impl FnOnce(Tensor<3>) -> Prediction,
        view: &'v dyn ValueView,
    ) -> (LossInput<'v>, Extras) {
        let (inputs, target) = self.gather(rows);
        let input = LossInput {
            prediction: predict(inputs),
            target,
            terms: self.terms.as_ref().map(|all| gather_heads(all, rows)),
            state_offset: self.state_offset.as_ref().map(|all| gather(all, rows)),
            view,
        };
        let row_weights = self.row_weights.as_ref().map(|all| gather(all, rows).squeeze_dim(2));
        (input, Extras { add_mse: self.add_mse, row_weights, units: self.units.clone() })
    }

    #[cfg(test)]
    pub(crate) fn hold_out(&mut self, rows: &[u32]) {
        self.holdout = numbers(rows, &self.inputs.device());
    }
}

/// The replay row numbers of all batches of an epoch, on the device.
#[derive(Clone, Debug)]
pub(crate) struct EpochRows {
    /// The batches one after another, `[E, B]` each.
    rows: Tensor<1, Int>,
    members: usize,
    batch: usize,
}

impl EpochRows {
    /// Sends the row numbers of an epoch in this order to the device, in one upload. Batches have `batch` rows.
    pub(crate) fn new(split: &Split, order: &[usize], batch: usize, device: &Device) -> Self {
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        for index in 0..split.batches(batch) {
            split.batch(order, index, batch, &mut rows);
            all.extend_from_slice(&rows);
        }
        Self { rows: numbers(&all, device), members: all.len() / order.len(), batch }
    }

    /// Returns the replay row numbers of batch number `index`, `[E, B]`.
    pub(crate) fn batch(&self, index: usize) -> Tensor<2, Int> {
        let start = index * self.members * self.batch;
        let count = (self.members * self.batch).min(self.rows.dims()[0] - start);
        self.rows.clone().narrow(0, start, count).reshape([self.members, count / self.members])
    }
}
