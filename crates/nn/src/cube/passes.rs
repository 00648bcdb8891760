//! The kernels of the primitive. Each cube processes a tile of rows of one member.

use cubecl::prelude::*;

use super::net_shape::NetShape;
use super::rows;
use super::tape::{self, TapeShape};
use super::tile::{self, Tile};

/// The forward pass without a tape, `[E or 1, B, I] -> [E, B, O]`: cube x and z select a tile of rows, cube y a member.
#[cube(launch_unchecked)]
pub(super) fn infer_rows<N: Size>(
    x: &[f32],
    parameters: &[f32],
    y: &mut [f32],
    count: u32,
    #[comptime] shares_input: bool,
    #[comptime] net: NetShape,
    #[comptime] tile: Tile,
) {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tile.size()));
    let count = count as usize;
    let member = CUBE_POS_Y as usize;
    let first = own_tile() * comptime!(tile.rows);
    let mut start = 0usize;
    if comptime!(!shares_input) {
        start = member * count * comptime!(net.inputs());
    }
    rows::load::<N>(x, start, first, count, &mut shared, comptime!(tile.input()), comptime!(net.inputs()), tile);
    let weights = member * comptime!(net.parameters);
    tile::forward::<N>(parameters, weights, &mut shared, comptime!(net.clone()), tile);
    let start = member * count * comptime!(net.outputs());
    rows::store::<N>(&shared, y, start, first, count, comptime!(tile.output(&net)), comptime!(net.outputs()), tile);
}

/// The forward pass of [`infer_rows`], which also writes a tape.
#[cube(launch_unchecked)]
pub(super) fn forward_rows<N: Size>(
    x: &[f32],
    parameters: &[f32],
    y: &mut [f32],
    tape: &mut [Vector<f32, N>],
    count: u32,
    #[comptime] shares_input: bool,
    #[comptime] net: NetShape,
    #[comptime] shape: TapeShape,
    #[comptime] tile: Tile,
) {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tile.size()));
    let count = count as usize;
    let member = CUBE_POS_Y as usize;
    let first = own_tile() * comptime!(tile.rows);
    let mut start = 0usize;
    if comptime!(!shares_input) {
        start = member * count * comptime!(net.inputs());
    }
    rows::load::<N>(x, start, first, count, &mut shared, comptime!(tile.input()), comptime!(net.inputs()), tile);
    let part = own_part() * comptime!(shape.size * tile.vectors());
    let weights = member * comptime!(net.parameters);
    tape::forward::<N>(parameters, weights, &mut shared, tape, part, comptime!(net.clone()), shape, tile);
    let start = member * count * comptime!(net.outputs());
    rows::store::<N>(&shared, y, start, first, count, comptime!(tile.output(&net)), comptime!(net.outputs()), tile);
}

/// The backward pass, from the gradient at the output `[E, B, O]` to the gradients at all sums, on the tape, and with
/// `to_input` at every member's input, `[E, B, I]`.
#[cube(launch_unchecked)]
pub(super) fn backward_rows<N: Size>(
    gradient: &[f32],
    parameters: &[f32],
    transposed: &[f32],
    tape: &mut [Vector<f32, N>],
    dx: &mut [f32],
    count: u32,
    #[comptime] to_input: bool,
    #[comptime] net: NetShape,
    #[comptime] shape: TapeShape,
    #[comptime] tile: Tile,
) {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(tile.size()));
    let count = count as usize;
    let member = CUBE_POS_Y as usize;
    let first = own_tile() * comptime!(tile.rows);
    let start = member * count * comptime!(net.outputs());
    rows::load::<N>(
        gradient,
        start,
        first,
        count,
        &mut shared,
        comptime!(tile.input()),
        comptime!(net.outputs()),
        tile,
    );
    let part = own_part() * comptime!(shape.size * tile.vectors());
    tape::backward::<N>(
        parameters,
        transposed,
        member * comptime!(net.parameters),
        &mut shared,
        tape,
        part,
        to_input,
        comptime!(net.clone()),
        shape,
        tile,
    );
    if comptime!(to_input) {
        let start = member * count * comptime!(net.inputs());
        rows::store::<N>(&shared, dx, start, first, count, comptime!(tile.output(&net)), comptime!(net.inputs()), tile);
    }
}

/// `[E, n] -> [n]`: the sum over members, in order.
#[cube(launch_unchecked)]
pub(super) fn add_members(x: &[f32], sum: &mut [f32], #[comptime] members: usize) {
    let i = ABSOLUTE_POS;
    let size = sum.len();
    if i < size {
        let mut all = x[i];
        #[unroll]
        for member in 1..members {
            all += x[member * size + i];
        }
        sum[i] = all;
    }
}

/// Index of a cube's tile.
#[cube]
fn own_tile() -> usize {
    CUBE_POS_X as usize + CUBE_POS_Z as usize * CUBE_COUNT_X as usize
}

/// Index of a cube's part of the tape.
#[cube]
fn own_part() -> usize {
    CUBE_POS_Y as usize * CUBE_COUNT_X as usize * CUBE_COUNT_Z as usize + own_tile()
}
