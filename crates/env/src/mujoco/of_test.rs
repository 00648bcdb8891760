//! What a test needs that needs MuJoCo. It skips where there is none, and says so.

use super::{Hopper, Mujoco};
use crate::config::MujocoConfig;
use crate::environment::Environment as _;
use crate::error::EnvError;
use crate::registry::{EnvInfo, list};
use crate::tasks::make;

/// What the recorded trajectories of `assets/env_traces` come from: another version gives others.
pub const VERSION: &str = "3.17.0";

/// Whether the test of this name can run here.
///
/// # Panics
/// If it cannot and `FORESEE_REQUIRE_MUJOCO=1`.
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
    // Past the test harness, which keeps what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
    false
}

/// The environments of the list that the test of this name can build here: all, but for MuJoCo's where there is none.
///
/// # Panics
/// As [`mujoco_of_test`].
pub fn environments_of_test(test: &str) -> impl Iterator<Item = &'static EnvInfo> {
    let there = mujoco_of_test(&format!("{test}, of MuJoCo's tasks"));
    list().iter().filter(move |info| there || !matches!(make(info.id), Err(EnvError::Mujoco(_))))
}
