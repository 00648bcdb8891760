//! The vocabulary that every other crate shares. No tensor library here: plain numbers, so that environments,
//! kernels and checkpoints can all speak it.
//!
//! In the order a reader needs it:
//! * [`stream`]: named, counter-based random streams; the only source of randomness in the project.
//! * [`normal`]: standard normals from bits, by one stated polynomial.
//! * [`transition`]: what an environment step leaves behind, one or a batch.
//! * [`termination`]: termination rules as data, for real and imagined states alike.
//! * [`state`]: saved state as named arrays; what a checkpoint is made of.
//! * [`kinds`]: open choices of a config, such as a loss by its name, with its own keys.
//! * [`names`]: names of numbers that come one a channel or one a step.
//! * [`explain`]: why a config cannot be read, in the words of its writer.

pub mod explain;
pub mod kinds;
pub mod names;
pub mod normal;
pub mod state;
pub mod stream;
pub mod termination;
pub mod transition;

pub use explain::Explained;
pub use kinds::{Kind, Kinds};
pub use state::{Array, State, StateError};
pub use stream::{Draws, Stream};
pub use termination::Termination;
pub use transition::{Batch, Transition};
