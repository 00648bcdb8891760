//! The temperature α of a soft return, learned as its logarithm.

use burn::tensor::Device;
use foresee_nn::cpu::Part;
use foresee_nn::host::TensorSlot;
use foresee_nn::{Parameters, tensors};

/// The learned number log α, `[1, 1, 1]`.
#[derive(Clone, Debug)]
pub(crate) struct LogTemperature(pub(crate) TensorSlot);

impl LogTemperature {
    /// Returns the logarithm of the temperature `alpha` > 0.
    pub(crate) fn new(alpha: f64, device: &Device) -> Self {
        Self(TensorSlot::new(tensors::from_vec(vec![alpha.ln() as f32], [1, 1, 1], device)))
    }
}

impl Parameters for LogTemperature {
    fn slot(&self) -> &TensorSlot {
        &self.0
    }

    fn slot_mut(&mut self) -> &mut TensorSlot {
        &mut self.0
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part { name: "log_temperature".into(), offset: 0, shape: [1, 1] }]
    }
}
