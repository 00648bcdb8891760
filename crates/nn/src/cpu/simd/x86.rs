//! The levels of x86-64: AVX2 with FMA, and AVX-512.

use super::Simd;
use std::arch::x86_64::*;

/// AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const WIDTH: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn prefetch(p: *const f32) {
        // SAFETY: a prefetch of any address is allowed, and every x86-64 machine has the instruction (SSE).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: the caller guarantees AVX2 and FMA.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: the caller guarantees AVX2 and FMA and `WIDTH` readable numbers; their address need not be
        // aligned.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        // SAFETY: the caller guarantees AVX2 and FMA and `WIDTH` writable numbers; their address need not be
        // aligned.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn splat(p: *const f32) -> __m256 {
        // SAFETY: the caller guarantees AVX2 and FMA and one readable number.
        unsafe { _mm256_set1_ps(*p) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the caller guarantees AVX2 and FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn transpose16(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in [0, 8] {
            for j in [0, 8] {
                // SAFETY: the four 8×8 squares are parts of the 16×16 squares that the caller guarantees, with
                // AVX2.
                unsafe { transpose8(from.add(i * from_stride + j), from_stride, to.add(j * to_stride + i), to_stride) };
            }
        }
    }
}

/// Transposes 8×8 numbers: `to[j * to_stride + i] = from[i * from_stride + j]`.
///
/// # Safety
/// The machine has AVX2. For i and j below 8, `from[i * from_stride + j]` can be read and `to[j * to_stride + i]`
/// can be written.
#[inline(always)]
unsafe fn transpose8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: loads and stores are of eight numbers in rows below 8 of each square, which the caller guarantees.
    // All loads come before the first store. The other instructions work on registers.
    unsafe {
        let mut r = [_mm256_setzero_ps(); 8];
        let mut t = r;
        for i in 0..8 {
            r[i] = _mm256_loadu_ps(from.add(i * from_stride));
        }
        for i in 0..4 {
            t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
            t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
        }
        for i in 0..2 {
            let (a, b, c, d) = (t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]);
            r[4 * i] = _mm256_shuffle_ps::<0x44>(a, c);
            r[4 * i + 1] = _mm256_shuffle_ps::<0xee>(a, c);
            r[4 * i + 2] = _mm256_shuffle_ps::<0x44>(b, d);
            r[4 * i + 3] = _mm256_shuffle_ps::<0xee>(b, d);
        }
        for i in 0..4 {
            _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]));
            _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]));
        }
    }
}

/// AVX-512.
#[derive(Clone, Copy, Debug)]
pub struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const WIDTH: usize = 16;
    const ROWS: usize = 12;

    #[inline(always)]
    fn prefetch(p: *const f32) {
        // SAFETY: a prefetch of any address is allowed, and every x86-64 machine has the instruction (SSE).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller guarantees AVX-512.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: the caller guarantees AVX-512 and `WIDTH` readable numbers; their address need not be aligned.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: the caller guarantees AVX-512 and `WIDTH` writable numbers; their address need not be aligned.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn splat(p: *const f32) -> __m512 {
        // SAFETY: the caller guarantees AVX-512 and one readable number.
        unsafe { _mm512_set1_ps(*p) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller guarantees AVX-512.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn transpose16(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: loads and stores are of 16 numbers in rows below 16 of each square, which the caller guarantees
        // with AVX-512. All loads come before the first store. The other instructions work on registers.
        unsafe {
            let mut r = [_mm512_setzero_ps(); 16];
            let mut t = r;
            for i in 0..16 {
                r[i] = _mm512_loadu_ps(from.add(i * from_stride));
            }
            // Interleaves pairs, then quads within the 128-bit parts, then the parts themselves.
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for i in 0..4 {
                let (a, b, c, d) = (t[4 * i], t[4 * i + 1], t[4 * i + 2], t[4 * i + 3]);
                r[4 * i] = _mm512_shuffle_ps::<0x44>(a, c);
                r[4 * i + 1] = _mm512_shuffle_ps::<0xee>(a, c);
                r[4 * i + 2] = _mm512_shuffle_ps::<0x44>(b, d);
                r[4 * i + 3] = _mm512_shuffle_ps::<0xee>(b, d);
            }
            for i in 0..4 {
                t[i] = _mm512_shuffle_f32x4::<0x88>(r[i], r[i + 4]);
                t[i + 4] = _mm512_shuffle_f32x4::<0xdd>(r[i], r[i + 4]);
                t[i + 8] = _mm512_shuffle_f32x4::<0x88>(r[i + 8], r[i + 12]);
                t[i + 12] = _mm512_shuffle_f32x4::<0xdd>(r[i + 8], r[i + 12]);
            }
            for i in 0..8 {
                _mm512_storeu_ps(to.add(i * to_stride), _mm512_shuffle_f32x4::<0x88>(t[i], t[i + 8]));
                _mm512_storeu_ps(to.add((i + 8) * to_stride), _mm512_shuffle_f32x4::<0xdd>(t[i], t[i + 8]));
            }
        }
    }
}
