//! The pass of a tile of rows through all layers of one member, by one cube of threads.
//!
//! The activations of a tile of `T` rows are in shared memory as `[feature][T]`, in vectors of up to four rows. The
//! memory has two sides: a layer reads one side and writes the other.

#![allow(missing_docs, reason = "of what the macro adds to a function")]

use cubecl::ir::HardwareProperties;
use cubecl::prelude::*;

use super::math;
use super::net_shape::{LayerShape, NetShape};
use super::product::{Product, linear};
use crate::cpu::{Activation, MIN_NORM, NORM_EPS};

/// Number of threads of a cube, if the device allows that many.
const THREADS: usize = 256;
/// Maximum number of rows of a tile.
const MOST_ROWS: usize = 32;
/// Maximum number of rows of a vector, the limit of WGSL.
const MOST_LANES: usize = 4;
/// Number of parts into which a sum over features is cut.
const SLICES: usize = 16;

/// The form of a tile, known when a kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Number of rows, `T`: a power of two up to 32.
    pub rows: usize,
    /// Number of threads of the cube: a power of two, and a multiple of the number of vectors of a feature.
    pub threads: usize,
    /// Number of features for which a side has room.
    pub widest: usize,
}

impl Tile {
    /// Returns the tallest tile for these networks on a device that leaves `left` bytes of shared memory unused, or
    /// `None` if not even one row fits.
    #[must_use]
    pub fn tallest(device: &HardwareProperties, nets: &[&NetShape], left: usize) -> Option<Self> {
        let widest = nets.iter().map(|net| net.widest()).max().unwrap_or(1);
        let most = device.max_units_per_cube.min(device.max_cube_dim.0) as usize;
        Self::within(device.max_shared_memory_size.saturating_sub(left), most, widest)
    }

    /// Returns the tallest tile that needs at most `room` bytes and `most_threads` threads.
    fn within(room: usize, most_threads: usize, widest: usize) -> Option<Self> {
        let threads = THREADS.min(1 << most_threads.max(1).ilog2());
        (0..=MOST_ROWS.ilog2())
            .rev()
            .map(|power| Self { rows: 1 << power, threads, widest })
            .find(|tile| tile.bytes() <= room && tile.vectors() <= threads)
    }

    /// Reduces the number of rows, so that a launch over `rows` rows of each of `members` members has cubes for a whole
    /// GPU.
    #[must_use]
    pub fn spread(mut self, members: usize, rows: usize) -> Self {
        // About one cube for each multiprocessor of a large GPU.
        const CUBES: usize = 128;
        while self.rows > MOST_LANES && members * rows.div_ceil(self.rows) < CUBES {
            self.rows /= 2;
        }
        self
    }

    /// Number of rows of a vector: the kernel's `N`.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.rows.min(MOST_LANES)
    }

    /// Number of vectors that hold the rows of one feature.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.rows / self.lanes()
    }

    /// Offset in shared memory of side `side`, in vectors. Even numbers mean one side, odd numbers the other.
    #[must_use]
    pub fn side(&self, side: usize) -> usize {
        (side % 2) * self.widest * self.vectors()
    }

    /// Offset at which `forward` expects the input `[feature][T]`, in vectors.
    #[must_use]
    pub fn input(&self) -> usize {
        self.side(0)
    }

    /// Offset at which `forward` writes the output, in vectors.
    #[must_use]
    pub fn output(&self, net: &NetShape) -> usize {
        self.side(net.depth())
    }

    /// Size in shared memory, in vectors: two sides, and the buffer of `total`.
    #[must_use]
    pub fn size(&self) -> usize {
        (2 * self.widest + self.slices()) * self.vectors()
    }

    /// Size in shared memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.size() * self.lanes() * size_of::<f32>()
    }

    /// Number of parts that `total` adds.
    #[must_use]
    pub fn slices(&self) -> usize {
        SLICES.min(self.threads / self.vectors())
    }

    fn scratch(&self) -> usize {
        2 * self.widest * self.vectors()
    }
}

/// Runs all layers. The input must be at [`Tile::input`], and `sync_cube()` must have run since it was written. The
/// output is at [`Tile::output`], and the cube has synchronised since it was written. `member` is the offset of the
/// member's row of parameters.
#[cube]
pub fn forward<N: Size>(
    parameters: &[f32],
    member: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] net: NetShape,
    #[comptime] tile: Tile,
) {
    #[unroll]
    for l in 0..comptime!(net.depth()) {
        let layer = comptime!(net.layers[l]);
        let to = comptime!(tile.side(l + 1));
        linear::<N>(parameters, member, shared, comptime!(tile.side(l)), to, comptime!(Product::of(&layer)), tile);
        if comptime!(layer.norm) {
            normalize::<N>(shared, to, comptime!(layer.outputs), tile);
        }
        if comptime!(l + 1 < net.depth()) {
            activate::<N>(parameters, member, shared, to, layer, comptime!(net.activation), tile);
        }
        if comptime!(net.is_unit(l)) {
            unit::<N>(shared, to, comptime!(layer.outputs), tile);
        }
    }
}

/// Index of a thread's own vector. The thread works on that vector of its features.
#[cube]
pub(crate) fn own_vector(#[comptime] tile: Tile) -> usize {
    UNIT_POS as usize % comptime!(tile.vectors())
}

/// The first feature that a thread works on; the next ones follow at a distance of threads divided by vectors.
#[cube]
pub(crate) fn own_feature(#[comptime] tile: Tile) -> usize {
    UNIT_POS as usize / comptime!(tile.vectors())
}

/// Returns the sum over all features of a thread's own vector. Each thread passes its `part`: the sum over the feature
/// [`own_feature`] and every [`Tile::slices`]-th feature after it. Threads with `own_feature` ≥ `slices` are ignored.
#[cube]
pub(crate) fn total<N: Size>(
    part: Vector<f32, N>,
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] tile: Tile,
) -> Vector<f32, N> {
    let vectors = comptime!(tile.vectors());
    let slice = own_feature(tile);
    let vector = own_vector(tile);
    if slice < comptime!(tile.slices()) {
        shared[comptime!(tile.scratch()) + slice * vectors + vector] = part;
    }
    sync_cube();
    let mut sum = Vector::<f32, N>::new(0.0f32);
    #[unroll]
    for slice in 0..comptime!(tile.slices()) {
        sum += shared[vector + comptime!(tile.scratch() + slice * vectors)];
    }
    sync_cube();
    sum
}

/// The mean of the features at `at`, for a thread's own vector.
#[cube]
fn mean<N: Size>(
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] at: usize,
    #[comptime] features: usize,
    #[comptime] tile: Tile,
) -> Vector<f32, N> {
    let vectors = comptime!(tile.vectors());
    let vector = own_vector(tile);
    let mut part = Vector::<f32, N>::new(0.0f32);
    let mut f = own_feature(tile);
    while f < features {
        part += shared[at + f * vectors + vector];
        f += comptime!(tile.slices());
    }
    total::<N>(part, shared, tile) / Vector::new(comptime!(features as f32))
}

/// 1 / √(mean squared deviation of the features at `at` from `mean` + 1e-5), for a thread's own vector.
#[cube]
fn inverse_deviation<N: Size>(
    mean: Vector<f32, N>,
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] at: usize,
    #[comptime] features: usize,
    #[comptime] tile: Tile,
) -> Vector<f32, N> {
    let vectors = comptime!(tile.vectors());
    let vector = own_vector(tile);
    let mut part = Vector::<f32, N>::new(0.0f32);
    let mut f = own_feature(tile);
    while f < features {
        let centred = shared[at + f * vectors + vector] - mean;
        part += centred * centred;
        f += comptime!(tile.slices());
    }
    let variance = total::<N>(part, shared, tile) / Vector::new(comptime!(features as f32));
    Vector::new(1.0f32) / (variance + Vector::new(NORM_EPS)).sqrt()
}

/// Layer normalisation in place, without scale and shift. Returns 1/σ for a thread's own vector.
#[cube]
pub(crate) fn normalize<N: Size>(
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] at: usize,
    #[comptime] features: usize,
    #[comptime] tile: Tile,
) -> Vector<f32, N> {
    let vectors = comptime!(tile.vectors());
    let vector = own_vector(tile);
    let mean = mean::<N>(shared, at, features, tile);
    let inverse = inverse_deviation::<N>(mean, shared, at, features, tile);
    let mut f = own_feature(tile);
    while f < features {
        let i = at + f * vectors + vector;
        shared[i] = (shared[i] - mean) * inverse;
        f += comptime!(tile.threads / vectors);
    }
    sync_cube();
    inverse
}

/// Applies scale and shift if there are any, then the activation, in place.
#[cube]
pub(crate) fn activate<N: Size>(
    parameters: &[f32],
    member: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] at: usize,
    #[comptime] layer: LayerShape,
    #[comptime] activation: Activation,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    let vector = own_vector(tile);
    let mut f = own_feature(tile);
    while f < comptime!(layer.outputs) {
        let i = at + f * vectors + vector;
        let mut x = shared[i];
        if comptime!(layer.norm) {
            x = scaled::<N>(x, f, parameters, member, layer);
        }
        shared[i] = activation_of::<N>(x, activation);
        f += comptime!(tile.threads / vectors);
    }
    sync_cube();
}

/// x · scale + shift of feature `f`.
#[cube]
pub(crate) fn scaled<N: Size>(
    x: Vector<f32, N>,
    f: usize,
    parameters: &[f32],
    member: usize,
    #[comptime] layer: LayerShape,
) -> Vector<f32, N> {
    let scale = parameters[member + f + comptime!(layer.scale)];
    let shift = parameters[member + f + comptime!(layer.shift)];
    x * Vector::new(scale) + Vector::new(shift)
}

/// Applies an activation to every lane.
#[cube]
pub(crate) fn activation_of<N: Size>(x: Vector<f32, N>, #[comptime] activation: Activation) -> Vector<f32, N> {
    let mut y = x;
    #[unroll]
    for lane in 0..N::value() {
        let z = x.extract(lane);
        if comptime!(activation == Activation::Silu) {
            y.insert(lane, z * math::sigmoid(z));
        } else if comptime!(activation == Activation::Relu) {
            // Written so that a NaN passes through.
            y.insert(lane, select(z < 0.0f32, 0.0f32, z));
        } else if comptime!(activation == Activation::Tanh) {
            y.insert(lane, math::tanh(z));
        }
    }
    y
}

/// Divides features by max(‖x‖, 1e-12), in place. Returns the inverse of this divisor for a thread's own vector.
#[cube]
pub(crate) fn unit<N: Size>(
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] at: usize,
    #[comptime] features: usize,
    #[comptime] tile: Tile,
) -> Vector<f32, N> {
    let vectors = comptime!(tile.vectors());
    let vector = own_vector(tile);
    let mut part = Vector::<f32, N>::new(0.0f32);
    let mut f = own_feature(tile);
    while f < features {
        let x = shared[at + f * vectors + vector];
        part += x * x;
        f += comptime!(tile.slices());
    }
    let mut norm = total::<N>(part, shared, tile).sqrt();
    #[unroll]
    for lane in 0..N::value() {
        let x = norm.extract(lane);
        norm.insert(lane, select(x < MIN_NORM, MIN_NORM, x));
    }
    let mut f = own_feature(tile);
    while f < features {
        let i = at + f * vectors + vector;
        // Divides instead of multiplying by the inverse, so that the only active unit of a row becomes exactly 1.
        shared[i] /= norm;
        f += comptime!(tile.threads / vectors);
    }
    sync_cube();
    Vector::new(1.0f32) / norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tallest_tile_fits_and_the_next_does_not() {
        for (room, most_threads, widest) in [16, 32, 48, 64]
            .into_iter()
            .flat_map(|kib| [1, 17, 200, 256, 1000, 2000].map(|width| (kib << 10, 256, width)))
        {
            let tile = Tile::within(room, most_threads, widest).expect("a tile");
            assert!(tile.bytes() <= room, "{tile:?}");
            assert!(tile.rows == MOST_ROWS || Tile { rows: 2 * tile.rows, ..tile }.bytes() > room, "{tile:?}");
        }
        assert_eq!(Tile::within(16 << 10, 256, 3000), None);
        let few = Tile::within(16 << 10, 100, 16).expect("a tile");
        assert_eq!((few.threads, few.rows), (64, MOST_ROWS));
    }

    #[test]
    fn few_rows_are_spread_over_more_cubes() {
        let tile = Tile::within(48 << 10, 256, 256).expect("a tile");
        assert_eq!(tile.spread(7, 100_000), tile);
        assert_eq!(tile.spread(1, 1).rows, MOST_LANES);
        assert!(tile.spread(2, 256).rows < tile.rows);
    }
}
