//! Compares Adam, fused with the gradients and alone, with the published recursion in f64.

mod common;

use burn::tensor::Device;
use common::recursion::{self, configs};
use common::{Case, Worst, all_of, bits, bits_of_state};
use foresee_core::Stream;
use foresee_nn::{Activation, Adam, AdamConfig, Parameters, Shape, tensors};

/// The optimiser processes this number of weights at a time (`CHUNK` of its module).
const CHUNK: usize = 16 * 1024;

/// Networks with more parameters than two chunks. The widths of the layers are not multiples of 8.
fn several_chunks() -> Case {
    let shape = Shape {
        members: 3,
        inputs: 5,
        hidden: vec![131, 97, 7],
        outputs: 9,
        activation: Activation::Tanh,
        layer_norm: true,
        normalized_features: false,
        hidden_norms: vec![],
    };
    let case = Case::of(&shape, 37, 3, 66, &Device::flex());
    assert!(all_of(&case.net).len() > 2 * CHUNK, "{} parameters", all_of(&case.net).len());
    case
}

#[test]
fn fused_and_unfused_steps_follow_the_published_recursion() {
    let stream = Stream::new(61, "test/optimiser");
    let mut worst = ["weights", "target"].map(|what| Worst::new(what, 1.0));
    for (i, config) in configs().into_iter().enumerate() {
        let random = (0..5).map(|j| Case::new(&stream, (i * 5 + j) * 7, &Device::flex()));
        // How weights are cut into chunks does not depend on the constants, so that one of them is enough.
        for case in random.chain((i == 4).then(several_chunks)) {
            let shares = recursion::shares(&case, config);
            worst.iter_mut().zip(shares).for_each(|(worst, share)| {
                worst.take(share, || format!("{config:?}, {}", case.describe()));
            });
        }
    }
}

#[test]
fn members_step_one_by_one_as_they_do_together() {
    let stream = Stream::new(63, "test/optimiser");
    for number in 0..40 {
        let mut together = Case::new(&stream, number, &Device::flex());
        let mut one_by_one = Case::new(&stream, number, &Device::flex());
        let members = together.shape().members;
        let mut adams = [(); 2].map(|()| Adam::new(AdamConfig::new(1e-2), &together.net));
        for _ in 0..2 {
            let tapes = together.tapes(0..members, &[], false);
            let mut step = adams[0].fused(&mut together.net);
            assert!(step.apply(&tapes, None));
            step.finish();
            let tapes: Vec<_> = (0..members).map(|member| one_by_one.tapes(member..member + 1, &[], false)).collect();
            let before = all_of(&one_by_one.net);
            let mut step = adams[1].fused(&mut one_by_one.net);
            for (member, tapes) in tapes.iter().enumerate() {
                let width = before.len() / members;
                assert_eq!(step.member(member), &before[member * width..][..width]);
                assert!(step.apply(tapes, None));
            }
            step.finish();
        }
        assert_eq!(bits(&all_of(&together.net)), bits(&all_of(&one_by_one.net)), "{}", one_by_one.describe());
        assert_eq!(bits_of_state(&adams[0].save(&together.net)), bits_of_state(&adams[1].save(&one_by_one.net)));
    }
}

#[test]
fn a_step_leaves_copies_and_a_pass_under_way_alone() {
    let mut case = Case::new(&Stream::new(64, "test/optimiser"), 37, &Device::flex());
    let (want, before, copy) = (case.pass(true).dw, all_of(&case.net), case.net.clone());
    let tracked = case.net.tracked();
    let loss = (tracked.forward(case.input()) * case.functional()).sum();
    let tapes = case.tapes(0..case.shape().members, &[], false);
    let mut adam = Adam::new(AdamConfig::new(0.1), &case.net);
    let mut step = adam.fused(&mut case.net);
    assert!(step.apply(&tapes, None));
    step.finish();
    let ones = case.net.slot().get().ones_like();
    adam.step(&mut case.net, ones);
    assert_ne!(all_of(&case.net), before);
    assert_eq!(all_of(&copy), before);
    assert_eq!(bits(&tensors::to_vec(tracked.gradient(&mut loss.backward()))), bits(&want));
}

#[test]
fn what_lies_between_the_parts_stays_zero() {
    for (number, config) in configs().into_iter().enumerate() {
        let mut case = Case::new(&Stream::new(65, "test/optimiser"), 20 + 13 * number, &Device::flex());
        let mut adam = Adam::new(config, &case.net);
        for _ in 0..3 {
            let dw = tensors::from_vec(case.pass(true).dw, case.net.slot().get().dims(), &Device::flex());
            adam.step(&mut case.net, dw);
            let tapes = case.tapes(0..case.shape().members, &[], false);
            let mut step = adam.fused(&mut case.net);
            step.apply(&tapes, None);
            step.finish();
        }
        let width = case.net.layout().parameters();
        let mut used = vec![false; width];
        for part in case.net.parts() {
            used[part.offset..][..part.shape[0] * part.shape[1]].fill(true);
        }
        for row in all_of(&case.net).chunks(width) {
            assert!(row.iter().zip(&used).all(|(&x, &used)| used || x == 0.0), "{}", case.describe());
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_reported_wherever_it_stands() {
    let case = several_chunks();
    let dims = case.net.slot().get().dims();
    let n = dims.iter().product::<usize>();
    let step = |gradient: Vec<f32>| {
        let mut net = case.net.clone();
        Adam::new(AdamConfig::new(1e-3), &net).step(&mut net, tensors::from_vec(gradient, dims, &Device::flex()))
    };
    assert_eq!(step(vec![f32::MAX; n]), Some(true));
    for (i, bad) in (0..n).step_by(97).zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().cycle()) {
        let mut gradient = vec![1.0; n];
        gradient[i] = bad;
        assert_eq!(step(gradient), Some(false), "{bad} at {i} of {n}");
    }
}

#[test]
fn tapes_with_a_gradient_that_is_not_finite_are_reported() {
    let stream = Stream::new(67, "test/optimiser");
    let apply = |case: &Case| {
        let mut net = case.net.clone();
        let mut adam = Adam::new(AdamConfig::new(1e-3), &net);
        let mut step = adam.fused(&mut net);
        let finite = step.apply(&case.tapes(0..case.shape().members, &[], false), None);
        step.finish();
        finite
    };
    for number in 0..80 {
        let mut case = Case::new(&stream, number, &Device::flex());
        assert!(apply(&case), "{}", case.describe());
        if case.rows == 0 {
            continue;
        }
        let draws = &mut stream.at(number as u64, 1);
        let at = draws.below(case.c.len());
        for bad in [f32::NAN, f32::INFINITY] {
            let good = std::mem::replace(&mut case.c[at], bad);
            assert!(!apply(&case), "{bad} at {at}, {}", case.describe());
            case.c[at] = good;
        }
        let at = draws.below(case.x.len());
        case.x[at] = f32::NAN;
        assert!(!apply(&case), "an input at {at}, {}", case.describe());
    }
}

#[test]
fn averages_are_taken_as_in_f64() {
    let mut worst = Worst::new("average", 1.5 * f64::from(f32::EPSILON));
    let random = (0..20).map(|number| Case::new(&Stream::new(68, "test/optimiser"), 7 * number, &Device::flex()));
    for case in random.chain([several_chunks()]) {
        let online = &case.net;
        let target = common::network(case.shape(), &Stream::new(69, "test/target"), &Device::flex());
        for tau in [0.0, 0.005, 0.5, 1.0] {
            let mut averaged = target.clone();
            averaged.polyak(online, tau);
            let tau = f64::from(tau as f32);
            for ((got, online), target) in all_of(&averaged).iter().zip(all_of(online)).zip(all_of(&target)) {
                let (online, target) = (f64::from(online), f64::from(target));
                let want = tau * online + (1.0 - tau) * target;
                let scale = online.abs().max(target.abs()).max(1e-30);
                worst.take((f64::from(*got) - want).abs() / scale, || format!("tau {tau}: {online}, {target}"));
            }
        }
    }
}
