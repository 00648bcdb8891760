//! Imagined steps in tensor operations, for any model and any actor, on every device.
//!
//! The draws equal those of the other forms: row `r` reads substream `r` of `rollout/action`, `rollout/elite` and
//! `rollout/noise`.

use std::cell::RefCell;

use burn::tensor::{Bool, Tensor};
use foresee_core::termination::{Bound, Form, Quantity, Source, Target};
use foresee_core::{Stream, Termination};
use foresee_nn::cpu::panels::PerRow;
use foresee_nn::cpu::{PANEL_ROWS, panels};
use foresee_nn::{Dynamics, ImaginedStep, PanelDynamics, PanelStep, StepDraws, tensors};
use foresee_world_model::{ModelStep, WorldModel};

use super::host_context::Streams;
use super::{Rollout, RolloutContext};
use crate::ends::{EndRule, HostEnds, PanelBuffers};
use crate::replay::{ImaginedBuffer, ReservedRows};

/// Takes one imagined step of every live row, and stores it in `buffer`. Returns whether the rollouts are over.
pub(super) fn step(rollout: &mut Rollout, context: &RolloutContext<'_>, buffer: &mut ImaginedBuffer) -> bool {
    let RolloutContext { model, actor, termination, seed, device } = *context;
    let (rows, draw_step) = (rollout.row_ids.len(), (rollout.call << 16) | rollout.done as u64);
    if rows == 0 {
        return true;
    }
    let obs_dim = rollout.obs.len() / rows;
    let streams = Streams::new(seed);
    let normals = |stream: Stream, columns: usize| {
        let mut all = Vec::with_capacity(rows * columns);
        for &row_id in &rollout.row_ids {
            let mut draws = stream.at(draw_step, row_id);
            all.extend((0..columns).map(|_| draws.normal()));
        }
        tensors::from_vec(all, [rows, columns], device)
    };
    let obs = tensors::from_vec(rollout.obs.clone(), [rows, obs_dim], device);
    let before = obs.clone();
    let action = actor.sample(obs.clone(), normals(streams.action, actor.action_dim()));
    let words = rollout.row_ids.iter().map(|&row_id| streams.elite.at(draw_step, row_id).bits()).collect();
    let draws = StepDraws { words, noise: normals(streams.noise, model.noise_width()) };
    let ModelStep { next_obs, reward } = model.step(obs, action.clone(), &draws);
    let ends = |next_obs: &Tensor<2>| termination.not_terminated(before, action.clone(), next_obs.clone());
    // A known rule is evaluated row by row below.
    let continues = termination.known().is_none().then(|| tensors::to_vec(ends(&next_obs)));
    let (action, next_obs, reward) = (tensors::to_vec(action), tensors::to_vec(next_obs), tensors::to_vec(reward));

    let check = rollout.step_check(obs_dim);
    let action_dim = actor.action_dim();
    let Rollout { row_ids, obs, reward_sum, .. } = rollout;
    let outcome = buffer.fill(rows, |ReservedRows { batch, start }| {
        for (row, next) in next_obs.chunks_exact(obs_dim).enumerate() {
            let at = (start + row) % batch.rows;
            let before = &obs[row * obs_dim..][..obs_dim];
            batch.obs[at * obs_dim..][..obs_dim].copy_from_slice(before);
            batch.action[at * action_dim..][..action_dim].copy_from_slice(&action[row * action_dim..][..action_dim]);
            batch.reward[at] = reward[row];
            batch.next_obs[at * obs_dim..][..obs_dim].copy_from_slice(next);
            batch.not_terminated[at] = match (&continues, termination) {
                (Some(continues), _) => continues[row],
                (None, EndRule::Known(rule)) if rule.terminated(before, next) => 0.0,
                (None, _) => 1.0,
            };
        }
        check.compact(batch, start, row_ids, obs, *reward_sum)
    });
    rollout.settle(rows, outcome, &check)
}

/// A model and what ends its imagined episodes, joined to the [`Dynamics`] in which an agent imagines.
#[derive(Clone, Copy)]
pub struct TaskDynamics<'a> {
    /// The model.
    pub model: &'a dyn WorldModel,
    /// The rule by which imagined episodes end.
    pub termination: EndRule<'a>,
}

impl Dynamics for TaskDynamics<'_> {
    fn noise_width(&self) -> usize {
        self.model.noise_width()
    }

    fn step(&self, obs: Tensor<2>, action: Tensor<2>, draws: &StepDraws) -> ImaginedStep {
        let ModelStep { next_obs, reward } = self.model.step(obs.clone(), action.clone(), draws);
        let not_terminated = self.termination.not_terminated(obs.inner(), action.inner(), next_obs.clone().inner());
        ImaginedStep { next_obs, reward, not_terminated }
    }

    fn on_panels(&self) -> Option<Box<dyn PanelDynamics + '_>> {
        let model = self.model.on_panels()?;
        Some(Box::new(TaskPanels { model, termination: self.termination.on_host() }))
    }
}

thread_local! {
    /// The buffers of a classifier of ends.
    static BUFFERS: RefCell<PanelBuffers> = RefCell::default();
}

/// [`TaskDynamics`] on panels of rows in host memory.
struct TaskPanels<'a> {
    model: Box<dyn PanelDynamics + 'a>,
    termination: HostEnds<'a>,
}

impl PanelDynamics for TaskPanels<'_> {
    fn new_step(&self) -> PanelStep {
        self.model.new_step()
    }

    fn step(&self, rows: usize, word: u32, obs: &[f32], action: &[f32], noise: &[f32], step: &mut PanelStep) {
        self.model.step(rows, word, obs, action, noise, step);
        let PanelStep { next_obs, not_terminated, .. } = step;
        let rule = match &self.termination {
            HostEnds::Known(rule) if rule.is_never() => return not_terminated.fill(1.0),
            HostEnds::Known(rule) => rule,
            HostEnds::Learned(classifier) => {
                let parts = [obs, action, next_obs];
                let continues = |buffers: &mut PanelBuffers| classifier.not_terminated_on_panel(parts, buffers);
                *not_terminated = BUFFERS.with_borrow_mut(continues);
                return;
            }
        };
        let [mut before, mut next] = [(); 2].map(|()| vec![0.0; obs.len() / PANEL_ROWS]);
        let reads_previous = rule.reads_previous();
        for (slot, continuation) in not_terminated.iter_mut().enumerate() {
            if reads_previous {
                panels::unpack_row(obs, slot, &mut before);
            }
            panels::unpack_row(next_obs, slot, &mut next);
            *continuation = if rule.terminated(&before, &next) { 0.0 } else { 1.0 };
        }
    }

    fn backward(
        &self,
        step: &mut PanelStep,
        by_next: &[f32],
        by_reward: &PerRow,
        by_obs: &mut [f32],
        by_action: &mut [f32],
    ) {
        self.model.backward(step, by_next, by_reward, by_obs, by_action);
    }
}

/// Returns the value `[B, 1]` of a quantity in steps from `obs` to `next_obs`, `[B, O]`: [`Quantity::value`] in tensor
/// operations, in the same order.
fn value(quantity: &Quantity, obs: &Tensor<2>, next_obs: &Tensor<2>) -> Tensor<2> {
    let entry = |index: usize| {
        let of = |obs: &Tensor<2>| obs.clone().narrow(1, index, 1);
        match quantity.source {
            Source::Next => of(next_obs),
            Source::Previous => of(obs),
            Source::Change => of(next_obs) - of(obs),
        }
    };
    match &quantity.form {
        &Form::Entry(index) => entry(index),
        Form::Distance(from, target) => {
            let squares = from.iter().enumerate().map(|(k, &index)| {
                let difference = match target {
                    Target::Entries(to) => entry(index) - entry(to[k]),
                    Target::Point(point) => entry(index).sub_scalar(point[k]),
                };
                difference.clone() * difference
            });
            squares.reduce(|sum, square| sum + square).expect("a distance has entries").sqrt()
        }
    }
}

/// Returns 1 for steps from `obs` to `next_obs`, `[B, O]`, after which an episode continues, and 0 for those that
/// terminate it, `[B]`. This is the negation of [`Termination::terminated`] in tensor operations.
#[must_use]
pub fn not_terminated(rule: &Termination, obs: Tensor<2>, next_obs: Tensor<2>) -> Tensor<1> {
    let holds = |bound: &Bound| -> Tensor<2, Bool> {
        let x = value(&bound.quantity, &obs, &next_obs);
        if bound.closed {
            x.clone().greater_equal_elem(bound.low).bool_and(x.lower_equal_elem(bound.high))
        } else {
            x.clone().greater_elem(bound.low).bool_and(x.lower_elem(bound.high))
        }
    };
    let all = |bounds: &[Bound]| bounds.iter().map(holds).reduce(Tensor::bool_and);
    let mut continues: Option<Tensor<2, Bool>> = all(&rule.bounds);
    let mut and = |other: Tensor<2, Bool>| {
        continues = Some(match continues.take() {
            Some(so_far) => so_far.bool_and(other),
            None => other,
        });
    };
    if rule.finite {
        and(next_obs.clone().is_finite().all_dim(1));
    }
    if let Some(reached) = all(&rule.goal) {
        and(reached.bool_not());
    }
    let rows = next_obs.dims()[0];
    match continues {
        Some(continues) => continues.float().reshape([rows]),
        None => Tensor::ones([rows], &next_obs.device()),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn read(rule: &str) -> Termination {
        toml::from_str(rule).expect("a rule")
    }

    #[test]
    fn the_rule_in_tensor_operations_is_the_rule() {
        let bound = |index: usize, low, high, closed| Bound { quantity: index.into(), low, high, closed };
        let rules = [
            Termination::never(),
            Termination::outside(vec![bound(0, -1.0, 1.0, false), bound(2, f32::NEG_INFINITY, 0.5, true)]),
            Termination::inside(vec![bound(1, -0.5, 0.5, true), bound(0, -2.0, 0.25, false)]),
            Termination {
                bounds: vec![bound(1, -1.0, 1.0, true)],
                goal: vec![bound(2, 0.0, 1.0, false)],
                finite: false,
            },
            read(
                "bounds = [{ index = 0, of = 'previous', low = -1.0 }, { index = 2, of = 'change', high = 2, closed = true }]",
            ),
            read("goal = [{ distance = [0, 2], to = [1, 0], high = 1 }]\nfinite = true"),
            read("bounds = [{ distance = [2, 1], point = [0.5, -0.25], high = 2, closed = true }]"),
            read(
                "goal = [{ distance = [0, 1, 2], point = [0, 0, 0], of = 'change', high = 2 }, { distance = [0], to = [1], of = 'previous', low = 0.5 }]",
            ),
        ];
        let before = Stream::new(2, "states").normals(0, 60, 3);
        let mut states = Stream::new(1, "states").normals(0, 60, 3);
        // Adds the ends of the bounds, NaN and infinities.
        for (i, x) in [1.0, -1.0, 0.5, -0.5, 0.25, f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
            for entry in 0..3 {
                states[(i * 3 + entry) * 3 + entry] = x;
            }
        }
        for (at, rule) in rules.into_iter().enumerate() {
            let tensor = |states: &[f32]| tensors::from_vec(states.to_vec(), [60, 3], &Device::flex());
            let steps = before.chunks_exact(3).zip(states.chunks_exact(3));
            let want: Vec<f32> = steps.map(|(obs, next)| if rule.terminated(obs, next) { 0.0 } else { 1.0 }).collect();
            assert_eq!(tensors::to_vec(not_terminated(&rule, tensor(&before), tensor(&states))), want, "{rule}");
            let ended = want.iter().filter(|&&x| x == 0.0).count();
            assert!(at == 0 || (5..55).contains(&ended), "{rule} ends {ended} of 60 steps");
        }
    }
}
