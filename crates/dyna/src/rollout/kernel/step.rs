//! One imagined step of a tile of rows that drew one elite: actor and sampling, or given actions; then member, noise
//! and termination rule.
//!
//! The tile's activations stay in shared memory ([`foresee_nn::cube::tile`]) through both networks. A thread works on
//! vectors of rows, one feature at a time.
//!
//! `constants` contains the constants of the step: the normaliser's mean and standard deviation (`[O + A]` each); the
//! members that are elites; and four numbers for each bound of the termination rule: low, high, 1 if the ends are
//! inside, and the index of the entry of the next observation. A rule with other quantities takes the form in tensors
//! ([`super::takes`]).

use cubecl::prelude::*;
use foresee_actor_critic::policy::panel::{LOG_STD_HALF_RANGE, LOG_STD_LOW};
use foresee_nn::cube::random::{Counter, normal};
use foresee_nn::cube::{NetShape, Tile, math, tile};

/// The compile-time constants of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct StepSpec {
    /// Shape of the actor; that of the model if actions are given.
    pub actor: NetShape,
    /// Shape of an ensemble member.
    pub model: NetShape,
    /// Number of entries of an observation, `O`.
    pub obs: usize,
    /// Number of entries of an action, `A`.
    pub action: usize,
    /// Whether members also predict a log-variance.
    pub gaussian: bool,
    /// Whether actions are given; otherwise the actor's are sampled.
    pub given: bool,
    /// Shared memory and threads of a tile of rows.
    pub tile: Tile,
}

impl StepSpec {
    /// Index of the first elite in `constants`.
    pub(super) fn elites_at(&self) -> usize {
        2 * (self.obs + self.action)
    }

    /// Offsets in shared memory of the actor's output and of the side that is free after it. Both are the offset of the
    /// input if actions are given.
    fn actor_output(&self) -> [usize; 2] {
        if self.given {
            return [self.tile.input(); 2];
        }
        [self.tile.output(&self.actor), self.tile.side(self.actor.depth() + 1)]
    }

    /// Offsets in shared memory of the member's output and of the side that is free after it.
    pub(super) fn prediction(&self) -> [usize; 2] {
        [self.tile.output(&self.model), self.tile.side(self.model.depth() + 1)]
    }
}

/// The arguments of the current step.
#[derive(CubeType, CubeLaunch)]
pub(super) struct StepArgs {
    /// Address of the action's noise.
    pub action: Counter,
    /// Address of the prediction's noise.
    pub noise: Counter,
    /// Number of the step within the call, from 0.
    pub step: u32,
    /// Largest number of steps of the call, `H`.
    pub horizon: u32,
    /// Row of the ring for the call's first transition.
    pub position: u32,
    /// Number of rows of the ring.
    pub capacity: u32,
    /// Number of elites.
    pub elites: u32,
    /// Number of bounds outside of which an episode terminates.
    pub bounds: u32,
    /// Number of bounds of the goal.
    pub goal: u32,
    /// 1 if an entry that is not finite terminates the episode, else 0.
    pub finite: u32,
}

/// The rows of one tile, which drew one elite.
#[derive(CubeType)]
struct TileRows {
    /// First slot of the rows in the order.
    slot: usize,
    /// Number of rows.
    count: usize,
    /// The ensemble member of the elite.
    member: usize,
}

/// Returns the rows of this cube's tile; none if there are fewer tiles than cubes.
#[cube]
fn tile_rows(plan: &[u32], constants: &[f32], args: &StepArgs, #[comptime] spec: StepSpec) -> TileRows {
    let height = comptime!(spec.tile.rows);
    let mut first = 0usize;
    let mut count = 0usize;
    let mut elite = 0usize;
    for e in 0..args.elites as usize {
        let rows = plan[args.horizon as usize + 1 + e] as usize;
        let tiles = (rows + comptime!(height - 1)) / height;
        if CUBE_POS >= first && CUBE_POS < first + tiles {
            elite = e;
            count = rows - (CUBE_POS - first) * height;
        }
        first += tiles;
    }
    if count > height {
        count = height.runtime();
    }
    let member = u32::cast_from(constants[comptime!(spec.elites_at()) + elite]) as usize;
    TileRows { slot: CUBE_POS * height, count, member }
}

/// Returns the row of the ring for the transition with this rank.
#[cube]
pub(super) fn ring_row(rank: u32, plan: &[u32], args: &StepArgs) -> usize {
    ((args.position + plan[args.step as usize] + rank) % args.capacity) as usize
}

/// Computes one step of every tile. `actor` contains the actor's parameters `[P]`, or the given actions `[B, A]` by row
/// id.
#[allow(unused_assignments, reason = "a kernel's branches have no value")]
#[allow(clippy::too_many_lines, reason = "one kernel: its parts share the tile's memory, and waits stand between them")]
#[cube(launch_unchecked)]
pub(super) fn step<N: Size>(
    actor: &[f32],
    model: &[f32],
    logvar_bounds: &[f32],
    constants: &[f32],
    order: &[u32],
    plan: &[u32],
    obs: &mut [f32],
    ended: &mut [u32],
    reward: &mut [f32],
    ring_obs: &mut [f32],
    ring_action: &mut [f32],
    ring_reward: &mut [f32],
    ring_next_obs: &mut [f32],
    ring_not_terminated: &mut [f32],
    members: &mut [f32],
    args: StepArgs,
    #[comptime] spec: StepSpec,
) {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(spec.tile.size()));
    let (o, a) = comptime!((spec.obs, spec.action));
    let vectors = comptime!(spec.tile.vectors());
    let input = comptime!(spec.tile.input());
    let threads = comptime!(spec.tile.threads);
    let rows = tile_rows(plan, constants, &args, comptime!(spec.clone()));
    if rows.count == 0 {
        terminate!();
    }

    // States, and the actor's output at them.
    if comptime!(!spec.given) {
        let mut i = UNIT_POS as usize;
        while i < comptime!(o * vectors) {
            let (f, v) = (i % o, i / o);
            let mut x = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for l in 0..N::value() {
                let row = v * N::value() + l;
                if row < rows.count {
                    x.insert(l, obs[order[2 * (rows.slot + row)] as usize * o + f]);
                }
            }
            shared[input + f * vectors + v] = x;
            i += threads;
        }
        sync_cube();
        tile::forward::<N>(actor, 0usize, &mut shared, comptime!(spec.actor.clone()), comptime!(spec.tile));
    }

    // Actions, and their normalised values for the member.
    let (actor_output, free) = comptime!((spec.actor_output()[0], spec.actor_output()[1]));
    let mut i = UNIT_POS as usize;
    while i < comptime!(a * vectors) {
        let (f, v) = (i % a, i / a);
        let mut mu = Vector::<f32, N>::new(0.0f32);
        let mut raw = Vector::<f32, N>::new(0.0f32);
        if comptime!(!spec.given) {
            mu = shared[actor_output + f * vectors + v];
            raw = shared[actor_output + (a + f) * vectors + v];
        }
        let mut x = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for l in 0..N::value() {
            let row = v * N::value() + l;
            if row < rows.count {
                let slot = 2 * (rows.slot + row);
                let mut action = 0.0f32;
                if comptime!(spec.given) {
                    action = actor[order[slot] as usize * a + f];
                } else {
                    let std = math::exp(LOG_STD_LOW + LOG_STD_HALF_RANGE * (math::tanh(raw.extract(l)) + 1.0f32));
                    let u = mu.extract(l) + std * normal(&args.action, order[slot], f as u32);
                    action = math::tanh(u);
                }
                ring_action[ring_row(order[slot + 1], plan, &args) * a + f] = action;
                x.insert(l, (action - constants[o + f]) / constants[comptime!(2 * o + a) + f]);
            }
        }
        shared[free + (o + f) * vectors + v] = x;
        i += threads;
    }
    sync_cube();
    let mut i = UNIT_POS as usize;
    while i < comptime!(o * vectors) {
        let (f, v) = (i % o, i / o);
        let mut x = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for l in 0..N::value() {
            let row = v * N::value() + l;
            if row < rows.count {
                let entry = obs[order[2 * (rows.slot + row)] as usize * o + f];
                x.insert(l, (entry - constants[f]) / constants[comptime!(o + a) + f]);
            }
        }
        shared[input + f * vectors + v] = x;
        i += threads;
    }
    if comptime!(free != input) {
        let mut i = UNIT_POS as usize;
        while i < comptime!(a * vectors) {
            shared[comptime!(input + o * vectors) + i] = shared[comptime!(free + o * vectors) + i];
            i += threads;
        }
    }
    sync_cube();

    // Prediction, next state, reward.
    let member = rows.member * comptime!(spec.model.parameters);
    tile::forward::<N>(model, member, &mut shared, comptime!(spec.model.clone()), comptime!(spec.tile));
    let (prediction, free) = comptime!((spec.prediction()[0], spec.prediction()[1]));
    let channels = comptime!(o + 1);
    let mut i = UNIT_POS as usize;
    while i < comptime!(channels * vectors) {
        let (c, v) = (i % channels, i / channels);
        let mean = shared[prediction + c * vectors + v];
        let mut next = Vector::<f32, N>::new(0.0f32);
        let mut raw = Vector::<f32, N>::new(0.0f32);
        if comptime!(spec.gaussian) {
            raw = shared[prediction + (channels + c) * vectors + v];
        }
        #[unroll]
        for l in 0..N::value() {
            let row = v * N::value() + l;
            if row < rows.count {
                let slot = 2 * (rows.slot + row);
                let row_id = order[slot] as usize;
                let to = ring_row(order[slot + 1], plan, &args);
                let mut delta = mean.extract(l);
                if comptime!(spec.gaussian) {
                    let logvar = soft_clamp(raw.extract(l), logvar_bounds[c], logvar_bounds[channels + c]);
                    delta += math::exp(0.5f32 * logvar) * normal(&args.noise, row_id as u32, c as u32);
                }
                if c < o {
                    let entry = obs[row_id * o + c];
                    ring_obs[to * o + c] = entry;
                    ring_next_obs[to * o + c] = entry + delta;
                    obs[row_id * o + c] = entry + delta;
                    next.insert(l, entry + delta);
                } else {
                    ring_reward[to] = delta;
                    reward[row_id] += delta;
                }
            }
        }
        if c < o {
            shared[free + c * vectors + v] = next;
        }
        i += threads;
    }
    sync_cube();

    // Termination.
    let mut v = UNIT_POS as usize;
    while v < vectors {
        #[unroll]
        for l in 0..N::value() {
            let row = v * N::value() + l;
            if row < rows.count {
                let mut broken = false;
                if args.finite != 0u32 {
                    for f in 0..o {
                        let x = shared[free + f * vectors + v].extract(l);
                        broken = broken || x.is_nan() || x.is_inf();
                    }
                }
                let mut reached = args.goal > 0u32;
                for b in 0..args.bounds + args.goal {
                    let at = comptime!(spec.elites_at()) + (args.elites + 4u32 * b) as usize;
                    let x = shared[free + u32::cast_from(constants[at + 3]) as usize * vectors + v].extract(l);
                    let holds = inside(x, constants[at], constants[at + 1], constants[at + 2] != 0.0f32);
                    if b < args.bounds {
                        broken = broken || !holds;
                    } else {
                        reached = reached && holds;
                    }
                }
                let ends = broken || reached;
                let slot = 2 * (rows.slot + row);
                let rank = order[slot + 1];
                ring_not_terminated[ring_row(rank, plan, &args)] = select(ends, 0.0f32, 1.0f32);
                members[(plan[args.step as usize] + rank) as usize] = f32::cast_from(rows.member as u32);
                if ends {
                    ended[order[slot] as usize] = 1u32;
                }
            }
        }
        v += threads;
    }
}

/// Whether an entry is inside a bound. A NaN is not inside.
#[cube]
fn inside(x: f32, low: f32, high: f32, closed: bool) -> bool {
    let open = low < x && x < high;
    let ends = closed && low <= x && x <= high;
    !x.is_nan() && (open || ends)
}

/// Clamps the log-variance softly to its bounds: lv ← high − softplus(high − lv); lv ← low + softplus(lv − low).
#[cube]
pub(super) fn soft_clamp(raw: f32, low: f32, high: f32) -> f32 {
    let below = high - math::softplus(high - raw);
    low + math::softplus(below - low)
}
