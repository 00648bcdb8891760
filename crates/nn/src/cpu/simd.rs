//! The processor's instructions, detected at run time.
//!
//! A [`Task`] is written once, generic over a [`Simd`] level. [`dispatch`] runs it compiled for the best level that the
//! machine has. One binary serves all machines, and no build needs `-C target-cpu`.
//!
//! On AVX-512 and AVX2, every number is computed by the same operations in the same order, and both fuse a·b + c. Their
//! results are therefore equal bit for bit. The portable level rounds a·b + c twice.

use std::sync::atomic::{AtomicU8, Ordering};

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Any machine: vectors of four numbers, no fused multiply-add.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, VL, DQ and BW, and BMI 1 and 2.
    Avx512,
}

impl Level {
    /// Every level, slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine has the level.
    #[must_use]
    pub fn available(self) -> bool {
        self <= detected()
    }
}

const UNKNOWN: u8 = u8::MAX;
static LEVEL: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The best level of this machine.
#[must_use]
pub fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Portable
}

/// The level in use.
#[must_use]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        0 => Level::Portable,
        1 => Level::Avx2,
        2 => Level::Avx512,
        _ => {
            let level = detected();
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

/// Sets the level for the whole process; `None` is the machine's best. For tests and benches.
///
/// # Panics
/// If the machine lacks the level.
pub fn force(level: Option<Level>) {
    let level = level.unwrap_or_else(detected);
    assert!(level.available(), "this machine does not support the level `{}`", level.name());
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// The operations of a level: vectors for matrix products, and one rounding rule for all other code, whose scalar loops
/// the compiler vectorises.
pub trait Simd: Copy + 'static {
    /// A vector of `WIDTH` numbers.
    type V: Copy;
    /// Length of a vector.
    const WIDTH: usize;
    /// Number of rows of a register tile of a matrix product; the tile is two vectors wide.
    const ROWS: usize;

    /// a·b + c, rounded once if the level can do that.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;

    /// A vector of zeros.
    ///
    /// # Safety
    /// The machine has the level.
    unsafe fn zero() -> Self::V;
    /// The `WIDTH` numbers at `p`.
    ///
    /// # Safety
    /// The machine has the level, and `WIDTH` numbers can be read at `p`.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Writes the `WIDTH` numbers of `v` to `p`.
    ///
    /// # Safety
    /// The machine has the level, and `WIDTH` numbers can be written at `p`.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// A vector whose numbers all equal the one at `p`.
    ///
    /// # Safety
    /// The machine has the level, and one number can be read at `p`.
    unsafe fn splat(p: *const f32) -> Self::V;
    /// a·b + c.
    ///
    /// # Safety
    /// The machine has the level.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Loads the numbers at `p` into the cache, if they can be read.
    #[inline(always)]
    fn prefetch(_p: *const f32) {}
    /// Transposes 16×16 numbers: `to[j * to_stride + i] = from[i * from_stride + j]`.
    ///
    /// # Safety
    /// The machine has the level. For i and j below 16, `from[i * from_stride + j]` can be read and
    /// `to[j * to_stride + i]` can be written. The two squares do not overlap.
    unsafe fn transpose16(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// The portable level.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    type V = [f32; 4];
    const WIDTH: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }

    #[inline(always)]
    unsafe fn zero() -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        // SAFETY: the caller guarantees four readable numbers; their address need not be aligned.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 4]) {
        // SAFETY: the caller guarantees four writable numbers; their address need not be aligned.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn splat(p: *const f32) -> [f32; 4] {
        // SAFETY: the caller guarantees one readable number.
        unsafe { [*p; 4] }
    }

    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    unsafe fn transpose16(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..16 {
            for j in 0..16 {
                // SAFETY: i and j are below 16, where the caller guarantees access to both squares.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86;

/// Work that can be compiled for any level.
pub trait Task {
    /// The type of the result.
    type Output;
    /// Runs the task. Implementations are `#[inline(always)]`, and so is all code that they call: code that is not
    /// inlined here is compiled for the portable level.
    fn run<S: Simd>(self) -> Self::Output;
}

/// Runs the task at the level in use.
#[inline]
pub fn dispatch<T: Task>(task: T) -> T::Output {
    match level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `level` returns only levels that the machine has (`detected`, `force`).
        Level::Avx512 => unsafe { avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `level` returns only levels that the machine has (`detected`, `force`).
        Level::Avx2 => unsafe { avx2(task) },
        _ => task.run::<Portable>(),
    }
}

/// Runs the task, compiled for AVX-512.
///
/// # Safety
/// The machine has the features that are enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi1,bmi2")]
fn avx512<T: Task>(task: T) -> T::Output {
    task.run::<Avx512>()
}

/// Runs the task, compiled for AVX2 and FMA.
///
/// # Safety
/// The machine has the features that are enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<T: Task>(task: T) -> T::Output {
    task.run::<Avx2>()
}
