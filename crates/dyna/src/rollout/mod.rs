//! Imagined rollouts: short branches from real states, under the current policy (MBPO).
//!
//! At every step each live row draws an action from the policy and an elite of its own, and that member predicts the
//! change and the reward; a Gaussian member adds its noise; the task's termination rule is applied to the predicted
//! observation. Rows that ended stop.
//!
//! Draws are addressed, not consumed: row `r` of imagined step `h` of call `c` reads lane `r` at step `c·2¹⁶ + h` of
//! `rollout/action`, `rollout/elite` and `rollout/noise`, whatever the grouping or the device.
//!
//! * [`reference`](mod@reference): one step of one row, the specification.
//! * `cpu`: a step of all rows in host memory.
//! * `kernel`: a whole call on a GPU, with the feature `wgpu`.
//! * [`world`]: what the first two read.

mod cpu;
#[cfg(feature = "wgpu")]
pub mod kernel;
pub mod reference;
pub mod world;

use burn::tensor::Device;
use foresee_actor_critic::Policy;
use foresee_core::stream::below;
use foresee_core::{Batch, State, StateError, Stream, Termination};
use foresee_nn::cpu::{LANES, random};
use foresee_world_model::Ensemble;
use foresee_world_model::uncertainty::Measure;

use crate::replay::{ImaginedBuffer, RealBuffer};
pub use world::World;

/// What a rollout imagines with.
pub struct Imagination<'a> {
    /// The world model.
    pub ensemble: &'a Ensemble,
    /// The policy whose actions are sampled.
    pub policy: &'a Policy,
    /// When an imagined episode ends.
    pub termination: &'a Termination,
    /// The run's seed.
    pub seed: u64,
    /// Where the networks live.
    pub device: &'a Device,
    /// What to say about every step besides: measures of the ensemble's uncertainty. All members are asked for them.
    pub measures: &'a [Measure],
}

/// Rollouts under way, between two imagined steps.
#[derive(Clone, Debug)]
pub struct Rollout {
    call: u64,
    horizon: usize,
    done: usize,
    starts: usize,
    /// Lanes of the rows that are still alive.
    lanes: Vec<u32>,
    /// Their states, `[B, O]`.
    obs: Vec<f32>,
    ended: u64,
    transitions: u64,
    reward_sum: f64,
    /// Not part of the state: buffers of the steps, and what the last one said besides.
    workspace: cpu::Workspace,
}

impl Rollout {
    /// Rollouts number `call`, from `starts` real states drawn uniformly with replacement.
    #[must_use]
    pub fn new(real: &Batch, starts: usize, horizon: usize, seed: u64, call: u64) -> Self {
        let obs_dim = real.obs.len() / real.rows;
        let stream = Stream::new(seed, "rollout/start");
        let mut obs = Vec::with_capacity(starts * obs_dim);
        for panel in (0..starts).step_by(LANES) {
            let words = random::first_words(&stream, call, &std::array::from_fn(|j| (panel + j) as u32));
            for &word in &words[..LANES.min(starts - panel)] {
                obs.extend_from_slice(&real.obs[below(word, real.rows) * obs_dim..][..obs_dim]);
            }
        }
        Self {
            call,
            horizon,
            done: 0,
            starts,
            lanes: (0..starts as u32).collect(),
            obs,
            ended: 0,
            transitions: 0,
            reward_sum: 0.0,
            workspace: cpu::Workspace::default(),
        }
    }

    /// One imagined step of every live row, into the buffer; whether the rollouts are over.
    pub fn advance(&mut self, imagination: &Imagination<'_>, buffer: &mut ImaginedBuffer) -> bool {
        self.step(&World::new(imagination), buffer)
    }

    /// The same in host memory: rows stand in the buffer in the order of their lanes. After a call's first step no
    /// memory is taken.
    pub fn step(&mut self, world: &World<'_>, buffer: &mut ImaginedBuffer) -> bool {
        let Self { lanes, obs, workspace, .. } = self;
        let (rows, obs_dim) = (lanes.len(), world.obs_dim());
        let from = cpu::Rows { clock: (self.call << 16) | self.done as u64, lanes, obs };
        let claim = buffer.claim(rows);
        let place = claim.start;
        cpu::step(world, from, claim, workspace);

        self.done += 1;
        let last = self.done == self.horizon;

        // Rows that go on move up, over those that ended.
        let stored = buffer.claimed();
        let mut alive = 0;
        for row in 0..rows {
            let at = (place + row) % stored.rows;
            self.reward_sum += f64::from(stored.reward[at]);
            if stored.not_terminated[at] == 0.0 {
                continue;
            }
            if !last {
                let next = &stored.next_obs[at * obs_dim..][..obs_dim];
                lanes[alive] = lanes[row];
                obs[alive * obs_dim..][..obs_dim].copy_from_slice(next);
            }
            alive += 1;
        }
        buffer.settle();
        let go_on = if last { 0 } else { alive };
        lanes.truncate(go_on);
        obs.truncate(go_on * obs_dim);
        self.ended += (rows - alive) as u64;
        self.transitions += rows as u64;
        go_on == 0
    }

    /// The whole call in kernels, if no step of it is done and real and imagined rows are on a GPU; whether that was so.
    pub fn complete(&mut self, imagination: &Imagination<'_>, real: &RealBuffer, buffer: &mut ImaginedBuffer) -> bool {
        #[cfg(feature = "wgpu")]
        if let (Some(mirror), 0) = (real.mirror(), self.done) {
            let position = buffer.position();
            let Some(ring) = buffer.on_device() else { return false };
            let (real_rows, starts, horizon) = (real.rows().rows, self.starts, self.horizon);
            let call = kernel::Call { call: self.call, real: mirror, real_rows, starts, horizon };
            let outcome = kernel::rollout(imagination, &call, ring, position);
            buffer.written(outcome.transitions as usize);
            self.lanes.clear();
            self.obs.clear();
            (self.done, self.ended, self.transitions) = (horizon, outcome.ended, outcome.transitions);
            self.reward_sum = outcome.reward_sum;
            return true;
        }
        // Where nothing runs kernels, nothing of this is asked for.
        let _ = (imagination, real, buffer);
        false
    }

    /// Who imagined each row of the last step, `[B]`.
    #[must_use]
    pub fn members(&self) -> &[u32] {
        &self.workspace.members
    }

    /// What the measures said of each row of the last step, `[B, measures]`.
    #[must_use]
    pub fn uncertainty(&self) -> &[f32] {
        &self.workspace.uncertainty
    }

    /// Imagined steps of a rollout at most.
    #[must_use]
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Transitions imagined so far.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// Mean reward of these transitions.
    #[must_use]
    pub fn mean_reward(&self) -> f64 {
        self.reward_sum / self.transitions.max(1) as f64
    }

    /// Share of the rollouts that terminated.
    #[must_use]
    pub fn terminated_share(&self) -> f64 {
        self.ended as f64 / self.starts.max(1) as f64
    }

    /// As arrays.
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

    /// From arrays.
    ///
    /// # Errors
    /// If an array is missing or left over.
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
