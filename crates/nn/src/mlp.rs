//! `E` independent multilayer perceptrons at once: `[E, B, I] -> [E, B, O]`.
//!
//! Layer: y = activation(norm(x W + b)), W `[I, O]` and b `[O]` in every member; the last layer is linear. Members
//! never mix: member `e` of the output depends on member `e` of the input and of the weights alone.
//!
//! One function in two forms. [`Mlp::reference`], in ordinary tensor operations, is the specification and serves every
//! backend. In host memory and on GPUs [`Mlp::forward`] is one operation with a backward pass of its own
//! ([`extension`](crate::extension)), on the lower floor ([`cpu`](crate::cpu), `cube`).

use std::sync::Arc;

use burn::tensor::activation::{relu, silu};
use burn::tensor::{Device, Tensor};
use foresee_core::Stream;

use crate::cpu::{Activation, Layout, Part, Shape};
use crate::extension;
use crate::host::Slot;
use crate::init::Init;
use crate::parameters::Parameters;
use crate::tensors;

/// Added to the variance in layer normalisation.
const NORM_EPS: f64 = 1e-5;

/// `E` networks of one shape.
#[derive(Clone, Debug)]
pub struct Mlp {
    layout: Arc<Layout>,
    /// `[E, 1, P]`
    parameters: Slot,
    /// Whether the fused form has an implementation on the device.
    fused: bool,
}

impl Mlp {
    /// Networks with weights from `stream` (layer is the step, member the lane), biases 0, scales 1, shifts 0.
    #[must_use]
    pub fn new(shape: Shape, init: Init, stream: &Stream, device: &Device) -> Self {
        let layout = Layout::new(shape);
        let (members, width) = (layout.shape().members, layout.parameters());
        let mut all = vec![0.0; members * width];
        for (e, row) in all.chunks_exact_mut(width).enumerate() {
            for (l, layer) in layout.layers.iter().enumerate() {
                let weight = init.weight(stream, l as u64, e as u32, layer.inputs, layer.outputs);
                row[layer.weight..][..weight.len()].copy_from_slice(&weight);
                if layout.has_norm(l) {
                    row[layer.scale..][..layer.outputs].fill(1.0);
                }
            }
        }
        let parameters = tensors::from_vec(all, [members, 1, width], device);
        let fused = extension::takes(&parameters, &layout);
        Self { layout: Arc::new(layout), parameters: Slot::new(parameters), fused }
    }

    /// Members, `E`.
    #[must_use]
    pub fn members(&self) -> usize {
        self.layout.shape().members
    }

    /// Inputs, `I`.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layout.shape().inputs
    }

    /// Whether [`Mlp::forward`] is one operation on this device.
    #[must_use]
    pub fn is_fused(&self) -> bool {
        self.fused
    }

    /// Rows of a member that a pass for gradients can have on this device, whose buffers are bounded; nothing where there is
    /// no bound.
    #[must_use]
    pub fn rows_of_one_pass(&self) -> Option<usize> {
        #[cfg(feature = "wgpu")]
        if self.fused && crate::cube::is_plain(self.parameters.get()) {
            return Some(crate::cube::rows_of_one_pass(
                &crate::cube::buffer(self.parameters.get().clone()),
                &self.layout,
            ));
        }
        None
    }

    /// Where every number stands.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Member `member` alone, as a network of one.
    #[must_use]
    pub fn member(&self, member: usize) -> Self {
        let shape = Shape { members: 1, ..self.layout.shape().clone() };
        let parameters = Slot::new(self.parameters.get().clone().narrow(0, member, 1));
        Self { layout: Arc::new(Layout::new(shape)), parameters, fused: self.fused }
    }

    /// `[E, B, I] -> [E, B, O]`; an input `[1, B, I]` is shown to every member.
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

    /// The same in ordinary tensor operations.
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

/// x / max(‖x‖₂, 1e-12) along the last axis.
///
/// The norm is a constant to autodiff: with z = x / ‖x‖ and ‖z‖ = 1, z (3 − ‖z‖²) / 2 has the value z and the gradient
/// g − z (g·z), which is exactly zero where one unit of a row is active. Differentiating the quotient leaves rounding
/// noise there, and Adam's first steps make a full step of anything above its 1e-8. A row of zeros keeps a finite
/// gradient.
fn unit_rows(x: Tensor<3>) -> Tensor<3> {
    let norm = x.clone().detach().square().sum_dim(2).sqrt().clamp_min(1e-12);
    let z = x / norm;
    let squares = z.clone().square().sum_dim(2);
    z * squares.mul_scalar(-0.5).add_scalar(1.5)
}

impl Parameters for Mlp {
    fn slot(&self) -> &Slot {
        &self.parameters
    }

    fn slot_mut(&mut self) -> &mut Slot {
        &mut self.parameters
    }

    fn parts(&self) -> Vec<Part> {
        self.layout.parts()
    }
}

#[cfg(test)]
mod tests;
