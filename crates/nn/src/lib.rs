//! The compute primitive of every network here: `E` independent multilayer perceptrons at once.
//!
//! In the order a reader needs it:
//! * [`device`]: which backend a run's tensors live on, from a word in the config.
//! * [`tensors`]: host numbers to tensors and back.
//! * [`init`]: initial weights, drawn on the host from a named stream.
//! * [`cpu`]: the lower floor: the primitive on plain slices.
//! * `cube`: the lower floor on a GPU, in kernels (feature `wgpu`).
//! * [`mlp`]: the primitive, `[E, B, I] -> [E, B, O]`, on tensors.
//! * [`extension`]: the lower floor as one operation of Burn's, known to its autodiff.
//! * [`host`]: tensors lent as plain numbers.
//! * [`parameters`]: what has parameters, their gradients, averages and saved form.
//! * [`adam`]: one optimiser step.
//! * [`value_view`]: what a value-aware model loss may ask of an agent.
//! * [`dynamics`]: what an agent may ask of a world model.
//!
//! Parameters are plain tensors outside autodiff. A gradient is taken on a tracked copy that lives for one loss
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
