//! The passes that store the data for gradients: forward with a tape, and backward to the sums of every layer.
//!
//! A tape is one buffer, `[member][tile][feature][T]`. It holds a tile's inputs of every layer, the derivatives of the
//! activations, and the data of the normalisations. The backward pass replaces the derivatives by the loss's gradients
//! at the sums.

use cubecl::prelude::*;

use super::math;
use super::net_shape::{LayerShape, NetShape};
use super::product::{Product, linear};
use super::tile::{self, Tile, activation_of, own_feature, own_vector, scaled, total};
use crate::cpu::Activation;

/// The offsets of a layer's numbers on a tape, in features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TapeLayer {
    /// Offset of the layer's input, `[I]`.
    pub(crate) input: usize,
    /// Offset of the activation's derivative, and after the backward pass of the loss's gradient at the sums, `[O]`.
    pub(crate) gradient: usize,
    /// Offset of the normalised sums, with layer normalisation, `[O]`.
    pub(crate) normalized: usize,
    /// Offset of the inverse standard deviation of the sums, with layer normalisation.
    pub(crate) inverse_std: usize,
    /// Offset of the loss's gradient at scale · z + shift, with layer normalisation, `[O]`.
    pub(crate) norm_gradient: usize,
}

/// The offsets of all numbers in a tile's part of a tape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TapeShape {
    pub(crate) layers: Vec<TapeLayer>,
    /// Offset of the inverse norm of the features that are divided by it.
    pub(crate) inverse_norm: usize,
    /// Number of features of all parts together.
    pub(crate) size: usize,
}

impl TapeShape {
    pub(crate) fn new(net: &NetShape) -> Self {
        let mut size = 0;
        let mut take = |features: usize| {
            let at = size;
            size += features;
            at
        };
        let layers = net.layers.iter().map(|layer| {
            let normed = if layer.norm { layer.outputs } else { 0 };
            TapeLayer {
                input: take(layer.inputs),
                gradient: take(layer.outputs),
                normalized: take(normed),
                inverse_std: take(usize::from(layer.norm)),
                norm_gradient: take(normed),
            }
        });
        let layers = layers.collect();
        let inverse_norm = take(usize::from(net.normalized_features));
        Self { layers, inverse_norm, size }
    }
}

/// Copies features from shared memory to the tape.
#[cube]
fn store<N: Size>(
    shared: &mut Shared<[Vector<f32, N>]>,
    tape: &mut [Vector<f32, N>],
    to: usize,
    #[comptime] at: usize,
    #[comptime] features: usize,
    #[comptime] tile: Tile,
) {
    let mut i = UNIT_POS as usize;
    while i < comptime!(features * tile.vectors()) {
        tape[to + i] = shared[at + i];
        i += comptime!(tile.threads);
    }
}

/// Writes one number per row to the tape. The first thread of each vector writes that vector.
#[cube]
fn store_rows<N: Size>(values: Vector<f32, N>, tape: &mut [Vector<f32, N>], to: usize, #[comptime] tile: Tile) {
    if own_feature(tile) == 0 {
        tape[to + own_vector(tile)] = values;
    }
}

/// The forward pass of [`tile::forward`], which also writes the tape; the tile's part of the tape begins at `part`.
#[cube]
pub(crate) fn forward<N: Size>(
    parameters: &[f32],
    member: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    tape: &mut [Vector<f32, N>],
    part: usize,
    #[comptime] net: NetShape,
    #[comptime] shape: TapeShape,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    store::<N>(shared, tape, part, comptime!(tile.input()), comptime!(net.inputs()), tile);
    #[unroll]
    for l in 0..comptime!(net.depth()) {
        let layer = comptime!(net.layers[l]);
        let tape_layer = comptime!(shape.layers[l]);
        let to = comptime!(tile.side(l + 1));
        linear::<N>(parameters, member, shared, comptime!(tile.side(l)), to, comptime!(Product::of(&layer)), tile);
        if comptime!(layer.norm) {
            let inverse = tile::normalize::<N>(shared, to, comptime!(layer.outputs), tile);
            store_rows::<N>(inverse, tape, part + comptime!(tape_layer.inverse_std * vectors), tile);
            store::<N>(
                shared,
                tape,
                part + comptime!(tape_layer.normalized * vectors),
                to,
                comptime!(layer.outputs),
                tile,
            );
        }
        if comptime!(l + 1 < net.depth()) {
            activate::<N>(
                parameters,
                member,
                shared,
                tape,
                part + comptime!(tape_layer.gradient * vectors),
                to,
                layer,
                comptime!(net.activation),
                tile,
            );
            if comptime!(net.is_unit(l)) {
                let inverse = tile::unit::<N>(shared, to, comptime!(layer.outputs), tile);
                store_rows::<N>(inverse, tape, part + comptime!(shape.inverse_norm * vectors), tile);
            }
            store::<N>(
                shared,
                tape,
                part + comptime!(shape.layers[l + 1].input * vectors),
                to,
                comptime!(layer.outputs),
                tile,
            );
        }
    }
}

/// Does what [`tile::activate`] does, and writes the derivatives to the tape at `slopes`.
#[cube]
fn activate<N: Size>(
    parameters: &[f32],
    member: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    tape: &mut [Vector<f32, N>],
    slopes: usize,
    #[comptime] at: usize,
    #[comptime] layer: LayerShape,
    #[comptime] activation: Activation,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    let vector = own_vector(tile);
    let mut f = own_feature(tile);
    while f < comptime!(layer.outputs) {
        let i = f * vectors + vector;
        let mut x = shared[at + i];
        if comptime!(layer.norm) {
            x = scaled::<N>(x, f, parameters, member, layer);
        }
        let y = activation_of::<N>(x, activation);
        shared[at + i] = y;
        tape[slopes + i] = slope_of::<N>(x, y, activation);
        f += comptime!(tile.threads / vectors);
    }
    sync_cube();
}

/// An activation's derivative at x, given its value y there.
#[cube]
fn slope_of<N: Size>(x: Vector<f32, N>, y: Vector<f32, N>, #[comptime] activation: Activation) -> Vector<f32, N> {
    let mut slope = Vector::<f32, N>::new(1.0f32);
    if comptime!(activation == Activation::Tanh) {
        slope = Vector::new(1.0f32) - y * y;
    }
    #[unroll]
    for lane in 0..N::value() {
        let z = x.extract(lane);
        if comptime!(activation == Activation::Silu) {
            let value = y.extract(lane);
            slope.insert(lane, math::sigmoid(z) * (1.0f32 - value) + value);
        } else if comptime!(activation == Activation::Relu) {
            slope.insert(lane, select(z > 0.0f32, 1.0f32, 0.0f32));
        }
    }
    slope
}

/// Runs the backward pass. It reads the gradient at the output from [`Tile::input`], and writes the gradient at the
/// pre-activations of every layer to the tape. With `to_input`, the gradient at the network's input is on side `depth`
/// afterwards; without it, the numbers there have no meaning. `transposed` is a row like that of the parameters, with
/// every weight as `[O, I]`.
#[cube]
pub(crate) fn backward<N: Size>(
    parameters: &[f32],
    transposed: &[f32],
    member: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    tape: &mut [Vector<f32, N>],
    part: usize,
    #[comptime] to_input: bool,
    #[comptime] net: NetShape,
    #[comptime] shape: TapeShape,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    store::<N>(
        shared,
        tape,
        part + comptime!(shape.layers[net.depth() - 1].gradient * vectors),
        comptime!(tile.input()),
        comptime!(net.outputs()),
        tile,
    );
    #[unroll]
    for step in 0..comptime!(net.depth()) {
        let l = comptime!(net.depth() - 1 - step);
        let layer = comptime!(net.layers[l]);
        let to = comptime!(tile.side(step + 1));
        if comptime!(l > 0 || to_input) {
            let product =
                comptime!(Product { inputs: layer.outputs, outputs: layer.inputs, weight: layer.weight, bias: None });
            linear::<N>(transposed, member, shared, comptime!(tile.side(step)), to, product, tile);
        }
        if comptime!(l > 0) {
            let below = comptime!(net.layers[l.saturating_sub(1)]);
            let tape_layer = comptime!(shape.layers[l.saturating_sub(1)]);
            if comptime!(net.is_unit(l.saturating_sub(1))) {
                unit_backward::<N>(
                    shared,
                    tape,
                    part + comptime!(shape.layers[l].input * vectors),
                    part + comptime!(shape.inverse_norm * vectors),
                    to,
                    comptime!(below.outputs),
                    tile,
                );
            }
            activation_backward::<N>(shared, tape, part, to, below, tape_layer, tile);
            if comptime!(below.norm) {
                norm_backward::<N>(parameters, member, shared, tape, part, to, below, tape_layer, tile);
            }
        }
    }
}

/// With z = x / ‖x‖ on the tape: the gradient at x is (g − z (g·z)) / ‖x‖, exactly 0 where a row has one active unit.
#[cube]
fn unit_backward<N: Size>(
    shared: &mut Shared<[Vector<f32, N>]>,
    tape: &mut [Vector<f32, N>],
    z: usize,
    inverse: usize,
    #[comptime] at: usize,
    #[comptime] features: usize,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    let vector = own_vector(tile);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    let mut f = own_feature(tile);
    while f < features {
        let i = f * vectors + vector;
        sum += shared[at + i] * tape[z + i];
        f += comptime!(tile.slices());
    }
    let dot = total::<N>(sum, shared, tile);
    let inverse = tape[inverse + vector];
    let mut f = own_feature(tile);
    while f < features {
        let i = f * vectors + vector;
        shared[at + i] = (shared[at + i] - tape[z + i] * dot) * inverse;
        f += comptime!(tile.threads / vectors);
    }
    sync_cube();
}

/// The gradient before the activation: at the sums, or with layer normalisation at scale · z + shift.
#[cube]
fn activation_backward<N: Size>(
    shared: &mut Shared<[Vector<f32, N>]>,
    tape: &mut [Vector<f32, N>],
    part: usize,
    #[comptime] at: usize,
    #[comptime] layer: LayerShape,
    #[comptime] tape_layer: TapeLayer,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    let to = comptime!(if layer.norm { tape_layer.norm_gradient } else { tape_layer.gradient });
    let mut i = UNIT_POS as usize;
    while i < comptime!(layer.outputs * vectors) {
        let g = shared[at + i] * tape[part + i + comptime!(tape_layer.gradient * vectors)];
        shared[at + i] = g;
        tape[part + i + comptime!(to * vectors)] = g;
        i += comptime!(tile.threads);
    }
    sync_cube();
}

/// With z the normalised sums and g the gradient at z·scale + shift:
/// g ← (g·scale − mean(g·scale) − z mean(z·g·scale)) / σ.
#[cube]
fn norm_backward<N: Size>(
    parameters: &[f32],
    member: usize,
    shared: &mut Shared<[Vector<f32, N>]>,
    tape: &mut [Vector<f32, N>],
    part: usize,
    #[comptime] at: usize,
    #[comptime] layer: LayerShape,
    #[comptime] tape_layer: TapeLayer,
    #[comptime] tile: Tile,
) {
    let vectors = comptime!(tile.vectors());
    let features = comptime!(layer.outputs);
    let vector = own_vector(tile);
    let z = part + comptime!(tape_layer.normalized * vectors);
    let mut gradient_sum = Vector::<f32, N>::new(0.0f32);
    let mut projection = Vector::<f32, N>::new(0.0f32);
    let mut f = own_feature(tile);
    while f < features {
        let i = f * vectors + vector;
        let g = shared[at + i] * Vector::new(parameters[member + f + comptime!(layer.scale)]);
        gradient_sum += g;
        projection += g * tape[z + i];
        f += comptime!(tile.slices());
    }
    let mean = total::<N>(gradient_sum, shared, tile) / Vector::new(comptime!(features as f32));
    let projection = total::<N>(projection, shared, tile) / Vector::new(comptime!(features as f32));
    let inverse = tape[part + vector + comptime!(tape_layer.inverse_std * vectors)];
    let mut f = own_feature(tile);
    while f < features {
        let i = f * vectors + vector;
        let g = shared[at + i] * Vector::new(parameters[member + f + comptime!(layer.scale)]);
        let g = (g - mean - tape[z + i] * projection) * inverse;
        shared[at + i] = g;
        tape[part + i + comptime!(tape_layer.gradient * vectors)] = g;
        f += comptime!(tile.threads / vectors);
    }
    sync_cube();
}
