//! The product of a tile's activations with a weight matrix.
//!
//! Each thread sums a block of some outputs times some rows in registers. Neighbouring threads have neighbouring
//! outputs, so that weights are read in whole lines, each once per tile, while all of these threads read the same
//! activations. A layer that is too narrow for all threads is cut along its inputs as well, and the parts are added in
//! order.

use cubecl::prelude::*;

use super::net_shape::LayerShape;
use super::tile::Tile;

/// Maximum number of sums that a thread holds in registers.
const REGISTERS: usize = 32;

/// A product with a matrix in a member's row of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Product {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Offset of the matrix `[inputs, outputs]`.
    pub(crate) weight: usize,
    /// Offset of the bias, if one is added.
    pub(crate) bias: Option<usize>,
}

impl Product {
    pub(crate) fn of(layer: &LayerShape) -> Self {
        Self { inputs: layer.inputs, outputs: layer.outputs, weight: layer.weight, bias: Some(layer.bias) }
    }
}

/// Computes the sums of a layer, with the bias, from one side into the other. Ends with `sync_cube()`.
#[cube]
pub(crate) fn linear<N: Size>(
    parameters: &[f32],
    member: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] from: usize,
    #[comptime] to: usize,
    #[comptime] product: Product,
    #[comptime] tile: Tile,
) {
    let inputs = comptime!(product.inputs);
    let outputs = comptime!(product.outputs);
    let block = comptime!(Block::best(inputs, outputs, &tile));
    let vectors = comptime!(tile.vectors());
    // Distance between a thread's outputs. The last one may be out of range; reads for it are still within the member's
    // row.
    let columns = comptime!(outputs.div_ceil(block.outputs));
    let groups = comptime!(vectors / block.vectors);
    let length = comptime!(inputs.div_ceil(block.slices));

    let mut job = UNIT_POS as usize;
    while job < comptime!(block.jobs(outputs, &tile)) {
        let column = job % columns;
        let group = (job / columns) % groups;
        let slice = job / comptime!(columns * groups);
        let first = slice * length;
        let mut end = first + length;
        if end > inputs {
            end = inputs.runtime();
        }
        let rows = group * comptime!(block.vectors);

        let mut sums = Array::<Vector<f32, N>>::new(comptime!(block.outputs * block.vectors));
        #[unroll]
        for i in 0..comptime!(block.outputs * block.vectors) {
            sums[i] = Vector::new(0.0f32);
        }
        let mut k = first;
        while k + 4 <= end {
            let mut weights = Array::<f32>::new(comptime!(4 * block.outputs));
            #[unroll]
            for u in 0..4usize {
                #[unroll]
                for o in 0..comptime!(block.outputs) {
                    weights[comptime!(u * block.outputs + o)] =
                        parameters[member + column + (k + u) * outputs + comptime!(product.weight + o * columns)];
                }
            }
            #[unroll]
            for u in 0..4usize {
                #[unroll]
                for v in 0..comptime!(block.vectors) {
                    let x = shared[(k + u) * vectors + rows + comptime!(from + v)];
                    #[unroll]
                    for o in 0..comptime!(block.outputs) {
                        sums[comptime!(o * block.vectors + v)] +=
                            x * Vector::new(weights[comptime!(u * block.outputs + o)]);
                    }
                }
            }
            k += 4;
        }
        while k < end {
            #[unroll]
            for v in 0..comptime!(block.vectors) {
                let x = shared[k * vectors + rows + comptime!(from + v)];
                #[unroll]
                for o in 0..comptime!(block.outputs) {
                    let weight = parameters[member + column + k * outputs + comptime!(product.weight + o * columns)];
                    sums[comptime!(o * block.vectors + v)] += x * Vector::new(weight);
                }
            }
            k += 1;
        }
        #[unroll]
        for o in 0..comptime!(block.outputs) {
            let output = column + comptime!(o * columns);
            if output < outputs {
                let mut added = 0.0f32;
                if comptime!(block.slices == 1 && product.bias.is_some()) {
                    added = parameters[member + output + comptime!(product.bias.unwrap_or(0))];
                }
                #[unroll]
                for v in 0..comptime!(block.vectors) {
                    shared[(slice * outputs + output) * vectors + rows + comptime!(to + v)] =
                        sums[comptime!(o * block.vectors + v)] + Vector::new(added);
                }
            }
        }
        job += comptime!(tile.threads);
    }
    sync_cube();
    if comptime!(block.slices > 1) {
        let size = comptime!(outputs * vectors);
        let mut i = UNIT_POS as usize;
        while i < size {
            let mut sum = shared[to + i];
            #[unroll]
            for slice in 1..comptime!(block.slices) {
                sum += shared[i + comptime!(to + slice * size)];
            }
            if comptime!(product.bias.is_some()) {
                sum += Vector::new(parameters[member + i / vectors + comptime!(product.bias.unwrap_or(0))]);
            }
            shared[to + i] = sum;
            i += comptime!(tile.threads);
        }
        sync_cube();
    }
}

/// The sums that one thread computes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Block {
    /// Number of outputs, which are a constant distance apart.
    outputs: usize,
    /// Number of vectors of rows.
    vectors: usize,
    /// Number of parts into which the inputs are cut.
    slices: usize,
}

impl Block {
    /// Returns the cheapest block for a layer, in instructions of the slowest thread.
    fn best(inputs: usize, outputs: usize, tile: &Tile) -> Self {
        let powers = |most: usize| (0..usize::BITS).map(|power| 1 << power).take_while(move |&n| n <= most);
        let mut best = (usize::MAX, Self { outputs: 1, vectors: 1, slices: 1 });
        for vectors in powers(tile.vectors()) {
            for columns in powers(outputs.min(4)).filter(|n| n * vectors * tile.lanes() <= REGISTERS) {
                for slices in powers((tile.widest / outputs).min(inputs.div_ceil(8))) {
                    let block = Self { outputs: columns, vectors, slices };
                    let cost = block.cost(inputs, outputs, tile);
                    if cost < best.0 {
                        best = (cost, block);
                    }
                }
            }
        }
        best.1
    }

    fn cost(&self, inputs: usize, outputs: usize, tile: &Tile) -> usize {
        // Cost of reading a weight from global memory, or a vector of up to four numbers of a feature from shared
        // memory.
        const READ: usize = 4;
        let rounds = self.jobs(outputs, tile).div_ceil(tile.threads);
        let step = (self.outputs * READ) + self.vectors * READ + self.outputs * self.vectors * tile.lanes();
        let parts = if self.slices == 1 { 0 } else { (self.slices + 16) * READ };
        rounds * inputs.div_ceil(self.slices) * step + parts * (outputs * tile.vectors()).div_ceil(tile.threads)
    }

    fn jobs(&self, outputs: usize, tile: &Tile) -> usize {
        outputs.div_ceil(self.outputs) * (tile.vectors() / self.vectors) * self.slices
    }
}
