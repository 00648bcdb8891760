//! One imagined step of a tile of rows that drew one elite: actor and sampling, or given actions; then member, noise
//! and termination rule.
//!
//! The tile's activations stay in shared memory ([`foresee_nn::cube::tile`]) through both networks. A thread works on
//! vectors of rows, one feature at a time.
//!
//! `facts` contains the constants of the step: the normaliser's mean and standard deviation (`[O + A]` each); the
//! members that are elites; and four numbers for each bound of the termination rule: low, high, 1 if the ends are
//! inside, and the index of the entry.

use cubecl::prelude::*;
use foresee_actor_critic::policy::LOG_STD;
use foresee_nn::cube::random::{Counter, normal};
use foresee_nn::cube::{NetShape, Tile, math, tile};

/// Lower end of log σ; [`LOG_STD_HALF`] is half its range.
const LOG_STD_LOW: f32 = LOG_STD[0] as f32;
const LOG_STD_HALF: f32 = (0.5 * (LOG_STD[1] - LOG_STD[0])) as f32;

/// The compile-time constants of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Form {
    pub actor: NetShape,
    pub model: NetShape,
    /// Number of entries of an observation, `O`.
    pub obs: usize,
    /// Number of entries of an action, `A`.
    pub action: usize,
    /// Whether members also predict a log-variance.
    pub gaussian: bool,
    /// Whether actions are given; otherwise the actor's are sampled.
    pub given: bool,
    pub tile: Tile,
}

impl Form {
    /// Index of the first elite in `facts`.
    pub(super) fn elites_at(&self) -> usize {
        2 * (self.obs + self.action)
    }

    /// Offsets in shared memory of the actor's output and of the side that is free after it. Both are the offset of the
    /// input if actions are given.
    fn heads(&self) -> [usize; 2] {
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

/// Run-time constants of the current step.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Now {
    pub action: Counter,
    pub noise: Counter,
    pub step: u32,
    pub horizon: u32,
    /// Row of the ring for the call's first transition.
    pub position: u32,
    /// Number of rows of the ring.
    pub capacity: u32,
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
struct Rows {
    /// First slot of the rows in the order.
    slot: usize,
    count: usize,
    /// The ensemble member of the elite.
    member: usize,
}

/// Returns the rows of this cube's tile; none if there are fewer tiles than cubes.
#[cube]
fn rows_of_tile(plan: &[u32], facts: &[f32], now: &Now, #[comptime] form: Form) -> Rows {
    let height = comptime!(form.tile.rows);
    let mut first = 0usize;
    let mut count = 0usize;
    let mut elite = 0usize;
    for e in 0..now.elites as usize {
        let rows = plan[now.horizon as usize + 1 + e] as usize;
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
    let member = u32::cast_from(facts[comptime!(form.elites_at()) + elite]) as usize;
    Rows { slot: CUBE_POS * height, count, member }
}

/// Returns the row of the ring for the transition with this rank.
#[cube]
pub(super) fn place(rank: u32, plan: &[u32], now: &Now) -> usize {
    ((now.position + plan[now.step as usize] + rank) % now.capacity) as usize
}

#[allow(unused_assignments, reason = "a kernel's branches have no value")]
/// Computes one step of every tile. `actor` contains the actor's parameters `[P]`, or the given actions `[B, A]` by
/// lane.
#[cube(launch_unchecked)]
pub(super) fn step<N: Size>(
    actor: &[f32],
    model: &[f32],
    logvar_bounds: &[f32],
    facts: &[f32],
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
    now: Now,
    #[comptime] form: Form,
) {
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(comptime!(form.tile.size()));
    let (o, a) = comptime!((form.obs, form.action));
    let vectors = comptime!(form.tile.vectors());
    let input = comptime!(form.tile.input());
    let threads = comptime!(form.tile.threads);
    let rows = rows_of_tile(plan, facts, &now, comptime!(form.clone()));
    if rows.count == 0 {
        terminate!();
    }

    // States, and the actor's output at them.
    if comptime!(!form.given) {
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
        tile::forward::<N>(actor, 0usize, &mut shared, comptime!(form.actor.clone()), comptime!(form.tile));
    }

    // Actions, and their normalised values for the member.
    let (heads, free) = comptime!((form.heads()[0], form.heads()[1]));
    let mut i = UNIT_POS as usize;
    while i < comptime!(a * vectors) {
        let (f, v) = (i % a, i / a);
        let mut mu = Vector::<f32, N>::new(0.0f32);
        let mut raw = Vector::<f32, N>::new(0.0f32);
        if comptime!(!form.given) {
            mu = shared[heads + f * vectors + v];
            raw = shared[heads + (a + f) * vectors + v];
        }
        let mut x = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for l in 0..N::value() {
            let row = v * N::value() + l;
            if row < rows.count {
                let slot = 2 * (rows.slot + row);
                let mut action = 0.0f32;
                if comptime!(form.given) {
                    action = actor[order[slot] as usize * a + f];
                } else {
                    let std = math::exp(LOG_STD_LOW + LOG_STD_HALF * (math::tanh(raw.extract(l)) + 1.0f32));
                    let u = mu.extract(l) + std * normal(&now.action, order[slot], f as u32);
                    action = math::tanh(u);
                }
                ring_action[place(order[slot + 1], plan, &now) * a + f] = action;
                x.insert(l, (action - facts[o + f]) / facts[comptime!(2 * o + a) + f]);
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
                x.insert(l, (entry - facts[f]) / facts[comptime!(o + a) + f]);
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
    let member = rows.member * comptime!(form.model.parameters);
    tile::forward::<N>(model, member, &mut shared, comptime!(form.model.clone()), comptime!(form.tile));
    let (said, free) = comptime!((form.prediction()[0], form.prediction()[1]));
    let channels = comptime!(o + 1);
    let mut i = UNIT_POS as usize;
    while i < comptime!(channels * vectors) {
        let (c, v) = (i % channels, i / channels);
        let mean = shared[said + c * vectors + v];
        let mut next = Vector::<f32, N>::new(0.0f32);
        let mut raw = Vector::<f32, N>::new(0.0f32);
        if comptime!(form.gaussian) {
            raw = shared[said + (channels + c) * vectors + v];
        }
        #[unroll]
        for l in 0..N::value() {
            let row = v * N::value() + l;
            if row < rows.count {
                let slot = 2 * (rows.slot + row);
                let lane = order[slot] as usize;
                let to = place(order[slot + 1], plan, &now);
                let mut delta = mean.extract(l);
                if comptime!(form.gaussian) {
                    let logvar = soft_clamp(raw.extract(l), logvar_bounds[c], logvar_bounds[channels + c]);
                    delta += math::exp(0.5f32 * logvar) * normal(&now.noise, lane as u32, c as u32);
                }
                if c < o {
                    let entry = obs[lane * o + c];
                    ring_obs[to * o + c] = entry;
                    ring_next_obs[to * o + c] = entry + delta;
                    obs[lane * o + c] = entry + delta;
                    next.insert(l, entry + delta);
                } else {
                    ring_reward[to] = delta;
                    reward[lane] += delta;
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
                if now.finite != 0u32 {
                    for f in 0..o {
                        let x = shared[free + f * vectors + v].extract(l);
                        broken = broken || x.is_nan() || x.is_inf();
                    }
                }
                let mut reached = now.goal > 0u32;
                for b in 0..now.bounds + now.goal {
                    let at = comptime!(form.elites_at()) + (now.elites + 4u32 * b) as usize;
                    let x = shared[free + u32::cast_from(facts[at + 3]) as usize * vectors + v].extract(l);
                    let holds = inside(x, facts[at], facts[at + 1], facts[at + 2] != 0.0f32);
                    if b < now.bounds {
                        broken = broken || !holds;
                    } else {
                        reached = reached && holds;
                    }
                }
                let ends = broken || reached;
                let slot = 2 * (rows.slot + row);
                let rank = order[slot + 1];
                ring_not_terminated[place(rank, plan, &now)] = select(ends, 0.0f32, 1.0f32);
                members[(plan[now.step as usize] + rank) as usize] = f32::cast_from(rows.member as u32);
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
