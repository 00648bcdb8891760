//! Real and imagined transitions, and batches mixed from both.
//!
//! [`Replay`] holds both buffers and returns batches with their noise. If the buffers are in host memory, [`mix`]
//! copies a batch from them row by row. If both are on a device, [`draw`] draws identical rows there, and only a seed
//! and the number of the update are sent to it. The place of the buffers is chosen when they are made.

#[cfg(feature = "wgpu")]
pub mod device;
#[cfg(not(feature = "wgpu"))]
#[path = "no_device.rs"]
pub mod device;
mod imagined;
mod real;
mod sequences;

pub use device::{DeviceRows, DrawCounter};
pub use imagined::ImaginedBuffer;
pub(crate) use imagined::ReservedRows;
pub use real::RealBuffer;
pub use sequences::Sequences;

use burn::tensor::{Device, Tensor};
use foresee_actor_critic::{BatchRef, Noise, StreamNoise, TensorBatch};
use foresee_core::{Batch, Stream};

/// Names of the streams that choose real and imagined rows of a batch.
const STREAMS: [&str; 2] = ["batch/real", "batch/imagined"];
/// Rows on a device, and the number of rows to draw from them.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Name of the stream that chooses the rows.
    pub stream: &'static str,
    /// The rows to choose from.
    pub rows: &'a DeviceRows,
    /// Number of rows that are stored.
    pub stored: usize,
    /// Number of rows to draw.
    pub count: usize,
}

/// Returns the numbers of real and of imagined rows in a batch. `real_ratio` is the share of real rows *in every
/// batch*; all rows are real if no imagined rows are stored.
#[must_use]
pub fn shares(batch: usize, real_ratio: f64, imagined: usize) -> [usize; 2] {
    let real = if imagined == 0 { batch } else { (real_ratio * batch as f64).round() as usize };
    [real, batch - real]
}

/// Writes the batch of agent update number `update` to a buffer. Real rows come first. Every row is drawn uniformly
/// with replacement.
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

/// Draws the batch of [`mix`] on the device of both buffers, with the standard normals `[B, A]` of two streams. Returns
/// `None` if the buffers are in host memory.
#[must_use]
pub fn draw(
    real: &RealBuffer,
    imagined: &ImaginedBuffer,
    shares: [usize; 2],
    [seed, update]: [u64; 2],
    noise_streams: [&str; 2],
    draw_counter: &mut DrawCounter,
) -> Option<(TensorBatch, [Tensor<2>; 2])> {
    let (mirror, ring) = (real.mirror()?, imagined.device_rows()?);
    let sources = [
        Source { stream: STREAMS[0], rows: mirror, stored: real.rows().rows, count: shares[0] },
        Source { stream: STREAMS[1], rows: ring, stored: imagined.len(), count: shares[1] },
    ];
    Some(DeviceRows::draw(sources, [seed, update], noise_streams, draw_counter))
}

/// The experience of a run: buffers of real and of imagined transitions, both on one device.
#[derive(Debug)]
pub struct Replay {
    /// Transitions of the real environments.
    pub real: RealBuffer,
    /// Transitions of imagined rollouts.
    pub imagined: ImaginedBuffer,
    /// The last batch that was mixed in host memory; a buffer for the next one.
    batch: Batch,
    /// Numbers of the next updates on the device, for batches that are drawn there.
    draw_counter: DrawCounter,
}

/// The batch of one update, with its noise.
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

    /// The random draws of the update.
    #[must_use]
    pub fn noise(&self) -> &dyn Noise {
        &self.noise
    }
}

/// The draws of an update. Some of them are already on the device.
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
    /// Empty buffers for observations and actions of `[O, A]` entries. The imagined buffer has a capacity of `capacity`
    /// rows.
    #[must_use]
    pub fn new(capacity: usize, dims: [usize; 2], device: &Device) -> Self {
        Self {
            real: RealBuffer::new(dims, device),
            imagined: ImaginedBuffer::on(capacity, dims, device),
            batch: Batch::default(),
            draw_counter: DrawCounter::default(),
        }
    }

    /// Returns the batch of agent update number `update`: `rows` rows, of which a share of `real_ratio` is real.
    /// `noise_streams` are the names of the streams whose normals `[B, A]` the update will ask for.
    ///
    /// # Panics
    /// If no real transition is stored, or the ratio is not in [0, 1].
    #[must_use]
    pub fn draw(
        &mut self,
        rows: usize,
        real_ratio: f64,
        [seed, update]: [u64; 2],
        noise_streams: &'static [&'static str],
    ) -> Drawn<'_> {
        let Self { real, imagined, batch, draw_counter } = self;
        assert!(real.rows().rows > 0, "the replay holds no real transition");
        assert!((0.0..=1.0).contains(&real_ratio), "a share of real rows is 0 to 1, not {real_ratio}");
        let shares = shares(rows, real_ratio, imagined.len());
        let streams = StreamNoise { seed, update };
        // The kernel always fills two streams. For an agent with fewer streams, the surplus is unused.
        let first = noise_streams.first().copied().unwrap_or("agent/noise");
        let names = [first, noise_streams.get(1).copied().unwrap_or(first)];
        if let Some((drawn, normals)) = draw(real, imagined, shares, [seed, update], names, draw_counter) {
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
