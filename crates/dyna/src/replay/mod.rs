//! Real and imagined transitions, and batches mixed of both.
//!
//! [`Replay`] holds both buffers and gives batches with their noise. In host memory [`mix`] takes a batch from the buffers
//! row by row; [`draw`] takes the same rows where both buffers are on a device, and nothing but a seed and a number goes
//! there. Which of the two it is was decided where the buffers were made.

#[cfg(feature = "wgpu")]
pub mod device;
#[cfg(not(feature = "wgpu"))]
#[path = "no_device.rs"]
pub mod device;
mod imagined;
mod real;
mod sequences;

pub use device::{DeviceRows, DrawClock};
pub(crate) use imagined::Claim;
pub use imagined::ImaginedBuffer;
pub use real::RealBuffer;
pub use sequences::Sequences;

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::{BatchRef, Noise, StreamNoise, TensorBatch};
use foresee_core::{Batch, Stream};

/// The streams that real and imagined rows of a batch are drawn by.
const STREAMS: [&str; 2] = ["batch/real", "batch/imagined"];
/// Rows on a device to draw from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The stream that draws.
    pub stream: &'static str,
    /// The rows.
    pub rows: &'a DeviceRows,
    /// How many of them are set.
    pub stored: usize,
    /// How many to draw.
    pub count: usize,
}

/// Rows per source of a batch: `real_ratio` is the share of rows *inside every batch* that are real, and all of them
/// are while nothing has been imagined.
#[must_use]
pub fn shares(batch: usize, real_ratio: f64, imagined: usize) -> [usize; 2] {
    let real = if imagined == 0 { batch } else { (real_ratio * batch as f64).round() as usize };
    [real, batch - real]
}

/// The batch of agent update number `update`, into a buffer: real rows first, each drawn uniformly with replacement.
pub fn mix(
    real: &RealBuffer,
    imagined: &ImaginedBuffer,
    shares: [usize; 2],
    [seed, update]: [u64; 2],
    batch: &mut Batch,
) {
    let rows = real.rows();
    let (obs_dim, action_dim) = (rows.obs.len() / rows.rows, rows.action.len() / rows.rows);
    batch.clear();
    let imagined = imagined.rows();
    for (name, rows, count) in [(STREAMS[0], rows, shares[0]), (STREAMS[1], &*imagined, shares[1])] {
        let stream = Stream::new(seed, name);
        for row in 0..count {
            copy_row(rows, stream.index(update, row, rows.rows), obs_dim, action_dim, batch);
        }
    }
}

/// The same batch, drawn on the device that both buffers are on, with the standard normals `[B, A]` of two streams; nothing
/// where the buffers are in host memory.
#[must_use]
pub fn draw(
    real: &RealBuffer,
    imagined: &ImaginedBuffer,
    shares: [usize; 2],
    counter: [u64; 2],
    noise_streams: [&str; 2],
    clock: &mut DrawClock,
) -> Option<(TensorBatch, [Tensor<2>; 2])> {
    let (mirror, ring) = (real.mirror()?, imagined.device_rows()?);
    let sources = [
        Source { stream: STREAMS[0], rows: mirror, stored: real.rows().rows, count: shares[0] },
        Source { stream: STREAMS[1], rows: ring, stored: imagined.len(), count: shares[1] },
    ];
    Some(DeviceRows::draw(sources, counter, noise_streams, clock))
}

/// The experience of a run: real transitions and imagined ones, on the device that they were made for.
#[derive(Debug)]
pub struct Replay {
    /// Transitions of the environment.
    pub real: RealBuffer,
    /// Transitions of imagined rollouts.
    pub imagined: ImaginedBuffer,
    /// The last batch that was mixed in host memory.
    batch: Batch,
    /// Where batches are drawn on a device.
    clock: DrawClock,
}

/// One update's batch with its noise.
pub struct Drawn<'a> {
    batch: DrawnBatch<'a>,
    noise: DrawnNoise,
}

#[allow(clippy::large_enum_variant, reason = "one an update, on the stack")]
enum DrawnBatch<'a> {
    Host(&'a Batch),
    Device(TensorBatch),
}

impl Drawn<'_> {
    /// The batch.
    #[must_use]
    pub fn batch(&self) -> BatchRef<'_> {
        match &self.batch {
            DrawnBatch::Host(batch) => BatchRef::Host(batch),
            DrawnBatch::Device(batch) => BatchRef::Device(batch),
        }
    }

    /// The draws of the update.
    #[must_use]
    pub fn noise(&self) -> &dyn Noise {
        &self.noise
    }
}

/// The draws of an update, some of them on the device already.
struct DrawnNoise {
    streams: StreamNoise,
    ready: Vec<(&'static str, Tensor<2>)>,
}

impl Noise for DrawnNoise {
    fn normals(&self, name: &'static str, shape: [usize; 2], device: &Device) -> Tensor<2> {
        match self.ready.iter().find(|(ready, normals)| *ready == name && normals.dims() == shape) {
            Some((_, normals)) => normals.clone(),
            None => self.streams.normals(name, shape, device),
        }
    }

    fn normals_into(&self, name: &'static str, shape: [usize; 2], out: &mut Vec<f32>) {
        self.streams.normals_into(name, shape, out);
    }

    fn words(&self, name: &'static str, rows: usize) -> Vec<u32> {
        self.streams.words(name, rows)
    }
}

impl Replay {
    /// Empty buffers of observations and actions of `[O, A]` entries, the imagined one with room for `capacity` rows.
    #[must_use]
    pub fn new(capacity: usize, dims: [usize; 2], device: &Device) -> Self {
        Self {
            real: RealBuffer::new(dims, device),
            imagined: ImaginedBuffer::on(capacity, dims, device),
            batch: Batch::default(),
            clock: DrawClock::default(),
        }
    }

    /// The batch of agent update number `update`: `rows` rows, of which a share of `real_ratio` is real. `noise_streams` are
    /// those whose normals `[B, A]` the update will ask for.
    ///
    /// # Panics
    /// If nothing real is stored, or the ratio is not one of 0 to 1.
    #[must_use]
    pub fn draw(
        &mut self,
        rows: usize,
        real_ratio: f64,
        [seed, update]: [u64; 2],
        noise_streams: &'static [&'static str],
    ) -> Drawn<'_> {
        let Self { real, imagined, batch, clock } = self;
        assert!(real.rows().rows > 0, "a batch of a replay in which nothing real is stored");
        assert!((0.0..=1.0).contains(&real_ratio), "a share of real rows of {real_ratio}");
        let shares = shares(rows, real_ratio, imagined.len());
        let streams = StreamNoise { seed, update };
        // The kernel fills two streams; an agent with fewer gets one that it does not ask for.
        let first = noise_streams.first().copied().unwrap_or("agent/noise");
        let names = [first, noise_streams.get(1).copied().unwrap_or(first)];
        if let Some((drawn, normals)) = draw(real, imagined, shares, [seed, update], names, clock) {
            let ready = names.into_iter().zip(normals).collect();
            return Drawn { batch: DrawnBatch::Device(drawn), noise: DrawnNoise { streams, ready } };
        }
        mix(real, imagined, shares, [seed, update], batch);
        Drawn { batch: DrawnBatch::Host(batch), noise: DrawnNoise { streams, ready: Vec::new() } }
    }
}

fn copy_row(rows: &Batch, index: usize, obs_dim: usize, action_dim: usize, batch: &mut Batch) {
    let obs = index * obs_dim..(index + 1) * obs_dim;
    let action = index * action_dim..(index + 1) * action_dim;
    batch.push(
        &rows.obs[obs.clone()],
        &rows.action[action],
        rows.reward[index],
        &rows.next_obs[obs],
        rows.not_terminated[index] == 0.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_ratio_is_a_share_of_every_batch_and_one_while_nothing_is_imagined() {
        assert_eq!(shares(256, 0.05, 10), [13, 243]);
        assert_eq!(shares(256, 0.05, 0), [256, 0]);
        assert_eq!(shares(3, 1.0, 10), [3, 0]);
    }

    #[test]
    fn a_batch_holds_rows_of_both_buffers_in_their_shares() {
        let mut real = RealBuffer::default();
        let mut imagined = ImaginedBuffer::new(10, 1, 1);
        for i in 0..5_u8 {
            let x = f32::from(i);
            let row = |obs: f32| foresee_core::Transition {
                obs: vec![obs],
                action: vec![0.5],
                reward: obs,
                next_obs: vec![obs + 0.5],
                terminated: i == 3,
                truncated: false,
            };
            real.push(&row(x));
            let row = row(-1.0 - x);
            imagined.push(&row.obs, &row.action, row.reward, &row.next_obs, row.terminated);
        }
        let mix = |update| {
            let mut batch = Batch::default();
            mix(&real, &imagined, [40, 60], [0, update], &mut batch);
            batch
        };
        let batch = mix(7);
        for (i, (&obs, &next)) in batch.obs.iter().zip(&batch.next_obs).enumerate() {
            assert_eq!(obs >= 0.0, i < 40);
            assert_eq!((next - obs, batch.reward[i]), (0.5, obs));
            assert_eq!(batch.not_terminated[i] == 0.0, obs == 3.0 || obs == -4.0);
        }
        assert_eq!(batch, mix(7));
        assert_ne!(batch, mix(8));
    }
}
