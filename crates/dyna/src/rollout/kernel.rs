//! Imagined rollouts in kernels, on any GPU that wgpu drives.
//!
//! A call never leaves the device: starts are gathered from the real rows there, transitions are written in place into
//! the imagined ring, and the host reads a few counts at the end. An imagined step is three launches. `draw` and
//! `place` sort the live rows by the member that each of them drew, in an order that no thread's timing can change;
//! `step` carries tiles of rows of one member through actor, sampling, member, noise and termination rule.
//!
//! Why not the whole horizon in one launch? Every row draws its member anew at every step. With seven members, a tile
//! of the 16 rows that fit 48 kB of shared memory would read the weights of nearly all seven, 0.5 MB each for 4×200,
//! and use each for two or three of its rows; sorted, it reads one member's for all 16. At 100,000 rows and 5 steps that
//! is 25 GB from the second-level cache, actor included, in place of 120, beside 0.2 TFLOP: on a GPU with 5 TB/s and
//! 60 TFLOP/s the sort keeps the cache (5 ms) near the arithmetic (3 ms at the peak), and without it the cache alone
//! would take 24. Sorting costs two launches of some microseconds a step.
//!
//! Rows are independent: their numbers do not depend on their tile, and two calls are equal bit for bit.

#![allow(unsafe_code, reason = "tiles are launched without bound checks; each launch says why that is sound")]

mod plan;
mod step;
mod uncertainty;

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::prelude::*;
use foresee_actor_critic::Policy;
use foresee_core::Stream;
use foresee_core::termination::Bound;
use foresee_nn::cube::{NetShape, Tile, buffer, empty, is_cube, random, tensor};
use foresee_nn::device::failure;
use foresee_nn::{Mlp, Parameters as _, tensors};
use foresee_world_model::Ensemble;
use foresee_world_model::config::Predicted;

use self::plan::BLOCK;
use self::step::{Form, NowLaunch};
use super::Imagination;
use crate::replay::DeviceRows;

/// One call of rollouts.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Its number, which addresses its draws.
    pub call: u64,
    /// Rows to start from.
    pub real: &'a DeviceRows,
    /// How many of them are set.
    pub real_rows: usize,
    /// Rollouts, `B`.
    pub starts: usize,
    /// Imagined steps at most, `H`.
    pub horizon: usize,
}

/// What a call came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Transitions written, step by step, in a step in the order of their lanes.
    pub transitions: u64,
    /// Rollouts that terminated.
    pub ended: u64,
    /// Sum of the rewards.
    pub reward_sum: f64,
    /// Who imagined each transition, `[B·H]`; not set behind the last one.
    pub members: Tensor<1>,
    /// What each measure says of it, `[B·H, measures]`.
    pub uncertainty: Option<Tensor<2>>,
}

/// Imagines on the GPU that the networks live on, into `ring` from row `position` on, over its oldest rows where it is
/// full.
///
/// # Panics
/// If there is nothing to start from, if the ring has not room for one step of all rows, if a call has more transitions
/// than 2³² − 1 or more than 2¹⁶ steps, or more than 256 elites, and if not even one row of the networks fits the
/// device's shared memory (8 kB of it hold a row of 1000 features).
#[track_caller]
#[must_use]
pub fn rollout(imagination: &Imagination<'_>, call: &Call<'_>, ring: &DeviceRows, position: usize) -> Outcome {
    let &Call { call: number, real, real_rows, starts, horizon } = call;
    let capacity = ring.capacity();
    let elites = imagination.ensemble.elites.len();
    assert!(is_cube(imagination.device), "rollouts in kernels need a GPU");
    assert!((1..=real.capacity()).contains(&real_rows), "{real_rows} real rows to start from");
    assert!(starts <= capacity && position < capacity, "{starts} rows at {position} in a ring of {capacity}");
    assert!(horizon <= 1 << 16 && position + starts * horizon < u32::MAX as usize, "{starts} rollouts of {horizon}");
    assert!((1..=BLOCK).contains(&elites), "{elites} elites");
    let buffers = Buffers::new(imagination, Actions::Sampled(imagination.policy), starts, horizon);
    if starts > 0 {
        buffers.start(number, real, real_rows);
        for h in 0..horizon {
            buffers.step(imagination, (number << 16) | h as u64, h, ring, position);
        }
    }
    buffers.outcome()
}

/// One imagined step from states `[B, O]` under given actions `[B, A]`, on the GPU that all of them live on, into `ring`
/// from row `position` on: row `b` reads lane `b` of the draws that `clock` addresses. The policy of `imagination` is not
/// asked.
///
/// # Panics
/// As [`rollout`], or if there is not one action a state.
#[track_caller]
#[must_use]
pub fn step_under(
    imagination: &Imagination<'_>,
    clock: u64,
    states: Tensor<2>,
    actions: Tensor<2>,
    ring: &DeviceRows,
    position: usize,
) -> Outcome {
    let [rows, obs_dim] = states.dims();
    let (capacity, elites) = (ring.capacity(), imagination.ensemble.elites.len());
    assert!(is_cube(imagination.device), "rollouts in kernels need a GPU");
    assert_eq!(
        [obs_dim, rows, actions.dims()[1]],
        [ring.dims()[0], actions.dims()[0], ring.dims()[1]],
        "[B, O], [B, A]"
    );
    assert!(rows <= capacity && position < capacity, "{rows} rows at {position} in a ring of {capacity}");
    assert!((1..=BLOCK).contains(&elites), "{elites} elites");
    let mut buffers = Buffers::new(imagination, Actions::Given(buffer(actions)), rows, 1);
    if rows > 0 {
        let zeros = |count: usize| buffer(Tensor::<1>::zeros([count], imagination.device));
        let zero_words = |count: usize| CubeTensor { dtype: DType::U32, ..zeros(count) };
        // A step writes the next states over these: a copy that nobody else reads.
        buffers.obs = buffer(states.add_scalar(0.0));
        (buffers.ended, buffers.reward, buffers.plan) = (zero_words(rows), zeros(rows), zero_words(2 + elites));
        buffers.step(imagination, clock, 0, ring, position);
    }
    buffers.outcome()
}

/// Whether kernels can imagine with these networks: at most 256 elites, and a row of both fits the device's shared memory.
#[must_use]
pub fn takes(ensemble: &Ensemble, policy: &Policy) -> bool {
    let shapes = [policy.net(), &ensemble.net].map(|net| NetShape::from(net.layout().as_ref()));
    let hardware = &buffer(policy.net().slot().get().clone()).client.properties().hardware.clone();
    let taken = policy.is_plain()
        && ensemble.predicted() == Predicted::Change
        && [policy.net(), &ensemble.net].iter().all(|net| net.is_fused());
    taken
        && (1..=BLOCK).contains(&ensemble.elites.len())
        && Tile::tallest(hardware, &[&shapes[0], &shapes[1]], 0).is_some()
}

/// Where a step's actions come from.
#[allow(clippy::large_enum_variant, reason = "one a call")]
enum Actions<'a> {
    /// The policy's, sampled.
    Sampled(&'a Policy),
    /// These, `[B, A]`.
    Given(CubeTensor),
}

/// A call's buffers.
struct Buffers {
    client: Client,
    form: Form,
    seed: u64,
    starts: usize,
    horizon: usize,
    elites: usize,
    /// The actor's parameters `[P]`, or given actions `[B, A]`.
    actor: CubeTensor,
    /// The model's parameters, `[E, P]`.
    model: CubeTensor,
    /// Low, then high, `[2 (O + 1)]`; anything where the head is deterministic.
    logvar_bounds: CubeTensor,
    facts: CubeTensor,
    /// Lane by lane: state `[B, O]`, whether it ended, its rewards' sum, the elite it drew.
    obs: CubeTensor,
    ended: CubeTensor,
    reward: CubeTensor,
    choice: CubeTensor,
    counts: CubeTensor,
    order: CubeTensor,
    plan: CubeTensor,
    members: CubeTensor,
    /// What all members say of a step `[B, E, outputs]`, and the measures of it, `[B·H, measures]`.
    said: Option<(CubeTensor, CubeTensor)>,
}

impl Buffers {
    #[track_caller]
    fn new(imagination: &Imagination<'_>, actions: Actions<'_>, starts: usize, horizon: usize) -> Self {
        let Imagination { ensemble, termination, seed, measures, .. } = *imagination;
        let shape = |net: &Mlp| NetShape::from(net.layout().as_ref());
        let model_shape = shape(&ensemble.net);
        // Where actions are given no actor is asked, and its shape is the model's.
        let (actor, actor_shape, given) = match actions {
            Actions::Sampled(policy) => (buffer(policy.net().slot().get().clone()), shape(policy.net()), false),
            Actions::Given(actions) => (actions, model_shape.clone(), true),
        };
        let model = buffer(ensemble.net.slot().get().clone());
        let client = actor.client.clone();
        let obs_dim = ensemble.obs_dim();
        let tile = Tile::tallest(&client.properties().hardware, &[&actor_shape, &model_shape], 0);
        let tile = tile.expect("a row of the networks fits the shared memory").spread(1, starts);
        let form = Form {
            obs: obs_dim,
            action: ensemble.net.inputs() - obs_dim,
            gaussian: ensemble.bounds.is_some(),
            given,
            actor: actor_shape,
            model: model_shape,
            tile,
        };

        // Facts.
        let [mean, std] = ensemble.normalizer.moments();
        let mut facts = [mean, std].concat();
        facts.extend(ensemble.elites.iter().map(|&member| member as f32));
        for &Bound { index, low, high, closed } in termination.bounds.iter().chain(&termination.goal) {
            assert!(index < obs_dim, "a bound on entry {index} of {obs_dim}");
            facts.extend([low, high, f32::from(u8::from(closed)), index as f32]);
        }
        let count = facts.len();
        let facts = buffer(tensors::from_vec(facts, [count], imagination.device));
        let logvar_bounds = ensemble.bounds.as_ref().map_or_else(|| facts.clone(), |b| buffer(b.slot().get().clone()));

        let elites = ensemble.elites.len();
        let floats = |shape: &[usize]| empty(&actor, shape);
        let words = |count: usize| CubeTensor { dtype: DType::U32, ..empty(&actor, &[count]) };
        let outputs = form.model.outputs();
        Self {
            obs: floats(&[starts, obs_dim]),
            ended: words(starts),
            reward: floats(&[starts]),
            choice: words(starts),
            counts: words(starts.div_ceil(BLOCK) * elites),
            order: words(2 * tiles(starts, elites, &form) * form.tile.rows),
            plan: words(horizon + 1 + elites),
            members: floats(&[starts * horizon]),
            said: (!measures.is_empty())
                .then(|| (floats(&[starts, ensemble.members(), outputs]), floats(&[starts * horizon, measures.len()]))),
            client,
            form,
            seed,
            starts,
            horizon,
            elites,
            actor,
            model,
            logvar_bounds,
            facts,
        }
    }

    /// Cubes with a thread a lane.
    fn blocks(&self) -> (CubeCount, CubeDim) {
        let dim = CubeDim::new_1d(BLOCK as u32);
        (cubecl::calculate_cube_count_elemwise(&self.client, self.starts, dim), dim)
    }

    /// So many cubes with a tile's threads.
    fn tiles(&self, count: usize) -> (CubeCount, CubeDim) {
        let threads = self.form.tile.threads;
        let dim = CubeDim::new_1d(threads as u32);
        (cubecl::calculate_cube_count_elemwise(&self.client, count * threads, dim), dim)
    }

    fn start(&self, call: u64, real: &DeviceRows, real_rows: usize) {
        let (count, dim) = self.blocks();
        plan::start::launch(
            &self.client,
            count,
            dim,
            buffer(real.obs.clone()).into_buffer_arg(),
            self.obs.clone().into_buffer_arg(),
            self.ended.clone().into_buffer_arg(),
            self.reward.clone().into_buffer_arg(),
            self.plan.clone().into_buffer_arg(),
            random::counter(&Stream::new(self.seed, "rollout/start"), call),
            real_rows as u32,
            self.starts as u32,
            self.form.obs,
        );
    }

    /// Step `h`, whose draws `clock` addresses.
    fn step(&self, imagination: &Imagination<'_>, clock: u64, h: usize, ring: &DeviceRows, position: usize) {
        let lanes = self.starts as u32;
        let elites = self.elites as u32;
        let counter = |name: &str| random::counter(&Stream::new(self.seed, name), clock);
        let (count, dim) = self.blocks();
        plan::draw::launch(
            &self.client,
            count.clone(),
            dim,
            self.ended.clone().into_buffer_arg(),
            self.choice.clone().into_buffer_arg(),
            self.counts.clone().into_buffer_arg(),
            counter("rollout/elite"),
            lanes,
            elites,
        );
        plan::place::launch(
            &self.client,
            count,
            dim,
            self.choice.clone().into_buffer_arg(),
            self.counts.clone().into_buffer_arg(),
            self.order.clone().into_buffer_arg(),
            self.plan.clone().into_buffer_arg(),
            h as u32,
            self.horizon as u32,
            lanes,
            elites,
            self.form.tile.rows as u32,
        );
        let termination = imagination.termination;
        let now = || {
            NowLaunch::new(
                counter("rollout/action"),
                counter("rollout/noise"),
                h as u32,
                self.horizon as u32,
                position as u32,
                ring.capacity() as u32,
                elites,
                termination.bounds.len() as u32,
                termination.goal.len() as u32,
                u32::from(termination.finite),
            )
        };
        let (count, dim) = self.tiles(tiles(self.starts, self.elites, &self.form));
        // Sound: a tile's rows are slots that `place` has set, their lanes are below B and their ranks below the live
        // rows, at most the ring's; members are the ensemble's, and bounds are on entries of the observation.
        unsafe {
            step::step::launch_unchecked(
                &self.client,
                count,
                dim,
                self.form.tile.lanes(),
                self.actor.clone().into_buffer_arg(),
                self.model.clone().into_buffer_arg(),
                self.logvar_bounds.clone().into_buffer_arg(),
                self.facts.clone().into_buffer_arg(),
                self.order.clone().into_buffer_arg(),
                self.plan.clone().into_buffer_arg(),
                self.obs.clone().into_buffer_arg(),
                self.ended.clone().into_buffer_arg(),
                self.reward.clone().into_buffer_arg(),
                buffer(ring.obs.clone()).into_buffer_arg(),
                buffer(ring.action.clone()).into_buffer_arg(),
                buffer(ring.reward.clone()).into_buffer_arg(),
                buffer(ring.next_obs.clone()).into_buffer_arg(),
                buffer(ring.not_terminated.clone()).into_buffer_arg(),
                self.members.clone().into_buffer_arg(),
                now(),
                self.form.clone(),
            );
        }
        if let Some((said, out)) = &self.said {
            self.measure(imagination, now(), h, ring, said, out);
        }
    }

    /// What the measures say of the transitions that step `h` has written.
    fn measure(
        &self,
        imagination: &Imagination<'_>,
        now: NowLaunch,
        h: usize,
        ring: &DeviceRows,
        said: &CubeTensor,
        out: &CubeTensor,
    ) {
        let members = imagination.ensemble.members();
        let tiles = self.starts.div_ceil(self.form.tile.rows);
        let (count, dim) = self.tiles(tiles * members);
        // Sound: ranks are below the step's transitions, which are at most B and the ring's rows.
        unsafe {
            uncertainty::predict::launch_unchecked(
                &self.client,
                count,
                dim,
                self.form.tile.lanes(),
                self.model.clone().into_buffer_arg(),
                self.logvar_bounds.clone().into_buffer_arg(),
                self.facts.clone().into_buffer_arg(),
                self.plan.clone().into_buffer_arg(),
                buffer(ring.obs.clone()).into_buffer_arg(),
                buffer(ring.action.clone()).into_buffer_arg(),
                said.clone().into_buffer_arg(),
                now,
                tiles as u32,
                members as u32,
                self.form.clone(),
            );
        }
        let (count, dim) = self.blocks();
        for (column, &measure) in imagination.measures.iter().enumerate() {
            uncertainty::evaluate::launch(
                &self.client,
                count.clone(),
                dim,
                said.clone().into_buffer_arg(),
                self.plan.clone().into_buffer_arg(),
                out.clone().into_buffer_arg(),
                h as u32,
                members as u32,
                column as u32,
                imagination.measures.len() as u32,
                self.form.obs as u32 + 1,
                self.form.gaussian,
                measure,
            );
        }
    }

    /// The one reading of a call.
    fn outcome(self) -> Outcome {
        let (members, uncertainty) =
            (tensor(self.members.clone()), self.said.as_ref().map(|(_, out)| tensor(out.clone())));
        if self.starts == 0 {
            return Outcome { transitions: 0, ended: 0, reward_sum: 0.0, members, uncertainty };
        }
        let out = empty(&self.actor, &[1 + 2 * self.starts.div_ceil(BLOCK)]);
        let (count, dim) = self.blocks();
        plan::tally::launch(
            &self.client,
            count,
            dim,
            self.ended.into_buffer_arg(),
            self.reward.into_buffer_arg(),
            self.plan.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            self.horizon as u32,
            self.starts as u32,
        );
        let bytes = self.client.read_one(out.handle).unwrap_or_else(|error| failure::raise(&error));
        let words: Vec<u32> =
            bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect();
        let blocks = words[1..].chunks_exact(2);
        Outcome {
            transitions: u64::from(words[0]),
            reward_sum: blocks.clone().map(|block| f64::from(f32::from_bits(block[0]))).sum(),
            ended: blocks.map(|block| u64::from(block[1])).sum(),
            members,
            uncertainty,
        }
    }
}

/// Tiles that hold `rows` rows of `elites` elites, however they are shared among them.
fn tiles(rows: usize, elites: usize, form: &Form) -> usize {
    rows / form.tile.rows + elites
}
