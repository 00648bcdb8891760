//! Wrappers: what is laid around a task from outside. Each saves its own arrays and its inner environment's under
//! `inner.`.
//!
//! * [`time_limit`]: truncates after so many steps.
//! * [`order`]: refuses a step where a reset is due.
//! * [`rescale_action`]: the agent's [-1, 1] to the task's own range.

pub mod order;
pub mod rescale_action;
pub mod time_limit;

pub use order::EnforceOrder;
pub use rescale_action::RescaleAction;
pub use time_limit::TimeLimit;
