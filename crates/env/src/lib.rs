//! Environments with Gymnasium's semantics: the same ids, the same resets, the same numbers. No tensor library here.
//!
//! In the order a reader needs it:
//! * [`environment`]: the trait, what a reset and a step give, and what can go wrong.
//! * [`space`]: boxes of observations and actions.
//! * [`registry`]: environments by id, [`make`]; new tasks are one entry there.
//! * [`classic`]: the classic control tasks and kin of them; those with Gymnasium's ids are bit-equal to its own.
//! * [`gym`]: any environment of Python's Gymnasium, in a child process.
//! * [`mujoco`]: the tasks of MuJoCo, whose library is found at run time.
//! * [`wrappers`]: the order of calls, the time limit and the agent's [-1, 1] actions, each from outside; families of a
//!   task and distracting observations.
//! * [`vector`]: environments side by side.
//! * [`config`]: the keys of `[env]`, and the environment that they describe.
//! * [`numpy_random`]: numpy's generator, so that a seed means here what it means there.
//! * [`checker`]: the conformance function that every environment must pass, and its report for who writes one.

pub mod checker;
pub mod classic;
pub mod config;
pub mod environment;
pub mod gym;
pub mod mujoco;
pub mod numpy_random;
pub mod registry;
pub mod space;
pub mod vector;
pub mod wrappers;

pub use checker::{Check, CheckFailure, Examination, Outcome, check_environment, examine};
pub use config::{EnvConfig, FamilyConfig, GymConfig, MujocoConfig};
pub use environment::{EnvError, Environment, Info, Physics, Reset, Spec, Step, Work};
pub use gym::BridgeError;
pub use registry::{EnvInfo, list, make, make_unscaled};
pub use space::BoxSpace;
pub use vector::{Autoreset, VectorEnvironment, VectorStep};
