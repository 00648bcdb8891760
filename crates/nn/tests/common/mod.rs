//! Random networks, the same networks in scalar f64 loops, and measures of disagreement.

#![allow(dead_code, reason = "every test binary uses a part of this")]

pub(crate) mod recursion;

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use foresee_core::state::Data;
use foresee_core::stream::Draws;
use foresee_core::{State, Stream};
use foresee_nn::cpu::{Layout, PANEL_ROWS, Part, Tape, Tapes, panels};
use foresee_nn::{Activation, Init, Mlp, Parameters, Shape, tensors};

pub(crate) const ACTIVATIONS: [Activation; 4] =
    [Activation::Silu, Activation::Relu, Activation::Tanh, Activation::Identity];

/// Widths of hidden layers: 1, odd numbers, primes, and numbers on each side of 8, 16 and 32.
pub(crate) const WIDTHS: [usize; 15] = [1, 2, 3, 5, 7, 8, 13, 16, 17, 24, 31, 32, 33, 49, 65];
/// Numbers of outputs, on each side of 8, the limit of the narrow form.
pub(crate) const OUTPUTS: [usize; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 24, 33, 40];
/// Numbers of rows, on each side of whole panels.
pub(crate) const ROWS: [usize; 10] = [0, 1, 2, 31, 32, 33, 37, 64, 97, 129];

/// Returns one of the items at random.
pub(crate) fn one_of<T: Copy>(draws: &mut Draws, of: &[T]) -> T {
    of[draws.below(of.len())]
}

/// The shape of case number `case`: activation, normalisations and depth in turn, sizes at random.
///
/// Very narrow normalised layers are excluded. Two normalised units become ±1 up to the 1e-5 under the root, whatever
/// their values were: a gradient below them is the remainder of a cancellation, and has no scale. Another test covers
/// them.
pub(crate) fn shape(case: usize, draws: &mut Draws) -> Shape {
    let layer_norm = case / 4 % 2 == 1;
    let hidden_norms = match case {
        _ if !(case / 4).is_multiple_of(4) => vec![],
        _ if (case / 16).is_multiple_of(2) => vec![-5],
        _ => vec![0, -1, -2],
    };
    let width = |draws: &mut Draws| match one_of(draws, &WIDTHS) {
        1..5 if !hidden_norms.is_empty() => 5,
        2 if layer_norm => 3,
        width => width,
    };
    Shape {
        members: 1 + draws.below(7),
        inputs: 1 + draws.below(17),
        hidden: (0..case / 16 % 5).map(|_| width(draws)).collect(),
        outputs: one_of(draws, &OUTPUTS),
        activation: ACTIVATIONS[case % 4],
        layer_norm,
        normalized_features: case / 8 % 2 == 1,
        hidden_norms,
    }
}

/// Networks whose parameters all differ from their initial values: weights N(0, 1/I), biases N(0, 1/4), scales N(1,
/// 0.09), shifts N(0, 0.09).
pub(crate) fn network(shape: &Shape, stream: &Stream, device: &Device) -> Mlp {
    let mut net = Mlp::new(shape.clone(), Init::TruncatedNormal, stream, device);
    let [members, _, width] = net.slot().get().dims();
    let mut all = vec![0.0; members * width];
    for (p, part) in net.parts().into_iter().enumerate() {
        let size = part.shape[0] * part.shape[1];
        let (mean, std) = match part.name.split('.').next().unwrap() {
            "weight" => (0.0, (part.shape[0] as f32).powf(-0.5)),
            "bias" => (0.0, 0.5),
            "norm_scale" => (1.0, 0.3),
            _ => (0.0, 0.3),
        };
        for e in 0..members {
            let values = stream.normals((p * members + e) as u64, 1, size);
            let row = &mut all[e * width + part.offset..][..size];
            row.iter_mut().zip(values).for_each(|(to, z)| *to = mean + std * z);
        }
    }
    net.slot_mut().put(tensors::from_vec(all, [members, 1, width], device));
    net
}

/// The parameters of a structure, `[E · P]`.
pub(crate) fn all_of(parameters: &impl Parameters) -> Vec<f32> {
    tensors::to_vec(parameters.slot().get().clone())
}

/// One member in scalar f64 loops. Its row of parameters is an argument, so that a test can change it.
pub(crate) struct Scalar {
    shape: Shape,
    parts: Vec<Part>,
}

impl Scalar {
    pub(crate) fn new(net: &Mlp) -> Self {
        Self { shape: net.layout().shape().clone(), parts: net.parts() }
    }

    fn part<'a>(&self, row: &'a [f64], name: &str, layer: usize) -> &'a [f64] {
        let name = format!("{name}.{layer}");
        let part = self.parts.iter().find(|part| part.name == name).expect("a part");
        &row[part.offset..][..part.shape[0] * part.shape[1]]
    }

    /// The output for one row of input.
    pub(crate) fn forward(&self, parameters: &[f64], x: &[f64]) -> Vec<f64> {
        self.run(parameters, x).0
    }

    /// The distance of the row from a point where the function is not smooth, or nearly so: a unit of relu at 0,
    /// features without a direction, or equal units that are to be normalised.
    pub(crate) fn margin(&self, parameters: &[f64], x: &[f64]) -> f64 {
        self.run(parameters, x).1
    }

    fn run(&self, parameters: &[f64], x: &[f64]) -> (Vec<f64>, f64) {
        let (mut x, mut margin) = (x.to_vec(), f64::INFINITY);
        let last = self.shape.hidden.len();
        for l in 0..=last {
            let (weight, bias) = (self.part(parameters, "weight", l), self.part(parameters, "bias", l));
            let width = bias.len();
            let mut z: Vec<f64> = (0..width)
                .map(|o| bias[o] + x.iter().zip(weight.chunks(width)).map(|(x, w)| x * w[o]).sum::<f64>())
                .collect();
            if l == last {
                return (z, margin);
            }
            if self.shape.layer_norm {
                let (scale, shift) = (self.part(parameters, "norm_scale", l), self.part(parameters, "norm_shift", l));
                let mean = z.iter().sum::<f64>() / width as f64;
                let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / width as f64;
                if width > 1 {
                    margin = margin.min(variance.sqrt());
                }
                for (i, z) in z.iter_mut().enumerate() {
                    *z = (*z - mean) / (variance + 1e-5).sqrt() * scale[i] + shift[i];
                }
            }
            x = z.iter().map(|&z| activation(self.shape.activation, z)).collect();
            if self.shape.activation == Activation::Relu {
                margin = z.iter().fold(margin, |margin, z| margin.min(z.abs()));
            }
            if let Some(power) = self.shape.hidden_norms.get(l).or(self.shape.hidden_norms.last()) {
                let mean = x.iter().sum::<f64>() / width as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                margin = margin.min(variance.sqrt());
                x.iter_mut().for_each(|x| *x = (*x - mean) / (variance + 10.0_f64.powi(i32::from(*power))).sqrt());
            }
            if l + 1 == last && self.shape.normalized_features {
                let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
                if norm > 0.0 {
                    margin = margin.min(norm);
                }
                x.iter_mut().for_each(|x| *x /= norm.max(1e-12));
            }
        }
        unreachable!("the last layer returns")
    }
}

fn activation(which: Activation, z: f64) -> f64 {
    match which {
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Relu => z.max(0.0),
        Activation::Tanh => z.tanh(),
        Activation::Identity => z,
    }
}

pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The numbers of a saved state as bits.
pub(crate) fn bits_of_state(state: &State) -> Vec<u32> {
    let arrays = state.iter().map(|(_, array)| &array.data);
    arrays
        .flat_map(|data| match data {
            Data::F32(values) => bits(values),
            Data::U64(values) => values.iter().flat_map(|&x| [x as u32, (x >> 32) as u32]).collect(),
            _ => panic!("neither numbers nor a count"),
        })
        .collect()
}

/// max |x|, or NaN if there is one.
pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, x| if most >= x.abs() || most.is_nan() { most } else { x.abs() })
}

/// max |a − b| / max |b|; 0 where a and b are equal.
#[track_caller]
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let differences: Vec<f64> = a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect();
    let (error, scale) = (largest(&differences), largest(&wide(b)));
    if error == 0.0 { 0.0 } else { error / scale }
}

/// The largest share of a tolerance that was used, and its place.
pub(crate) struct Worst {
    what: &'static str,
    tolerance: f64,
    share: f64,
    place: String,
}

impl Worst {
    pub(crate) fn new(what: &'static str, tolerance: f64) -> Self {
        Self { what, tolerance, share: 0.0, place: String::new() }
    }

    /// Records an error. Fails if it is above the tolerance or NaN.
    #[track_caller]
    pub(crate) fn take(&mut self, error: f64, place: impl FnOnce() -> String) {
        let share = error / self.tolerance;
        if share > self.share {
            (self.share, self.place) = (share, place());
        } else {
            assert!(share <= self.share, "{}: {error} at {}", self.what, place());
        }
        assert!(share <= 1.0, "{}: error {error}, tolerance {}, {}", self.what, self.tolerance, self.place);
    }
}

impl Drop for Worst {
    fn drop(&mut self) {
        let Self { what, tolerance, share, place } = self;
        eprintln!("{what}: at most {share:.3} of the tolerance {tolerance:e}, {place}");
    }
}

/// A network with an input and the gradient of a linear functional of its output.
#[derive(Clone)]
pub(crate) struct Case {
    pub net: Mlp,
    pub rows: usize,
    /// `[E, B, I]`, or `[1, B, I]` if all members share it.
    pub x: Vec<f32>,
    pub input_members: usize,
    /// `[E, B, O]`
    pub c: Vec<f32>,
}

/// The results of a pass over a case.
pub(crate) struct Pass {
    pub y: Vec<f32>,
    pub dx: Vec<f32>,
    /// `[E, P]`
    pub dw: Vec<f32>,
}

impl Case {
    /// Case number `case` of a stream.
    pub(crate) fn new(stream: &Stream, case: usize, device: &Device) -> Self {
        let draws = &mut stream.at(case as u64, 0);
        let shape = shape(case, draws);
        let rows = one_of(draws, &ROWS);
        let input_members = if draws.below(3) == 0 { 1 } else { shape.members };
        let mut case = Self::of(&shape, rows, input_members, draws.bits64(), device);
        if draws.below(5) == 0 {
            // Large inputs, far out on every activation.
            case.x.iter_mut().for_each(|x| *x *= 30.0);
        }
        case
    }

    pub(crate) fn of(shape: &Shape, rows: usize, input_members: usize, seed: u64, device: &Device) -> Self {
        let net = network(shape, &Stream::new(seed, "test/weights"), device);
        let x = Stream::new(seed, "test/input").normals(0, input_members * rows, shape.inputs);
        let c = Stream::new(seed, "test/functional").normals(0, shape.members * rows, shape.outputs);
        Self { net, rows, x, input_members, c }
    }

    pub(crate) fn shape(&self) -> &Shape {
        self.net.layout().shape()
    }

    pub(crate) fn describe(&self) -> String {
        format!("{:?}, {} rows, {} input members", self.shape(), self.rows, self.input_members)
    }

    pub(crate) fn device(&self) -> Device {
        self.net.slot().get().device()
    }

    pub(crate) fn input(&self) -> Tensor<3> {
        tensors::from_vec(self.x.clone(), [self.input_members, self.rows, self.shape().inputs], &self.device())
    }

    pub(crate) fn functional(&self) -> Tensor<3> {
        tensors::from_vec(self.c.clone(), [self.shape().members, self.rows, self.shape().outputs], &self.device())
    }

    /// One member's rows of the input.
    pub(crate) fn rows_of(&self, member: usize) -> &[f32] {
        let size = self.rows * self.shape().inputs;
        &self.x[if self.input_members == 1 { 0 } else { member * size }..][..size]
    }

    /// Computes output and gradients by autodiff, in the fused form or in tensor operations.
    pub(crate) fn pass(&self, fused: bool) -> Pass {
        let (net, x) = (self.net.tracked(), self.input().autodiff().require_grad());
        let y = if fused { net.forward(x.clone()) } else { net.reference(x.clone()) };
        let mut gradients = (y.clone() * self.functional()).sum().backward();
        let dx = x.grad_remove(&mut gradients).expect("a gradient at the input");
        assert_eq!((dx.dims(), y.dims()[1]), (x.dims(), self.rows));
        Pass { y: tensors::to_vec(y), dx: tensors::to_vec(dx), dw: tensors::to_vec(net.gradient(&mut gradients)) }
    }

    /// Runs forward and backward passes of some members on the lower level, with the rows cut at `cuts`; returns the
    /// tapes.
    pub(crate) fn tapes(&self, members: Range<usize>, cuts: &[usize], to_input: bool) -> Pieces {
        let all = all_of(&self.net);
        let layout = self.net.layout();
        let mut pieces = Pieces { members: members.clone(), tapes: Vec::new(), parts: cuts.len() + 1 };
        for member in members {
            let weights = layout.member(&all, member);
            let mut start = 0;
            for end in cuts.iter().copied().chain([self.rows]) {
                pieces.tapes.push(self.tape(layout, weights, member, start..end, to_input));
                start = end;
            }
        }
        pieces
    }

    /// Makes one tape. The output's gradient is NaN beyond the last row.
    fn tape(&self, layout: &Arc<Layout>, weights: &[f32], member: usize, rows: Range<usize>, to_input: bool) -> Tape {
        let Shape { inputs, outputs, .. } = *layout.shape();
        let mut tape = Tape::new(layout, rows.len());
        tape.set_input(&self.rows_of(member)[rows.start * inputs..rows.end * inputs]);
        tape.forward(weights);
        let c = &self.c[(member * self.rows + rows.start) * outputs..(member * self.rows + rows.end) * outputs];
        for (panel, c) in c.chunks(PANEL_ROWS * outputs).enumerate() {
            let (_, gradient) = tape.output_gradient_mut(panel);
            panels::pack(c, outputs, gradient);
            for feature in gradient.chunks_mut(PANEL_ROWS) {
                feature[c.len() / outputs..].fill(f32::NAN);
            }
        }
        if to_input {
            tape.backward_to_input(weights);
        } else {
            tape.backward(weights);
        }
        tape
    }
}

/// Tapes of some members.
pub(crate) struct Pieces {
    pub members: Range<usize>,
    pub tapes: Vec<Tape>,
    pub parts: usize,
}

impl Pieces {
    /// The gradient at the inputs, `[members, B, I]`.
    pub(crate) fn input_gradient(&self) -> Vec<f32> {
        let mut all = Vec::new();
        for tape in &self.tapes {
            let width = tape.layout().shape().inputs;
            let mut rows = vec![0.0; tape.rows() * width];
            for (panel, rows) in rows.chunks_mut(PANEL_ROWS * width).enumerate() {
                panels::unpack(tape.input_gradient(panel), width, rows);
            }
            all.extend(rows);
        }
        all
    }
}

impl Tapes for Pieces {
    fn members(&self) -> Range<usize> {
        self.members.clone()
    }

    fn parts(&self) -> usize {
        self.parts
    }

    fn tape(&self, member: usize, part: usize) -> &Tape {
        &self.tapes[(member - self.members.start) * self.parts + part]
    }
}
