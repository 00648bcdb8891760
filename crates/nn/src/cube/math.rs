//! Elementary functions of one number. A NaN goes through, and nothing overflows on the way to a finite value.

#![allow(missing_docs, reason = "of what the macro adds to a function")]

use cubecl::prelude::*;

/// eˣ, x at most 88.
#[cube]
pub fn exp(x: f32) -> f32 {
    let mut x = x;
    // A comparison that a NaN fails.
    if x > 88.0f32 {
        x = 88.0f32;
    }
    x.exp()
}

/// 1 / (1 + e⁻ˣ).
#[cube]
pub fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + exp(-x))
}

/// tanh x.
#[cube]
pub fn tanh(x: f32) -> f32 {
    let square = x * x;
    // Cephes' tanhf near zero, where the quotient would cancel.
    let p = -5.704_988_7e-3f32 * square + 2.063_909e-2f32;
    let p = p * square - 5.373_971_6e-2f32;
    let p = p * square + 1.333_144_2e-1f32;
    let p = p * square - 3.333_328e-1f32;
    let near = p * square * x + x;
    let far = 1.0f32 - 2.0f32 / (exp(2.0f32 * x.abs()) + 1.0f32);
    let mut y = far;
    if x < 0.0f32 {
        y = -far;
    }
    if x.abs() < 0.625f32 {
        y = near;
    }
    y
}

/// ln(1 + eˣ).
#[cube]
pub fn softplus(x: f32) -> f32 {
    let far = (1.0f32 + (-x.abs()).exp()).ln();
    select(x > 0.0f32, x, 0.0f32) + far
}
