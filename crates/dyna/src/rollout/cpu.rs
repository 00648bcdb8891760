//! One imagined step of many rows on the CPU ([`foresee_nn::cpu`]).
//!
//! Rows are sorted by the ensemble member that each of them drew, and split into tiles of a few panels of one member. A
//! tile goes through actor, sampling, member, noise and termination rule while its activations stay in a core's cache.
//! Its results are written to its rows' places in the imagined buffer. Tiles share no data: no result depends on the
//! threads, and a row's numbers do not depend on the rows beside it.

use std::cell::RefCell;

use foresee_actor_critic::policy::lanes::Sample;
use foresee_core::stream::below;
use foresee_nn::cpu::panels::gather;
use foresee_nn::cpu::simd::{self, Simd, Task};
use foresee_nn::cpu::{self, Column, Grouping, PANEL_ROWS, Scattered, Scratch, math, panels, random, team};
use foresee_world_model::config::Predicted;

use super::World;
use crate::replay::Claim;

/// Largest number of panels in a tile: its activations fit in a second-level cache.
const TILE: usize = 3;

/// The inputs of a step, in the order of the rows.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// The step number that addresses the draws.
    pub(super) clock: u64,
    /// Lane of each row, `[B]`.
    pub(super) lanes: &'a [u32],
    /// States, `[B, O]`.
    pub(super) obs: &'a [f32],
    /// Given actions, `[B, A]`; if `None`, the actor's are sampled.
    pub(super) actions: Option<&'a [f32]>,
}

/// Buffers that steps share, and the outputs of a step besides transitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Workspace {
    grouping: Grouping,
    /// The member that predicted each row, `[B]`.
    pub(super) members: Vec<u32>,
    /// The measures of uncertainty of each row, `[B, measures]`.
    pub(super) uncertainty: Vec<f32>,
}

/// Buffers of one thread.
#[derive(Default)]
struct Buffers {
    obs: Vec<f32>,
    heads: Vec<f32>,
    noise: Vec<f32>,
    action: Vec<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
    scratch: Scratch,
    /// Means of one row predicted by all members, `[E, O + 1]`.
    means: Vec<f32>,
    /// Log-variances of one row predicted by all members, `[E, O + 1]`.
    logvars: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Indices of the output columns of a step.
const OBS: usize = 0;
const ACTION: usize = 1;
const REWARD: usize = 2;
const NEXT: usize = 3;
const GOES_ON: usize = 4;
const UNCERTAINTY: usize = 5;

/// Computes one step of all rows, and writes it to the rows reserved by `claim`.
pub(super) fn step(world: &World<'_>, rows: Rows<'_>, claim: Claim<'_>, own: &mut Workspace) {
    let Workspace { grouping, members, uncertainty } = own;
    draw_members(world, rows, members);
    let share = rows.lanes.len().div_ceil(PANEL_ROWS * team::threads());
    grouping.sort(members, world.model.layout.shape().members, share.clamp(1, TILE) * PANEL_ROWS);
    uncertainty.clear();
    uncertainty.resize(rows.lanes.len() * world.measures.len(), 0.0);
    let Claim { batch, start } = claim;
    let (obs_dim, action_dim) = (world.obs_dim(), world.action_dim());
    let column = |numbers, width| Column { numbers, width, start };
    let columns = [
        column(&mut batch.obs, obs_dim),
        column(&mut batch.action, action_dim),
        column(&mut batch.reward, 1),
        column(&mut batch.next_obs, obs_dim),
        column(&mut batch.not_terminated, 1),
        Column { numbers: uncertainty, width: world.measures.len(), start: 0 },
    ];
    grouping.for_each(columns, |member, out| {
        BUFFERS.with_borrow_mut(|buffers| tile(world, rows, member, out, buffers));
    });
}

/// Draws every row's elite, `[B]`.
fn draw_members(world: &World<'_>, rows: Rows<'_>, members: &mut Vec<u32>) {
    members.clear();
    for lanes in rows.lanes.chunks(PANEL_ROWS) {
        let words = random::first_words(&world.streams.elite, rows.clock, &padded(lanes));
        let elite = |&word: &u32| world.elites[below(word, world.elites.len())] as u32;
        members.extend(words[..lanes.len()].iter().map(elite));
    }
}

/// Pads at most a panel's lanes to a whole panel with lane 0.
fn padded(lanes: &[u32]) -> [u32; PANEL_ROWS] {
    std::array::from_fn(|j| lanes.get(j).copied().unwrap_or(0))
}

/// Computes one step of rows that drew one member.
fn tile(world: &World<'_>, rows: Rows<'_>, member: usize, out: &mut Scattered<'_, 6>, buffers: &mut Buffers) {
    let Buffers { obs, heads, noise, action, input, output, scratch, means, logvars } = buffers;
    let (obs_dim, action_dim) = (world.obs_dim(), world.action_dim());
    let (channels, outputs) = (obs_dim + 1, world.model.layout.shape().outputs);
    let count = panels::count(out.rows().len());
    obs.resize(count * obs_dim * PANEL_ROWS, 0.0);
    heads.resize(count * 2 * action_dim * PANEL_ROWS, 0.0);
    noise.resize(action_dim.max(channels) * PANEL_ROWS, 0.0);
    action.resize(count * action_dim * PANEL_ROWS, 0.0);
    input.resize(count * (obs_dim + action_dim) * PANEL_ROWS, 0.0);
    output.resize(count * outputs * PANEL_ROWS, 0.0);

    // Action.
    for (rows_of, obs) in out.rows().chunks(PANEL_ROWS).zip(obs.chunks_exact_mut(obs_dim * PANEL_ROWS)) {
        gather(rows.obs, obs_dim, rows_of, obs);
    }
    let lanes_of = |panel: &[u32]| -> [u32; PANEL_ROWS] {
        std::array::from_fn(|j| panel.get(j).map_or(0, |&row| rows.lanes[row as usize]))
    };
    if let Some(given) = rows.actions {
        for (rows_of, action) in out.rows().chunks(PANEL_ROWS).zip(action.chunks_exact_mut(action_dim * PANEL_ROWS)) {
            gather(given, action_dim, rows_of, action);
        }
    } else {
        let actor = world.actor();
        cpu::infer(actor.layout, actor.member(0), obs, heads, scratch);
        let of_panels = out.rows().chunks(PANEL_ROWS).zip(heads.chunks_exact(2 * action_dim * PANEL_ROWS));
        for ((rows_of, heads), action) in of_panels.zip(action.chunks_exact_mut(action_dim * PANEL_ROWS)) {
            let noise = &mut noise[..action_dim * PANEL_ROWS];
            random::normals(&world.streams.action, rows.clock, &lanes_of(rows_of), noise);
            Sample { spread: world.spread, heads, noise, action, log_prob: &mut [0.0; PANEL_ROWS], kept: None }.fill();
        }
    }

    // Prediction.
    let pairs = obs.chunks_exact(obs_dim * PANEL_ROWS).zip(action.chunks_exact(action_dim * PANEL_ROWS));
    for ((obs, action), input) in pairs.zip(input.chunks_exact_mut((obs_dim + action_dim) * PANEL_ROWS)) {
        world.normalizer.apply_panel([obs, action], input);
    }
    cpu::infer(world.model.layout, world.model.member(member), input, output, scratch);

    // Next state and reward overwrite the mean, and are then copied to their rows.
    for (p, (output, obs)) in
        output.chunks_exact_mut(outputs * PANEL_ROWS).zip(obs.chunks_exact(obs_dim * PANEL_ROWS)).enumerate()
    {
        let in_panel = p * PANEL_ROWS..out.rows().len().min((p + 1) * PANEL_ROWS);
        let bounds = world.logvar_bounds();
        let noise = &mut noise[..channels * PANEL_ROWS];
        if bounds.is_some() {
            random::normals(&world.streams.noise, rows.clock, &lanes_of(&out.rows()[in_panel.clone()]), noise);
        }
        let base = (world.predicted == Predicted::Change).then_some(obs);
        simd::dispatch(Outcome { base, bounds, noise, output });
        let action = &action[p * action_dim * PANEL_ROWS..];
        for (j, k) in in_panel.enumerate() {
            let from = |panel: &[f32], row: &mut [f32]| {
                row.iter_mut().enumerate().for_each(|(c, x)| *x = panel[c * PANEL_ROWS + j]);
            };
            let row = out.rows()[k] as usize;
            out.row(OBS, k).copy_from_slice(&rows.obs[row * obs_dim..][..obs_dim]);
            from(action, out.row(ACTION, k));
            from(&output[obs_dim * PANEL_ROWS..], out.row(REWARD, k));
            let next = out.row(NEXT, k);
            from(output, next);
            let ends = world.termination.terminated(next);
            out.row(GOES_ON, k)[0] = if ends { 0.0 } else { 1.0 };
        }
    }

    // Uncertainty, from the predictions of every member.
    if world.measures.is_empty() {
        return;
    }
    let members = world.model.layout.shape().members;
    means.resize(out.rows().len() * members * channels, 0.0);
    logvars.resize(if outputs > channels { means.len() } else { 0 }, 0.0);
    for member in 0..members {
        cpu::infer(world.model.layout, world.model.member(member), input, output, scratch);
        for (p, output) in output.chunks_exact_mut(outputs * PANEL_ROWS).enumerate() {
            if let Some(bounds) = world.logvar_bounds() {
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
        let own = k * members * channels..(k + 1) * members * channels;
        let logvar = logvars.get(own.clone());
        let said = world.measures.iter().map(|measure| measure.of(&means[own.clone()], logvar, channels));
        out.row(UNCERTAINTY, k).iter_mut().zip(said).for_each(|(x, said)| *x = said);
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

/// Replaces the mean in the network's output by the next observation `[O]` and the reward.
struct Outcome<'a> {
    /// The states, if the output is a change that is added to them.
    base: Option<&'a [f32]>,
    bounds: Option<[&'a [f32]; 2]>,
    /// Standard normals `[O + 1]`, if there are bounds.
    noise: &'a [f32],
    output: &'a mut [f32],
}

impl Task for Outcome<'_> {
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
