//! Work shared among threads.
//!
//! Threads take items as they become free. A result never depends on which thread processes an item, because items do
//! not share sums. Nothing computed here depends on the number of threads.
//!
//! A training step is about twelve pieces of work of half a millisecond, with a wait after each. A thread that sleeps
//! during such a wait wakes up too late for the next piece, so the helper threads look for work for `PATIENCE` before
//! they sleep. They exist for the life of the process. The size of the caller's rayon pool limits how many take part.
//! Only one caller can use the helpers at a time; other callers do their work alone.

use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Time for which a helper without work stays awake.
const PATIENCE: Duration = Duration::from_micros(200);

/// A pointer that threads may share. Its users must access disjoint parts.
#[derive(Debug)]
pub(super) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: a `Shared` is an address; every access through it is unsafe code of its users. They access an item from one
// thread at a time, so that it moves between threads at most, as `T: Send` allows. Those that read an item from several
// threads (`train`) know that it is `Sync`.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: a reference to a `Shared` gives no more than a copy of it does: the address, which may be sent as said above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The address of a slice. It is valid as long as the borrow would be.
    pub(super) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The address of item `i`, for a prefetch. `i` may be out of range: any address can be prefetched.
    pub(super) fn address(self, i: usize) -> *const T {
        self.0.wrapping_add(i)
    }

    /// The pointer to item `i`.
    ///
    /// # Safety
    /// `i` is at most the length of the slice that the pointer was made from, and that slice is still borrowed.
    pub(super) unsafe fn at(self, i: usize) -> *mut T {
        // SAFETY: the caller guarantees that the sum stays within the slice or one past its end.
        unsafe { self.0.add(i) }
    }
}

/// Number of threads of the current pool.
#[must_use]
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Work as a helper sees it: a function and a pointer to its captures on the caller's stack.
#[derive(Clone, Copy)]
struct Job {
    run: unsafe fn(*const (), usize),
    captures: *const (),
}

/// The current job, shared by helpers and callers.
struct JobSlot {
    /// Number of helpers that work on the job; [`CLOSED`] is set while none may begin.
    state: AtomicUsize,
    /// Helpers with a number below this may work on the job.
    limit: AtomicUsize,
    job: UnsafeCell<Job>,
    panicked: AtomicBool,
}

/// The bit of [`JobSlot::state`] that says that no helper may begin.
const CLOSED: usize = 1 << (usize::BITS - 1);

// SAFETY: of the fields, only `job` is neither `Send` nor `Sync`, because of its pointer to the captures. The captures
// are `Sync` (`share` demands it), so that any thread may use the pointer.
unsafe impl Send for JobSlot {}
// SAFETY: `job` is written by the caller that holds the lock on the helpers, while the slot is closed and no helper
// works. Only a helper that has begun reads it, after the exchange on `state` that follows the write.
unsafe impl Sync for JobSlot {}

impl JobSlot {
    /// Lets helper `number` take part in the job, if there is one. Returns whether it did.
    fn join(&self, number: usize) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        if state & CLOSED != 0 || number >= self.limit.load(Ordering::Relaxed) {
            return false;
        }
        if self.state.compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            return false;
        }
        // Checked again: the limit read above may belong to an earlier job whose state looked the same.
        if number >= self.limit.load(Ordering::Relaxed) {
            self.state.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        // SAFETY: this helper is counted in `state`, so that the caller neither returns nor writes another job before
        // the subtraction below (`JobGuard`). The job and its captures are therefore alive, and `run` belongs to the
        // captures.
        let done = catch_unwind(AssertUnwindSafe(|| unsafe {
            let Job { run, captures } = *self.job.get();
            run(captures, number + 1);
        }));
        if done.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        self.state.fetch_sub(1, Ordering::SeqCst);
        true
    }
}

struct Helper {
    thread: Thread,
    asleep: Arc<AtomicBool>,
}

struct Team {
    slot: Arc<JobSlot>,
    /// Locked by the caller that owns the current job.
    helpers: Mutex<Vec<Helper>>,
}

fn team() -> &'static Team {
    static TEAM: OnceLock<Team> = OnceLock::new();
    TEAM.get_or_init(|| Team {
        slot: Arc::new(JobSlot {
            state: AtomicUsize::new(CLOSED),
            limit: AtomicUsize::new(0),
            job: UnsafeCell::new(Job { run: |_, _| (), captures: std::ptr::null() }),
            panicked: AtomicBool::new(false),
        }),
        helpers: Mutex::new(Vec::new()),
    })
}

/// Starts the thread of helper `number`; `None` if the system refuses one.
fn spawn_helper(slot: &Arc<JobSlot>, number: usize) -> Option<Helper> {
    let (slot, asleep) = (Arc::clone(slot), Arc::new(AtomicBool::new(false)));
    let sleeps = Arc::clone(&asleep);
    let help = move || {
        let mut idle_since = Instant::now();
        loop {
            if slot.join(number) {
                idle_since = Instant::now();
                continue;
            }
            (0..64).for_each(|_| std::hint::spin_loop());
            if idle_since.elapsed() < PATIENCE {
                continue;
            }
            sleeps.store(true, Ordering::SeqCst);
            // Either this thread sees the job, or the caller sees that this thread is asleep.
            if slot.state.load(Ordering::SeqCst) & CLOSED != 0 {
                std::thread::park();
            }
            sleeps.store(false, Ordering::SeqCst);
            idle_since = Instant::now();
        }
    };
    let thread = std::thread::Builder::new().name("foresee-team".into()).spawn(help).ok()?.thread().clone();
    Some(Helper { thread, asleep })
}

/// Ends a job when dropped, even during a panic: no further helper can begin, and the drop waits for those that have
/// begun.
struct JobGuard<'a>(&'a JobSlot);

impl Drop for JobGuard<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_or(CLOSED, Ordering::SeqCst);
        let mut spins = 0_u32;
        while self.0.state.load(Ordering::SeqCst) != CLOSED {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(1 << 14) {
                std::thread::yield_now();
            }
        }
    }
}

/// Calls `f` with every number below `n`, once. Each thread begins with its own range, which is the same at every call,
/// so that its cache still holds that range's data from the last call. A thread that finishes early helps the others.
pub fn for_each(n: usize, f: impl Fn(usize) + Sync) {
    let shares = threads().min(n);
    if shares <= 1 {
        return (0..n).for_each(f);
    }
    if shares > MOST_SHARES {
        let next = AtomicUsize::new(0);
        return on_all(shares, |_| while_below(&next, n, &f));
    }
    let next: [AtomicUsize; MOST_SHARES] = std::array::from_fn(|share| AtomicUsize::new(share * n / shares));
    on_all(shares, |thread| {
        for share in (thread..shares).chain(0..thread) {
            while_below(&next[share], (share + 1) * n / shares, &f);
        }
    });
}

/// Maximum number of ranges into which [`for_each`] cuts its numbers.
const MOST_SHARES: usize = 16;

fn while_below(next: &AtomicUsize, end: usize, f: impl Fn(usize)) {
    loop {
        let i = next.fetch_add(1, Ordering::Relaxed);
        if i >= end {
            break;
        }
        f(i);
    }
}

/// Calls `f` with thread numbers below `threads`. Number 0 runs once, on the caller's thread. Every other number runs
/// any number of times, including never, but not twice at the same time. A number denotes the same thread at every
/// call. `f` must let any thread finish the whole work, because the other threads may never take part.
pub(super) fn on_all(threads: usize, f: impl Fn(usize) + Sync) {
    let others = threads.saturating_sub(1);
    if others == 0 {
        return f(0);
    }
    // A caller that finds the helpers busy, or that is itself a helper, works alone.
    let mut helpers = match team().helpers.try_lock() {
        Ok(helpers) => helpers,
        // An earlier caller's work panicked. The helpers are unaffected.
        Err(TryLockError::Poisoned(helpers)) => helpers.into_inner(),
        Err(TryLockError::WouldBlock) => return f(0),
    };
    share(&team().slot, &mut helpers, others, &f);
}

/// Runs `work` on the caller's thread, as number 0, and on up to `others` helpers. `helpers` are those of the slot's
/// team, locked by the caller.
fn share<F: Fn(usize) + Sync>(slot: &Arc<JobSlot>, helpers: &mut Vec<Helper>, others: usize, work: &F) {
    /// Calls the function with the captures at `captures`.
    ///
    /// # Safety
    /// `captures` points to an `F` that is alive during the call.
    unsafe fn run<F: Fn(usize)>(captures: *const (), number: usize) {
        // SAFETY: the caller guarantees an `F` at this address; calling it needs no more than a shared reference.
        unsafe { (*captures.cast::<F>())(number) }
    }
    while helpers.len() < others {
        let Some(helper) = spawn_helper(slot, helpers.len()) else { break };
        helpers.push(helper);
    }
    slot.limit.store(others, Ordering::Relaxed);
    // SAFETY: the lock on `helpers` makes this thread the only caller. The slot is closed and no helper works, because
    // the last job's `JobGuard` waited for that state, so that nothing reads the job. `work` outlives the guard below.
    unsafe { *slot.job.get() = Job { run: run::<F>, captures: std::ptr::from_ref(work).cast() } };
    let guard = JobGuard(slot);
    slot.state.store(0, Ordering::SeqCst);
    for helper in helpers.iter().take(others) {
        if helper.asleep.load(Ordering::SeqCst) {
            helper.thread.unpark();
        }
    }
    let result = catch_unwind(AssertUnwindSafe(|| work(0)));
    drop(guard);
    let helper_panicked = slot.panicked.swap(false, Ordering::Relaxed);
    if let Err(panic) = result {
        resume_unwind(panic);
    }
    assert!(!helper_panicked, "a helper thread panicked");
}

/// Waits until a counter that working threads increment reaches `count`.
pub(super) fn wait(counter: &AtomicUsize, count: usize) {
    let mut spins = 0_u32;
    while counter.load(Ordering::Acquire) < count {
        std::hint::spin_loop();
        spins += 1;
        if spins.is_multiple_of(1 << 14) {
            std::thread::yield_now();
        }
    }
}

/// Calls `f` with every item and its index, once.
pub fn for_each_mut<A: Send>(items: &mut [A], f: impl Fn(usize, &mut A) + Sync) {
    let (count, items) = (items.len(), Shared::new(items));
    for_each(count, |i| {
        // SAFETY: `for_each` passes every index below `count` once, so that no other reference to item `i` exists, and
        // it returns after the last call, while `items` is borrowed.
        f(i, unsafe { &mut *items.at(i) });
    });
}

thread_local! {
    /// The parts of a call of [`for_each_with`]. The memory is reused from call to call.
    static PARTS: Cell<Vec<Range<usize>>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with every item, its index and its part of `all`, once. Parts are in the order of the items and must not
/// overlap. `part` is evaluated once per item, on the calling thread.
///
/// # Panics
/// If a part overlaps the one before it, or exceeds `all`.
#[track_caller]
pub fn for_each_with<A: Send, T: Send>(
    items: &mut [A],
    all: &mut [T],
    part: impl Fn(usize) -> Range<usize>,
    f: impl Fn(usize, &mut A, &mut [T]) + Sync,
) {
    let mut parts = PARTS.take();
    parts.clear();
    let mut last_end = 0;
    for i in 0..items.len() {
        let Range { start, end } = part(i);
        assert!(last_end <= start, "part {i}, {start}..{end}, overlaps the parts before it, which end at {last_end}");
        let n = all.len();
        assert!(start <= end && end <= n, "part {i}, {start}..{end}, is reversed or exceeds {n} items");
        last_end = end;
        parts.push(start..end);
    }
    let (count, items, all) = (items.len(), Shared::new(items), Shared::new(all));
    for_each(count, |i| {
        let Range { start, end } = parts[i];
        // SAFETY: `for_each` passes every index below `count` once, so that no other reference to item `i` or to part
        // `i` exists. The stored parts were checked above: they are within `all` and do not overlap. `for_each` returns
        // after the last call, while both slices are borrowed.
        unsafe { f(i, &mut *items.at(i), std::slice::from_raw_parts_mut(all.at(start), end - start)) }
    });
    PARTS.set(parts);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_a_pool<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
    }

    #[test]
    fn every_item_is_visited_once_whoever_else_is_at_work() {
        std::thread::scope(|scope| {
            for threads in [1, 2, 3, 5] {
                scope.spawn(move || {
                    in_a_pool(threads, || {
                        for n in (0..300).chain([1000]) {
                            let mut items = vec![0; n];
                            for_each_mut(&mut items, |_, item| *item += 1);
                            assert!(items.iter().all(|&item| item == 1));
                        }
                    });
                });
            }
        });
    }

    #[test]
    fn helpers_that_fell_asleep_come_back() {
        in_a_pool(3, || {
            for _ in 0..20 {
                std::thread::sleep(3 * PATIENCE);
                let mut items = vec![0; 7];
                for_each_mut(&mut items, |i, item| *item = i);
                assert_eq!(items, [0, 1, 2, 3, 4, 5, 6]);
            }
        });
    }

    #[test]
    fn work_inside_work_is_done() {
        in_a_pool(2, || {
            let mut sums = [0; 8];
            for_each_mut(&mut sums, |i, sum| {
                let mut inner = [0; 5];
                for_each_mut(&mut inner, |j, x| *x = i * j);
                *sum = inner.iter().sum();
            });
            assert_eq!(sums, [0, 10, 20, 30, 40, 50, 60, 70]);
        });
    }

    #[test]
    fn a_panic_comes_through_and_the_team_goes_on() {
        in_a_pool(2, || {
            for _ in 0..3 {
                assert!(catch_unwind(|| for_each(16, |i| assert_ne!(i, 7))).is_err());
                let mut items = [0; 4];
                for_each_mut(&mut items, |_, item| *item += 1);
                assert_eq!(items, [1; 4]);
            }
        });
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn parts_that_overlap_are_refused() {
        for_each_with(&mut [(); 2], &mut [0; 4], |i| i..i + 2, |_, (), _| ());
    }

    #[test]
    #[should_panic(expected = "exceeds")]
    fn a_part_beyond_the_end_is_refused() {
        for_each_with(&mut [(); 2], &mut [0; 3], |i| 2 * i..2 * i + 2, |_, (), _| ());
    }

    #[test]
    fn a_partition_that_changes_from_call_to_call_is_evaluated_once() {
        in_a_pool(2, || {
            let calls = AtomicUsize::new(0);
            // The first evaluations are a partition; any later one would be the whole slice.
            let part = |i: usize| if calls.fetch_add(1, Ordering::Relaxed) < 8 { 3 * i..3 * i + 3 } else { 0..24 };
            let (mut items, mut all) = ([0; 8], [0; 24]);
            for_each_with(&mut items, &mut all, part, |i, length, part| {
                *length = part.len();
                part.iter_mut().for_each(|x| *x += i + 1);
            });
            assert_eq!(calls.into_inner(), 8);
            assert_eq!(items, [3; 8]);
            let want: [usize; 24] = std::array::from_fn(|j| j / 3 + 1);
            assert_eq!(all, want);
        });
    }

    #[test]
    fn parts_inside_parts_are_those_of_their_own_call() {
        in_a_pool(2, || {
            let mut all = [0; 12];
            for_each_with(
                &mut [(); 3],
                &mut all,
                |i| 4 * i..4 * i + 4,
                |i, (), part| {
                    for_each_with(&mut [(); 2], part, |j| 2 * j..2 * j + 2, |j, (), x| x.fill(10 * i + j));
                },
            );
            assert_eq!(all, [0, 0, 1, 1, 10, 10, 11, 11, 20, 20, 21, 21]);
        });
    }
}
