//! The lower level on a GPU: the primitive in this crate's own kernels (feature `wgpu`), for the devices of every
//! vendor.
//!
//! The modules, in reading order:
//! * [`mod@tensor`]: conversion between Burn's tensors and buffers.
//! * [`net_shape`]: the sizes and offsets of a network that a kernel knows when it is compiled.
//! * [`math`]: exp, tanh and related functions of one number.
//! * [`random`]: the draws of the named streams.
//! * [`tile`]: the pass of a tile of rows through all layers of one member, by one cube of threads.
//! * `product`: the matrix products of that pass.
//! * [`rows`]: loading rows into a tile and storing them.
//! * `tape`: the passes that store the data for gradients.
//! * `weights`: gradients of weights.
//! * `passes`, `mlp`: the primitive's kernels, and their launches.
//! * `adam`: the optimiser's rule, and the averaging of target weights.
//! * [`step_table`]: numbers that change at every step, uploaded for many steps together.
//!
//! A kernel reads the same parameters `[E, 1, P]` as the CPU code ([`Layout`](crate::cpu::Layout)). No kernel needs
//! subgroups, tensor cores or float atomics, and every sum has a fixed order.

#![allow(unsafe_code, reason = "kernels are launched without bound checks, each launch with its argument")]

mod adam;
pub mod math;
mod mlp;
pub mod net_shape;
mod passes;
mod product;
pub mod random;
pub mod rows;
pub mod step_table;
mod tape;
pub mod tensor;
pub mod tile;
mod weights;

use burn::tensor::DType;
use cubecl::prelude::{CubeCount, CubeDim};

pub(crate) use adam::{adam_step, polyak_step};
pub(crate) use mlp::{max_rows_per_pass, supports};
use tensor::rows;

pub use burn_cubecl::tensor::CubeTensor;
pub use mlp::{Saved, backward, forward, infer};
pub use net_shape::{LayerShape, NetShape};
pub use step_table::{StepTable, upload};
pub use tensor::{buffer, is_cube, is_plain, tensor};
pub use tile::Tile;

/// Creates a buffer of f32 on the device of `like`, with unspecified numbers.
#[must_use]
pub fn empty(like: &CubeTensor, shape: &[usize]) -> CubeTensor {
    let size: usize = shape.iter().product();
    // An empty buffer cannot be bound, so the buffer has at least one number.
    let handle = like.client.empty(size.max(1) * size_of::<f32>());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape.to_vec().into(), handle, DType::F32)
}

/// Creates a buffer of zeros on the device of `like`.
fn zeros(like: &CubeTensor, shape: &[usize]) -> CubeTensor {
    let size: usize = shape.iter().product();
    let handle = like.client.create_from_slice(&vec![0; size * size_of::<f32>()]);
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape.to_vec().into(), handle, DType::F32)
}

/// Gives the numbers of a buffer another row-major shape.
#[track_caller]
#[must_use]
pub fn reshape(buffer: CubeTensor, shape: &[usize]) -> CubeTensor {
    let numbers = buffer.meta.num_elements();
    assert_eq!(shape.iter().product::<usize>(), numbers, "{numbers} numbers do not fill shape {shape:?}");
    assert!(buffer.is_contiguous(), "row-major numbers");
    CubeTensor::new_contiguous(buffer.client, buffer.device, shape.to_vec().into(), buffer.handle, buffer.dtype)
}

/// The numbers of cubes and threads for a launch with one thread per number. The last threads may have no number.
#[must_use]
pub fn elementwise(numbers: usize) -> (CubeCount, CubeDim) {
    const THREADS: usize = 256;
    const MOST_CUBES: usize = 65_535;
    let cubes = numbers.div_ceil(THREADS).max(1);
    let x = cubes.min(MOST_CUBES);
    (CubeCount::Static(x as u32, cubes.div_ceil(x) as u32, 1), CubeDim::new_1d(THREADS as u32))
}
