//! Environments with Gymnasium's semantics. Environments with Gymnasium's ids have the resets and the numbers of
//! Gymnasium's. This crate uses no tensor library.
//!
//! Modules, in reading order:
//! * [`environment`]: the [`Environment`] trait and its rules; the results of a reset and of a step.
//! * [`space`]: boxes of observations and actions.
//! * [`tasks`]: environments by id ([`make`]), with the tasks that a program adds ([`Tasks::add`]); the source of a
//!   run's environments ([`EnvFactory`]).
//! * [`registry`]: the shipped tasks. A new task is one entry there.
//! * [`classic`]: classic control tasks and variants of them. Those with Gymnasium's ids are bit-equal to Gymnasium's.
//! * [`gym`]: any environment of Python's Gymnasium and any task of dm_control's suite, in a child process.
//! * [`mujoco`]: the tasks of MuJoCo, whose library is loaded at run time.
//! * [`wrappers`]: layers around a task: order of calls, time limit, action repeat, actions in [-1, 1], families of a
//!   task, distracting observation entries, and others.
//! * [`vector`]: several environments that are stepped together.
//! * [`config`]: the keys of `[env]`.
//! * [`error`]: the errors, with their hints.
//! * [`numpy_random`]: numpy's generator, so that a seed gives the same draws as in Gymnasium.
//! * [`checker`]: the conformance check that every environment must pass, and a report for authors of environments.
//! * [`test_support`]: helpers for tests that need MuJoCo.

pub mod checker;
pub mod classic;
pub mod config;
pub mod environment;
pub mod error;
pub mod gym;
pub mod mujoco;
pub mod numpy_random;
pub mod registry;
pub mod space;
pub mod tasks;
pub mod test_support;
pub mod vector;
pub mod wrappers;

pub use checker::{Check, CheckFailure, CheckOutcome, CheckReport, check_environment, check_report, check_report_of};
pub use config::{EnvConfig, FamilyConfig, GymConfig, MujocoConfig};
pub use environment::{Environment, Info, Physics, Reset, Spec, Step, Work};
pub use error::{BridgeError, EnvError};
pub use registry::{EnvInfo, list};
pub use space::BoxSpace;
pub use tasks::{EnvFactory, Tasks, make, make_unscaled, wrap_task};
pub use vector::{Autoreset, VectorEnvironment, VectorStep};
