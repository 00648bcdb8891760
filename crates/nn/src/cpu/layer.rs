//! The parts of a pass over one layer: sums with bias and activation, and their backward forms.
//!
//! Rows of a panel are arrays of [`PANEL_ROWS`] numbers. The compiler vectorises loops over them.

use super::PANEL_ROWS;
use super::gemm::{self, Left, MOST_ROWS, Tile};
use super::layout::{Activation, Layer};
use super::math;
use super::simd::Simd;

/// A row of a panel.
pub(super) type Row = [f32; PANEL_ROWS];

/// Panels in memory, each `stride` numbers after the one before.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    pub(super) p: *mut f32,
    pub(super) stride: usize,
    pub(super) count: usize,
}

impl Panels {
    #[inline(always)]
    pub(super) unsafe fn at(self, panel: usize, offset: usize) -> *mut f32 {
        unsafe { self.p.add(panel * self.stride + offset) }
    }
}

#[inline(always)]
pub(super) unsafe fn row<'a>(p: *mut f32, i: usize) -> &'a mut Row {
    unsafe { &mut *p.add(i * PANEL_ROWS).cast::<Row>() }
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

/// The operations on a layer's sums.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub(super) bias: *const f32,
    /// Whether layer normalisation follows, which then applies scale, shift and activation.
    pub(super) to_norm: bool,
    pub(super) last: bool,
    pub(super) activation: Activation,
    /// Whether the derivative is stored.
    pub(super) keep: bool,
}

#[inline(always)]
unsafe fn apply_rows<S: Simd, C: Curve>(tile: &Tile, rows: usize, bias: *const f32, y: *mut f32, slope: *mut f32) {
    for r in 0..rows {
        unsafe {
            let (b, y) = (*bias.add(r), row(y, r));
            if slope.is_null() {
                for j in 0..PANEL_ROWS {
                    y[j] = C::at::<S>(tile[r][j] + b).0;
                }
            } else {
                let slope = row(slope, r);
                for j in 0..PANEL_ROWS {
                    (y[j], slope[j]) = C::at::<S>(tile[r][j] + b);
                }
            }
        }
    }
}

/// Applies bias and activation to a tile.
#[inline(always)]
unsafe fn apply<S: Simd>(element: Element, tile: &Tile, first: usize, rows: usize, y: *mut f32, slope: *mut f32) {
    unsafe {
        let bias = element.bias.add(first);
        let y = y.add(first * PANEL_ROWS);
        let slope = if element.keep { slope.add(first * PANEL_ROWS) } else { std::ptr::null_mut() };
        if element.last || element.to_norm {
            return apply_rows::<S, IdentityCurve>(tile, rows, bias, y, std::ptr::null_mut());
        }
        match element.activation {
            Activation::Silu => apply_rows::<S, SiluCurve>(tile, rows, bias, y, slope),
            Activation::Relu => apply_rows::<S, ReluCurve>(tile, rows, bias, y, slope),
            Activation::Tanh => apply_rows::<S, TanhCurve>(tile, rows, bias, y, slope),
            Activation::Identity => apply_rows::<S, IdentityCurve>(tile, rows, bias, y, slope),
        }
    }
}

/// Computes one layer over all panels: sums, bias, activation.
#[inline(always)]
pub(super) unsafe fn layer_forward<S: Simd>(
    layer: &Layer,
    parameters: *const f32,
    element: Element,
    input: Panels,
    output: Panels,
    slope: Panels,
) {
    let mut tile: Tile = [[0.0; PANEL_ROWS]; MOST_ROWS];
    let mut first = 0;
    while first < layer.outputs {
        let rows = S::ROWS.min(layer.outputs - first);
        unsafe {
            let left = Left { p: parameters.add(layer.weight + first), row: 1, column: layer.outputs };
            for panel in 0..input.count {
                gemm::panel_tile::<S>(rows, layer.inputs, left, input.at(panel, 0), &mut tile);
                apply::<S>(element, &tile, first, rows, output.at(panel, 0), slope.at(panel, 0));
            }
        }
        first += rows;
    }
}

#[inline(always)]
pub(super) unsafe fn copy(tile: &Tile, rows: usize, to: *mut f32) {
    for (r, from) in tile.iter().enumerate().take(rows) {
        unsafe { *row(to, r) = *from };
    }
}

/// to ← tile · slope; `slope` and `to` may be the same memory.
#[inline(always)]
pub(super) unsafe fn times(tile: &Tile, rows: usize, slope: *mut f32, to: *mut f32) {
    for (r, tile) in tile.iter().enumerate().take(rows) {
        unsafe {
            // Works on a copy, since the compiler does not vectorise loops over two rows that may be the same.
            let mut product = *row(slope, r);
            for j in 0..PANEL_ROWS {
                product[j] *= tile[j];
            }
            *row(to, r) = product;
        }
    }
}
