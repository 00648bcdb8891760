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
        let rows = restore_rows(state)?;
        if truncated.len() != rows.rows {
            return Err(StateError::Mismatch {
                path: "truncated".into(),
                found: format!("{} flags", truncated.len()),
                expected: format!("{} rows", rows.rows),
            });
        }
        Ok(Self { rows, truncated })
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

/// Rows from arrays `[rows, width]`, all with the same number of rows.
pub(super) fn restore_rows(mut state: State) -> Result<Batch, StateError> {
    let mut rows = None;
    let mut field = |name: &str| -> Result<Vec<f32>, StateError> {
        let (shape, values) = state.f32s(name)?;
        let expected = *rows.get_or_insert(shape.first().copied().unwrap_or(0));
        if shape.len() != 2 || shape[0] != expected {
            return Err(StateError::Mismatch {
                path: name.into(),
                found: format!("of shape {shape:?}"),
                expected: format!("{expected} rows"),
            });
        }
        Ok(values)
    };
    let (obs, action, reward) = (field("obs")?, field("action")?, field("reward")?);
    let (next_obs, not_terminated) = (field("next_obs")?, field("not_terminated")?);
    let rows = rows.unwrap_or(0);
    state.finish()?;
    Ok(Batch { rows, obs, action, reward, next_obs, not_terminated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_buffer_with_a_row_too_few_in_one_array_is_refused() {
        let mut buffer = RealBuffer::default();
        for x in [1.0, 2.0] {
            buffer.push(&Transition {
                obs: vec![x],
                action: vec![x],
                reward: x,
                next_obs: vec![x],
                terminated: false,
                truncated: x == 2.0,
            });
        }
        assert_eq!(RealBuffer::restore(buffer.save()).unwrap(), buffer);
        for name in ["obs", "action", "reward", "next_obs", "not_terminated"] {
            let mut state = buffer.save();
            state.take(name).unwrap();
            state.put(name, Array::new(vec![1, 1], Data::F32(vec![1.0])));
            assert!(RealBuffer::restore(state).is_err(), "{name}");
        }
    }
}
