//! The update in host memory: from a batch's rows to new weights without a tensor between.
//!
//! Rows are cut into groups of whole panels; a group is one piece of work and owns everything that its rows need. The
//! critics' pass of all groups, the critics' step (with the targets' average in it), the actor's pass, the actor's
//! step. No memory is taken once the buffers have their size, and no result depends on how rows are grouped: groups
//! share no sum, weight gradients are summed over panels in order, and so are the losses.

use std::ops::Range;

use foresee_core::Batch;
use foresee_nn::Mlp;
use foresee_nn::cpu::panels::{self, pack};
use foresee_nn::cpu::{self, LANES, Layout, Scratch, Tape, Tapes, team};

use super::lanes::{Choice, Target, residual, total};
use crate::policy::lanes::{Row, Sample, gradient, row, row_mut};

/// Panels of a group, at most: their tapes stay in a second-level cache.
const GROUP: usize = 4;

/// The buffers of an agent's updates, group by group.
#[derive(Clone, Debug, Default)]
pub(super) struct Workspace {
    groups: Vec<Group>,
}

/// What one pass of a group reads, besides the weights.
pub(super) struct Pass<'a> {
    pub(super) batch: &'a Batch,
    /// Standard normals of the pass, `[B, A]`.
    pub(super) noise: &'a [f32],
    /// `[O, A]`
    pub(super) dims: [usize; 2],
    pub(super) alpha: f32,
}

impl Pass<'_> {
    /// 1/B.
    fn share(&self) -> f32 {
        1.0 / self.batch.rows as f32
    }
}

/// A network's layout and weights `[E, P]`.
#[derive(Clone, Copy)]
pub(super) struct Net<'a> {
    pub(super) layout: &'a Layout,
    pub(super) weights: &'a [f32],
}

impl<'a> Net<'a> {
    fn member(&self, member: usize) -> &'a [f32] {
        &self.weights[member * self.layout.parameters()..][..self.layout.parameters()]
    }
}

/// Sums over the rows of one panel.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    squares: f64,
    target: f64,
    actor_loss: f64,
    log_prob: f64,
}

/// Some panels of rows; `C` is their count.
#[derive(Clone, Debug)]
struct Group {
    /// Rows of the batch.
    rows: Range<usize>,
    policy: Tape,
    /// One a critic.
    critics: Vec<Tape>,
    /// Next observations `[C, O, LANES]`, and with their actions `[C, O + A, LANES]`.
    next: Vec<f32>,
    pairs: Vec<f32>,
    /// The policy's output at next observations, `[C, 2A, LANES]`.
    heads: Vec<f32>,
    /// Critics' values, then derivatives by them, `[N, C, LANES]`.
    q: Vec<f32>,
    /// log π, then y, `[C, LANES]`.
    log_prob: Vec<f32>,
    /// One panel's noise, then ∂L/∂a, `[A, LANES]`.
    noise: Vec<f32>,
    sums: Vec<Sums>,
    scratch: Scratch,
}

impl Workspace {
    /// Makes room for so many rows.
    pub(super) fn fit(&mut self, rows: usize, policy: &Mlp, critic: &Mlp) {
        let size = panels::count(rows).div_ceil(team::threads()).clamp(1, GROUP) * LANES;
        let count = rows.div_ceil(size);
        self.groups.truncate(count);
        while self.groups.len() < count {
            self.groups.push(Group::new(policy, critic));
        }
        for (i, group) in self.groups.iter_mut().enumerate() {
            group.fit(i * size..((i + 1) * size).min(rows));
        }
    }

    /// The critics' pass: their loss and its gradient, on their tapes. `critic` lends a critic's weights.
    pub(super) fn critics<'w>(
        &mut self,
        pass: &Pass<'_>,
        discount: f32,
        [policy, target]: [Net<'_>; 2],
        critic: impl Fn(usize) -> &'w [f32] + Sync,
    ) {
        team::for_each_mut(&mut self.groups, |_, group| {
            group.targets(pass, discount, [policy, target]);
            group.critics(pass, &critic);
        });
    }

    /// The actor's pass, after [`Workspace::critics`]: its loss and its gradient, on its tapes.
    pub(super) fn actor<'w>(&mut self, pass: &Pass<'_>, policy: &[f32], critic: impl Fn(usize) -> &'w [f32] + Sync) {
        team::for_each_mut(&mut self.groups, |_, group| group.actor(pass, policy, &critic));
    }

    /// The critics' tapes.
    pub(super) fn of_critics(&self) -> impl Tapes {
        let members = self.groups.first().map_or(0, |group| group.critics.len());
        Of { groups: &self.groups, members, tape: |group, n| &group.critics[n] }
    }

    /// The actor's tapes.
    pub(super) fn of_actor(&self) -> impl Tapes {
        Of { groups: &self.groups, members: 1, tape: |group, _| &group.policy }
    }

    /// Σ over rows and critics of (Q − y)², and Σ y.
    pub(super) fn critic_sums(&self) -> [f64; 2] {
        [self.sum(|sums| sums.squares), self.sum(|sums| sums.target)]
    }

    /// Σ over rows of the actor's loss, and of log π.
    pub(super) fn actor_sums(&self) -> [f64; 2] {
        [self.sum(|sums| sums.actor_loss), self.sum(|sums| sums.log_prob)]
    }

    fn sum(&self, of: impl Fn(&Sums) -> f64) -> f64 {
        self.groups.iter().flat_map(|group| &group.sums).map(of).sum()
    }
}

/// Tapes of one kind, of all groups.
struct Of<'a> {
    groups: &'a [Group],
    members: usize,
    tape: fn(&Group, usize) -> &Tape,
}

impl Tapes for Of<'_> {
    fn members(&self) -> Range<usize> {
        0..self.members
    }

    fn parts(&self) -> usize {
        self.groups.len()
    }

    fn tape(&self, member: usize, part: usize) -> &Tape {
        (self.tape)(&self.groups[part], member)
    }
}

/// Panel `panel` of panels of `width` features.
fn of_panel(all: &[f32], panel: usize, width: usize) -> &[f32] {
    &all[panel * width * LANES..][..width * LANES]
}

fn of_panel_mut(all: &mut [f32], panel: usize, width: usize) -> &mut [f32] {
    &mut all[panel * width * LANES..][..width * LANES]
}

impl Group {
    fn new(policy: &Mlp, critic: &Mlp) -> Self {
        Self {
            rows: 0..0,
            policy: Tape::new(policy.layout(), 0),
            critics: (0..critic.members()).map(|_| Tape::new(critic.layout(), 0)).collect(),
            next: vec![],
            pairs: vec![],
            heads: vec![],
            q: vec![],
            log_prob: vec![],
            noise: vec![],
            sums: vec![],
            scratch: Scratch::default(),
        }
    }

    fn fit(&mut self, rows: Range<usize>) {
        if self.rows == rows {
            return;
        }
        let (length, count) = (rows.len(), panels::count(rows.len()));
        self.rows = rows;
        self.policy.resize(length);
        self.critics.iter_mut().for_each(|tape| tape.resize(length));
        let (policy, critic) = (self.policy.layout().shape(), self.critics[0].layout().shape());
        self.next.resize(count * policy.inputs * LANES, 0.0);
        self.heads.resize(count * policy.outputs * LANES, 0.0);
        self.pairs.resize(count * critic.inputs * LANES, 0.0);
        self.q.resize(critic.members * count * LANES, 0.0);
        self.log_prob.resize(count * LANES, 0.0);
        self.noise.resize(policy.outputs / 2 * LANES, 0.0);
        self.sums.resize(count, Sums::default());
    }

    /// The rows of a panel.
    fn rows(&self, panel: usize) -> Range<usize> {
        let start = self.rows.start + panel * LANES;
        start..(start + LANES).min(self.rows.end)
    }

    /// y of every row, in `log_prob`.
    fn targets(&mut self, pass: &Pass<'_>, discount: f32, [policy, target]: [Net<'_>; 2]) {
        let Pass { batch, noise, dims: [obs, actions], alpha } = *pass;
        let count = self.sums.len();
        for panel in 0..count {
            let Range { start, end } = self.rows(panel);
            pack(&batch.next_obs[start * obs..end * obs], obs, of_panel_mut(&mut self.next, panel, obs));
        }
        cpu::infer(policy.layout, policy.member(0), &self.next, &mut self.heads, &mut self.scratch);
        for panel in 0..count {
            let Range { start, end } = self.rows(panel);
            pack(&noise[start * actions..end * actions], actions, &mut self.noise);
            let (state, action) = of_panel_mut(&mut self.pairs, panel, obs + actions).split_at_mut(obs * LANES);
            state.copy_from_slice(of_panel(&self.next, panel, obs));
            let heads = of_panel(&self.heads, panel, 2 * actions);
            let log_prob = row_mut(&mut self.log_prob, panel);
            Sample { heads, noise: &self.noise, action, log_prob, kept: None }.fill();
        }
        let stride = count * LANES;
        for (n, q) in self.q.chunks_exact_mut(stride).enumerate() {
            cpu::infer(target.layout, target.member(n), &self.pairs, q, &mut self.scratch);
        }
        for panel in 0..count {
            let rows = self.rows(panel);
            let mut both = [[0.0; LANES]; 2];
            for (lanes, all) in both.iter_mut().zip([&batch.reward, &batch.not_terminated]) {
                lanes[..rows.len()].copy_from_slice(&all[rows.clone()]);
            }
            let [reward, not_terminated] = &both;
            let y = row_mut(&mut self.log_prob, panel);
            Target { q: &self.q[panel * LANES..], stride, reward, not_terminated, discount, alpha, y }.fill();
            self.sums[panel].target = total(y, rows.len());
        }
    }

    /// The critics' loss and its gradient, on their tapes.
    fn critics<'w>(&mut self, pass: &Pass<'_>, critic: &impl Fn(usize) -> &'w [f32]) {
        let Pass { batch, dims: [obs, actions], .. } = *pass;
        let count = self.sums.len();
        for panel in 0..count {
            let Range { start, end } = self.rows(panel);
            self.sums[panel].squares = 0.0;
            let (first, rest) = self.critics.split_first_mut().expect("one critic at least");
            let input = first.input_mut(panel);
            pack(&batch.obs[start * obs..end * obs], obs, input);
            pack(&batch.action[start * actions..end * actions], actions, &mut input[obs * LANES..]);
            rest.iter_mut().for_each(|tape| tape.input_mut(panel).copy_from_slice(input));
        }
        for n in 0..self.critics.len() {
            self.critics[n].forward(critic(n));
            for panel in 0..count {
                let rows = self.rows(panel).len();
                let (q, gradient) = self.critics[n].output_gradient_mut(panel);
                let mut squares = [0.0; LANES];
                residual(q, row(&self.log_prob, panel), pass.share(), gradient, &mut squares);
                self.sums[panel].squares += total(&squares, rows);
            }
            self.critics[n].backward(critic(n));
        }
    }

    /// The actor's loss and its gradient, on its tape. The critics' tapes hold the observations already.
    fn actor<'w>(&mut self, pass: &Pass<'_>, policy: &[f32], critic: &impl Fn(usize) -> &'w [f32]) {
        let Pass { noise, dims: [obs, actions], alpha, .. } = *pass;
        let count = self.sums.len();
        let stride = count * LANES;
        for panel in 0..count {
            let input = self.policy.input_mut(panel);
            input.copy_from_slice(&self.critics[0].input_mut(panel)[..obs * LANES]);
        }
        self.policy.forward(policy);
        for panel in 0..count {
            let Range { start, end } = self.rows(panel);
            pack(&noise[start * actions..end * actions], actions, &mut self.noise);
            let (heads, kept) = self.policy.output_gradient_mut(panel);
            let (first, rest) = self.critics.split_first_mut().expect("one critic at least");
            let action = &mut first.input_mut(panel)[obs * LANES..];
            let log_prob = row_mut(&mut self.log_prob, panel);
            Sample { heads, noise: &self.noise, action, log_prob, kept: Some(kept) }.fill();
            rest.iter_mut().for_each(|tape| tape.input_mut(panel)[obs * LANES..].copy_from_slice(action));
        }
        for (n, (tape, q)) in self.critics.iter_mut().zip(self.q.chunks_exact_mut(stride)).enumerate() {
            tape.forward(critic(n));
            for panel in 0..count {
                *row_mut(q, panel) = *row(tape.output(panel), 0);
            }
        }
        for panel in 0..count {
            let rows = self.rows(panel).len();
            let (q, log_prob) = (&mut self.q[panel * LANES..], row(&self.log_prob, panel));
            let mut loss: Row = [0.0; LANES];
            Choice { q, stride, log_prob, alpha, scale: pass.share(), loss: &mut loss }.fill();
            self.sums[panel].actor_loss = total(&loss, rows);
            self.sums[panel].log_prob = total(log_prob, rows);
        }
        for (n, (tape, q)) in self.critics.iter_mut().zip(self.q.chunks_exact(stride)).enumerate() {
            for panel in 0..count {
                *row_mut(tape.output_gradient_mut(panel).1, 0) = *row(q, panel);
            }
            tape.backward_to_input(critic(n));
        }
        for panel in 0..count {
            let by_action = &mut self.noise;
            by_action.fill(0.0);
            for tape in &self.critics {
                let of_one = &tape.input_gradient(panel)[obs * LANES..];
                by_action.iter_mut().zip(of_one).for_each(|(sum, g)| *sum += g);
            }
            let action = &self.critics[0].input_mut(panel)[obs * LANES..];
            let (_, kept) = self.policy.output_gradient_mut(panel);
            gradient(kept, action, by_action, alpha * pass.share());
        }
        self.policy.backward(policy);
    }
}
