//! Wrappers: layers around a task. Each wrapper saves its own arrays, and those of its inner environment under
//! `inner.`. A wrapper without state of its own may save the inner arrays alone.
//!
//! * [`family`]: other masses, lengths and gravity, delayed actions and noisy sensors, drawn at every reset.
//! * [`first_entries`]: only the first entries of the observation.
//! * [`distractors`]: additional observation entries that have nothing to do with the task.
//! * [`time_limit`]: truncation after a number of steps.
//! * [`action_repeat`]: one action for several steps of the task.
//! * [`rule`]: a termination rule for a task whose spec has none.
//! * [`order`]: an error for a step where a reset is needed.
//! * [`rescale_action`]: the map from the agent's [-1, 1] to the task's own action range.

pub mod action_repeat;
pub mod distractors;
pub mod family;
pub mod first_entries;
pub mod order;
pub mod rescale_action;
mod resets;
pub mod rule;
pub mod time_limit;

use foresee_core::State;

use crate::environment::Environment;
use crate::error::EnvError;
pub use action_repeat::ActionRepeat;
pub use distractors::Distractors;
pub use family::Family;
pub use first_entries::FirstEntries;
pub use order::EnforceOrder;
pub use rescale_action::RescaleAction;
pub use rule::WithRule;
pub use time_limit::TimeLimit;

/// Returns the state of a wrapper without arrays of its own: only `inner.*`.
fn save_inner(inner: &dyn Environment) -> State {
    let mut state = State::new();
    state.nest("inner", inner.save());
    state
}

/// Restores the state of a wrapper without arrays of its own.
fn restore_inner(inner: &mut dyn Environment, mut state: State) -> Result<(), EnvError> {
    let of_inner = state.part("inner");
    state.finish().map_err(EnvError::bad_state(&inner.spec().id))?;
    inner.restore(of_inner)
}
