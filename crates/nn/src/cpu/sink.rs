//! The receivers of weight gradients: an array, or an optimiser step.

use std::sync::atomic::{AtomicBool, Ordering};

use super::adam::{self, AdamRule};
use super::layout::Layout;
use super::simd::Simd;
use super::team::Shared;

/// A receiver of gradients, which stores them or makes an optimiser step.
pub(super) trait Sink: Sync {
    /// Announces gradients of `n` numbers, which begin at `at` in a member's row.
    fn announce<S: Simd>(&self, _member: usize, _at: usize, _n: usize) {}
    /// Receives the gradients of the numbers that begin at `at` in a member's row.
    ///
    /// # Safety
    /// These numbers are in the row of one of the members, and nothing else accesses them during the call.
    unsafe fn take<S: Simd>(&self, member: usize, at: usize, gradient: &[f32]);
}

/// Stores gradients in an array `[E, P]`.
pub(super) struct GradientArray {
    gradients: Shared<f32>,
    parameters: usize,
}

impl GradientArray {
    /// A receiver for this array, whose borrow has to outlive the returned value.
    pub(super) fn new(layout: &Layout, gradients: &mut [f32]) -> Self {
        assert_eq!(gradients.len(), layout.shape().members * layout.parameters(), "one number per parameter");
        Self { gradients: Shared::new(gradients), parameters: layout.parameters() }
    }
}

impl Sink for GradientArray {
    #[inline(always)]
    unsafe fn take<S: Simd>(&self, member: usize, at: usize, gradient: &[f32]) {
        // SAFETY: the array has a row of `parameters` numbers for every member (`GradientArray::new`). The caller
        // guarantees that the range is within a row and that nothing else accesses it; `gradient` is memory of its own.
        unsafe {
            let to = self.gradients.at(member * self.parameters + at);
            std::ptr::copy_nonoverlapping(gradient.as_ptr(), to, gradient.len());
        }
    }
}

/// Makes an Adam step on weights that several tasks share.
pub(super) struct AdamStep {
    rule: AdamRule,
    parameters: usize,
    pub(super) weights: Shared<f32>,
    moment_1: Shared<f32>,
    moment_2: Shared<f32>,
    target: Option<(Shared<f32>, f32)>,
    non_finite: AtomicBool,
}

impl Sink for AdamStep {
    #[inline(always)]
    fn announce<S: Simd>(&self, member: usize, at: usize, n: usize) {
        let start = member * self.parameters + at;
        for all in [self.moment_1, self.moment_2, self.weights] {
            for i in (0..n).step_by(16) {
                S::prefetch(all.address(start + i));
            }
            S::prefetch(all.address(start + n - 1));
        }
    }

    #[inline(always)]
    unsafe fn take<S: Simd>(&self, member: usize, at: usize, gradient: &[f32]) {
        let (start, n) = (member * self.parameters + at, gradient.len());
        // SAFETY: all arrays have a row of `parameters` numbers for every member (`AdamStep::new`) and are apart from
        // each other. The caller guarantees that the range is within a row and that nothing else accesses it.
        unsafe {
            let slice = |all: Shared<f32>| std::slice::from_raw_parts_mut(all.at(start), n);
            let weights = slice(self.weights);
            if self.rule.apply::<S>(weights, gradient, slice(self.moment_1), slice(self.moment_2)) {
                self.non_finite.store(true, Ordering::Relaxed);
            }
            if let Some((target, tau)) = self.target {
                adam::average::<S>(slice(target), weights, tau);
            }
        }
    }
}

/// The weights of `E` networks with their moments, for one optimiser step.
pub struct Weights<'a> {
    /// `[E, P]`
    pub parameters: &'a mut [f32],
    /// `[E, P]`
    pub moment_1: &'a mut [f32],
    /// `[E, P]`
    pub moment_2: &'a mut [f32],
    /// Target weights `[E, P]` that follow `parameters`, and their rate tau.
    pub target: Option<(&'a mut [f32], f32)>,
}

impl AdamStep {
    /// A step on these arrays, whose borrow has to outlive the returned value.
    pub(super) fn new(layout: &Layout, rule: AdamRule, weights: Weights<'_>) -> Self {
        let Weights { parameters, moment_1, moment_2, target } = weights;
        let n = layout.shape().members * layout.parameters();
        let lengths = [parameters.len(), moment_1.len(), moment_2.len(), target.as_ref().map_or(n, |(t, _)| t.len())];
        assert_eq!(lengths, [n; 4], "weights, moments and target of {n} numbers");
        Self {
            rule,
            parameters: layout.parameters(),
            weights: Shared::new(parameters),
            moment_1: Shared::new(moment_1),
            moment_2: Shared::new(moment_2),
            target: target.map(|(target, tau)| (Shared::new(target), tau)),
            non_finite: AtomicBool::new(false),
        }
    }

    /// Whether all gradients so far were finite.
    pub(super) fn finite(self) -> bool {
        !self.non_finite.into_inner()
    }
}
