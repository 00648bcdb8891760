//! Normalisations of a panel over its features, and their backward forms. There are three: of sums before the
//! activation, of hidden outputs, and of features to a norm of 1.

use super::PANEL_ROWS;
use super::layer::{Curve, IdentityCurve, ReluCurve, SiluCurve, TanhCurve, feature};
use super::layout::{Activation, Layer, MIN_NORM, NORM_EPS};
use super::panels::PerRow;
use super::simd::Simd;

/// Returns the mean over features, and writes 1 / √(var + eps) to `inverse_std`.
///
/// # Safety
/// `features` features at `x` can be read, and one can be written at `inverse_std`, which is not among them.
#[inline(always)]
unsafe fn moments<S: Simd>(features: usize, eps: f32, x: *mut f32, inverse_std: *mut f32) -> PerRow {
    let n = features as f32;
    let (mut mean, mut variance) = ([0.0_f32; PANEL_ROWS], [0.0_f32; PANEL_ROWS]);
    // SAFETY: i is below `features`, for which the caller guarantees access. `inverse_std` is apart from them.
    unsafe {
        for i in 0..features {
            let x = feature(x, i);
            for j in 0..PANEL_ROWS {
                mean[j] += x[j];
            }
        }
        for mean in &mut mean {
            *mean /= n;
        }
        for i in 0..features {
            let x = feature(x, i);
            for j in 0..PANEL_ROWS {
                let centred = x[j] - mean[j];
                variance[j] = S::mul_add(centred, centred, variance[j]);
            }
        }
        let inverse = feature(inverse_std, 0);
        for j in 0..PANEL_ROWS {
            inverse[j] = 1.0 / (variance[j] / n + eps).sqrt();
        }
    }
    mean
}

/// Normalises the sums at `z` in place, then writes scale, shift and activation of them to `y`, which may be `z`, and
/// the activation's derivative to `slope`, if that is not null.
///
/// # Safety
/// `parameters` points to a member's row with the scale and shift of `layer`. `layer.outputs` features can be read and
/// written at `z`, `y` and, unless it is null, `slope`, and one at `inverse_std`. Except for `z` and `y`, which may be
/// the same, they do not overlap.
#[inline(always)]
unsafe fn norm_forward<S: Simd, C: Curve>(
    layer: &Layer,
    parameters: *const f32,
    z: *mut f32,
    inverse_std: *mut f32,
    y: *mut f32,
    slope: *mut f32,
) {
    // SAFETY: i is below `layer.outputs`, for which the caller guarantees access. Feature i of `z` is copied, so that
    // no reference to it is alive while `y` is written.
    unsafe {
        let mean = moments::<S>(layer.outputs, NORM_EPS, z, inverse_std);
        let inverse = feature(inverse_std, 0);
        for i in 0..layer.outputs {
            let (scale, shift) = (*parameters.add(layer.scale + i), *parameters.add(layer.shift + i));
            let mut x = *feature(z, i);
            for j in 0..PANEL_ROWS {
                x[j] = (x[j] - mean[j]) * inverse[j];
            }
            *feature(z, i) = x;
            if slope.is_null() {
                for x in &mut x {
                    *x = C::at::<S>(S::mul_add(*x, scale, shift)).0;
                }
            } else {
                let slope = feature(slope, i);
                for j in 0..PANEL_ROWS {
                    (x[j], slope[j]) = C::at::<S>(S::mul_add(x[j], scale, shift));
                }
            }
            *feature(y, i) = x;
        }
    }
}

/// Layer normalisation of the sums at `z` in place, with scale, shift and activation into `y`. Writes the inverse
/// standard deviations, and the derivatives unless `slope` is null.
///
/// # Safety
/// `parameters` points to a member's row with the scale and shift of `layer`. `layer.outputs` features can be read and
/// written at `z`, `y` and, unless it is null, `slope`, and one at `inverse_std`. Except for `z` and `y`, which may be
/// the same, they do not overlap.
#[inline(always)]
pub(super) unsafe fn norm<S: Simd>(
    activation: Activation,
    layer: &Layer,
    parameters: *const f32,
    [z, inverse_std, y, slope]: [*mut f32; 4],
) {
    // SAFETY: `norm_forward` has the conditions of this function, which the caller guarantees.
    unsafe {
        match activation {
            Activation::Silu => norm_forward::<S, SiluCurve>(layer, parameters, z, inverse_std, y, slope),
            Activation::Relu => norm_forward::<S, ReluCurve>(layer, parameters, z, inverse_std, y, slope),
            Activation::Tanh => norm_forward::<S, TanhCurve>(layer, parameters, z, inverse_std, y, slope),
            Activation::Identity => norm_forward::<S, IdentityCurve>(layer, parameters, z, inverse_std, y, slope),
        }
    }
}

/// The backward pass through a normalisation with results z. For every feature i, calls
/// `to(i, (s g − mean(s g) − z mean(z·s g)) / σ)`, where s is the scale and g is the gradient at s·z + shift.
///
/// # Safety
/// `features` features can be read at `z` and `g`, and one at `inverse_std`. The three do not overlap. `to` leaves the
/// features of `z` and `g` after number i, and `inverse_std`, as they are.
#[inline(always)]
unsafe fn backward_through_norm<S: Simd>(
    features: usize,
    z: *mut f32,
    inverse_std: *mut f32,
    g: *mut f32,
    scale: impl Fn(usize) -> f32,
    mut to: impl FnMut(usize, PerRow),
) {
    let n = features as f32;
    let (mut mean, mut projection) = ([0.0_f32; PANEL_ROWS], [0.0_f32; PANEL_ROWS]);
    // SAFETY: i is below `features`, for which the caller guarantees access to three arrays that do not overlap.
    unsafe {
        for i in 0..features {
            let (g, z, scale) = (feature(g, i), feature(z, i), scale(i));
            for j in 0..PANEL_ROWS {
                let scaled = g[j] * scale;
                mean[j] += scaled;
                projection[j] = S::mul_add(scaled, z[j], projection[j]);
            }
        }
        for j in 0..PANEL_ROWS {
            mean[j] /= n;
            projection[j] /= n;
        }
        let inverse = feature(inverse_std, 0);
        for i in 0..features {
            let (g, z, scale) = (feature(g, i), feature(z, i), scale(i));
            let mut gradient = [0.0; PANEL_ROWS];
            for j in 0..PANEL_ROWS {
                gradient[j] = (g[j] * scale - mean[j] - z[j] * projection[j]) * inverse[j];
            }
            to(i, gradient);
        }
    }
}

/// The backward pass through layer normalisation to the sums, from the gradient `g` at scale · z + shift.
///
/// # Safety
/// `parameters` points to a member's row with the scale of `layer`. `layer.outputs` features can be read at `z` and `g`
/// and written at `to`, and one can be read at `inverse`. They do not overlap.
#[inline(always)]
pub(super) unsafe fn norm_backward<S: Simd>(
    layer: &Layer,
    parameters: *const f32,
    z: *mut f32,
    inverse: *mut f32,
    g: *mut f32,
    to: *mut f32,
) {
    // SAFETY: i is below `layer.outputs`, the length of the scale and of the features that the caller guarantees. Only
    // `to` is written, and it overlaps nothing that is read.
    unsafe {
        let scale = |i: usize| *parameters.add(layer.scale + i);
        backward_through_norm::<S>(layer.outputs, z, inverse, g, scale, |i, gradient| *feature(to, i) = gradient);
    }
}

/// z ← (x − mean) / √(var + eps) over features; `x` and `z` may be the same memory.
///
/// # Safety
/// `features` features can be read at `x` and written at `z`, and one can be written at `inverse_std`, which overlaps
/// neither.
#[inline(always)]
pub(super) unsafe fn hidden_norm_forward<S: Simd>(
    features: usize,
    eps: f32,
    x: *mut f32,
    inverse_std: *mut f32,
    z: *mut f32,
) {
    // SAFETY: i is below `features`, for which the caller guarantees access. Feature i of `x` is copied, so that no
    // reference to it is alive while `z` is written.
    unsafe {
        let mean = moments::<S>(features, eps, x, inverse_std);
        let inverse = feature(inverse_std, 0);
        for i in 0..features {
            let mut x = *feature(x, i);
            for j in 0..PANEL_ROWS {
                x[j] = (x[j] - mean[j]) * inverse[j];
            }
            *feature(z, i) = x;
        }
    }
}

/// The backward pass of [`hidden_norm_forward`], from the gradient `g` at the normalised outputs. It multiplies the
/// activation's slope by the result, in place.
///
/// # Safety
/// `features` features can be read at `z` and `g` and written at `slope`, and one can be read at `inverse`. They do not
/// overlap.
#[inline(always)]
pub(super) unsafe fn hidden_norm_backward<S: Simd>(
    features: usize,
    z: *mut f32,
    inverse: *mut f32,
    g: *mut f32,
    slope: *mut f32,
) {
    // SAFETY: i is below `features`, for which the caller guarantees access. Only `slope` is written, and it overlaps
    // nothing that is read.
    unsafe {
        backward_through_norm::<S>(
            features,
            z,
            inverse,
            g,
            |_| 1.0,
            |i, gradient| {
                feature(slope, i).iter_mut().zip(gradient).for_each(|(slope, gradient)| *slope *= gradient);
            },
        );
    }
}

/// z ← x / max(‖x‖, 1e-12) over features; `x` and `z` may be the same memory.
///
/// # Safety
/// `features` features can be read at `x` and written at `z`, and one can be written at `inverse_norm`, which overlaps
/// neither.
#[inline(always)]
pub(super) unsafe fn unit_forward<S: Simd>(features: usize, x: *mut f32, inverse_norm: *mut f32, z: *mut f32) {
    let mut squares = [0.0_f32; PANEL_ROWS];
    // SAFETY: i is below `features`, for which the caller guarantees access. Feature i of `x` is copied, so that no
    // reference to it is alive while `z` is written. `inverse_norm` is apart from both.
    unsafe {
        for i in 0..features {
            let x = feature(x, i);
            for j in 0..PANEL_ROWS {
                squares[j] = S::mul_add(x[j], x[j], squares[j]);
            }
        }
        // Divides instead of multiplying by the inverse, so that the only active unit of a row becomes exactly 1.
        let (mut norm, inverse) = (squares, feature(inverse_norm, 0));
        for j in 0..PANEL_ROWS {
            norm[j] = squares[j].sqrt();
            norm[j] = if norm[j] < MIN_NORM { MIN_NORM } else { norm[j] };
            inverse[j] = 1.0 / norm[j];
        }
        for i in 0..features {
            let mut x = *feature(x, i);
            for j in 0..PANEL_ROWS {
                x[j] /= norm[j];
            }
            *feature(z, i) = x;
        }
    }
}

/// The backward pass of [`unit_forward`]. With z = x / ‖x‖, the gradient at x is (g − z (g·z)) / ‖x‖, which is exactly
/// 0 where a row has one active unit. The result is multiplied by the activation's slope; `slope` and `to` may be the
/// same memory.
///
/// # Safety
/// `features` features can be read at `g`, `z` and `slope` and written at `to`, and one can be read at `inverse`.
/// Except for `slope` and `to`, they do not overlap.
#[inline(always)]
pub(super) unsafe fn unit_backward<S: Simd>(
    features: usize,
    g: *mut f32,
    z: *mut f32,
    inverse: *mut f32,
    slope: *mut f32,
    to: *mut f32,
) {
    let mut dot = [0.0_f32; PANEL_ROWS];
    // SAFETY: i is below `features`, for which the caller guarantees access. Feature i of `slope` is copied, so that no
    // reference to it is alive while `to` is written; the others overlap nothing.
    unsafe {
        for i in 0..features {
            let (g, z) = (feature(g, i), feature(z, i));
            for j in 0..PANEL_ROWS {
                dot[j] = S::mul_add(g[j], z[j], dot[j]);
            }
        }
        let inverse = feature(inverse, 0);
        for i in 0..features {
            let (g, z, slope) = (feature(g, i), feature(z, i), *feature(slope, i));
            let to = feature(to, i);
            for j in 0..PANEL_ROWS {
                to[j] = (g[j] - z[j] * dot[j]) * inverse[j] * slope[j];
            }
        }
    }
}
