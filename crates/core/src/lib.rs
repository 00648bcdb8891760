//! The vocabulary that all other crates share. This crate uses plain numbers and no tensor library, so that
//! environments, kernels and checkpoints can all use its types.
//!
//! The modules, in reading order:
//! * [`stream`]: named, counter-based random streams; the only source of randomness in the project.
//! * [`normal`]: standard normals from bits, by one documented polynomial.
//! * [`transition`]: the record of one environment step, and batches of such records.
//! * [`termination`]: termination rules as data, for real and imagined states alike.
//! * [`state`]: saved state as named arrays; checkpoints consist of these.
//! * [`kinds`]: open choices of a config, such as a loss that is selected by name and has its own keys.
//! * [`metric`]: the meaning of the numbers that a run records, and names of those with one value per part.
//! * [`explain`]: messages that tell the author of a config why it cannot be read.
//! * [`literal`]: values in text form, and what a text that is not valid TOML most likely means.
//! * [`limits`]: bounds that the config keys of several crates share.
//! * [`reference`](mod@reference): the meaning, values and default of each config key, read off the struct that it
//!   belongs to.
//! * [`shell`]: paths in commands that a user pastes into a shell.

pub mod explain;
pub mod kinds;
pub mod limits;
pub mod literal;
pub mod metric;
pub mod normal;
pub mod reference;
pub mod shell;
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
