//! One optimiser step of an ensemble, member by member.
//!
//! Members are independent. One thread does all work of a member, from its forward passes to its new weights. It is the
//! same thread at every step, so that the member's tapes, weights and moments stay in that core's cache: reading data
//! that another core has just written costs as much as computing it. If the members do not divide evenly among the
//! threads, all threads share the remaining ones, panel by panel and then layer by layer.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::adam::AdamRule;
use super::layout::Layout;
use super::tape::Tape;
use super::team::{self, Shared};
use super::update::{self, Step, Tapes, Weights};

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
struct Plan {
    threads: usize,
    /// Number of members that each thread owns.
    own: usize,
    /// Number of remaining members, which all threads share.
    shared: usize,
}

impl Plan {
    fn new(members: usize) -> Self {
        let threads = team::threads();
        Self { threads, own: members / threads, shared: members % threads }
    }

    /// Number of sets of pieces: one for each thread that has members, and one for each shared member.
    fn sets(&self) -> usize {
        if self.own > 0 { self.threads + self.shared } else { self.shared }
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
    assert_eq!(results.len(), members * panels, "one result a panel");
    let plan = Plan::new(members);
    while pieces.len() < plan.sets() * panels {
        pieces.push(new());
    }
    let sink = Step::new(layout, rule, weights);
    let (pieces, results) = (Shared::new(pieces), Shared::new(results));
    let one = |member: usize, panel: usize, set: usize| {
        // Safety: a piece and a result have one user at a time, and no thread writes the weights of a member whose
        // passes are not over.
        unsafe {
            let (piece, result) = (&mut *pieces.at(set * panels + panel), &mut *results.at(member * panels + panel));
            work(member, panel, piece, result, std::slice::from_raw_parts(sink.weights.at(member * width), width));
        }
    };
    let layer = |member: usize, set: usize, task: usize, cuts: usize| {
        // Safety: the passes of this member are over.
        let pieces = unsafe { std::slice::from_raw_parts(pieces.at(set * panels), panels) };
        let cut = [task % cuts, cuts];
        update::one_layer(layout, &Member { member, pieces }, &sink, member, layout.by_cost[task / cuts], cut);
    };

    // First, each thread takes its own members. A thread that finishes early takes some of the others'.
    let Plan { threads, own, shared } = plan;
    let taken = AtomicUsize::new(0);
    let first_of = |thread: usize| thread * own;
    let claims = Claims::new(threads);
    // Then come the shared members: all panels of all of them, and a member's layers as soon as its panels are done.
    let cuts = if threads == 1 { 1 } else { (4 * threads).div_ceil((shared * layout.depth()).max(1)).min(8) };
    let updates = layout.depth() * cuts;
    let passed = Claims::new(shared);
    team::on_all(threads, |thread| {
        for other in (thread..threads).chain(0..thread) {
            while let Some(place) = claims.claim(other, own) {
                let member = first_of(other) + place;
                (0..panels).for_each(|panel| one(member, panel, thread));
                (0..layout.depth()).for_each(|task| layer(member, thread, task, 1));
            }
        }
        let sets = if own > 0 { threads } else { 0 };
        loop {
            let i = taken.fetch_add(1, Ordering::Relaxed);
            if i < shared * panels {
                let _finished = Finished(passed.counter(i / panels));
                one(threads * own + i / panels, i % panels, sets + i / panels);
            } else if i < shared * (panels + updates) {
                let i = i - shared * panels;
                let place = i % shared;
                team::wait(passed.counter(place), panels);
                layer(threads * own + place, sets + place, i / shared, cuts);
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

    /// Claims the next of `count` places of counter `i`, if one is left.
    fn claim(&self, i: usize, count: usize) -> Option<usize> {
        let place = self.counter(i).fetch_add(1, Ordering::Relaxed);
        (place < count).then_some(place)
    }
}
