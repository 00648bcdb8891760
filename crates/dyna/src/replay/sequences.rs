//! Real transitions as sequences: which row follows which in its episode.
//!
//! Environments step side by side, so the rows of one episode do not stand next to each other.

use std::collections::BTreeMap;

/// Where a row has no next one.
const NONE: u32 = u32::MAX;

/// The order of rows within their episodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// The row that follows, `[rows]`.
    next: Vec<u32>,
    /// Rows from this one to the end of its episode so far, itself included, `[rows]`.
    length: Vec<u32>,
}

impl Sequences {
    /// Of rows that belong to these episodes, `[rows]`, in the order in which they happened.
    #[must_use]
    pub fn new(episodes: &[u64]) -> Self {
        let (mut next, mut length) = (vec![NONE; episodes.len()], vec![1; episodes.len()]);
        let mut later: BTreeMap<u64, usize> = BTreeMap::new();
        for (row, &episode) in episodes.iter().enumerate().rev() {
            if let Some(after) = later.insert(episode, row) {
                next[row] = after as u32;
                length[row] = length[after] + 1;
            }
        }
        Self { next, length }
    }

    /// Rows that begin a sequence of `length` transitions of one episode, in their order.
    #[must_use]
    pub fn starts(&self, length: usize) -> Vec<usize> {
        (0..self.length.len()).filter(|&row| self.length[row] as usize >= length).collect()
    }

    /// The rows of the sequence of at most `length` transitions that begins at a row.
    pub fn rows(&self, start: usize, length: usize) -> impl Iterator<Item = usize> {
        let follow = |&row: &usize| Some(self.next[row]).filter(|&next| next != NONE).map(|next| next as usize);
        std::iter::successors(Some(start), follow).take(length)
    }
}
