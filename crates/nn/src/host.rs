//! Access to parameters and moments: tensors in host memory, lent as plain numbers.

use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchDevice, DispatchTensor, DispatchTensorKind};
use burn::tensor::{Device, Tensor};

/// Whether tensors on this device live in host memory, in Burn's Flex backend.
#[must_use]
pub fn is_host(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// The numbers of a tensor in host memory, row-major. It owns the tensor until [`HostTensor::into_tensor`].
#[derive(Debug)]
pub struct HostTensor(FlexTensor);

impl HostTensor {
    /// Takes the numbers of an untracked tensor on the Flex backend.
    ///
    /// # Panics
    /// If the tensor is tracked, or on another backend.
    #[track_caller]
    #[must_use]
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        Self::lend(tensor).unwrap_or_else(|_| panic!("expected an untracked float tensor in host memory"))
    }

    /// Takes the values of an untracked tensor on any backend. They are copied only if the tensor is on another device
    /// or not contiguous.
    #[must_use]
    pub fn read<const D: usize>(tensor: Tensor<D>) -> Self {
        Self::lend(tensor).unwrap_or_else(|tensor| Self(FlexTensor::from_data(tensor.into_data())))
    }

    #[allow(clippy::result_large_err, reason = "the tensor itself comes back")]
    fn lend<const D: usize>(tensor: Tensor<D>) -> Result<Self, Tensor<D>> {
        match tensor.into_dispatch() {
            DispatchTensor {
                kind: DispatchTensorKind::Flex(BackendTensor::Float(tensor)),
                autodiff: DispatchAutodiffContext::Disabled,
            } => Ok(Self::from_flex(tensor)),
            other => Err(Tensor::from_dispatch(other)),
        }
    }

    /// Takes the numbers of a tensor of the backend, with a copy if they are not the whole of its memory in row-major
    /// order.
    pub(crate) fn from_flex(tensor: FlexTensor) -> Self {
        let whole = tensor.layout().start_offset() == 0
            && tensor.is_contiguous()
            && tensor.storage::<f32>().len() == tensor.layout().shape().num_elements();
        Self(if whole { tensor } else { FlexTensor::from_data(tensor.into_data()) })
    }

    /// Returns the tensor.
    #[must_use]
    pub fn into_tensor<const D: usize>(self) -> Tensor<D> {
        Tensor::from_dispatch(DispatchTensor {
            kind: DispatchTensorKind::Flex(BackendTensor::Float(self.0)),
            autodiff: DispatchAutodiffContext::Disabled,
        })
    }

    /// The numbers.
    #[must_use]
    pub fn get(&self) -> &[f32] {
        self.0.storage()
    }

    /// The numbers for writing. They are copied first if another tensor shares them.
    pub fn get_mut(&mut self) -> &mut [f32] {
        self.0.storage_mut()
    }
}

/// A tensor that can be taken out temporarily, so that its owner can change it in place.
#[derive(Clone, Debug)]
pub struct TensorSlot(Option<Tensor<3>>);

impl TensorSlot {
    /// A slot that holds a tensor.
    #[must_use]
    pub fn new(tensor: Tensor<3>) -> Self {
        Self(Some(tensor))
    }

    /// The tensor.
    #[must_use]
    pub fn get(&self) -> &Tensor<3> {
        self.0.as_ref().expect("the tensor is in its slot, and not taken out")
    }

    /// The tensor, for replacement.
    pub fn get_mut(&mut self) -> &mut Tensor<3> {
        self.0.as_mut().expect("the tensor is in its slot, and not taken out")
    }

    /// Takes the tensor out. As its only owner, the caller can change it in place.
    pub fn take(&mut self) -> Tensor<3> {
        self.0.take().expect("the tensor is in its slot, and not taken out")
    }

    /// Puts a tensor in.
    pub fn put(&mut self, tensor: Tensor<3>) {
        self.0 = Some(tensor);
    }

    /// Lends the numbers of a tensor in host memory to `f`.
    pub fn lend<R>(&mut self, f: impl FnOnce(&mut [f32]) -> R) -> R {
        let mut numbers = HostTensor::of(self.take());
        let result = f(numbers.get_mut());
        self.put(numbers.into_tensor());
        result
    }
}
