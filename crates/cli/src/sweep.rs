//! Sweeps: several configs, cases, values and seeds, each combination of which is a run.
//!
//! * [`plan`]: the choices, from a sweep file and from the command line.
//! * [`members`]: the runs of a plan, with their names and overrides.
//! * [`folder`]: the folder of a sweep, its lock and `sweep.json`.
//! * [`runner`]: the processes that train the runs.
//! * [`reason`]: the reason of a failed run, from its log.
//!
//! ```text
//! sweeps/<name>/
//!   sweep.json            the runs with their configs and overrides
//!   mle/seed-0/           the folder of a run
//!   mle/seed-0.log        what this run printed
//! ```

pub(crate) mod folder;
pub(crate) mod members;
pub(crate) mod plan;
pub(crate) mod reason;
pub(crate) mod runner;
