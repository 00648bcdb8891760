//! Types without the feature `wgpu`, where no device keeps rows.

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::TensorBatch;
use foresee_core::Batch;
use foresee_world_model::DeviceTransitions;

use super::Source;

/// Whether a device runs kernels; always false.
#[must_use]
pub fn runs_kernels(_: &Device) -> bool {
    false
}

/// The numbers of the next updates on a device; empty.
#[derive(Clone, Debug, Default)]
pub struct DrawCounter(());

/// Rows on a device; there are none.
#[derive(Debug)]
pub enum DeviceRows {}

impl DeviceRows {
    /// Returns `None`.
    pub fn new(_: usize, _: [usize; 2], _: &Device) -> Option<Self> {
        None
    }

    /// Largest number of rows.
    pub fn capacity(&self) -> usize {
        match *self {}
    }

    /// Writes rows of the host.
    pub fn write(&mut self, _: usize, _: &Batch, _: std::ops::Range<usize>) {
        match *self {}
    }

    /// Changes the capacity.
    pub fn resize(&mut self, _: usize, _: usize, _: usize) {
        match *self {}
    }

    /// Reads the first rows back.
    pub fn read(&self, _: usize) -> Batch {
        match *self {}
    }

    /// Draws a batch from both sources, with its noise.
    pub fn draw(
        sources: [Source<'_>; 2],
        _: [u64; 2],
        _: [&str; 2],
        _: &mut DrawCounter,
    ) -> (TensorBatch, [Tensor<2>; 2]) {
        match *sources[0].rows {}
    }

    /// Returns the rows in the form that a fit of the model takes.
    pub fn transitions(&self) -> DeviceTransitions<'_> {
        match *self {}
    }
}
