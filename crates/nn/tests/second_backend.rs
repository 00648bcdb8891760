//! A backend without the fused form: compares the same networks in tensor operations on ndarray with Flex.

#![cfg(feature = "ndarray")]

mod common;

use burn::tensor::Device;
use common::{Case, Worst, all_of, bits, distance};
use foresee_core::Stream;
use foresee_nn::{Adam, AdamConfig, Decay, Parameters, tensors};

fn ndarray() -> Device {
    // Deprecated upstream in favour of Flex; used as an independent implementation.
    #[allow(deprecated)]
    Device::ndarray()
}

#[test]
fn output_gradients_and_steps_are_those_of_the_first_backend() {
    let stream = Stream::new(71, "test/second");
    let mut worst = ["output", "gradient at the input", "gradient at the parameters", "steps", "average"]
        .map(|what| Worst::new(what, 1e-5));
    for number in 0..120 {
        let [first, second] = [Device::flex(), ndarray()].map(|device| Case::new(&stream, number, &device));
        if first.rows == 0 {
            // This backend's matrix product divides by the number of rows.
            continue;
        }
        let (a, b) = (second.pass(true), first.pass(true));
        let plain = tensors::to_vec(second.net.forward(second.input()));
        assert_eq!(bits(&plain), bits(&a.y), "{}", second.describe());

        let decay_form = if number % 2 == 0 { Decay::Coupled } else { Decay::Decoupled };
        let config = AdamConfig { decay: 0.1, decay_form, eps: 1e-3, ..AdamConfig::new(1e-2) };
        let stepped = [(&first, Some(true)), (&second, None)].map(|(case, finite)| {
            let (mut net, mut adam) = (case.net.clone(), Adam::new(config, &case.net));
            for _ in 0..3 {
                // Both optimisers get the same numbers: this compares the steps, not the gradients.
                let gradient = tensors::from_vec(b.dw.clone(), net.slot().get().dims(), &case.device());
                assert_eq!(adam.step(&mut net, gradient), finite);
            }
            let mut average = case.net.clone();
            average.polyak(&net, 0.3);
            [all_of(&net), all_of(&average)]
        });
        let [first_steps, second_steps] = &stepped;
        let pairs = [
            (&a.y, &b.y),
            (&a.dx, &b.dx),
            (&a.dw, &b.dw),
            (&second_steps[0], &first_steps[0]),
            (&second_steps[1], &first_steps[1]),
        ];
        for (worst, (a, b)) in worst.iter_mut().zip(pairs) {
            worst.take(distance(a, b), || format!("case {number}: {}", first.describe()));
        }
    }
}

#[test]
fn a_saved_network_and_its_optimiser_move_from_one_backend_to_the_other() {
    let [first, second] =
        [Device::flex(), ndarray()].map(|device| Case::new(&Stream::new(72, "test/second"), 37, &device));
    let mut other = common::network(second.shape(), &Stream::new(73, "test/second"), &ndarray());
    other.load(first.net.save()).unwrap();
    assert_eq!(all_of(&other), all_of(&first.net));
    let (mut net, mut adam) = (first.net.clone(), Adam::new(AdamConfig::new(0.1), &first.net));
    adam.step(&mut net, first.net.slot().get().ones_like());
    let mut moved = Adam::new(AdamConfig::new(0.1), &other);
    moved.load(&other, adam.save(&net)).unwrap();
    assert_eq!(moved.save(&other), adam.save(&net));
}
