//! Wrappers: layers around a task. Each saves its own arrays and its inner environment's under `inner.`.
//!
//! * [`family`]: other masses, lengths and gravity, delayed actions, noisy sensors; drawn at every reset.
//! * [`first_entries`]: the observation's first entries alone.
//! * [`distractors`]: observation entries that have nothing to do with the task.
//! * [`time_limit`]: truncates after so many steps.
//! * [`action_repeat`]: an action for several steps of the task.
//! * [`rule`]: says when a task terminates that does not say so itself.
//! * [`order`]: refuses a step where a reset is due.
//! * [`rescale_action`]: the agent's [-1, 1] to the task's own range.

pub mod action_repeat;
pub mod distractors;
pub mod family;
pub mod first_entries;
pub mod order;
pub mod rescale_action;
mod resets;
pub mod rule;
pub mod time_limit;

pub use action_repeat::ActionRepeat;
pub use distractors::Distractors;
pub use family::Family;
pub use first_entries::FirstEntries;
pub use order::EnforceOrder;
pub use rescale_action::RescaleAction;
pub use rule::WithRule;
pub use time_limit::TimeLimit;
