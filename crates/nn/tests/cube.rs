//! Compares the primitive and the optimiser on a GPU with the CPU, tensor operations and scalar f64 loops.

mod common;

use burn::tensor::Device;
use common::{ACTIVATIONS, Case, Scalar, Worst, all_of, bits, distance, largest, wide};
use foresee_core::Stream;
use foresee_nn::device::wgpu_of_test;
use foresee_nn::{Adam, AdamConfig, Decay, Parameters, Shape, tensors};

/// Tolerance relative to the largest number. Both sides are f32, with different orders of summation and different
/// elementary functions. Software Vulkan reaches 7e-7; a GPU's `exp` may be less exact.
const OUTPUT: f64 = 5e-6;
/// Tolerance of gradients, relative to the largest number. Software Vulkan reaches 5e-6.
const GRADIENT: f64 = 3e-5;

/// Members, rows, inputs, hidden widths, outputs.
type Sizes = (usize, usize, usize, &'static [usize], usize);

/// Sizes on both sides of a block, a tile and a panel, and the sizes of runs.
const SIZES: [Sizes; 12] = [
    (1, 1, 1, &[], 1),
    (7, 3, 5, &[], 17),
    (7, 33, 17, &[17], 5),
    (1, 257, 1, &[1], 1),
    (2, 257, 17, &[256, 256], 1),
    (7, 33, 23, &[200, 200, 200, 200], 36),
    (1, 3, 17, &[5, 200], 17),
    (7, 1, 5, &[17, 5, 17], 1),
    (1, 257, 256, &[17], 200),
    (7, 257, 5, &[17, 17], 2),
    (1, 33, 200, &[256, 5, 17], 256),
    (2, 65, 3, &[33, 64, 65], 31),
];

/// Case number `number`: the sizes in turn, combined with activations and normalisations.
fn case(number: usize, device: &Device) -> Case {
    let (members, rows, inputs, hidden, outputs) = SIZES[number % SIZES.len()];
    let shape = Shape {
        members,
        inputs,
        hidden: hidden.to_vec(),
        outputs,
        activation: ACTIVATIONS[(number + number / SIZES.len()) % 4],
        // The gradient below one or two normalised units is the remainder of a cancellation.
        layer_norm: number / 2 % 2 == 1 && hidden.iter().all(|&width| width > 2),
        normalized_features: number / 3 % 2 == 1,
        hidden_norms: vec![],
    };
    let input_members = if number % 4 == 1 { 1 } else { members };
    Case::of(&shape, rows, input_members, number as u64, device)
}

#[test]
fn outputs_and_gradients_are_those_of_the_processor() {
    let Some(device) = wgpu_of_test("outputs_and_gradients_are_those_of_the_processor") else { return };
    let mut worst = [
        Worst::new("output", OUTPUT),
        Worst::new("output without a tape", OUTPUT),
        Worst::new("gradient at the input", GRADIENT),
        Worst::new("gradient at the parameters", GRADIENT),
    ];
    for number in 0..2 * SIZES.len() {
        let [gpu, cpu] = [&device, &Device::flex()].map(|device| case(number, device));
        let (a, b) = (gpu.pass(true), cpu.pass(true));
        let plain = tensors::to_vec(gpu.net.forward(gpu.input()));
        let pairs = [(&a.y, &b.y), (&plain, &b.y), (&a.dx, &b.dx), (&a.dw, &b.dw)];
        for (worst, (a, b)) in worst.iter_mut().zip(pairs) {
            worst.take(distance(a, b), || format!("case {number}: {}", cpu.describe()));
        }
        let width = cpu.net.layout().parameters();
        let mut between = vec![true; width];
        for part in cpu.net.parts() {
            between[part.offset..][..part.shape[0] * part.shape[1]].fill(false);
        }
        for row in a.dw.chunks(width) {
            assert!(row.iter().zip(&between).all(|(&g, &between)| !between || g == 0.0), "{}", cpu.describe());
        }
    }
}

#[test]
fn random_networks_agree_with_tensor_operations() {
    let Some(device) = wgpu_of_test("random_networks_agree_with_tensor_operations") else { return };
    let stream = Stream::new(81, "test/cube");
    let mut worst = [
        Worst::new("output", OUTPUT),
        Worst::new("gradient at the input", GRADIENT),
        Worst::new("gradient at the parameters", GRADIENT),
    ];
    for number in (0..160).step_by(11) {
        let [gpu, cpu] = [&device, &Device::flex()].map(|device| Case::new(&stream, number, device));
        let (a, b) = (gpu.pass(true), cpu.pass(false));
        for (worst, (a, b)) in worst.iter_mut().zip([(&a.y, &b.y), (&a.dx, &b.dx), (&a.dw, &b.dw)]) {
            worst.take(distance(a, b), || format!("case {number}: {}", cpu.describe()));
        }
    }
}

#[test]
fn a_layer_as_wide_as_the_memory_of_a_cube_agrees() {
    let Some(device) = wgpu_of_test("a_layer_as_wide_as_the_memory_of_a_cube_agrees") else { return };
    let mut worst = Worst::new("wide layers", GRADIENT);
    for (width, rows) in [(700, 9), (1500, 5), (3000, 2)] {
        let shape = Shape {
            members: 1,
            inputs: 3,
            hidden: vec![width],
            outputs: 2,
            activation: ACTIVATIONS[0],
            layer_norm: true,
            normalized_features: true,
            hidden_norms: vec![],
        };
        let [gpu, cpu] = [&device, &Device::flex()].map(|device| Case::of(&shape, rows, 1, 5, device).pass(true));
        for (a, b) in [(&gpu.y, &cpu.y), (&gpu.dx, &cpu.dx), (&gpu.dw, &cpu.dw)] {
            worst.take(distance(a, b), || format!("width {width}"));
        }
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    let Some(device) = wgpu_of_test("gradients_are_those_of_central_differences") else { return };
    const H: f64 = 1e-6;
    let mut worst = Worst::new("differences", GRADIENT);
    for (activation, layer_norm, normalized_features) in
        [(ACTIVATIONS[0], true, false), (ACTIVATIONS[2], false, true), (ACTIVATIONS[0], true, true)]
    {
        let shape = Shape {
            members: 2,
            inputs: 3,
            hidden: vec![6, 5],
            outputs: 2,
            activation,
            layer_norm,
            normalized_features,
            hidden_norms: vec![],
        };
        let case = Case::of(&shape, 5, 2, 9, &device);
        let (pass, scalar) = (case.pass(true), Scalar::new(&case.net));
        let (weights, x, c) = (wide(&all_of(&case.net)), wide(&case.x), wide(&case.c));
        let width = case.net.layout().parameters();
        let loss = |weights: &[f64], x: &[f64]| -> f64 {
            let rows = x.chunks(3).zip(c.chunks(2)).enumerate();
            rows.map(|(at, (x, c))| {
                let y = scalar.forward(&weights[at / case.rows * width..][..width], x);
                y.iter().zip(c).map(|(y, c)| y * c).sum::<f64>()
            })
            .sum()
        };
        let difference = |of: &[f64], at: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let moved = |step: f64| {
                let mut moved = of.to_vec();
                moved[at] += step;
                loss(&moved)
            };
            (moved(H) - moved(-H)) / (2.0 * H)
        };
        let dx: Vec<f64> = (0..x.len()).map(|at| difference(&x, at, &|x| loss(&weights, x))).collect();
        let dw: Vec<f64> =
            (0..weights.len()).map(|at| difference(&weights, at, &|weights| loss(weights, &x))).collect();
        for (got, want) in [(&pass.dx, &dx), (&pass.dw, &dw)] {
            let errors: Vec<f64> = got.iter().zip(want).map(|(&got, want)| f64::from(got) - want).collect();
            worst.take(largest(&errors) / largest(want), || format!("{shape:?}"));
        }
    }
}

#[test]
fn two_passes_give_the_same_bits() {
    let Some(device) = wgpu_of_test("two_passes_give_the_same_bits") else { return };
    for number in [4, 5, 9] {
        let case = case(number, &device);
        let [a, b] = [case.pass(true), case.pass(true)];
        for (a, b) in [(&a.y, &b.y), (&a.dx, &b.dx), (&a.dw, &b.dw)] {
            assert_eq!(bits(a), bits(b), "{}", case.describe());
        }
    }
}

#[test]
fn an_input_that_is_no_number_spoils_its_own_row_and_no_other() {
    let Some(device) = wgpu_of_test("an_input_that_is_no_number_spoils_its_own_row_and_no_other") else { return };
    for number in 0..8 {
        let mut case = case(number, &device);
        let before = tensors::to_vec(case.net.forward(case.input()));
        let at = case.x.len() / 2;
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

#[test]
fn twenty_steps_and_averages_are_those_of_the_processor() {
    let Some(device) = wgpu_of_test("twenty_steps_and_averages_are_those_of_the_processor") else { return };
    let mut worst = ["steps", "average"].map(|what| Worst::new(what, 1e-5));
    for (decay, decay_form) in [(0.0, Decay::Decoupled), (0.1, Decay::Decoupled), (0.1, Decay::Coupled)] {
        // This epsilon lets the test measure the rule's error, not that of the direction of an almost vanishing
        // gradient.
        let config = AdamConfig { decay, decay_form, eps: 1e-5, ..AdamConfig::new(1e-2) };
        let stream = Stream::new(83, "test/cube");
        let [gpu, cpu] = [&device, &Device::flex()].map(|device| {
            let case = case(2, device);
            let (mut net, mut average, mut adam) = (case.net.clone(), case.net.clone(), Adam::new(config, &case.net));
            let dims = net.slot().get().dims();
            for step in 0..20 {
                let gradient = stream.normals(step, dims[0], dims[2]);
                adam.step(&mut net, tensors::from_vec(gradient, dims, device));
                average.polyak(&net, 0.05);
            }
            [all_of(&net), all_of(&average)]
        });
        for (worst, (a, b)) in worst.iter_mut().zip(gpu.iter().zip(&cpu)) {
            worst.take(distance(a, b), || format!("{config:?}"));
        }
    }
}

#[test]
fn a_step_leaves_copies_and_a_pass_under_way_alone() {
    let Some(device) = wgpu_of_test("a_step_leaves_copies_and_a_pass_under_way_alone") else { return };
    let mut case = case(2, &device);
    let (want, before, copy) = (case.pass(true).dw, all_of(&case.net), case.net.clone());
    let tracked = case.net.tracked();
    let loss = (tracked.forward(case.input()) * case.functional()).sum();
    let mut adam = Adam::new(AdamConfig::new(0.1), &case.net);
    let ones = case.net.slot().get().ones_like();
    adam.step(&mut case.net, ones.clone());
    assert_ne!(all_of(&case.net), before);
    let stepped = case.net.clone();
    let mut target = copy.clone();
    target.polyak(&case.net, 0.5);
    let after = all_of(&stepped);
    adam.step(&mut case.net, ones);
    assert_eq!(all_of(&stepped), after);
    assert_eq!(all_of(&copy), before);
    assert_ne!(all_of(&target), before);
    assert_eq!(bits(&tensors::to_vec(tracked.gradient(&mut loss.backward()))), bits(&want));
}

#[test]
fn no_rows_have_no_output_and_no_gradient() {
    let Some(device) = wgpu_of_test("no_rows_have_no_output_and_no_gradient") else { return };
    let mut case = case(2, &device);
    (case.rows, case.x, case.c) = (0, Vec::new(), Vec::new());
    let y = case.net.forward(case.input());
    assert_eq!(y.dims(), [7, 0, 5]);
}
