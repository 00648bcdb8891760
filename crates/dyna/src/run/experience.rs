//! Sources of the real transitions of a run.
//!
//! [`Live`](super::live::Live) environments are one source. A data set is another: its turns add no transitions, and
//! its clock counts updates.

use foresee_core::State;
use foresee_env::{EnvError, Spec};

use super::RunError;
use super::terminations::Ends;
use crate::control::{Controller, Knowledge};
use crate::replay::RealBuffer;

/// The inputs of one turn of the loop.
pub(super) struct Turn<'a> {
    /// The controller that acts.
    pub(super) controller: &'a mut dyn Controller,
    /// The networks and settings that the controller may use.
    pub(super) knowledge: Knowledge<'a>,
    /// Time on the run's clock: the number of real steps, or of updates if no environment is stepped.
    pub(super) now: u64,
    /// Whether actions are uniform, because nothing has been learned yet.
    pub(super) exploring: bool,
    /// Whether terminations are compared with the rule for imagined ones.
    pub(super) check_terminations: bool,
    /// The buffer for the transitions.
    pub(super) real: &'a mut RealBuffer,
}

/// The result of a turn.
#[derive(Debug, Default)]
pub(super) struct TurnOutcome {
    /// Undiscounted return and length of every episode that ended.
    pub(super) ended: Vec<(f64, u64)>,
    /// Ends of the task and of the rule for imagined transitions, if the two are compared.
    pub(super) ends: Ends,
    /// The error of a termination without a rule for imagined ones. The turn is complete, and its transitions are in the
    /// buffer.
    pub(super) missing_rule: Option<RunError>,
}

/// A source of real transitions.
pub(super) trait Experience: Send {
    /// The task's spec.
    fn spec(&self) -> &Spec;

    /// Number of ticks that a turn advances the clock by.
    fn ticks(&self) -> u64;

    /// Takes a turn, and adds its transitions to the replay buffer.
    ///
    /// After an error the buffer is as before. The source can still be saved; episodes that the error cut begin anew
    /// when it is restored.
    fn turn(&mut self, turn: Turn<'_>) -> Result<TurnOutcome, RunError>;

    /// Adds the source's state to a run's state.
    fn save(&self, state: &mut State);

    /// Restores the source from a run's state, at time `now` of the clock.
    fn restore(&mut self, state: &mut State, now: u64, seed: u64, real: &mut RealBuffer) -> Result<(), RunError>;

    /// Returns the seed and the first observation `[O]` of the first environment, before its first step.
    fn first_reset(&self) -> Option<(u64, &[f32])> {
        None
    }

    /// Errors of environments that could not be restored when the run was resumed, and began a new episode instead.
    fn lost(&self) -> &[EnvError] {
        &[]
    }

    /// The indices of the environments in [`Experience::lost`].
    fn restarted(&self) -> &[usize] {
        &[]
    }
}
