//! Processes rows by group: sorts them into tiles of one group each, and writes each row's result to its own slot.
//!
//! In an imagined step, every row goes through its own ensemble member. The rows are therefore sorted by member, a
//! panel is filled with rows of one member, and its results are written to rows at arbitrary positions.

use std::ops::Range;

use super::team::{self, Shared};

/// Rows sorted by group and cut into tiles.
#[derive(Clone, Debug, Default)]
pub struct Grouping {
    /// Every row once: the rows of group 0 in their order, then those of group 1, and so on.
    order: Vec<u32>,
    tiles: Vec<GroupTile>,
    /// The position of the next row of each group.
    next: Vec<usize>,
}

#[derive(Clone, Debug)]
struct GroupTile {
    group: usize,
    range: Range<usize>,
}

/// One field of all rows, in a ring of slots: row 0 is in slot `start`.
#[derive(Debug)]
pub struct Column<'a> {
    /// The numbers, `[slots, width]`.
    pub numbers: &'a mut [f32],
    /// Length of a row.
    pub width: usize,
    /// The slot of row 0.
    pub start: usize,
}

/// A column that threads share.
#[derive(Clone, Copy, Debug)]
struct SharedColumn {
    numbers: Shared<f32>,
    width: usize,
    /// The slot of row 0, below `count`.
    start: usize,
    /// Number of slots.
    count: usize,
}

/// The rows of one tile, and their slots in `N` columns.
#[derive(Debug)]
pub struct Scattered<'a, const N: usize> {
    rows: &'a [u32],
    columns: [SharedColumn; N],
}

impl<const N: usize> Scattered<'_, N> {
    /// The indices of the tile's rows.
    #[must_use]
    pub fn rows(&self) -> &[u32] {
        self.rows
    }

    /// The numbers of the tile's row `k` in a column.
    #[track_caller]
    pub fn row(&mut self, column: usize, k: usize) -> &mut [f32] {
        let SharedColumn { numbers, width, start, count } = self.columns[column];
        let slot = (start + self.rows[k] as usize) % count;
        // SAFETY: `start` is below `count` and there are no more rows than slots (`for_each`), so that every row has a
        // slot of its own, within the column. Every row is in one tile (`sort`), and a tile is processed once. The
        // result borrows the tile mutably, so that it is the only reference to the tile's slots. The columns stay
        // borrowed during `for_each`, which no `Scattered` outlives.
        unsafe { std::slice::from_raw_parts_mut(numbers.at(slot * width), width) }
    }
}

impl Grouping {
    /// Sorts rows by their groups `[rows]`, each below `groups`, and keeps the order within a group (a counting sort).
    /// Then cuts every group into tiles of at most `tile` rows.
    #[track_caller]
    pub fn sort(&mut self, group_of: &[u32], groups: usize, tile: usize) {
        let rows = group_of.len();
        assert!(tile > 0 && u32::try_from(rows).is_ok(), "{rows} rows in tiles of {tile}");
        let Self { order, tiles, next } = self;
        next.clear();
        next.resize(groups + 1, 0);
        group_of.iter().for_each(|&group| next[group as usize + 1] += 1);
        tiles.clear();
        for group in 0..groups {
            next[group + 1] += next[group];
            let (mut start, end) = (next[group], next[group + 1]);
            while start < end {
                let range = start..end.min(start.saturating_add(tile));
                start = range.end;
                tiles.push(GroupTile { group, range });
            }
        }
        order.clear();
        order.resize(group_of.len(), 0);
        for (row, &group) in group_of.iter().enumerate() {
            let position = &mut next[group as usize];
            order[*position] = row as u32;
            *position += 1;
        }
    }

    /// Calls `f` with the group and the rows of every tile, on all threads. In each column, row `r` is in slot
    /// `(start + r) mod slots`.
    ///
    /// # Panics
    /// If a column has fewer slots than there are rows, or a part of a slot.
    #[track_caller]
    pub fn for_each<const N: usize>(&self, columns: [Column<'_>; N], f: impl Fn(usize, &mut Scattered<'_, N>) + Sync) {
        let rows = self.order.len();
        let columns = columns.map(|Column { numbers, width, start }| {
            let count = numbers.len().checked_div(width).unwrap_or(rows.max(1));
            assert!(
                count * width == numbers.len() && rows <= count,
                "{} numbers for {rows} rows of {width}: expected whole rows, one slot per row",
                numbers.len()
            );
            // Without this, `start + r` could wrap around, and two rows could get one slot.
            SharedColumn { numbers: Shared::new(numbers), width, start: start.checked_rem(count).unwrap_or(0), count }
        });
        team::for_each(self.tiles.len(), |i| {
            let GroupTile { group, range } = &self.tiles[i];
            f(*group, &mut Scattered { rows: &self.order[range.clone()], columns });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_with_its_group_and_lands_in_its_slot() {
        let mut grouping = Grouping::default();
        for (rows, groups, tile, start, capacity) in
            [(0, 3, 4, 0, 1), (1, 1, 4, 2, 3), (50, 4, 7, 30, 64), (9, 9, 1, 5, 9), (3, 2, 1, usize::MAX, 3)]
        {
            let group_of: Vec<u32> = (0..rows).map(|row: u32| row * 7919 % 31 % groups).collect();
            grouping.sort(&group_of, groups as usize, tile);
            let (mut numbers, mut calls) = (vec![-1.0; capacity * 2], vec![0.0; capacity]);
            let columns = [
                Column { numbers: &mut numbers, width: 2, start },
                Column { numbers: &mut calls, width: 1, start: 0 },
                Column { numbers: &mut [], width: 0, start: 0 },
            ];
            grouping.for_each(columns, |group, tile_rows| {
                let rows = tile_rows.rows().to_vec();
                assert!(!rows.is_empty() && rows.len() <= tile && rows.is_sorted());
                for (k, &row) in rows.iter().enumerate() {
                    assert_eq!(group_of[row as usize], group as u32);
                    tile_rows.row(0, k).copy_from_slice(&[row as f32, group as f32]);
                    tile_rows.row(1, k)[0] += 1.0;
                    assert!(tile_rows.row(2, k).is_empty());
                }
            });
            for row in 0..rows as usize {
                let slot = (start % capacity + row) % capacity;
                assert_eq!(numbers[2 * slot..][..2], [row as f32, group_of[row] as f32]);
                assert_eq!(calls[row], 1.0);
            }
            assert_eq!(calls.iter().sum::<f32>(), rows as f32, "nothing else is written");
        }
    }
}
