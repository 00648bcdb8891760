//! The pass of one member over some panels: forward, storing the data for a backward pass, and backward to the inputs.

use std::sync::Arc;

use super::PANEL_ROWS;
use super::gemm::{self, Left, MOST_ROWS, RegisterTile};
use super::layer::{Epilogue, Panels, copy, layer_forward, times};
use super::layout::Layout;
use super::norms::{hidden_norm_backward, hidden_norm_forward, norm, norm_backward, unit_backward, unit_forward};
use super::panels;
use super::simd::{self, Simd, Task};

/// Numbers of padding after the last panel: a transposition reads whole squares and may read beyond the last row.
const SLACK: usize = 16 * PANEL_ROWS;

/// Activations and gradients of one member over some panels of rows.
///
/// The order of use is [`Tape::set_input`] or [`Tape::input_mut`], [`Tape::forward`], [`Tape::output`], then
/// [`Tape::output_gradient_mut`], [`Tape::backward`] or [`Tape::backward_to_input`], [`Tape::input_gradient`] or
/// [`gradients`](super::update::gradients).
#[derive(Clone, Debug)]
pub struct Tape {
    layout: Arc<Layout>,
    rows: usize,
    data: Vec<f32>,
}

impl Tape {
    /// Creates a tape for `rows` rows.
    #[must_use]
    pub fn new(layout: &Arc<Layout>, rows: usize) -> Self {
        let mut tape = Self { layout: layout.clone(), rows: 0, data: Vec::new() };
        tape.resize(rows);
        tape
    }

    /// Resizes the tape to `rows` rows. Memory that was allocated is kept.
    pub fn resize(&mut self, rows: usize) {
        // The passes rely on this size without checks, so that it may not wrap around.
        let size = panels::count(rows).checked_mul(self.layout.panel).and_then(|size| size.checked_add(SLACK));
        self.data.resize(size.expect("the rows of a tape fit into memory"), 0.0);
        self.rows = rows;
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of panels.
    #[must_use]
    pub fn panels(&self) -> usize {
        panels::count(self.rows)
    }

    /// The networks' layout.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn part(&self, panel: usize, offset: usize, width: usize) -> &[f32] {
        assert!(panel < self.panels(), "panel {panel} of {}", self.panels());
        &self.data[panel * self.layout.panel + offset..][..width * PANEL_ROWS]
    }

    fn part_mut(&mut self, panel: usize, offset: usize, width: usize) -> &mut [f32] {
        assert!(panel < self.panels(), "panel {panel} of {}", self.panels());
        &mut self.data[panel * self.layout.panel + offset..][..width * PANEL_ROWS]
    }

    /// Address of a part of a panel. The pointer is valid up to the end of the tape, which is at least 16 features
    /// after the end of the panel.
    pub(super) fn pointer(&self, panel: usize, offset: usize) -> *const f32 {
        assert!(panel < self.panels(), "panel {panel} of {}", self.panels());
        self.data[panel * self.layout.panel + offset..].as_ptr()
    }

    /// The network's input for a panel, `[I][PANEL_ROWS]`, for writing. Unused rows of the panel must be finite.
    pub fn input_mut(&mut self, panel: usize) -> &mut [f32] {
        self.part_mut(panel, 0, self.layout.shape().inputs)
    }

    /// Sets the network's input from rows `[rows, I]`.
    pub fn set_input(&mut self, x: &[f32]) {
        let width = self.layout.shape().inputs;
        assert_eq!(x.len(), self.rows * width, "numbers for {} rows of {width}", self.rows);
        for panel in 0..self.panels() {
            let end = ((panel + 1) * PANEL_ROWS).min(self.rows);
            panels::pack(&x[panel * PANEL_ROWS * width..end * width], width, self.input_mut(panel));
        }
    }

    /// The network's output for a panel, `[O][PANEL_ROWS]`.
    #[must_use]
    pub fn output(&self, panel: usize) -> &[f32] {
        let last = self.layout.layers[self.layout.depth() - 1];
        self.part(panel, last.output, last.outputs)
    }

    /// The output of a panel, and the loss's gradient there for writing, `[O][PANEL_ROWS]` each. The gradient in unused
    /// rows of the panel is ignored.
    pub fn output_gradient_mut(&mut self, panel: usize) -> (&[f32], &mut [f32]) {
        let last = self.layout.layers[self.layout.depth() - 1];
        let start = panel * self.layout.panel;
        assert!(panel < self.panels(), "panel {panel} of {}", self.panels());
        let (before, after) = self.data.split_at_mut(start + last.gradient);
        (&before[start + last.output..][..last.outputs * PANEL_ROWS], &mut after[..last.outputs * PANEL_ROWS])
    }

    /// The loss's gradient at the input of a panel, `[I][PANEL_ROWS]`, after [`Tape::backward_to_input`].
    #[must_use]
    pub fn input_gradient(&self, panel: usize) -> &[f32] {
        self.part(panel, self.layout.input_gradient, self.layout.shape().inputs)
    }

    /// Runs the forward pass with one member's parameters, `[P]`.
    pub fn forward(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.layout.parameters(), "a member's parameters");
        simd::dispatch(Forward { tape: self, parameters });
    }

    /// Runs the backward pass from the output's gradient to the sums of every layer, from which weight gradients are
    /// computed.
    pub fn backward(&mut self, parameters: &[f32]) {
        self.back(parameters, false);
    }

    /// Runs the backward pass to the input. No weight gradient is computed.
    pub fn backward_to_input(&mut self, parameters: &[f32]) {
        self.back(parameters, true);
    }

    fn back(&mut self, parameters: &[f32], to_input: bool) {
        assert_eq!(parameters.len(), self.layout.parameters(), "a member's parameters");
        let last = self.panels().wrapping_sub(1);
        let used = self.rows % PANEL_ROWS;
        if used > 0 {
            let (_, gradient) = self.output_gradient_mut(last);
            gradient.chunks_exact_mut(PANEL_ROWS).for_each(|row| row[used..].fill(0.0));
        }
        simd::dispatch(Backward { tape: self, parameters, to_input });
    }
}

struct Forward<'a> {
    tape: &'a mut Tape,
    parameters: &'a [f32],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Tape { layout, data, rows } = self.tape;
        let base = data.as_mut_ptr();
        let count = panels::count(*rows);
        let parameters = self.parameters.as_ptr();
        let at = |offset: usize| Panels { p: base.wrapping_add(offset), stride: layout.panel, count };
        // SAFETY: `data` has `count` panels of the layout (`resize`), and `forward` has checked the length of the
        // member's row, so that every offset of the layout is within its memory. Different offsets of a layout are
        // parts that do not overlap: a layer reads its input, and writes its output, slope, normalised numbers and
        // inverse deviations. `data` is borrowed mutably, and all of it is initialised.
        unsafe {
            for (l, layer) in layout.layers.iter().enumerate() {
                let norm_follows = layout.has_norm(l);
                let epilogue = Epilogue {
                    bias: parameters.add(layer.bias),
                    norm_follows,
                    last: l + 1 == layout.depth(),
                    activation: layout.shape().activation,
                    store_slope: true,
                };
                let output = at(if norm_follows { layer.normalized } else { layer.output });
                layer_forward::<S>(layer, parameters, epilogue, at(layout.input_of(l)), output, at(layer.gradient));
                for panel in 0..count {
                    if norm_follows {
                        let parts = [layer.normalized, layer.inverse_std, layer.output, layer.gradient];
                        norm::<S>(epilogue.activation, layer, parameters, parts.map(|part| at(part).at(panel, 0)));
                    }
                    if let Some(eps) = layout.shape().hidden_norm(l) {
                        let [x, inverse, z] =
                            [layer.output, layer.inverse_std, layer.normalized].map(|part| at(part).at(panel, 0));
                        hidden_norm_forward::<S>(layer.outputs, eps, x, inverse, z);
                    }
                    if l + 2 == layout.depth() && layout.shape().normalized_features {
                        let [x, inverse, z] =
                            [layer.output, layout.inverse_norm, layout.features].map(|part| at(part).at(panel, 0));
                        unit_forward::<S>(layer.outputs, x, inverse, z);
                    }
                }
            }
        }
    }
}

struct Backward<'a> {
    tape: &'a mut Tape,
    parameters: &'a [f32],
    to_input: bool,
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Tape { layout, data, rows } = self.tape;
        let base = data.as_mut_ptr();
        let count = panels::count(*rows);
        let parameters = self.parameters.as_ptr();
        let at = |offset: usize, panel: usize| base.wrapping_add(panel * layout.panel + offset);
        let mut tile: RegisterTile = [[0.0; PANEL_ROWS]; MOST_ROWS];
        // SAFETY: `data` has `count` panels of the layout (`resize`), and `back` has checked the length of the member's
        // row, so that every offset of the layout is within its memory. `data` is borrowed mutably and initialised. The
        // parts do not overlap, except that the gradient below a layer is written over the slope, feature by feature,
        // which `times` and `unit_backward` allow.
        unsafe {
            for l in (usize::from(!self.to_input)..layout.depth()).rev() {
                let layer = &layout.layers[l];
                // Layer l's input is the output of `below`, normalised or not.
                let below = l.checked_sub(1).map(|b| (layout.layers[b], layout.has_norm(b)));
                let unit = l > 0 && l + 1 == layout.depth() && layout.shape().normalized_features;
                let hidden_norm = l > 0 && layout.shape().hidden_norm(l - 1).is_some();
                let mut first = 0;
                while first < layer.inputs {
                    let height = S::ROWS.min(layer.inputs - first);
                    let left =
                        Left { p: parameters.add(layer.weight + first * layer.outputs), row: layer.outputs, column: 1 };
                    for panel in 0..count {
                        gemm::panel_tile::<S>(height, layer.outputs, left, at(layer.gradient, panel), &mut tile);
                        let start = first * PANEL_ROWS;
                        match &below {
                            None => copy(&tile, height, at(layout.input_gradient + start, panel)),
                            Some(_) if unit => copy(&tile, height, at(layout.features_gradient + start, panel)),
                            Some((below, _)) if hidden_norm => {
                                copy(&tile, height, at(below.norm_gradient + start, panel));
                            }
                            Some((below, normed)) => {
                                let to = if *normed { below.norm_gradient } else { below.gradient };
                                times(&tile, height, at(below.gradient + start, panel), at(to + start, panel));
                            }
                        }
                    }
                    first += height;
                }
                let Some((below, normed)) = below else { continue };
                for panel in 0..count {
                    if hidden_norm {
                        let [z, inverse, g, slope] =
                            [below.normalized, below.inverse_std, below.norm_gradient, below.gradient]
                                .map(|part| at(part, panel));
                        hidden_norm_backward::<S>(below.outputs, z, inverse, g, slope);
                    }
                    if unit {
                        let to = if normed { below.norm_gradient } else { below.gradient };
                        let [g, z, inverse, slope, to] =
                            [layout.features_gradient, layout.features, layout.inverse_norm, below.gradient, to]
                                .map(|part| at(part, panel));
                        unit_backward::<S>(below.outputs, g, z, inverse, slope, to);
                    }
                    if normed {
                        let [z, inverse, g, to] =
                            [below.normalized, below.inverse_std, below.norm_gradient, below.gradient]
                                .map(|part| at(part, panel));
                        norm_backward::<S>(&below, parameters, z, inverse, g, to);
                    }
                }
            }
        }
    }
}

/// Buffer for a forward pass that stores nothing for a backward pass.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Vec<f32>);

/// Runs the forward pass of one member over panels `[count][I][PANEL_ROWS]` into `[count][O][PANEL_ROWS]`. It stores
/// nothing for a backward pass.
pub fn infer(layout: &Layout, parameters: &[f32], input: &[f32], output: &mut [f32], scratch: &mut Scratch) {
    let (inputs, outputs) = (layout.shape().inputs * PANEL_ROWS, layout.shape().outputs * PANEL_ROWS);
    assert_eq!(parameters.len(), layout.parameters(), "a member's parameters");
    let count = output.len() / outputs;
    assert_eq!((input.len(), output.len()), (count * inputs, count * outputs), "whole panels");
    // Unchecked code relies on these sizes, so that none of them may wrap around.
    let size = count.checked_mul(layout.widest).and_then(|size| size.checked_mul(PANEL_ROWS));
    // The outputs of two layers, and a row of inverse norms or deviations.
    let total = size.and_then(|size| size.checked_mul(2)).and_then(|size| size.checked_add(PANEL_ROWS));
    let (size, total) = size.zip(total).expect("the rows of a pass fit into memory");
    scratch.0.resize(total, 0.0);
    simd::dispatch(Infer { layout, parameters, input, output, scratch: &mut scratch.0, count, size });
}

struct Infer<'a> {
    layout: &'a Layout,
    parameters: &'a [f32],
    input: &'a [f32],
    output: &'a mut [f32],
    scratch: &'a mut [f32],
    count: usize,
    /// Numbers in half of the scratch buffer.
    size: usize,
}

impl Task for Infer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { layout, parameters, input, output, scratch, count, size } = self;
        let parameters = parameters.as_ptr();
        let base = scratch.as_mut_ptr();
        let inverse = base.wrapping_add(2 * size);
        // Nothing is written through this pointer.
        let mut from = Panels { p: input.as_ptr().cast_mut(), stride: layout.shape().inputs * PANEL_ROWS, count };
        // SAFETY: `infer` has checked the lengths of the member's row, the input and the output. Each half of the
        // scratch buffer holds `count` panels of the widest layer, and one feature follows for the inverse norms or
        // deviations. Layers alternate between the halves, so that none writes what it reads.
        unsafe {
            for (l, layer) in layout.layers.iter().enumerate() {
                let last = l + 1 == layout.depth();
                let epilogue = Epilogue {
                    bias: parameters.add(layer.bias),
                    norm_follows: layout.has_norm(l),
                    last,
                    activation: layout.shape().activation,
                    store_slope: false,
                };
                let stride = layer.outputs * PANEL_ROWS;
                let p = if last { output.as_mut_ptr() } else { base.add((l % 2) * size) };
                let to = Panels { p, stride, count };
                layer_forward::<S>(layer, parameters, epilogue, from, to, to);
                for panel in 0..count {
                    let z = to.at(panel, 0);
                    if epilogue.norm_follows {
                        norm::<S>(epilogue.activation, layer, parameters, [z, inverse, z, std::ptr::null_mut()]);
                    }
                    if let Some(eps) = layout.shape().hidden_norm(l) {
                        hidden_norm_forward::<S>(layer.outputs, eps, z, inverse, z);
                    }
                    if l + 2 == layout.depth() && layout.shape().normalized_features {
                        unit_forward::<S>(layer.outputs, z, inverse, z);
                    }
                }
                from = to;
            }
        }
    }
}
