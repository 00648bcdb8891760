//! The buffer of imagined transitions: a ring that overwrites its oldest rows, in host memory or on a device that runs
//! kernels.

use std::borrow::Cow;
use std::collections::TryReserveError;

use burn::tensor::Device;
use foresee_core::{Batch, State, StateError};

use super::DeviceRows;
use super::real::{restore_rows, save_rows};

/// Reserved rows of a ring: row `r` is written to row `(start + r) mod batch.rows` of `batch`.
#[derive(Debug)]
pub(crate) struct ReservedRows<'a> {
    /// The rows of the ring, or a batch of the reserved rows alone.
    pub(crate) batch: &'a mut Batch,
    /// Index of the first reserved row.
    pub(crate) start: usize,
}

/// A ring of rows. When its capacity changes, as the horizon grows, the newest rows are kept in their order.
#[derive(Debug)]
pub struct ImaginedBuffer {
    rows: Storage,
    capacity: usize,
    /// Index of the next row to be overwritten, once the ring is full. Rows are appended until the ring is full.
    next: usize,
    /// Number of entries of observations and actions, `[O, A]`.
    dims: [usize; 2],
}

/// The memory of the rows. Both forms have identical saved states.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a run")]
enum Storage {
    /// Rows in host memory, which grows as rows are added.
    Host(Batch),
    /// Rows on a device, allocated for the full capacity; `len` rows are stored.
    Device { rows: DeviceRows, len: usize },
}

impl ImaginedBuffer {
    /// Returns an empty ring of `capacity` rows in host memory.
    #[must_use]
    pub fn new(capacity: usize, obs_dim: usize, action_dim: usize) -> Self {
        Self { rows: Storage::Host(Batch::default()), capacity, next: 0, dims: [obs_dim, action_dim] }
    }

    /// Returns an empty ring on the device if it runs kernels, else in host memory.
    #[must_use]
    pub fn on(capacity: usize, dims: [usize; 2], device: &Device) -> Self {
        let mut ring = Self::new(capacity, dims[0], dims[1]);
        if let Some(rows) = DeviceRows::new(capacity, dims, device) {
            ring.rows = Storage::Device { rows, len: 0 };
        }
        ring
    }

    /// Returns the stored rows in the order of the ring; read back if they are on a device.
    #[must_use]
    pub fn rows(&self) -> Cow<'_, Batch> {
        match &self.rows {
            Storage::Host(rows) => Cow::Borrowed(rows),
            Storage::Device { rows, len, .. } => Cow::Owned(rows.read(*len)),
        }
    }

    /// Whether the rows are on a device that runs kernels.
    #[must_use]
    pub fn is_on_device(&self) -> bool {
        matches!(self.rows, Storage::Device { .. })
    }

    /// The rows on the device; `None` if they are in host memory.
    pub(super) fn device_rows(&self) -> Option<&DeviceRows> {
        match &self.rows {
            Storage::Host(_) => None,
            Storage::Device { rows, .. } => Some(rows),
        }
    }

    /// Stores rows on the device, and returns the second result of `write`. `write` receives the ring and the position
    /// of the next row, and continues at position 0 after the last one. Its first result is the number of rows that it
    /// wrote.
    ///
    /// # Panics
    /// If the rows are in host memory.
    #[track_caller]
    pub fn fill_on_device<R>(&mut self, write: impl FnOnce(&mut DeviceRows, usize) -> (usize, R)) -> R {
        let (capacity, next) = (self.capacity, self.next);
        let Storage::Device { rows, len, .. } = &mut self.rows else { panic!("the ring is in host memory") };
        let (count, outcome) = write(rows, next);
        *len = (*len + count).min(capacity);
        self.next = (next + count) % capacity.max(1);
        outcome
    }

    /// Number of stored rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.rows {
            Storage::Host(rows) => rows.rows,
            Storage::Device { len, .. } => *len,
        }
    }

    /// Whether no row is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all rows; capacity and dimensions stay.
    pub fn clear(&mut self) {
        self.next = 0;
        match &mut self.rows {
            Storage::Host(rows) => rows.clear(),
            Storage::Device { len, .. } => *len = 0,
        }
    }

    /// Largest number of rows.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Index at which the next row is written.
    #[must_use]
    pub fn position(&self) -> usize {
        self.next
    }

    /// Stores a row: appends it while there is room, then overwrites the oldest row.
    #[track_caller]
    pub fn push(&mut self, obs: &[f32], action: &[f32], reward: f32, next_obs: &[f32], terminated: bool) {
        assert_eq!([obs.len(), action.len()], self.dims, "dimensions `[O, A]` of the row");
        let mut row = Batch::default();
        row.push(obs, action, reward, next_obs, terminated);
        self.extend(&row);
    }

    /// Stores rows one after the other. If there are more than the capacity, the last ones remain.
    pub fn extend(&mut self, batch: &Batch) {
        let [o, a] = self.dims;
        match &mut self.rows {
            Storage::Host(rows) => {
                for k in 0..batch.rows {
                    let (obs, next_obs) = (&batch.obs[k * o..][..o], &batch.next_obs[k * o..][..o]);
                    let (action, reward) = (&batch.action[k * a..][..a], batch.reward[k]);
                    let not_terminated = batch.not_terminated[k];
                    if rows.rows < self.capacity {
                        rows.push(obs, action, reward, next_obs, not_terminated == 0.0);
                    } else {
                        let i = self.next;
                        rows.obs[i * o..][..o].copy_from_slice(obs);
                        rows.action[i * a..][..a].copy_from_slice(action);
                        rows.reward[i] = reward;
                        rows.next_obs[i * o..][..o].copy_from_slice(next_obs);
                        rows.not_terminated[i] = not_terminated;
                    }
                    self.next = (self.next + 1) % self.capacity;
                }
            }
            Storage::Device { rows, len, .. } => {
                // Rows that the same call would overwrite are not sent, but the position advances past them.
                let skip = batch.rows.saturating_sub(self.capacity);
                self.next = (self.next + skip) % self.capacity;
                rows.write(self.next, batch, skip..batch.rows);
                *len = (*len + batch.rows - skip).min(self.capacity);
                self.next = (self.next + batch.rows - skip) % self.capacity;
            }
        }
    }

    /// Allocates the memory of the next `rows` rows. Rows on a device have their memory already.
    ///
    /// # Errors
    /// If there is not enough memory. The stored rows stay.
    pub fn reserve(&mut self, rows: usize) -> Result<(), TryReserveError> {
        let Storage::Host(stored) = &mut self.rows else { return Ok(()) };
        let more = self.capacity.saturating_sub(stored.rows).min(rows);
        let [obs_dim, action_dim] = self.dims;
        let Batch { obs, action, reward, next_obs, not_terminated, .. } = stored;
        [(obs, obs_dim), (action, action_dim), (reward, 1), (next_obs, obs_dim), (not_terminated, 1)]
            .into_iter()
            .try_for_each(|(field, width)| field.try_reserve(more.saturating_mul(width)))
    }

    /// Reserves `rows` rows, appended while there is room and then over the oldest ones, and lets `fill` write them in
    /// host memory. For a ring on a device they are then sent there.
    #[track_caller]
    pub(crate) fn fill<R>(&mut self, rows: usize, fill: impl FnOnce(ReservedRows<'_>) -> R) -> R {
        assert!(rows <= self.capacity, "{rows} rows do not fit a ring of {}", self.capacity);
        let [obs_dim, action_dim] = self.dims;
        let set_rows = |batch: &mut Batch, stored: usize| {
            let Batch { rows, obs, action, reward, next_obs, not_terminated } = batch;
            *rows = stored;
            for (field, width) in
                [(obs, obs_dim), (action, action_dim), (reward, 1), (next_obs, obs_dim), (not_terminated, 1)]
            {
                field.resize(stored * width, 0.0);
            }
        };
        let (start, stored) = (self.next, self.capacity.min(self.len() + rows));
        match &mut self.rows {
            Storage::Host(all) => {
                self.next = (start + rows) % self.capacity.max(1);
                set_rows(all, stored);
                fill(ReservedRows { batch: all, start })
            }
            Storage::Device { .. } => {
                let mut sent = Batch::default();
                set_rows(&mut sent, rows);
                let outcome = fill(ReservedRows { batch: &mut sent, start: 0 });
                self.extend(&sent);
                outcome
            }
        }
    }

    /// Changes the capacity. The newest rows are kept, oldest first.
    pub fn resize(&mut self, capacity: usize) {
        if capacity == self.capacity {
            return;
        }
        let len = self.len();
        let start = if len < self.capacity { 0 } else { self.next };
        let (skip, kept) = (len.saturating_sub(capacity), len.min(capacity));
        match &mut self.rows {
            Storage::Host(rows) => {
                let old = std::mem::take(rows);
                let [o, a] = self.dims;
                for i in (0..len).skip(skip).map(|k| (start + k) % len) {
                    let (obs, next_obs) = (&old.obs[i * o..][..o], &old.next_obs[i * o..][..o]);
                    rows.push(obs, &old.action[i * a..][..a], old.reward[i], next_obs, old.not_terminated[i] == 0.0);
                }
            }
            Storage::Device { rows, len, .. } => {
                rows.resize(capacity, (start + skip) % self.capacity.max(1), kept);
                *len = kept;
            }
        }
        self.capacity = capacity;
        self.next = kept % capacity.max(1);
    }

    /// Returns the ring as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.nest("rows", save_rows(&self.rows()));
        state.put("capacity", self.capacity as u64);
        state.put("next", self.next as u64);
        state
    }

    /// Restores the ring from arrays.
    ///
    /// # Errors
    /// If an array is missing, has another width, or is unknown, or if there are more rows than the capacity.
    pub fn load(&mut self, mut state: State) -> Result<(), StateError> {
        let restored = restore_rows(state.part("rows"), self.dims)?;
        self.capacity = state.u64("capacity")? as usize;
        self.next = state.u64("next")? as usize;
        state.finish()?;
        if restored.rows > self.capacity {
            return Err(StateError::Mismatch {
                path: "rows".into(),
                found: format!("{} rows", restored.rows),
                expected: format!("at most {}", self.capacity),
            });
        }
        match &mut self.rows {
            Storage::Host(rows) => *rows = restored,
            Storage::Device { rows, len, .. } => {
                rows.resize(self.capacity, 0, 0);
                rows.write(0, &restored, 0..restored.rows);
                *len = restored.rows;
            }
        }
        Ok(())
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
    fn memory_that_does_not_exist_is_an_error_and_the_rows_stay() {
        let mut large = ImaginedBuffer::new(1 << 60, 1, 1);
        large.push(&[1.0], &[0.0], 0.0, &[0.0], false);
        assert!(large.reserve(usize::MAX / 16).is_err());
        assert_eq!((large.reserve(3), large.rows().obs.as_slice()), (Ok(()), &[1.0][..]));
        // A full ring overwrites its rows and needs no memory.
        assert_eq!(ring(4, 6).reserve(usize::MAX), Ok(()));
    }

    #[test]
    fn a_restored_ring_goes_on_where_it_was() {
        let mut a = ring(4, 6);
        let mut b = ImaginedBuffer::new(1, 1, 1);
        b.load(a.save()).unwrap();
        for ring in [&mut a, &mut b] {
            ring.push(&[9.0], &[0.0], 0.0, &[0.0], true);
        }
        assert_eq!(a.save(), b.save());
    }
}
