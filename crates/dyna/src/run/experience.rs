//! Where the real transitions of a run come from.
//!
//! [`Live`](super::live::Live) environments are the first source. A data set is another: its turn brings nothing, and its
//! clock counts updates.

use foresee_core::State;
use foresee_env::{EnvError, Spec};

use super::RunError;
use crate::control::{Controller, Knowledge};
use crate::replay::RealBuffer;

/// One turn of the loop.
pub(super) struct Turn<'a> {
    /// Who acts, and with what.
    pub(super) controller: &'a mut dyn Controller,
    pub(super) knowledge: Knowledge<'a>,
    /// Ticks of the clock so far.
    pub(super) now: u64,
    /// Whether actions are uniform, because nothing has been learned yet.
    pub(super) exploring: bool,
    /// Whether ends of episodes are held against the rule for imagined ones.
    pub(super) watch_ends: bool,
    /// Where transitions go.
    pub(super) real: &'a mut RealBuffer,
}

/// The outcome of a turn.
#[derive(Debug, Default)]
pub(super) struct Turned {
    /// Undiscounted return and length of every episode that ended.
    pub(super) ended: Vec<(f64, u64)>,
    /// Real transitions that ended, or not, against the rule for imagined ones.
    pub(super) mismatches: u64,
}

/// A source of real transitions.
pub(super) trait Experience: Send {
    /// The task.
    fn spec(&self) -> &Spec;

    /// How far a turn moves the clock.
    fn ticks(&self) -> u64;

    /// Brings a turn's transitions into the replay.
    fn turn(&mut self, turn: Turn<'_>) -> Result<Turned, RunError>;

    /// Adds what it needs to go on to a run's state.
    fn save(&self, state: &mut State);

    /// Takes it out of a run's state again, at this time of the clock.
    fn restore(&mut self, state: &mut State, now: u64, seed: u64, real: &mut RealBuffer) -> Result<(), RunError>;

    /// What could not be brought back when the run was resumed, and began anew.
    fn lost(&self) -> &[EnvError] {
        &[]
    }

    /// The lanes in which episodes began anew then.
    fn begun_anew(&self) -> &[usize] {
        &[]
    }
}
