//! The part of a network that a kernel knows when it is compiled: sizes and offsets, not numbers.

use crate::cpu::{Activation, Layout};

/// One layer, with the offsets of its parts in a member's row of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerShape {
    /// Number of inputs, `I`.
    pub inputs: usize,
    /// Number of outputs, `O`.
    pub outputs: usize,
    /// Offset of the weight `[I, O]`.
    pub weight: usize,
    /// Offset of the bias `[O]`.
    pub bias: usize,
    /// Offset of the normalisation's scale `[O]`, if there is one.
    pub scale: usize,
    /// Offset of the normalisation's shift `[O]`.
    pub shift: usize,
    /// Offset of the next layer.
    pub end: usize,
    /// Whether the sums are normalised before the activation.
    pub norm: bool,
}

/// The layers of one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetShape {
    /// The layers in order; the last one is linear.
    pub layers: Vec<LayerShape>,
    /// The function between the layers.
    pub activation: Activation,
    /// Whether the last hidden activation is divided by its L2 norm.
    pub normalized_features: bool,
    /// Length of a member's row of parameters, `P`.
    pub parameters: usize,
}

impl NetShape {
    /// Number of layers, including the last one.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Number of inputs of the network, `I`.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Number of outputs of the network, `O`.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers[self.depth() - 1].outputs
    }

    /// Width of the widest layer, including input and output.
    #[must_use]
    pub fn widest(&self) -> usize {
        self.layers.iter().map(|layer| layer.outputs).fold(self.inputs(), usize::max)
    }

    /// Whether the activation of layer `layer` is divided by its norm.
    #[must_use]
    pub fn is_unit(&self, layer: usize) -> bool {
        self.normalized_features && layer + 2 == self.depth()
    }
}

impl From<&Layout> for NetShape {
    fn from(layout: &Layout) -> Self {
        let shape = layout.shape();
        let ends = layout.layers.iter().skip(1).map(|layer| layer.weight).chain([layout.parameters()]);
        let layers = layout.layers.iter().zip(ends).enumerate().map(|(l, (layer, end))| LayerShape {
            inputs: layer.inputs,
            outputs: layer.outputs,
            weight: layer.weight,
            bias: layer.bias,
            scale: layer.scale,
            shift: layer.shift,
            end,
            norm: layout.has_norm(l),
        });
        Self {
            layers: layers.collect(),
            activation: shape.activation,
            normalized_features: shape.normalized_features,
            parameters: layout.parameters(),
        }
    }
}
