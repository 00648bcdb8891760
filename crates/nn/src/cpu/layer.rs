//! The parts of a pass over one layer: sums with bias and activation, and their backward forms.
//!
//! A feature of a panel is an array of [`PANEL_ROWS`] numbers. The compiler vectorises loops over them.

use super::PANEL_ROWS;
use super::gemm::{self, Left, MOST_ROWS, RegisterTile};
use super::layout::{Activation, Layer};
use super::math;
use super::panels::PerRow;
use super::simd::Simd;

/// Panels in memory, each `stride` numbers after the one before.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    pub(super) p: *mut f32,
    pub(super) stride: usize,
    pub(super) count: usize,
}

impl Panels {
    /// The address of number `offset` of panel `panel`.
    ///
    /// # Safety
    /// This number is in the memory that `p` points into, or is the one past its end.
    #[inline(always)]
    pub(super) unsafe fn at(self, panel: usize, offset: usize) -> *mut f32 {
        // SAFETY: the caller guarantees that the sum stays within the memory behind `p`.
        unsafe { self.p.add(panel * self.stride + offset) }
    }
}

/// Feature `i` of the panel `[·][PANEL_ROWS]` at `p`.
///
/// # Safety
/// The feature's numbers are initialised and can be read and written, and no other reference to them is used as long as
/// the returned one is.
#[inline(always)]
pub(super) unsafe fn feature<'a>(p: *mut f32, i: usize) -> &'a mut PerRow {
    // SAFETY: the caller guarantees initialised numbers without another reference. An array of `f32` is aligned as an
    // `f32` is.
    unsafe { &mut *p.add(i * PANEL_ROWS).cast::<PerRow>() }
}

/// A scalar function and its derivative.
pub(super) trait Curve {
    fn at<S: Simd>(z: f32) -> (f32, f32);
}

pub(super) struct SiluCurve;
impl Curve for SiluCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        let s = math::sigmoid::<S>(z);
        let y = z * s;
        (y, S::mul_add(s, 1.0 - y, y))
    }
}

pub(super) struct ReluCurve;
impl Curve for ReluCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        // Written so that a NaN passes through.
        (if z < 0.0 { 0.0 } else { z }, if z > 0.0 { 1.0 } else { 0.0 })
    }
}

pub(super) struct TanhCurve;
impl Curve for TanhCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        let y = math::tanh::<S>(z);
        (y, S::mul_add(-y, y, 1.0))
    }
}

pub(super) struct IdentityCurve;
impl Curve for IdentityCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        (z, 1.0)
    }
}

/// The operations on a layer's sums while they are in registers.
#[derive(Clone, Copy)]
pub(super) struct Epilogue {
    pub(super) bias: *const f32,
    /// Whether layer normalisation follows, which then applies scale, shift and activation.
    pub(super) norm_follows: bool,
    pub(super) last: bool,
    pub(super) activation: Activation,
    /// True if the activation's derivative is written to `slope`, for a backward pass.
    pub(super) store_slope: bool,
}

/// Writes curve(sum + bias) to `y` and the curve's derivative to `slope`, if that is not null.
///
/// # Safety
/// `rows` numbers of `bias` can be read, and `rows` features of `y`, and of `slope` unless it is null, can be written.
/// The two do not overlap.
#[inline(always)]
unsafe fn apply_rows<S: Simd, C: Curve>(
    tile: &RegisterTile,
    rows: usize,
    bias: *const f32,
    y: *mut f32,
    slope: *mut f32,
) {
    for r in 0..rows {
        // SAFETY: r is below `rows`, for which the caller guarantees access; `y` and `slope` do not overlap.
        unsafe {
            let (b, y) = (*bias.add(r), feature(y, r));
            if slope.is_null() {
                for j in 0..PANEL_ROWS {
                    y[j] = C::at::<S>(tile[r][j] + b).0;
                }
            } else {
                let slope = feature(slope, r);
                for j in 0..PANEL_ROWS {
                    (y[j], slope[j]) = C::at::<S>(tile[r][j] + b);
                }
            }
        }
    }
}

/// Applies bias and activation to a tile, whose first row is feature `first` of the panels at `y` and `slope`.
///
/// # Safety
/// Features `first..first + rows` have a bias and are in the panel at `y`, and in that at `slope` if the derivative is
/// stored. The two panels do not overlap.
#[inline(always)]
unsafe fn apply<S: Simd>(
    epilogue: Epilogue,
    tile: &RegisterTile,
    first: usize,
    rows: usize,
    y: *mut f32,
    slope: *mut f32,
) {
    // SAFETY: the caller guarantees these features in every array. Where the derivative is not stored, `slope` stays
    // untouched.
    unsafe {
        let bias = epilogue.bias.add(first);
        let y = y.add(first * PANEL_ROWS);
        let slope = if epilogue.store_slope { slope.add(first * PANEL_ROWS) } else { std::ptr::null_mut() };
        if epilogue.last || epilogue.norm_follows {
            return apply_rows::<S, IdentityCurve>(tile, rows, bias, y, std::ptr::null_mut());
        }
        match epilogue.activation {
            Activation::Silu => apply_rows::<S, SiluCurve>(tile, rows, bias, y, slope),
            Activation::Relu => apply_rows::<S, ReluCurve>(tile, rows, bias, y, slope),
            Activation::Tanh => apply_rows::<S, TanhCurve>(tile, rows, bias, y, slope),
            Activation::Identity => apply_rows::<S, IdentityCurve>(tile, rows, bias, y, slope),
        }
    }
}

/// Computes one layer over all panels: sums, bias, activation.
///
/// # Safety
/// `parameters` points to a member's row, whose layout `layer` is a part of. Every panel of `input` has `layer.inputs`
/// features that can be read. `output`, and `slope` if the derivative is stored, have as many panels with
/// `layer.outputs` features that can be written. None of the three overlaps another, except that an unused `slope` may
/// be anything.
#[inline(always)]
pub(super) unsafe fn layer_forward<S: Simd>(
    layer: &Layer,
    parameters: *const f32,
    epilogue: Epilogue,
    input: Panels,
    output: Panels,
    slope: Panels,
) {
    let mut tile: RegisterTile = [[0.0; PANEL_ROWS]; MOST_ROWS];
    let mut first = 0;
    while first < layer.outputs {
        let rows = S::ROWS.min(layer.outputs - first);
        // SAFETY: features first..first + rows are outputs of the layer, so that their weights and biases are in the
        // member's row. `rows` is between 1 and `S::ROWS`, and the caller guarantees the panels.
        unsafe {
            let left = Left { p: parameters.add(layer.weight + first), row: 1, column: layer.outputs };
            for panel in 0..input.count {
                gemm::panel_tile::<S>(rows, layer.inputs, left, input.at(panel, 0), &mut tile);
                apply::<S>(epilogue, &tile, first, rows, output.at(panel, 0), slope.at(panel, 0));
            }
        }
        first += rows;
    }
}

/// Writes the first `rows` rows of a tile to the features at `to`.
///
/// # Safety
/// `rows` features can be written at `to`.
#[inline(always)]
pub(super) unsafe fn copy(tile: &RegisterTile, rows: usize, to: *mut f32) {
    for (r, from) in tile.iter().enumerate().take(rows) {
        // SAFETY: r is below `rows`, for which the caller guarantees access. The reference ends with the statement.
        unsafe { *feature(to, r) = *from };
    }
}

/// to ← tile · slope; `slope` and `to` may be the same memory.
///
/// # Safety
/// `rows` features can be read at `slope` and written at `to`.
#[inline(always)]
pub(super) unsafe fn times(tile: &RegisterTile, rows: usize, slope: *mut f32, to: *mut f32) {
    for (r, tile) in tile.iter().enumerate().take(rows) {
        // SAFETY: r is below `rows`, for which the caller guarantees access. The reference to `slope` ends with the
        // copy, before the one to `to` is made.
        unsafe {
            // Works on a copy, since the compiler does not vectorise loops over two rows that may be the same.
            let mut product = *feature(slope, r);
            for j in 0..PANEL_ROWS {
                product[j] *= tile[j];
            }
            *feature(to, r) = product;
        }
    }
}
