//! The gradient step and the holdout score in host memory: from replay rows to new weights without a tensor between.
//!
//! A member's step is the work of one thread where members suffice for all ([`cpu::train()`]). No memory is taken once
//! the buffers have their size.

use std::cell::RefCell;
use std::sync::Arc;

use foresee_nn::cpu::panels::{self, gather};
use foresee_nn::cpu::{self, LANES, Layout, Piece, Scratch, Tape, team};
use foresee_nn::host::Numbers;
use foresee_nn::{Adam, Parameters, ValueView};

use crate::ensemble::Ensemble;
use crate::fit_data::HostRows;
use crate::loss::panel::Panel;
use crate::loss::{BOUNDS_WEIGHT, PanelLoss};

/// Buffers of the steps.
#[derive(Clone, Debug)]
pub(super) struct HostSteps {
    layout: Arc<Layout>,
    /// `O + 1`
    channels: usize,
    pieces: Vec<PanelWork>,
    sums: Vec<PanelSums>,
    /// The bounds of the log-variance as they are, and their gradient.
    bounds: Vec<f32>,
    of_bounds: Vec<f32>,
}

/// What predictions and targets are compared by.
#[derive(Clone, Copy)]
pub(super) struct Compared<'a> {
    /// The loss.
    pub(super) loss: &'a dyn PanelLoss,
    /// Whether the squared error is added.
    pub(super) add_mse: bool,
    /// What an error of 1 is in the task's own unit, `[O + 1]`, where the loss sees that unit and targets are normalised.
    pub(super) units: Option<&'a [f32]>,
}

/// One panel of one member.
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

/// What a panel's rows add up to.
#[derive(Clone, Debug, Default)]
struct PanelSums {
    loss: f32,
    /// The gradient of the bounds.
    of_bounds: Vec<f32>,
}

/// What a loss compares the output with.
#[derive(Clone, Debug, Default)]
struct PanelData {
    target: Vec<f32>,
    terms: Vec<f32>,
    row_weights: Vec<f32>,
    /// For a loss that looks ahead: what predictions are added to, then predicted states, `[O]`, their values `[N]` and gradients `[N, O]`.
    states: Vec<f32>,
    values: Vec<f32>,
    gradients: Vec<f32>,
}

impl PanelData {
    /// Gathers the panel's rows.
    fn fetch(&mut self, data: &HostRows, channels: usize, heads: usize, rows: &[u32]) {
        let Self { target, terms, row_weights, states, values, gradients } = self;
        let obs = channels - 1;
        target.resize(channels * LANES, 0.0);
        gather(&data.targets, channels, rows, target);
        row_weights.clear();
        terms.clear();
        states.clear();
        if let Some(all) = &data.row_weights {
            row_weights.resize(LANES, 0.0);
            gather(all, 1, rows, row_weights);
        }
        let width = data.terms.width();
        terms.resize(data.terms.heads() * width * LANES, 0.0);
        for (n, terms) in terms.chunks_exact_mut((width * LANES).max(1)).enumerate() {
            gather(data.terms.head(n), width, rows, terms);
        }
        if let Some(all) = &data.base {
            states.resize(obs * LANES, 0.0);
            values.resize(heads * LANES, 0.0);
            gradients.resize(heads * obs * LANES, 0.0);
            gather(all, obs, rows, states);
        }
    }

    /// Asks about the states that an output predicts, if the loss needs them: values, and gradients where they are wanted.
    fn look_ahead(&mut self, output: &[f32], data: &HostRows, view: &dyn ValueView, gradients: bool) {
        if !self.states.is_empty() {
            if let Some(of_targets) = &data.of_targets {
                let [mean, std] = of_targets.moments();
                let columns = self.states.chunks_exact_mut(LANES).zip(output.chunks_exact(LANES));
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
        Self { layout, channels, pieces: Vec::new(), sums: Vec::new(), bounds: Vec::new(), of_bounds: Vec::new() }
    }

    /// One Adam step on replay rows `[E, B]`; the loss before it. The finiteness of gradients is not asked for: a
    /// member that is not finite shows in its score.
    pub(super) fn step(
        &mut self,
        Compared { loss, add_mse, units }: Compared<'_>,
        data: &HostRows,
        rows: &[u32],
        view: &dyn ValueView,
        ensemble: &mut Ensemble,
        (net_adam, bounds_adam): (&mut Adam, Option<&mut Adam>),
    ) -> f64 {
        let Self { layout, channels, pieces, sums, bounds, of_bounds } = self;
        let (members, channels) = (layout.shape().members, *channels);
        let (batch, heads) = (rows.len() / members, view.heads());
        let count = panels::count(batch);
        sums.resize_with(members * count, PanelSums::default);

        bounds.clear();
        if let Some(own) = &mut ensemble.bounds {
            own.slot_mut().lend(|own| bounds.extend_from_slice(own));
        }
        of_bounds.clear();
        of_bounds.resize(bounds.len(), 0.0);
        let split = (!bounds.is_empty()).then(|| bounds.split_at(channels)).map(|(low, high)| [low, high]);

        let new = || PanelWork { tape: Tape::new(layout, LANES), data: PanelData::default() };
        let work = |member: usize, panel: usize, work: &mut PanelWork, sums: &mut PanelSums, parameters: &[f32]| {
            let PanelWork { tape, data: own } = work;
            let rows = &rows[member * batch + panel * LANES..member * batch + batch.min((panel + 1) * LANES)];
            tape.resize(rows.len());
            gather(&data.inputs, layout.shape().inputs, rows, tape.input_mut(0));
            own.fetch(data, channels, heads, rows);
            tape.forward(parameters);
            sums.of_bounds.clear();
            sums.of_bounds.resize(split.map_or(0, |_| 2 * channels), 0.0);
            let (output, gradient) = tape.output_gradient_mut(0);
            own.look_ahead(output, data, view, true);
            let panel = own.panel(output, split, units, [channels, heads, rows.len()]);
            sums.loss = loss.gradient(&panel, add_mse, 1.0 / batch as f32, gradient, &mut sums.of_bounds);
            tape.backward(parameters);
        };
        let mut step = net_adam.fused(&mut ensemble.net);
        step.train(pieces, sums, None, new, work);
        step.finish();

        let mut sum = 0.0;
        for panel in &*sums {
            sum += f64::from(panel.loss);
            of_bounds.iter_mut().zip(&panel.of_bounds).for_each(|(sum, part)| *sum += part);
        }
        let mut value = sum / batch as f64;
        if let (Some(own), Some(bounds_adam)) = (&mut ensemble.bounds, bounds_adam) {
            let (low, high) = of_bounds.split_at_mut(channels);
            low.iter_mut().for_each(|g| *g -= BOUNDS_WEIGHT as f32);
            high.iter_mut().for_each(|g| *g += BOUNDS_WEIGHT as f32);
            let width = |bounds: &[f32]| bounds.iter().map(|&b| f64::from(b)).sum::<f64>();
            value += BOUNDS_WEIGHT * (width(&bounds[channels..]) - width(&bounds[..channels]));
            bounds_adam.step_host(own, of_bounds);
        }
        value
    }
}

/// Buffers of one thread's scores.
#[derive(Default)]
struct Buffers {
    input: Vec<f32>,
    output: Vec<f32>,
    scratch: Scratch,
    data: PanelData,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Every member's sum of a loss of the mean over replay rows, `[E]`.
pub(super) fn scores(
    ensemble: &Ensemble,
    Compared { loss, add_mse, units }: Compared<'_>,
    data: &HostRows,
    rows: &[u32],
    view: &dyn ValueView,
) -> Vec<f64> {
    let heads = view.heads();
    let (net, channels) = (&ensemble.net, ensemble.obs_dim() + 1);
    let (layout, members) = (net.layout(), net.members());
    let shape = layout.shape();
    let parameters = Numbers::of(net.slot().get().clone());
    let count = panels::count(rows.len());
    let mut sums = vec![0.0_f32; members * count];
    team::for_each_mut(&mut sums, |i, sum| {
        let (member, panel) = (i / count, i % count);
        let rows = &rows[panel * LANES..rows.len().min((panel + 1) * LANES)];
        BUFFERS.with_borrow_mut(|Buffers { input, output, scratch, data: own }| {
            input.resize(shape.inputs * LANES, 0.0);
            output.resize(shape.outputs * LANES, 0.0);
            gather(&data.inputs, shape.inputs, rows, input);
            own.fetch(data, channels, heads, rows);
            let parameters = &parameters.get()[member * layout.parameters()..][..layout.parameters()];
            cpu::infer(layout, parameters, input, output, scratch);
            own.look_ahead(output, data, view, false);
            let panel = own.panel(output, None, units, [channels, heads, rows.len()]);
            *sum = loss.value(&panel, add_mse);
        });
    });
    let member = |sums: &[f32]| sums.iter().map(|&sum| f64::from(sum)).sum();
    if count == 0 { vec![0.0; members] } else { sums.chunks_exact(count).map(member).collect() }
}
