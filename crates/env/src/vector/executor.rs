//! The threads that step a vector of environments.
//!
//! They are Rayon's, because the program already uses Rayon. Waking its threads takes longer than stepping a vector of
//! light tasks on the calling thread, and less long than one step of a simulation. An environment in another process
//! keeps its thread waiting but no core busy. Such environments get a pool with one thread for each of them, so that
//! all processes work at the same time.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::environment::Work;
use crate::error::EnvError;

/// The threads that do the work of a call.
pub(super) enum Executor {
    /// The calling thread.
    CallingThread,
    /// The threads of the caller's Rayon pool, or else of the program's global pool.
    SharedPool,
    /// A separate pool with one thread for each item.
    DedicatedPool(ThreadPool),
}

impl Executor {
    /// Chooses the threads for `count` environments of this kind.
    pub(super) fn for_work(work: Work, count: usize) -> Result<Self, EnvError> {
        match work {
            _ if count == 1 => Ok(Self::CallingThread),
            Work::Light => Ok(Self::CallingThread),
            Work::Heavy => Ok(Self::SharedPool),
            Work::ExternalProcess => {
                let pool = ThreadPoolBuilder::new().num_threads(count).thread_name(|i| format!("environment {i}"));
                let pool = pool.build().map_err(|error| {
                    EnvError::Config(format!(
                        "{count} environments need {count} threads: {error}\nhint: lower `env.count`"
                    ))
                })?;
                Ok(Self::DedicatedPool(pool))
            }
        }
    }

    /// Runs `job` on every item and returns the results in the order of the items.
    pub(super) fn map<T: Send, R: Send>(&self, items: &mut [T], job: impl Fn(usize, &mut T) -> R + Sync) -> Vec<R> {
        // One item at a time, because steps take different times.
        let mut in_pool = || items.par_iter_mut().enumerate().with_max_len(1).map(|(i, item)| job(i, item)).collect();
        match self {
            Self::SharedPool if rayon::current_num_threads() > 1 => in_pool(),
            Self::DedicatedPool(pool) => pool.install(in_pool),
            Self::CallingThread | Self::SharedPool => {
                items.iter_mut().enumerate().map(|(i, item)| job(i, item)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn those_who_wait_for_another_process_wait_all_at_the_same_time() {
        // No thread passes the barrier before all have reached it.
        let barrier = Barrier::new(9);
        let executor = Executor::for_work(Work::ExternalProcess, 9).unwrap();
        let leaders = executor.map(&mut [(); 9], |_, ()| barrier.wait().is_leader());
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for work in [Work::Light, Work::Heavy, Work::ExternalProcess] {
            let mut items: Vec<usize> = (0..37).collect();
            let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
            let executor = Executor::for_work(work, items.len()).unwrap();
            let squares = pool.install(|| {
                executor.map(&mut items, |i, item| {
                    *item += 1;
                    i * i
                })
            });
            assert_eq!(squares, (0..37).map(|i| i * i).collect::<Vec<_>>());
            assert_eq!(items, (1..38).collect::<Vec<_>>());
        }
    }
}
