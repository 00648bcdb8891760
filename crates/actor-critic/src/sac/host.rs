//! The update in host memory: from a batch's rows to new weights, without tensors.
//!
//! Rows are split into groups of whole panels. One piece of the policy's work is a group; one piece of a critic's work
//! is a cell, which is one critic on one group. Cells are ordered by critic, and every pass assigns the same first
//! cells to each thread ([`team::for_each`]). A critic with its target, moments and tapes therefore stays with one core
//! or a few. Only the policy's weights and gradients, the actions and the values move between cores.
//!
//! No memory is allocated once the buffers have their size. No result depends on the grouping of rows: groups share no
//! sum, and weight gradients and losses are summed over panels in order.

mod cell;
mod group;

use std::ops::Range;

use foresee_core::Batch;
use foresee_nn::cpu::{PANEL_ROWS, Tape, Tapes, panels, team};
use foresee_nn::host::HostTensor;
use foresee_nn::{Mlp, Parameters};

use super::losses::Losses;
use super::{NOISE, NOISE_NEXT, Sac, Turns};
use crate::noise::Noise;
use crate::panels::Net;
use crate::policy::Spread;
use cell::Cell;
use group::Group;

impl Sac {
    /// Makes one update of an agent in host memory, and returns its losses. The batch must have at least one row.
    #[track_caller]
    pub(super) fn update_host(&mut self, batch: &Batch, noise: &dyn Noise, turns: Turns) -> Losses {
        let (rows, dims) = (batch.rows, self.dims());
        let [obs, action] = dims.map(|columns| rows * columns);
        let lengths = [&batch.obs, &batch.next_obs, &batch.action, &batch.reward, &batch.not_terminated].map(Vec::len);
        assert_eq!(lengths, [obs, obs, action, rows, rows], "numbers of {rows} rows");
        let Self { config, policy, critic, target, log_temperature, workspace, noise: [noise_next, noise_now], .. } =
            self;
        noise.normals_into(NOISE_NEXT, [rows, dims[1]], noise_next);
        if turns.actor {
            noise.normals_into(NOISE, [rows, dims[1]], noise_now);
        }
        workspace.fit(rows, &policy.net, &critic.net);
        let alpha = log_temperature.0.lend(|log| f64::from(log[0]).exp() as f32);
        let mean = |sums: [f64; 2]| sums.map(|sum| sum / rows as f64);

        // Critics and targets.
        let own = HostTensor::of(policy.net.slot_mut().take());
        let mut targets = HostTensor::of(target.net.slot_mut().take());
        let mut step = self.critic_adam.fused(&mut critic.net);
        let nets = [
            Net { layout: policy.net.layout(), weights: own.get() },
            Net { layout: target.net.layout(), weights: targets.get() },
        ];
        let noise = turns.actor.then_some(&noise_now[..]);
        let (discount, spread) = (config.discount as f32, policy.spread);
        let pass = Pass { batch, noise_next, noise, dims, alpha, discount, spread };
        workspace.critics(&pass, nets, |n| step.member(n));
        policy.net.slot_mut().put(own.into_tensor());
        let follow = turns.target.then(|| (targets.get_mut(), config.tau as f32));
        step.apply(&workspace.of_critics(), follow);
        target.net.slot_mut().put(targets.into_tensor());
        let [critic_loss, target_mean] = mean(workspace.critic_sums());

        // Actor and temperature.
        let actor = turns.actor.then(|| {
            let mut own = self.actor_adam.fused(&mut policy.net);
            workspace.actor(&pass, own.member(0), |n| step.member(n));
            own.apply(&workspace.of_actor(), None);
            own.finish();
            let [loss, log_prob] = mean(workspace.actor_sums());
            if config.learn_temperature {
                let gradient = alpha * (-log_prob - self.target_entropy) as f32;
                self.temperature_adam.step_host(log_temperature, &[gradient]);
            }
            [loss, -log_prob]
        });
        step.finish();
        Losses::Host { critic_loss, target_mean, actor }
    }
}

/// Largest number of panels in a group: the tapes of a group fit in a second-level cache.
const GROUP: usize = 4;

/// The inputs of an update, besides the weights.
pub(super) struct Pass<'a> {
    pub(super) batch: &'a Batch,
    /// Standard normals `[B, A]` for the actions at next observations.
    pub(super) noise_next: &'a [f32],
    /// Standard normals `[B, A]` for the actions at observations; `None` if the actor is not updated.
    pub(super) noise: Option<&'a [f32]>,
    /// `[O, A]`
    pub(super) dims: [usize; 2],
    pub(super) alpha: f32,
    pub(super) discount: f32,
    pub(super) spread: Spread,
}

impl Pass<'_> {
    /// The weight 1/B of one row in a mean.
    fn share(&self) -> f32 {
        1.0 / self.batch.rows as f32
    }
}

/// The buffers of an agent's updates.
#[derive(Clone, Debug, Default)]
pub(super) struct Workspace {
    groups: Vec<Group>,
    /// Cells ordered by critic, `[N, groups]`.
    cells: Vec<Cell>,
    /// Critics' values, `[N, panels, PANEL_ROWS]`.
    q: Vec<f32>,
}

impl Workspace {
    /// Resizes the buffers for `rows` batch rows.
    pub(super) fn fit(&mut self, rows: usize, policy: &Mlp, critic: &Mlp) {
        let panels = panels::count(rows);
        let size = panels.div_ceil(team::threads()).clamp(1, GROUP) * PANEL_ROWS;
        let (count, critics) = (rows.div_ceil(size), critic.members());
        self.groups.truncate(count);
        while self.groups.len() < count {
            self.groups.push(Group::new(policy));
        }
        self.cells.truncate(critics * count);
        while self.cells.len() < critics * count {
            self.cells.push(Cell::new(critic));
        }
        for (i, group) in self.groups.iter_mut().enumerate() {
            group.fit(i * size..((i + 1) * size).min(rows));
        }
        for (i, cell) in self.cells.iter_mut().enumerate() {
            cell.fit(i / count, i % count, self.groups[i % count].rows.len());
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
        pass: &Pass<'_>,
        [policy, target]: [Net<'_>; 2],
        critic: impl Fn(usize) -> &'w [f32] + Sync,
    ) {
        let stride = self.stride();
        let Self { groups, cells, q } = self;
        team::for_each_mut(groups, |_, group| {
            group.next_actions(pass, policy);
            group.own_actions(pass, policy);
        });
        let groups = &*groups;
        let part = place(groups, stride);
        team::for_each_with(cells, q, part, |_, cell, q| {
            cell.next_values(target, &groups[cell.group], q);
        });
        let q = &*q;
        team::for_each_mut(cells, |_, cell| cell.fit_target(pass, &groups[cell.group], q, stride, critic(cell.critic)));
    }

    /// Computes the actor's loss and its gradient on the actor's tapes. Runs after [`Workspace::critics`] and the
    /// critics' step. `critic(n)` returns the weights of critic n.
    pub(super) fn actor<'w>(&mut self, pass: &Pass<'_>, policy: &[f32], critic: impl Fn(usize) -> &'w [f32] + Sync) {
        let stride = self.stride();
        let Self { groups, cells, q } = self;
        {
            let groups = &*groups;
            let part = place(groups, stride);
            team::for_each_with(cells, q, part, |_, cell, q| {
                cell.at_actions(pass, &groups[cell.group], q, critic(cell.critic));
            });
            let q = &*q;
            team::for_each_mut(cells, |_, cell| {
                cell.by_actions(pass, &groups[cell.group], q, stride, critic(cell.critic));
            });
        }
        let (cells, q) = (&*cells, &*q);
        let count = groups.len();
        team::for_each_mut(groups, |i, group| {
            group.actor(pass, cells.iter().skip(i).step_by(count), q, stride, policy);
        });
    }

    /// Returns the critics' tapes.
    pub(super) fn of_critics(&self) -> impl Tapes {
        OfCritics { cells: &self.cells, groups: self.groups.len() }
    }

    /// Returns the actor's tapes.
    pub(super) fn of_actor(&self) -> impl Tapes {
        OfActor(&self.groups)
    }

    /// Returns Σ over rows and critics of (Q − y)², and Σ over rows of y.
    pub(super) fn critic_sums(&self) -> [f64; 2] {
        let sum = |cells: &[Cell], i: usize| cells.iter().flat_map(|cell| &cell.sums).map(|sums| sums[i]).sum();
        [sum(&self.cells, 0), sum(&self.cells[..self.groups.len()], 1)]
    }

    /// Returns Σ over rows of the actor's loss, and of log π.
    pub(super) fn actor_sums(&self) -> [f64; 2] {
        [0, 1].map(|i| self.groups.iter().flat_map(|group| &group.sums).map(|sums| sums[i]).sum())
    }
}

/// Returns a function from the number of a cell to the range of its values in `q`.
fn place(groups: &[Group], stride: usize) -> impl Fn(usize) -> Range<usize> + Sync {
    move |cell| {
        let (critic, group) = (cell / groups.len(), &groups[cell % groups.len()]);
        let start = critic * stride + group.rows.start;
        start..start + group.sums.len() * PANEL_ROWS
    }
}

/// The critics' tapes, `[N, groups]`.
struct OfCritics<'a> {
    cells: &'a [Cell],
    groups: usize,
}

impl Tapes for OfCritics<'_> {
    fn members(&self) -> Range<usize> {
        0..self.cells.len() / self.groups
    }

    fn parts(&self) -> usize {
        self.groups
    }

    fn tape(&self, member: usize, part: usize) -> &Tape {
        &self.cells[member * self.groups + part].tape
    }
}

/// The actor's tapes.
struct OfActor<'a>(&'a [Group]);

impl Tapes for OfActor<'_> {
    fn members(&self) -> Range<usize> {
        0..1
    }

    fn parts(&self) -> usize {
        self.0.len()
    }

    fn tape(&self, _: usize, part: usize) -> &Tape {
        &self.0[part].policy
    }
}
