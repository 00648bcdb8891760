//! What a kernel knows of a network when it is compiled: sizes and offsets, not numbers.

use crate::cpu::{Activation, Layout};

/// One layer, with the offsets of its parts in a member's row of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerShape {
    /// Inputs, `I`.
    pub inputs: usize,
    /// Outputs, `O`.
    pub outputs: usize,
    /// Where the weight `[I, O]` begins.
    pub weight: usize,
    /// Where the bias `[O]` begins.
    pub bias: usize,
    /// Where the scale `[O]` of the normalisation begins, if there is one.
    pub scale: usize,
    /// Where its shift `[O]` begins.
    pub shift: usize,
    /// Where the next layer begins.
    pub end: usize,
    /// Whether the sums are normalised before the activation.
    pub norm: bool,
}

/// The layers of one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetShape {
    /// Layers in order; the last is linear.
    pub layers: Vec<LayerShape>,
    /// Between the layers.
    pub activation: Activation,
    /// Whether the last hidden activation is divided by its L2 norm.
    pub normalized_features: bool,
    /// Numbers in a member's row, `P`.
    pub parameters: usize,
}

impl NetShape {
    /// Layers, the last one counted.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Inputs of the network, `I`.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Outputs of the network, `O`.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.layers[self.depth() - 1].outputs
    }

    /// The widest of inputs, layers and outputs.
    #[must_use]
    pub fn widest(&self) -> usize {
        self.layers.iter().map(|layer| layer.outputs).fold(self.inputs(), usize::max)
    }

    /// Whether layer `layer`'s activation is divided by its norm.
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
