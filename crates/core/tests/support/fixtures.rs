//! The fixture files as numbers, for the tests of several crates.
//!
//! The files are in the folder `FORESEE_FIXTURES`, by default `assets/fixtures`, whose README describes how they were
//! made. Every shape and constant is read from the files.

use std::path::PathBuf;

use serde_json::Value;

/// Reads one fixture file.
pub(crate) fn fixture(name: &str) -> Value {
    let folder = std::env::var_os("FORESEE_FIXTURES")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/fixtures")), PathBuf::from);
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}\nhint: point FORESEE_FIXTURES at the files", path.display()));
    serde_json::from_str(&text).expect("a JSON file")
}

/// Returns the entries of a list.
#[track_caller]
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("a list expected, got {value}"))
}

/// Returns a number.
#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number expected, got {value}"))
}

/// Returns a count.
#[track_caller]
pub(crate) fn count(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("a count expected, got {value}")) as usize
}

/// Returns the shape of nested lists.
pub(crate) fn shape(value: &Value) -> Vec<usize> {
    match value.as_array() {
        Some(items) => [items.len()].into_iter().chain(items.first().map(shape).unwrap_or_default()).collect(),
        None => vec![],
    }
}

/// Returns the numbers of nested lists in row-major order.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(items) => items.iter().flat_map(numbers).collect(),
        None => vec![number(value)],
    }
}

/// Returns the numbers of nested lists as f32.
pub(crate) fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}
