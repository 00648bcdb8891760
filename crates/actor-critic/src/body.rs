//! The hidden layers of an agent's networks.

use foresee_nn::{Activation, Shape};

/// Hidden layers, with an activation after each: a ReLU, unless it is said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Their widths.
    pub hidden: Vec<usize>,
    /// Whether each is normalised before its activation.
    pub layer_norm: bool,
    /// Whether the last activation is divided by its L2 norm.
    pub normalized_features: bool,
    /// Between the layers.
    pub activation: Activation,
    /// Layer normalisation of every hidden activation h: (h − mean) / √(var + 1e-5), without learned scale and shift.
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
    /// The shape of `members` such networks.
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
