//! The gradient step and the holdout score on panels in host memory, from replay rows to new weights without any
//! tensor.
//!
//! If there are enough members for all threads, one thread does the whole step of a member ([`cpu::train()`]). No
//! memory is allocated once the buffers have their size.

use std::cell::RefCell;
use std::sync::Arc;

use foresee_nn::cpu::panels::{self, gather};
use foresee_nn::cpu::{self, Layout, PANEL_ROWS, Piece, Scratch, Tape, team};
use foresee_nn::host::HostTensor;
use foresee_nn::{Adam, Parameters, ValueView};

use crate::ensemble::Ensemble;
use crate::fit_data::HostRows;
use crate::loss::panel::Panel;
use crate::loss::{BOUNDS_WEIGHT, PanelLoss};

/// The buffers of gradient steps.
#[derive(Clone, Debug)]
pub(super) struct HostSteps {
    layout: Arc<Layout>,
    /// Number of channels, `O + 1`.
    channels: usize,
    pieces: Vec<PanelWork>,
    sums: Vec<PanelSums>,
    /// `bounds` are the current bounds of the log-variance, `grad_bounds` their gradient.
    bounds: Vec<f32>,
    grad_bounds: Vec<f32>,
}

/// The comparison of predictions with targets.
#[derive(Clone, Copy)]
pub(super) struct PanelObjective<'a> {
    /// The loss in its panel form.
    pub(super) loss: &'a dyn PanelLoss,
    /// Whether the mean squared error is added.
    pub(super) add_mse: bool,
    /// Factors from the units of normalised targets to the task's own units, `[O + 1]`. Only if targets are normalised
    /// and the loss is value-aware.
    pub(super) units: Option<&'a [f32]>,
}

/// The forward and backward pass of one panel of one member.
#[derive(Clone, Debug)]
struct PanelWork {
    tape: Tape,
    data: PanelData,
}

impl Piece for PanelWork {
    fn tape(&self) -> &Tape {
        &self.tape
    }
}

/// The sums over a panel's rows.
#[derive(Clone, Debug, Default)]
struct PanelSums {
    loss: f32,
    /// Gradient of the loss with respect to the bounds of the log-variance.
    grad_bounds: Vec<f32>,
}

/// The data of a panel's rows with which a loss compares the network's output.
#[derive(Clone, Debug, Default)]
struct PanelData {
    target: Vec<f32>,
    terms: Vec<f32>,
    row_weights: Vec<f32>,
    /// For a loss that needs predicted states: first their offsets (`HostRows::state_offset`), then the predicted
    /// states, `[O]`; their values, `[N]`; and the gradients of these values, `[N, O]`.
    states: Vec<f32>,
    values: Vec<f32>,
    gradients: Vec<f32>,
}

impl PanelData {
    /// Gathers the data of the panel's rows.
    fn fetch(&mut self, data: &HostRows, channels: usize, heads: usize, rows: &[u32]) {
        let Self { target, terms, row_weights, states, values, gradients } = self;
        let obs = channels - 1;
        target.resize(channels * PANEL_ROWS, 0.0);
        gather(&data.targets, channels, rows, target);
        row_weights.clear();
        terms.clear();
        states.clear();
        if let Some(all) = &data.row_weights {
            row_weights.resize(PANEL_ROWS, 0.0);
            gather(all, 1, rows, row_weights);
        }
        let width = data.terms.width();
        terms.resize(data.terms.heads() * width * PANEL_ROWS, 0.0);
        for (n, terms) in terms.chunks_exact_mut((width * PANEL_ROWS).max(1)).enumerate() {
            gather(data.terms.head(n), width, rows, terms);
        }
        if let Some(all) = &data.state_offset {
            states.resize(obs * PANEL_ROWS, 0.0);
            values.resize(heads * PANEL_ROWS, 0.0);
            gradients.resize(heads * obs * PANEL_ROWS, 0.0);
            gather(all, obs, rows, states);
        }
    }

    /// Computes the predicted states from an output, if the loss needs them, and their values. With `gradients` it also
    /// computes the gradients of the values.
    fn predict_values(&mut self, output: &[f32], data: &HostRows, view: &dyn ValueView, gradients: bool) {
        if !self.states.is_empty() {
            if let Some(target_normalizer) = &data.target_normalizer {
                let [mean, std] = target_normalizer.moments();
                let columns = self.states.chunks_exact_mut(PANEL_ROWS).zip(output.chunks_exact(PANEL_ROWS));
                for ((states, output), (mean, std)) in columns.zip(mean.iter().zip(std)) {
                    states.iter_mut().zip(output).for_each(|(state, x)| *state += x * std + mean);
                }
            } else {
                self.states.iter_mut().zip(output).for_each(|(state, change)| *state += change);
            }
            view.of_panel(&self.states, &mut self.values, gradients.then_some(self.gradients.as_mut_slice()));
        }
    }

    fn panel<'a>(
        &'a self,
        output: &'a [f32],
        bounds: Option<[&'a [f32]; 2]>,
        units: Option<&'a [f32]>,
        [channels, heads, rows]: [usize; 3],
    ) -> Panel<'a> {
        Panel {
            output,
            target: &self.target,
            terms: &self.terms,
            predicted: [&self.values, &self.gradients],
            row_weights: (!self.row_weights.is_empty()).then_some(self.row_weights.as_slice()),
            bounds,
            units,
            channels,
            heads,
            rows,
        }
    }
}

impl HostSteps {
    pub(super) fn new(ensemble: &Ensemble) -> Self {
        let channels = ensemble.obs_dim() + 1;
        let layout = ensemble.net.layout().clone();
        Self { layout, channels, pieces: Vec::new(), sums: Vec::new(), bounds: Vec::new(), grad_bounds: Vec::new() }
    }

    /// Takes one Adam step on replay rows `[E, B]` and returns the loss before it. Gradients are not checked for being
    /// finite: a member with non-finite weights has a non-finite score.
    pub(super) fn step(
        &mut self,
        PanelObjective { loss, add_mse, units }: PanelObjective<'_>,
        data: &HostRows,
        rows: &[u32],
        view: &dyn ValueView,
        ensemble: &mut Ensemble,
        (net_adam, bounds_adam): (&mut Adam, Option<&mut Adam>),
    ) -> f64 {
        let Self { layout, channels, pieces, sums, bounds, grad_bounds } = self;
        let (members, channels) = (layout.shape().members, *channels);
        let (batch, heads) = (rows.len() / members, view.heads());
        let count = panels::count(batch);
        sums.resize_with(members * count, PanelSums::default);

        bounds.clear();
        if let Some(own) = &mut ensemble.bounds {
            own.slot_mut().lend(|own| bounds.extend_from_slice(own));
        }
        grad_bounds.clear();
        grad_bounds.resize(bounds.len(), 0.0);
        let split = (!bounds.is_empty()).then(|| bounds.split_at(channels)).map(|(low, high)| [low, high]);

        let new = || PanelWork { tape: Tape::new(layout, PANEL_ROWS), data: PanelData::default() };
        let work = |member: usize, panel: usize, work: &mut PanelWork, sums: &mut PanelSums, parameters: &[f32]| {
            let PanelWork { tape, data: own } = work;
            let rows = &rows[member * batch + panel * PANEL_ROWS..member * batch + batch.min((panel + 1) * PANEL_ROWS)];
            tape.resize(rows.len());
            gather(&data.inputs, layout.shape().inputs, rows, tape.input_mut(0));
            own.fetch(data, channels, heads, rows);
            tape.forward(parameters);
            sums.grad_bounds.clear();
            sums.grad_bounds.resize(split.map_or(0, |_| 2 * channels), 0.0);
            let (output, gradient) = tape.output_gradient_mut(0);
            own.predict_values(output, data, view, true);
            let panel = own.panel(output, split, units, [channels, heads, rows.len()]);
            sums.loss = loss.gradient(&panel, add_mse, 1.0 / batch as f32, gradient, &mut sums.grad_bounds);
            tape.backward(parameters);
        };
        let mut step = net_adam.fused(&mut ensemble.net);
        step.train(pieces, sums, None, new, work);
        step.finish();

        let mut sum = 0.0;
        for panel in &*sums {
            sum += f64::from(panel.loss);
            grad_bounds.iter_mut().zip(&panel.grad_bounds).for_each(|(sum, part)| *sum += part);
        }
        let mut value = sum / batch as f64;
        if let (Some(own), Some(bounds_adam)) = (&mut ensemble.bounds, bounds_adam) {
            let (low, high) = grad_bounds.split_at_mut(channels);
            low.iter_mut().for_each(|g| *g -= BOUNDS_WEIGHT as f32);
            high.iter_mut().for_each(|g| *g += BOUNDS_WEIGHT as f32);
            let width = |bounds: &[f32]| bounds.iter().map(|&b| f64::from(b)).sum::<f64>();
            value += BOUNDS_WEIGHT * (width(&bounds[channels..]) - width(&bounds[..channels]));
            bounds_adam.step_host(own, grad_bounds);
        }
        value
    }
}

/// The buffers of one thread's holdout scores.
#[derive(Default)]
struct ScoreBuffers {
    input: Vec<f32>,
    output: Vec<f32>,
    scratch: Scratch,
    data: PanelData,
}

thread_local! {
    static BUFFERS: RefCell<ScoreBuffers> = RefCell::default();
}

/// Computes every member's sum over replay rows of the loss of the mean, `[E]`.
pub(super) fn scores(
    ensemble: &Ensemble,
    PanelObjective { loss, add_mse, units }: PanelObjective<'_>,
    data: &HostRows,
    rows: &[u32],
    view: &dyn ValueView,
) -> Vec<f64> {
    let heads = view.heads();
    let (net, channels) = (&ensemble.net, ensemble.obs_dim() + 1);
    let (layout, members) = (net.layout(), net.members());
    let shape = layout.shape();
    let parameters = HostTensor::of(net.slot().get().clone());
    let count = panels::count(rows.len());
    let mut sums = vec![0.0_f32; members * count];
    team::for_each_mut(&mut sums, |i, sum| {
        let (member, panel) = (i / count, i % count);
        let rows = &rows[panel * PANEL_ROWS..rows.len().min((panel + 1) * PANEL_ROWS)];
        BUFFERS.with_borrow_mut(|ScoreBuffers { input, output, scratch, data: own }| {
            input.resize(shape.inputs * PANEL_ROWS, 0.0);
            output.resize(shape.outputs * PANEL_ROWS, 0.0);
            gather(&data.inputs, shape.inputs, rows, input);
            own.fetch(data, channels, heads, rows);
            let parameters = layout.member(parameters.get(), member);
            cpu::infer(layout, parameters, input, output, scratch);
            own.predict_values(output, data, view, false);
            let panel = own.panel(output, None, units, [channels, heads, rows.len()]);
            *sum = loss.value(&panel, add_mse);
        });
    });
    let member = |sums: &[f32]| sums.iter().map(|&sum| f64::from(sum)).sum();
    if count == 0 { vec![0.0; members] } else { sums.chunks_exact(count).map(member).collect() }
}
