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

mod buffers;
mod plan;
mod step;
mod uncertainty;

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use foresee_actor_critic::Policy;
use foresee_nn::Parameters as _;
use foresee_nn::cube::{NetShape, Tile, buffer, is_cube};
use foresee_world_model::Ensemble;
use foresee_world_model::config::Predicted;

use self::buffers::{Actions, Buffers};
use self::plan::BLOCK;
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
