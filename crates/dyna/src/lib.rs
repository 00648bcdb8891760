//! The Dyna loop: act in the task, fit a world model, imagine transitions in it, and train the agent on real and
//! imagined ones.
//!
//! In the order a reader needs it:
//! * [`config`]: the whole configuration of a run, and the check of its keys.
//! * [`setup`]: the parts that a configuration can choose, and the chosen ones.
//! * [`memory`]: the memory of the buffers at their largest, and of the machine.
//! * [`schedule`]: numbers that change with the real steps.
//! * [`replay`]: real and imagined transitions, and batches mixed from both.
//! * [`rollout`]: imagined steps from real states.
//! * [`ends`]: the ends of imagined episodes, by a known rule or by a learned classifier.
//! * [`control`]: controllers, which turn observations into actions: the agent's actor, or a controller of another
//!   crate.
//! * [`evaluate`]: the return of a controller in evaluation episodes.
//! * [`run`]: the loop, slice by slice, and its saved state.
//! * [`metrics`] and [`record`]: the names and the rows of the reported numbers.
//! * [`checkpoint`]: saved states on disk.

pub mod checkpoint;
pub mod config;
pub mod control;
pub mod ends;
pub mod evaluate;
pub mod memory;
pub mod metrics;
pub mod record;
pub mod replay;
pub mod rollout;
pub mod run;
pub mod schedule;
pub mod setup;

pub use config::{Algo, Config};
pub use control::{ActorController, Controller, ControllerFactory, Knowledge, Mode, Observed};
pub use ends::EndRule;
pub use evaluate::Evaluation;
pub use record::Record;
pub use run::{Run, RunError, RunState};
pub use setup::{Parts, Problem, Setup};
