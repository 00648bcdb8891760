//! The hidden layers of an agent's networks.

use foresee_nn::{Activation, Shape};

/// Hidden layers, with an activation after each; the default activation is a ReLU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Widths of the layers.
    pub hidden: Vec<usize>,
    /// If true, layer normalisation with learned scale and shift acts on each hidden layer before its activation.
    pub layer_norm: bool,
    /// If true, the last hidden activation is divided by its L2 norm.
    pub normalized_features: bool,
    /// The activation after each layer.
    pub activation: Activation,
    /// If true, each hidden activation h is replaced by (h − mean) / √(var + 1e-5), without learned scale and shift.
    pub hidden_norm: bool,
}

impl Default for Body {
    fn default() -> Self {
        Self {
            hidden: vec![],
            layer_norm: false,
            normalized_features: false,
            activation: Activation::Relu,
            hidden_norm: false,
        }
    }
}

impl Body {
    /// Returns the shape of `members` networks with these hidden layers.
    #[must_use]
    pub fn shape(&self, members: usize, inputs: usize, outputs: usize) -> Shape {
        Shape {
            members,
            inputs,
            hidden: self.hidden.clone(),
            outputs,
            activation: self.activation,
            layer_norm: self.layer_norm,
            normalized_features: self.normalized_features,
            hidden_norms: if self.hidden_norm { vec![-5] } else { vec![] },
        }
    }
}
