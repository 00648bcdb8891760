//! Real transitions as sequences: the order of the rows within their episodes.
//!
//! Environments step side by side, so the rows of one episode are not adjacent.

use std::collections::BTreeMap;

/// Marks a row without a successor.
const NONE: u32 = u32::MAX;

/// The order of rows within their episodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// The next row of the episode, `[rows]`; [`NONE`] for its last row so far.
    next: Vec<u32>,
    /// Number of rows from this one to the end of its episode so far, this one included, `[rows]`.
    length: Vec<u32>,
}

impl Sequences {
    /// Returns the order of rows that happened one after another and belong to the given episodes, `[rows]`.
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

    /// Returns the rows that begin a sequence of `length` transitions of one episode, in order.
    #[must_use]
    pub fn starts(&self, length: usize) -> Vec<usize> {
        (0..self.length.len()).filter(|&row| self.length[row] as usize >= length).collect()
    }

    /// Returns the rows of the sequence of at most `length` transitions that begins at row `start`.
    pub fn rows(&self, start: usize, length: usize) -> impl Iterator<Item = usize> {
        let follow = |&row: &usize| Some(self.next[row]).filter(|&next| next != NONE).map(|next| next as usize);
        std::iter::successors(Some(start), follow).take(length)
    }
}
