//! The buffers of a call on the device, and the launches that fill them.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::prelude::*;
use foresee_actor_critic::Policy;
use foresee_core::termination::Bound;
use foresee_core::{Stream, Termination};
use foresee_nn::cube::{NetShape, Tile, buffer, empty, random, tensor};
use foresee_nn::device::failure;
use foresee_nn::{Mlp, Parameters as _, tensors};
use foresee_world_model::config::Predicted;

use super::plan::{self, BLOCK};
use super::step::{self, StepArgsLaunch, StepSpec};
use super::{RolloutOutcome, uncertainty};
use crate::replay::DeviceRows;
use crate::rollout::FusedContext;

/// The source of a step's actions.
#[allow(clippy::large_enum_variant, reason = "one a call")]
pub(super) enum Actions<'a> {
    /// Sampled from the policy.
    Sampled(&'a Policy),
    /// Given, `[B, A]`.
    Given(CubeTensor),
}

/// The buffers of a call.
pub(super) struct CallBuffers {
    client: Client,
    spec: StepSpec,
    seed: u64,
    starts: usize,
    horizon: usize,
    elites: usize,
    /// The actor's parameters `[P]`, or given actions `[B, A]`.
    actor: CubeTensor,
    /// The model's parameters, `[E, P]`.
    model: CubeTensor,
    /// Bounds of the log-variance, low then high, `[2 (O + 1)]`; not read if the head is deterministic.
    logvar_bounds: CubeTensor,
    /// Constants of the step; their order is described in `step.rs`.
    constants: CubeTensor,
    /// State of each row, `[B, O]`.
    pub(super) obs: CubeTensor,
    /// Whether each row has terminated, `[B]`.
    pub(super) ended: CubeTensor,
    /// Sum of rewards of each row, `[B]`.
    pub(super) reward: CubeTensor,
    /// Index of the elite that each row drew, `[B]`.
    choice: CubeTensor,
    /// Number of rows of each elite in each block of rows, `[blocks, elites]`.
    counts: CubeTensor,
    /// Id and rank of the row in each slot, `[slots, 2]`.
    order: CubeTensor,
    /// Counts of transitions and rows; their order is described in `plan.rs`.
    pub(super) plan: CubeTensor,
    /// The member that predicted each transition, `[B·H]`.
    members: CubeTensor,
    /// Predictions of all members for a step, `[B, E, outputs]`, and the measures of all transitions, `[B·H,
    /// measures]`.
    predictions: Option<(CubeTensor, CubeTensor)>,
}

impl CallBuffers {
    #[track_caller]
    pub(super) fn new(context: &FusedContext<'_>, actions: Actions<'_>, starts: usize, horizon: usize) -> Self {
        let FusedContext { ensemble, seed, measures, .. } = *context;
        let termination = known(context);
        assert!(ensemble.predicted() == Predicted::Change, "kernels add a prediction to the state it is of");
        let shape = |net: &Mlp| NetShape::from(net.layout().as_ref());
        let model_shape = shape(&ensemble.net);
        let (obs_dim, inputs) = (ensemble.obs_dim(), ensemble.net.inputs());
        // With given actions there is no actor, and the model's shape replaces the actor's.
        let (actor, actor_shape, given) = match actions {
            Actions::Sampled(policy) => {
                assert!(
                    policy.has_kernel_form(),
                    "kernels sample policies with a bounded log σ of unscaled observations"
                );
                let dims = [policy.net().inputs(), policy.action_dim()];
                assert_eq!(dims, [obs_dim, inputs - obs_dim], "`[O, A]` of policy and model");
                (buffer(policy.net().slot().get().clone()), shape(policy.net()), false)
            }
            Actions::Given(actions) => (actions, model_shape.clone(), true),
        };
        let model = buffer(ensemble.net.slot().get().clone());
        let client = actor.client.clone();
        let tile = Tile::tallest(&client.properties().hardware, &[&actor_shape, &model_shape], 0);
        let tile = tile.expect("a row of the networks fits the shared memory").spread(1, starts);
        let spec = StepSpec {
            obs: obs_dim,
            action: inputs - obs_dim,
            gaussian: ensemble.bounds.is_some(),
            given,
            actor: actor_shape,
            model: model_shape,
            tile,
        };

        // Constants of the step.
        let [mean, std] = ensemble.normalizer.moments();
        assert_eq!([mean.len(), std.len()], [inputs; 2], "numbers of the normaliser");
        assert!(ensemble.elites.iter().all(|&member| member < ensemble.members()), "elites are members");
        let mut constants = [mean, std].concat();
        constants.extend(ensemble.elites.iter().map(|&member| member as f32));
        for Bound { quantity, low, high, closed } in termination.all_bounds() {
            let index = quantity.next_entry().expect("kernels have bounds on entries of the next observation only");
            assert!(index < obs_dim, "a bound on entry {index} of {obs_dim}");
            constants.extend([*low, *high, f32::from(u8::from(*closed)), index as f32]);
        }
        let count = constants.len();
        let constants = buffer(tensors::from_vec(constants, [count], context.device));
        let logvar_bounds =
            ensemble.bounds.as_ref().map_or_else(|| constants.clone(), |b| buffer(b.slot().get().clone()));

        let elites = ensemble.elites.len();
        let floats = |shape: &[usize]| empty(&actor, shape);
        let words = |count: usize| CubeTensor { dtype: DType::U32, ..empty(&actor, &[count]) };
        let outputs = spec.model.outputs();
        Self {
            obs: floats(&[starts, obs_dim]),
            ended: words(starts),
            reward: floats(&[starts]),
            choice: words(starts),
            counts: words(starts.div_ceil(BLOCK) * elites),
            order: words(2 * tiles(starts, elites, &spec) * spec.tile.rows),
            plan: words(horizon + 1 + elites),
            members: floats(&[starts * horizon]),
            predictions: (!measures.is_empty())
                .then(|| (floats(&[starts, ensemble.members(), outputs]), floats(&[starts * horizon, measures.len()]))),
            client,
            spec,
            seed,
            starts,
            horizon,
            elites,
            actor,
            model,
            logvar_bounds,
            constants,
        }
    }

    /// Returns a launch with one thread per row.
    fn blocks(&self) -> (CubeCount, CubeDim) {
        let dim = CubeDim::new_1d(BLOCK as u32);
        (cubecl::calculate_cube_count_elemwise(&self.client, self.starts, dim), dim)
    }

    /// Returns a launch of `count` cubes with a tile's threads each.
    fn tiles(&self, count: usize) -> (CubeCount, CubeDim) {
        let threads = self.spec.tile.threads;
        let dim = CubeDim::new_1d(threads as u32);
        (cubecl::calculate_cube_count_elemwise(&self.client, count * threads, dim), dim)
    }

    pub(super) fn start(&self, call: u64, real: &DeviceRows, real_rows: usize) {
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
            self.spec.obs,
        );
    }

    /// Launches step `h`, whose draws `draw_step` addresses.
    pub(super) fn step(
        &self,
        context: &FusedContext<'_>,
        draw_step: u64,
        h: usize,
        ring: &DeviceRows,
        position: usize,
    ) {
        let row_count = self.starts as u32;
        let elites = self.elites as u32;
        let counter = |name: &str| random::counter(&Stream::new(self.seed, name), draw_step);
        let (count, dim) = self.blocks();
        plan::draw::launch(
            &self.client,
            count.clone(),
            dim,
            self.ended.clone().into_buffer_arg(),
            self.choice.clone().into_buffer_arg(),
            self.counts.clone().into_buffer_arg(),
            counter("rollout/elite"),
            row_count,
            elites,
        );
        plan::scatter::launch(
            &self.client,
            count,
            dim,
            self.choice.clone().into_buffer_arg(),
            self.counts.clone().into_buffer_arg(),
            self.order.clone().into_buffer_arg(),
            self.plan.clone().into_buffer_arg(),
            h as u32,
            self.horizon as u32,
            row_count,
            elites,
            self.spec.tile.rows as u32,
        );
        let termination = known(context);
        let args = || {
            StepArgsLaunch::new(
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
        let (count, dim) = self.tiles(tiles(self.starts, self.elites, &self.spec));
        // SAFETY: all buffers have the sizes of `StepSpec`, which `CallBuffers::new` allocates, and which `check_ring`
        // asserts of the ring. A tile reads only slots that `scatter` has set, in this queue before it: their row ids
        // are below B, and their ranks below the number of live rows, at most B. Rows of the ring are taken modulo its
        // capacity. `CallBuffers::new` asserts that elites are members of the ensemble, and that bounds are on entries
        // of the observation. No two threads write to one place, because every live row has one slot and one rank.
        unsafe {
            step::step::launch_unchecked(
                &self.client,
                count,
                dim,
                self.spec.tile.lanes(),
                self.actor.clone().into_buffer_arg(),
                self.model.clone().into_buffer_arg(),
                self.logvar_bounds.clone().into_buffer_arg(),
                self.constants.clone().into_buffer_arg(),
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
                args(),
                self.spec.clone(),
            );
        }
        if let Some((predictions, out)) = &self.predictions {
            self.measure(context, args(), h, ring, predictions, out);
        }
    }

    /// Computes the measures of uncertainty of the transitions that step `h` has written.
    fn measure(
        &self,
        context: &FusedContext<'_>,
        args: StepArgsLaunch,
        h: usize,
        ring: &DeviceRows,
        predictions: &CubeTensor,
        out: &CubeTensor,
    ) {
        let members = context.ensemble.members();
        let tiles = self.starts.div_ceil(self.spec.tile.rows);
        let (count, dim) = self.tiles(tiles * members);
        // SAFETY: all buffers have the sizes of `StepSpec`, as for `step`. Ranks are below the number of the step's
        // transitions, at most B, and members below E, as `predictions` `[B, E, outputs]` has them. Rows of the ring
        // are taken modulo its capacity.
        unsafe {
            uncertainty::predict::launch_unchecked(
                &self.client,
                count,
                dim,
                self.spec.tile.lanes(),
                self.model.clone().into_buffer_arg(),
                self.logvar_bounds.clone().into_buffer_arg(),
                self.constants.clone().into_buffer_arg(),
                self.plan.clone().into_buffer_arg(),
                buffer(ring.obs.clone()).into_buffer_arg(),
                buffer(ring.action.clone()).into_buffer_arg(),
                predictions.clone().into_buffer_arg(),
                args,
                tiles as u32,
                members as u32,
                self.spec.clone(),
            );
        }
        let (count, dim) = self.blocks();
        for (column, &measure) in context.measures.iter().enumerate() {
            uncertainty::evaluate::launch(
                &self.client,
                count.clone(),
                dim,
                predictions.clone().into_buffer_arg(),
                self.plan.clone().into_buffer_arg(),
                out.clone().into_buffer_arg(),
                h as u32,
                members as u32,
                column as u32,
                context.measures.len() as u32,
                self.spec.obs as u32 + 1,
                self.spec.gaussian,
                measure,
            );
        }
    }

    /// Reads the result of the call, in its only read-back.
    pub(super) fn outcome(self) -> RolloutOutcome {
        let (members, uncertainty) =
            (tensor(self.members.clone()), self.predictions.as_ref().map(|(_, out)| tensor(out.clone())));
        if self.starts == 0 {
            return RolloutOutcome { transitions: 0, ended: 0, reward_sum: 0.0, members, uncertainty };
        }
        let out = empty(&self.actor, &[1 + 2 * self.starts.div_ceil(BLOCK)]);
        let (count, dim) = self.blocks();
        plan::reduce::launch(
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
        RolloutOutcome {
            transitions: u64::from(words[0]),
            reward_sum: blocks.clone().map(|block| f64::from(f32::from_bits(block[0]))).sum(),
            ended: blocks.map(|block| u64::from(block[1])).sum(),
            members,
            uncertainty,
        }
    }
}

/// The rule that ends episodes.
///
/// # Panics
/// If it is learned.
#[track_caller]
fn known<'a>(context: &FusedContext<'a>) -> &'a Termination {
    context.termination.known().expect("kernels end episodes by a known rule")
}

/// Returns an upper bound on the number of tiles of `rows` rows that are distributed over `elites` elites.
fn tiles(rows: usize, elites: usize, spec: &StepSpec) -> usize {
    rows / spec.tile.rows + elites
}
