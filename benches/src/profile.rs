//! The parts of the time of the ensemble's gradient step, on the CPU ([`foresee_nn::cpu`]).
//!
//! The ensemble has 7 members, 14→200×4→24, with 256 rows each. Every part is timed alone over all members, divided as
//! in the step: one piece of work per panel, one member at a time.

use std::sync::Arc;

use foresee_core::Stream;
use foresee_nn::cpu::{self, Activation, AdamRule, Layout, PANEL_ROWS, Shape, Tape, Tapes, Weights, team};
use foresee_nn::device::DeviceChoice;

use crate::compute::{Repeat, Workload, time, timing};
use crate::machine;
use crate::workloads::flops_of_a_model_step;

const MEMBERS: usize = 7;
const PANELS: usize = 256 / PANEL_ROWS;

/// The index of a member, and its tapes.
struct Member<'a>(usize, &'a [Tape]);

impl Tapes for Member<'_> {
    fn members(&self) -> std::ops::Range<usize> {
        self.0..self.0 + 1
    }

    fn parts(&self) -> usize {
        self.1.len()
    }

    fn tape(&self, _: usize, part: usize) -> &Tape {
        &self.1[part]
    }
}

/// The networks with all data of a step.
struct Scene {
    layout: Arc<Layout>,
    parameters: Vec<f32>,
    moments: [Vec<f32>; 2],
    gradients: Vec<f32>,
    /// The gradient at the output, `[24, PANEL_ROWS]`.
    at_output: Vec<f32>,
    tapes: Vec<Tape>,
}

impl Scene {
    fn new(activation: Activation) -> Self {
        let shape = Shape {
            members: MEMBERS,
            inputs: 14,
            hidden: vec![200; 4],
            outputs: 24,
            activation,
            layer_norm: false,
            normalized_features: false,
            hidden_norms: vec![],
        };
        let layout = Arc::new(Layout::new(shape));
        let size = MEMBERS * layout.parameters();
        let normals = |name: &str, n| Stream::new(0, name).normals(0, n, 1);
        let small = |values: Vec<f32>, by: f32| values.into_iter().map(|x| x * by).collect::<Vec<f32>>();
        let mut tapes = vec![Tape::new(&layout, PANEL_ROWS); PANELS];
        for (i, tape) in tapes.iter_mut().enumerate() {
            tape.set_input(&normals(&format!("x/{i}"), PANEL_ROWS * 14));
        }
        Self {
            parameters: small(normals("weights", size), 0.05),
            moments: [small(normals("m", size), 1e-3), vec![1e-6; size]],
            gradients: vec![0.0; size],
            at_output: small(normals("gradient", 24 * PANEL_ROWS), 1e-3),
            tapes,
            layout,
        }
    }

    fn forward(&mut self, backward: bool) {
        let Self { layout, parameters, at_output, tapes, .. } = self;
        for member in parameters.chunks_exact(layout.parameters()) {
            team::for_each_mut(tapes, |_, tape| {
                tape.forward(member);
                if backward {
                    tape.output_gradient_mut(0).1.copy_from_slice(at_output);
                    tape.backward(member);
                }
            });
        }
    }

    fn store(&mut self) {
        for member in 0..MEMBERS {
            cpu::gradients(&self.layout, &Member(member, &self.tapes), &mut self.gradients);
        }
    }

    fn step(&mut self) {
        // The step size is 0, so the weights do not change.
        let rule =
            AdamRule { step: 0.0, beta_1: 0.9, beta_2: 0.999, correction_2: 1.0, eps: 1e-8, shrink: 0.0, coupled: 0.0 };
        for member in 0..MEMBERS {
            let [moment_1, moment_2] = &mut self.moments;
            let weights = Weights { parameters: &mut self.parameters, moment_1, moment_2, target: None };
            cpu::step(&self.layout, &Member(member, &self.tapes), rule, weights);
        }
    }
}

/// Times the parts, and prints them as a Markdown table.
#[allow(clippy::print_stdout)]
pub(crate) fn run(seconds: f64) -> anyhow::Result<()> {
    let mut linear = Scene::new(Activation::Identity);
    let mut scene = Scene::new(Activation::Silu);
    let median = |f: &mut dyn FnMut()| time(Repeat::For(seconds), 20, 1.0, f).median;

    let products = median(&mut || linear.forward(false));
    let forward = median(&mut || scene.forward(false));
    let both = median(&mut || scene.forward(true));
    let store = median(&mut || scene.store());
    let step = median(&mut || scene.step());
    let whole = timing(Workload::ModelStep, DeviceChoice::Cpu, Repeat::For(seconds))?.ms.median;
    let layer = timing(Workload::Layer, DeviceChoice::Cpu, Repeat::For(seconds))?;
    let gflops = layer.gflops().unwrap_or(0.0) * team::threads() as f64;
    let ideal = flops_of_a_model_step() / gflops / 1e6;

    println!("{}; commit {}; {} threads\n", machine::describe(), machine::commit(), team::threads());
    println!("| part of a model step | ms | share |\n|---|---:|---:|");
    let row = |name: &str, ms: f64| println!("| {name} | {ms:.2} | {:.0} % |", 100.0 * ms / whole);
    row("forward: products, biases, SiLU and its derivative", forward);
    row("backward to the layers' sums", both - forward);
    row("weight gradients, each number written once", store);
    row("Adam step fused into the weight gradients, minus their plain store", step - store);
    row("the rest: rows gathered, likelihood, bounds, waits", whole - both - step);
    row("a whole step", whole);
    println!("\nThe forward pass with the identity instead of SiLU: {products:.2} ms.");
    println!("Lower bound: all matrix products of a step at the measured rate of one layer × threads: {ideal:.2} ms.");
    Ok(())
}
