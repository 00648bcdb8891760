//! Adam and Polyak averaging, with one launch each. They work in place if no other tensor holds the buffer.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{StepTable, buffer, elementwise, empty, tensor};
use crate::cpu::AdamRule;

/// Applies [`AdamRule`] to one number per thread. A `new_` buffer may be the old one. `now`, `[2]`, holds the step size
/// divided by the first moment's bias correction, and the second moment's correction.
#[cube(launch_unchecked)]
fn adam(
    w: &[f32],
    m: &[f32],
    v: &[f32],
    g: &[f32],
    new_w: &mut [f32],
    new_m: &mut [f32],
    new_v: &mut [f32],
    now: &[f32],
    beta_1: f32,
    beta_2: f32,
    eps: f32,
    shrink: f32,
    coupled: f32,
) {
    let i = ABSOLUTE_POS;
    if i < g.len() {
        let g = coupled * w[i] + g[i];
        let m = flush(beta_1 * m[i] + (1.0f32 - beta_1) * g);
        let v = flush(beta_2 * v[i] + (1.0f32 - beta_2) * (g * g));
        let root = (v * now[1]).sqrt() + eps;
        new_w[i] = w[i] - (shrink * w[i] + now[0] * m / root);
        new_m[i] = m;
        new_v[i] = v;
    }
}

/// Replaces a subnormal number by zero, as on the CPU.
#[cube]
fn flush(x: f32) -> f32 {
    select(x.abs() < f32::MIN_POSITIVE, 0.0f32, x)
}

/// target + tau (online − target), for one number per thread.
#[cube(launch_unchecked)]
fn polyak(target: &[f32], online: &[f32], new_target: &mut [f32], tau: f32) {
    let i = ABSOLUTE_POS;
    if i < online.len() {
        new_target[i] = target[i] + tau * (online[i] - target[i]);
    }
}

/// A buffer to be replaced, and its replacement: the buffer itself if no other tensor holds it.
struct Replaced {
    old: CubeTensor,
    new: CubeTensor,
    in_place: bool,
}

impl Replaced {
    fn new(tensor: Tensor<3>) -> Self {
        let old = buffer(tensor);
        let in_place = old.can_mut();
        let new = if in_place { old.clone() } else { empty(&old, old.meta.shape()) };
        Self { old, new, in_place }
    }

    /// The kernel argument that is written; the old buffer is argument number `position`.
    fn written(&self, position: usize) -> BufferArg {
        if self.in_place {
            BufferArg::alias(position, self.old.meta.num_elements())
        } else {
            self.new.clone().into_buffer_arg()
        }
    }
}

/// Makes step number `time`, and returns the new weights and moments. `rule` returns the rule of any step; the rules of
/// two steps may differ only in the corrections.
pub(crate) fn adam_step(
    (time, rule): (u64, impl Fn(u64) -> AdamRule),
    corrections: &mut StepTable,
    old: [Tensor<3>; 3],
    gradient: Tensor<3>,
) -> [Tensor<3>; 3] {
    let [w, m, v] = old.map(Replaced::new);
    let g = buffer(gradient);
    let sizes = [&w.old, &m.old, &v.old].map(|buffer| buffer.meta.num_elements());
    assert_eq!(sizes, [g.meta.num_elements(); 3], "one gradient and two moments per weight");
    let now = corrections.at(&g, time, DType::F32, |time| {
        let AdamRule { step, correction_2, .. } = rule(time);
        [step.to_bits(), correction_2.to_bits()]
    });
    let rule = rule(time);
    let client = g.client.clone();
    let (cubes, threads) = elementwise(g.meta.num_elements());
    let [new_w, new_m, new_v] = [(&w, 0), (&m, 1), (&v, 2)].map(|(replaced, position)| replaced.written(position));
    // SAFETY: a thread beyond the last gradient does nothing. All buffers have the size of the gradient, which is
    // checked above, and `now` has two numbers. A new buffer that is the old one is written by the thread that has read
    // its number.
    unsafe {
        adam::launch_unchecked(
            &client,
            cubes,
            threads,
            w.old.into_buffer_arg(),
            m.old.into_buffer_arg(),
            v.old.into_buffer_arg(),
            g.into_buffer_arg(),
            new_w,
            new_m,
            new_v,
            now.into_buffer_arg(),
            rule.beta_1,
            rule.beta_2,
            rule.eps,
            rule.shrink,
            rule.coupled,
        );
    }
    [w.new, m.new, v.new].map(tensor)
}

/// Polyak averaging; returns the new target.
pub(crate) fn polyak_step(target: Tensor<3>, online: Tensor<3>, tau: f32) -> Tensor<3> {
    let (target, online) = (Replaced::new(target), buffer(online));
    let sizes = [&target.old, &online].map(|buffer| buffer.meta.num_elements());
    assert_eq!(sizes[0], sizes[1], "two networks of one shape");
    let client = online.client.clone();
    let (cubes, threads) = elementwise(online.meta.num_elements());
    let written = target.written(0);
    // SAFETY: a thread beyond the last number does nothing, and the buffers have the same size, which is checked above.
    // A new target that is the old one is written by the thread that has read its number.
    unsafe {
        polyak::launch_unchecked(
            &client,
            cubes,
            threads,
            target.old.into_buffer_arg(),
            online.into_buffer_arg(),
            written,
            tau,
        );
    }
    tensor(target.new)
}
