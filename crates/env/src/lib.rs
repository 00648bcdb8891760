//! Environments with Gymnasium's semantics: the same ids, the same resets, the same numbers. No tensor library here.
//!
//! In the order a reader needs it:
//! * [`environment`]: the trait and its rules, the results of a reset and a step.
//! * [`space`]: boxes of observations and actions.
//! * [`tasks`]: environments by id, [`make`], those of a program's own among them, [`Tasks::add`]; the source of a
//!   run's environments, [`EnvFactory`].
//! * [`registry`]: the tasks that are shipped; new ones are one entry there.
//! * [`classic`]: the classic control tasks and kin of them; those with Gymnasium's ids are bit-equal to its own.
//! * [`gym`]: any environment of Python's Gymnasium, and dm_control's suite, in a child process.
//! * [`mujoco`]: the tasks of MuJoCo, whose library is found at run time.
//! * [`wrappers`]: the order of calls, the time limit, held actions and the agent's [-1, 1], each from outside; families
//!   of a task and distracting observations.
//! * [`vector`]: environments side by side.
//! * [`config`]: the keys of `[env]`.
//! * [`error`]: the errors, with their hints.
//! * [`numpy_random`]: numpy's generator, so that a seed means here what it means there.
//! * [`checker`]: the conformance function that every environment must pass, and its report for who writes one.

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
pub mod vector;
pub mod wrappers;

pub use checker::{Check, CheckFailure, Examination, Outcome, check_environment, examine};
pub use config::{EnvConfig, FamilyConfig, GymConfig, MujocoConfig};
pub use environment::{Environment, Info, Physics, Reset, Spec, Step, Work};
pub use error::EnvError;
pub use gym::BridgeError;
pub use registry::{EnvInfo, list};
pub use space::BoxSpace;
pub use tasks::{EnvFactory, Tasks, dress, make, make_unscaled};
pub use vector::{Autoreset, VectorEnvironment, VectorStep};
