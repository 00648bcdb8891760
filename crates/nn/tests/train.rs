//! Compares a step that is taken member by member, including its passes, with a step from existing tapes.

mod common;

use std::sync::Arc;

use burn::tensor::Device;
use common::{Case, all_of, bits, bits_of_state};
use foresee_core::Stream;
use foresee_nn::cpu::{Layout, PANEL_ROWS, Piece, Tape, panels};
use foresee_nn::{Activation, Adam, AdamConfig, Mlp, Shape};

struct OnePanel(Tape);

impl Piece for OnePanel {
    fn tape(&self) -> &Tape {
        &self.0
    }
}

/// Runs the pass of one panel. The result is the output's first number.
fn pass(case: &Case, member: usize, panel: usize, tape: &mut Tape, weights: &[f32]) -> f32 {
    let Shape { inputs, outputs, .. } = *case.shape();
    let (start, end) = (panel * PANEL_ROWS, ((panel + 1) * PANEL_ROWS).min(case.rows));
    tape.resize(end - start);
    tape.set_input(&case.rows_of(member)[start * inputs..end * inputs]);
    tape.forward(weights);
    let first = tape.output(0)[0];
    let c = &case.c[(member * case.rows + start) * outputs..(member * case.rows + end) * outputs];
    panels::pack(c, outputs, tape.output_gradient_mut(0).1);
    tape.backward(weights);
    first
}

/// Makes two steps. Returns weights, moments, and whether each step was finite.
fn steps(case: &Case, member_by_member: bool) -> (Vec<u32>, Vec<u32>, Vec<bool>) {
    let mut case = case.clone();
    let layout: Arc<Layout> = case.net.layout().clone();
    let (members, count) = (case.shape().members, panels::count(case.rows));
    let mut adam = Adam::new(AdamConfig::new(1e-2), &case.net);
    let mut pieces = Vec::new();
    let finite = (0..2).map(|_| {
        if !member_by_member {
            let tapes = case.tapes(0..members, &[], false);
            let mut step = adam.fused(&mut case.net);
            let finite = step.apply(&tapes, None);
            step.finish();
            return finite;
        }
        let mut first = vec![f32::NAN; members * count];
        let mut net: Mlp = case.net.clone();
        let mut step = adam.fused(&mut net);
        let new = || OnePanel(Tape::new(&layout, PANEL_ROWS));
        let finite =
            step.train(&mut pieces, &mut first, None, new, |member, panel, piece, first: &mut f32, weights| {
                *first = pass(&case, member, panel, &mut piece.0, weights);
            });
        step.finish();
        let y = case.pass(true).y;
        for (i, first) in first.into_iter().enumerate() {
            let row = i / count * case.rows + i % count * PANEL_ROWS;
            assert_eq!(first.to_bits(), y[row * case.shape().outputs].to_bits());
        }
        case.net = net;
        finite
    });
    let finite = finite.collect();
    (bits(&all_of(&case.net)), bits_of_state(&adam.save(&case.net)), finite)
}

#[test]
fn a_step_member_by_member_has_the_bits_of_a_step_from_tapes_on_any_number_of_threads() {
    let stream = Stream::new(91, "test/train");
    let pools = [1, 2, 3, 5].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let large = Shape {
        members: 7,
        inputs: 23,
        hidden: vec![64, 64],
        outputs: 36,
        activation: Activation::Silu,
        layer_norm: false,
        normalized_features: false,
        hidden_norms: vec![],
    };
    let large = Case::of(&large, 256, 7, 92, &Device::flex());
    let small = (0..80).map(|number| Case::new(&stream, number, &Device::flex()));
    for case in small.chain([large]) {
        let want = steps(&case, false);
        assert_eq!(want.2, [true; 2]);
        for pool in &pools {
            let got = pool.install(|| steps(&case, true));
            assert_eq!(got, want, "{} threads, {}", pool.current_num_threads(), case.describe());
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_reported() {
    let stream = Stream::new(93, "test/train");
    for number in 0..40 {
        let mut case = Case::new(&stream, number, &Device::flex());
        if case.rows > 0 {
            let at = stream.at(number as u64, 1).below(case.c.len());
            case.c[at] = f32::INFINITY;
            assert!(!steps(&case, true).2[0], "{}", case.describe());
        }
    }
}
