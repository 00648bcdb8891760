//! Tests of SAC against recorded numbers, and of its forms against each other.

#[path = "../../../tests/random/mod.rs"]
mod random;

mod critics;
mod files;
mod fixtures;
mod forms;
mod redq;
