//! All tests that run on a GPU, in one program, for a machine that has a GPU and no compiler (`benches/gpu`).
//!
//! The tests belong to their crates, and are compiled from there. Tests that start the program `foresee`, or read files
//! of the repository, are left out. A test that counts launches counts those of the whole process. Therefore the tests
//! of modules whose names end in `_launches` each need their own process.

#![cfg(feature = "wgpu")]
#![allow(clippy::duplicate_mod, reason = "tests of a crate share their helpers")]

#[path = "../../crates/actor-critic/tests/device_update.rs"]
mod actor_critic_device_update;
#[path = "../../crates/actor-critic/tests/launches.rs"]
mod actor_critic_launches;
#[path = "../../crates/actor-critic/tests/on_wgpu.rs"]
mod actor_critic_on_wgpu;
#[path = "../../crates/dyna/tests/double_horizon.rs"]
mod dyna_double_horizon;
#[path = "../../crates/dyna/tests/launches.rs"]
mod dyna_launches;
#[path = "../../crates/dyna/tests/on_wgpu.rs"]
mod dyna_on_wgpu;
#[path = "../../crates/dyna/tests/rollout_kernel.rs"]
mod dyna_rollout_kernel;
#[path = "../../crates/nn/tests/cube.rs"]
mod nn_cube;
#[path = "../../crates/nn/tests/failures.rs"]
mod nn_failures;
#[path = "../../crates/nn/tests/launches.rs"]
mod nn_launches;
#[path = "../../crates/world-model/tests/on_wgpu.rs"]
mod world_model_on_wgpu;

// The tests inside `foresee_nn` refer to that crate as `crate`.

/// The module that the tests inside `foresee_nn` call `crate::cube`.
mod cube {
    pub(crate) use foresee_nn::cube::{CubeTensor, tensor};
}

use foresee_nn::{device, tensors};

#[allow(dead_code, unreachable_pub, reason = "a module of `foresee_nn`, for its tests alone")]
#[path = "../../crates/nn/src/cube/math.rs"]
mod math;
#[allow(dead_code, unreachable_pub, reason = "a module of `foresee_nn`, for its tests alone")]
#[path = "../../crates/nn/src/cube/random.rs"]
mod random;
#[allow(dead_code, unreachable_pub, reason = "a module of `foresee_nn`, for its tests alone")]
#[path = "../../crates/nn/src/cube/step_table.rs"]
mod step_table;
