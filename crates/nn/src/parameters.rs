//! What has parameters: their names, gradients, running averages and saved form.
//!
//! Every parameter of the project is a `Tensor<3>` with the member axis first: weights `[E, I, O]`, biases `[E, 1, O]`,
//! log-variance bounds `[1, 1, O]`, the log-temperature `[1, 1, 1]`.

use burn::tensor::{Gradients, Tensor};
use foresee_core::state::{Array, Data};
use foresee_core::{State, StateError};

use crate::tensors;

/// A structure with named parameters, outside autodiff.
pub trait Parameters: Clone {
    /// Names and tensors, always in the same order.
    fn parameters(&self) -> Vec<(String, &Tensor<3>)>;

    /// The tensors in the order of [`Parameters::parameters`].
    fn parameters_mut(&mut self) -> Vec<&mut Tensor<3>>;

    /// A copy whose parameters are leaves of a new graph. It lives for one loss and its gradients.
    #[must_use]
    fn tracked(&self) -> Self {
        let mut copy = self.clone();
        for parameter in copy.parameters_mut() {
            *parameter = parameter.clone().autodiff().require_grad();
        }
        copy
    }

    /// The gradients of a [`Parameters::tracked`] copy, in order; zero where the loss did not reach a parameter.
    #[must_use]
    fn gradients(&self, gradients: &mut Gradients) -> Vec<Tensor<3>> {
        self.parameters()
            .into_iter()
            .map(|(_, p)| p.grad_remove(gradients).unwrap_or_else(|| p.clone().inner().zeros_like()))
            .collect()
    }

    /// Polyak averaging: self ← tau · online + (1 − tau) · self.
    fn polyak(&mut self, online: &Self, tau: f64) {
        for (target, (_, online)) in self.parameters_mut().into_iter().zip(online.parameters()) {
            let averaged = target.clone().mul_scalar(1.0 - tau) + online.clone().mul_scalar(tau);
            *target = averaged;
        }
    }

    /// Copies member `member` of every parameter from another structure of the same shapes.
    fn copy_member(&mut self, from: &Self, member: usize) {
        for (to, (_, from)) in self.parameters_mut().into_iter().zip(from.parameters()) {
            let values = from.clone().narrow(0, member, 1);
            let [_, rows, columns] = to.dims();
            *to = to.clone().slice_assign([member..member + 1, 0..rows, 0..columns], values);
        }
    }

    /// The parameters as arrays.
    #[must_use]
    fn save(&self) -> State {
        let mut state = State::new();
        for (name, parameter) in self.parameters() {
            state.put(&name, to_array(parameter));
        }
        state
    }

    /// Reads the parameters back, on the device where they are.
    ///
    /// # Errors
    /// If an array is missing, of another shape, or left over.
    fn load(&mut self, mut state: State) -> Result<(), StateError> {
        let names: Vec<String> = self.parameters().into_iter().map(|(name, _)| name).collect();
        for (name, parameter) in names.into_iter().zip(self.parameters_mut()) {
            *parameter = from_state(&mut state, &name, parameter)?;
        }
        state.finish()
    }
}

/// A parameter as an array.
pub(crate) fn to_array(tensor: &Tensor<3>) -> Array {
    Array::new(tensor.dims().to_vec(), Data::F32(tensors::to_vec(tensor.clone())))
}

/// An array as a tensor of the shape and on the device of `like`.
pub(crate) fn from_state(state: &mut State, name: &str, like: &Tensor<3>) -> Result<Tensor<3>, StateError> {
    let (shape, values) = state.f32s(name)?;
    if shape != like.dims() {
        return Err(StateError::Mismatch {
            path: name.into(),
            found: format!("of shape {shape:?}"),
            expected: format!("shape {:?}", like.dims()),
        });
    }
    Ok(tensors::from_vec(values, like.dims(), &like.device()))
}
