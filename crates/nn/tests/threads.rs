//! Results do not depend on the number of threads.

mod common;

use burn::tensor::Device;
use common::{Case, Pass, all_of, bits, bits_of_state};
use foresee_core::Stream;
use foresee_nn::{Activation, Adam, AdamConfig, Parameters, Shape, tensors};

/// The bits of all results of a case.
fn everything(case: &Case) -> Vec<Vec<u32>> {
    let plain = tensors::to_vec(case.net.forward(case.input()));
    let Pass { y, dx, dw } = case.pass(true);
    let mut results: Vec<Vec<u32>> = [plain, y, dx, dw].iter().map(|values| bits(values)).collect();

    let members = case.shape().members;
    let (mut net, mut target) = (case.net.clone(), vec![0.5; all_of(&case.net).len()]);
    let mut adam = Adam::new(AdamConfig::new(1e-2), &net);
    for _ in 0..2 {
        let tapes = case.tapes(0..members, &[], false);
        let mut step = adam.fused(&mut net);
        assert!(step.apply(&tapes, Some((&mut target, 0.1))));
        step.finish();
    }
    results.extend([all_of(&net), target].iter().map(|values| bits(values)));
    results.push(bits_of_state(&adam.save(&net)));

    let gradient = case.net.tracked();
    let mut gradients = (gradient.forward(case.input()) * case.functional()).sum().backward();
    let mut other = case.net.clone();
    Adam::new(AdamConfig::new(1e-2), &other).step(&mut other, gradient.gradient(&mut gradients));
    other.polyak(&case.net, 0.3);
    results.push(bits(&all_of(&other)));
    results
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let stream = Stream::new(41, "test/threads");
    let pools = [1, 2, 3, 5].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    let large = Shape {
        members: 3,
        inputs: 23,
        hidden: vec![200, 200],
        outputs: 36,
        activation: Activation::Silu,
        layer_norm: true,
        normalized_features: true,
        hidden_norms: vec![],
    };
    let large = Case::of(&large, 256, 3, 42, &Device::flex());
    let small = (0..80).map(|number| Case::new(&stream, number, &Device::flex()));
    for case in small.chain([large]) {
        let [one, others @ ..] = &pools;
        let want = one.install(|| everything(&case));
        for pool in others {
            let got = pool.install(|| everything(&case));
            assert_eq!(got, want, "{} threads, {}", pool.current_num_threads(), case.describe());
        }
    }
}
