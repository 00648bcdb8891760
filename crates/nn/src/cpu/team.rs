//! Work shared among the threads of the pool.
//!
//! Threads draw items as they come free. Which thread works on an item never shows in a result, because items do not
//! share sums: nothing here depends on the number of threads.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A pointer that threads may share; whoever uses it keeps their parts apart.
pub(super) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// Safety: every use below and in the sibling modules gives each item to one thread, and waits for all of them.
unsafe impl<T: Send> Send for Shared<T> {}
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// # Safety
    /// Within the slice that it was made from.
    pub(super) unsafe fn at(self, i: usize) -> *mut T {
        unsafe { self.0.add(i) }
    }
}

/// Threads of the current pool.
#[must_use]
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Does `f` on a thread of the pool, so that work inside it is shared without waking anybody.
pub fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() { f() } else { rayon::scope(|_| f()) }
}

/// Calls `f` with every number below `n`, once.
pub fn for_each(n: usize, f: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                break;
            }
            f(i);
        }
    };
    fan_out(n.min(threads()), &work);
}

fn fan_out(threads: usize, work: &(impl Fn() + Sync)) {
    if threads <= 1 {
        work();
    } else {
        rayon::join(|| fan_out(threads / 2, work), || fan_out(threads - threads / 2, work));
    }
}

/// Calls `f` with every item and its number, once.
pub fn for_each_mut<A: Send>(items: &mut [A], f: impl Fn(usize, &mut A) + Sync) {
    for_each_with(items, &mut [], |_| 0..0, |i, item, _: &mut [()]| f(i, item));
}

/// Calls `f` with every item, its number and its part of `all`, once. Parts come in the order of the items and do not
/// overlap.
#[track_caller]
pub fn for_each_with<A: Send, T: Send>(
    items: &mut [A],
    all: &mut [T],
    part: impl Fn(usize) -> Range<usize> + Sync,
    f: impl Fn(usize, &mut A, &mut [T]) + Sync,
) {
    for i in 0..items.len() {
        let Range { start, end } = part(i);
        let before = if i == 0 { 0 } else { part(i - 1).end };
        assert!(before <= start && start <= end && end <= all.len(), "part {i}, {start}..{end}, overlaps another");
    }
    let (count, items, all) = (items.len(), Shared::new(items), Shared::new(all));
    for_each(count, |i| {
        let Range { start, end } = part(i);
        // Safety: every index comes once, and parts do not overlap.
        unsafe { f(i, &mut *items.at(i), std::slice::from_raw_parts_mut(all.at(start), end - start)) }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_visited_once() {
        for n in [0, 1, 2, 7, 1000] {
            let mut items = vec![0; n];
            for_each_mut(&mut items, |_, item| *item += 1);
            assert!(items.iter().all(|&item| item == 1));
        }
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn parts_that_overlap_are_refused() {
        for_each_with(&mut [(); 2], &mut [0; 4], |i| i..i + 2, |_, (), _| ());
    }
}
