//! Weight gradients from tapes, stored or used directly for an optimiser step.
//!
//! A gradient is summed over all rows of a member in one register tile. If an optimiser step follows, it uses the
//! tile's numbers directly, and they are never written to memory.

use std::cell::RefCell;
use std::ops::Range;

use super::PANEL_ROWS;
use super::adam::AdamRule;
use super::gemm::{self, BLOCK_COLUMNS, MOST_ROWS, NARROW, RegisterTile};
use super::layout::Layout;
use super::simd::{self, Simd, Task};
use super::sink::{AdamStep, GradientArray, Sink, Weights};
use super::tape::Tape;
use super::team;

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
    run(layout, tapes, &GradientArray::new(layout, gradients));
}

/// Makes one Adam step of the members' weights. Returns whether all gradients were finite.
pub fn step<T: Tapes + ?Sized>(layout: &Layout, tapes: &T, rule: AdamRule, weights: Weights<'_>) -> bool {
    let sink = AdamStep::new(layout, rule, weights);
    run(layout, tapes, &sink);
    sink.finite()
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
        // SAFETY: every i is another triple of member, layer and cut, and the members are those of the layout, whose
        // arrays the sink was made with. They stay borrowed until `for_each` returns, after the last call.
        unsafe { one_layer(layout, tapes, sink, member, layout.by_cost[rank], [cut, cuts]) };
    });
}

/// Processes one layer of one member, or a part of it: `cut` is the index of the part, and the number of parts.
///
/// # Safety
/// The sink was made with arrays of this layout, which are still borrowed, and `member` is one of its members. Nothing
/// else accesses the member's numbers of this layer during the call, except calls with other parts of the same cut.
pub(super) unsafe fn one_layer<T: Tapes + ?Sized>(
    layout: &Layout,
    tapes: &T,
    sink: &impl Sink,
    member: usize,
    layer: usize,
    cut: [usize; 2],
) {
    BUFFERS.with_borrow_mut(|buffers| {
        simd::dispatch(OneLayer { layout, tapes, sink, buffers, member, layer, cut });
    });
}

/// The addresses of a member's panels, and its transposed gradients. The memory is reused from task to task.
#[derive(Default)]
struct UpdateBuffers {
    inputs: Vec<*const f32>,
    gradients: Vec<*const f32>,
    normalized: Vec<*const f32>,
    norm_gradients: Vec<*const f32>,
    transposed: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<UpdateBuffers> = RefCell::default();
}

/// The arguments of [`one_layer`], which alone makes such a value: its guarantees hold while the task runs.
struct OneLayer<'a, T: ?Sized, K> {
    layout: &'a Layout,
    tapes: &'a T,
    sink: &'a K,
    buffers: &'a mut UpdateBuffers,
    member: usize,
    layer: usize,
    /// Index of the part of the weight's rows, and the number of parts.
    cut: [usize; 2],
}

impl<T: Tapes + ?Sized, K: Sink> Task for OneLayer<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { layout, tapes, sink, buffers, member, layer: l, cut: [cut, cuts] } = self;
        let layer = layout.layers[l];
        let normed = layout.has_norm(l);
        let UpdateBuffers { inputs, gradients, normalized, norm_gradients, transposed } = buffers;
        for list in [&mut *inputs, gradients, normalized, norm_gradients] {
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
                    norm_gradients.push(tape.pointer(panel, layer.norm_gradient));
                }
            }
        }
        let (first, end) = (layer.inputs * cut / cuts, layer.inputs * (cut + 1) / cuts);
        // SAFETY: the pointers are to parts of panels of this layout, of tapes that are borrowed during this call and
        // have padding after the last panel. The ranges of weights, bias, scale and shift are disjoint parts of the
        // member's row, which `one_layer`'s caller leaves to this task; other cuts process other rows of the weight.
        unsafe {
            if layer.outputs <= NARROW {
                narrow::<S, K>(sink, member, layer.weight, layer.outputs, [first, end], inputs, gradients);
            } else {
                let width = layer.outputs.next_multiple_of(BLOCK_COLUMNS);
                transposed.resize(gradients.len() * PANEL_ROWS * width, 0.0);
                transpose::<S>(gradients, layer.outputs, transposed);
                wide::<S, K>(sink, member, layer.weight, layer.outputs, [first, end], inputs, transposed);
            }
            if cut == 0 {
                column_sums::<S, K>(sink, member, layer.bias, layer.outputs, gradients);
                if normed {
                    column_dots::<S, K>(sink, member, layer.scale, layer.outputs, normalized, norm_gradients);
                    column_sums::<S, K>(sink, member, layer.shift, layer.outputs, norm_gradients);
                }
            }
        }
    }
}

/// Transposes `[O][PANEL_ROWS]` of every panel into `[blocks][rows of all panels][BLOCK_COLUMNS]`, so that each block
/// of columns is contiguous.
///
/// # Safety
/// Level `S` is available and enabled. At every pointer, `outputs` features can be read, rounded up to a multiple of
/// 16. `transposed` has room for `outputs` columns, rounded up to whole blocks.
#[inline(always)]
unsafe fn transpose<S: Simd>(panels: &[*const f32], outputs: usize, transposed: &mut [f32]) {
    for (p, panel) in panels.iter().enumerate() {
        for column in (0..outputs).step_by(16) {
            for panel_row in (0..PANEL_ROWS).step_by(16) {
                // SAFETY: the square that is read covers features column..column + 16 and 16 rows of the panel; the one
                // that is written covers as many columns of one block. The caller guarantees both, in memory of their
                // own.
                unsafe {
                    let block = column / BLOCK_COLUMNS * panels.len() * PANEL_ROWS;
                    let row = (block + p * PANEL_ROWS + panel_row) * BLOCK_COLUMNS;
                    let to = transposed.as_mut_ptr().add(row + column % BLOCK_COLUMNS);
                    S::transpose16(panel.add(column * PANEL_ROWS + panel_row), PANEL_ROWS, to, BLOCK_COLUMNS);
                }
            }
        }
    }
}

/// The gradients of the weight's rows `first..end`, tile by tile.
///
/// # Safety
/// Level `S` is available and enabled. Features `first..end` of every panel of `inputs` can be read, and `transposed`
/// is the result of [`transpose`] for as many panels and `outputs` columns. Numbers `weight + first * outputs` to
/// `weight + end * outputs` of the member's row fulfil the conditions of [`Sink::take`].
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn wide<S: Simd, K: Sink>(
    sink: &K,
    member: usize,
    weight: usize,
    outputs: usize,
    [first, end]: [usize; 2],
    inputs: &[*const f32],
    transposed: &[f32],
) {
    let mut tile: RegisterTile = [[0.0; PANEL_ROWS]; MOST_ROWS];
    for column in (0..outputs).step_by(BLOCK_COLUMNS) {
        let used = BLOCK_COLUMNS.min(outputs - column);
        let block = transposed[column * inputs.len() * PANEL_ROWS..].as_ptr();
        let mut row = first;
        while row < end {
            let rows = S::ROWS.min(end - row);
            for r in 0..rows {
                sink.announce::<S>(member, weight + (row + r) * outputs + column, used);
            }
            // SAFETY: row..row + rows is within first..end, and `block` is a block of `transposed` with `PANEL_ROWS`
            // rows of `BLOCK_COLUMNS` numbers per panel; `used` is at most `BLOCK_COLUMNS`.
            unsafe {
                gemm::block_tile::<S>(rows, inputs, row, block, BLOCK_COLUMNS, used, &mut tile);
            }
            for (r, gradient) in tile.iter().enumerate().take(rows) {
                let at = weight + (row + r) * outputs + column;
                if used == BLOCK_COLUMNS {
                    // The common case, with a length that the compiler knows, as it does for the chunks of eight.
                    // SAFETY: the range is part of row `row + r` of the weight, which the caller guarantees.
                    unsafe { sink.take::<S>(member, at, gradient) };
                    continue;
                }
                let (eights, rest) = gradient[..used].as_chunks::<8>();
                for (i, eight) in eights.iter().enumerate() {
                    // SAFETY: these eight of the row's `used` numbers are part of row `row + r` of the weight, which
                    // the caller guarantees.
                    unsafe { sink.take::<S>(member, at + 8 * i, eight) };
                }
                // SAFETY: the rest of the `used` numbers is part of row `row + r` of the weight, which the caller
                // guarantees.
                unsafe { sink.take::<S>(member, at + 8 * eights.len(), rest) };
            }
            row += rows;
        }
    }
}

/// The gradients of the weight's rows `first..end`, for at most [`NARROW`] outputs.
///
/// # Safety
/// Level `S` is available and enabled, and `outputs` is at most `NARROW`. Features `first..end` of every panel of
/// `inputs`, and `outputs` features of as many panels of `gradients`, can be read. Numbers `weight + first * outputs`
/// to `weight + end * outputs` of the member's row fulfil the conditions of [`Sink::take`].
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
    let mut weight_row = [0.0; NARROW];
    for row in first..end {
        for (o, gradient) in weight_row.iter_mut().enumerate().take(outputs) {
            // SAFETY: `row` is in first..end and o below `outputs`, for which the caller guarantees the panels.
            *gradient = unsafe { gemm::dot::<S>(inputs, row, gradients, o) };
        }
        // SAFETY: the range is row `row` of the weight, which the caller guarantees.
        unsafe { sink.take::<S>(member, weight + row * outputs, &weight_row[..outputs]) };
    }
}

/// The sums of each of `outputs` features over all rows of all panels: the gradients of a bias or shift.
///
/// # Safety
/// `outputs` initialised features can be read at every pointer, and nothing writes them during the call. Numbers
/// `at..at + outputs` of the member's row fulfil the conditions of [`Sink::take`].
#[inline(always)]
unsafe fn column_sums<S: Simd, K: Sink>(sink: &K, member: usize, at: usize, outputs: usize, panels: &[*const f32]) {
    // SAFETY: `columns` asks for o below `outputs`, for which the caller guarantees the panels. An array of `f32` is
    // aligned as an `f32` is. The caller guarantees the sink's range.
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

/// The sums of `a · b` of each of `outputs` features over all rows of all panels: the gradients of a scale.
///
/// # Safety
/// `outputs` initialised features can be read at every pointer of `a` and `b`, and nothing writes them during the call.
/// Numbers `at..at + outputs` of the member's row fulfil the conditions of [`Sink::take`].
#[inline(always)]
unsafe fn column_dots<S: Simd, K: Sink>(
    sink: &K,
    member: usize,
    at: usize,
    outputs: usize,
    a: &[*const f32],
    b: &[*const f32],
) {
    // SAFETY: `columns` asks for o below `outputs`, for which the caller guarantees the panels of both lists. An array
    // of `f32` is aligned as an `f32` is. The caller guarantees the sink's range.
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

/// Computes one number per column from `sum(column, sums)`, which adds a panel's rows each into its own sum. The sink
/// receives several columns at a time, so that it can use vectors.
///
/// # Safety
/// Numbers `at..at + outputs` of the member's row fulfil the conditions of [`Sink::take`].
#[inline(always)]
unsafe fn columns<S: Simd, K: Sink>(
    sink: &K,
    member: usize,
    at: usize,
    outputs: usize,
    sum: impl Fn(usize, &mut [f32; PANEL_ROWS]),
) {
    let mut gradients = [0.0; PANEL_ROWS];
    for first in (0..outputs).step_by(PANEL_ROWS) {
        let used = PANEL_ROWS.min(outputs - first);
        for (o, gradient) in gradients.iter_mut().enumerate().take(used) {
            let mut sums = [0.0; PANEL_ROWS];
            sum(first + o, &mut sums);
            *gradient = gemm::fold(&mut sums);
        }
        // SAFETY: the range is part of at..at + outputs, which the caller guarantees.
        unsafe { sink.take::<S>(member, at + first, &gradients[..used]) };
    }
}
