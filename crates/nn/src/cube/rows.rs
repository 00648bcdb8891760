//! Loading rows `[B, width]` into a tile's `[feature][T]` and storing them.

#![allow(missing_docs, reason = "of what the macro adds to a function")]

use cubecl::prelude::*;

use super::tile::Tile;

/// Loads the rows that begin with row `first` into shared memory at `at`. `start` is the offset of the rows
/// `[B, width]` in `x`. Rows of the tile beyond the last one are zero. Ends with `sync_cube()`.
#[cube]
pub fn load<N: Size>(
    x: &[f32],
    start: usize,
    first: usize,
    rows: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    #[comptime] at: usize,
    #[comptime] width: usize,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    let mut i = UNIT_POS as usize;
    while i < comptime!(width * vectors) {
        let feature = i % width;
        let vector = i / width;
        let mut values = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for lane in 0..N::value() {
            let row = first + vector * comptime!(tile.lanes()) + lane;
            if row < rows {
                values.insert(lane, x[start + row * width + feature]);
            }
        }
        shared[feature * vectors + vector + at] = values;
        i += comptime!(tile.threads);
    }
    sync_cube();
}

/// Stores the features at `at` in shared memory to the rows that begin with row `first`, as far as these rows exist.
#[cube]
pub fn store<N: Size>(
    shared: &Shared<[Vector<f32, N>]>,
    y: &mut [f32],
    start: usize,
    first: usize,
    rows: usize,
    #[comptime] at: usize,
    #[comptime] width: usize,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    let mut i = UNIT_POS as usize;
    while i < comptime!(width * vectors) {
        let feature = i % width;
        let vector = i / width;
        let values = shared[feature * vectors + vector + at];
        #[unroll]
        for lane in 0..N::value() {
            let row = first + vector * comptime!(tile.lanes()) + lane;
            if row < rows {
                y[start + row * width + feature] = values.extract(lane);
            }
        }
        i += comptime!(tile.threads);
    }
}
