//! `E` independent multilayer perceptrons at once: `[E, B, I] -> [E, B, O]`.
//!
//! Layer: y = activation(x W + b), W `[E, I, O]`, b `[E, 1, O]`; the last layer is linear. Members never mix: member
//! `e` of the output depends on member `e` of the input and of the weights alone.
//!
//! This is the readable form in ordinary tensor operations: the specification that fused implementations must meet,
//! and what runs on every backend without one.

use burn::tensor::activation::{relu, silu};
use burn::tensor::{Device, Tensor};
use foresee_core::Stream;

use crate::init::Init;
use crate::parameters::Parameters;
use crate::tensors;

/// What stands between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·σ(x): the ensemble's.
    Silu,
    /// max(x, 0): the agent's.
    Relu,
}

impl Activation {
    fn apply(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Silu => silu(x),
            Self::Relu => relu(x),
        }
    }
}

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpConfig {
    /// Members, `E`.
    pub members: usize,
    /// Inputs, `I`.
    pub inputs: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Outputs, `O`.
    pub outputs: usize,
    /// Between the layers.
    pub activation: Activation,
    /// Whether the last hidden activation is divided by its L2 norm (Bjorck, Gomes, Weinberger, "Is High Variance
    /// Unavoidable in RL?", ICLR 2022).
    pub normalized_features: bool,
    /// Initial weights.
    pub init: Init,
}

impl MlpConfig {
    /// A network with weights from `stream`: layer is the step, member the lane.
    #[must_use]
    pub fn init(&self, stream: &Stream, device: &Device) -> Mlp {
        let widths: Vec<usize> =
            [self.inputs].into_iter().chain(self.hidden.iter().copied()).chain([self.outputs]).collect();
        let layers = widths
            .windows(2)
            .enumerate()
            .map(|(layer, pair)| {
                let [inputs, outputs] = [pair[0], pair[1]];
                let weight = (0..self.members)
                    .flat_map(|member| self.init.weight(stream, layer as u64, member as u32, inputs, outputs))
                    .collect();
                Layer {
                    weight: tensors::from_vec(weight, [self.members, inputs, outputs], device),
                    bias: Tensor::zeros([self.members, 1, outputs], device),
                }
            })
            .collect();
        Mlp { layers, activation: self.activation, normalized_features: self.normalized_features }
    }
}

#[derive(Clone, Debug)]
struct Layer {
    /// `[E, I, O]`
    weight: Tensor<3>,
    /// `[E, 1, O]`
    bias: Tensor<3>,
}

/// `E` networks of one shape.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Layer>,
    activation: Activation,
    normalized_features: bool,
}

impl Mlp {
    /// Members, `E`.
    #[must_use]
    pub fn members(&self) -> usize {
        self.layers[0].weight.dims()[0]
    }

    /// Inputs, `I`.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layers[0].weight.dims()[1]
    }

    /// Member `member` alone, as a network of one.
    #[must_use]
    pub fn member(&self, member: usize) -> Self {
        let layers = self.layers.iter().map(|layer| Layer {
            weight: layer.weight.clone().narrow(0, member, 1),
            bias: layer.bias.clone().narrow(0, member, 1),
        });
        Self { layers: layers.collect(), activation: self.activation, normalized_features: self.normalized_features }
    }

    /// `[E, B, I] -> [E, B, O]`; an input `[1, B, I]` is shown to every member.
    #[track_caller]
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [members, rows, inputs] = x.dims();
        assert!(
            (members == 1 || members == self.members()) && inputs == self.inputs(),
            "input {:?}, expected [{} or 1, B, {}]",
            x.dims(),
            self.members(),
            self.inputs(),
        );
        let mut x = x.expand([self.members(), rows, inputs]);
        let last = self.layers.len() - 1;
        for (i, layer) in self.layers.iter().enumerate() {
            if i == last && self.normalized_features {
                x = unit_rows(x);
            }
            x = x.matmul(layer.weight.clone()) + layer.bias.clone();
            if i < last {
                x = self.activation.apply(x);
            }
        }
        x
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
    fn parameters(&self) -> Vec<(String, &Tensor<3>)> {
        self.layers
            .iter()
            .enumerate()
            .flat_map(|(i, layer)| [(format!("weight.{i}"), &layer.weight), (format!("bias.{i}"), &layer.bias)])
            .collect()
    }

    fn parameters_mut(&mut self) -> Vec<&mut Tensor<3>> {
        self.layers.iter_mut().flat_map(|layer| [&mut layer.weight, &mut layer.bias]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(members: usize, normalized_features: bool) -> Mlp {
        MlpConfig {
            members,
            inputs: 3,
            hidden: vec![5, 7],
            outputs: 2,
            activation: Activation::Silu,
            normalized_features,
            init: Init::TruncatedNormal,
        }
        .init(&Stream::new(1, "test/mlp"), &Device::flex())
    }

    fn input(members: usize, rows: usize) -> Vec<f32> {
        Stream::new(2, "test/mlp/input").normals(0, members * rows, 3)
    }

    /// The same network in scalar f64 loops.
    fn by_hand(net: &Mlp, member: usize, x: &[f32]) -> Vec<f64> {
        let mut x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for (i, layer) in net.layers.iter().enumerate() {
            let last = i + 1 == net.layers.len();
            let [_, inputs, outputs] = layer.weight.dims();
            let (w, b) = (tensors::to_vec(layer.weight.clone()), tensors::to_vec(layer.bias.clone()));
            if last && net.normalized_features {
                let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
                x.iter_mut().for_each(|x| *x /= norm);
            }
            x = (0..outputs)
                .map(|o| {
                    let sum: f64 = (0..inputs).map(|k| x[k] * f64::from(w[(member * inputs + k) * outputs + o])).sum();
                    let y = sum + f64::from(b[member * outputs + o]);
                    if last { y } else { y / (1.0 + (-y).exp()) }
                })
                .collect();
        }
        x
    }

    #[test]
    fn it_agrees_with_scalar_loops_for_every_member_and_row() {
        for (members, rows, normalized) in [(1, 1, false), (3, 4, false), (7, 5, true), (2, 1, true)] {
            let net = network(members, normalized);
            let x = input(members, rows);
            let y = tensors::to_vec(net.forward(tensors::from_vec(x.clone(), [members, rows, 3], &Device::flex())));
            for member in 0..members {
                for row in 0..rows {
                    let at = member * rows + row;
                    for (o, want) in by_hand(&net, member, &x[at * 3..][..3]).iter().enumerate() {
                        let got = f64::from(y[at * 2 + o]);
                        assert!((got - want).abs() < 1e-5, "member {member}, row {row}: {got}, expected {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_shared_input_is_shown_to_every_member() {
        let net = network(3, false);
        let x = tensors::from_vec(input(1, 4), [1, 4, 3], &Device::flex());
        let shared = tensors::to_vec(net.forward(x.clone()));
        let repeated = tensors::to_vec(net.forward(x.repeat(&[3, 1, 1])));
        assert_eq!(shared, repeated);
    }

    #[test]
    fn normalised_features_of_a_dead_row_have_a_finite_gradient() {
        let x = Tensor::<3>::zeros([1, 2, 4], &Device::flex()).autodiff().require_grad();
        let gradients = unit_rows(x.clone()).sum().backward();
        assert!(tensors::to_vec(x.grad(&gradients).unwrap()).iter().all(|g| g.is_finite()));
    }
}
