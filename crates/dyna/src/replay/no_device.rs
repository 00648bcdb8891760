//! Without the feature `wgpu` no device keeps rows.

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::TensorBatch;
use foresee_core::Batch;
use foresee_world_model::DeviceTransitions;

use super::Source;

/// Whether a device runs kernels: none does.
#[must_use]
pub fn runs_kernels(_: &Device) -> bool {
    false
}

/// The numbers of the next updates on a device: none.
#[derive(Clone, Debug, Default)]
pub struct DrawClock(());

/// Rows on a device: none.
#[derive(Debug)]
pub enum DeviceRows {}

impl DeviceRows {
    /// Nothing.
    pub fn new(_: usize, _: [usize; 2], _: &Device) -> Option<Self> {
        None
    }

    /// Rows that there is room for.
    pub fn capacity(&self) -> usize {
        match *self {}
    }

    /// Writes rows of the host.
    pub fn write(&mut self, _: usize, _: &Batch, _: std::ops::Range<usize>) {
        match *self {}
    }

    /// Room for another number of rows.
    pub fn resize(&mut self, _: usize, _: usize, _: usize) {
        match *self {}
    }

    /// The first rows, read back.
    pub fn read(&self, _: usize) -> Batch {
        match *self {}
    }

    /// A batch of both sources, and noise.
    pub fn draw(
        sources: [Source<'_>; 2],
        _: [u64; 2],
        _: [&str; 2],
        _: &mut DrawClock,
    ) -> (TensorBatch, [Tensor<2>; 2]) {
        match *sources[0].rows {}
    }

    /// The rows in the form that a model's fit takes.
    pub fn transitions(&self) -> DeviceTransitions<'_> {
        match *self {}
    }
}
