//! A batch of transitions, in host memory or on a device.

use std::borrow::Cow;

use burn::tensor::{Device, Tensor};
use foresee_core::Batch;
use foresee_nn::tensors;

/// A batch of transitions in tensors.
#[derive(Clone, Debug)]
pub struct TensorBatch {
    /// `[B, O]`
    pub obs: Tensor<2>,
    /// `[B, A]`
    pub action: Tensor<2>,
    /// `[B]`
    pub reward: Tensor<1>,
    /// `[B, O]`
    pub next_obs: Tensor<2>,
    /// 1 for a transition that did not terminate its episode, else 0, `[B]`.
    pub not_terminated: Tensor<1>,
}

impl TensorBatch {
    /// Copies a batch with observations and actions of `[O, A]` entries to a device.
    #[must_use]
    pub fn new(batch: &Batch, [obs_dim, action_dim]: [usize; 2], device: &Device) -> Self {
        let rows = batch.rows;
        let send = |values: &[f32], columns| tensors::from_vec(values.to_vec(), [rows, columns], device);
        let column = |values: &[f32]| tensors::from_vec(values.to_vec(), [rows], device);
        Self {
            obs: send(&batch.obs, obs_dim),
            action: send(&batch.action, action_dim),
            reward: column(&batch.reward),
            next_obs: send(&batch.next_obs, obs_dim),
            not_terminated: column(&batch.not_terminated),
        }
    }

    /// Number of rows, `B`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.reward.dims()[0]
    }

    /// Returns the batch in host memory, read back from the device if necessary.
    #[must_use]
    pub fn read(&self) -> Batch {
        let column = |values: &Tensor<1>| tensors::to_vec(values.clone());
        let rows = |values: &Tensor<2>| tensors::to_vec(values.clone());
        Batch {
            rows: self.rows(),
            obs: rows(&self.obs),
            action: rows(&self.action),
            reward: column(&self.reward),
            next_obs: rows(&self.next_obs),
            not_terminated: column(&self.not_terminated),
        }
    }
}

/// A reference to a batch of transitions, in host memory or on a device.
#[derive(Clone, Copy, Debug)]
pub enum BatchRef<'a> {
    /// In host memory.
    Host(&'a Batch),
    /// On the agent's device.
    Device(&'a TensorBatch),
}

impl<'a> BatchRef<'a> {
    /// Number of rows, `B`.
    #[must_use]
    pub fn rows(self) -> usize {
        match self {
            Self::Host(batch) => batch.rows,
            Self::Device(batch) => batch.rows(),
        }
    }

    /// Returns the batch as tensors with observations and actions of `dims` = `[O, A]` entries. A host batch is copied
    /// to `device`.
    #[must_use]
    pub fn tensors(self, dims: [usize; 2], device: &Device) -> TensorBatch {
        match self {
            Self::Host(batch) => TensorBatch::new(batch, dims, device),
            Self::Device(batch) => batch.clone(),
        }
    }

    /// Returns the batch in host memory. A device batch is read back.
    #[must_use]
    pub fn host(self) -> Cow<'a, Batch> {
        match self {
            Self::Host(batch) => Cow::Borrowed(batch),
            Self::Device(batch) => Cow::Owned(batch.read()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_comes_back_from_a_device_as_it_went() {
        let mut batch = Batch::default();
        batch.push(&[1.0, 2.0], &[0.5], 3.0, &[4.0, 5.0], false);
        batch.push(&[6.0, 7.0], &[-0.5], 8.0, &[9.0, 10.0], true);
        let sent = BatchRef::Host(&batch).tensors([2, 1], &Device::flex());
        assert_eq!(sent.next_obs.dims(), [2, 2]);
        assert_eq!((sent.rows(), BatchRef::Device(&sent).rows()), (2, 2));
        assert_eq!(*BatchRef::Device(&sent).host(), batch);
    }
}
