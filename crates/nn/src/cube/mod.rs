//! The lower floor on a GPU: the primitive in kernels of our own (feature `wgpu`), for every vendor's device.
//!
//! In the order a reader needs it:
//! * [`mod@tensor`]: Burn's tensors as buffers, and back.
//! * [`net_shape`]: what a kernel knows of a network when it is compiled.
//! * [`math`]: exp, tanh and their kin, of one number.
//! * [`random`]: the named streams' draws.
//! * [`tile`]: a cube of threads carries some rows through all layers of one member.
//! * `product`: the products in it.
//! * [`rows`]: rows in and out of a tile.
//! * `tape`: the passes that keep what gradients need.
//! * `weights`: gradients of weights.
//! * `passes`, `mlp`: the primitive's kernels, and their launches.
//! * `adam`: the optimiser's rule, and the averaging of targets.
//! * [`ahead`]: numbers that change at every step, sent for many steps at once.
//!
//! A kernel reads the same parameters `[E, 1, P]` as the processor ([`Layout`](crate::cpu::Layout)). Nothing asks for
//! subgroups, tensor cores or float atomics, and every sum has one order.

#![allow(unsafe_code, reason = "kernels are launched without bound checks, each launch with its argument")]

mod adam;
pub mod ahead;
pub mod math;
mod mlp;
pub mod net_shape;
mod passes;
mod product;
pub mod random;
pub mod rows;
mod tape;
pub mod tensor;
pub mod tile;
mod weights;

use burn::tensor::DType;
use cubecl::prelude::{CubeCount, CubeDim};

pub(crate) use adam::{adam_step, polyak_step};
pub(crate) use mlp::{rows_of_one_pass, takes};
use tensor::rows;

pub use ahead::{Ahead, send};
pub use burn_cubecl::tensor::CubeTensor;
pub use mlp::{Saved, backward, forward, infer};
pub use net_shape::{LayerShape, NetShape};
pub use tensor::{buffer, is_cube, is_plain, tensor};
pub use tile::Tile;

/// A new buffer of f32 beside `like`, its numbers not set.
#[must_use]
pub fn empty(like: &CubeTensor, shape: &[usize]) -> CubeTensor {
    let size: usize = shape.iter().product();
    // An empty buffer cannot be bound.
    let handle = like.client.empty(size.max(1) * size_of::<f32>());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape.to_vec().into(), handle, DType::F32)
}

/// A new buffer of zeros beside `like`.
fn zeros(like: &CubeTensor, shape: &[usize]) -> CubeTensor {
    let size: usize = shape.iter().product();
    let handle = like.client.create_from_slice(&vec![0; size * size_of::<f32>()]);
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape.to_vec().into(), handle, DType::F32)
}

/// The same numbers with another row-major shape.
#[track_caller]
#[must_use]
pub fn reshape(buffer: CubeTensor, shape: &[usize]) -> CubeTensor {
    let numbers = buffer.meta.num_elements();
    assert_eq!(shape.iter().product::<usize>(), numbers, "{numbers} numbers do not fill shape {shape:?}");
    assert!(buffer.is_contiguous(), "row-major numbers");
    CubeTensor::new_contiguous(buffer.client, buffer.device, shape.to_vec().into(), buffer.handle, buffer.dtype)
}

/// Cubes and threads for one thread a number; some of the last have none.
#[must_use]
pub fn elementwise(numbers: usize) -> (CubeCount, CubeDim) {
    const THREADS: usize = 256;
    const MOST_CUBES: usize = 65_535;
    let cubes = numbers.div_ceil(THREADS).max(1);
    let x = cubes.min(MOST_CUBES);
    (CubeCount::Static(x as u32, cubes.div_ceil(x) as u32, 1), CubeDim::new_1d(THREADS as u32))
}
