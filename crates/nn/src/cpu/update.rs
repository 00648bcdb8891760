//! Weight gradients from tapes, stored or used directly for an optimiser step.
//!
//! A gradient is summed over all rows of a member in one register tile. If an optimiser step follows, it uses the
//! tile's numbers directly, and they are never written to memory.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::PANEL_ROWS;
use super::adam::{self, AdamRule};
use super::gemm::{self, MOST_ROWS, NARROW, ROWS_OF_BLOCK, Tile};
use super::layout::Layout;
use super::simd::{self, Simd, Task};
use super::tape::Tape;
use super::team::{self, Shared};

/// A receiver of gradients, which stores them or makes an optimiser step.
pub(super) trait Sink: Sync {
    /// Announces gradients of `n` numbers, which begin at `at` in a member's row.
    fn expect<S: Simd>(&self, _member: usize, _at: usize, _n: usize) {}
    /// Receives the gradients of the numbers that begin at `at` in a member's row.
    fn take<S: Simd>(&self, member: usize, at: usize, gradient: &[f32]);
}

struct Store {
    gradients: Shared<f32>,
    parameters: usize,
}

impl Sink for Store {
    #[inline(always)]
    fn take<S: Simd>(&self, member: usize, at: usize, gradient: &[f32]) {
        // Safety: every number of every member comes once, and is within its row.
        unsafe {
            let to = self.gradients.at(member * self.parameters + at);
            std::ptr::copy_nonoverlapping(gradient.as_ptr(), to, gradient.len());
        }
    }
}

/// An Adam step on weights that several tasks share.
pub(super) struct Step {
    rule: AdamRule,
    parameters: usize,
    pub(super) weights: Shared<f32>,
    moment_1: Shared<f32>,
    moment_2: Shared<f32>,
    target: Option<(Shared<f32>, f32)>,
    bad: AtomicBool,
}

impl Sink for Step {
    #[inline(always)]
    fn expect<S: Simd>(&self, member: usize, at: usize, n: usize) {
        let start = member * self.parameters + at;
        for all in [self.moment_1, self.moment_2, self.weights] {
            for i in (0..n).step_by(16) {
                // Safety: within a member's row.
                S::prefetch(unsafe { all.at(start + i) });
            }
            S::prefetch(unsafe { all.at(start + n - 1) });
        }
    }

    #[inline(always)]
    fn take<S: Simd>(&self, member: usize, at: usize, gradient: &[f32]) {
        let (start, n) = (member * self.parameters + at, gradient.len());
        // Safety: every number of every member comes once, and is within its row.
        unsafe {
            let slice = |all: Shared<f32>| std::slice::from_raw_parts_mut(all.at(start), n);
            let weights = slice(self.weights);
            if self.rule.apply::<S>(weights, gradient, slice(self.moment_1), slice(self.moment_2)) {
                self.bad.store(true, Ordering::Relaxed);
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

/// The tapes of some members, after their backward passes.
pub trait Tapes: Sync {
    /// The members that have tapes.
    fn members(&self) -> Range<usize>;
    /// Number of parts into which every member's rows are cut.
    fn parts(&self) -> usize;
    /// The tape of one part of one member's rows.
    fn tape(&self, member: usize, part: usize) -> &Tape;
}

/// Computes the gradients of the members' weights into `[E, P]`. The rows of members without tapes are left unchanged.
pub fn gradients<T: Tapes + ?Sized>(layout: &Layout, tapes: &T, gradients: &mut [f32]) {
    assert_eq!(gradients.len(), layout.shape().members * layout.parameters(), "one number a parameter");
    run(layout, tapes, &Store { gradients: Shared::new(gradients), parameters: layout.parameters() });
}

/// Makes one Adam step of the members' weights. Returns whether all gradients were finite.
pub fn step<T: Tapes + ?Sized>(layout: &Layout, tapes: &T, rule: AdamRule, weights: Weights<'_>) -> bool {
    let sink = Step::new(layout, rule, weights);
    run(layout, tapes, &sink);
    sink.finite()
}

impl Step {
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
            bad: AtomicBool::new(false),
        }
    }

    pub(super) fn finite(self) -> bool {
        !self.bad.into_inner()
    }
}

/// Processes every layer of every member. Layers are cut so that all threads have work; a gradient does not depend on
/// the cuts. Tasks are numbered by member, then by cut: a thread that begins with the same numbers at every step
/// ([`team::for_each`]) then has the same weights and moments at every step.
fn run<T: Tapes + ?Sized>(layout: &Layout, tapes: &T, sink: &impl Sink) {
    let members = tapes.members();
    assert!(members.end <= layout.shape().members, "members {members:?} of {}", layout.shape().members);
    let (threads, depth) = (team::threads(), layout.depth());
    let cuts = match threads {
        1 => 1,
        _ if members.len().is_multiple_of(threads) => 1,
        _ => threads.min(8),
    };
    team::for_each(members.len() * cuts * depth, |i| {
        let (member, cut, rank) = (members.start + i / depth / cuts, i / depth % cuts, i % depth);
        one_layer(layout, tapes, sink, member, layout.by_cost[rank], [cut, cuts]);
    });
}

/// Processes one layer of one member, or a part of it.
pub(super) fn one_layer<T: Tapes + ?Sized>(
    layout: &Layout,
    tapes: &T,
    sink: &impl Sink,
    member: usize,
    layer: usize,
    cut: [usize; 2],
) {
    LISTS.with_borrow_mut(|lists| {
        simd::dispatch(OneLayer { layout, tapes, sink, lists, member, layer, cut });
    });
}

/// The addresses of a member's panels, and its transposed gradients. The memory is reused from task to task.
#[derive(Default)]
struct Lists {
    inputs: Vec<*const f32>,
    gradients: Vec<*const f32>,
    normalized: Vec<*const f32>,
    before_scale: Vec<*const f32>,
    turned: Vec<f32>,
}

thread_local! {
    static LISTS: RefCell<Lists> = RefCell::default();
}

struct OneLayer<'a, T: ?Sized, K> {
    layout: &'a Layout,
    tapes: &'a T,
    sink: &'a K,
    lists: &'a mut Lists,
    member: usize,
    layer: usize,
    /// Index of the part of the weight's rows, and the number of parts.
    cut: [usize; 2],
}

impl<T: Tapes + ?Sized, K: Sink> Task for OneLayer<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { layout, tapes, sink, lists, member, layer: l, cut: [cut, cuts] } = self;
        let layer = layout.layers[l];
        let normed = layout.has_norm(l);
        let Lists { inputs, gradients, normalized, before_scale, turned } = lists;
        for list in [&mut *inputs, gradients, normalized, before_scale] {
            list.clear();
        }
        for part in 0..tapes.parts() {
            let tape = tapes.tape(member, part);
            assert_eq!(**tape.layout(), *layout, "tapes of one layout");
            for panel in 0..tape.panels() {
                inputs.push(tape.pointer(panel, layout.input_of(l)));
                gradients.push(tape.pointer(panel, layer.gradient));
                if normed {
                    normalized.push(tape.pointer(panel, layer.normalized));
                    before_scale.push(tape.pointer(panel, layer.before_scale));
                }
            }
        }
        let (first, end) = (layer.inputs * cut / cuts, layer.inputs * (cut + 1) / cuts);
        // Safety: the pointers are to whole panels of tapes that outlive this call, with padding after the last.
        unsafe {
            if layer.outputs <= NARROW {
                narrow::<S, K>(sink, member, layer.weight, layer.outputs, [first, end], inputs, gradients);
            } else {
                let width = layer.outputs.next_multiple_of(ROWS_OF_BLOCK);
                turned.resize(gradients.len() * PANEL_ROWS * width, 0.0);
                turn::<S>(gradients, layer.outputs, turned);
                wide::<S, K>(sink, member, layer.weight, layer.outputs, [first, end], inputs, turned);
            }
            if cut == 0 {
                column_sums::<S, K>(sink, member, layer.bias, layer.outputs, gradients);
                if normed {
                    column_dots::<S, K>(sink, member, layer.scale, layer.outputs, normalized, before_scale);
                    column_sums::<S, K>(sink, member, layer.shift, layer.outputs, before_scale);
                }
            }
        }
    }
}

/// Transposes `[O][PANEL_ROWS]` of every panel into `[width / PANEL_ROWS][lanes of all panels][PANEL_ROWS]`, so that each block of
/// columns is contiguous.
#[inline(always)]
unsafe fn turn<S: Simd>(panels: &[*const f32], outputs: usize, turned: &mut [f32]) {
    for (p, panel) in panels.iter().enumerate() {
        for column in (0..outputs).step_by(16) {
            for lane in (0..PANEL_ROWS).step_by(16) {
                unsafe {
                    let block = column / ROWS_OF_BLOCK * panels.len() * PANEL_ROWS;
                    let row = (block + p * PANEL_ROWS + lane) * ROWS_OF_BLOCK;
                    let to = turned.as_mut_ptr().add(row + column % ROWS_OF_BLOCK);
                    S::transpose16(panel.add(column * PANEL_ROWS + lane), PANEL_ROWS, to, ROWS_OF_BLOCK);
                }
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn wide<S: Simd, K: Sink>(
    sink: &K,
    member: usize,
    weight: usize,
    outputs: usize,
    [first, end]: [usize; 2],
    inputs: &[*const f32],
    turned: &[f32],
) {
    let mut tile: Tile = [[0.0; PANEL_ROWS]; MOST_ROWS];
    for column in (0..outputs).step_by(ROWS_OF_BLOCK) {
        let used = ROWS_OF_BLOCK.min(outputs - column);
        let block = turned[column * inputs.len() * PANEL_ROWS..].as_ptr();
        let mut row = first;
        while row < end {
            let rows = S::ROWS.min(end - row);
            for r in 0..rows {
                sink.expect::<S>(member, weight + (row + r) * outputs + column, used);
            }
            unsafe {
                gemm::block_tile::<S>(rows, inputs, row, block, ROWS_OF_BLOCK, used, &mut tile);
            }
            for (r, gradient) in tile.iter().enumerate().take(rows) {
                let at = weight + (row + r) * outputs + column;
                if used == ROWS_OF_BLOCK {
                    // The common case, with a length that the compiler knows, as it does for the chunks of eight.
                    sink.take::<S>(member, at, gradient);
                    continue;
                }
                let (eights, rest) = gradient[..used].as_chunks::<8>();
                for (i, eight) in eights.iter().enumerate() {
                    sink.take::<S>(member, at + 8 * i, eight);
                }
                sink.take::<S>(member, at + 8 * eights.len(), rest);
            }
            row += rows;
        }
    }
}

#[inline(always)]
unsafe fn narrow<S: Simd, K: Sink>(
    sink: &K,
    member: usize,
    weight: usize,
    outputs: usize,
    [first, end]: [usize; 2],
    inputs: &[*const f32],
    gradients: &[*const f32],
) {
    let mut some = [0.0; NARROW];
    for row in first..end {
        for (o, gradient) in some.iter_mut().enumerate().take(outputs) {
            *gradient = unsafe { gemm::dot::<S>(inputs, row, gradients, o) };
        }
        sink.take::<S>(member, weight + row * outputs, &some[..outputs]);
    }
}

#[inline(always)]
unsafe fn column_sums<S: Simd, K: Sink>(sink: &K, member: usize, at: usize, outputs: usize, panels: &[*const f32]) {
    unsafe {
        columns::<S, K>(sink, member, at, outputs, |o, sums| {
            for panel in panels {
                let row = &*panel.add(o * PANEL_ROWS).cast::<[f32; PANEL_ROWS]>();
                for j in 0..PANEL_ROWS {
                    sums[j] += row[j];
                }
            }
        });
    }
}

#[inline(always)]
unsafe fn column_dots<S: Simd, K: Sink>(
    sink: &K,
    member: usize,
    at: usize,
    outputs: usize,
    a: &[*const f32],
    b: &[*const f32],
) {
    unsafe {
        columns::<S, K>(sink, member, at, outputs, |o, sums| {
            for (a, b) in a.iter().zip(b) {
                let (a, b) = (
                    &*a.add(o * PANEL_ROWS).cast::<[f32; PANEL_ROWS]>(),
                    &*b.add(o * PANEL_ROWS).cast::<[f32; PANEL_ROWS]>(),
                );
                for j in 0..PANEL_ROWS {
                    sums[j] = S::mul_add(a[j], b[j], sums[j]);
                }
            }
        });
    }
}

/// Computes one number per column from the sums of its lanes. The sink receives several columns at a time, so that it
/// can use vectors.
#[inline(always)]
unsafe fn columns<S: Simd, K: Sink>(
    sink: &K,
    member: usize,
    at: usize,
    outputs: usize,
    sum: impl Fn(usize, &mut [f32; PANEL_ROWS]),
) {
    let mut some = [0.0; PANEL_ROWS];
    for first in (0..outputs).step_by(PANEL_ROWS) {
        let used = PANEL_ROWS.min(outputs - first);
        for (o, gradient) in some.iter_mut().enumerate().take(used) {
            let mut sums = [0.0; PANEL_ROWS];
            sum(first + o, &mut sums);
            *gradient = gemm::fold(&mut sums);
        }
        sink.take::<S>(member, at + first, &some[..used]);
    }
}
