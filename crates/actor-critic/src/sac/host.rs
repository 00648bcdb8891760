//! The update in host memory: from a batch's rows to new weights, without tensors.
//!
//! Rows are split into groups of whole panels. One piece of the policy's work is a group ([`PolicyGroup`]); one piece
//! of a critic's work is one critic on one group ([`CriticGroup`]). The critics' pieces are ordered by critic, and
//! every pass assigns the same first pieces to each thread ([`team::for_each`]). A critic with its target, moments and
//! tapes therefore stays with one core or a few. Only the policy's weights and gradients, the actions and the values
//! move between cores.
//!
//! No memory is allocated once the buffers have their size. No result depends on the grouping of rows: groups share no
//! sum, and weight gradients and losses are summed over panels in order.

mod critic_group;
mod policy_group;

use std::ops::Range;

use foresee_core::Batch;
use foresee_nn::cpu::{PANEL_ROWS, Tape, Tapes, panels, team};
use foresee_nn::host::HostTensor;
use foresee_nn::{Mlp, Parameters};

use super::losses::SacLosses;
use super::{Due, NOISE, NOISE_NEXT, Sac};
use crate::noise::Noise;
use crate::panels::Net;
use crate::policy::Spread;
use critic_group::CriticGroup;
use policy_group::PolicyGroup;

impl Sac {
    /// Makes one update of an agent in host memory, and returns its losses. The batch must have at least one row.
    #[track_caller]
    pub(super) fn update_host(&mut self, batch: &Batch, noise: &dyn Noise, due: Due) -> SacLosses {
        let (rows, dims) = (batch.rows, self.dims());
        let [obs, action] = dims.map(|columns| rows * columns);
        let lengths = [&batch.obs, &batch.next_obs, &batch.action, &batch.reward, &batch.not_terminated].map(Vec::len);
        assert_eq!(lengths, [obs, obs, action, rows, rows], "numbers of {rows} rows");
        let Self {
            config, policy, critic, target, log_temperature, buffers, noise: [noise_next, noise_current], ..
        } = self;
        noise.normals_into(NOISE_NEXT, [rows, dims[1]], noise_next);
        if due.actor {
            noise.normals_into(NOISE, [rows, dims[1]], noise_current);
        }
        buffers.fit(rows, &policy.net, &critic.net);
        let alpha = log_temperature.0.lend(|log| f64::from(log[0]).exp() as f32);
        let mean = |sums: [f64; 2]| sums.map(|sum| sum / rows as f64);

        // Critics and targets.
        let policy_weights = HostTensor::of(policy.net.slot_mut().take());
        let mut target_weights = HostTensor::of(target.net.slot_mut().take());
        let mut step = self.critic_adam.fused(&mut critic.net);
        let nets = [
            Net { layout: policy.net.layout(), weights: policy_weights.get() },
            Net { layout: target.net.layout(), weights: target_weights.get() },
        ];
        let noise = due.actor.then_some(&noise_current[..]);
        let (discount, spread) = (config.discount as f32, policy.spread);
        let inputs = SacInputs { batch, noise_next, noise, dims, alpha, discount, spread };
        buffers.critics(&inputs, nets, |n| step.member(n));
        policy.net.slot_mut().put(policy_weights.into_tensor());
        let follow = due.target.then(|| (target_weights.get_mut(), config.tau as f32));
        step.apply(&buffers.critic_tapes(), follow);
        target.net.slot_mut().put(target_weights.into_tensor());
        let [critic_loss, target_mean] = mean(buffers.critic_sums());

        // Actor and temperature.
        let actor = due.actor.then(|| {
            let mut actor_step = self.actor_adam.fused(&mut policy.net);
            buffers.actor(&inputs, actor_step.member(0), |n| step.member(n));
            actor_step.apply(&buffers.actor_tapes(), None);
            actor_step.finish();
            let [loss, log_prob] = mean(buffers.actor_sums());
            if config.learn_temperature {
                let gradient = alpha * (-log_prob - self.target_entropy) as f32;
                self.temperature_adam.step_host(log_temperature, &[gradient]);
            }
            [loss, -log_prob]
        });
        step.finish();
        SacLosses::Host { critic_loss, target_mean, actor }
    }
}

/// Largest number of panels in a group: the tapes of a group fit in a second-level cache.
const GROUP_PANELS: usize = 4;

/// The inputs of an update, besides the weights.
pub(super) struct SacInputs<'a> {
    /// The batch, as the networks see it.
    pub(super) batch: &'a Batch,
    /// Standard normals `[B, A]` for the actions at next observations.
    pub(super) noise_next: &'a [f32],
    /// Standard normals `[B, A]` for the actions at observations; `None` if the actor is not updated.
    pub(super) noise: Option<&'a [f32]>,
    /// `[O, A]`
    pub(super) dims: [usize; 2],
    /// The temperature α.
    pub(super) alpha: f32,
    /// The discount γ.
    pub(super) discount: f32,
    /// The form of the policy's standard deviation.
    pub(super) spread: Spread,
}

impl SacInputs<'_> {
    /// The weight 1/B of one row in a mean.
    fn share(&self) -> f32 {
        1.0 / self.batch.rows as f32
    }
}

/// The buffers of an agent's updates.
#[derive(Clone, Debug, Default)]
pub(super) struct SacBuffers {
    groups: Vec<PolicyGroup>,
    /// Every critic on every group, `[N, groups]`.
    critic_groups: Vec<CriticGroup>,
    /// Critics' values, `[N, panels, PANEL_ROWS]`.
    q: Vec<f32>,
}

impl SacBuffers {
    /// Resizes the buffers for `rows` batch rows.
    pub(super) fn fit(&mut self, rows: usize, policy: &Mlp, critic: &Mlp) {
        let panels = panels::count(rows);
        let size = panels.div_ceil(team::threads()).clamp(1, GROUP_PANELS) * PANEL_ROWS;
        let (count, critics) = (rows.div_ceil(size), critic.members());
        self.groups.truncate(count);
        while self.groups.len() < count {
            self.groups.push(PolicyGroup::new(policy));
        }
        self.critic_groups.truncate(critics * count);
        while self.critic_groups.len() < critics * count {
            self.critic_groups.push(CriticGroup::new(critic));
        }
        for (i, group) in self.groups.iter_mut().enumerate() {
            group.fit(i * size..((i + 1) * size).min(rows));
        }
        for (i, piece) in self.critic_groups.iter_mut().enumerate() {
            piece.fit(i / count, i % count, self.groups[i % count].rows.len());
        }
        self.q.resize(critics * panels * PANEL_ROWS, 0.0);
    }

    /// Distance between the values of successive critics in `q`.
    fn stride(&self) -> usize {
        self.groups.iter().map(|group| group.sums.len() * PANEL_ROWS).sum()
    }

    /// Runs the policy forward, and computes the critics' loss and its gradient on their tapes. `critic(n)` returns the
    /// weights of critic n.
    pub(super) fn critics<'w>(
        &mut self,
        inputs: &SacInputs<'_>,
        [policy, target]: [Net<'_>; 2],
        critic: impl Fn(usize) -> &'w [f32] + Sync,
    ) {
        let stride = self.stride();
        let Self { groups, critic_groups, q } = self;
        team::for_each_mut(groups, |_, group| {
            group.next_actions(inputs, policy);
            group.current_actions(inputs, policy);
        });
        let groups = &*groups;
        let part = value_range(groups, stride);
        team::for_each_with(critic_groups, q, part, |_, piece, q| {
            piece.target_values(target, &groups[piece.group], q);
        });
        let q = &*q;
        team::for_each_mut(critic_groups, |_, piece| {
            piece.critic_loss(inputs, &groups[piece.group], q, stride, critic(piece.critic));
        });
    }

    /// Computes the actor's loss and its gradient on the actor's tapes. Runs after [`SacBuffers::critics`] and the
    /// critics' step. `critic(n)` returns the weights of critic n.
    pub(super) fn actor<'w>(
        &mut self,
        inputs: &SacInputs<'_>,
        policy: &[f32],
        critic: impl Fn(usize) -> &'w [f32] + Sync,
    ) {
        let stride = self.stride();
        let Self { groups, critic_groups, q } = self;
        {
            let groups = &*groups;
            let part = value_range(groups, stride);
            team::for_each_with(critic_groups, q, part, |_, piece, q| {
                piece.values_at_actions(inputs, &groups[piece.group], q, critic(piece.critic));
            });
            let q = &*q;
            team::for_each_mut(critic_groups, |_, piece| {
                piece.input_gradients(inputs, &groups[piece.group], q, stride, critic(piece.critic));
            });
        }
        let (critic_groups, q) = (&*critic_groups, &*q);
        let count = groups.len();
        team::for_each_mut(groups, |i, group| {
            group.actor(inputs, critic_groups.iter().skip(i).step_by(count), q, stride, policy);
        });
    }

    /// Returns the critics' tapes.
    pub(super) fn critic_tapes(&self) -> impl Tapes {
        CriticTapes { critic_groups: &self.critic_groups, groups: self.groups.len() }
    }

    /// Returns the actor's tapes.
    pub(super) fn actor_tapes(&self) -> impl Tapes {
        ActorTapes(&self.groups)
    }

    /// Returns Σ over rows and critics of (Q − y)², and Σ over rows of y.
    pub(super) fn critic_sums(&self) -> [f64; 2] {
        let sum =
            |pieces: &[CriticGroup], i: usize| pieces.iter().flat_map(|piece| &piece.sums).map(|sums| sums[i]).sum();
        [sum(&self.critic_groups, 0), sum(&self.critic_groups[..self.groups.len()], 1)]
    }

    /// Returns Σ over rows of the actor's loss, and of log π.
    pub(super) fn actor_sums(&self) -> [f64; 2] {
        [0, 1].map(|i| self.groups.iter().flat_map(|group| &group.sums).map(|sums| sums[i]).sum())
    }
}

/// Returns a function from the number of a [`CriticGroup`] to the range of its values in `q`.
fn value_range(groups: &[PolicyGroup], stride: usize) -> impl Fn(usize) -> Range<usize> + Sync {
    move |piece| {
        let (critic, group) = (piece / groups.len(), &groups[piece % groups.len()]);
        let start = critic * stride + group.rows.start;
        start..start + group.sums.len() * PANEL_ROWS
    }
}

/// The critics' tapes, `[N, groups]`.
struct CriticTapes<'a> {
    critic_groups: &'a [CriticGroup],
    groups: usize,
}

impl Tapes for CriticTapes<'_> {
    fn members(&self) -> Range<usize> {
        0..self.critic_groups.len() / self.groups
    }

    fn parts(&self) -> usize {
        self.groups
    }

    fn tape(&self, member: usize, part: usize) -> &Tape {
        &self.critic_groups[member * self.groups + part].tape
    }
}

/// The actor's tapes.
struct ActorTapes<'a>(&'a [PolicyGroup]);

impl Tapes for ActorTapes<'_> {
    fn members(&self) -> Range<usize> {
        0..1
    }

    fn parts(&self) -> usize {
        self.0.len()
    }

    fn tape(&self, _: usize, part: usize) -> &Tape {
        &self.0[part].tape
    }
}
