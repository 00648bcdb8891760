//! Comparisons of runs, with intervals over seeds.
//!
//! [`read()`] finds runs in folders and files, [`compare()`] groups them and computes the statistics, and a [`Report`]
//! is printed as a table ([`Report::terminal`]), a page ([`Report::html`]), or numbers ([`Report::json`],
//! [`Report::csv`]).
//!
//! The modules in reading order:
//! * [`run`]: a run, its evaluations and its config.
//! * [`read`](mod@read): run folders, result files and files of other tools.
//! * `group`: runs with equal configs, and short names for the groups.
//! * [`stats`]: interquartile mean, bootstrap intervals, probability of improvement, performance profiles.
//! * `curve`: learning curves, and the steps that a run needs to reach a return.
//! * [`report`]: the numbers of a report; `compare` computes them, `summary` states in words what they show.
//! * `terminal`, `page`, `columns`: the forms of output.

pub mod read;
pub mod report;
pub mod run;
pub mod stats;

mod columns;
mod compare;
mod curve;
mod error;
mod group;
mod number;
mod page;
mod summary;
mod terminal;

pub use compare::compare;
pub use error::ReportError;
pub use read::{Input, read};
pub use report::{Options, Report};
pub use run::{Point, Run, Runs};
