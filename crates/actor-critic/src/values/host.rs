//! Values and value gradients in host memory. Panels of rows go forward through the policy and every critic, and
//! backward to the states, without a graph.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use burn::tensor::Tensor;
use foresee_nn::cpu::panels::{self, pack, unpack};
use foresee_nn::cpu::{self, Layout, PANEL_ROWS, Scratch, Tape, team};
use foresee_nn::host::HostTensor;
use foresee_nn::{Mlp, Parameters, tensors};

use crate::critic::Critic;
use crate::policy::{Policy, panel};

/// Largest number of panels in one [`GradientTask`]: the tape of a task fits in the second-level cache.
const GROUP_PANELS: usize = 4;

/// Buffers of one thread.
#[derive(Default)]
struct ValueBuffers {
    /// States `[C, O, PANEL_ROWS]`.
    states: Vec<f32>,
    passes: PassBuffers,
}

/// Buffers of the passes through the policy and the critics.
#[derive(Default)]
struct PassBuffers {
    critic: Option<Tape>,
    policy: Option<Tape>,
    /// The policy's output (mu, raw), `[C, 2A, PANEL_ROWS]`.
    policy_output: Vec<f32>,
    /// Mean actions `[C, A, PANEL_ROWS]`.
    actions: Vec<f32>,
    /// A gradient at one panel of states, `[O, PANEL_ROWS]`.
    gradient: Vec<f32>,
    scratch: Scratch,
}

thread_local! {
    static BUFFERS: RefCell<ValueBuffers> = RefCell::default();
}

/// A network's layout and its weights in host memory.
#[derive(Debug)]
struct HostNet {
    layout: Arc<Layout>,
    weights: HostTensor,
}

impl HostNet {
    fn new(net: &Mlp) -> Self {
        Self { layout: net.layout().clone(), weights: HostTensor::of(net.slot().get().clone()) }
    }

    fn members(&self) -> usize {
        self.layout.shape().members
    }

    fn member(&self, member: usize) -> &[f32] {
        self.layout.member(self.weights.get(), member)
    }

    /// Returns a tape of this network for `panels` panels.
    fn tape<'a>(&self, tape: &'a mut Option<Tape>, panels: usize) -> &'a mut Tape {
        if tape.as_ref().is_none_or(|tape| tape.layout() != &self.layout) {
            *tape = Some(Tape::new(&self.layout, 0));
        }
        let tape = tape.as_mut().expect("just made");
        tape.resize(panels * PANEL_ROWS);
        tape
    }
}

/// The gradients at some of the states `[b, O]`, with each head's slice for the results `[b, O]`.
struct GradientTask<'a> {
    states: &'a [f32],
    heads: Vec<&'a mut [f32]>,
}

/// The policy and the critics.
#[derive(Debug)]
pub(super) struct HostNetworks {
    policy: HostNet,
    critics: Vec<HostNet>,
}

impl HostNetworks {
    pub(super) fn new(policy: &Policy, critics: &[Cow<'_, Critic>]) -> Self {
        let critics = critics.iter().map(|critic| HostNet::new(&critic.net)).collect();
        Self { policy: HostNet::new(&policy.folded_net()), critics }
    }

    /// Computes the gradients of all values, `[B, O] -> [N, B, O]`.
    pub(super) fn value_gradients(&self, states: Tensor<2>, through_policy: bool) -> Tensor<3> {
        let [rows, obs] = states.dims();
        let device = states.device();
        let heads = self.critics.iter().map(HostNet::members).sum();
        let mut all = vec![0.0; heads * rows * obs];
        if rows > 0 {
            let states = HostTensor::of(states);
            let group = panels::count(rows).div_ceil(team::threads()).clamp(1, GROUP_PANELS) * PANEL_ROWS * obs;
            let mut tasks: Vec<GradientTask<'_>> = states
                .get()
                .chunks(group)
                .map(|states| GradientTask { states, heads: Vec::with_capacity(heads) })
                .collect();
            for head in all.chunks_exact_mut(rows * obs) {
                for (task, part) in tasks.iter_mut().zip(head.chunks_mut(group)) {
                    task.heads.push(part);
                }
            }
            team::for_each_mut(&mut tasks, |_, task| {
                BUFFERS.with_borrow_mut(|buffers| self.fill(task, obs, through_policy, buffers));
            });
        }
        tensors::from_vec(all, [heads, rows, obs], &device)
    }

    fn fill(&self, task: &mut GradientTask<'_>, obs: usize, through_policy: bool, buffers: &mut ValueBuffers) {
        let ValueBuffers { states, passes } = buffers;
        let panel = obs * PANEL_ROWS;
        states.resize(task.states.len().div_ceil(panel) * panel, 0.0);
        for (rows, states) in task.states.chunks(panel).zip(states.chunks_exact_mut(panel)) {
            pack(rows, obs, states);
        }
        let heads = &mut task.heads;
        self.pass(states, Some(through_policy), passes, |head, i, _, gradient| {
            let rows = heads[head].chunks_mut(panel).nth(i).expect("a panel of this task");
            unpack(gradient, obs, rows);
        });
    }

    /// Writes values `[N, PANEL_ROWS]` and, if `gradients` is given, gradients `[N, O, PANEL_ROWS]` of one panel of
    /// states `[O, PANEL_ROWS]`.
    pub(super) fn of_panel(
        &self,
        states: &[f32],
        values: &mut [f32],
        mut gradients: Option<&mut [f32]>,
        through_policy: bool,
    ) {
        let backward = gradients.is_some().then_some(through_policy);
        BUFFERS.with_borrow_mut(|buffers| {
            self.pass(states, backward, &mut buffers.passes, |head, _, value, gradient| {
                values[head * PANEL_ROWS..][..PANEL_ROWS].copy_from_slice(value);
                if let Some(gradients) = &mut gradients {
                    gradients[head * states.len()..][..states.len()].copy_from_slice(gradient);
                }
            });
        });
    }

    /// Runs panels of states `[C, O, PANEL_ROWS]` forward through every critic. If `backward` is given, runs them
    /// backward too; its value says whether also through the policy. Every result goes to `visit(head, panel, values
    /// [PANEL_ROWS], gradient [O, PANEL_ROWS])`.
    fn pass(
        &self,
        states: &[f32],
        backward: Option<bool>,
        passes: &mut PassBuffers,
        mut visit: impl FnMut(usize, usize, &[f32], &[f32]),
    ) {
        let PassBuffers { critic, policy, policy_output, actions, gradient, scratch } = passes;
        let shape = self.policy.layout.shape();
        let [obs, action] = [shape.inputs * PANEL_ROWS, shape.outputs / 2 * PANEL_ROWS];
        let count = states.len() / obs;
        policy_output.resize(count * 2 * action, 0.0);
        actions.resize(count * action, 0.0);
        cpu::infer(&self.policy.layout, self.policy.member(0), states, policy_output, scratch);
        for (output, action) in policy_output.chunks_exact(2 * action).zip(actions.chunks_exact_mut(action)) {
            panel::mean(output, action);
        }
        let each_member = self.critics.iter().flat_map(|net| (0..net.members()).map(move |member| (net, member)));
        for (head, (net, member)) in each_member.enumerate() {
            let tape = net.tape(critic, count);
            for panel in 0..count {
                let (state, rest) = tape.input_mut(panel).split_at_mut(obs);
                state.copy_from_slice(&states[panel * obs..][..obs]);
                rest.copy_from_slice(&actions[panel * action..][..action]);
            }
            tape.forward(net.member(member));
            let Some(through_policy) = backward else {
                (0..count).for_each(|panel| visit(head, panel, tape.output(panel), &[]));
                continue;
            };
            (0..count).for_each(|panel| tape.output_gradient_mut(panel).1.fill(1.0));
            tape.backward_to_input(net.member(member));
            let policy_tape =
                if through_policy { Some(self.back_through_policy(states, actions, tape, policy)) } else { None };
            for panel in 0..count {
                gradient.clear();
                gradient.extend_from_slice(&tape.input_gradient(panel)[..obs]);
                if let Some(policy_tape) = &policy_tape {
                    gradient.iter_mut().zip(policy_tape.input_gradient(panel)).for_each(|(sum, g)| *sum += g);
                }
                visit(head, panel, tape.output(panel), gradient);
            }
        }
    }

    /// Propagates a critic's gradients at the actions a = tanh mu to the states: ∂a/∂mu = 1 − a².
    fn back_through_policy<'a>(
        &self,
        states: &[f32],
        actions: &[f32],
        critic: &Tape,
        policy: &'a mut Option<Tape>,
    ) -> &'a Tape {
        let count = critic.panels();
        let [obs, action] = [states.len() / count, actions.len() / count];
        let tape = self.policy.tape(policy, count);
        for (panel, states) in states.chunks_exact(obs).enumerate() {
            tape.input_mut(panel).copy_from_slice(states);
        }
        // A backward pass overwrites activations of the forward pass, so the forward pass is repeated for each critic.
        tape.forward(self.policy.member(0));
        for (panel, actions) in actions.chunks_exact(action).enumerate() {
            let (grad_mu, rest) = tape.output_gradient_mut(panel).1.split_at_mut(action);
            for ((grad_mu, grad_action), a) in grad_mu.iter_mut().zip(&critic.input_gradient(panel)[obs..]).zip(actions)
            {
                *grad_mu = grad_action * (1.0 - a * a);
            }
            rest.fill(0.0);
        }
        tape.backward_to_input(self.policy.member(0));
        tape
    }
}
