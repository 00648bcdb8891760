//! Helpers for tests that need MuJoCo. Where MuJoCo is missing, such a test is skipped with a message.

use super::{Hopper, Mujoco};
use crate::config::MujocoConfig;
use crate::environment::Environment as _;
use crate::error::EnvError;
use crate::registry::{EnvInfo, list};
use crate::tasks::make;

/// The version of MuJoCo that recorded the trajectories of `assets/env_traces`. Another version gives other numbers.
pub const VERSION: &str = "3.17.0";

/// Whether the test of this name can run here.
///
/// # Panics
/// If it cannot run and `FORESEE_REQUIRE_MUJOCO=1`.
#[must_use]
pub fn mujoco_of_test(test: &str) -> bool {
    use std::io::Write as _;
    let why = match Mujoco::<Hopper>::new(&MujocoConfig::default()) {
        Ok(env) if env.spec().versions["mujoco"] == VERSION => return true,
        Ok(env) => format!("MuJoCo {} is not {VERSION}", env.spec().versions["mujoco"]),
        Err(error) => error.to_string().lines().next().unwrap_or_default().into(),
    };
    let required = std::env::var_os("FORESEE_REQUIRE_MUJOCO").is_some_and(|value| value == "1");
    assert!(!required, "{test} needs MuJoCo, and FORESEE_REQUIRE_MUJOCO=1: {why}");
    // Written to stderr directly, because the test harness hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
    false
}

/// Returns the environments of the list that the test of this name can build here: all of them, or all but MuJoCo's
/// where MuJoCo is missing.
///
/// # Panics
/// As [`mujoco_of_test`].
pub fn environments_of_test(test: &str) -> impl Iterator<Item = &'static EnvInfo> {
    let there = mujoco_of_test(&format!("{test}, of MuJoCo's tasks"));
    list().iter().filter(move |info| there || !matches!(make(info.id), Err(EnvError::Mujoco(_))))
}
