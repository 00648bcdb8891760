//! Environments in Python: the recorded episodes, everything that can go wrong, going on from a saved state, and the
//! processes. They need Python with Gymnasium and MuJoCo; where it is not there they say so and pass, unless
//! FORESEE_REQUIRE_MUJOCO=1.
#![cfg(unix)]

mod answers;
mod common;
mod faults;
mod processes;
mod repeats;
mod traces;
