//! Real transitions, all of them, in the order in which they happened.

use foresee_core::state::{Array, Data};
use foresee_core::{Batch, State, StateError, Transition};

/// An append-only buffer: its saved arrays grow at their ends alone, so that a checkpoint stores only what is new.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RealBuffer {
    rows: Batch,
    /// 1 where a time limit cut the episode, `[rows]`.
    truncated: Vec<u8>,
}

impl RealBuffer {
    /// Appends a transition.
    pub fn push(&mut self, t: &Transition) {
        self.rows.push(&t.obs, &t.action, t.reward, &t.next_obs, t.terminated);
        self.truncated.push(u8::from(t.truncated));
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> &Batch {
        &self.rows
    }

    /// As arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = save_rows(&self.rows);
        state.put("truncated", self.truncated.clone());
        state
    }

    /// From arrays.
    ///
    /// # Errors
    /// If an array is missing or left over.
    pub fn restore(mut state: State) -> Result<Self, StateError> {
        let truncated = state.u8s("truncated")?.1;
        Ok(Self { rows: restore_rows(state)?, truncated })
    }
}

/// Rows as arrays `[rows, width]`.
pub(super) fn save_rows(rows: &Batch) -> State {
    let mut state = State::new();
    let n = rows.rows;
    let fields = [
        ("obs", &rows.obs),
        ("action", &rows.action),
        ("reward", &rows.reward),
        ("next_obs", &rows.next_obs),
        ("not_terminated", &rows.not_terminated),
    ];
    for (name, values) in fields {
        let width = values.len().checked_div(n).unwrap_or(0);
        state.put(name, Array::new(vec![n, width], Data::F32(values.clone())));
    }
    state
}

/// Rows from arrays.
pub(super) fn restore_rows(mut state: State) -> Result<Batch, StateError> {
    let (shape, obs) = state.f32s("obs")?;
    let rows = Batch {
        rows: shape.first().copied().unwrap_or(0),
        obs,
        action: state.f32s("action")?.1,
        reward: state.f32s("reward")?.1,
        next_obs: state.f32s("next_obs")?.1,
        not_terminated: state.f32s("not_terminated")?.1,
    };
    state.finish()?;
    Ok(rows)
}
