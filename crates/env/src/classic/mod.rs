//! The classic control tasks, as Gymnasium computes them to the last bit.
//!
//! * [`pendulum`]: `Pendulum-v1`, swing a rod up and hold it there.

pub mod pendulum;

pub use pendulum::Pendulum;
