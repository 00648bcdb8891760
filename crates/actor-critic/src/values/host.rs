//! Value gradients in host memory: some panels of rows at a time through the policy and every critic, forward and back
//! to the states, without a graph.

use std::cell::RefCell;

use burn::tensor::Tensor;
use foresee_nn::cpu::panels::{self, pack, unpack};
use foresee_nn::cpu::{self, LANES, Scratch, Tape, team};
use foresee_nn::host::Numbers;
use foresee_nn::{Mlp, Parameters, tensors};

use crate::critic::Critic;
use crate::policy::{Policy, lanes};

/// Panels of a piece of work, at most: its tape stays in a second-level cache.
const GROUP: usize = 4;

/// Buffers of one thread.
#[derive(Default)]
struct Buffers {
    tape: Option<Tape>,
    /// States `[C, O, LANES]`, the policy's output `[C, 2A, LANES]` and mean actions `[C, A, LANES]`.
    states: Vec<f32>,
    heads: Vec<f32>,
    actions: Vec<f32>,
    scratch: Scratch,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// A network with its weights at hand.
struct Lent<'a> {
    net: &'a Mlp,
    weights: Numbers,
}

impl<'a> Lent<'a> {
    fn new(net: &'a Mlp) -> Self {
        Self { net, weights: Numbers::of(net.slot().get().clone()) }
    }

    fn member(&self, member: usize) -> &[f32] {
        let width = self.net.layout().parameters();
        &self.weights.get()[member * width..][..width]
    }
}

/// Some rows: their states `[b, O]`, and where each head's gradients `[b, O]` go.
struct Piece<'a> {
    states: &'a [f32],
    heads: Vec<&'a mut [f32]>,
}

/// `[B, O] -> [N, B, O]`.
pub(super) fn value_gradients(policy: &Policy, critics: &[&Critic], states: Tensor<2>) -> Tensor<3> {
    let [rows, obs] = states.dims();
    let device = states.device();
    let heads = critics.iter().map(|critic| critic.members()).sum();
    let mut all = vec![0.0; heads * rows * obs];
    if rows > 0 {
        let states = Numbers::of(states);
        let group = panels::count(rows).div_ceil(team::threads()).clamp(1, GROUP) * LANES * obs;
        let mut pieces: Vec<Piece<'_>> =
            states.get().chunks(group).map(|states| Piece { states, heads: Vec::with_capacity(heads) }).collect();
        for head in all.chunks_exact_mut(rows * obs) {
            for (piece, part) in pieces.iter_mut().zip(head.chunks_mut(group)) {
                piece.heads.push(part);
            }
        }
        let policy = Lent::new(policy.net());
        let critics: Vec<Lent<'_>> = critics.iter().map(|critic| Lent::new(&critic.net)).collect();
        team::for_each_mut(&mut pieces, |_, piece| {
            BUFFERS.with_borrow_mut(|buffers| buffers.fill(piece, &policy, &critics))
        });
    }
    tensors::from_vec(all, [heads, rows, obs], &device)
}

impl Buffers {
    fn fill(&mut self, piece: &mut Piece<'_>, policy: &Lent<'_>, critics: &[Lent<'_>]) {
        let Self { tape, states, heads, actions, scratch } = self;
        let shape = policy.net.layout().shape();
        let [obs, action] = [shape.inputs, shape.outputs / 2];
        let rows = piece.states.len() / obs;
        let count = panels::count(rows);
        for (buffer, width) in [(&mut *states, obs), (&mut *heads, 2 * action), (&mut *actions, action)] {
            buffer.resize(count * width * LANES, 0.0);
        }
        for (rows, panel) in piece.states.chunks(obs * LANES).zip(states.chunks_exact_mut(obs * LANES)) {
            pack(rows, obs, panel);
        }
        cpu::infer(policy.net.layout(), policy.member(0), states, heads, scratch);
        for (heads, action) in heads.chunks_exact(2 * action * LANES).zip(actions.chunks_exact_mut(action * LANES)) {
            lanes::mean(heads, action);
        }
        let mut gradients = piece.heads.iter_mut();
        for critic in critics {
            let layout = critic.net.layout();
            let tape = match tape {
                Some(tape) if tape.layout() == layout => tape,
                _ => tape.insert(Tape::new(layout, rows)),
            };
            tape.resize(rows);
            for panel in 0..count {
                let (state, rest) = tape.input_mut(panel).split_at_mut(obs * LANES);
                state.copy_from_slice(&states[panel * obs * LANES..][..obs * LANES]);
                rest.copy_from_slice(&actions[panel * action * LANES..][..action * LANES]);
            }
            for (n, gradients) in (0..critic.net.members()).zip(&mut gradients) {
                tape.forward(critic.member(n));
                for panel in 0..count {
                    tape.output_gradient_mut(panel).1.fill(1.0);
                }
                tape.backward_to_input(critic.member(n));
                for (panel, gradients) in gradients.chunks_mut(obs * LANES).enumerate() {
                    unpack(&tape.input_gradient(panel)[..obs * LANES], obs, gradients);
                }
            }
        }
    }
}
