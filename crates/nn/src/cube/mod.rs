//! The lower floor on GPUs: `CubeCL` kernels over the buffers of Burn's tensors.

pub mod tensor;
