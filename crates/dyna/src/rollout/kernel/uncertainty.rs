//! Kernels for measures of uncertainty of a step's transitions, by the formulas of
//! [`Measure`](foresee_world_model::uncertainty::Measure) from the predictions of all ensemble members.
//!
//! `predict` evaluates every member on tiles of the transitions that a step has just written to the ring. `evaluate`
//! computes one measure, with one thread per transition. Sums are in f32. Disagreements are sums of squared
//! differences, so that nothing cancels.

use cubecl::prelude::*;
use foresee_nn::cube::tile;
use foresee_world_model::uncertainty::Measure;

use super::step::{Form, Now, place, soft_clamp};

/// Computes mean and log-variance of every member for the transitions of a step, `said` `[B, E, outputs]`. Each cube is
/// one tile of ranks for one member; cubes are ordered by member.
#[cube(launch_unchecked)]
pub(super) fn predict<N: Size>(
    model: &[f32],
    logvar_bounds: &[f32],
    facts: &[f32],
    plan: &[u32],
    ring_obs: &[f32],
    ring_action: &[f32],
    said: &mut [f32],
    now: Now,
    tiles: u32,
    members: u32,
    #[comptime] form: Form,
) {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(form.tile.size()));
    let (o, a) = comptime!((form.obs, form.action));
    let vectors = comptime!(form.tile.vectors());
    let input = comptime!(form.tile.input());
    let threads = comptime!(form.tile.threads);
    let rows = plan[now.step as usize + 1] - plan[now.step as usize];
    let first = (CUBE_POS as u32 % tiles) * comptime!(form.tile.rows as u32);
    let member = CUBE_POS / tiles as usize;
    if first >= rows || member >= members as usize {
        terminate!();
    }

    let width = comptime!(o + a);
    let mut i = UNIT_POS as usize;
    while i < comptime!(width * vectors) {
        let (f, v) = (i % width, i / width);
        let mut x = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for l in 0..N::value() {
            let rank = first + (v * N::value() + l) as u32;
            if rank < rows {
                let at = place(rank, plan, &now);
                let entry = if f < o { ring_obs[at * o + f] } else { ring_action[at * a + f - o] };
                x.insert(l, (entry - facts[f]) / facts[width + f]);
            }
        }
        shared[input + f * vectors + v] = x;
        i += threads;
    }
    sync_cube();

    let row = member * comptime!(form.model.parameters);
    tile::forward::<N>(model, row, &mut shared, comptime!(form.model.clone()), comptime!(form.tile));
    let out = comptime!(form.prediction()[0]);
    let outputs = comptime!(form.model.outputs());
    let channels = comptime!(o + 1);
    let mut i = UNIT_POS as usize;
    while i < comptime!(outputs * vectors) {
        let (c, v) = (i % outputs, i / outputs);
        let x = shared[out + c * vectors + v];
        #[unroll]
        for l in 0..N::value() {
            let rank = first + (v * N::value() + l) as u32;
            if rank < rows {
                let mut number = x.extract(l);
                if c >= channels {
                    number = soft_clamp(number, logvar_bounds[c - channels], logvar_bounds[c]);
                }
                said[(rank as usize * members as usize + member) * outputs + c] = number;
            }
        }
        i += threads;
    }
}

/// The position of the predictions for one transition in `said`.
#[derive(CubeType, Clone, Copy)]
struct Row {
    /// Index of the first number.
    at: usize,
    members: usize,
    channels: usize,
    #[cube(comptime)]
    gaussian: bool,
}

#[cube]
impl Row {
    fn outputs(&self) -> usize {
        self.channels * comptime!(if self.gaussian { 2usize } else { 1usize })
    }

    /// Mean μ of member i in channel c.
    fn mean(&self, said: &[f32], i: usize, c: usize) -> f32 {
        said[self.at + i * self.outputs() + c]
    }

    /// Log-variance ln σ² of member i in channel c.
    fn logvar(&self, said: &[f32], i: usize, c: usize) -> f32 {
        said[self.at + i * self.outputs() + self.channels + c]
    }

    /// Variance σ² of member i in channel c; 0 without a log-variance.
    fn var(&self, said: &[f32], i: usize, c: usize) -> f32 {
        let mut var = 0.0f32;
        if comptime!(self.gaussian) {
            var = self.logvar(said, i, c).exp();
        }
        var
    }

    /// Mean μ̄ over members in channel c.
    fn centre(&self, said: &[f32], c: usize) -> f32 {
        let mut sum = 0.0f32;
        for i in 0..self.members {
            sum += self.mean(said, i, c);
        }
        sum / f32::cast_from(self.members as u32)
    }

    /// ‖σ_i‖² over all channels.
    fn aleatoric(&self, said: &[f32], i: usize) -> f32 {
        let mut sum = 0.0f32;
        for c in 0..self.channels {
            sum += self.var(said, i, c);
        }
        sum
    }

    /// ‖μ_i − μ_j‖² over the observation.
    fn distance(&self, said: &[f32], i: usize, j: usize) -> f32 {
        let mut sum = 0.0f32;
        for c in 0..self.channels - 1 {
            let apart = self.mean(said, i, c) - self.mean(said, j, c);
            sum += apart * apart;
        }
        sum
    }

    /// ‖μ_i − μ̄‖² over the observation.
    fn distance_from_mean(&self, said: &[f32], i: usize) -> f32 {
        let mut sum = 0.0f32;
        for c in 0..self.channels - 1 {
            let apart = self.mean(said, i, c) - self.centre(said, c);
            sum += apart * apart;
        }
        sum
    }

    /// Σ over the observation of mean_i (μ_i − μ̄)².
    fn spread(&self, said: &[f32]) -> f32 {
        let mut sum = 0.0f32;
        for i in 0..self.members {
            sum += self.distance_from_mean(said, i);
        }
        sum / f32::cast_from(self.members as u32)
    }

    /// Σ over the observation of the mixture's variance.
    fn variance(&self, said: &[f32]) -> f32 {
        let mut noise = 0.0f32;
        for i in 0..self.members {
            for c in 0..self.channels - 1 {
                noise += self.var(said, i, c);
            }
        }
        noise / f32::cast_from(self.members as u32) + self.spread(said)
    }

    /// KL(N_i ‖ the others' moments), over all channels.
    fn divergence_from_others(&self, said: &[f32], i: usize) -> f32 {
        let count = f32::cast_from(self.members as u32) - 1.0f32;
        let mut sum = 0.0f32;
        for c in 0..self.channels {
            let mut m = 0.0f32;
            for j in 0..self.members {
                if i != j {
                    m += self.mean(said, j, c);
                }
            }
            m /= count;
            let mut v = 0.0f32;
            for j in 0..self.members {
                if i != j {
                    let apart = self.mean(said, j, c) - m;
                    v += self.var(said, j, c) + apart * apart;
                }
            }
            v /= count;
            let apart = self.mean(said, i, c) - m;
            sum += v.ln() - self.logvar(said, i, c) + (self.var(said, i, c) + apart * apart) / v - 1.0f32;
        }
        0.5f32 * sum
    }
}

/// Returns the larger of two numbers, where a NaN is larger than every number.
#[cube]
fn greater(most: f32, value: f32) -> f32 {
    select(value.is_nan() || value > most, value, most)
}

/// Computes one measure of a step's transitions, in column `column` of `out`, `[transitions, columns]`.
#[cube(launch)]
pub(super) fn evaluate(
    said: &[f32],
    plan: &[u32],
    out: &mut [f32],
    step: u32,
    members: u32,
    column: u32,
    columns: u32,
    channels: u32,
    #[comptime] gaussian: bool,
    #[comptime] measure: Measure,
) {
    let first = plan[step as usize] as usize;
    let rank = ABSOLUTE_POS;
    if first + rank >= plan[step as usize + 1] as usize {
        terminate!();
    }
    let members = members as usize;
    let channels = channels as usize;
    let at = rank * members * channels * comptime!(if gaussian { 2usize } else { 1usize });
    let row = Row { at, members, channels, gaussian };
    let mut value = 0.0f32;
    if comptime!(measure == Measure::MaxAleatoric) {
        for i in 0..members {
            value = greater(value, row.aleatoric(said, i));
        }
        value = value.sqrt();
    } else if comptime!(measure == Measure::MaxDifferenceFromMean) {
        for i in 0..members {
            value = greater(value, row.distance_from_mean(said, i));
        }
        value = value.sqrt();
    } else if comptime!(measure == Measure::MaxPairwiseDifference) {
        for i in 0..members {
            for j in 0..i {
                value = greater(value, row.distance(said, i, j));
            }
        }
        value = value.sqrt();
    } else if comptime!(measure == Measure::EnsembleRms) {
        value = (row.spread(said) / f32::cast_from(channels as u32 - 1u32)).sqrt();
    } else if comptime!(measure == Measure::EnsembleVariance) {
        value = row.variance(said);
    } else if comptime!(measure == Measure::EnsembleStandardDeviation) {
        value = row.variance(said).sqrt();
    } else if comptime!(measure == Measure::LeaveOneOutKlMean) {
        for i in 0..members {
            value += row.divergence_from_others(said, i);
        }
        value /= f32::cast_from(members as u32);
    } else {
        for i in 0..members {
            value = greater(value, row.divergence_from_others(said, i));
        }
    }
    out[(first + rank) * columns as usize + column as usize] = value;
}
