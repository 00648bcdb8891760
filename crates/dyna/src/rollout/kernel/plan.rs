//! Kernels that choose the rows of a step and their slots, and that count the results of a call.
//!
//! The live rows of a step are sorted by the elite that each of them drew. This is a counting sort that keeps the order
//! of the rows, whatever the timing of the device's threads. `draw` counts the rows of every elite in blocks of 256;
//! `scatter` adds the counts of earlier blocks. The rows of an elite begin at a multiple of the tile's height, so that
//! no tile contains two elites. The rank of a row among all live rows determines its position in the imagined ring.
//!
//! `plan` contains, for every step h, the number of transitions before it (`[H + 1]`), and after that the number of
//! rows of every elite at the current step.

use cubecl::prelude::*;
use foresee_nn::cube::random::{Counter, below};

/// Number of rows that one cube counts, which is its number of threads.
pub(super) const BLOCK: usize = 256;

/// Gathers the starts of a call: row `r` starts at the real row that substream `r` of `counter` chooses.
#[cube(launch)]
pub(super) fn start(
    real: &[f32],
    obs: &mut [f32],
    ended: &mut [u32],
    reward: &mut [f32],
    plan: &mut [u32],
    counter: Counter,
    real_rows: u32,
    row_count: u32,
    #[comptime] obs_dim: usize,
) {
    let row_id = ABSOLUTE_POS;
    if row_id < row_count as usize {
        let row = below(&counter, row_id as u32, real_rows) as usize;
        for i in 0..obs_dim {
            obs[row_id * obs_dim + i] = real[row * obs_dim + i];
        }
        ended[row_id] = 0u32;
        reward[row_id] = 0.0f32;
        if row_id == 0 {
            plan[0] = 0u32;
        }
    }
}

/// Draws the elite of every live row, `choice` `[B]`, and counts them, `counts` `[blocks, elites]`. A row that
/// terminated gets the number of elites as its choice.
#[cube(launch)]
pub(super) fn draw(
    ended: &[u32],
    choice: &mut [u32],
    counts: &mut [u32],
    counter: Counter,
    row_count: u32,
    elites: u32,
) {
    let mut chosen = Shared::<[u32]>::new_slice(BLOCK);
    let unit = UNIT_POS as usize;
    let row_id = CUBE_POS * BLOCK + unit;
    let mut elite = elites;
    if row_id < row_count as usize {
        if ended[row_id] == 0u32 {
            elite = below(&counter, row_id as u32, elites);
        }
        choice[row_id] = elite;
    }
    chosen[unit] = elite;
    sync_cube();
    if unit < elites as usize && CUBE_POS * BLOCK < row_count as usize {
        let mut count = 0u32;
        for other in 0..BLOCK {
            if chosen[other] == unit as u32 {
                count += 1u32;
            }
        }
        counts[CUBE_POS * elites as usize + unit] = count;
    }
}

/// Sorts the live rows: writes the id and the rank of each to a slot of its elite, `order` `[slots, 2]`.
#[cube(launch)]
pub(super) fn scatter(
    choice: &[u32],
    counts: &[u32],
    order: &mut [u32],
    plan: &mut [u32],
    step: u32,
    horizon: u32,
    row_count: u32,
    elites: u32,
    #[comptime] tile: u32,
) {
    let mut chosen = Shared::<[u32]>::new_slice(BLOCK);
    // Number of rows of an elite in earlier blocks, and in all blocks; at first partial sums.
    let mut before = Shared::<[u32]>::new_slice(BLOCK);
    let mut total = Shared::<[u32]>::new_slice(BLOCK);
    let unit = UNIT_POS as usize;
    let block = CUBE_POS;
    let row_id = block * BLOCK + unit;
    let elite_count = elites as usize;
    let blocks = (row_count as usize + comptime!(BLOCK - 1)) / BLOCK;
    let mut elite = elites;
    if row_id < row_count as usize {
        elite = choice[row_id];
    }
    chosen[unit] = elite;

    let parts = BLOCK / elite_count;
    let mut sum_before = 0u32;
    let mut sum = 0u32;
    if unit < parts * elite_count {
        let mut b = unit / elite_count;
        while b < blocks {
            let count = counts[b * elite_count + unit % elite_count];
            sum += count;
            if b < block {
                sum_before += count;
            }
            b += parts;
        }
    }
    before[unit] = sum_before;
    total[unit] = sum;
    sync_cube();
    sum_before = 0u32;
    sum = 0u32;
    if unit < elite_count {
        for part in 0..parts {
            sum_before += before[part * elite_count + unit];
            sum += total[part * elite_count + unit];
        }
    }
    sync_cube();
    before[unit] = sum_before;
    total[unit] = sum;
    sync_cube();

    if elite < elites {
        let mut rank = 0u32;
        let mut slot = before[elite as usize];
        for e in 0..elite_count {
            rank += before[e];
            if e < elite as usize {
                slot += (total[e] + comptime!(tile - 1)) / tile * tile;
            }
        }
        for other in 0..unit {
            if chosen[other] < elites {
                rank += 1u32;
            }
            if chosen[other] == elite {
                slot += 1u32;
            }
        }
        order[2 * slot as usize] = row_id as u32;
        order[2 * slot as usize + 1] = rank;
    }
    if row_id == 0 {
        let mut live = 0u32;
        for e in 0..elite_count {
            plan[horizon as usize + 1 + e] = total[e];
            live += total[e];
        }
        plan[step as usize + 1] = plan[step as usize] + live;
    }
}

/// Sums the results of a call of rollouts. `out` `[1 + 2 blocks]` gets the number of transitions, then for every block
/// of rows the sum of the rewards (the bits of an f32) and the number of rows that terminated.
#[cube(launch)]
pub(super) fn reduce(ended: &[u32], reward: &[f32], plan: &[u32], out: &mut [u32], horizon: u32, row_count: u32) {
    let mut rewards = Shared::<[f32]>::new_slice(BLOCK);
    let mut ends = Shared::<[u32]>::new_slice(BLOCK);
    let unit = UNIT_POS as usize;
    let row_id = CUBE_POS * BLOCK + unit;
    rewards[unit] = 0.0f32;
    ends[unit] = 0u32;
    if row_id < row_count as usize {
        rewards[unit] = reward[row_id];
        ends[unit] = ended[row_id];
    }
    sync_cube();
    if unit == 0 && row_id < row_count as usize {
        let mut sum = 0.0f32;
        let mut count = 0u32;
        for other in 0..BLOCK {
            sum += rewards[other];
            count += ends[other];
        }
        out[2 * CUBE_POS + 1] = u32::reinterpret(sum);
        out[2 * CUBE_POS + 2] = count;
        if row_id == 0 {
            out[0] = plan[horizon as usize];
        }
    }
}
