//! Environments in Python: the recorded episodes, every kind of failure, restoring saved states, and the processes. The
//! tests need Python with Gymnasium, MuJoCo and dm_control. Without them they print that they are skipped and pass,
//! unless FORESEE_REQUIRE_MUJOCO=1.
#![cfg(unix)]

mod answers;
mod common;
mod faults;
mod processes;
mod repeats;
mod seeds;
mod suite;
mod traces;
