//! Transitions in a GPU's memory: five tensors with a fixed capacity of rows, which kernels write in place.
//!
//! A row is uploaded from the host as one record (obs, action, reward, next_obs, not_terminated), or copied from other
//! rows on the device. Only [`DeviceRows::read`] reads rows back, for checkpoints.

mod kernels;

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor};
use cubecl::client::Client;
use cubecl::prelude::*;
use foresee_actor_critic::TensorBatch;
use foresee_core::{Batch, Stream};
use foresee_nn::cube::StepTable;
use foresee_nn::cube::random::key;
use foresee_nn::cube::tensor::{buffer, empty, is_cube, tensor};
use foresee_nn::tensors;
use foresee_world_model::DeviceTransitions;

use super::Source;

/// Limit on the numbers in one upload or read-back: 16 MB, which need a temporary buffer of that size on the
/// device.
const PART: usize = 4 << 20;

/// Number of rows of `width` numbers in one part, at least one.
fn rows_of_part(width: usize) -> usize {
    (PART / width.max(1)).max(1)
}

/// Returns true if the device runs kernels. Buffers then keep their rows on it.
#[must_use]
pub fn runs_kernels(device: &Device) -> bool {
    is_cube(device)
}

/// The numbers of the next updates, stored on the device, where they address the draws of batches and noise.
#[derive(Clone, Debug, Default)]
pub struct DrawCounter(StepTable);

/// Rows of transitions on a device.
#[derive(Debug)]
pub struct DeviceRows {
    /// `[C, O]`
    pub obs: Tensor<2>,
    /// `[C, A]`
    pub action: Tensor<2>,
    /// `[C]`
    pub reward: Tensor<1>,
    /// `[C, O]`
    pub next_obs: Tensor<2>,
    /// `[C]`
    pub not_terminated: Tensor<1>,
}

impl DeviceRows {
    /// Allocates room for `capacity` rows, at least one, for observations and actions of `[O, A]` entries. The
    /// numbers are not initialised. Returns `None` if the device runs no kernels.
    #[must_use]
    pub fn new(capacity: usize, [obs_dim, action_dim]: [usize; 2], device: &Device) -> Option<Self> {
        let capacity = capacity.max(1);
        assert!(u32::try_from(capacity).is_ok(), "{capacity} rows do not fit 32 bits");
        is_cube(device).then(|| Self {
            obs: tensor(empty(&[capacity, obs_dim], device)),
            action: tensor(empty(&[capacity, action_dim], device)),
            reward: tensor(empty(&[capacity], device)),
            next_obs: tensor(empty(&[capacity, obs_dim], device)),
            not_terminated: tensor(empty(&[capacity], device)),
        })
    }

    /// Largest number of rows, `C`.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.reward.dims()[0]
    }

    /// Number of entries of observations and actions, `[O, A]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        [self.obs.dims()[1], self.action.dims()[1]]
    }

    /// Returns the rows in the form that a fit of the model takes.
    #[must_use]
    pub fn transitions(&self) -> DeviceTransitions<'_> {
        let Self { obs, action, reward, next_obs, .. } = self;
        DeviceTransitions { obs, action, reward, next_obs }
    }

    /// Returns the kernels' view of the rows.
    fn fields(&self) -> kernels::FieldsLaunch {
        let [obs_dim, action_dim] = self.dims();
        kernels::FieldsLaunch::new(
            buffer(self.obs.clone()).into_buffer_arg(),
            buffer(self.action.clone()).into_buffer_arg(),
            buffer(self.reward.clone()).into_buffer_arg(),
            buffer(self.next_obs.clone()).into_buffer_arg(),
            buffer(self.not_terminated.clone()).into_buffer_arg(),
            obs_dim,
            action_dim,
        )
    }

    /// Number of entries of a record.
    fn width(&self) -> usize {
        let [obs_dim, action_dim] = self.dims();
        2 * obs_dim + action_dim + 2
    }

    /// Returns the device's queue, and a launch grid for `units` threads.
    fn grid(&self, units: usize) -> (Client, CubeCount, CubeDim) {
        let client = buffer(self.reward.clone()).client;
        let dim = CubeDim::new(&client, units);
        (client.clone(), cubecl::calculate_cube_count_elemwise(&client, units, dim), dim)
    }

    /// Writes some rows of a host batch to the rows `at`, `at + 1`, … of the ring, wrapping at its end. Takes one
    /// upload and one launch per 16 MB.
    #[track_caller]
    pub fn write(&mut self, at: usize, rows: &Batch, range: Range<usize>) {
        let (count, capacity) = (range.len(), self.capacity());
        assert!(count <= capacity && at < capacity, "{count} rows from row {at} on do not fit {capacity} rows");
        let part = rows_of_part(self.width());
        for start in range.clone().step_by(part) {
            self.write_part((at + start - range.start) % capacity, rows, start..range.end.min(start + part));
        }
    }

    /// Writes at least one row, in one upload and one launch.
    fn write_part(&mut self, at: usize, rows: &Batch, range: Range<usize>) {
        let [obs_dim, action_dim] = self.dims();
        let (count, capacity, width) = (range.len(), self.capacity(), self.width());
        let mut records = Vec::with_capacity(count * width);
        for i in range {
            records.extend_from_slice(&rows.obs[i * obs_dim..][..obs_dim]);
            records.extend_from_slice(&rows.action[i * action_dim..][..action_dim]);
            records.push(rows.reward[i]);
            records.extend_from_slice(&rows.next_obs[i * obs_dim..][..obs_dim]);
            records.push(rows.not_terminated[i]);
        }
        let records = buffer(tensors::from_vec(records, [count * width], &self.reward.device()));
        let (client, grid, dim) = self.grid(count * width);
        let (count, at, capacity) = (count as u32, at as u32, capacity as u32);
        kernels::write_rows::launch(&client, grid, dim, records.into_buffer_arg(), self.fields(), count, at, capacity);
    }

    /// Changes the capacity, to at least one row. The `count` rows of the ring from `start` on move to its beginning,
    /// in one launch without a copy through the host.
    #[track_caller]
    pub fn resize(&mut self, capacity: usize, start: usize, count: usize) {
        let wider =
            Self::new(capacity, self.dims(), &self.reward.device()).expect("rows of a device that runs kernels");
        assert!(
            count <= capacity.min(self.capacity()),
            "{count} of {} rows do not fit {capacity} rows",
            self.capacity()
        );
        let old = std::mem::replace(self, wider);
        if count > 0 {
            let (client, grid, dim) = self.grid(count * self.width());
            let (count, start, capacity) = (count as u32, start as u32, old.capacity() as u32);
            kernels::copy_rows::launch(&client, grid, dim, old.fields(), self.fields(), count, start, capacity);
        }
    }

    /// Reads the first `count` rows back to the host, at most 16 MB of a field at a time.
    #[must_use]
    pub fn read(&self, count: usize) -> Batch {
        let wide = |all: &Tensor<2>| {
            let (width, mut values) = (all.dims()[1], Vec::with_capacity(count * all.dims()[1]));
            let part = rows_of_part(width);
            for start in (0..count).step_by(part) {
                values.extend(tensors::to_vec(all.clone().narrow(0, start, part.min(count - start))));
            }
            values
        };
        let column = |all: &Tensor<1>| wide(&all.clone().unsqueeze_dim(1));
        if count == 0 {
            return Batch::default();
        }
        Batch {
            rows: count,
            obs: wide(&self.obs),
            action: wide(&self.action),
            reward: column(&self.reward),
            next_obs: wide(&self.next_obs),
            not_terminated: column(&self.not_terminated),
        }
    }

    /// Draws the batch that [`super::mix`] draws, on the device, and the standard normals `[B, A]` of two streams, in
    /// one launch per source. `[seed, update]` are the run's seed and the number of the update.
    #[must_use]
    pub fn draw(
        sources: [Source<'_>; 2],
        [seed, update]: [u64; 2],
        noise_streams: [&str; 2],
        draw_counter: &mut DrawCounter,
    ) -> (TensorBatch, [Tensor<2>; 2]) {
        let (dims, device) = (sources[0].rows.dims(), sources[0].rows.reward.device());
        let rows = sources[0].count + sources[1].count;
        let batch = Self::new(rows, dims, &device).expect("rows of a device that runs kernels");
        let [noise_next, noise] = [(); 2].map(|()| empty(&[rows, dims[1]], &device));
        let step = draw_counter.0.at(&noise, update, DType::U32, |update| [update as u32, (update >> 32) as u32]);
        let mut first = 0;
        for Source { stream, rows, stored, count } in sources {
            if count == 0 {
                continue;
            }
            let of = |name: &str| key(&Stream::new(seed, name));
            let (client, grid, dim) = batch.grid(count * (batch.width() + 2 * dims[1]));
            kernels::draw_rows::launch(
                &client,
                grid,
                dim,
                rows.fields(),
                batch.fields(),
                noise_next.clone().into_buffer_arg(),
                noise.clone().into_buffer_arg(),
                step.clone().into_buffer_arg(),
                of(stream),
                of(noise_streams[0]),
                of(noise_streams[1]),
                stored as u32,
                first as u32,
                count as u32,
            );
            first += count;
        }
        let Self { obs, action, reward, next_obs, not_terminated } = batch;
        (TensorBatch { obs, action, reward, next_obs, not_terminated }, [tensor(noise_next), tensor(noise)])
    }
}
