//! Elementary functions for kernels, written so that a NaN passes through and nothing overflows.
//!
//! A shader's `exp` is accurate to a few units in the last place; for `log` and `tanh` this is not guaranteed. The
//! errors below are relative to f64. They follow from Vulkan's guarantees (`exp` 3 + 2 |x| units in the last place, a
//! quotient 2.5, sums and products rounded or contracted), and are tested on the GPU that the tests find.

#![allow(missing_docs, reason = "of what the kernel macros write")]

use cubecl::prelude::*;

/// Returns `value`, or NaN if `x` is NaN: comparisons and bit operations would lose the NaN.
#[cube]
fn keep_nan(x: f32, value: f32) -> f32 {
    select(x.is_nan(), x, value)
}

/// eˣ, x clamped to [-87, 88].
#[cube]
pub fn exp(x: f32) -> f32 {
    let far = select(x > 88.0f32, 88.0f32, select(x < -87.0f32, -87.0f32, x));
    far.exp()
}

/// ln(a) for normal positive a, by the formula of `foresee_core::normal`. Relative error below 6e-7 over (0, 1].
#[cube]
pub fn ln(a: f32) -> f32 {
    let bits = u32::reinterpret(a);
    // Subtracting the bit pattern of √½ moves the boundary between two exponents to √½. Adding 127 keeps the exponent
    // unsigned.
    let shifted = bits + (0x3f80_0000u32 - 0x3f35_04f3u32);
    let exponent = i32::cast_from(shifted >> 23u32) - 127i32;
    let mantissa = f32::reinterpret((shifted & 0x007f_ffffu32) + 0x3f35_04f3u32);
    let t = (mantissa - 1.0f32) / (mantissa + 1.0f32);
    let t2 = t * t;
    let series = 2.0f32 + t2 * (0.666_666_7f32 + t2 * (0.4f32 + t2 * (0.285_714_3f32 + t2 * 0.222_222_22f32)));
    f32::cast_from(exponent) * std::f32::consts::LN_2 + t * series
}

/// ln(1 + eˣ). Absolute error below 5e-7 where |x| < 1; elsewhere this bound is relative to |x|.
#[cube]
pub fn softplus(x: f32) -> f32 {
    let positive = select(x > 0.0f32, x, 0.0f32);
    let far = select(x > 0.0f32, -x, x);
    keep_nan(x, positive + ln(1.0f32 + exp(far)))
}

/// 1 / (1 + e⁻ˣ). Absolute error below 5e-7.
#[cube]
pub fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + exp(-x))
}

/// tanh x. Absolute error below 5e-7, relative below 1e-6.
#[cube]
pub fn tanh(x: f32) -> f32 {
    let square = x * x;
    // Cephes' tanhf near zero, where the quotient below would suffer from cancellation.
    let mut p = -5.704_988_7e-3f32 * square + 2.063_909e-2f32;
    p = p * square - 5.373_971_6e-2f32;
    p = p * square + 1.333_144_2e-1f32;
    p = p * square - 3.333_328e-1f32;
    let near = p * square * x + x;
    let size = x.abs();
    let far = 1.0f32 - 2.0f32 / (exp(2.0f32 * size) + 1.0f32);
    let signed = select(x < 0.0f32, -far, far);
    keep_nan(x, select(size < 0.625f32, near, signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cube::tensor;
    use crate::{device, tensors};

    /// (eˣ, ln(1 + eˣ), σ(x), tanh x, ln |x|) of every x.
    #[cube(launch)]
    fn table(x: &[f32], out: &mut [f32]) {
        if ABSOLUTE_POS < x.len() {
            let x = x[ABSOLUTE_POS];
            out[5 * ABSOLUTE_POS] = exp(x);
            out[5 * ABSOLUTE_POS + 1] = softplus(x);
            out[5 * ABSOLUTE_POS + 2] = sigmoid(x);
            out[5 * ABSOLUTE_POS + 3] = tanh(x);
            out[5 * ABSOLUTE_POS + 4] = ln(x.abs());
        }
    }

    fn on_device(x: &[f32], device: &burn::tensor::Device) -> Vec<[f32; 5]> {
        let given = tensor::buffer(tensors::from_vec(x.to_vec(), [x.len()], device));
        let out = tensor::empty(&[x.len(), 5], device);
        let client = out.client.clone();
        let count = CubeCount::Static(x.len().div_ceil(64) as u32, 1, 1);
        table::launch(&client, count, CubeDim::new_1d(64), given.into_buffer_arg(), out.clone().into_buffer_arg());
        let values = tensors::to_vec(tensor::<2>(out));
        values.chunks_exact(5).map(|row| row.try_into().expect("five numbers")).collect()
    }

    #[test]
    fn errors_against_f64_are_as_stated() {
        let Some(device) = device::wgpu_of_test("errors_against_f64_are_as_stated") else { return };
        let mut x: Vec<f32> = (-40_000..=40_000).map(|i| i as f32 * 5e-4 + 1e-7).collect();
        x.extend([1e-30, -1e-30, 1e-6, -1e-6, 50.0, -50.0, 1e3, -1e3, f32::MAX, f32::MIN]);
        for (x, [exp, softplus, sigmoid, tanh, ln]) in x.iter().zip(on_device(&x, &device)) {
            let y = f64::from(*x);
            let close = |what: &str, got: f32, want: f64, bound: f64| {
                assert!((f64::from(got) - want).abs() <= bound, "{what}({y}) = {got}, expected {want} ± {bound}");
            };
            let clamped = y.clamp(-87.0, 88.0);
            close("exp", exp, clamped.exp(), clamped.exp() * (4e-7 + 2.4e-7 * clamped.abs()));
            close("softplus", softplus, y.max(0.0) + (-y.abs()).exp().ln_1p(), 5e-7 * y.abs().max(1.0));
            close("sigmoid", sigmoid, 1.0 / (1.0 + (-y).exp()), 5e-7);
            close("tanh", tanh, y.tanh(), 5e-7_f64.min(1e-6 * y.abs()));
            close("ln", ln, y.abs().ln(), 6e-7 * y.abs().ln().abs().max(1.0));
        }
    }

    #[test]
    fn a_nan_goes_through() {
        let Some(device) = device::wgpu_of_test("a_nan_goes_through") else { return };
        let [_, softplus, sigmoid, tanh, _] = on_device(&[f32::NAN], &device)[0];
        assert!(softplus.is_nan() && sigmoid.is_nan() && tanh.is_nan(), "{softplus} {sigmoid} {tanh}");
    }
}
