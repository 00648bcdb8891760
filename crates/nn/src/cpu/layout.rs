//! The shape of `E` networks and the offset of each number.
//!
//! The parameters are `[E, P]`, with one row per member. A row holds, layer by layer: weight `[I, O]`, bias `[O]`, then
//! scale and shift `[O]` of the layer's normalisation if there is one. Every part begins at a multiple of 16 numbers.
//! The numbers between parts are zero and stay zero.

use super::PANEL_ROWS;

/// Added to the variance in layer normalisation.
pub(crate) const NORM_EPS: f32 = 1e-5;

/// The smallest norm by which features are divided.
pub(crate) const MIN_NORM: f32 = 1e-12;

/// The function between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x·σ(x): used by the ensemble.
    Silu,
    /// max(x, 0): used by the agent.
    Relu,
    /// tanh x.
    Tanh,
    /// x.
    Identity,
}

/// The shape of `E` networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of members, `E`.
    pub members: usize,
    /// Number of inputs, `I`.
    pub inputs: usize,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// Number of outputs, `O`.
    pub outputs: usize,
    /// The function between the layers.
    pub activation: Activation,
    /// Whether the hidden layers have layer normalisation before the activation: (z − mean) / √(var + 1e-5) · scale +
    /// shift (Ba, Kiros, Hinton 2016).
    pub layer_norm: bool,
    /// Whether the last hidden activation is divided by its L2 norm (Bjorck, Gomes, Weinberger, "Is High Variance
    /// Unavoidable in RL?", ICLR 2022).
    pub normalized_features: bool,
    /// Normalisation of each hidden layer's output, after its activation and without scale: (h − mean) / √(var + 10ᵏ).
    /// The vector holds the powers `k`, layer by layer. The last power also applies to the layers after it. An empty
    /// vector means no normalisation. It excludes `layer_norm` and `normalized_features`.
    pub hidden_norms: Vec<i8>,
}

impl Shape {
    /// The number that is added to the variance where the output of hidden layer `layer` is normalised.
    #[must_use]
    pub fn hidden_norm(&self, layer: usize) -> Option<f32> {
        let power = self.hidden_norms.get(layer).or(self.hidden_norms.last()).filter(|_| layer < self.hidden.len())?;
        Some(10.0_f32.powi(i32::from(*power)))
    }
}

/// One part of the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name: `weight.0`, `bias.0`, …
    pub name: String,
    /// Offset in a member's row.
    pub offset: usize,
    /// Its shape in one member, `[I, O]` or `[1, O]`.
    pub shape: [usize; 2],
}

/// The offsets of one layer's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Number of inputs, `I`.
    pub(crate) inputs: usize,
    /// Number of outputs, `O`.
    pub(crate) outputs: usize,
    /// Offset in a member's row of parameters: the weight `[I, O]`.
    pub(crate) weight: usize,
    /// Offset in a member's row of parameters: the bias `[O]`.
    pub(crate) bias: usize,
    /// Offset in a member's row of parameters, with layer normalisation: its scale `[O]`.
    pub(crate) scale: usize,
    /// Offset in a member's row of parameters, with layer normalisation: its shift `[O]`.
    pub(crate) shift: usize,
    /// Offset in a panel of a tape: the layer's result (its activation, or the network's output), `[O, PANEL_ROWS]`.
    pub(crate) output: usize,
    /// Offset in a panel of a tape: the derivative of the activation after the forward pass; the loss's gradient at the
    /// layer's sum after the backward pass, `[O, PANEL_ROWS]`.
    pub(crate) gradient: usize,
    /// Offset in a panel of a tape: the normalised sums, with layer normalisation, or the normalised outputs;
    /// `[O, PANEL_ROWS]`.
    pub(crate) normalized: usize,
    /// Offset in a panel of a tape: the inverse standard deviations of what is normalised, `[PANEL_ROWS]`.
    pub(crate) inverse_std: usize,
    /// Offset in a panel of a tape: the loss's gradient at scale · z + shift, with layer normalisation, or at the
    /// normalised outputs; `[O, PANEL_ROWS]`.
    pub(crate) norm_gradient: usize,
}

/// A shape with its offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    /// The layers, first to last.
    pub(crate) layers: Vec<Layer>,
    /// The layers in order of cost: the one with the most weights is first.
    pub(crate) by_cost: Vec<usize>,
    /// Numbers in a member's row, `P`.
    parameters: usize,
    /// Offset in a panel of a tape: the loss's gradient at the input.
    pub(crate) input_gradient: usize,
    /// Offset in a panel of a tape: the features divided by their norm.
    pub(crate) features: usize,
    /// Offset in a panel of a tape: the inverse norms of the features, `[PANEL_ROWS]`.
    pub(crate) inverse_norm: usize,
    /// Offset in a panel of a tape: the loss's gradient at the normalised features.
    pub(crate) features_gradient: usize,
    /// Length of a panel on a tape, in numbers.
    pub(crate) panel: usize,
    /// Width of the widest layer, including input and output.
    pub(crate) widest: usize,
}

impl Layout {
    /// Computes the offsets of a shape.
    ///
    /// # Panics
    /// If the shape has normalisations that exclude each other, or more numbers than memory has addresses.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let widths: Vec<usize> =
            [shape.inputs].into_iter().chain(shape.hidden.iter().copied()).chain([shape.outputs]).collect();
        let last = widths.len() - 2;
        assert!(
            shape.hidden_norms.is_empty() || !(shape.layer_norm || shape.normalized_features),
            "one normalisation at most: {shape:?}"
        );
        // Unchecked code relies on these sizes, so that none of them may wrap around.
        let product = |a: usize, b: usize| a.checked_mul(b).expect("the sizes of a network fit into memory");
        let mut parameters = 0;
        // The network's input comes first in a panel of a tape.
        let mut panel = product(shape.inputs, PANEL_ROWS);
        let take = |size: usize, total: &mut usize| {
            let at = *total;
            let end = size.checked_next_multiple_of(16).and_then(|size| at.checked_add(size));
            *total = end.expect("the sizes of a network fit into memory");
            at
        };
        let layers = widths
            .windows(2)
            .enumerate()
            .map(|(l, pair)| {
                let [inputs, outputs] = [pair[0], pair[1]];
                let normed = shape.layer_norm && l < last;
                let stores_norm = normed || shape.hidden_norm(l).is_some();
                let size_if = |is_stored: bool, size: usize| if is_stored { size } else { 0 };
                let panel_size = product(outputs, PANEL_ROWS);
                Layer {
                    inputs,
                    outputs,
                    weight: take(product(inputs, outputs), &mut parameters),
                    bias: take(outputs, &mut parameters),
                    scale: take(size_if(normed, outputs), &mut parameters),
                    shift: take(size_if(normed, outputs), &mut parameters),
                    output: take(panel_size, &mut panel),
                    gradient: take(panel_size, &mut panel),
                    normalized: take(size_if(stores_norm, panel_size), &mut panel),
                    inverse_std: take(size_if(stores_norm, PANEL_ROWS), &mut panel),
                    norm_gradient: take(size_if(stores_norm, panel_size), &mut panel),
                }
            })
            .collect::<Vec<Layer>>();
        let mut by_cost: Vec<usize> = (0..layers.len()).collect();
        by_cost.sort_by_key(|&l| std::cmp::Reverse(layers[l].inputs * layers[l].outputs));
        // The arrays `[E, P]` of all members.
        product(shape.members, parameters);
        let normalized = if shape.normalized_features { widths[last] * PANEL_ROWS } else { 0 };
        let input_gradient = take(shape.inputs * PANEL_ROWS, &mut panel);
        let features = take(normalized, &mut panel);
        let inverse_norm = take(if normalized > 0 { PANEL_ROWS } else { 0 }, &mut panel);
        let features_gradient = take(normalized, &mut panel);
        let widest = widths.iter().copied().max().unwrap_or(0);
        Self {
            shape,
            layers,
            by_cost,
            parameters,
            input_gradient,
            features,
            inverse_norm,
            features_gradient,
            panel,
            widest,
        }
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Length of a member's row of parameters, `P`.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// One member's row `[P]` of the parameters `[E, P]`, or of another array of that shape.
    #[track_caller]
    #[must_use]
    pub fn member<'a, T>(&self, parameters: &'a [T], member: usize) -> &'a [T] {
        &parameters[member * self.parameters..][..self.parameters]
    }

    /// The named parts of a member's row, in order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            let mut part = |name: &str, offset, rows| {
                parts.push(Part { name: format!("{name}.{l}"), offset, shape: [rows, layer.outputs] });
            };
            part("weight", layer.weight, layer.inputs);
            part("bias", layer.bias, 1);
            if self.has_norm(l) {
                part("norm_scale", layer.scale, 1);
                part("norm_shift", layer.shift, 1);
            }
        }
        parts
    }

    /// Number of layers with a weight.
    #[must_use]
    pub(crate) fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Whether the sums of layer `layer` have layer normalisation.
    pub(crate) fn has_norm(&self, layer: usize) -> bool {
        self.shape.layer_norm && layer + 1 < self.layers.len()
    }

    /// Offset in a panel of a tape: the input of a layer.
    pub(crate) fn input_of(&self, layer: usize) -> usize {
        if layer == 0 {
            0
        } else if layer + 1 == self.depth() && self.shape.normalized_features {
            self.features
        } else if self.shape.hidden_norm(layer - 1).is_some() {
            self.layers[layer - 1].normalized
        } else {
            self.layers[layer - 1].output
        }
    }
}
