//! Conversion between host numbers and tensors.

use burn::tensor::{Device, Tensor, TensorData};

use crate::device::failure;
use crate::host;

/// Creates a tensor of this shape from row-major numbers.
#[track_caller]
#[must_use]
pub fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    let size: usize = shape.iter().product();
    assert_eq!(values.len(), size, "{} numbers do not fill shape {shape:?}", values.len());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Reads a tensor's numbers, row-major.
///
/// # Panics
/// If the device failed, with a [`DeviceFailure`](crate::device::DeviceFailure) that
/// [`guarded`](crate::device::guarded) reports.
#[must_use]
pub fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let on_host = host::is_host(&tensor.device());
    match tensor.inner().try_into_vec_as() {
        Ok(values) => values,
        Err(error) if on_host => panic!("a float tensor reads back as f32: {error}"),
        Err(error) => failure::raise(&error),
    }
}

/// Reads the single number of a one-element tensor.
#[must_use]
pub fn to_f32<const D: usize>(tensor: Tensor<D>) -> f32 {
    let values = to_vec(tensor);
    assert_eq!(values.len(), 1, "one number expected, got {}", values.len());
    values[0]
}
