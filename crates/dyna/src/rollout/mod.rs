//! Imagined rollouts: short branches from real states, under the current policy (MBPO).
//!
//! At every step each live row samples an action from the policy and draws one of the ensemble's elites. That member
//! predicts the change of the observation and the reward; a Gaussian member adds noise. The task's termination rule is
//! applied to the predicted observation. Rows that terminate stop.
//!
//! Random draws are addressed, not consumed from a generator. Row `r` of imagined step `h` of call `c` reads lane `r`
//! at step `c·2¹⁶ + h` of the streams `rollout/action`, `rollout/elite` and `rollout/noise`. This does not depend on
//! the grouping of rows or on the device.
//!
//! Every form also has a step under *given* actions. A step of a rollout is that step under the actor's actions.
//!
//! * [`reference`](mod@reference): one step of one row, the specification.
//! * [`tensors`]: a step of all rows in tensor operations, for any model and any actor, on every device.
//! * `cpu`: a step of all rows in host memory, for an ensemble and a squashed Gaussian.
//! * `kernel`: a whole call on a GPU, for an ensemble and a squashed Gaussian (feature `wgpu`).
//! * [`world`]: the inputs of the reference and of `cpu`.

mod cpu;
#[cfg(feature = "wgpu")]
pub mod kernel;
pub mod reference;
pub mod tensors;
pub mod world;

use burn::tensor::Device;
use foresee_actor_critic::{Actor, Policy};
use foresee_core::stream::below;
use foresee_core::{Batch, State, StateError, Stream, Termination};
use foresee_nn::cpu::{PANEL_ROWS, random};
use foresee_world_model::uncertainty::Measure;
use foresee_world_model::{Ensemble, WorldModel};

use crate::replay::device::runs_kernels;
use crate::replay::{Claim, ImaginedBuffer, RealBuffer};
pub use world::World;

/// The model, the actor and the termination rule of a run's rollouts, for any model and any actor.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The world model.
    pub model: &'a dyn WorldModel,
    /// The actor, whose actions are sampled.
    pub actor: &'a dyn Actor,
    /// The task's termination rule.
    pub termination: &'a Termination,
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
    /// Returns the fastest form that supports this model and actor on this device.
    #[must_use]
    pub fn fastest(model: &dyn WorldModel, actor: &dyn Actor, device: &Device) -> Self {
        match (model.ensemble(), actor.policy()) {
            (Some(ensemble), Some(policy)) if !runs_kernels(device) || kernels_take(ensemble, policy) => {
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

impl<'a> Setting<'a> {
    /// Returns the inputs of the fused forms.
    ///
    /// # Panics
    /// If the model is not an ensemble, or the actor not a squashed Gaussian.
    #[track_caller]
    fn fused(&self) -> Imagination<'a> {
        let Self { model, actor, termination, seed, device } = *self;
        Imagination {
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
pub struct Imagination<'a> {
    /// The world model.
    pub ensemble: &'a Ensemble,
    /// The policy whose actions are sampled.
    pub policy: &'a Policy,
    /// The task's termination rule.
    pub termination: &'a Termination,
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
    /// Lanes of the rows that are still alive, `[B]`.
    lanes: Vec<u32>,
    /// States of the live rows, `[B, O]`.
    obs: Vec<f32>,
    ended: u64,
    transitions: u64,
    reward_sum: f64,
    /// Buffers of the steps, and the members and measures of the last step. Not part of the saved state.
    workspace: cpu::Workspace,
}

/// Whether the kernels support these networks.
#[cfg(feature = "wgpu")]
fn kernels_take(ensemble: &Ensemble, policy: &Policy) -> bool {
    kernel::takes(ensemble, policy)
}

#[cfg(not(feature = "wgpu"))]
fn kernels_take(_: &Ensemble, _: &Policy) -> bool {
    false
}

/// Settings of a step for [`Progress::move_up`].
struct Progress {
    obs_dim: usize,
    /// Whether this is the last step of the horizon.
    last: bool,
}

impl Progress {
    /// Moves the lanes and next states of live rows to the front, over those of rows that terminated. The step's
    /// transitions are in `stored` from row `start` on. Returns the number of live rows, and `reward_sum` plus the
    /// step's rewards.
    fn move_up(
        &self,
        stored: &Batch,
        start: usize,
        lanes: &mut [u32],
        obs: &mut [f32],
        mut reward_sum: f64,
    ) -> (usize, f64) {
        let mut alive = 0;
        for row in 0..lanes.len() {
            let at = (start + row) % stored.rows;
            reward_sum += f64::from(stored.reward[at]);
            if stored.not_terminated[at] == 0.0 {
                continue;
            }
            if !self.last {
                let next = &stored.next_obs[at * self.obs_dim..][..self.obs_dim];
                lanes[alive] = lanes[row];
                obs[alive * self.obs_dim..][..self.obs_dim].copy_from_slice(next);
            }
            alive += 1;
        }
        (alive, reward_sum)
    }
}

impl Rollout {
    /// Returns the rollouts of call number `call`, from `starts` real states drawn uniformly with replacement.
    #[must_use]
    pub fn new(real: &Batch, starts: usize, horizon: usize, seed: u64, call: u64) -> Self {
        let mut rollout = Self::undrawn(starts, horizon, call);
        rollout.draw_starts(real, seed);
        rollout
    }

    /// Returns the rollouts of call number `call`, whose starts [`Rollout::go_on`] will draw in host memory or on the
    /// device.
    #[must_use]
    pub fn undrawn(starts: usize, horizon: usize, call: u64) -> Self {
        Self {
            call,
            horizon,
            done: 0,
            starts,
            lanes: Vec::new(),
            obs: Vec::new(),
            ended: 0,
            transitions: 0,
            reward_sum: 0.0,
            workspace: cpu::Workspace::default(),
        }
    }

    fn draw_starts(&mut self, real: &Batch, seed: u64) {
        let obs_dim = real.obs.len() / real.rows;
        let stream = Stream::new(seed, "rollout/start");
        let (starts, call) = (self.starts, self.call);
        self.lanes = (0..starts as u32).collect();
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
    pub fn go_on(&mut self, form: Form, setting: &Setting<'_>, real: &RealBuffer, buffer: &mut ImaginedBuffer) -> bool {
        if form != Form::Kernels && self.done == 0 && self.lanes.is_empty() {
            self.draw_starts(real.rows(), setting.seed);
        }
        match form {
            Form::Tensors => tensors::step(self, setting, buffer),
            Form::Panels | Form::Kernels => self.go_on_fused(form, &setting.fused(), real, buffer),
        }
    }

    /// Takes a step as [`Rollout::go_on`] does, in a fused form.
    pub fn go_on_fused(
        &mut self,
        form: Form,
        imagination: &Imagination<'_>,
        real: &RealBuffer,
        buffer: &mut ImaginedBuffer,
    ) -> bool {
        if form == Form::Kernels && self.done == 0 {
            self.in_kernels(imagination, real, buffer)
        } else {
            self.advance(imagination, buffer)
        }
    }

    /// Takes one imagined step of every live row in host memory, and stores it in `buffer`. Returns whether the
    /// rollouts are over.
    pub fn advance(&mut self, imagination: &Imagination<'_>, buffer: &mut ImaginedBuffer) -> bool {
        self.step(&World::new(imagination), buffer)
    }

    /// Takes a step as [`Rollout::advance`] does, with a [`World`] that the caller keeps. Rows are stored in the order
    /// of their lanes. After the first step of a call, no memory is allocated.
    pub fn step(&mut self, world: &World<'_>, buffer: &mut ImaginedBuffer) -> bool {
        self.on_panels(world, None, buffer)
    }

    /// Takes one imagined step of every live row under given actions, `[B, A]` in the order of the lanes. Returns
    /// whether the rollouts are over.
    ///
    /// # Panics
    /// If the number of actions differs from the number of live rows.
    #[track_caller]
    pub fn step_under(&mut self, world: &World<'_>, actions: &[f32], buffer: &mut ImaginedBuffer) -> bool {
        assert_eq!(actions.len(), self.lanes.len() * world.action_dim(), "one action a live row");
        self.on_panels(world, Some(actions), buffer)
    }

    fn on_panels(&mut self, world: &World<'_>, actions: Option<&[f32]>, buffer: &mut ImaginedBuffer) -> bool {
        let progress = Progress { obs_dim: world.obs_dim(), last: self.done + 1 == self.horizon };
        let (clock, rows) = ((self.call << 16) | self.done as u64, self.lanes.len());
        let Self { lanes, obs, workspace, reward_sum, .. } = self;
        let outcome = buffer.fill(rows, |Claim { batch, start }| {
            let from = cpu::Rows { clock, lanes: &*lanes, obs: &*obs, actions };
            cpu::step(world, from, Claim { batch: &mut *batch, start }, workspace);
            progress.move_up(batch, start, lanes, obs, *reward_sum)
        });
        self.settle(rows, outcome, &progress)
    }

    /// Counts a step of `rows` rows, after which `alive` rows have not terminated. `reward_sum` is the sum of all
    /// rewards so far. Returns whether the rollouts are over.
    fn settle(&mut self, rows: usize, (alive, reward_sum): (usize, f64), progress: &Progress) -> bool {
        self.done += 1;
        self.reward_sum = reward_sum;
        let go_on = if progress.last { 0 } else { alive };
        self.lanes.truncate(go_on);
        self.obs.truncate(go_on * progress.obs_dim);
        self.ended += (rows - alive) as u64;
        self.transitions += rows as u64;
        go_on == 0
    }

    /// Computes the whole call in kernels. Real and imagined rows are on the GPU.
    #[cfg(feature = "wgpu")]
    fn in_kernels(&mut self, imagination: &Imagination<'_>, real: &RealBuffer, buffer: &mut ImaginedBuffer) -> bool {
        let mirror = real.mirror().expect("kernels have real rows on the device");
        let (real_rows, starts, horizon) = (real.rows().rows, self.starts, self.horizon);
        let call = kernel::Call { call: self.call, real: mirror, real_rows, starts, horizon };
        let outcome = buffer.fill_on_device(|ring, position| {
            let outcome = kernel::rollout(imagination, &call, ring, position);
            (outcome.transitions as usize, outcome)
        });
        self.lanes.clear();
        self.obs.clear();
        (self.done, self.ended, self.transitions) = (horizon, outcome.ended, outcome.transitions);
        self.reward_sum = outcome.reward_sum;
        true
    }

    #[cfg(not(feature = "wgpu"))]
    fn in_kernels(&mut self, imagination: &Imagination<'_>, _: &RealBuffer, buffer: &mut ImaginedBuffer) -> bool {
        // No device runs kernels in this build, so this form is never chosen.
        self.advance(imagination, buffer)
    }

    /// The ensemble member that predicted each row of the last step, `[B]`.
    #[must_use]
    pub fn members(&self) -> &[u32] {
        &self.workspace.members
    }

    /// The measures of uncertainty of each row of the last step, `[B, measures]`.
    #[must_use]
    pub fn uncertainty(&self) -> &[f32] {
        &self.workspace.uncertainty
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
        state.put("lanes", self.lanes.iter().map(|&lane| u64::from(lane)).collect::<Vec<_>>());
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
            lanes: state.u64s("lanes")?.1.into_iter().map(|lane| lane as u32).collect(),
            obs: state.f32s("obs")?.1,
            ended: state.u64("ended")?,
            transitions: state.u64("transitions")?,
            reward_sum: state.f64("reward_sum")?,
            workspace: cpu::Workspace::default(),
        };
        state.finish()?;
        Ok(rollout)
    }
}
