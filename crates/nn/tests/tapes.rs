//! Direct use of the lower level, and the choice of the gradients that are computed.

mod common;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, TensorData};
use common::{Case, Pieces, all_of, bits};
use foresee_core::Stream;
use foresee_nn::cpu::{self, Scratch, Tapes, panels};
use foresee_nn::extension::MlpGradients;
use foresee_nn::{Parameters, tensors};

fn cases(count: usize) -> impl Iterator<Item = Case> {
    (0..count).map(|number| Case::new(&Stream::new(31, "test/tapes"), number, &Device::flex()))
}

/// The gradients `[E, P]` of some members; zero for the others.
fn gradients(case: &Case, pieces: &Pieces) -> Vec<f32> {
    let layout = case.net.layout();
    let mut all = vec![0.0; layout.shape().members * layout.parameters()];
    cpu::gradients(layout, pieces, &mut all);
    all
}

#[test]
fn the_input_gradient_alone_is_the_one_taken_with_the_weights() {
    for case in cases(80) {
        let both = case.pass(true);
        let x = case.input().autodiff().require_grad();
        // The parameters take part in autodiff, but their gradient is not requested.
        let mut net = case.net.clone();
        let plain = net.slot_mut().take();
        net.slot_mut().put(plain.autodiff());
        for net in [&case.net, &net] {
            let gradients = (net.forward(x.clone()) * case.functional()).sum().backward();
            let alone = tensors::to_vec(x.grad(&gradients).unwrap());
            assert_eq!(bits(&alone), bits(&both.dx), "{}", case.describe());
            assert!(net.slot().get().grad(&gradients).is_none());
        }

        let net = case.net.tracked();
        let mut gradients = (net.forward(case.input()) * case.functional()).sum().backward();
        assert_eq!(bits(&tensors::to_vec(net.gradient(&mut gradients))), bits(&both.dw), "{}", case.describe());
    }
}

#[test]
fn only_the_gradients_that_are_asked_for_are_computed() {
    let flex = |values: &[f32], shape: [usize; 3]| FlexTensor::from_data(TensorData::new(values.to_vec(), shape));
    for case in cases(12) {
        let shape = case.shape().clone();
        for wanted in [[true, true], [true, false], [false, true], [false, false]] {
            let x = flex(&case.x, [case.input_members, case.rows, shape.inputs]);
            let weights = flex(&all_of(&case.net), [shape.members, 1, case.net.layout().parameters()]);
            let (_, saved) = <Flex as MlpGradients>::forward(x, weights, case.net.layout().clone());
            let gradient = flex(&case.c, [shape.members, case.rows, shape.outputs]);
            let found = Flex::backward(saved, gradient, wanted).map(|found| found.is_some());
            assert_eq!(found, wanted);
        }
    }
}

#[test]
fn tapes_give_what_autodiff_gives_however_rows_are_cut() {
    for case in cases(80) {
        let (pass, members) = (case.pass(true), case.shape().members);
        let whole = case.tapes(0..members, &[], true);
        let to_layers = case.tapes(0..members, &[], false);
        assert_eq!(bits(&gradients(&case, &whole)), bits(&pass.dw), "{}", case.describe());
        assert_eq!(bits(&gradients(&case, &to_layers)), bits(&pass.dw), "{}", case.describe());
        let cuts: &[usize] = if case.rows > 32 { &[32, 32, 64] } else { &[0, 0] };
        let cuts: Vec<usize> = cuts.iter().map(|&cut| cut.min(case.rows)).collect();
        let parts = case.tapes(0..members, &cuts, true);
        assert_eq!(bits(&gradients(&case, &parts)), bits(&pass.dw), "{}", case.describe());
        if case.input_members == members {
            assert_eq!(bits(&whole.input_gradient()), bits(&pass.dx), "{}", case.describe());
            assert_eq!(bits(&parts.input_gradient()), bits(&pass.dx), "{}", case.describe());
        }
    }
}

#[test]
fn a_pass_that_keeps_nothing_has_the_bits_of_one_that_keeps_all() {
    let mut scratch = Scratch::default();
    for case in cases(80) {
        let (layout, all) = (case.net.layout(), all_of(&case.net));
        let want = case.pass(true).y;
        let untracked = case.net.forward(case.input().autodiff());
        assert!(!untracked.is_tracked());
        assert_eq!(bits(&tensors::to_vec(untracked)), bits(&want), "{}", case.describe());
        let plain = tensors::to_vec(case.net.forward(case.input()));
        assert_eq!(bits(&plain), bits(&want), "{}", case.describe());
        let (inputs, outputs) = (layout.shape().inputs, layout.shape().outputs);
        for member in 0..layout.shape().members {
            let count = panels::count(case.rows);
            let mut input = vec![0.0; count * inputs * cpu::PANEL_ROWS];
            for (x, panel) in
                case.rows_of(member).chunks(cpu::PANEL_ROWS * inputs).zip(input.chunks_mut(inputs * cpu::PANEL_ROWS))
            {
                panels::pack(x, inputs, panel);
            }
            let mut output = vec![f32::NAN; count * outputs * cpu::PANEL_ROWS];
            cpu::infer(layout, layout.member(&all, member), &input, &mut output, &mut scratch);
            let mut y = vec![0.0; case.rows * outputs];
            for (y, panel) in y.chunks_mut(cpu::PANEL_ROWS * outputs).zip(output.chunks(outputs * cpu::PANEL_ROWS)) {
                panels::unpack(panel, outputs, y);
            }
            assert_eq!(bits(&y), bits(&want[member * case.rows * outputs..][..case.rows * outputs]));
        }
    }
}

#[test]
fn members_without_tapes_are_left_alone() {
    for case in cases(40).filter(|case| case.shape().members > 2) {
        let (layout, members) = (case.net.layout(), case.shape().members);
        let whole = gradients(&case, &case.tapes(0..members, &[], false));
        let mut some = vec![7.0; whole.len()];
        cpu::gradients(layout, &case.tapes(1..members - 1, &[], false), &mut some);
        let width = layout.parameters();
        for member in 0..members {
            for part in case.net.parts() {
                let at = member * width + part.offset;
                let range = at..at + part.shape[0] * part.shape[1];
                if member == 0 || member == members - 1 {
                    assert!(some[range].iter().all(|&g| g == 7.0));
                } else {
                    assert_eq!(bits(&some[range.clone()]), bits(&whole[range]));
                }
            }
        }
    }
}

#[test]
fn a_tape_used_again_with_other_rows_forgets_the_first_ones() {
    for case in cases(40) {
        let (layout, all) = (case.net.layout(), all_of(&case.net));
        let (inputs, outputs) = (layout.shape().inputs, layout.shape().outputs);
        let weights = layout.member(&all, 0);
        let run = |tape: &mut cpu::Tape, rows: usize, factor: f32| {
            tape.resize(rows);
            let x: Vec<f32> = Stream::new(5, "test/again").normals(rows as u64, rows, inputs);
            tape.set_input(&x.iter().map(|x| x * factor).collect::<Vec<_>>());
            tape.forward(weights);
            let panels = tape.panels();
            let y: Vec<f32> = (0..panels).flat_map(|panel| tape.output(panel).to_vec()).collect();
            for panel in 0..panels {
                tape.output_gradient_mut(panel).1.fill(factor);
            }
            tape.backward_to_input(weights);
            let tapes = Pieces { members: 0..1, tapes: vec![tape.clone()], parts: 1 };
            (bits(&y), bits(&tapes.input_gradient()), bits(&gradients(&case, &tapes)), outputs)
        };
        let mut tape = cpu::Tape::new(layout, 70);
        run(&mut tape, 70, f32::INFINITY);
        for rows in [33, 1, 70, 5, 0] {
            assert_eq!(run(&mut tape, rows, 1.0), run(&mut cpu::Tape::new(layout, rows), rows, 1.0), "{rows} rows");
        }
        assert_eq!(Tapes::parts(&Pieces { members: 0..0, tapes: vec![], parts: 0 }), 0);
    }
}
