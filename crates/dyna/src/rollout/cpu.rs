//! One imagined step of many rows on the CPU ([`foresee_nn::cpu`]).
//!
//! Rows are sorted by the ensemble member that each of them drew, and split into tiles of a few panels of one member. A
//! tile goes through actor, sampling, member, noise and termination rule while its activations stay in a core's cache.
//! Its results are written to its rows' places in the imagined buffer. Tiles share no data: no result depends on the
//! threads, and a row's numbers do not depend on the rows beside it.

use std::cell::RefCell;

use foresee_actor_critic::policy::panel::Sample;
use foresee_core::stream::below;
use foresee_nn::cpu::panels::gather;
use foresee_nn::cpu::simd::{self, Simd, Task};
use foresee_nn::cpu::{self, Column, Grouping, PANEL_ROWS, Scattered, Scratch, math, panels, random, team};
use foresee_world_model::config::Predicted;

use super::HostContext;
use crate::ends::{HostEnds, PanelBuffers};
use crate::replay::ReservedRows;

/// Largest number of panels in a tile: its activations fit in a second-level cache.
const TILE_PANELS: usize = 3;

/// The inputs of a step, in the order of the rows.
#[derive(Clone, Copy)]
pub(super) struct StepInputs<'a> {
    /// The step number that addresses the draws.
    pub(super) draw_step: u64,
    /// Number of the random substream of each row, `[B]`.
    pub(super) row_ids: &'a [u32],
    /// States, `[B, O]`.
    pub(super) obs: &'a [f32],
    /// Given actions, `[B, A]`; if `None`, the actor's are sampled.
    pub(super) actions: Option<&'a [f32]>,
}

/// Buffers that steps share, and the outputs of a step besides transitions.
#[derive(Clone, Debug, Default)]
pub(super) struct StepBuffers {
    grouping: Grouping,
    /// The member that predicted each row, `[B]`.
    pub(super) members: Vec<u32>,
    /// The measures of uncertainty of each row, `[B, measures]`.
    pub(super) uncertainty: Vec<f32>,
}

/// Buffers of one thread for a tile.
#[derive(Default)]
struct TileBuffers {
    obs: Vec<f32>,
    actor_output: Vec<f32>,
    noise: Vec<f32>,
    action: Vec<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
    scratch: Scratch,
    ends: PanelBuffers,
    /// Means of one row predicted by all members, `[E, O + 1]`.
    means: Vec<f32>,
    /// Log-variances of one row predicted by all members, `[E, O + 1]`.
    logvars: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<TileBuffers> = RefCell::default();
}

/// Indices of the output columns of a step.
const OBS: usize = 0;
const ACTION: usize = 1;
const REWARD: usize = 2;
const NEXT_OBS: usize = 3;
const NOT_TERMINATED: usize = 4;
const UNCERTAINTY: usize = 5;

/// Computes one step of all rows, and writes it to the reserved rows.
pub(super) fn step(
    host: &HostContext<'_>,
    inputs: StepInputs<'_>,
    reserved: ReservedRows<'_>,
    step_buffers: &mut StepBuffers,
) {
    let StepBuffers { grouping, members, uncertainty } = step_buffers;
    draw_members(host, inputs, members);
    let share = inputs.row_ids.len().div_ceil(PANEL_ROWS * team::threads());
    grouping.sort(members, host.model.layout.shape().members, share.clamp(1, TILE_PANELS) * PANEL_ROWS);
    uncertainty.clear();
    uncertainty.resize(inputs.row_ids.len() * host.measures.len(), 0.0);
    let ReservedRows { batch, start } = reserved;
    let (obs_dim, action_dim) = (host.obs_dim(), host.action_dim());
    let column = |numbers, width| Column { numbers, width, start };
    let columns = [
        column(&mut batch.obs, obs_dim),
        column(&mut batch.action, action_dim),
        column(&mut batch.reward, 1),
        column(&mut batch.next_obs, obs_dim),
        column(&mut batch.not_terminated, 1),
        Column { numbers: uncertainty, width: host.measures.len(), start: 0 },
    ];
    grouping.for_each(columns, |member, out| {
        BUFFERS.with_borrow_mut(|buffers| tile(host, inputs, member, out, buffers));
    });
}

/// Draws every row's elite, `[B]`.
fn draw_members(host: &HostContext<'_>, inputs: StepInputs<'_>, members: &mut Vec<u32>) {
    members.clear();
    for row_ids in inputs.row_ids.chunks(PANEL_ROWS) {
        let words = random::first_words(&host.streams.elite, inputs.draw_step, &padded(row_ids));
        let elite = |&word: &u32| host.elites[below(word, host.elites.len())] as u32;
        members.extend(words[..row_ids.len()].iter().map(elite));
    }
}

/// Pads at most a panel's row ids to a whole panel with row id 0.
fn padded(row_ids: &[u32]) -> [u32; PANEL_ROWS] {
    std::array::from_fn(|j| row_ids.get(j).copied().unwrap_or(0))
}

/// Computes one step of rows that drew one member.
fn tile(
    host: &HostContext<'_>,
    inputs: StepInputs<'_>,
    member: usize,
    out: &mut Scattered<'_, 6>,
    buffers: &mut TileBuffers,
) {
    let TileBuffers { obs, actor_output, noise, action, input, output, scratch, ends, .. } = buffers;
    let (obs_dim, action_dim) = (host.obs_dim(), host.action_dim());
    let (channels, outputs) = (obs_dim + 1, host.model.layout.shape().outputs);
    let count = panels::count(out.rows().len());
    obs.resize(count * obs_dim * PANEL_ROWS, 0.0);
    actor_output.resize(count * 2 * action_dim * PANEL_ROWS, 0.0);
    noise.resize(action_dim.max(channels) * PANEL_ROWS, 0.0);
    action.resize(count * action_dim * PANEL_ROWS, 0.0);
    input.resize(count * (obs_dim + action_dim) * PANEL_ROWS, 0.0);
    output.resize(count * outputs * PANEL_ROWS, 0.0);

    // Action.
    for (panel_rows, obs) in out.rows().chunks(PANEL_ROWS).zip(obs.chunks_exact_mut(obs_dim * PANEL_ROWS)) {
        gather(inputs.obs, obs_dim, panel_rows, obs);
    }
    let panel_row_ids = |panel: &[u32]| -> [u32; PANEL_ROWS] {
        std::array::from_fn(|j| panel.get(j).map_or(0, |&row| inputs.row_ids[row as usize]))
    };
    if let Some(given) = inputs.actions {
        for (panel_rows, action) in out.rows().chunks(PANEL_ROWS).zip(action.chunks_exact_mut(action_dim * PANEL_ROWS))
        {
            gather(given, action_dim, panel_rows, action);
        }
    } else {
        let actor = host.actor();
        cpu::infer(actor.layout, actor.member(0), obs, actor_output, scratch);
        let of_panels = out.rows().chunks(PANEL_ROWS).zip(actor_output.chunks_exact(2 * action_dim * PANEL_ROWS));
        for ((panel_rows, actor_output), action) in of_panels.zip(action.chunks_exact_mut(action_dim * PANEL_ROWS)) {
            let noise = &mut noise[..action_dim * PANEL_ROWS];
            random::normals(&host.streams.action, inputs.draw_step, &panel_row_ids(panel_rows), noise);
            Sample {
                spread: host.spread,
                output: actor_output,
                noise,
                action,
                log_prob: &mut [0.0; PANEL_ROWS],
                saved: None,
            }
            .fill();
        }
    }

    // Prediction.
    let pairs = obs.chunks_exact(obs_dim * PANEL_ROWS).zip(action.chunks_exact(action_dim * PANEL_ROWS));
    for ((obs, action), input) in pairs.zip(input.chunks_exact_mut((obs_dim + action_dim) * PANEL_ROWS)) {
        host.normalizer.apply_panel([obs, action], input);
    }
    cpu::infer(host.model.layout, host.model.member(member), input, output, scratch);

    // Next state and reward overwrite the mean, and are then copied to their rows.
    for (p, (output, obs)) in
        output.chunks_exact_mut(outputs * PANEL_ROWS).zip(obs.chunks_exact(obs_dim * PANEL_ROWS)).enumerate()
    {
        let in_panel = p * PANEL_ROWS..out.rows().len().min((p + 1) * PANEL_ROWS);
        let bounds = host.logvar_bounds();
        let noise = &mut noise[..channels * PANEL_ROWS];
        if bounds.is_some() {
            random::normals(
                &host.streams.noise,
                inputs.draw_step,
                &panel_row_ids(&out.rows()[in_panel.clone()]),
                noise,
            );
        }
        let base = (host.predicted == Predicted::Change).then_some(obs);
        simd::dispatch(SamplePrediction { base, bounds, noise, output });
        let action = &action[p * action_dim * PANEL_ROWS..][..action_dim * PANEL_ROWS];
        let continues = match &host.termination {
            HostEnds::Known(_) => None,
            HostEnds::Learned(classifier) => {
                Some(classifier.not_terminated_on_panel([obs, action, &output[..obs_dim * PANEL_ROWS]], ends))
            }
        };
        for (j, k) in in_panel.enumerate() {
            let from = |panel: &[f32], row: &mut [f32]| {
                row.iter_mut().enumerate().for_each(|(c, x)| *x = panel[c * PANEL_ROWS + j]);
            };
            let row = out.rows()[k] as usize;
            let before = &inputs.obs[row * obs_dim..][..obs_dim];
            out.row(OBS, k).copy_from_slice(before);
            from(action, out.row(ACTION, k));
            from(&output[obs_dim * PANEL_ROWS..], out.row(REWARD, k));
            let next = out.row(NEXT_OBS, k);
            from(output, next);
            out.row(NOT_TERMINATED, k)[0] = match (&continues, &host.termination) {
                (Some(continues), _) => continues[j],
                (None, HostEnds::Known(rule)) if rule.terminated(before, next) => 0.0,
                (None, _) => 1.0,
            };
        }
    }

    if !host.measures.is_empty() {
        measure_uncertainty(host, out, buffers);
    }
}

/// Computes the measures of uncertainty of a tile's rows, from every member's prediction for the inputs in `buffers`.
fn measure_uncertainty(host: &HostContext<'_>, out: &mut Scattered<'_, 6>, buffers: &mut TileBuffers) {
    let TileBuffers { input, output, scratch, means, logvars, .. } = buffers;
    let shape = host.model.layout.shape();
    let (members, outputs, channels) = (shape.members, shape.outputs, host.obs_dim() + 1);
    means.resize(out.rows().len() * members * channels, 0.0);
    logvars.resize(if outputs > channels { means.len() } else { 0 }, 0.0);
    for member in 0..members {
        cpu::infer(host.model.layout, host.model.member(member), input, output, scratch);
        for (p, output) in output.chunks_exact_mut(outputs * PANEL_ROWS).enumerate() {
            if let Some(bounds) = host.logvar_bounds() {
                simd::dispatch(Clamp { bounds, raw: &mut output[channels * PANEL_ROWS..] });
            }
            for (j, k) in (p * PANEL_ROWS..out.rows().len().min((p + 1) * PANEL_ROWS)).enumerate() {
                for c in 0..channels {
                    let at = (k * members + member) * channels + c;
                    means[at] = output[c * PANEL_ROWS + j];
                    if let Some(logvar) = logvars.get_mut(at) {
                        *logvar = output[(channels + c) * PANEL_ROWS + j];
                    }
                }
            }
        }
    }
    for k in 0..out.rows().len() {
        let row = k * members * channels..(k + 1) * members * channels;
        let logvar = logvars.get(row.clone());
        let values = host.measures.iter().map(|measure| measure.of(&means[row.clone()], logvar, channels));
        out.row(UNCERTAINTY, k).iter_mut().zip(values).for_each(|(x, value)| *x = value);
    }
}

/// Replaces raw log-variances `[O + 1]` by their soft clamp.
struct Clamp<'a> {
    bounds: [&'a [f32]; 2],
    raw: &'a mut [f32],
}

#[inline(always)]
fn clamp<S: Simd>(raw: f32, low: f32, high: f32) -> f32 {
    let below = high - math::softplus::<S>(high - raw);
    low + math::softplus::<S>(below - low)
}

impl Task for Clamp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let [low, high] = self.bounds;
        for (row, (&low, &high)) in self.raw.chunks_exact_mut(PANEL_ROWS).zip(low.iter().zip(high)) {
            row.iter_mut().for_each(|x| *x = clamp::<S>(*x, low, high));
        }
    }
}

/// Samples the prediction: replaces the mean in the network's output by the next observation `[O]` and the reward.
struct SamplePrediction<'a> {
    /// The states, if the output is a change that is added to them.
    base: Option<&'a [f32]>,
    bounds: Option<[&'a [f32]; 2]>,
    /// Standard normals `[O + 1]`, if there are bounds.
    noise: &'a [f32],
    output: &'a mut [f32],
}

impl Task for SamplePrediction<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { base, bounds, noise, output } = self;
        if let Some([low, high]) = bounds {
            let (mean, raw) = output.split_at_mut(low.len() * PANEL_ROWS);
            let rows =
                mean.chunks_exact_mut(PANEL_ROWS).zip(raw.chunks_exact(PANEL_ROWS)).zip(noise.chunks_exact(PANEL_ROWS));
            for (((mean, raw), noise), (&low, &high)) in rows.zip(low.iter().zip(high)) {
                for j in 0..PANEL_ROWS {
                    let std = math::exp::<S>(0.5 * clamp::<S>(raw[j], low, high));
                    mean[j] = S::mul_add(std, noise[j], mean[j]);
                }
            }
        }
        if let Some(base) = base {
            output.iter_mut().zip(base).for_each(|(delta, x)| *delta += x);
        }
    }
}
