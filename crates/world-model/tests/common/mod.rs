//! The fixture files as numbers and tensors.

#[path = "../../../core/tests/support/fixtures.rs"]
mod fixtures;
pub(crate) mod reference;

use burn::tensor::{Device, Tensor};
use foresee_core::State;
use foresee_core::state::{Array, Data};
use foresee_nn::tensors;
use serde_json::Value;

pub(crate) use fixtures::{count, fixture, floats, list, number, numbers, shape};

/// The project's tolerance of f32 results against the files' f64 numbers. The reference code's own f32 results differ
/// from its f64 results by up to 1.7e-5 (`meta.f32_self_check_max_rel`).
const RELATIVE: f64 = 1e-4;
const ABSOLUTE: f64 = 1e-5;

/// Converts nested lists of depth `D` to a tensor.
#[track_caller]
pub(crate) fn tensor<const D: usize>(value: &Value) -> Tensor<D> {
    let shape = shape(value);
    let shape = shape.try_into().unwrap_or_else(|shape| panic!("{shape:?} has not {D} axes"));
    tensors::from_vec(floats(value), shape, &Device::flex())
}

/// Converts layers with `w` `[E, I, O]` and `b` `[E, O]` to the saved form of a network.
pub(crate) fn weights(layers: &Value) -> State {
    let mut state = State::new();
    for (i, layer) in list(layers).iter().enumerate() {
        let bias = shape(&layer["b"]);
        state.put(&format!("weight.{i}"), Array::new(shape(&layer["w"]), Data::F32(floats(&layer["w"]))));
        state.put(&format!("bias.{i}"), Array::new(vec![bias[0], 1, bias[1]], Data::F32(floats(&layer["b"]))));
    }
    state
}

/// Converts several networks of one shape, layers with `w` `[I, O]` and `b` `[O]`, to the saved form of one network
/// with these networks as its members.
pub(crate) fn stacked(nets: &[&Value]) -> State {
    let mut state = State::new();
    for i in 0..list(nets[0]).len() {
        for (name, key) in [("weight", "w"), ("bias", "b")] {
            let inner = shape(&nets[0][i][key]);
            // A bias `[O]` is stored as `[1, O]`.
            let shape = [&[nets.len()], &vec![1; 2 - inner.len()][..], &inner].concat();
            let values = nets.iter().flat_map(|net| floats(&net[i][key])).collect();
            state.put(&format!("{name}.{i}"), Array::new(shape, Data::F32(values)));
        }
    }
    state
}

/// Compares row-major numbers. They may differ by [`ABSOLUTE`] plus [`RELATIVE`] times the expected number.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &Value) {
    let want = numbers(want);
    assert_eq!(got.len(), want.len(), "{what}: numbers");
    for (i, (&got, &want)) in got.iter().zip(&want).enumerate() {
        let difference = (f64::from(got) - want).abs();
        assert!(difference <= RELATIVE * want.abs() + ABSOLUTE, "{what}[{i}]: {got}, expected {want}");
    }
}

/// Compares a tensor with the file's numbers by [`assert_close`].
#[track_caller]
pub(crate) fn assert_tensor<const D: usize>(what: &str, got: Tensor<D>, want: &Value) {
    assert_close(what, &tensors::to_vec(got), want);
}
