//! `E` independent multilayer perceptrons evaluated together: `[E, B, I] -> [E, B, O]`.
//!
//! Each layer computes y = activation(norm(x W + b)), with W `[I, O]` and b `[O]` in every member; the last layer is
//! linear. Members never mix: member `e` of the output depends only on member `e` of the input and of the weights.
//!
//! The function has two forms. [`Mlp::reference`] is written in ordinary tensor operations: it is the specification,
//! and it runs on every backend. In host memory and on GPUs, [`Mlp::forward`] is a single operation with its own
//! backward pass ([`extension`](mod@crate::extension)), implemented in the lower level ([`cpu`](crate::cpu), `cube`).

use std::sync::Arc;

use burn::tensor::activation::{relu, silu};
use burn::tensor::{Device, Tensor};
use foresee_core::Stream;

use crate::cpu::{Activation, Layout, MIN_NORM, NORM_EPS, Part, Shape};
use crate::extension;
use crate::host::TensorSlot;
use crate::init::Init;
use crate::parameters::Parameters;
use crate::tensors;

/// `E` networks of one shape.
#[derive(Clone, Debug)]
pub struct Mlp {
    layout: Arc<Layout>,
    /// `[E, 1, P]`
    parameters: TensorSlot,
    /// Whether the fused form has an implementation on the device.
    fused: bool,
}

impl Mlp {
    /// Creates networks whose weights and biases are drawn from `stream` (the layer is the step, the member is the
    /// substream). Scales are 1 and shifts are 0.
    #[must_use]
    pub fn new(shape: Shape, init: Init, stream: &Stream, device: &Device) -> Self {
        let layout = Layout::new(shape);
        let (members, width) = (layout.shape().members, layout.parameters());
        let mut all = vec![0.0; members * width];
        for (e, row) in all.chunks_exact_mut(width).enumerate() {
            for (l, layer) in layout.layers.iter().enumerate() {
                let [weight, bias] = init.layer(stream, l as u64, e as u32, layer.inputs, layer.outputs);
                row[layer.weight..][..weight.len()].copy_from_slice(&weight);
                row[layer.bias..][..bias.len()].copy_from_slice(&bias);
                if layout.has_norm(l) {
                    row[layer.scale..][..layer.outputs].fill(1.0);
                }
            }
        }
        let parameters = tensors::from_vec(all, [members, 1, width], device);
        let fused = extension::supports(&parameters, &layout);
        Self { layout: Arc::new(layout), parameters: TensorSlot::new(parameters), fused }
    }

    /// Sets the last layer's weights and biases to 0, so that every output is 0.
    #[must_use]
    pub fn with_zero_output(mut self) -> Self {
        let last = self.layout.layers[self.layout.depth() - 1];
        let parameters = self.parameters.take();
        let [members, rows, _] = parameters.dims();
        let part = last.weight..last.bias + last.outputs;
        let zeros = Tensor::zeros([members, rows, part.len()], &parameters.device());
        self.parameters.put(parameters.slice_assign([0..members, 0..rows, part], zeros));
        self
    }

    /// Sets the last layer's weights of the outputs `outputs` to 0, so that these outputs equal their biases.
    #[must_use]
    pub fn with_zero_weights_of(mut self, outputs: std::ops::Range<usize>) -> Self {
        let last = self.layout.layers[self.layout.depth() - 1];
        let parameters = self.parameters.take();
        let members = parameters.dims()[0];
        let part = last.weight..last.weight + last.inputs * last.outputs;
        let weights =
            parameters.clone().narrow(2, part.start, part.len()).reshape([members, last.inputs, last.outputs]);
        let zeros = Tensor::zeros([members, last.inputs, outputs.len()], &parameters.device());
        let weights = weights.slice_assign([0..members, 0..last.inputs, outputs], zeros);
        let weights = weights.reshape([members, 1, part.len()]);
        self.parameters.put(parameters.slice_assign([0..members, 0..1, part], weights));
        self
    }

    /// Folds a normalisation of the inputs and a scaling of the outputs into the weights.
    ///
    /// If these networks compute y = f(x), the returned ones compute scale_o · f(x')_o + shift_o. The first inputs of
    /// x' are (x − mean) / std, and the others are x. Both maps enter the weights and biases of the first and the last
    /// layer. The computation runs on the host, in f64.
    ///
    /// # Panics
    /// If there are more means than inputs, or the number of deviations is not that of means, or the number of scales
    /// or shifts is not that of outputs.
    #[track_caller]
    #[must_use]
    pub fn folded(&self, [mean, std]: [&[f32]; 2], [scale, shift]: [&[f64]; 2]) -> Self {
        assert!(mean.len() == std.len() && mean.len() <= self.inputs(), "moments of at most {} inputs", self.inputs());
        let (first, last) = (self.layout.layers[0], self.layout.layers[self.layout.depth() - 1]);
        assert_eq!([scale.len(), shift.len()], [last.outputs; 2], "one scale and one shift per output");
        let parameters = self.parameters.get();
        let mut all = tensors::to_vec(parameters.clone());
        for row in all.chunks_exact_mut(self.layout.parameters()) {
            for o in 0..first.outputs {
                let mut bias = f64::from(row[first.bias + o]);
                for (i, (&mean, &std)) in mean.iter().zip(std).enumerate() {
                    let weight = &mut row[first.weight + i * first.outputs + o];
                    let folded = f64::from(*weight) / f64::from(std);
                    bias -= folded * f64::from(mean);
                    *weight = folded as f32;
                }
                row[first.bias + o] = bias as f32;
            }
            for weights in row[last.weight..][..last.inputs * last.outputs].chunks_exact_mut(last.outputs) {
                weights.iter_mut().zip(scale).for_each(|(w, scale)| *w = (scale * f64::from(*w)) as f32);
            }
            for (bias, (scale, shift)) in row[last.bias..].iter_mut().zip(scale.iter().zip(shift)) {
                *bias = (scale * f64::from(*bias) + shift) as f32;
            }
        }
        let parameters = tensors::from_vec(all, parameters.dims(), &parameters.device());
        Self { layout: Arc::clone(&self.layout), parameters: TensorSlot::new(parameters), fused: self.fused }
    }

    /// Number of members, `E`.
    #[must_use]
    pub fn members(&self) -> usize {
        self.layout.shape().members
    }

    /// Number of inputs, `I`.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layout.shape().inputs
    }

    /// Returns true if [`Mlp::forward`] runs as one fused operation on this device. Otherwise it runs
    /// [`Mlp::reference`].
    #[must_use]
    pub fn is_fused(&self) -> bool {
        self.fused
    }

    /// Maximum number of rows per member in a pass for gradients on this device, if its buffers are bounded; otherwise
    /// `None`.
    #[must_use]
    pub fn max_rows_per_pass(&self) -> Option<usize> {
        #[cfg(feature = "wgpu")]
        if self.fused && crate::cube::is_plain(self.parameters.get()) {
            return Some(crate::cube::max_rows_per_pass(
                &crate::cube::buffer(self.parameters.get().clone()),
                &self.layout,
            ));
        }
        None
    }

    /// The offsets of all parameters.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Copies member `member` into a network with one member.
    #[must_use]
    pub fn member(&self, member: usize) -> Self {
        let shape = Shape { members: 1, ..self.layout.shape().clone() };
        let parameters = TensorSlot::new(self.parameters.get().clone().narrow(0, member, 1));
        Self { layout: Arc::new(Layout::new(shape)), parameters, fused: self.fused }
    }

    /// Computes `[E, B, I] -> [E, B, O]`. An input `[1, B, I]` is shared by all members.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.check(&x);
        if self.fused {
            extension::mlp(x, self.parameters.get().clone(), self.layout.clone())
        } else {
            self.reference(x)
        }
    }

    /// Computes [`Mlp::forward`] in ordinary tensor operations.
    #[track_caller]
    #[must_use]
    pub fn reference(&self, mut x: Tensor<3>) -> Tensor<3> {
        self.check(&x);
        let members = self.members();
        let part = |offset: usize, [i, o]: [usize; 2]| {
            self.parameters.get().clone().narrow(2, offset, i * o).reshape([members, i, o])
        };
        let last = self.layout.depth() - 1;
        for (l, layer) in self.layout.layers.iter().enumerate() {
            if l == last && l > 0 && self.layout.shape().normalized_features {
                x = unit_rows(x);
            }
            x = x.matmul(part(layer.weight, [layer.inputs, layer.outputs])) + part(layer.bias, [1, layer.outputs]);
            if self.layout.has_norm(l) {
                let centred = x.clone() - x.mean_dim(2);
                let variance = centred.clone().square().mean_dim(2);
                let normalized = centred / variance.add_scalar(NORM_EPS).sqrt();
                x = normalized * part(layer.scale, [1, layer.outputs]) + part(layer.shift, [1, layer.outputs]);
            }
            if l < last {
                x = match self.layout.shape().activation {
                    Activation::Silu => silu(x),
                    Activation::Relu => relu(x),
                    Activation::Tanh => x.tanh(),
                    Activation::Identity => x,
                };
            }
            if let Some(eps) = self.layout.shape().hidden_norm(l) {
                let centred = x.clone() - x.mean_dim(2);
                let variance = centred.clone().square().mean_dim(2);
                x = centred / variance.add_scalar(eps).sqrt();
            }
        }
        x
    }

    #[track_caller]
    fn check(&self, x: &Tensor<3>) {
        let [members, _, inputs] = x.dims();
        assert!(
            (members == 1 || members == self.members()) && inputs == self.inputs(),
            "input {:?}, expected [{} or 1, B, {}]",
            x.dims(),
            self.members(),
            self.inputs(),
        );
    }
}

/// Computes x / max(‖x‖₂, 1e-12) along the last axis.
///
/// The norm is detached, and the factor (3 − ‖z‖²) / 2 restores its part of the gradient. With z = x / ‖x‖ and ‖z‖ = 1,
/// the expression z (3 − ‖z‖²) / 2 has the value z and the gradient g − z (g·z), which is exactly zero where a row has
/// one active unit. Differentiating the quotient instead would leave rounding noise there, and Adam's first steps turn
/// anything above its epsilon of 1e-8 into a full step. The gradient of a row of zeros is finite.
fn unit_rows(x: Tensor<3>) -> Tensor<3> {
    let norm = x.clone().detach().square().sum_dim(2).sqrt().clamp_min(MIN_NORM);
    let z = x / norm;
    let squares = z.clone().square().sum_dim(2);
    z * squares.mul_scalar(-0.5).add_scalar(1.5)
}

impl Parameters for Mlp {
    fn slot(&self) -> &TensorSlot {
        &self.parameters
    }

    fn slot_mut(&mut self) -> &mut TensorSlot {
        &mut self.parameters
    }

    fn parts(&self) -> Vec<Part> {
        self.layout.parts()
    }
}

#[cfg(test)]
mod tests;
