//! The Dyna loop: act, learn a model, imagine in it, learn from both.
//!
//! In the order a reader needs it:
//! * [`config`]: the whole configuration of a run, and the check of its keys.
//! * [`setup`]: the parts that a configuration chooses among, and those that it chose.
//! * [`schedule`]: numbers that change with the real steps.
//! * [`replay`]: real and imagined transitions, and batches mixed of both.
//! * [`rollout`]: imagined steps from real states.
//! * [`control`]: who acts: the agent's actor, or a controller of one's own.
//! * [`evaluate`]: what a controller is worth.
//! * [`run`]: the loop, slice by slice, and its saved state.
//! * [`metrics`] and [`record`]: what the loop reports, by name.
//! * [`checkpoint`]: saved states on disk.

pub mod checkpoint;
pub mod config;
pub mod control;
pub mod evaluate;
pub mod metrics;
pub mod record;
pub mod replay;
pub mod rollout;
pub mod run;
pub mod schedule;
pub mod setup;

pub use config::{Algo, Config};
pub use control::{ActorController, Controller, ControllerFactory, Knowledge, Mode, Observed};
pub use evaluate::Evaluation;
pub use record::Record;
pub use run::{Run, RunError, RunState};
pub use setup::{Parts, Problem, Setup};
