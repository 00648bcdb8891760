//! Kernels on rows of transitions, with one thread per entry of a row.

use cubecl::prelude::*;
use foresee_nn::cube::random::{Counter, at_step, below, normal};

/// The five fields of rows, and their widths.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Fields {
    obs: Box<[f32]>,
    action: Box<[f32]>,
    reward: Box<[f32]>,
    next_obs: Box<[f32]>,
    not_terminated: Box<[f32]>,
    #[cube(comptime)]
    obs_dim: usize,
    #[cube(comptime)]
    action_dim: usize,
}

#[cube]
impl Fields {
    /// Returns entry `column` of row `row`, numbered as in a record: obs, action, reward, next_obs, not_terminated.
    #[allow(unused_assignments, reason = "a kernel's branches have no value")]
    pub(super) fn get(&self, row: usize, column: usize) -> f32 {
        let (o, a) = comptime!((self.obs_dim, self.action_dim));
        let mut value = 0.0f32;
        if column < o {
            value = self.obs[row * o + column];
        } else if column < comptime!(o + a) {
            value = self.action[row * a + column - o];
        } else if column == comptime!(o + a) {
            value = self.reward[row];
        } else if column < comptime!(2 * o + a + 1) {
            value = self.next_obs[row * o + column - comptime!(o + a + 1)];
        } else {
            value = self.not_terminated[row];
        }
        value
    }

    /// Sets entry `column` of row `row`, numbered as in a record.
    pub(super) fn set(&mut self, row: usize, column: usize, value: f32) {
        let (o, a) = comptime!((self.obs_dim, self.action_dim));
        if column < o {
            self.obs[row * o + column] = value;
        } else if column < comptime!(o + a) {
            self.action[row * a + column - o] = value;
        } else if column == comptime!(o + a) {
            self.reward[row] = value;
        } else if column < comptime!(2 * o + a + 1) {
            self.next_obs[row * o + column - comptime!(o + a + 1)] = value;
        } else {
            self.not_terminated[row] = value;
        }
    }
}

/// Copies records `[count, width]` to the rows `at`, `at + 1`, … of a ring of `capacity` rows.
#[cube(launch)]
pub(super) fn write_rows(records: &[f32], mut to: Fields, count: u32, at: u32, capacity: u32) {
    let width = comptime!(2 * to.obs_dim + to.action_dim + 2);
    if ABSOLUTE_POS >= count as usize * width {
        terminate!();
    }
    let (row, column) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
    to.set((at as usize + row) % capacity as usize, column, records[ABSOLUTE_POS]);
}

/// Copies the rows `start`, `start + 1`, … of a ring of `capacity` rows to the rows 0, 1, … of another.
#[cube(launch)]
pub(super) fn copy_rows(from: Fields, mut to: Fields, count: u32, start: u32, capacity: u32) {
    let width = comptime!(2 * to.obs_dim + to.action_dim + 2);
    if ABSOLUTE_POS >= count as usize * width {
        terminate!();
    }
    let (row, column) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
    let value = from.get((start as usize + row) % capacity as usize, column);
    to.set(row, column, value);
}

/// Fills the rows `first`, `first + 1`, … of a batch, and their noise, `[B, A]`. Row `first + i` is a copy of the
/// ring's row that word 0 of substream `i` chooses. All streams are read at `step`, `[low, high]`.
#[cube(launch)]
pub(super) fn draw_rows(
    from: Fields,
    mut to: Fields,
    noise_next: &mut [f32],
    noise: &mut [f32],
    step: &[u32],
    rows: Counter,
    next_normals: Counter,
    normals: Counter,
    stored: u32,
    first: u32,
    count: u32,
) {
    let (o, a) = comptime!((to.obs_dim, to.action_dim));
    let record = comptime!(2 * o + a + 2);
    let width = comptime!(record + 2 * a);
    if ABSOLUTE_POS >= count as usize * width {
        terminate!();
    }
    let (index, column) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
    let row = first as usize + index;
    if column < record {
        let value = from.get(below(&at_step(&rows, step), index as u32, stored) as usize, column);
        to.set(row, column, value);
    } else if column < comptime!(record + a) {
        let word = column - record;
        noise_next[row * a + word] = normal(&at_step(&next_normals, step), row as u32, word as u32);
    } else {
        let word = column - comptime!(record + a);
        noise[row * a + word] = normal(&at_step(&normals, step), row as u32, word as u32);
    }
}
