//! Helpers for tests that need MuJoCo, for all crates of the workspace. Where MuJoCo is missing, such a test is skipped
//! with a message.

use crate::config::MujocoConfig;
use crate::environment::Environment as _;
use crate::error::EnvError;
use crate::mujoco::{Hopper, MujocoEnvironment};
use crate::registry::{EnvInfo, list};
use crate::tasks::make;

/// The version of MuJoCo that recorded the trajectories of `assets/env_traces`. Another version gives other numbers.
pub const MUJOCO_VERSION: &str = "3.17.0";

/// Whether the test of this name can run here.
///
/// # Panics
/// If it cannot run and `FORESEE_REQUIRE_MUJOCO=1`.
#[must_use]
pub fn mujoco_available(test: &str) -> bool {
    use std::io::Write as _;
    let reason = match MujocoEnvironment::<Hopper>::new(&MujocoConfig::default()) {
        Ok(env) if env.spec().versions["mujoco"] == MUJOCO_VERSION => return true,
        Ok(env) => format!("MuJoCo {} is not {MUJOCO_VERSION}", env.spec().versions["mujoco"]),
        Err(error) => error.to_string().lines().next().unwrap_or_default().into(),
    };
    let required = std::env::var_os("FORESEE_REQUIRE_MUJOCO").is_some_and(|value| value == "1");
    assert!(!required, "{test} needs MuJoCo, and FORESEE_REQUIRE_MUJOCO=1: {reason}");
    // Written to stderr directly, because the test harness hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {reason}");
    false
}

/// Returns the environments of the list that the test of this name can build here: all of them, or all but MuJoCo's
/// where MuJoCo is missing.
///
/// # Panics
/// As [`mujoco_available`].
pub fn available_environments(test: &str) -> impl Iterator<Item = &'static EnvInfo> {
    let mujoco = mujoco_available(&format!("{test}, of MuJoCo's tasks"));
    list().iter().filter(move |info| mujoco || !matches!(make(info.id), Err(EnvError::Mujoco(_))))
}
