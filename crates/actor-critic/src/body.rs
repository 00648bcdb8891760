//! The hidden layers of an agent's networks.

use foresee_nn::{Activation, Shape};

/// Hidden layers, with a ReLU after each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Their widths.
    pub hidden: Vec<usize>,
    /// Whether each is normalised before its activation.
    pub layer_norm: bool,
    /// Whether the last activation is divided by its L2 norm.
    pub normalized_features: bool,
}

impl Body {
    /// The shape of `members` such networks.
    #[must_use]
    pub fn shape(&self, members: usize, inputs: usize, outputs: usize) -> Shape {
        Shape {
            members,
            inputs,
            hidden: self.hidden.clone(),
            outputs,
            activation: Activation::Relu,
            layer_norm: self.layer_norm,
            normalized_features: self.normalized_features,
        }
    }
}
