//! The compute primitive of every network in this project: `E` independent multilayer perceptrons evaluated together.
//!
//! The modules, in reading order:
//! * [`device`]: the backend that a run's tensors use, selected by a word in the config.
//! * [`tensors`]: conversion between host numbers and tensors.
//! * [`init`]: initial weights, drawn on the host from a named stream.
//! * [`cpu`]: the lower level on the CPU: the primitive on plain slices.
//! * `cube`: the lower level on a GPU: the primitive in kernels (feature `wgpu`).
//! * [`mlp`]: the primitive on tensors, `[E, B, I] -> [E, B, O]`.
//! * [`extension`]: the lower level as one operation of Burn, with a backward pass for its autodiff.
//! * [`host`]: access to tensors in host memory as plain numbers.
//! * [`parameters`]: structures with parameters: their gradients, averages and saved form.
//! * [`adam`]: one optimiser step.
//! * [`value_view`]: the values that a value-aware model loss may query from an agent.
//! * [`dynamics`]: the imagined steps that an agent may request from a world model.
//!
//! Parameters are plain tensors outside autodiff. A gradient is computed on a tracked copy that exists for one loss
//! (`docs/decisions/0004-parameters-are-plain-tensors.md`), so no forward pass can leave a graph behind by accident.

pub mod adam;
pub mod cpu;
#[cfg(feature = "wgpu")]
pub mod cube;
pub mod device;
pub mod dynamics;
pub mod extension;
pub mod host;
pub mod init;
pub mod mlp;
pub mod parameters;
pub mod tensors;
pub mod value_view;

pub use adam::{Adam, AdamConfig, Decay};
pub use cpu::{Activation, Shape};
pub use dynamics::{Dynamics, ImaginedStep, PanelDynamics, PanelStep, StepDraws};
pub use init::Init;
pub use mlp::Mlp;
pub use parameters::Parameters;
pub use value_view::{NoValues, ValueHeads, ValueView};
