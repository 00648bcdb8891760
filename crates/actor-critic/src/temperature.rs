//! The temperature α of a soft return, learned as its logarithm.

use burn::tensor::Device;
use foresee_nn::cpu::Part;
use foresee_nn::host::Slot;
use foresee_nn::{Parameters, tensors};

/// The learned number log α, `[1, 1, 1]`.
#[derive(Clone, Debug)]
pub(crate) struct LogTemperature(pub(crate) Slot);

impl LogTemperature {
    pub(crate) fn new(alpha: f64, device: &Device) -> Self {
        Self(Slot::new(tensors::from_vec(vec![alpha.ln() as f32], [1, 1, 1], device)))
    }
}

impl Parameters for LogTemperature {
    fn slot(&self) -> &Slot {
        &self.0
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.0
    }

    fn parts(&self) -> Vec<Part> {
        vec![Part { name: "log_temperature".into(), offset: 0, shape: [1, 1] }]
    }
}
