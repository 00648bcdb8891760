//! The rows of a training call: the holdout, the bootstrap rows of each member, and the order of the batches.
//!
//! All of them are functions of the call's number and a named random stream. A training call that is interrupted and
//! resumed derives the same rows again, so none of them are saved.

use foresee_core::Stream;

/// The holdout and training rows of one training call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Replay rows that no member trains on. All members are scored on all of them.
    pub holdout: Vec<u32>,
    /// Each member's bootstrap sample, `[E, N_train]`: drawn with replacement from the training rows, once per call.
    bootstrap: Vec<Vec<u32>>,
    order: Stream,
    call: u64,
}

impl Split {
    /// Splits `rows` replay rows for training call number `call`. Holdout and training rows each get at least one row.
    #[track_caller]
    #[must_use]
    pub fn new(rows: usize, holdout: f64, members: usize, seed: u64, call: u64) -> Self {
        assert!(rows >= 2, "a split needs two rows, got {rows}");
        let mut shuffled: Vec<u32> = Stream::new(seed, "model/holdout")
            .at(call, 0)
            .permutation(rows)
            .into_iter()
            .map(|row| row as u32)
            .collect();
        let held = ((rows as f64 * holdout) as usize).clamp(1, rows - 1);
        let train = shuffled.split_off(held);
        let stream = Stream::new(seed, "model/bootstrap");
        let bootstrap = (0..members)
            .map(|member| {
                let mut draws = stream.at(call, member as u32);
                (0..train.len()).map(|_| train[draws.below(train.len())]).collect()
            })
            .collect();
        Self { holdout: shuffled, bootstrap, order: Stream::new(seed, "model/order"), call }
    }

    /// Returns the number of batches in an epoch.
    #[must_use]
    pub fn batches(&self, batch: usize) -> usize {
        self.bootstrap[0].len().div_ceil(batch)
    }

    /// Returns the order in which an epoch visits the positions of the bootstrap samples: a permutation of
    /// `0..N_train`, common to all members.
    #[must_use]
    pub fn order(&self, epoch: u32) -> Vec<usize> {
        let mut order = Vec::new();
        self.reorder(epoch, &mut order);
        order
    }

    /// Writes the order of an epoch ([`Split::order`]) into an existing vector.
    pub fn reorder(&self, epoch: u32, order: &mut Vec<usize>) {
        order.clear();
        order.extend(0..self.bootstrap[0].len());
        self.order.at(self.call, epoch).shuffle(order);
    }

    /// Writes the replay rows of batch number `index` in this order to `rows`, `[E, B]`. At each position every member
    /// has its own row. The last batch may have fewer rows.
    pub fn batch(&self, order: &[usize], index: usize, batch: usize, rows: &mut Vec<u32>) {
        let positions = &order[index * batch..((index + 1) * batch).min(order.len())];
        rows.clear();
        for own in &self.bootstrap {
            rows.extend(positions.iter().map(|&p| own[p]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holdout_rows_are_never_trained_on() {
        let split = Split::new(50, 0.2, 3, 0, 4);
        assert_eq!(split.holdout.len(), 10);
        for rows in &split.bootstrap {
            assert_eq!(rows.len(), 40);
            assert!(rows.iter().all(|row| *row < 50 && !split.holdout.contains(row)));
        }
        assert_ne!(split.bootstrap[0], split.bootstrap[1]);
    }

    #[test]
    fn an_epoch_shows_every_member_each_of_its_rows_once() {
        let split = Split::new(23, 0.1, 2, 1, 0);
        let n = split.bootstrap[0].len();
        let (mut seen, mut rows) = (vec![Vec::new(); 2], Vec::new());
        for index in 0..split.batches(8) {
            split.batch(&split.order(3), index, 8, &mut rows);
            for (member, part) in rows.chunks(rows.len() / 2).enumerate() {
                seen[member].extend_from_slice(part);
            }
        }
        for (seen, mut rows) in seen.into_iter().zip(split.bootstrap) {
            let mut seen = seen;
            assert_eq!(seen.len(), n);
            seen.sort_unstable();
            rows.sort_unstable();
            assert_eq!(seen, rows);
        }
    }

    #[test]
    fn the_smallest_replay_still_has_both_sides() {
        let split = Split::new(2, 0.2, 1, 0, 0);
        let mut rows = Vec::new();
        split.batch(&split.order(0), 0, 256, &mut rows);
        assert_eq!((split.holdout.len(), rows.len()), (1, 1));
    }
}
