//! Compares gradients of the fused form with central differences of the same networks in scalar f64 loops.

mod common;

use burn::tensor::Device;
use common::{Case, Scalar, Worst, all_of, largest, wide};
use foresee_core::Stream;
use foresee_nn::cpu::Part;
use foresee_nn::{Parameters, Shape};

/// Numbers of coordinates that are checked in a case: of the parameters, and of the input.
const COORDINATES: [usize; 2] = [40, 12];
/// The step in f64. Truncation and rounding cause an error of about 1e-8 of a gradient's scale.
const H: f64 = 1e-6;
/// Rows that are closer than this to a point where the function is not smooth do not enter the functional.
const MARGIN: f64 = 0.01;
/// The smallest scale of a gradient. Below it, the differences consist of rounding errors.
const FLOOR: f64 = 1e-2;

/// A case with all numbers in f64.
struct Oracle {
    case: Case,
    scalar: Scalar,
    parameters: Vec<f64>,
    x: Vec<f64>,
    c: Vec<f64>,
}

impl Oracle {
    /// Removes the rows where the function is not smooth from the functional.
    fn new(mut case: Case) -> Self {
        let scalar = Scalar::new(&case.net);
        let (parameters, x) = (wide(&all_of(&case.net)), wide(&case.x));
        let mut oracle = Self { scalar, parameters, x, c: Vec::new(), case: case.clone() };
        let outputs = case.shape().outputs;
        for (at, c) in case.c.chunks_mut(outputs).enumerate() {
            let (member, row) = (at / oracle.case.rows, at % oracle.case.rows);
            if oracle.scalar.margin(oracle.member(member), oracle.input(member, row)) < MARGIN {
                c.fill(0.0);
            }
        }
        oracle.c = wide(&case.c);
        Self { case, ..oracle }
    }

    fn member(&self, member: usize) -> &[f64] {
        self.case.net.layout().member(&self.parameters, member)
    }

    fn input(&self, member: usize, row: usize) -> &[f64] {
        let inputs = self.case.shape().inputs;
        let member = if self.case.input_members == 1 { 0 } else { member };
        &self.x[(member * self.case.rows + row) * inputs..][..inputs]
    }

    fn functional(&self, member: usize, row: usize) -> &[f64] {
        let outputs = self.case.shape().outputs;
        &self.c[(member * self.case.rows + row) * outputs..][..outputs]
    }

    /// c·y for one row.
    fn row(&self, member: usize, row: usize, parameters: &[f64], x: &[f64]) -> f64 {
        let c = self.functional(member, row);
        if c.iter().all(|&c| c == 0.0) {
            return 0.0;
        }
        self.scalar.forward(parameters, x).iter().zip(c).map(|(y, c)| y * c).sum()
    }

    /// The derivative of Σ c·y with respect to a parameter, and its difference from that of another step size.
    fn by_parameter(&self, member: usize, at: usize) -> (f64, f64) {
        difference(|step| {
            let mut moved = self.member(member).to_vec();
            moved[at] += step;
            (0..self.case.rows).map(|row| self.row(member, row, &moved, self.input(member, row))).sum()
        })
    }

    /// The derivative of Σ c·y with respect to an input, and its difference from that of another step size.
    fn by_input(&self, input_member: usize, row: usize, column: usize) -> (f64, f64) {
        let members = self.case.shape().members;
        let members = if self.case.input_members == members { input_member..input_member + 1 } else { 0..members };
        difference(|step| {
            let mut x = self.input(input_member, row).to_vec();
            x[column] += step;
            members.clone().map(|member| self.row(member, row, self.member(member), &x)).sum()
        })
    }
}

/// The derivative of `f` at 0, and its difference from that of another step size.
fn difference(f: impl Fn(f64) -> f64) -> (f64, f64) {
    let central = |h: f64| (f(h) - f(-h)) / (2.0 * h);
    let (fine, coarse) = (central(H), central(4.0 * H));
    (fine, (fine - coarse).abs())
}

fn of_part(all: &[f32], width: usize, part: &Part) -> Vec<f64> {
    let size = part.shape[0] * part.shape[1];
    all.chunks(width).flat_map(|row| wide(&row[part.offset..][..size])).collect()
}

/// Checks some coordinates of parameters and input, and one row of the output. The scale of a gradient is the largest
/// number of its part, or of all parameters with `scale_of_all`. Returns the number of smooth rows and that of all
/// rows.
fn check(case: Case, stream: &Stream, number: u64, worst: &mut [Worst; 3], scale_of_all: bool) -> [usize; 2] {
    let oracle = Oracle::new(case);
    let case = &oracle.case;
    let (pass, place) = (case.pass(true), || case.describe());
    let (members, rows, inputs, outputs) = (case.shape().members, case.rows, case.shape().inputs, case.shape().outputs);
    let (parts, width) = (case.net.parts(), case.net.layout().parameters());
    if rows == 0 {
        assert!(pass.dw.iter().all(|&g| g == 0.0), "{}", place());
        return [0, 0];
    }
    let draws = &mut stream.at(number, 1);
    let [worst_output, worst_parameters, worst_input] = worst;

    let (member, row) = (draws.below(members), draws.below(rows));
    let want = oracle.scalar.forward(oracle.member(member), oracle.input(member, row));
    let got = wide(&pass.y[(member * rows + row) * outputs..][..outputs]);
    let errors: Vec<f64> = got.iter().zip(&want).map(|(a, b)| a - b).collect();
    worst_output.take(largest(&errors) / largest(&want).max(1.0), place);

    let all = if scale_of_all { largest(&wide(&pass.dw)) } else { FLOOR };
    for _ in 0..COORDINATES[0] {
        let (member, part) = (draws.below(members), &parts[draws.below(parts.len())]);
        let at = part.offset + draws.below(part.shape[0] * part.shape[1]);
        let scale = largest(&of_part(&pass.dw, width, part)).max(all);
        let (want, spread) = oracle.by_parameter(member, at);
        assert!(spread <= 1e-5 * scale, "no derivative: {want} ± {spread}, {}", place());
        let error = (f64::from(pass.dw[member * width + at]) - want).abs();
        worst_parameters.take(error / scale, || format!("{} of member {member}, {}", part.name, place()));
    }
    let scale = largest(&wide(&pass.dx)).max(all);
    for _ in 0..COORDINATES[1] {
        let (input_member, row, column) = (draws.below(case.input_members), draws.below(rows), draws.below(inputs));
        let (want, spread) = oracle.by_input(input_member, row, column);
        assert!(spread <= 1e-5 * scale, "no derivative: {want} ± {spread}, {}", place());
        let error = (f64::from(pass.dx[(input_member * rows + row) * inputs + column]) - want).abs();
        worst_input.take(error / scale, place);
    }
    let smooth = case.c.chunks(outputs).filter(|c| c.iter().any(|&c| c != 0.0)).count();
    [smooth, members * rows]
}

#[test]
fn gradients_at_parameters_and_input_are_central_differences() {
    let stream = Stream::new(11, "test/differences");
    // The normalisation of a few nearly equal units needs the tolerance of the parameters.
    let mut worst = [("output", 3e-6), ("parameters", 2e-5), ("input", 1e-5)].map(|(what, t)| Worst::new(what, t));
    let mut rows = [0, 0];
    for number in 0..240 {
        let case = Case::new(&stream, number, &Device::flex());
        let found = check(case, &stream, number as u64, &mut worst, false);
        rows = [rows[0] + found[0], rows[1] + found[1]];
    }
    eprintln!("{} of {} rows are smooth", rows[0], rows[1]);
    assert!(rows[0] * 10 > rows[1] * 8, "{rows:?}");
}

#[test]
fn gradients_below_one_or_two_normalised_units_are_what_the_cancellation_leaves() {
    let stream = Stream::new(12, "test/differences");
    let mut worst = [("output", 3e-6), ("parameters", 2e-5), ("input", 1e-5)].map(|(what, t)| Worst::new(what, t));
    let mut number = 0;
    for hidden in [vec![1], vec![2], vec![7, 2], vec![2, 5], vec![3, 2, 4], vec![5, 1, 3]] {
        for activation in common::ACTIVATIONS {
            for rows in [1, 5, 33] {
                number += 1;
                let shape = Shape {
                    members: 2,
                    inputs: 3,
                    hidden: hidden.clone(),
                    outputs: 4,
                    activation,
                    layer_norm: true,
                    normalized_features: false,
                    hidden_norms: vec![],
                };
                let case = Case::of(&shape, rows, 2, number, &Device::flex());
                check(case, &stream, number, &mut worst, true);
            }
        }
    }
}
