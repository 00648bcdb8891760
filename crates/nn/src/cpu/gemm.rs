//! Matrix products on panels.
//!
//! A register tile is `S::ROWS` features by two vectors. The left factor is read in place, one number at a time (from a
//! weight matrix, its transpose, or the activations of a panel). The right factor is read as vectors of a panel.
//! Nothing is packed, and the layer's element-wise part is applied to a tile's result while it is still in the
//! first-level cache.
//!
//! Every number of a result is one chain of fused multiply-adds in the order of the inner index, whatever the tile.

use super::PANEL_ROWS;
use super::simd::Simd;

/// A left factor: number (m, k) is at `p + m·row + k·column`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) p: *const f32,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// Number of columns of a block of a weight gradient.
pub(super) const BLOCK_COLUMNS: usize = PANEL_ROWS;

/// Number of rows of the largest tile of any level.
pub(super) const MOST_ROWS: usize = 12;

/// The result of a tile: `[rows][PANEL_ROWS]`, of which the first rows and columns are in use.
pub(super) type RegisterTile = [[f32; PANEL_ROWS]; MOST_ROWS];

/// acc += left · right over `k`, where row `k` of the right factor is at `right + k·right_row`.
///
/// # Safety
/// Level `S` is available and enabled. Numbers (0..M, 0..k) of the left factor and the first 2·`WIDTH` numbers of the
/// right factor's first `k` rows can be read.
#[inline(always)]
unsafe fn accumulate<S: Simd, const M: usize>(
    acc: &mut [[S::V; 2]; M],
    k: usize,
    left: Left,
    right: *const f32,
    right_row: usize,
) {
    // SAFETY: i is below k and m below M, and the caller guarantees these numbers and the level.
    unsafe {
        for i in 0..k {
            let b = right.add(i * right_row);
            let (b0, b1) = (S::load(b), S::load(b.add(S::WIDTH)));
            let a = left.p.add(i * left.column);
            for m in 0..M {
                let x = S::splat(a.add(m * left.row));
                acc[m][0] = S::fma(x, b0, acc[m][0]);
                acc[m][1] = S::fma(x, b1, acc[m][1]);
            }
        }
    }
}

/// Stores two vectors per row into the tile, from column `column` on.
///
/// # Safety
/// Level `S` is available and enabled, and `column` is at most `PANEL_ROWS` − 2·`WIDTH`.
#[inline(always)]
unsafe fn spill<S: Simd, const M: usize>(acc: &[[S::V; 2]; M], tile: &mut RegisterTile, column: usize) {
    for m in 0..M {
        let row = tile[m].as_mut_ptr();
        // SAFETY: the caller guarantees the level, and that two vectors from `column` on are within the row's
        // `PANEL_ROWS` numbers.
        unsafe {
            S::store(row.add(column), acc[m][0]);
            S::store(row.add(column + S::WIDTH), acc[m][1]);
        }
    }
}

/// `M` rows of left · right for one panel `[k][PANEL_ROWS]`.
///
/// # Safety
/// Level `S` is available and enabled. Numbers (0..M, 0..k) of the left factor and the panel can be read.
#[inline(always)]
unsafe fn panel_rows<S: Simd, const M: usize>(k: usize, left: Left, right: *const f32, tile: &mut RegisterTile) {
    let mut column = 0;
    while column < PANEL_ROWS {
        // SAFETY: 2·`WIDTH` divides `PANEL_ROWS` at every level, so that two vectors from `column` on are within a row.
        // The caller guarantees the level and both factors.
        unsafe {
            let mut acc = [[S::zero(); 2]; M];
            accumulate::<S, M>(&mut acc, k, left, right.add(column), PANEL_ROWS);
            spill::<S, M>(&acc, tile, column);
        }
        column += 2 * S::WIDTH;
    }
}

/// `M` rows of a sum over panels and their rows, for the first `columns` columns of one block
/// `[rows of all panels][BLOCK_COLUMNS]` of the right factor.
///
/// # Safety
/// Level `S` is available and enabled. `columns` is at most `BLOCK_COLUMNS`. Features `row..row + M` of every panel can
/// be read, and so can `BLOCK_COLUMNS` numbers of every row of the right factor, which has `PANEL_ROWS` rows per panel.
#[inline(always)]
unsafe fn block_rows<S: Simd, const M: usize>(
    panels: &[*const f32],
    row: usize,
    right: *const f32,
    right_row: usize,
    columns: usize,
    tile: &mut RegisterTile,
) {
    let mut column = 0;
    while column < columns {
        if columns - column <= S::WIDTH {
            // One vector is enough.
            // SAFETY: `WIDTH` divides `BLOCK_COLUMNS`, so that the vector at `column` is within a row of the right
            // factor and of the tile. i is below `PANEL_ROWS` and m below M, for which the caller guarantees the
            // panels.
            unsafe {
                let mut acc = [S::zero(); M];
                for (p, panel) in panels.iter().enumerate() {
                    let left = panel.add(row * PANEL_ROWS);
                    let right = right.add(p * PANEL_ROWS * right_row + column);
                    for i in 0..PANEL_ROWS {
                        let b = S::load(right.add(i * right_row));
                        for m in 0..M {
                            acc[m] = S::fma(S::splat(left.add(m * PANEL_ROWS + i)), b, acc[m]);
                        }
                    }
                }
                for m in 0..M {
                    S::store(tile[m].as_mut_ptr().add(column), acc[m]);
                }
            }
            return;
        }
        // SAFETY: 2·`WIDTH` divides `BLOCK_COLUMNS`, so that two vectors from `column` on are within a row of the right
        // factor and of the tile. The caller guarantees the level, the panels and the rows.
        unsafe {
            let mut acc = [[S::zero(); 2]; M];
            for (p, panel) in panels.iter().enumerate() {
                let left = Left { p: panel.add(row * PANEL_ROWS), row: PANEL_ROWS, column: 1 };
                let right = right.add(p * PANEL_ROWS * right_row + column);
                accumulate::<S, M>(&mut acc, PANEL_ROWS, left, right, right_row);
            }
            spill::<S, M>(&acc, tile, column);
        }
        column += 2 * S::WIDTH;
    }
}

/// Expands to a call for each tile height that the level has.
macro_rules! by_rows {
    ($S:ident, $rows:expr, $f:ident ( $($argument:expr),* )) => {
        match $rows {
            1 => $f::<$S, 1>($($argument),*),
            2 => $f::<$S, 2>($($argument),*),
            3 => $f::<$S, 3>($($argument),*),
            4 => $f::<$S, 4>($($argument),*),
            5 if $S::ROWS > 4 => $f::<$S, 5>($($argument),*),
            6 if $S::ROWS > 4 => $f::<$S, 6>($($argument),*),
            7 if $S::ROWS > 6 => $f::<$S, 7>($($argument),*),
            8 if $S::ROWS > 6 => $f::<$S, 8>($($argument),*),
            9 if $S::ROWS > 6 => $f::<$S, 9>($($argument),*),
            10 if $S::ROWS > 6 => $f::<$S, 10>($($argument),*),
            11 if $S::ROWS > 6 => $f::<$S, 11>($($argument),*),
            _ if $S::ROWS > 6 => $f::<$S, 12>($($argument),*),
            _ => unreachable!("a tile has at most {} rows", $S::ROWS),
        }
    };
}

/// tile ← rows `0..rows` of left · right, for one panel `[k][PANEL_ROWS]`.
///
/// # Safety
/// Level `S` is available and enabled. `rows` is 1 to `S::ROWS`. Numbers (0..rows, 0..k) of the left factor and the
/// panel can be read.
#[inline(always)]
pub(super) unsafe fn panel_tile<S: Simd>(
    rows: usize,
    k: usize,
    left: Left,
    right: *const f32,
    tile: &mut RegisterTile,
) {
    // SAFETY: the caller guarantees what `panel_rows` demands, with M = `rows`.
    unsafe { by_rows!(S, rows, panel_rows(k, left, right, tile)) }
}

/// tile ← Σ over panels `[·][PANEL_ROWS]` and their rows of (features `row..row + rows`) ⊗ (a block of the right
/// factor).
///
/// # Safety
/// Level `S` is available and enabled. `rows` is 1 to `S::ROWS`, and `columns` at most `BLOCK_COLUMNS`. Features
/// `row..row + rows` of every panel can be read, and so can `BLOCK_COLUMNS` numbers of every row of the right factor,
/// which has `PANEL_ROWS` rows per panel.
#[inline(always)]
pub(super) unsafe fn block_tile<S: Simd>(
    rows: usize,
    panels: &[*const f32],
    row: usize,
    right: *const f32,
    right_row: usize,
    columns: usize,
    tile: &mut RegisterTile,
) {
    // SAFETY: the caller guarantees what `block_rows` demands, with M = `rows`.
    unsafe { by_rows!(S, rows, block_rows(panels, row, right, right_row, columns, tile)) }
}

/// Up to this number of columns, a weight gradient is computed column by column: a block would be mostly padding.
pub(super) const NARROW: usize = 8;

/// Σ over panels and their rows of one input feature times the gradient at one output, in a fixed order.
///
/// # Safety
/// Feature `row` of every panel of `panels`, and feature `column` of every panel of `gradients`, can be read.
#[inline(always)]
pub(super) unsafe fn dot<S: Simd>(panels: &[*const f32], row: usize, gradients: &[*const f32], column: usize) -> f32 {
    let mut sums = [0.0_f32; PANEL_ROWS];
    for (panel, gradient) in panels.iter().zip(gradients) {
        // SAFETY: the caller guarantees these features, so that the offsets are within the panels.
        let (a, b) = unsafe { (panel.add(row * PANEL_ROWS), gradient.add(column * PANEL_ROWS)) };
        for (j, sum) in sums.iter_mut().enumerate() {
            // SAFETY: j is below `PANEL_ROWS`, the length of a feature.
            *sum = unsafe { S::mul_add(*a.add(j), *b.add(j), *sum) };
        }
    }
    fold(&mut sums)
}

/// The sum of a feature over the rows of a panel, by halves.
#[inline(always)]
pub(super) fn fold(sums: &mut [f32; PANEL_ROWS]) -> f32 {
    let mut half = PANEL_ROWS / 2;
    while half > 0 {
        for j in 0..half {
            sums[j] += sums[j + half];
        }
        half /= 2;
    }
    sums[0]
}
