//! The fixture files as tensors and agents.

use burn::tensor::{Device, Tensor};
use foresee_core::state::{Array, Data};
use foresee_core::{Batch, State};
use foresee_nn::tensors;
use serde_json::Value;

use crate::agent::Agent;
pub(super) use crate::fixture_files::{count, fixture, floats, list, number, numbers, shape};
use crate::sac::{Sac, SacConfig};

/// The project's relative tolerance for f32 against the f64 of the files. The reference code's own f32 differs from its
/// f64 by up to 1.7e-5 (`meta.f32_self_check_max_rel`).
const RELATIVE: f64 = 1e-4;
const ABSOLUTE: f64 = 1e-5;

/// Returns nested lists `[.., C]` as rows `[B, C]`.
pub(super) fn rows(value: &Value) -> Tensor<2> {
    let columns = *shape(value).last().expect("rows");
    let values = floats(value);
    let count = values.len() / columns;
    tensors::from_vec(values, [count, columns], &Device::flex())
}

/// Returns one of the file's batches.
pub(super) fn batch(value: &Value) -> Batch {
    Batch {
        rows: list(&value["obs"]).len(),
        obs: floats(&value["obs"]),
        action: floats(&value["act"]),
        reward: floats(&value["reward"]),
        next_obs: floats(&value["next_obs"]),
        not_terminated: floats(&value["not_done"]),
    }
}

/// Stacks networks of one shape, each a list of layers with `w` `[I, O]` and `b` `[O]`, into the members of one saved
/// network.
pub(super) fn stacked(nets: &[&Value]) -> State {
    let mut state = State::new();
    for i in 0..list(nets[0]).len() {
        for (name, key) in [("weight", "w"), ("bias", "b")] {
            let of_layer = |net: &&Value| floats(&net[i][key]);
            // A bias `[O]` is stored as `[1, O]`.
            let inner = shape(&nets[0][i][key]);
            let (inputs, outputs) = (if key == "w" { inner[0] } else { 1 }, inner[inner.len() - 1]);
            let values = nets.iter().flat_map(of_layer).collect();
            state.put(&format!("{name}.{i}"), Array::new(vec![nets.len(), inputs, outputs], Data::F32(values)));
        }
    }
    state
}

/// Returns an agent with the networks of a file, before its first update.
pub(super) fn agent(config: &SacConfig, dims: [usize; 2], nets: &Value) -> Sac {
    let mut sac = Sac::new(config, dims, 0, &Device::flex());
    let (mut state, mut fresh) = (State::new(), sac.save());
    state.nest("actor", stacked(&[&nets["actor"]]));
    state.nest("critic", stacked(&[&nets["q1"], &nets["q2"]]));
    state.nest("target", stacked(&[&nets["q1_target"], &nets["q2_target"]]));
    for name in ["temperature", "actor_adam", "critic_adam", "temperature_adam"] {
        state.nest(name, fresh.part(name));
    }
    state.put("updates", sac.updates());
    sac.load(state).expect("weights of the file's shapes");
    sac
}

/// Asserts that row-major numbers differ by at most [`RELATIVE`] of the wanted number plus [`ABSOLUTE`].
#[track_caller]
pub(super) fn assert_close(what: &str, got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}: numbers");
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(got) - want).abs();
        assert!(difference <= RELATIVE * want.abs() + ABSOLUTE, "{what}[{i}]: {got}, expected {want}");
    }
}

/// Applies [`assert_close`] to one number.
#[track_caller]
pub(super) fn assert_number(what: &str, got: f64, want: &Value) {
    assert_close(what, &[got as f32], &[number(want)]);
}

/// Applies [`assert_close`] to a tensor.
#[track_caller]
pub(super) fn assert_tensor<const D: usize>(what: &str, got: Tensor<D>, want: &Value) {
    assert_close(what, &tensors::to_vec(got), &numbers(want));
}

/// Applies [`assert_close`] to all arrays, by name.
#[track_caller]
pub(super) fn assert_state(what: &str, mut got: State, want: &State) {
    for (name, array) in want.iter() {
        let Data::F32(want) = &array.data else { panic!("{what}: `{name}` is not f32") };
        let (shape, got) = got.f32s(name).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(shape, array.shape, "{what}: {name}");
        let want: Vec<f64> = want.iter().map(|&x| f64::from(x)).collect();
        assert_close(&format!("{what}: {name}"), &got, &want);
    }
    got.finish().unwrap_or_else(|error| panic!("{what}: {error}"));
}
