//! Imagined rollouts in kernels, on any GPU that wgpu supports.
//!
//! A call never leaves the device: starts are gathered there from the real rows, transitions are written in place to
//! the imagined ring, and the host reads a few counts at the end. An imagined step is three launches. `draw` and
//! `scatter` sort the live rows by the ensemble member that each of them drew, in an order that does not depend on the
//! timing of threads. `step` takes tiles of rows of one member through actor, sampling, member, noise and termination
//! rule.
//!
//! The whole horizon is not one launch, because every row draws a new member at every step. With seven members, an
//! unsorted tile of 16 rows, as many as fit 48 kB of shared memory, would read the weights of nearly all seven (0.5 MB
//! each for 4×200) and use each for two or three rows. A sorted tile reads one member's weights for all 16 rows. At
//! 100,000 rows and 5 steps the sort reduces the reads from the second-level cache from 120 GB to 25 GB, actor
//! included, beside 0.2 TFLOP of arithmetic. On a GPU with 5 TB/s and 60 TFLOP/s the cache then takes 5 ms, close to
//! the arithmetic's 3 ms at the peak; without the sort the cache alone would take 24 ms. The sort costs two launches of
//! some microseconds per step.
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
use foresee_core::Termination;
use foresee_nn::Parameters as _;
use foresee_nn::cube::{NetShape, Tile, buffer, is_cube};
use foresee_world_model::Ensemble;
use foresee_world_model::config::Predicted;

use self::buffers::{Actions, CallBuffers};
use self::plan::BLOCK;
use super::FusedContext;
use crate::ends::EndRule;
use crate::replay::DeviceRows;

/// The inputs of one call of rollouts.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Number of the call, which addresses its draws.
    pub call: u64,
    /// The real rows to start from.
    pub real: &'a DeviceRows,
    /// Number of real rows that are stored.
    pub real_rows: usize,
    /// Number of rollouts, `B`.
    pub starts: usize,
    /// Largest number of imagined steps, `H`.
    pub horizon: usize,
}

/// The result of a call.
#[derive(Clone, Debug)]
pub struct RolloutOutcome {
    /// Number of transitions written. They are ordered by step, and within a step by row id.
    pub transitions: u64,
    /// Number of rollouts that terminated.
    pub ended: u64,
    /// Sum of the rewards.
    pub reward_sum: f64,
    /// The ensemble member that predicted each transition, `[B·H]`; not initialised after the last transition.
    pub members: Tensor<1>,
    /// The measures of uncertainty of each transition, `[B·H, measures]`.
    pub uncertainty: Option<Tensor<2>>,
}

/// Imagines on the networks' GPU, and writes the transitions to `ring` from row `position` on, over the oldest rows if
/// the ring is full.
///
/// # Panics
/// If episodes do not end by a known rule with bounds on entries of the next observation only; if there are no real rows; if the ring has other dimensions than the model, or is smaller than one step of all rows;
/// if a call has more than 2³² − 1 transitions, more than 2¹⁶ steps, or more than 256 elites; or if not even one row of
/// the networks fits the device's shared memory (8 kB hold a row of 1000 features).
#[track_caller]
#[must_use]
pub fn rollout(context: &FusedContext<'_>, call: &Call<'_>, ring: &DeviceRows, position: usize) -> RolloutOutcome {
    let &Call { call: number, real, real_rows, starts, horizon } = call;
    let capacity = ring.capacity();
    let elites = context.ensemble.elites.len();
    assert!(is_cube(context.device), "rollouts in kernels need a GPU");
    check_ring(context.ensemble, ring);
    assert!((1..=real.capacity()).contains(&real_rows), "{real_rows} real rows to start from");
    assert!(starts <= capacity && position < capacity, "{starts} rows at {position} in a ring of {capacity}");
    assert!(horizon <= 1 << 16 && position + starts * horizon < u32::MAX as usize, "{starts} rollouts of {horizon}");
    assert!((1..=BLOCK).contains(&elites), "{elites} elites");
    let buffers = CallBuffers::new(context, Actions::Sampled(context.policy), starts, horizon);
    if starts > 0 {
        buffers.start(number, real, real_rows);
        for h in 0..horizon {
            buffers.step(context, (number << 16) | h as u64, h, ring, position);
        }
    }
    buffers.outcome()
}

/// Takes one imagined step from states `[B, O]` under given actions `[B, A]`, on the GPU that holds all of them, and
/// writes it to `ring` from row `position` on. Row `b` reads substream `b` of the draws that `draw_step` addresses. The
/// policy of `context` is not used.
///
/// # Panics
/// As [`rollout`], or if the number of actions differs from the number of states.
#[track_caller]
#[must_use]
pub fn step_under(
    context: &FusedContext<'_>,
    draw_step: u64,
    states: Tensor<2>,
    actions: Tensor<2>,
    ring: &DeviceRows,
    position: usize,
) -> RolloutOutcome {
    let [rows, obs_dim] = states.dims();
    let (capacity, elites) = (ring.capacity(), context.ensemble.elites.len());
    assert!(is_cube(context.device), "rollouts in kernels need a GPU");
    check_ring(context.ensemble, ring);
    assert_eq!(
        [obs_dim, rows, actions.dims()[1]],
        [ring.dims()[0], actions.dims()[0], ring.dims()[1]],
        "[B, O], [B, A]"
    );
    assert!(rows <= capacity && position < capacity, "{rows} rows at {position} in a ring of {capacity}");
    assert!((1..=BLOCK).contains(&elites), "{elites} elites");
    let mut buffers = CallBuffers::new(context, Actions::Given(buffer(actions)), rows, 1);
    if rows > 0 {
        let zeros = |count: usize| buffer(Tensor::<1>::zeros([count], context.device));
        let zero_words = |count: usize| CubeTensor { dtype: DType::U32, ..zeros(count) };
        // A step overwrites the states, so it gets a copy of them.
        buffers.obs = buffer(states.add_scalar(0.0));
        (buffers.ended, buffers.reward, buffers.plan) = (zero_words(rows), zeros(rows), zero_words(2 + elites));
        buffers.step(context, draw_step, 0, ring, position);
    }
    buffers.outcome()
}

/// Checks the sizes of the ring, to which the kernels write without bound checks.
///
/// # Panics
/// If a field of the ring has another number of rows than its rewards, or another width than the model's.
#[track_caller]
fn check_ring(ensemble: &Ensemble, ring: &DeviceRows) {
    let (capacity, obs_dim) = (ring.capacity(), ensemble.obs_dim());
    assert_eq!(
        [ring.obs.dims(), ring.next_obs.dims(), ring.action.dims()],
        [[capacity, obs_dim], [capacity, obs_dim], [capacity, ensemble.net.inputs() - obs_dim]],
        "sizes of observations, next observations and actions in the ring"
    );
    assert_eq!(ring.not_terminated.dims(), [capacity], "number of termination flags in the ring");
}

/// Returns true if the kernels support these networks and this rule: the policy has a [kernel
/// form](Policy::has_kernel_form), the model predicts changes, both networks have a fused form, there are at most 256
/// elites, a row of both networks fits the device's shared memory, and episodes end by a known rule with bounds on
/// entries of the next observation only. Other rollouts take the form in tensors.
#[must_use]
pub fn takes(ensemble: &Ensemble, policy: &Policy, rule: EndRule<'_>) -> bool {
    let shapes = [policy.net(), &ensemble.net].map(|net| NetShape::from(net.layout().as_ref()));
    let hardware = &buffer(policy.net().slot().get().clone()).client.properties().hardware.clone();
    let taken = rule.known().is_some_and(Termination::is_on_next_entries)
        && policy.has_kernel_form()
        && ensemble.predicted() == Predicted::Change
        && [policy.net(), &ensemble.net].iter().all(|net| net.is_fused());
    taken
        && (1..=BLOCK).contains(&ensemble.elites.len())
        && Tile::tallest(hardware, &[&shapes[0], &shapes[1]], 0).is_some()
}
