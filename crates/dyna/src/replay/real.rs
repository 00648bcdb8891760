//! Real transitions, all of them, in the order in which they happened.
//!
//! Host memory holds the truth, for checkpoints, the normaliser and the model's training. A device that runs kernels gets
//! a mirror of it, a row at a time.

use burn::tensor::Device;
use foresee_core::state::{Array, Data};
use foresee_core::{Batch, State, StateError, Transition};

use super::DeviceRows;

/// An append-only buffer: its saved arrays grow at their ends alone, so that a checkpoint stores only what is new.
#[derive(Debug, Default)]
pub struct RealBuffer {
    rows: Batch,
    /// 1 where a time limit cut the episode, `[rows]`.
    truncated: Vec<u8>,
    /// The same rows on the device, with room for more.
    mirror: Option<DeviceRows>,
}

/// Rows that a fresh mirror has room for.
const FIRST_ROOM: usize = 1024;

impl RealBuffer {
    /// An empty buffer of observations and actions of `[O, A]` entries, with a mirror where the device runs kernels.
    #[must_use]
    pub fn new(dims: [usize; 2], device: &Device) -> Self {
        Self { mirror: DeviceRows::new(FIRST_ROOM, dims, device), ..Self::default() }
    }

    /// Appends a transition.
    pub fn push(&mut self, t: &Transition) {
        self.rows.push(&t.obs, &t.action, t.reward, &t.next_obs, t.terminated);
        self.truncated.push(u8::from(t.truncated));
        let Some(mirror) = &mut self.mirror else { return };
        let last = self.rows.rows - 1;
        if last == mirror.capacity() {
            mirror.resize(2 * last, 0, last);
        }
        mirror.write(last, &self.rows, last..last + 1);
    }

    /// The mirror, where there is one.
    #[must_use]
    pub fn mirror(&self) -> Option<&DeviceRows> {
        self.mirror.as_ref()
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
    /// If an array is missing, of another width, or left over.
    pub fn restore(mut state: State, dims: [usize; 2], device: &Device) -> Result<Self, StateError> {
        let truncated = state.u8s("truncated")?.1;
        let rows = restore_rows(state, dims)?;
        if truncated.len() != rows.rows {
            return Err(StateError::Mismatch {
                path: "truncated".into(),
                found: format!("{} flags", truncated.len()),
                expected: format!("{} rows", rows.rows),
            });
        }
        let mut mirror = DeviceRows::new(rows.rows.next_power_of_two().max(FIRST_ROOM), dims, device);
        if let Some(mirror) = &mut mirror {
            mirror.write(0, &rows, 0..rows.rows);
        }
        Ok(Self { rows, truncated, mirror })
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

/// Rows of observations and actions of `[O, A]` entries from arrays `[rows, width]`, all with the same number of rows.
pub(super) fn restore_rows(mut state: State, [obs_dim, action_dim]: [usize; 2]) -> Result<Batch, StateError> {
    let mut rows = None;
    let mut field = |name: &str, width: usize| -> Result<Vec<f32>, StateError> {
        let (shape, values) = state.f32s(name)?;
        let expected = *rows.get_or_insert(shape.first().copied().unwrap_or(0));
        if shape.len() != 2 || shape[0] != expected || values.len() != expected * width {
            return Err(StateError::Mismatch {
                path: name.into(),
                found: format!("of shape {shape:?}"),
                expected: format!("{expected} rows of {width}"),
            });
        }
        Ok(values)
    };
    let (obs, action, reward) = (field("obs", obs_dim)?, field("action", action_dim)?, field("reward", 1)?);
    let (next_obs, not_terminated) = (field("next_obs", obs_dim)?, field("not_terminated", 1)?);
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
        let restore = |state| RealBuffer::restore(state, [1, 1], &Device::flex());
        let restored = restore(buffer.save()).unwrap();
        assert_eq!((restored.rows, restored.truncated), (buffer.rows.clone(), buffer.truncated.clone()));
        for name in ["obs", "action", "reward", "next_obs", "not_terminated"] {
            let mut state = buffer.save();
            state.take(name).unwrap();
            state.put(name, Array::new(vec![1, 1], Data::F32(vec![1.0])));
            assert!(restore(state).is_err(), "{name}");
        }
    }
}
