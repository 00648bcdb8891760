//! Imagined transitions: a ring that overwrites its oldest rows.

use foresee_core::{Batch, State, StateError};

use super::real::{restore_rows, save_rows};

/// Places in a ring: row `r` goes to `(start + r) mod batch.rows`.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) start: usize,
}

/// A ring of rows. When its capacity changes, as the horizon grows, the newest rows move over in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct ImaginedBuffer {
    rows: Batch,
    capacity: usize,
    /// Where the next row goes once the ring is full; until then rows are appended.
    next: usize,
    obs_dim: usize,
    action_dim: usize,
}

impl ImaginedBuffer {
    /// An empty ring of `capacity` rows. Memory is taken as rows come.
    #[must_use]
    pub fn new(capacity: usize, obs_dim: usize, action_dim: usize) -> Self {
        Self { rows: Batch::default(), capacity, next: 0, obs_dim, action_dim }
    }

    /// The stored rows, in the ring's order.
    #[must_use]
    pub fn rows(&self) -> &Batch {
        &self.rows
    }

    /// Rows stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.rows
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next row goes.
    #[must_use]
    pub fn position(&self) -> usize {
        self.next
    }

    /// Stores a row over the oldest one, or behind the last while there is room.
    #[track_caller]
    pub fn push(&mut self, obs: &[f32], action: &[f32], reward: f32, next_obs: &[f32], terminated: bool) {
        assert_eq!((obs.len(), action.len()), (self.obs_dim, self.action_dim), "a row of other dimensions");
        if self.len() < self.capacity {
            self.rows.push(obs, action, reward, next_obs, terminated);
        } else {
            let (i, o, a) = (self.next, self.obs_dim, self.action_dim);
            self.rows.obs[i * o..(i + 1) * o].copy_from_slice(obs);
            self.rows.action[i * a..(i + 1) * a].copy_from_slice(action);
            self.rows.reward[i] = reward;
            self.rows.next_obs[i * o..(i + 1) * o].copy_from_slice(next_obs);
            self.rows.not_terminated[i] = if terminated { 0.0 } else { 1.0 };
        }
        self.next = (self.next + 1) % self.capacity;
    }

    /// Places for so many rows over the oldest ones, to be filled: behind the last while there is room.
    #[track_caller]
    pub(crate) fn claim(&mut self, rows: usize) -> Claim<'_> {
        assert!(rows <= self.capacity, "{rows} rows in a ring of {}", self.capacity);
        let stored = self.capacity.min(self.len() + rows);
        let Batch { rows: count, obs, action, reward, next_obs, not_terminated } = &mut self.rows;
        *count = stored;
        let fields = [
            (obs, self.obs_dim),
            (action, self.action_dim),
            (reward, 1),
            (next_obs, self.obs_dim),
            (not_terminated, 1),
        ];
        for (field, width) in fields {
            field.resize(stored * width, 0.0);
        }
        let start = self.next;
        self.next = (start + rows) % self.capacity;
        Claim { batch: &mut self.rows, start }
    }

    /// Changes the capacity; the newest rows stay, oldest first.
    pub fn resize(&mut self, capacity: usize) {
        if capacity == self.capacity {
            return;
        }
        let old = std::mem::replace(self, Self::new(capacity, self.obs_dim, self.action_dim));
        let start = if old.len() < old.capacity { 0 } else { old.next };
        let skip = old.len().saturating_sub(capacity);
        for i in (0..old.len()).skip(skip).map(|k| (start + k) % old.len()) {
            let (o, a) = (i * old.obs_dim..(i + 1) * old.obs_dim, i * old.action_dim..(i + 1) * old.action_dim);
            let terminated = old.rows.not_terminated[i] == 0.0;
            self.push(
                &old.rows.obs[o.clone()],
                &old.rows.action[a],
                old.rows.reward[i],
                &old.rows.next_obs[o],
                terminated,
            );
        }
    }

    /// As arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("rows", save_rows(&self.rows));
        state.put("capacity", self.capacity as u64);
        state.put("next", self.next as u64);
        state
    }

    /// Reads the rows back.
    ///
    /// # Errors
    /// If an array is missing or left over.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        self.rows = restore_rows(state.part("rows"))?;
        self.capacity = state.u64("capacity")? as usize;
        self.next = state.u64("next")? as usize;
        state.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(capacity: usize, pushed: u8) -> ImaginedBuffer {
        let mut ring = ImaginedBuffer::new(capacity, 1, 1);
        for i in 0..pushed {
            ring.push(&[f32::from(i)], &[0.0], 0.0, &[0.0], false);
        }
        ring
    }

    #[test]
    fn a_full_ring_overwrites_its_oldest_row() {
        assert_eq!(ring(4, 6).rows().obs, [4.0, 5.0, 2.0, 3.0]);
    }

    #[test]
    fn resizing_keeps_the_newest_rows_in_their_order() {
        for (capacity, want) in [(6, vec![2.0, 3.0, 4.0, 5.0]), (3, vec![3.0, 4.0, 5.0]), (4, vec![4.0, 5.0, 2.0, 3.0])]
        {
            let mut ring = ring(4, 6);
            ring.resize(capacity);
            assert_eq!(ring.rows().obs, want, "to {capacity}");
        }
        let mut grown = ring(4, 6);
        grown.resize(5);
        grown.push(&[6.0], &[0.0], 0.0, &[0.0], false);
        grown.push(&[7.0], &[0.0], 0.0, &[0.0], false);
        assert_eq!(grown.rows().obs, [7.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn a_restored_ring_goes_on_where_it_was() {
        let mut a = ring(4, 6);
        let mut b = ImaginedBuffer::new(1, 1, 1);
        b.load(a.save()).unwrap();
        for ring in [&mut a, &mut b] {
            ring.push(&[9.0], &[0.0], 0.0, &[0.0], true);
        }
        assert_eq!(a, b);
    }
}
