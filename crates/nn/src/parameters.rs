//! Structures with parameters: their gradients, running averages and saved form.
//!
//! All parameters of a structure are one tensor `[E, 1, P]` with a row per member, so that a gradient, an optimiser
//! step, an average or a copy of a member is one operation. A row consists of named parts ([`Part`]).

use burn::tensor::{Gradients, Tensor};
use foresee_core::state::{Array, Data};
use foresee_core::{State, StateError};

use crate::cpu::{self, Part};
use crate::host::{self, TensorSlot};
use crate::tensors;

/// A structure with parameters, outside autodiff.
pub trait Parameters: Clone {
    /// All parameters, `[E, 1, P]`.
    fn slot(&self) -> &TensorSlot;

    /// All parameters, for writing.
    fn slot_mut(&mut self) -> &mut TensorSlot;

    /// The named parts of a member's row, in order. The numbers between parts are zero.
    fn parts(&self) -> Vec<Part>;

    /// Copies the structure, with the parameters as a leaf of a new graph. The copy exists for one loss and its
    /// gradient.
    #[must_use]
    fn tracked(&self) -> Self {
        let mut copy = self.clone();
        let tensor = copy.slot_mut().take();
        copy.slot_mut().put(tensor.autodiff().require_grad());
        copy
    }

    /// The gradient of a [`Parameters::tracked`] copy, `[E, 1, P]`; zero if the loss does not depend on the parameters.
    #[must_use]
    fn gradient(&self, gradients: &mut Gradients) -> Tensor<3> {
        let leaf = self.slot().get();
        leaf.grad_remove(gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like())
    }

    /// Polyak averaging: self ← tau · online + (1 − tau) · self.
    fn polyak(&mut self, online: &Self, tau: f64) {
        let online = online.slot().get().clone();
        if host::is_host(&online.device()) {
            let online = host::HostTensor::of(online);
            return self.slot_mut().lend(|target| cpu::polyak(target, online.get(), tau as f32));
        }
        let target = self.slot_mut().take();
        #[cfg(feature = "wgpu")]
        if crate::cube::is_cube(&online.device()) {
            return self.slot_mut().put(crate::cube::polyak_step(target, online, tau as f32));
        }
        self.slot_mut().put(target.mul_scalar(1.0 - tau) + online.mul_scalar(tau));
    }

    /// Copies member `member` from another structure of the same shape.
    fn copy_member(&mut self, from: &Self, member: usize) {
        let values = from.slot().get().clone().narrow(0, member, 1);
        let to = self.slot_mut().take();
        let [_, rows, columns] = to.dims();
        self.slot_mut().put(to.slice_assign([member..member + 1, 0..rows, 0..columns], values));
    }

    /// Saves the parameters as one array per part.
    #[must_use]
    fn save(&self) -> State {
        let mut state = State::new();
        save_parts(&mut state, &self.parts(), self.slot().get(), "");
        state
    }

    /// Reads the parameters back, onto the device of the current ones.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn load(&mut self, mut state: State) -> Result<(), StateError> {
        let parameters = load_parts(&mut state, &self.parts(), self.slot().get(), "")?;
        self.slot_mut().put(parameters);
        state.finish()
    }
}

/// Writes every part as an array `[E, rows, columns]`, named by the part's name and `suffix`.
pub(crate) fn save_parts(state: &mut State, parts: &[Part], tensor: &Tensor<3>, suffix: &str) {
    let [members, _, width] = tensor.dims();
    let all = tensors::to_vec(tensor.clone());
    for Part { name, offset, shape: [rows, columns] } in parts {
        let size = rows * columns;
        let values = (0..members).flat_map(|e| &all[e * width + offset..][..size]).copied().collect();
        state.put(&format!("{name}{suffix}"), Array::new(vec![members, *rows, *columns], Data::F32(values)));
    }
}

/// Reads the tensor that [`save_parts`] wrote, with the shape and on the device of `like`.
pub(crate) fn load_parts(
    state: &mut State,
    parts: &[Part],
    like: &Tensor<3>,
    suffix: &str,
) -> Result<Tensor<3>, StateError> {
    let [members, _, width] = like.dims();
    let mut all = vec![0.0; members * width];
    for Part { name, offset, shape: [rows, columns] } in parts {
        let path = format!("{name}{suffix}");
        let (shape, values) = state.f32s(&path)?;
        if shape != [members, *rows, *columns] {
            return Err(StateError::Mismatch {
                path,
                found: format!("of shape {shape:?}"),
                expected: format!("shape {:?}", [members, *rows, *columns]),
            });
        }
        for (e, values) in values.chunks_exact(rows * columns).enumerate() {
            all[e * width + offset..][..values.len()].copy_from_slice(values);
        }
    }
    Ok(tensors::from_vec(all, like.dims(), &like.device()))
}
