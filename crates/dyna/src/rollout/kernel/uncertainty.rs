//! Kernels for measures of uncertainty of a step's transitions, by the formulas of
//! [`Measure`](foresee_world_model::uncertainty::Measure) from the predictions of all ensemble members.
//!
//! `predict` evaluates every member on tiles of the transitions that a step has just written to the ring. `evaluate`
//! computes one measure, with one thread per transition. Sums are in f32. Disagreements are sums of squared
//! differences, so that nothing cancels.

use cubecl::prelude::*;
use foresee_nn::cube::tile;
use foresee_world_model::uncertainty::Measure;

use super::step::{StepArgs, StepSpec, ring_row, soft_clamp};

/// Computes mean and log-variance of every member for the transitions of a step, `predictions` `[B, E, outputs]`. Each
/// cube is one tile of ranks for one member; cubes are ordered by member.
#[cube(launch_unchecked)]
pub(super) fn predict<N: Size>(
    model: &[f32],
    logvar_bounds: &[f32],
    constants: &[f32],
    plan: &[u32],
    ring_obs: &[f32],
    ring_action: &[f32],
    predictions: &mut [f32],
    args: StepArgs,
    tiles: u32,
    members: u32,
    #[comptime] spec: StepSpec,
) {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(spec.tile.size()));
    let (o, a) = comptime!((spec.obs, spec.action));
    let vectors = comptime!(spec.tile.vectors());
    let input = comptime!(spec.tile.input());
    let threads = comptime!(spec.tile.threads);
    let rows = plan[args.step as usize + 1] - plan[args.step as usize];
    let first = (CUBE_POS as u32 % tiles) * comptime!(spec.tile.rows as u32);
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
                let at = ring_row(rank, plan, &args);
                let entry = if f < o { ring_obs[at * o + f] } else { ring_action[at * a + f - o] };
                x.insert(l, (entry - constants[f]) / constants[width + f]);
            }
        }
        shared[input + f * vectors + v] = x;
        i += threads;
    }
    sync_cube();

    let row = member * comptime!(spec.model.parameters);
    tile::forward::<N>(model, row, &mut shared, comptime!(spec.model.clone()), comptime!(spec.tile));
    let out = comptime!(spec.prediction()[0]);
    let outputs = comptime!(spec.model.outputs());
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
                predictions[(rank as usize * members as usize + member) * outputs + c] = number;
            }
        }
        i += threads;
    }
}

/// The position of the predictions for one transition in `predictions`.
#[derive(CubeType, Clone, Copy)]
struct RowPredictions {
    /// Index of the first number.
    at: usize,
    members: usize,
    channels: usize,
    #[cube(comptime)]
    gaussian: bool,
}

#[cube]
impl RowPredictions {
    fn outputs(&self) -> usize {
        self.channels * comptime!(if self.gaussian { 2usize } else { 1usize })
    }

    /// Mean μ of member i in channel c.
    fn mean(&self, predictions: &[f32], i: usize, c: usize) -> f32 {
        predictions[self.at + i * self.outputs() + c]
    }

    /// Log-variance ln σ² of member i in channel c.
    fn logvar(&self, predictions: &[f32], i: usize, c: usize) -> f32 {
        predictions[self.at + i * self.outputs() + self.channels + c]
    }

    /// Variance σ² of member i in channel c; 0 without a log-variance.
    fn var(&self, predictions: &[f32], i: usize, c: usize) -> f32 {
        let mut var = 0.0f32;
        if comptime!(self.gaussian) {
            var = self.logvar(predictions, i, c).exp();
        }
        var
    }

    /// Mean μ̄ over members in channel c.
    fn centre(&self, predictions: &[f32], c: usize) -> f32 {
        let mut sum = 0.0f32;
        for i in 0..self.members {
            sum += self.mean(predictions, i, c);
        }
        sum / f32::cast_from(self.members as u32)
    }

    /// ‖σ_i‖² over all channels.
    fn aleatoric(&self, predictions: &[f32], i: usize) -> f32 {
        let mut sum = 0.0f32;
        for c in 0..self.channels {
            sum += self.var(predictions, i, c);
        }
        sum
    }

    /// ‖μ_i − μ_j‖² over the observation.
    fn distance(&self, predictions: &[f32], i: usize, j: usize) -> f32 {
        let mut sum = 0.0f32;
        for c in 0..self.channels - 1 {
            let residual = self.mean(predictions, i, c) - self.mean(predictions, j, c);
            sum += residual * residual;
        }
        sum
    }

    /// ‖μ_i − μ̄‖² over the observation.
    fn distance_from_mean(&self, predictions: &[f32], i: usize) -> f32 {
        let mut sum = 0.0f32;
        for c in 0..self.channels - 1 {
            let residual = self.mean(predictions, i, c) - self.centre(predictions, c);
            sum += residual * residual;
        }
        sum
    }

    /// Σ over the observation of mean_i (μ_i − μ̄)².
    fn spread(&self, predictions: &[f32]) -> f32 {
        let mut sum = 0.0f32;
        for i in 0..self.members {
            sum += self.distance_from_mean(predictions, i);
        }
        sum / f32::cast_from(self.members as u32)
    }

    /// Σ over the observation of the mixture's variance.
    fn variance(&self, predictions: &[f32]) -> f32 {
        let mut noise = 0.0f32;
        for i in 0..self.members {
            for c in 0..self.channels - 1 {
                noise += self.var(predictions, i, c);
            }
        }
        noise / f32::cast_from(self.members as u32) + self.spread(predictions)
    }

    /// KL(N_i ‖ the others' moments), over all channels.
    fn divergence_from_others(&self, predictions: &[f32], i: usize) -> f32 {
        let count = f32::cast_from(self.members as u32) - 1.0f32;
        let mut sum = 0.0f32;
        for c in 0..self.channels {
            let mut m = 0.0f32;
            for j in 0..self.members {
                if i != j {
                    m += self.mean(predictions, j, c);
                }
            }
            m /= count;
            let mut v = 0.0f32;
            for j in 0..self.members {
                if i != j {
                    let residual = self.mean(predictions, j, c) - m;
                    v += self.var(predictions, j, c) + residual * residual;
                }
            }
            v /= count;
            let residual = self.mean(predictions, i, c) - m;
            sum += v.ln() - self.logvar(predictions, i, c) + (self.var(predictions, i, c) + residual * residual) / v
                - 1.0f32;
        }
        0.5f32 * sum
    }
}

/// Returns the larger of two numbers, where a NaN is larger than every number.
#[cube]
fn max_or_nan(most: f32, value: f32) -> f32 {
    select(value.is_nan() || value > most, value, most)
}

/// Computes one measure of a step's transitions, in column `column` of `out`, `[transitions, columns]`.
#[cube(launch)]
pub(super) fn evaluate(
    predictions: &[f32],
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
    let row = RowPredictions { at, members, channels, gaussian };
    let mut value = 0.0f32;
    if comptime!(measure == Measure::MaxAleatoric) {
        for i in 0..members {
            value = max_or_nan(value, row.aleatoric(predictions, i));
        }
        value = value.sqrt();
    } else if comptime!(measure == Measure::MaxDifferenceFromMean) {
        for i in 0..members {
            value = max_or_nan(value, row.distance_from_mean(predictions, i));
        }
        value = value.sqrt();
    } else if comptime!(measure == Measure::MaxPairwiseDifference) {
        for i in 0..members {
            for j in 0..i {
                value = max_or_nan(value, row.distance(predictions, i, j));
            }
        }
        value = value.sqrt();
    } else if comptime!(measure == Measure::EnsembleRms) {
        value = (row.spread(predictions) / f32::cast_from(channels as u32 - 1u32)).sqrt();
    } else if comptime!(measure == Measure::EnsembleVariance) {
        value = row.variance(predictions);
    } else if comptime!(measure == Measure::EnsembleStandardDeviation) {
        value = row.variance(predictions).sqrt();
    } else if comptime!(measure == Measure::LeaveOneOutKlMean) {
        for i in 0..members {
            value += row.divergence_from_others(predictions, i);
        }
        value /= f32::cast_from(members as u32);
    } else {
        for i in 0..members {
            value = max_or_nan(value, row.divergence_from_others(predictions, i));
        }
    }
    out[(first + rank) * columns as usize + column as usize] = value;
}
