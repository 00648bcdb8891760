//! The losses of SAC ([`super`]) on panels ([`foresee_nn::cpu::panels`]), with their derivatives.

use foresee_nn::cpu::PANEL_ROWS;
use foresee_nn::cpu::panels::{PerRow, feature, feature_mut};
use foresee_nn::cpu::simd::{self, Simd, Task};

/// Sums the first `rows` numbers of a panel's row in order, in f64.
pub(super) fn total(values: &[f32], rows: usize) -> f64 {
    values[..rows].iter().map(|&x| f64::from(x)).sum()
}

/// Returns the minimum of `N` rows that are `stride` apart, and its index. Of equal values the first is taken. A NaN
/// counts as the lowest value.
#[inline(always)]
fn lowest(q: &[f32], stride: usize) -> (PerRow, [u32; PANEL_ROWS]) {
    let (mut least, mut which) = (*feature(q, 0), [0; PANEL_ROWS]);
    for (n, q) in q.chunks(stride).enumerate().skip(1) {
        let q = feature(q, 0);
        for j in 0..PANEL_ROWS {
            let lower = q[j] < least[j] || q[j].is_nan();
            least[j] = if lower { q[j] } else { least[j] };
            which[j] = if lower { n as u32 } else { which[j] };
        }
    }
    (least, which)
}

/// Inputs and result of the target y = r + γ not_terminated (min_n Q̄_n − α log π) of one panel.
pub(super) struct CriticTarget<'a> {
    /// Q̄, `N` rows.
    pub(super) q: &'a [f32],
    /// Distance between the rows of successive critics in `q`.
    pub(super) stride: usize,
    pub(super) reward: &'a [f32],
    pub(super) not_terminated: &'a [f32],
    pub(super) discount: f32,
    pub(super) alpha: f32,
    pub(super) log_prob: &'a PerRow,
    /// Result: y.
    pub(super) y: &'a mut PerRow,
}

impl CriticTarget<'_> {
    pub(super) fn fill(self) {
        simd::dispatch(self);
    }
}

impl Task for CriticTarget<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { q, stride, reward, not_terminated, discount, alpha, log_prob, y } = self;
        let (least, _) = lowest(q, stride);
        let (reward, not_terminated) = (feature(reward, 0), feature(not_terminated, 0));
        for j in 0..PANEL_ROWS {
            let value = S::mul_add(-alpha, log_prob[j], least[j]);
            y[j] = S::mul_add(not_terminated[j], discount * value, reward[j]);
        }
    }
}

/// Writes (q − y)² to `squares`, and its derivative with respect to q times `scale` to `gradient`.
pub(super) fn squared_error(q: &[f32], y: &PerRow, scale: f32, gradient: &mut [f32], squares: &mut PerRow) {
    simd::dispatch(SquaredError { q, y, scale, gradient, squares });
}

struct SquaredError<'a> {
    q: &'a [f32],
    y: &'a PerRow,
    scale: f32,
    gradient: &'a mut [f32],
    squares: &'a mut PerRow,
}

impl Task for SquaredError<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (q, gradient) = (feature(self.q, 0), feature_mut(self.gradient, 0));
        for j in 0..PANEL_ROWS {
            let error = q[j] - self.y[j];
            self.squares[j] = error * error;
            gradient[j] = 2.0 * self.scale * error;
        }
    }
}

/// Inputs and result of the actor's loss α log π − min_n Q_n of one panel.
pub(super) struct ActorLoss<'a> {
    /// Q, `N` rows.
    pub(super) q: &'a [f32],
    /// Distance between the rows of successive critics in `q`.
    pub(super) stride: usize,
    pub(super) log_prob: &'a PerRow,
    pub(super) alpha: f32,
    pub(super) loss: &'a mut PerRow,
}

impl ActorLoss<'_> {
    pub(super) fn fill(self) {
        simd::dispatch(self);
    }
}

impl Task for ActorLoss<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { q, stride, log_prob, alpha, loss } = self;
        let (least, _) = lowest(q, stride);
        for j in 0..PANEL_ROWS {
            loss[j] = S::mul_add(alpha, log_prob[j], -least[j]);
        }
    }
}

/// Inputs and result of the derivative of [`ActorLoss`] with respect to one critic's value, times `scale`.
pub(super) struct ActorLossGradient<'a> {
    /// Q, `N` rows.
    pub(super) q: &'a [f32],
    /// Distance between the rows of successive critics in `q`.
    pub(super) stride: usize,
    pub(super) critic: usize,
    pub(super) scale: f32,
    pub(super) gradient: &'a mut PerRow,
}

impl ActorLossGradient<'_> {
    pub(super) fn fill(self) {
        simd::dispatch(self);
    }
}

impl Task for ActorLossGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (_, which) = lowest(self.q, self.stride);
        for (gradient, which) in self.gradient.iter_mut().zip(which) {
            *gradient = if which == self.critic as u32 { -self.scale } else { 0.0 };
        }
    }
}
