//! The random draws of an update, each from a named stream.

use burn::tensor::{Device, Tensor};
use foresee_core::Stream;
use foresee_nn::cpu::{PANEL_ROWS, random};
use foresee_nn::tensors;

/// The source of an update's random draws. Repeated calls with one name return identical numbers.
pub trait Noise {
    /// Returns standard normals `[rows, columns]` of the stream `name`, on `device`.
    fn normals(&self, name: &'static str, shape: [usize; 2], device: &Device) -> Tensor<2>;

    /// Writes standard normals `[rows, columns]` of the stream `name` to a buffer in host memory, and reuses its
    /// allocation.
    fn normals_into(&self, name: &'static str, shape: [usize; 2], out: &mut Vec<f32>);

    /// Returns 32 random bits per row, `[rows]`.
    fn words(&self, name: &'static str, rows: usize) -> Vec<u32>;
}

/// The draws of one update from the run's named streams. The update's number is the step of the address; the batch row
/// is the substream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamNoise {
    /// The run's seed.
    pub seed: u64,
    /// The update's number.
    pub update: u64,
}

impl Noise for StreamNoise {
    fn normals(&self, name: &'static str, [rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
        let values = Stream::new(self.seed, name).normals(self.update, rows, columns);
        tensors::from_vec(values, [rows, columns], device)
    }

    fn normals_into(&self, name: &'static str, [rows, columns]: [usize; 2], out: &mut Vec<f32>) {
        // Panel by panel, because a panel's substreams are drawn together. The numbers are those of `Stream::normals`.
        let stream = Stream::new(self.seed, name);
        let (count, panel) = (rows * columns, columns * PANEL_ROWS);
        out.resize(count + panel, 0.0);
        let (all, panel) = out.split_at_mut(count);
        for (i, rows) in all.chunks_mut(panel.len().max(1)).enumerate() {
            let substreams =
                std::array::from_fn(|j| u32::try_from(i * PANEL_ROWS + j).expect("a stream has 2^32 substreams"));
            random::normals(&stream, self.update, &substreams, panel);
            for (j, row) in rows.chunks_exact_mut(columns).enumerate() {
                row.iter_mut().enumerate().for_each(|(c, x)| *x = panel[c * PANEL_ROWS + j]);
            }
        }
        out.truncate(count);
    }

    fn words(&self, name: &'static str, rows: usize) -> Vec<u32> {
        let stream = Stream::new(self.seed, name);
        let substreams = 0..u32::try_from(rows).expect("a stream has 2^32 substreams");
        substreams.map(|substream| stream.at(self.update, substream).bits()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_draws_are_the_named_streams_at_the_updates_number() {
        let noise = StreamNoise { seed: 3, update: 7 };
        let stream = Stream::new(3, "a");
        let want = stream.normals(7, 4, 2);
        let mut got = vec![9.0];
        noise.normals_into("a", [4, 2], &mut got);
        assert_eq!(got, want);
        assert_eq!(tensors::to_vec(noise.normals("a", [4, 2], &Device::flex())), want);
        for (rows, columns) in [(1, 1), (31, 5), (32, 3), (33, 2), (100, 60), (0, 3)] {
            noise.normals_into("b", [rows, columns], &mut got);
            assert_eq!(got, Stream::new(3, "b").normals(7, rows, columns), "{rows} rows of {columns}");
        }
        let words = noise.words("a", 2);
        assert_eq!(words, [stream.at(7, 0).bits(), stream.at(7, 1).bits()]);
    }
}
