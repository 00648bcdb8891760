//! The parts of a pass over one layer: sums with bias and activation, normalisations, and their backward forms.
//!
//! Rows of a panel are arrays of [`LANES`] numbers; loops over them are what the compiler vectorises.

use super::LANES;
use super::gemm::{self, Left, MOST_ROWS, Tile};
use super::layout::{Activation, Layer};
use super::math;
use super::simd::Simd;

/// A row of a panel.
type Row = [f32; LANES];

/// Added to the variance in layer normalisation.
const NORM_EPS: f32 = 1e-5;

/// The least norm that features are divided by.
const LEAST_NORM: f32 = 1e-12;

/// Panels with a distance between their beginnings.
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
unsafe fn row<'a>(p: *mut f32, i: usize) -> &'a mut Row {
    unsafe { &mut *p.add(i * LANES).cast::<Row>() }
}

/// A scalar function with its derivative.
trait Curve {
    fn at<S: Simd>(z: f32) -> (f32, f32);
}

struct SiluCurve;
impl Curve for SiluCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        let s = math::sigmoid::<S>(z);
        let y = z * s;
        (y, S::mul_add(s, 1.0 - y, y))
    }
}

struct ReluCurve;
impl Curve for ReluCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        // Written so that a NaN goes through.
        (if z < 0.0 { 0.0 } else { z }, if z > 0.0 { 1.0 } else { 0.0 })
    }
}

struct TanhCurve;
impl Curve for TanhCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        let y = math::tanh::<S>(z);
        (y, S::mul_add(-y, y, 1.0))
    }
}

struct IdentityCurve;
impl Curve for IdentityCurve {
    #[inline(always)]
    fn at<S: Simd>(z: f32) -> (f32, f32) {
        (z, 1.0)
    }
}

/// What happens to a layer's sums.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub(super) bias: *const f32,
    /// Scale and shift come later.
    pub(super) to_norm: bool,
    pub(super) last: bool,
    pub(super) activation: Activation,
    /// Whether the derivative is kept.
    pub(super) keep: bool,
}

#[inline(always)]
unsafe fn apply_rows<S: Simd, C: Curve>(tile: &Tile, rows: usize, bias: *const f32, y: *mut f32, slope: *mut f32) {
    for r in 0..rows {
        unsafe {
            let (b, y) = (*bias.add(r), row(y, r));
            if slope.is_null() {
                for j in 0..LANES {
                    y[j] = C::at::<S>(tile[r][j] + b).0;
                }
            } else {
                let slope = row(slope, r);
                for j in 0..LANES {
                    (y[j], slope[j]) = C::at::<S>(tile[r][j] + b);
                }
            }
        }
    }
}

/// bias and activation of a tile.
#[inline(always)]
unsafe fn apply<S: Simd>(element: Element, tile: &Tile, first: usize, rows: usize, y: *mut f32, slope: *mut f32) {
    unsafe {
        let bias = element.bias.add(first);
        let y = y.add(first * LANES);
        let slope = if element.keep { slope.add(first * LANES) } else { std::ptr::null_mut() };
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

/// One layer over all panels: sums, bias, activation.
#[inline(always)]
pub(super) unsafe fn layer_forward<S: Simd>(
    layer: &Layer,
    parameters: *const f32,
    element: Element,
    input: Panels,
    output: Panels,
    slope: Panels,
) {
    let mut tile: Tile = [[0.0; LANES]; MOST_ROWS];
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

/// Layer normalisation of the sums at `z`, in place, then scale, shift and activation into `y`, which may be `z`.
#[inline(always)]
unsafe fn norm_forward<S: Simd, C: Curve>(
    layer: &Layer,
    parameters: *const f32,
    z: *mut f32,
    inverse_std: *mut f32,
    y: *mut f32,
    slope: *mut f32,
) {
    let n = layer.outputs as f32;
    let (mut mean, mut variance) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    unsafe {
        for i in 0..layer.outputs {
            let z = row(z, i);
            for j in 0..LANES {
                mean[j] += z[j];
            }
        }
        for mean in &mut mean {
            *mean /= n;
        }
        for i in 0..layer.outputs {
            let z = row(z, i);
            for j in 0..LANES {
                let centred = z[j] - mean[j];
                variance[j] = S::mul_add(centred, centred, variance[j]);
            }
        }
        let inverse = row(inverse_std, 0);
        for j in 0..LANES {
            inverse[j] = 1.0 / (variance[j] / n + NORM_EPS).sqrt();
        }
        for i in 0..layer.outputs {
            let (scale, shift) = (*parameters.add(layer.scale + i), *parameters.add(layer.shift + i));
            let mut x = *row(z, i);
            for j in 0..LANES {
                x[j] = (x[j] - mean[j]) * inverse[j];
            }
            *row(z, i) = x;
            if slope.is_null() {
                for x in &mut x {
                    *x = C::at::<S>(S::mul_add(*x, scale, shift)).0;
                }
            } else {
                let slope = row(slope, i);
                for j in 0..LANES {
                    (x[j], slope[j]) = C::at::<S>(S::mul_add(x[j], scale, shift));
                }
            }
            *row(y, i) = x;
        }
    }
}

/// z ← (x − mean) / √(var + eps) over features; the two may be the same.
#[inline(always)]
pub(super) unsafe fn hidden_norm_forward<S: Simd>(
    features: usize,
    eps: f32,
    x: *mut f32,
    inverse_std: *mut f32,
    z: *mut f32,
) {
    let n = features as f32;
    let (mut mean, mut variance) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    unsafe {
        for i in 0..features {
            let x = row(x, i);
            for j in 0..LANES {
                mean[j] += x[j];
            }
        }
        for mean in &mut mean {
            *mean /= n;
        }
        for i in 0..features {
            let x = row(x, i);
            for j in 0..LANES {
                let centred = x[j] - mean[j];
                variance[j] = S::mul_add(centred, centred, variance[j]);
            }
        }
        let inverse = row(inverse_std, 0);
        for j in 0..LANES {
            inverse[j] = 1.0 / (variance[j] / n + eps).sqrt();
        }
        for i in 0..features {
            let mut x = *row(x, i);
            for j in 0..LANES {
                x[j] = (x[j] - mean[j]) * inverse[j];
            }
            *row(z, i) = x;
        }
    }
}

/// With z the normalised outputs and g the gradient there: to ← (g − mean(g) − z mean(z·g)) / σ · slope.
#[inline(always)]
pub(super) unsafe fn hidden_norm_backward<S: Simd>(
    features: usize,
    z: *mut f32,
    inverse_std: *mut f32,
    g: *mut f32,
    slope: *mut f32,
) {
    let n = features as f32;
    let (mut mean, mut along) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    unsafe {
        for i in 0..features {
            let (g, z) = (row(g, i), row(z, i));
            for j in 0..LANES {
                mean[j] += g[j];
                along[j] = S::mul_add(g[j], z[j], along[j]);
            }
        }
        for j in 0..LANES {
            mean[j] /= n;
            along[j] /= n;
        }
        let inverse = row(inverse_std, 0);
        for i in 0..features {
            let (g, z, slope) = (row(g, i), row(z, i), row(slope, i));
            for j in 0..LANES {
                slope[j] *= (g[j] - mean[j] - z[j] * along[j]) * inverse[j];
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn norm<S: Simd>(
    activation: Activation,
    layer: &Layer,
    parameters: *const f32,
    [z, inverse_std, y, slope]: [*mut f32; 4],
) {
    unsafe {
        match activation {
            Activation::Silu => norm_forward::<S, SiluCurve>(layer, parameters, z, inverse_std, y, slope),
            Activation::Relu => norm_forward::<S, ReluCurve>(layer, parameters, z, inverse_std, y, slope),
            Activation::Tanh => norm_forward::<S, TanhCurve>(layer, parameters, z, inverse_std, y, slope),
            Activation::Identity => norm_forward::<S, IdentityCurve>(layer, parameters, z, inverse_std, y, slope),
        }
    }
}

/// z ← x / max(‖x‖, 1e-12) over features; the two may be the same.
#[inline(always)]
pub(super) unsafe fn unit_forward<S: Simd>(features: usize, x: *mut f32, inverse_norm: *mut f32, z: *mut f32) {
    let mut squares = [0.0_f32; LANES];
    unsafe {
        for i in 0..features {
            let x = row(x, i);
            for j in 0..LANES {
                squares[j] = S::mul_add(x[j], x[j], squares[j]);
            }
        }
        // Divided, not multiplied by the inverse: the one active unit of a row is then exactly 1.
        let (mut norm, inverse) = (squares, row(inverse_norm, 0));
        for j in 0..LANES {
            norm[j] = squares[j].sqrt();
            norm[j] = if norm[j] < LEAST_NORM { LEAST_NORM } else { norm[j] };
            inverse[j] = 1.0 / norm[j];
        }
        for i in 0..features {
            let mut x = *row(x, i);
            for j in 0..LANES {
                x[j] /= norm[j];
            }
            *row(z, i) = x;
        }
    }
}

#[inline(always)]
pub(super) unsafe fn copy(tile: &Tile, rows: usize, to: *mut f32) {
    for (r, from) in tile.iter().enumerate().take(rows) {
        unsafe { *row(to, r) = *from };
    }
}

/// to ← tile · slope; the two may be the same.
#[inline(always)]
pub(super) unsafe fn times(tile: &Tile, rows: usize, slope: *mut f32, to: *mut f32) {
    for (r, tile) in tile.iter().enumerate().take(rows) {
        unsafe {
            // By value: loops over rows that may be the same row stay scalar.
            let mut product = *row(slope, r);
            for j in 0..LANES {
                product[j] *= tile[j];
            }
            *row(to, r) = product;
        }
    }
}

/// With z = x / ‖x‖: the gradient at x is (g − z (g·z)) / ‖x‖, exactly 0 where one unit of a row is active; then times
/// the activation's slope.
#[inline(always)]
pub(super) unsafe fn unit_backward<S: Simd>(
    features: usize,
    g: *mut f32,
    z: *mut f32,
    inverse: *mut f32,
    slope: *mut f32,
    to: *mut f32,
) {
    let mut dot = [0.0_f32; LANES];
    unsafe {
        for i in 0..features {
            let (g, z) = (row(g, i), row(z, i));
            for j in 0..LANES {
                dot[j] = S::mul_add(g[j], z[j], dot[j]);
            }
        }
        let inverse = row(inverse, 0);
        for i in 0..features {
            let (g, z, slope) = (row(g, i), row(z, i), *row(slope, i));
            let to = row(to, i);
            for j in 0..LANES {
                to[j] = (g[j] - z[j] * dot[j]) * inverse[j] * slope[j];
            }
        }
    }
}

/// With z the normalised sums and g the gradient at z·scale + shift:
/// to ← (g·scale − mean(g·scale) − z mean(z·g·scale)) / σ.
#[inline(always)]
pub(super) unsafe fn norm_backward<S: Simd>(
    layer: &Layer,
    parameters: *const f32,
    z: *mut f32,
    inverse: *mut f32,
    g: *mut f32,
    to: *mut f32,
) {
    let n = layer.outputs as f32;
    let (mut mean, mut along) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    unsafe {
        for i in 0..layer.outputs {
            let (g, z, scale) = (row(g, i), row(z, i), *parameters.add(layer.scale + i));
            for j in 0..LANES {
                let scaled = g[j] * scale;
                mean[j] += scaled;
                along[j] = S::mul_add(scaled, z[j], along[j]);
            }
        }
        for j in 0..LANES {
            mean[j] /= n;
            along[j] /= n;
        }
        let inverse = row(inverse, 0);
        for i in 0..layer.outputs {
            let (g, z, to) = (row(g, i), row(z, i), row(to, i));
            let scale = *parameters.add(layer.scale + i);
            for j in 0..LANES {
                to[j] = (g[j] * scale - mean[j] - z[j] * along[j]) * inverse[j];
            }
        }
    }
}
