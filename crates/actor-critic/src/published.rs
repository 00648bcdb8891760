//! The fixture `agents.json`: numbers recorded from the published codes, and their networks.

use foresee_core::State;
use foresee_core::state::{Array, Data};
use serde_json::Value;

/// Returns the entries of the file.
pub(crate) fn entries() -> Value {
    crate::fixture_files::fixture("agents.json")["entries"].take()
}

/// Returns the row-major numbers of a tensor in the file, of a plain list, or of one number.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value.get("data").unwrap_or(value).as_array() {
        Some(data) => data.iter().map(|x| x.as_f64().expect("a number")).collect(),
        None => vec![value.as_f64().expect("a number")],
    }
}

/// Returns [`numbers`] in f32.
pub(crate) fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}

/// Stacks networks, each a list of layers with `W` `[I, O]` and `b` `[O]`, into the members of one. Inputs of the first
/// layer beyond the first `inputs` are actions; their weights are multiplied by `factor`.
pub(crate) fn stacked(nets: &[&[Value]], inputs: usize, factor: f32) -> State {
    let mut state = State::new();
    for l in 0..nets[0].len() {
        let of = |key: &str| -> Vec<f32> { nets.iter().flat_map(|net| floats(&net[l][key])).collect() };
        let (mut weight, bias) = (of("W"), of("b"));
        let outputs = bias.len() / nets.len();
        let rows = weight.len() / nets.len() / outputs;
        if l == 0 {
            let of_action = |(i, _): &(usize, &mut f32)| i / outputs % rows >= inputs;
            weight.iter_mut().enumerate().filter(of_action).for_each(|(_, w)| *w *= factor);
        }
        state.put(&format!("weight.{l}"), Array::new(vec![nets.len(), rows, outputs], Data::F32(weight)));
        state.put(&format!("bias.{l}"), Array::new(vec![nets.len(), 1, outputs], Data::F32(bias)));
    }
    state
}

/// Asserts that two arrays differ by at most `tolerance` times the largest absolute number in `want`.
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len(), "{what}: numbers");
    let largest = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * largest, "{what}[{i}]: {got}, expected {want}");
    }
}

/// Returns the numbers of the array at `path`.
#[track_caller]
pub(crate) fn part(state: &State, path: &str) -> Vec<f32> {
    state.clone().f32s(path).expect("a part").1
}

/// Asserts that critics after their first step of Adam agree with the file's.
///
/// The file's actions may be wider than ours by the factor that [`stacked`] was given. The step of an action's weight
/// is nevertheless equal in both, because Adam's first step does not depend on the size of the gradient.
#[track_caller]
pub(crate) fn assert_stepped(what: &str, now: &State, before_step: &State, file: [&[&[Value]]; 2], inputs: usize) {
    let [want, want_before_step] = file.map(|nets| stacked(nets, inputs, 1.0));
    for (name, array) in want.iter() {
        let (path, outputs) = (format!("{what}{name}"), array.shape[2]);
        let all = [part(now, &path), part(before_step, &path), part(&want, name), part(&want_before_step, name)];
        // Separates the rows of the first layer's weight that belong to actions from all other numbers.
        let of_action = |i: usize| name == "weight.0" && i / outputs % array.shape[1] >= inputs;
        let [now, before_step, want, want_before_step] = &all;
        let pick = |from: &[f32], actions: bool| -> Vec<f32> {
            from.iter().enumerate().filter(|(i, _)| of_action(*i) == actions).map(|(_, x)| *x).collect()
        };
        assert_close(&path, &pick(now, false), &pick(want, false), 1e-5);
        let steps = |new: &[f32], old: &[f32]| -> Vec<f32> {
            pick(new, true).iter().zip(pick(old, true)).map(|(new, old)| new - old).collect()
        };
        // Looser, because steps of 3e-4 are differences of weights near 1, which are rounded to f32.
        assert_close(&format!("{path}: steps"), &steps(now, before_step), &steps(want, want_before_step), 2e-3);
    }
}
