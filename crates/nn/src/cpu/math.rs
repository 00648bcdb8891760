//! Elementary functions without branches or calls, so that loops over them vectorise at every level.
//!
//! The errors are relative to f64. `tests/levels.rs` checks them at every level, over the ranges that occur in
//! networks.

use std::f32::consts::LOG2_E;

use super::simd::Simd;

/// 1.5·2²³: adding it rounds to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts. The product of a small integer and the first part is exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// eˣ, x clamped to [-87, 88]. Relative error below 2e-7.
#[inline(always)]
pub fn exp<S: Simd>(x: f32) -> f32 {
    // These comparisons are false for a NaN, so a NaN passes through.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = S::mul_add(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = S::mul_add(-n, LN2[0], x);
    let r = S::mul_add(-n, LN2[1], r);
    // Cephes' expf.
    let p = S::mul_add(1.987_569_1e-4, r, 1.398_2e-3);
    let p = S::mul_add(p, r, 8.333_452e-3);
    let p = S::mul_add(p, r, 4.166_579_6e-2);
    let p = S::mul_add(p, r, 1.666_666_5e-1);
    let p = S::mul_add(p, r, 0.5);
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    S::mul_add(p * r, r, r + 1.0) * scale
}

/// ln x for finite positive x that is not subnormal. Error below 1e-7 absolute or relative.
#[inline(always)]
pub fn ln<S: Simd>(x: f32) -> f32 {
    const HALF_ROOT: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_sub(HALF_ROOT);
    let e = (shifted as i32 >> 23) as f32;
    let f = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(HALF_ROOT)) - 1.0;
    // Cephes' logf.
    let p = S::mul_add(7.037_683_6e-2, f, -1.151_461e-1);
    let p = S::mul_add(p, f, 1.167_699_9e-1);
    let p = S::mul_add(p, f, -1.242_014_1e-1);
    let p = S::mul_add(p, f, 1.424_932_3e-1);
    let p = S::mul_add(p, f, -1.666_805_8e-1);
    let p = S::mul_add(p, f, 2.000_071_5e-1);
    let p = S::mul_add(p, f, -2.499_999_4e-1);
    let p = S::mul_add(p, f, 3.333_333e-1);
    let square = f * f;
    let y = S::mul_add(e, LN2[1], p * f * square);
    let y = S::mul_add(-0.5, square, y);
    S::mul_add(e, LN2[0], f + y)
}

/// ln(1 + x) for x in [0, 2²³].
#[inline(always)]
pub fn ln_1p<S: Simd>(x: f32) -> f32 {
    let w = 1.0 + x;
    // The second term corrects the sum's rounding error to first order.
    ln::<S>(w) + (x - (w - 1.0)) / w
}

/// ln(1 + eˣ).
#[inline(always)]
pub fn softplus<S: Simd>(x: f32) -> f32 {
    let positive = if x > 0.0 { x } else { 0.0 };
    let far = if x > 0.0 { -x } else { x };
    positive + ln_1p::<S>(exp::<S>(far))
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid<S: Simd>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<S>(-x))
}

/// tanh x.
#[inline(always)]
pub fn tanh<S: Simd>(x: f32) -> f32 {
    let square = x * x;
    // Cephes' tanhf near zero, where the quotient below would suffer from cancellation.
    let p = S::mul_add(-5.704_988_7e-3, square, 2.063_909e-2);
    let p = S::mul_add(p, square, -5.373_971_6e-2);
    let p = S::mul_add(p, square, 1.333_144_2e-1);
    let p = S::mul_add(p, square, -3.333_328e-1);
    let near = S::mul_add(p * square, x, x);
    let e = exp::<S>(2.0 * x.abs());
    let far = (1.0 - 2.0 / (e + 1.0)).copysign(x);
    if x.abs() < 0.625 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::Portable;

    #[test]
    fn a_nan_goes_through() {
        for f in [exp::<Portable>, softplus::<Portable>, sigmoid::<Portable>, tanh::<Portable>] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}
