//! Conversion between Burn's tensors and buffers that kernels read and write.

use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchDevice, DispatchTensor, DispatchTensorKind};
use burn::tensor::{DType, Device, Shape, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;

/// Whether kernels can run on this device.
#[must_use]
pub fn is_cube(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Cube(_))
}

/// Returns the buffer of an untracked float tensor, row-major. If the tensor is row-major already, this is its own
/// buffer, and a kernel that writes into the buffer writes into the tensor.
///
/// # Panics
/// If the tensor is tracked, not of floats, or not on a GPU.
#[track_caller]
#[must_use]
pub fn buffer<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    match tensor.into_dispatch() {
        DispatchTensor {
            kind: DispatchTensorKind::Cube(BackendTensor::Float(tensor)),
            autodiff: DispatchAutodiffContext::Disabled,
        } => rows(tensor),
        _ => panic!("expected an untracked float tensor on a GPU"),
    }
}

/// Whether kernels can read a tensor: it is on their device and outside autodiff.
#[must_use]
pub fn is_plain<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_cube(&tensor.device()) && matches!(tensor.clone().into_dispatch().autodiff, DispatchAutodiffContext::Disabled)
}

/// Makes a tensor of a buffer.
#[must_use]
pub fn tensor<const D: usize>(buffer: CubeTensor) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Cube(BackendTensor::Float(buffer)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}

/// The queue of a device.
#[track_caller]
#[must_use]
pub fn client(device: &Device) -> Client {
    let DispatchDevice::Cube(device) = device.clone().inner().as_dispatch().clone() else {
        panic!("kernels cannot run on {device:?}");
    };
    device.client()
}

/// Creates a buffer of this shape with unspecified numbers.
#[track_caller]
#[must_use]
pub fn empty(shape: &[usize], device: &Device) -> CubeTensor {
    let DispatchDevice::Cube(device) = device.clone().inner().as_dispatch().clone() else {
        panic!("kernels cannot run on {device:?}");
    };
    let (client, shape) = (device.client(), Shape::from(shape.to_vec()));
    let handle = client.empty(shape.num_elements() * size_of::<f32>());
    CubeTensor::new_contiguous(client, device, shape, handle, DType::F32)
}

/// Makes a tensor row-major.
#[track_caller]
pub(super) fn rows(tensor: CubeTensor) -> CubeTensor {
    assert_eq!(tensor.dtype, DType::F32, "kernels work on f32");
    into_contiguous(tensor)
}
