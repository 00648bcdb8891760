//! MuJoCo's tasks, with Gymnasium's ids and numbers. The library and the models are found at run time; the build needs
//! neither.
//!
//! * `search`: the places where the library and the models are searched for.
//! * [`library`]: MuJoCo's C functions, bound at run time.
//! * `handlers`: the handlers of MuJoCo's own errors and warnings.
//! * [`model`], `data`, [`simulation`]: a model and its data as safe Rust.
//! * [`rules`]: the termination rules of the tasks, for imagined states. They need no library.
//! * [`task`]: the parts that the tasks share. A task is a model file and its equations.
//! * [`inverted_pendulum`], [`reacher`], [`swimmer`], [`hopper`], [`walker2d`], [`half_cheetah`]: the tasks. `hopper`
//!   and `walker2d` share `upright`.

mod data;
pub mod half_cheetah;
mod handlers;
pub mod hopper;
pub mod inverted_pendulum;
pub mod library;
pub mod model;
pub mod reacher;
pub mod rules;
mod search;
pub mod simulation;
pub mod swimmer;
pub mod task;
mod upright;
pub mod walker2d;

pub use half_cheetah::HalfCheetah;
pub use hopper::Hopper;
pub use inverted_pendulum::InvertedPendulum;
pub use model::model_file;
pub use reacher::Reacher;
pub use swimmer::Swimmer;
pub use task::MujocoEnvironment;
pub use walker2d::Walker2d;
