//! Imagined rollouts: short branches from real states, under the current policy (MBPO).
//!
//! At every step each live row samples an action from the policy and draws one of the ensemble's elites. That member
//! predicts the change of the observation and the reward; a Gaussian member adds noise. The task's termination rule, or
//! a learned classifier, is applied to the observation and the predicted next one. Rows that terminate stop.
//!
//! Random draws are addressed, not consumed from a generator. Row `r` of imagined step `h` of call `c` reads substream
//! `r` at step `c·2¹⁶ + h` of the streams `rollout/action`, `rollout/elite` and `rollout/noise`. This does not depend
//! on the grouping of rows or on the device.
//!
//! Every form also has a step under *given* actions. A step of a rollout is that step under the actor's actions.
//!
//! * [`reference`](mod@reference): one step of one row, the specification.
//! * [`tensors`]: a step of all rows in tensor operations, for any model and any actor, on every device.
//! * `cpu`: a step of all rows in host memory, for an ensemble and a squashed Gaussian.
//! * `kernel`: a whole call on a GPU, for an ensemble and a squashed Gaussian (feature `wgpu`).
//! * [`host_context`]: the inputs of the reference and of `cpu`.
//! * `explosion`: the check of a step's rows for numbers that no run can learn from.

mod cpu;
mod explosion;
pub mod host_context;
#[cfg(feature = "wgpu")]
pub mod kernel;
pub mod reference;
pub mod tensors;

use burn::tensor::Device;
use foresee_actor_critic::{Actor, Policy};
use foresee_core::stream::below;
use foresee_core::{Batch, State, StateError, Stream};
use foresee_nn::cpu::{PANEL_ROWS, random};
use foresee_world_model::uncertainty::Measure;
use foresee_world_model::{Ensemble, WorldModel};

use crate::ends::EndRule;
use crate::replay::device::runs_kernels;
use crate::replay::{ImaginedBuffer, RealBuffer, ReservedRows};
pub use explosion::{Exploded, Explosion, LARGEST_GROWTH};
use explosion::{StepCheck, StepOutcome};
pub use host_context::HostContext;

/// The model, the actor and the termination rule of a run's rollouts, for any model and any actor.
#[derive(Clone, Copy)]
pub struct RolloutContext<'a> {
    /// The world model.
    pub model: &'a dyn WorldModel,
    /// The actor, whose actions are sampled.
    pub actor: &'a dyn Actor,
    /// The rule by which imagined episodes end.
    pub termination: EndRule<'a>,
    /// The run's seed.
    pub seed: u64,
    /// The device of model and actor.
    pub device: &'a Device,
}

/// The form in which a run's rollouts are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In tensor operations: any model, any actor, any device.
    Tensors,
    /// In host memory, panel by panel: an ensemble and a squashed Gaussian.
    Panels,
    /// In kernels on a GPU, a whole call at a time: an ensemble and a squashed Gaussian.
    Kernels,
}

impl Form {
    /// Returns the fastest form that supports this model, actor and termination rule on this device.
    #[must_use]
    pub fn fastest(model: &dyn WorldModel, actor: &dyn Actor, rule: EndRule<'_>, device: &Device) -> Self {
        match (model.ensemble(), actor.policy()) {
            (Some(ensemble), Some(policy)) if !runs_kernels(device) || kernels_take(ensemble, policy, rule) => {
                Self::fused(device)
            }
            _ => Self::Tensors,
        }
    }

    /// Returns the form for an ensemble and a squashed Gaussian on this device.
    #[must_use]
    pub fn fused(device: &Device) -> Self {
        if runs_kernels(device) { Self::Kernels } else { Self::Panels }
    }
}

impl<'a> RolloutContext<'a> {
    /// Returns the inputs of the fused forms.
    ///
    /// # Panics
    /// If the model is not an ensemble, or the actor not a squashed Gaussian.
    #[track_caller]
    fn fused(&self) -> FusedContext<'a> {
        let Self { model, actor, termination, seed, device } = *self;
        FusedContext {
            ensemble: model.ensemble().expect("fused rollouts are an ensemble's"),
            policy: actor.policy().expect("fused rollouts are a squashed Gaussian's"),
            termination,
            seed,
            device,
            measures: &[],
        }
    }
}

/// The inputs of a fused rollout: an ensemble and a squashed Gaussian.
pub struct FusedContext<'a> {
    /// The world model.
    pub ensemble: &'a Ensemble,
    /// The policy whose actions are sampled.
    pub policy: &'a Policy,
    /// The rule by which imagined episodes end.
    pub termination: EndRule<'a>,
    /// The run's seed.
    pub seed: u64,
    /// The device of the networks.
    pub device: &'a Device,
    /// Measures of the ensemble's uncertainty to compute at every step, from the predictions of all members.
    pub measures: &'a [Measure],
}

/// The rollouts of one call, between two imagined steps.
#[derive(Clone, Debug)]
pub struct Rollout {
    call: u64,
    horizon: usize,
    done: usize,
    starts: usize,
    /// Ids of the rows that are still alive, `[B]`: the index of each row's start, which numbers its random substreams.
    row_ids: Vec<u32>,
    /// States of the live rows, `[B, O]`.
    obs: Vec<f32>,
    ended: u64,
    transitions: u64,
    reward_sum: f64,
    /// Largest size of an entry of a state that does not end its rollout. Not part of the saved state.
    largest: f32,
    /// The first transition that cannot be used. Not part of the saved state, because it ends the run.
    explosion: Option<Explosion>,
    /// Buffers of the steps, and the members and measures of the last step. Not part of the saved state.
    step_buffers: cpu::StepBuffers,
}

/// Whether the kernels support these networks and this rule.
#[cfg(feature = "wgpu")]
fn kernels_take(ensemble: &Ensemble, policy: &Policy, rule: EndRule<'_>) -> bool {
    kernel::takes(ensemble, policy, rule)
}

#[cfg(not(feature = "wgpu"))]
fn kernels_take(_: &Ensemble, _: &Policy, _: EndRule<'_>) -> bool {
    false
}

impl Rollout {
    /// Returns the rollouts of call number `call`, from `starts` real states drawn uniformly with replacement.
    #[must_use]
    pub fn new(real: &Batch, starts: usize, horizon: usize, seed: u64, call: u64) -> Self {
        let mut rollout = Self::undrawn(starts, horizon, call);
        rollout.draw_starts(real, seed);
        rollout
    }

    /// Returns the rollouts of call number `call`, whose starts [`Rollout::advance`] will draw in host memory or on the
    /// device.
    #[must_use]
    pub fn undrawn(starts: usize, horizon: usize, call: u64) -> Self {
        Self {
            call,
            horizon,
            done: 0,
            starts,
            row_ids: Vec::new(),
            obs: Vec::new(),
            ended: 0,
            transitions: 0,
            reward_sum: 0.0,
            largest: f32::MAX,
            explosion: None,
            step_buffers: cpu::StepBuffers::default(),
        }
    }

    fn draw_starts(&mut self, real: &Batch, seed: u64) {
        let obs_dim = real.obs.len() / real.rows;
        let stream = Stream::new(seed, "rollout/start");
        let (starts, call) = (self.starts, self.call);
        self.row_ids = (0..starts as u32).collect();
        self.obs = Vec::with_capacity(starts * obs_dim);
        for panel in (0..starts).step_by(PANEL_ROWS) {
            let words = random::first_words(&stream, call, &std::array::from_fn(|j| (panel + j) as u32));
            for &word in &words[..PANEL_ROWS.min(starts - panel)] {
                self.obs.extend_from_slice(&real.obs[below(word, real.rows) * obs_dim..][..obs_dim]);
            }
        }
    }

    /// Takes one imagined step of every live row, or the whole call if kernels compute it. Returns whether the rollouts
    /// are over.
    ///
    /// A call that another form has begun is finished in host memory or in tensors, which take single steps.
    pub fn advance(
        &mut self,
        form: Form,
        context: &RolloutContext<'_>,
        real: &RealBuffer,
        buffer: &mut ImaginedBuffer,
    ) -> bool {
        if form != Form::Kernels && self.done == 0 && self.row_ids.is_empty() {
            self.draw_starts(real.rows(), context.seed);
        }
        self.largest = LARGEST_GROWTH * real.largest_entry().max(1.0);
        match form {
            Form::Tensors => tensors::step(self, context, buffer),
            Form::Panels | Form::Kernels => self.advance_fused(form, &context.fused(), real, buffer),
        }
    }

    /// Takes a step as [`Rollout::advance`] does, in a fused form.
    pub fn advance_fused(
        &mut self,
        form: Form,
        context: &FusedContext<'_>,
        real: &RealBuffer,
        buffer: &mut ImaginedBuffer,
    ) -> bool {
        if form == Form::Kernels && self.done == 0 {
            self.advance_in_kernels(context, real, buffer)
        } else {
            self.advance_on_host(context, buffer)
        }
    }

    /// Takes one imagined step of every live row in host memory, and stores it in `buffer`. Returns whether the
    /// rollouts are over.
    pub fn advance_on_host(&mut self, context: &FusedContext<'_>, buffer: &mut ImaginedBuffer) -> bool {
        self.step(&HostContext::new(context), buffer)
    }

    /// Takes a step as [`Rollout::advance_on_host`] does, with a [`HostContext`] that the caller keeps. Rows are
    /// stored in the order of their ids. After the first step of a call, no memory is allocated.
    pub fn step(&mut self, host: &HostContext<'_>, buffer: &mut ImaginedBuffer) -> bool {
        self.advance_on_panels(host, None, buffer)
    }

    /// Takes one imagined step of every live row under given actions, `[B, A]` in the order of the row ids. Returns
    /// whether the rollouts are over.
    ///
    /// # Panics
    /// If the number of actions differs from the number of live rows.
    #[track_caller]
    pub fn step_under(&mut self, host: &HostContext<'_>, actions: &[f32], buffer: &mut ImaginedBuffer) -> bool {
        assert_eq!(actions.len(), self.row_ids.len() * host.action_dim(), "one action a live row");
        self.advance_on_panels(host, Some(actions), buffer)
    }

    fn advance_on_panels(
        &mut self,
        host: &HostContext<'_>,
        actions: Option<&[f32]>,
        buffer: &mut ImaginedBuffer,
    ) -> bool {
        let check = self.step_check(host.obs_dim());
        let (draw_step, rows) = ((self.call << 16) | self.done as u64, self.row_ids.len());
        let Self { row_ids, obs, step_buffers, reward_sum, .. } = self;
        let outcome = buffer.fill(rows, |ReservedRows { batch, start }| {
            let from = cpu::StepInputs { draw_step, row_ids: &*row_ids, obs: &*obs, actions };
            cpu::step(host, from, ReservedRows { batch: &mut *batch, start }, step_buffers);
            check.compact(batch, start, row_ids, obs, *reward_sum)
        });
        self.settle(rows, outcome, &check)
    }

    /// The settings of the next step's check, for states of `obs_dim` entries.
    fn step_check(&self, obs_dim: usize) -> StepCheck {
        let step = self.done + 1;
        StepCheck { obs_dim, step, last: step == self.horizon, largest: self.largest }
    }

    /// Counts a step of `rows` rows with its outcome. Returns whether the rollouts are over.
    fn settle(&mut self, rows: usize, outcome: StepOutcome, check: &StepCheck) -> bool {
        let StepOutcome { alive, reward_sum, explosion } = outcome;
        self.done += 1;
        self.reward_sum = reward_sum;
        self.explosion = self.explosion.or(explosion);
        let live = if check.last { 0 } else { alive };
        self.row_ids.truncate(live);
        self.obs.truncate(live * check.obs_dim);
        self.ended += (rows - alive) as u64;
        self.transitions += rows as u64;
        live == 0
    }

    /// Computes the whole call in kernels. Real and imagined rows are on the GPU.
    #[cfg(feature = "wgpu")]
    fn advance_in_kernels(
        &mut self,
        context: &FusedContext<'_>,
        real: &RealBuffer,
        buffer: &mut ImaginedBuffer,
    ) -> bool {
        let mirror = real.mirror().expect("kernels have real rows on the device");
        let (real_rows, starts, horizon) = (real.rows().rows, self.starts, self.horizon);
        let call = kernel::Call { call: self.call, real: mirror, real_rows, starts, horizon };
        let outcome = buffer.fill_on_device(|ring, position| {
            let outcome = kernel::rollout(context, &call, ring, position);
            (outcome.transitions as usize, outcome)
        });
        self.row_ids.clear();
        self.obs.clear();
        (self.done, self.ended, self.transitions) = (horizon, outcome.ended, outcome.transitions);
        self.reward_sum = outcome.reward_sum;
        if !outcome.reward_sum.is_finite() {
            self.explosion =
                Some(Explosion { step: horizon, what: Exploded::Rewards, value: outcome.reward_sum as f32 });
        }
        true
    }

    #[cfg(not(feature = "wgpu"))]
    fn advance_in_kernels(&mut self, context: &FusedContext<'_>, _: &RealBuffer, buffer: &mut ImaginedBuffer) -> bool {
        // No device runs kernels in this build, so this form is never chosen.
        self.advance_on_host(context, buffer)
    }

    /// The ensemble member that predicted each row of the last step, `[B]`.
    #[must_use]
    pub fn members(&self) -> &[u32] {
        &self.step_buffers.members
    }

    /// The measures of uncertainty of each row of the last step, `[B, measures]`.
    #[must_use]
    pub fn uncertainty(&self) -> &[f32] {
        &self.step_buffers.uncertainty
    }

    /// The first transition with a number that is not finite, or with a state that is [`LARGEST_GROWTH`] times larger
    /// than every real one and does not end its rollout. In kernels only the sum of the rewards is checked.
    #[must_use]
    pub fn explosion(&self) -> Option<Explosion> {
        self.explosion
    }

    /// Number of rows that the next step stores.
    #[must_use]
    pub fn next_rows(&self) -> usize {
        if self.done == 0 { self.starts } else { self.row_ids.len() }
    }

    /// Largest number of imagined steps of a rollout.
    #[must_use]
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Number of transitions imagined so far.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Mean reward of the transitions imagined so far.
    #[must_use]
    pub fn mean_reward(&self) -> f64 {
        self.reward_sum / self.transitions.max(1) as f64
    }

    /// Share of the rollouts that terminated.
    #[must_use]
    pub fn terminated_share(&self) -> f64 {
        self.ended as f64 / self.starts.max(1) as f64
    }

    /// Returns the rollouts as arrays.
    #[must_use]
    pub fn save(&self) -> State {
        let mut state = State::new();
        state.put("call", self.call);
        state.put("horizon", self.horizon as u64);
        state.put("step", self.done as u64);
        state.put("starts", self.starts as u64);
        state.put("lanes", self.row_ids.iter().map(|&row_id| u64::from(row_id)).collect::<Vec<_>>());
        state.put("obs", self.obs.clone());
        state.put("ended", self.ended);
        state.put("transitions", self.transitions);
        state.put("reward_sum", self.reward_sum);
        state
    }

    /// Restores rollouts from arrays.
    ///
    /// # Errors
    /// If an array is missing or unknown.
    pub fn restore(mut state: State) -> Result<Self, StateError> {
        let rollout = Self {
            call: state.u64("call")?,
            horizon: state.u64("horizon")? as usize,
            done: state.u64("step")? as usize,
            starts: state.u64("starts")? as usize,
            row_ids: state.u64s("lanes")?.1.into_iter().map(|row_id| row_id as u32).collect(),
            obs: state.f32s("obs")?.1,
            ended: state.u64("ended")?,
            transitions: state.u64("transitions")?,
            reward_sum: state.f64("reward_sum")?,
            largest: f32::MAX,
            explosion: None,
            step_buffers: cpu::StepBuffers::default(),
        };
        state.finish()?;
        Ok(rollout)
    }
}
