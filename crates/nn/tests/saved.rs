//! The saved form of networks and of their optimiser.

mod common;

use burn::tensor::Device;
use common::{Case, all_of, bits, bits_of_state};
use foresee_core::state::{Array, Data};
use foresee_core::{State, StateError, Stream};
use foresee_nn::{Adam, AdamConfig, Mlp, Parameters, tensors};

fn cases() -> impl Iterator<Item = Case> {
    (0..80).map(|number| Case::new(&Stream::new(81, "test/saved"), number, &Device::flex()))
}

fn fresh(like: &Mlp) -> Mlp {
    common::network(like.layout().shape(), &Stream::new(82, "test/saved"), &Device::flex())
}

/// Names and shapes of the arrays, derived from the networks' shape alone.
fn expected(net: &Mlp) -> Vec<(String, Vec<usize>)> {
    let shape = net.layout().shape();
    let widths = [&[shape.inputs][..], &shape.hidden, &[shape.outputs]].concat();
    let mut names = Vec::new();
    for (l, pair) in widths.windows(2).enumerate() {
        names.push((format!("weight.{l}"), vec![shape.members, pair[0], pair[1]]));
        names.push((format!("bias.{l}"), vec![shape.members, 1, pair[1]]));
        if shape.layer_norm && l + 2 < widths.len() {
            names.push((format!("norm_scale.{l}"), vec![shape.members, 1, pair[1]]));
            names.push((format!("norm_shift.{l}"), vec![shape.members, 1, pair[1]]));
        }
    }
    names.sort();
    names
}

fn names(state: &State) -> Vec<(String, Vec<usize>)> {
    state.iter().map(|(name, array)| (name.to_owned(), array.shape.clone())).collect()
}

#[test]
fn a_network_comes_back_bit_for_bit_under_the_names_of_its_layers() {
    for case in cases() {
        let saved = case.net.save();
        assert_eq!(names(&saved), expected(&case.net));
        let mut net = fresh(&case.net);
        net.load(saved.clone()).unwrap();
        assert_eq!(bits(&all_of(&net)), bits(&all_of(&case.net)));
        assert_eq!(net.save(), saved);
    }
}

#[test]
fn a_saved_weight_is_the_one_that_multiplies_the_input() {
    for case in cases().filter(|case| case.shape().hidden.is_empty() && case.rows > 0) {
        let (members, rows, inputs, outputs) =
            (case.shape().members, case.rows, case.shape().inputs, case.shape().outputs);
        let mut saved = case.net.save();
        let (weight, bias) = (saved.f32s("weight.0").unwrap().1, saved.f32s("bias.0").unwrap().1);
        let y = tensors::to_vec(case.net.forward(case.input()));
        for member in 0..members {
            let x = &case.rows_of(member)[(rows - 1) * inputs..];
            for o in 0..outputs {
                let product = |i: usize| f64::from(x[i]) * f64::from(weight[(member * inputs + i) * outputs + o]);
                let want = f64::from(bias[member * outputs + o]) + (0..inputs).map(product).sum::<f64>();
                let got = f64::from(y[(member * rows + rows - 1) * outputs + o]);
                assert!((got - want).abs() <= 1e-5, "{got}, expected {want}");
            }
        }
    }
}

#[test]
fn an_optimiser_comes_back_and_goes_on_bit_for_bit() {
    for case in cases() {
        // Numbers between the parts are zero, as in every gradient.
        let gradient = |time: u64| {
            let like = common::network(case.shape(), &Stream::new(83 + time, "test/gradient"), &Device::flex());
            like.slot().get().clone()
        };
        let config = AdamConfig::new(1e-2);
        let (mut net, mut adam) = (case.net.clone(), Adam::new(config, &case.net));
        for time in 0..2 {
            adam.step(&mut net, gradient(time));
        }
        let saved = adam.save(&net);
        let mut want: Vec<(String, Vec<usize>)> = expected(&net)
            .into_iter()
            .flat_map(|(name, shape)| [1, 2].map(|which| (format!("{name}.moment_{which}"), shape.clone())))
            .chain([("time".to_owned(), vec![])])
            .collect();
        want.sort();
        assert_eq!(names(&saved), want);

        let (mut other, mut restored) = (fresh(&net), Adam::new(config, &net));
        other.load(net.save()).unwrap();
        restored.load(&other, saved).unwrap();
        adam.step(&mut net, gradient(2));
        restored.step(&mut other, gradient(2));
        assert_eq!(bits(&all_of(&net)), bits(&all_of(&other)));
        assert_eq!(bits_of_state(&adam.save(&net)), bits_of_state(&restored.save(&other)));
    }
}

#[test]
fn an_array_that_is_missing_left_over_or_of_another_shape_is_named() {
    for case in cases().filter(|case| case.shape().layer_norm && !case.shape().hidden.is_empty()) {
        let mut net = fresh(&case.net);
        let mut saved = case.net.save();
        saved.take("norm_scale.0").unwrap();
        assert_eq!(net.load(saved), Err(StateError::Missing("norm_scale.0".into())));

        let mut saved = case.net.save();
        saved.put("weight.99", 1.0_f32);
        assert_eq!(net.load(saved), Err(StateError::Leftover("weight.99".into())));

        let mut saved = case.net.save();
        let bias = saved.take("bias.0").unwrap();
        let [members, _, outputs] = bias.shape[..] else { panic!("a bias is [E, 1, O]") };
        saved.put("bias.0", Array::new(vec![members, outputs + 1, 1], Data::F32(vec![0.0; members * (outputs + 1)])));
        let message = net.load(saved).unwrap_err().to_string();
        assert!(message.contains("bias.0") && message.contains(&format!("{:?}", bias.shape)), "{message}");

        let adam = Adam::new(AdamConfig::new(0.1), &net);
        let mut saved = adam.save(&net);
        saved.take("norm_shift.0.moment_2").unwrap();
        let found = adam.clone().load(&net, saved);
        assert_eq!(found, Err(StateError::Missing("norm_shift.0.moment_2".into())));
    }
}
