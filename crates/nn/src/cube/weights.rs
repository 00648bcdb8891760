//! Work on the weights of all layers and members in one launch: their gradients from a tape, and their transposes.
//!
//! A weight's gradient is ∂L/∂W = Σ over rows of inputᵀ · gradient at the sums. A cube sums a block of one layer's
//! gradient in registers, over the tiles of the tape in order, so that two runs give the same bits.

use cubecl::prelude::*;

use super::net_shape::{LayerShape, NetShape};
use super::tape::{TapeLayer, TapeShape};

/// Height and width of a block of a weight's gradient.
const BLOCK: usize = 32;
/// Number of inputs and number of outputs per thread in a block, at distances of [`SIDE`].
const EACH: usize = 4;
/// Number of threads along each side of a block.
const SIDE: usize = BLOCK / EACH;
/// Number of threads of a cube.
pub(crate) const THREADS: usize = SIDE * SIDE;
/// Minimum number of vectors of rows that are staged together.
const STAGED: usize = 4;
/// Height and width of a block of a transpose.
const TRANSPOSE_BLOCK: usize = 16;
/// Number of threads of a cube that transposes.
pub(crate) const TRANSPOSE_THREADS: usize = TRANSPOSE_BLOCK * TRANSPOSE_BLOCK;

/// The jobs of the cubes: blocks of every layer's weight, then columns of every layer's vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Jobs {
    /// The first job of each layer's blocks, and the end of the last layer's.
    blocks: Vec<usize>,
    /// The first job of each layer's columns, and the end of the last layer's.
    columns: Vec<usize>,
}

impl Jobs {
    /// The jobs of computing gradients.
    pub(crate) fn gradients(net: &NetShape) -> Self {
        let blocks = starts(0, net, |layer| layer.inputs.div_ceil(BLOCK) * layer.outputs.div_ceil(BLOCK));
        let columns = starts(blocks[net.depth()], net, |layer| layer.outputs.div_ceil(THREADS));
        Self { blocks, columns }
    }

    /// The jobs of transposing.
    pub(crate) fn transposes(net: &NetShape) -> Self {
        let blocks =
            starts(0, net, |layer| layer.inputs.div_ceil(TRANSPOSE_BLOCK) * layer.outputs.div_ceil(TRANSPOSE_BLOCK));
        Self { columns: vec![blocks[net.depth()]; net.depth() + 1], blocks }
    }

    /// Number of cubes per member.
    pub(crate) fn count(&self) -> usize {
        self.columns[self.columns.len() - 1]
    }

    fn all_blocks(&self) -> usize {
        self.columns[0]
    }
}

/// The first job of each layer, and the end of the last layer's.
fn starts(mut start: usize, net: &NetShape, work: impl Fn(&LayerShape) -> usize) -> Vec<usize> {
    let mut all = vec![start];
    for layer in &net.layers {
        start += work(layer);
        all.push(start);
    }
    all
}

/// Computes the gradients of all parameters, `[E, P]`, from a tape after its backward pass. Cube x is a job, cube y a
/// member. The numbers between the parts are set to zero.
#[cube(launch_unchecked)]
pub(crate) fn gradients<N: Size>(
    tape: &[Vector<f32, N>],
    gradient: &mut [f32],
    tiles: u32,
    #[comptime] net: NetShape,
    #[comptime] shape: TapeShape,
    #[comptime] jobs: Jobs,
    #[comptime] vectors: usize,
) {
    let job = CUBE_POS_X as usize;
    let tiles = tiles as usize;
    let size = comptime!(shape.size * vectors);
    let tape_start = CUBE_POS_Y as usize * tiles * size;
    let row = CUBE_POS_Y as usize * comptime!(net.parameters);
    if job < comptime!(jobs.all_blocks()) {
        weight_block::<N>(
            tape,
            gradient,
            tape_start,
            tiles,
            row,
            job,
            comptime!(net.clone()),
            comptime!(shape.clone()),
            comptime!(jobs.clone()),
            size,
            vectors,
        );
    } else {
        #[unroll]
        for l in 0..comptime!(net.depth()) {
            if job >= comptime!(jobs.columns[l]) && job < comptime!(jobs.columns[l + 1]) {
                let first = (job - comptime!(jobs.columns[l])) * THREADS;
                columns::<N>(
                    tape,
                    gradient,
                    tape_start,
                    tiles,
                    row,
                    first,
                    comptime!(net.layers[l]),
                    comptime!(shape.layers[l]),
                    size,
                    vectors,
                );
            }
        }
    }
}

/// Computes one block of the gradient of the weight that job `job` belongs to.
#[cube]
fn weight_block<N: Size>(
    tape: &[Vector<f32, N>],
    gradient: &mut [f32],
    tape_start: usize,
    tiles: usize,
    row: usize,
    job: usize,
    #[comptime] net: NetShape,
    #[comptime] shape: TapeShape,
    #[comptime] jobs: Jobs,
    #[comptime] size: usize,
    #[comptime] vectors: usize,
) {
    // Constants of the layer to which this block belongs.
    let mut inputs = 0usize;
    let mut outputs = 1usize;
    let mut block = 0usize;
    let mut input = 0usize;
    let mut sums_gradient = 0usize;
    let mut weight = 0usize;
    #[unroll]
    for l in 0..comptime!(net.depth()) {
        if job >= comptime!(jobs.blocks[l]) {
            inputs = comptime!(net.layers[l].inputs).runtime();
            outputs = comptime!(net.layers[l].outputs).runtime();
            block = job - comptime!(jobs.blocks[l]);
            input = comptime!(shape.layers[l].input * vectors).runtime();
            sums_gradient = comptime!(shape.layers[l].gradient * vectors).runtime();
            weight = comptime!(net.layers[l].weight).runtime();
        }
    }
    let wide = (outputs + comptime!(BLOCK - 1)) / BLOCK;
    let first_input = (block / wide) * BLOCK;
    let first_output = (block % wide) * BLOCK;
    let staged = comptime!(vectors.max(STAGED));
    // One extra vector per feature spreads the features over the memory banks.
    let stride = comptime!(staged + 1);
    let mut x = Shared::<[Vector<f32, N>]>::new_slice(comptime!(BLOCK * (staged + 1)));
    let mut g = Shared::<[Vector<f32, N>]>::new_slice(comptime!(BLOCK * (staged + 1)));
    let mut sums = Array::<Vector<f32, N>>::new(comptime!(EACH * EACH));
    #[unroll]
    for i in 0..comptime!(EACH * EACH) {
        sums[i] = Vector::new(0.0f32);
    }
    let row_of = UNIT_POS as usize / SIDE;
    let column_of = UNIT_POS as usize % SIDE;
    let at_once = comptime!(staged / vectors);
    let mut tile = 0usize;
    while tile < tiles {
        let mut i = UNIT_POS as usize;
        while i < comptime!(BLOCK * staged) {
            let vector = i % vectors;
            let feature = (i / vectors) % BLOCK;
            let next = i / comptime!(BLOCK * vectors);
            let from = tape_start + (tile + next) * size + vector;
            let to = feature * stride + next * vectors + vector;
            let mut x_value = Vector::<f32, N>::new(0.0f32);
            let mut g_value = Vector::<f32, N>::new(0.0f32);
            if tile + next < tiles {
                if first_input + feature < inputs {
                    x_value = tape[from + input + (first_input + feature) * vectors];
                }
                if first_output + feature < outputs {
                    g_value = tape[from + sums_gradient + (first_output + feature) * vectors];
                }
            }
            x[to] = x_value;
            g[to] = g_value;
            i += THREADS;
        }
        sync_cube();
        for v in 0..staged {
            let mut gs = Array::<Vector<f32, N>>::new(EACH);
            #[unroll]
            for b in 0..EACH {
                gs[b] = g[(column_of + comptime!(b * SIDE)) * stride + v];
            }
            #[unroll]
            for a in 0..EACH {
                let value = x[(row_of + comptime!(a * SIDE)) * stride + v];
                #[unroll]
                for b in 0..EACH {
                    sums[comptime!(a * EACH + b)] += value * gs[b];
                }
            }
        }
        sync_cube();
        tile += at_once;
    }
    #[unroll]
    for a in 0..EACH {
        let i = first_input + row_of + comptime!(a * SIDE);
        #[unroll]
        for b in 0..EACH {
            let o = first_output + column_of + comptime!(b * SIDE);
            if i < inputs && o < outputs {
                gradient[row + weight + i * outputs + o] = over_rows::<N>(sums[comptime!(a * EACH + b)]);
            }
        }
    }
}

/// The sum of a vector's lanes.
#[cube]
fn over_rows<N: Size>(x: Vector<f32, N>) -> f32 {
    let mut sum = x.extract(0usize);
    #[unroll]
    for lane in 1..N::value() {
        sum += x.extract(lane);
    }
    sum
}

/// Computes the gradients at bias, scale and shift, one output per thread, and writes zeros after every part.
#[cube]
fn columns<N: Size>(
    tape: &[Vector<f32, N>],
    gradient: &mut [f32],
    tape_start: usize,
    tiles: usize,
    row: usize,
    first: usize,
    #[comptime] layer: LayerShape,
    #[comptime] tape_layer: TapeLayer,
    #[comptime] size: usize,
    #[comptime] vectors: usize,
) {
    let o = first + UNIT_POS as usize;
    if o < comptime!(layer.outputs) {
        let mut bias = Vector::<f32, N>::new(0.0f32);
        let mut shift = Vector::<f32, N>::new(0.0f32);
        let mut scale = Vector::<f32, N>::new(0.0f32);
        for tile in 0..tiles {
            let from = tape_start + tile * size + o * vectors;
            for v in 0..vectors {
                bias += tape[from + v + comptime!(tape_layer.gradient * vectors)];
                if comptime!(layer.norm) {
                    let g = tape[from + v + comptime!(tape_layer.norm_gradient * vectors)];
                    shift += g;
                    scale += g * tape[from + v + comptime!(tape_layer.normalized * vectors)];
                }
            }
        }
        gradient[row + o + comptime!(layer.bias)] = over_rows::<N>(bias);
        if comptime!(layer.norm) {
            gradient[row + o + comptime!(layer.scale)] = over_rows::<N>(scale);
            gradient[row + o + comptime!(layer.shift)] = over_rows::<N>(shift);
        }
    }
    if first == 0 {
        let after_bias = comptime!(if layer.norm { layer.scale } else { layer.end });
        zero(gradient, row, comptime!(layer.weight + layer.inputs * layer.outputs), comptime!(layer.bias));
        zero(gradient, row, comptime!(layer.bias + layer.outputs), after_bias);
        if comptime!(layer.norm) {
            zero(gradient, row, comptime!(layer.scale + layer.outputs), comptime!(layer.shift));
            zero(gradient, row, comptime!(layer.shift + layer.outputs), comptime!(layer.end));
        }
    }
}

/// Writes zeros between two offsets; there must be fewer of them than threads.
#[cube]
fn zero(gradient: &mut [f32], row: usize, #[comptime] from: usize, #[comptime] to: usize) {
    let i = UNIT_POS as usize;
    if i < comptime!(to - from) {
        gradient[row + from + i] = 0.0f32;
    }
}

/// Writes every weight `[I, O]` of a row of parameters as `[O, I]`, to the same offset of another row.
#[cube(launch_unchecked)]
pub(crate) fn transpose(parameters: &[f32], transposed: &mut [f32], #[comptime] net: NetShape, #[comptime] jobs: Jobs) {
    let job = CUBE_POS_X as usize;
    let mut inputs = 0usize;
    let mut outputs = 1usize;
    let mut block = 0usize;
    let mut weight = 0usize;
    #[unroll]
    for l in 0..comptime!(net.depth()) {
        if job >= comptime!(jobs.blocks[l]) {
            inputs = comptime!(net.layers[l].inputs).runtime();
            outputs = comptime!(net.layers[l].outputs).runtime();
            block = job - comptime!(jobs.blocks[l]);
            weight = comptime!(net.layers[l].weight).runtime();
        }
    }
    let wide = (outputs + comptime!(TRANSPOSE_BLOCK - 1)) / TRANSPOSE_BLOCK;
    let first_input = (block / wide) * TRANSPOSE_BLOCK;
    let first_output = (block % wide) * TRANSPOSE_BLOCK;
    let start = CUBE_POS_Y as usize * comptime!(net.parameters) + weight;
    let mut block_values = Shared::<[f32]>::new_slice(comptime!(TRANSPOSE_BLOCK * (TRANSPOSE_BLOCK + 1)));
    let slow = UNIT_POS as usize / TRANSPOSE_BLOCK;
    let fast = UNIT_POS as usize % TRANSPOSE_BLOCK;
    if first_input + slow < inputs && first_output + fast < outputs {
        block_values[fast * comptime!(TRANSPOSE_BLOCK + 1) + slow] =
            parameters[start + (first_input + slow) * outputs + first_output + fast];
    }
    sync_cube();
    if first_output + slow < outputs && first_input + fast < inputs {
        transposed[start + (first_output + slow) * inputs + first_input + fast] =
            block_values[slow * comptime!(TRANSPOSE_BLOCK + 1) + fast];
    }
}
