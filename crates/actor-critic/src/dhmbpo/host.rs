//! The update in host memory: from states to new weights, without tensors.
//!
//! Rows are split into groups of whole panels. A group's rollout is independent of other groups. An update is three
//! passes, which are separated by two synchronisations of the threads:
//!
//! 1. By group: the rollout forward, on tapes, and the chosen target critics at its end. Then the bounds from all rows.
//! 2. By critic: value and gradient at s_0, the step of Adam, the target ([`foresee_nn::cpu::train()`]).
//! 3. By group: the updated critics at the end of the rollout, and from there the backward pass through policy and
//!    model to s_0. Then the actor's weight gradients from all tapes, and its step.
//!
//! No result depends on the grouping of rows: groups share no sum, and all sums are taken in the order of the rows.

mod rollout_group;

use std::ops::Range;

use foresee_nn::cpu::{PANEL_ROWS, Piece, Tape, Tapes, panels, team};
use foresee_nn::host::HostTensor;
use foresee_nn::{PanelDynamics, Parameters};

use super::draws::{DhmbpoDraws, UpdateSizes};
use super::{Dhmbpo, DhmbpoLosses};
use crate::observations::Scale;
use crate::panels::Net;
use crate::policy::Spread;
use rollout_group::RolloutGroup;

/// Largest number of panels in a group. Weights are read once for all panels of a group.
const GROUP_PANELS: usize = 4;

/// The inputs of an update, besides the weights.
pub(super) struct DhmbpoInputs<'a> {
    /// s_0, `[B, O]`.
    starts: &'a [f32],
    draws: &'a DhmbpoDraws,
    sizes: UpdateSizes,
    obs_dim: usize,
    /// The normalisation of observations for the networks.
    scale: Option<&'a Scale>,
    spread: Spread,
    alpha: f32,
    discount: f32,
    /// Whether the actor is updated, which needs a backward pass.
    actor: bool,
}

impl DhmbpoInputs<'_> {
    /// Returns γᵏ.
    fn weight(&self, k: usize) -> f32 {
        self.discount.powi(k as i32)
    }
}

/// The buffers of an agent's updates.
#[derive(Clone, Debug, Default)]
pub(super) struct DhmbpoBuffers {
    groups: Vec<RolloutGroup>,
    pieces: Vec<CriticPiece>,
    /// Squared errors of each critic on each panel, `[N, panels]`.
    squares: Vec<f64>,
    /// r_k − α l_k of all rows and steps.
    values: Vec<f32>,
    /// y, `[panels, PANEL_ROWS]`.
    targets: Vec<f32>,
}

/// One critic on one panel.
#[derive(Clone, Debug)]
struct CriticPiece(Tape);

impl Piece for CriticPiece {
    fn tape(&self) -> &Tape {
        &self.0
    }
}

impl Dhmbpo {
    /// Makes one update from states `[B, O]` of an agent in host memory, and returns its losses.
    #[track_caller]
    pub(super) fn update_host(
        &mut self,
        starts: &[f32],
        draws: &DhmbpoDraws,
        sizes: UpdateSizes,
        dynamics: &dyn PanelDynamics,
        critic_only: bool,
    ) -> DhmbpoLosses {
        let ([obs_dim, _], rows) = (self.dims(), sizes.rows);
        assert_eq!(starts.len(), rows * obs_dim, "numbers of {rows} states");
        let alpha = self.alpha();
        let scale = self.policy.scale.clone();
        let inputs = DhmbpoInputs {
            starts,
            draws,
            sizes,
            obs_dim,
            scale: scale.as_deref(),
            spread: self.policy.spread,
            alpha: alpha as f32,
            discount: self.config.discount as f32,
            actor: !critic_only,
        };
        let Self { config, policy, critic, target, bounds, buffers, actor_adam, critic_adam, .. } = self;
        buffers.fit(rows);
        let DhmbpoBuffers { groups, pieces, squares, values, targets } = buffers;
        let policy_weights = HostTensor::of(policy.net.slot_mut().take());
        let mut target_weights = HostTensor::of(target.net.slot_mut().take());
        let actor = Net { layout: policy.net.layout(), weights: policy_weights.get() };

        // Rollouts.
        let (policy_layout, critic_layout) = (policy.net.layout(), critic.net.layout().clone());
        {
            let target = Net { layout: &critic_layout, weights: target_weights.get() };
            team::for_each_mut(groups, |_, group| {
                group.roll_out(&inputs, policy_layout, actor, dynamics);
                group.final_target_values(&inputs, target);
            });
        }
        values.clear();
        groups.iter().for_each(|group| group.soft_rewards(&inputs, values));
        bounds.follow(values, config.bound_quantiles, config.bound_rate, config.discount);
        let [ends, [width, centre]] = [bounds.ends(), bounds.scale_and_shift()].map(|pair| pair.map(|x| x as f32));

        // Critics and targets.
        targets.clear();
        groups.iter().for_each(|group| group.targets(&inputs, ends, [width, centre], targets));
        let count = panels::count(rows);
        squares.clear();
        squares.resize(sizes.critics * count, 0.0);
        let mut step = critic_adam.fused(&mut critic.net);
        let new = || CriticPiece(Tape::new(&critic_layout, PANEL_ROWS));
        let follow = Some((target_weights.get_mut(), config.tau as f32));
        let share = 2.0 * width / rows as f32;
        {
            let (groups, targets) = (&*groups, &*targets);
            step.train(pieces, squares, follow, new, |_, panel, CriticPiece(tape), squares, critic| {
                let in_panel = PANEL_ROWS.min(rows - panel * PANEL_ROWS);
                tape.resize(in_panel);
                groups[panel / GROUP_PANELS].first_critic_input(panel % GROUP_PANELS, &inputs, tape.input_mut(0));
                tape.forward(critic);
                let (net, gradient) = tape.output_gradient_mut(0);
                *squares = 0.0;
                for j in 0..in_panel {
                    let error = width * net[j] + centre - targets[panel * PANEL_ROWS + j];
                    gradient[j] = share * error;
                    *squares += f64::from(error * error);
                }
                tape.backward(critic);
            });
        }

        // Actor.
        let mean = |sum: f64| sum / rows as f64;
        let actor_loss = inputs.actor.then(|| {
            let critic = |n: usize| step.member(n);
            team::for_each_mut(groups, |_, group| {
                group.final_values(&inputs, &critic_layout, critic, [width, centre]);
                group.backward(&inputs, actor, dynamics);
            });
            -mean(groups.iter().map(|group| group.objective(&inputs)).sum())
        });
        step.finish();
        policy.net.slot_mut().put(policy_weights.into_tensor());
        target.net.slot_mut().put(target_weights.into_tensor());
        if inputs.actor {
            let mut step = actor_adam.fused(&mut policy.net);
            step.apply(&ActorTapes { groups, steps: sizes.horizon + 1 }, None);
            step.finish();
        }

        let sums = groups.iter().map(|group| group.sums(&inputs));
        let [alive, reward, log_prob] =
            sums.fold([0.0; 3], |total, of_group| std::array::from_fn(|i| total[i] + of_group[i])).map(mean);
        let losses = DhmbpoLosses {
            critic_loss: mean(squares.iter().sum()),
            target_mean: mean((0..rows).map(|row| f64::from(targets[row])).sum()),
            alive,
            reward: reward / sizes.horizon as f64,
            entropy: -log_prob,
            actor_loss,
            gradients: if inputs.actor { gradient_norms(groups, sizes.horizon) } else { Vec::new() },
        };
        if !critic_only {
            self.update_temperature(alpha, -log_prob);
        }
        losses
    }
}

/// Returns the sums over rows of the norm of the loss's gradient at s_1 … s_H.
///
/// The loss is a mean over rows, so these sums are means of the norms of the rows' own gradients.
fn gradient_norms(groups: &[RolloutGroup], horizon: usize) -> Vec<f64> {
    (0..horizon).map(|k| groups.iter().map(|group| group.norms[k]).sum()).collect()
}

impl DhmbpoBuffers {
    /// Splits rows into groups.
    fn fit(&mut self, rows: usize) {
        let count = panels::count(rows).div_ceil(GROUP_PANELS);
        self.groups.resize_with(count, RolloutGroup::default);
        for (i, group) in self.groups.iter_mut().enumerate() {
            group.rows = i * GROUP_PANELS * PANEL_ROWS..((i + 1) * GROUP_PANELS * PANEL_ROWS).min(rows);
        }
    }
}

/// The actor's tapes, ordered by group and then by step.
struct ActorTapes<'a> {
    groups: &'a [RolloutGroup],
    /// `H + 1`
    steps: usize,
}

impl Tapes for ActorTapes<'_> {
    fn members(&self) -> Range<usize> {
        0..1
    }

    fn parts(&self) -> usize {
        self.groups.len() * self.steps
    }

    fn tape(&self, _: usize, part: usize) -> &Tape {
        self.groups[part / self.steps].policy_tape(part % self.steps)
    }
}
