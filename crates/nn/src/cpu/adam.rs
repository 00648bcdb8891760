//! Adam on slices, in one pass over weights, gradients and moments.

use super::simd::{self, Simd, Task};
use super::team::{self, Shared};

/// The constants of one step (Kingma and Ba, 2015; Loshchilov and Hutter, 2019, for the decoupled decay).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamRule {
    /// Step size divided by the first moment's bias correction, lr / (1 − β₁ᵗ).
    pub step: f32,
    /// β₁.
    pub beta_1: f32,
    /// β₂.
    pub beta_2: f32,
    /// 1 / (1 − β₂ᵗ).
    pub correction_2: f32,
    /// ε.
    pub eps: f32,
    /// lr · decay if the decay is decoupled, else 0. It is not stored as 1 − lr · decay, where f32 has steps of 6e-8.
    pub shrink: f32,
    /// The decay that is added to the gradient if the decay is coupled, else 0.
    pub coupled: f32,
}

impl AdamRule {
    /// Applies the rule to a row of numbers. Returns whether a gradient was not finite.
    #[inline(always)]
    pub(super) fn apply<S: Simd>(&self, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) -> bool {
        let n = g.len();
        let (w, m, v) = (&mut w[..n], &mut m[..n], &mut v[..n]);
        let mut non_finite = 0;
        for i in 0..n {
            non_finite |= u32::from(g[i].to_bits() & 0x7f80_0000 == 0x7f80_0000);
            let g = S::mul_add(self.coupled, w[i], g[i]);
            m[i] = flush(S::mul_add(self.beta_1, m[i], (1.0 - self.beta_1) * g));
            v[i] = flush(S::mul_add(self.beta_2, v[i], (1.0 - self.beta_2) * (g * g)));
            let root = (v[i] * self.correction_2).sqrt() + self.eps;
            w[i] -= S::mul_add(self.shrink, w[i], self.step * m[i] / root);
        }
        non_finite != 0
    }
}

/// Replaces a subnormal number by zero. Otherwise the first moment of an inactive unit would shrink to the smallest
/// subnormal number and stay there, and arithmetic with subnormal numbers is slower by an order of magnitude.
#[inline(always)]
fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0 } else { x }
}

/// Number of weights that one thread processes at a time.
const CHUNK: usize = 16 * 1024;

struct Chunk<'a> {
    rule: AdamRule,
    w: &'a mut [f32],
    g: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl Task for Chunk<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self) -> bool {
        self.rule.apply::<S>(self.w, self.g, self.m, self.v)
    }
}

/// Makes one step of all weights `w` with gradients `g` and moments `m`, `v`. Returns whether all gradients were
/// finite.
pub fn adam(rule: AdamRule, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) -> bool {
    let n = w.len();
    assert!(g.len() == n && m.len() == n && v.len() == n, "one gradient and two moments per weight");
    let [w, m, v] = [w, m, v].map(Shared::new);
    let non_finite = std::sync::atomic::AtomicBool::new(false);
    team::for_each(n.div_ceil(CHUNK), |i| {
        let (start, length) = (i * CHUNK, CHUNK.min(n - i * CHUNK));
        // SAFETY: start + length is at most n, the length of all three arrays, and every chunk comes once. The arrays
        // are borrowed mutably until `for_each` returns.
        let [w, m, v] = [w, m, v].map(|all| unsafe { std::slice::from_raw_parts_mut(all.at(start), length) });
        if simd::dispatch(Chunk { rule, w, g: &g[start..start + length], m, v }) {
            non_finite.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    !non_finite.into_inner()
}

/// target ← target + tau (online − target), for a row of numbers.
#[inline(always)]
pub(super) fn average<S: Simd>(target: &mut [f32], online: &[f32], tau: f32) {
    for (target, online) in target.iter_mut().zip(online) {
        *target = S::mul_add(tau, online - *target, *target);
    }
}

struct Average<'a>(&'a mut [f32], &'a [f32], f32);

impl Task for Average<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        average::<S>(self.0, self.1, self.2);
    }
}

/// Polyak averaging: target ← tau · online + (1 − tau) · target.
pub fn polyak(target: &mut [f32], online: &[f32], tau: f32) {
    assert_eq!(target.len(), online.len(), "two networks of one shape");
    let n = target.len();
    let target = Shared::new(target);
    team::for_each(n.div_ceil(CHUNK), |i| {
        let (start, length) = (i * CHUNK, CHUNK.min(n - i * CHUNK));
        // SAFETY: start + length is at most n, the length of the target, and every chunk comes once. The target is
        // borrowed mutably until `for_each` returns.
        let target = unsafe { std::slice::from_raw_parts_mut(target.at(start), length) };
        simd::dispatch(Average(target, &online[start..start + length], tau));
    });
}
