//! Compares the fused form with the same networks in tensor operations, and tests its handling of members and views.

mod common;

use burn::tensor::{Device, Tensor};
use common::{Case, Worst, bits, distance};
use foresee_core::Stream;
use foresee_nn::{Activation, Parameters, Shape, tensors};

/// Tolerances relative to the largest number of an output, of a gradient, and of the gradient at one part of the
/// parameters. Both sides are f32, with different orders of summation. The normalisation of a few nearly equal units
/// needs these tolerances.
const TOLERANCES: [(&str, f64); 4] = [
    ("output", 2e-5),
    ("gradient at the input", 3e-5),
    ("gradient at the parameters", 4e-5),
    ("gradient at one part", 6e-5),
];

#[test]
fn two_hundred_random_cases_agree() {
    let stream = Stream::new(21, "test/reference");
    let mut worst = TOLERANCES.map(|(what, tolerance)| Worst::new(what, tolerance));
    for number in 0..200 {
        let case = Case::new(&stream, number, &Device::flex());
        let (fused, reference) = (case.pass(true), case.pass(false));
        let pairs = [(&fused.y, &reference.y), (&fused.dx, &reference.dx), (&fused.dw, &reference.dw)];
        for (worst, (a, b)) in worst.iter_mut().zip(pairs) {
            worst.take(distance(a, b), || format!("case {number}: {}", case.describe()));
        }
        let width = case.net.layout().parameters();
        for part in case.net.parts() {
            let of = |all: &[f32]| -> Vec<f32> {
                all.chunks(width)
                    .flat_map(|row| &row[part.offset..][..part.shape[0] * part.shape[1]])
                    .copied()
                    .collect()
            };
            worst[3].take(distance(&of(&fused.dw), &of(&reference.dw)), || {
                format!("{} of case {number}: {}", part.name, case.describe())
            });
        }
    }
}

#[test]
fn the_sizes_of_a_run_agree() {
    let shape = |members, inputs, hidden: &[usize], outputs, activation, layer_norm, normalized_features| Shape {
        members,
        inputs,
        hidden: hidden.to_vec(),
        outputs,
        activation,
        layer_norm,
        normalized_features,
        hidden_norms: vec![],
    };
    let shapes = [
        (shape(7, 23, &[200; 4], 36, Activation::Silu, false, false), 256),
        (shape(2, 23, &[256, 256], 1, Activation::Relu, false, true), 256),
        (shape(2, 23, &[256, 256], 1, Activation::Relu, true, false), 1000),
        (shape(1, 17, &[256, 256], 12, Activation::Relu, false, false), 1),
    ];
    let mut worst = Worst::new("sizes of a run", 1e-5);
    for (shape, rows) in shapes {
        let case = Case::of(&shape, rows, shape.members, 24, &Device::flex());
        let (fused, reference) = (case.pass(true), case.pass(false));
        for (a, b) in [(&fused.y, &reference.y), (&fused.dx, &reference.dx), (&fused.dw, &reference.dw)] {
            worst.take(distance(a, b), || case.describe());
        }
    }
}

#[test]
fn a_member_alone_is_what_it_is_among_others() {
    let stream = Stream::new(22, "test/reference");
    for number in 0..40 {
        let case = Case::new(&stream, number, &Device::flex());
        let all = tensors::to_vec(case.net.forward(case.input()));
        let size = case.rows * case.shape().outputs;
        for member in 0..case.shape().members {
            let x =
                tensors::from_vec(case.rows_of(member).to_vec(), [1, case.rows, case.shape().inputs], &Device::flex());
            let alone = tensors::to_vec(case.net.member(member).forward(x));
            assert_eq!(bits(&alone), bits(&all[member * size..][..size]), "{}", case.describe());
        }
    }
}

#[test]
fn a_member_can_be_copied_from_another_structure() {
    let stream = Stream::new(23, "test/reference");
    for number in 0..20 {
        let (case, from) = (Case::new(&stream, number, &Device::flex()), stream);
        let from = common::network(case.shape(), &from, &Device::flex());
        let (old, new) = (common::all_of(&case.net), common::all_of(&from));
        let (mut net, members) = (case.net.clone(), case.shape().members);
        net.copy_member(&from, members / 2);
        let width = case.net.layout().parameters();
        let want =
            [&old[..members / 2 * width], &new[members / 2 * width..][..width], &old[(members / 2 + 1) * width..]];
        assert_eq!(common::all_of(&net), want.concat());
    }
}

#[test]
fn features_with_one_active_unit_have_a_gradient_of_exactly_zero() {
    // The features are one unit: their direction has length 1 or 0, whatever the weights before it.
    for (seed, activation) in [(1, Activation::Relu), (2, Activation::Silu), (3, Activation::Tanh)] {
        let shape = Shape {
            members: 3,
            inputs: 4,
            hidden: vec![1],
            outputs: 5,
            activation,
            layer_norm: false,
            normalized_features: true,
            hidden_norms: vec![],
        };
        let case = Case::of(&shape, 200, 3, seed, &Device::flex());
        for pass in [case.pass(true), case.pass(false)] {
            assert!(pass.dx.iter().all(|&g| g == 0.0), "{activation:?}");
            for part in case.net.parts().into_iter().take(2) {
                for row in pass.dw.chunks(case.net.layout().parameters()) {
                    assert!(
                        row[part.offset..][..part.shape[0]].iter().all(|&g| g == 0.0),
                        "{activation:?}: {}",
                        part.name
                    );
                }
            }
        }
    }
}

#[test]
fn an_input_in_any_order_of_memory_is_read_as_it_stands() {
    let case = Case::new(&Stream::new(70, "test/views"), 26, &Device::flex());
    let (members, rows, inputs) = (case.shape().members, 40, case.shape().inputs);
    let plain = |x: Vec<f32>| tensors::from_vec(x, [members, rows, inputs], &Device::flex());
    let x = plain(Stream::new(70, "test/input").normals(0, members * rows, inputs));
    let doubled = Tensor::cat(vec![x.clone(), x.clone().neg()], 1);
    let views = [
        x.clone().swap_dims(1, 2).mul_scalar(1.0).swap_dims(1, 2),
        doubled.clone().narrow(1, rows, rows).neg(),
        doubled.narrow(1, 0, rows),
        x.clone().flip([1]).flip([1]),
    ];
    let want = tensors::to_vec(case.net.forward(x.clone()));
    for view in views {
        assert_eq!(tensors::to_vec(case.net.forward(view)), want);
    }
    let one = x.narrow(0, 0, 1);
    let expanded = tensors::to_vec(case.net.forward(one.clone().expand([members, rows, inputs])));
    assert_eq!(tensors::to_vec(case.net.forward(one)), expanded);
}

#[test]
fn a_gradient_in_any_order_of_memory_is_read_as_it_stands() {
    let stream = Stream::new(25, "test/reference");
    for case in (0..40).map(|number| Case::new(&stream, number, &Device::flex())).filter(|case| case.rows > 0) {
        let want = case.pass(true);
        let (net, x) = (case.net.tracked(), case.input().autodiff().require_grad());
        let y = net.forward(x.clone()).swap_dims(1, 2);
        let mut gradients = (y * case.functional().swap_dims(1, 2)).sum().backward();
        assert_eq!(bits(&tensors::to_vec(x.grad(&gradients).unwrap())), bits(&want.dx), "{}", case.describe());
        assert_eq!(bits(&tensors::to_vec(net.gradient(&mut gradients))), bits(&want.dw), "{}", case.describe());

        // The gradient of a sum is a single number, expanded to all outputs.
        let mut ones = case.clone();
        ones.c.fill(1.0);
        let gradients = net.tracked().forward(x.clone()).sum().backward();
        assert_eq!(
            bits(&tensors::to_vec(x.grad(&gradients).unwrap())),
            bits(&ones.pass(true).dx),
            "{}",
            case.describe()
        );
    }
}

#[test]
fn an_input_that_is_no_number_spoils_its_own_row_and_no_other() {
    let stream = Stream::new(26, "test/reference");
    for number in 0..80 {
        let mut case = Case::new(&stream, number, &Device::flex());
        if case.rows == 0 {
            continue;
        }
        let before = tensors::to_vec(case.net.forward(case.input()));
        let at = stream.at(number as u64, 1).below(case.x.len());
        case.x[at] = f32::NAN;
        let after = tensors::to_vec(case.net.forward(case.input()));
        let (inputs, outputs) = (case.shape().inputs, case.shape().outputs);
        for (row, (before, after)) in before.chunks(outputs).zip(after.chunks(outputs)).enumerate() {
            let input_row = if case.input_members == 1 { row % case.rows } else { row };
            if input_row == at / inputs {
                assert!(after.iter().all(|y| y.is_nan()), "{}", case.describe());
            } else {
                assert_eq!(bits(before), bits(after), "{}", case.describe());
            }
        }
    }
}
