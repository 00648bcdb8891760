//! One optimiser step of an ensemble, member by member.
//!
//! Members are independent. One thread does all work of a member, from its forward passes to its new weights. It is the
//! same thread at every step, so that the member's tapes, weights and moments stay in that core's cache: reading data
//! that another core has just written costs as much as computing it. If the members do not divide evenly among the
//! threads, all threads share the remaining ones, panel by panel and then layer by layer.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::adam::AdamRule;
use super::layout::Layout;
use super::sink::{AdamStep, Weights};
use super::tape::Tape;
use super::team::{self, Shared};
use super::update::{self, Tapes};

/// One panel of one member: its tape, and any other data that its work needs.
pub trait Piece: Send + Sync {
    /// The tape.
    fn tape(&self) -> &Tape;
}

/// The pieces of one member.
struct Member<'a, P> {
    member: usize,
    pieces: &'a [P],
}

impl<P: Piece> Tapes for Member<'_, P> {
    fn members(&self) -> std::ops::Range<usize> {
        self.member..self.member + 1
    }

    fn parts(&self) -> usize {
        self.pieces.len()
    }

    fn tape(&self, _: usize, part: usize) -> &Tape {
        self.pieces[part].tape()
    }
}

/// Increments a counter when dropped, even during a panic, so that no thread waits for ever.
struct Finished<'a>(&'a AtomicUsize);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// The assignment of members to threads.
#[derive(Clone, Copy)]
struct Assignment {
    threads: usize,
    /// Number of members that each thread owns.
    per_thread: usize,
    /// Number of remaining members, which all threads process together.
    remaining: usize,
}

impl Assignment {
    fn new(members: usize) -> Self {
        let threads = team::threads();
        Self { threads, per_thread: members / threads, remaining: members % threads }
    }

    /// Number of sets of pieces that belong to a thread: one for each, or none if no thread owns a member.
    fn thread_sets(&self) -> usize {
        if self.per_thread > 0 { self.threads } else { 0 }
    }

    /// Number of sets of pieces: those of the threads, then one for each remaining member.
    fn piece_sets(&self) -> usize {
        self.thread_sets() + self.remaining
    }
}

/// Makes one Adam step of all members.
///
/// `work(member, panel, piece, result, parameters)` does the forward pass, the loss and the backward pass of one panel
/// of one member with its parameters `[P]`. It uses a piece of `pieces`, which `new` creates as needed, and writes its
/// output to its entry of `results`, `[E, panels]`. `train` returns whether all gradients were finite.
#[track_caller]
pub fn train<P: Piece, R: Send>(
    layout: &Layout,
    rule: AdamRule,
    weights: Weights<'_>,
    pieces: &mut Vec<P>,
    results: &mut [R],
    new: impl Fn() -> P,
    work: impl Fn(usize, usize, &mut P, &mut R, &[f32]) + Sync,
) -> bool {
    let (members, width) = (layout.shape().members, layout.parameters());
    let panels = results.len() / members;
    assert_eq!(results.len(), members * panels, "one result per member and panel");
    let assignment = Assignment::new(members);
    while pieces.len() < assignment.piece_sets() * panels {
        pieces.push(new());
    }
    let sink = AdamStep::new(layout, rule, weights);
    let (pieces, results) = (Shared::new(pieces), Shared::new(results));
    let run_panel = |member: usize, panel: usize, set: usize| {
        // SAFETY: `pieces` was filled with `piece_sets` sets of panels above, and `results` has an entry for every
        // member and panel. The counters hand out a pair of member and panel once, so that its result has one user. A
        // set has one user at a time: a thread's own set is used by that thread, and each panel of a remaining member's
        // set once. The member's weights are only read until all of its passes are over (`update_layer`).
        unsafe {
            let (piece, result) = (&mut *pieces.at(set * panels + panel), &mut *results.at(member * panels + panel));
            work(member, panel, piece, result, std::slice::from_raw_parts(sink.weights.at(member * width), width));
        }
    };
    let update_layer = |member: usize, set: usize, task: usize, cuts: usize| {
        // SAFETY: all passes of this member are over, so that its pieces are only read from now on, and `P` is `Sync`.
        let pieces = unsafe { std::slice::from_raw_parts(pieces.at(set * panels), panels) };
        let (tapes, layer, cut) = (Member { member, pieces }, layout.by_cost[task / cuts], [task % cuts, cuts]);
        // SAFETY: the sink was made with this layout, and its arrays are borrowed until `train` returns. Every triple
        // of member, layer and cut comes once, and no reference to the member's weights from its passes is left.
        unsafe { update::one_layer(layout, &tapes, &sink, member, layer, cut) };
    };

    // First, each thread takes its own members. A thread that finishes early takes some of the others'.
    let Assignment { threads, per_thread, remaining } = assignment;
    let taken = AtomicUsize::new(0);
    let first_of = |thread: usize| thread * per_thread;
    let claims = Claims::new(threads);
    // Then come the remaining members: all panels of all of them, and a member's layers as soon as its panels are done.
    let cuts = if threads == 1 { 1 } else { (4 * threads).div_ceil((remaining * layout.depth()).max(1)).min(8) };
    let updates = layout.depth() * cuts;
    let passed = Claims::new(remaining);
    let (first_remaining, first_set) = (threads * per_thread, assignment.thread_sets());
    team::on_all(threads, |thread| {
        for other in (thread..threads).chain(0..thread) {
            while let Some(index) = claims.claim(other, per_thread) {
                let member = first_of(other) + index;
                (0..panels).for_each(|panel| run_panel(member, panel, thread));
                (0..layout.depth()).for_each(|task| update_layer(member, thread, task, 1));
            }
        }
        loop {
            let i = taken.fetch_add(1, Ordering::Relaxed);
            if i < remaining * panels {
                let index = i / panels;
                let _finished = Finished(passed.counter(index));
                run_panel(first_remaining + index, i % panels, first_set + index);
            } else if i < remaining * (panels + updates) {
                let i = i - remaining * panels;
                let index = i % remaining;
                team::wait(passed.counter(index), panels);
                update_layer(first_remaining + index, first_set + index, i / remaining, cuts);
            } else {
                break;
            }
        }
    });
    sink.finite()
}

/// Counters that need no heap memory for the number of threads of usual machines.
struct Claims {
    few: [AtomicUsize; 32],
    many: Vec<AtomicUsize>,
}

impl Claims {
    fn new(count: usize) -> Self {
        let few = std::array::from_fn(|_| AtomicUsize::new(0));
        let many = if count > few.len() { (0..count).map(|_| AtomicUsize::new(0)).collect() } else { Vec::new() };
        Self { few, many }
    }

    fn counter(&self, i: usize) -> &AtomicUsize {
        if self.many.is_empty() { &self.few[i] } else { &self.many[i] }
    }

    /// Claims the next index below `count` from counter `i`, if one is left.
    fn claim(&self, i: usize, count: usize) -> Option<usize> {
        let index = self.counter(i).fetch_add(1, Ordering::Relaxed);
        (index < count).then_some(index)
    }
}
