//! Environments in Python: the recorded episodes, everything that can go wrong, going on from a saved state, and the
//! processes. They need Python with Gymnasium, MuJoCo and dm_control; where it is not there they say so and pass, unless
//! FORESEE_REQUIRE_MUJOCO=1.
#![cfg(unix)]

mod answers;
mod common;
mod faults;
mod processes;
mod repeats;
mod seeds;
mod suite;
mod traces;
